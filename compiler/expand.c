#include "expand.h"

#include "expand_internal.h"
#include "load.h"
#include "settings.h"

#include <ctype.h>
#include <string.h>

/* The statements of which there is at most one, and further outputs. */
typedef struct Description {
    const Statement *input, *net, *train, *data;
    const Statement *first_output; /* `net` stands before it */
    const Default *defaults;       /* in force where the reading has got to */
    const Default *net_defaults;
    int head_count, head_capacity;
    struct Output {
        const Statement *statement;
        const Default *defaults;
    } * outputs;
} Description;

/* Notes a statement that may stand once. */
static void set_once(Expander *expander, const Statement **place, const Statement *statement,
                     const char *what) {
    if (*place != NULL) {
        diagnostic_note(expand_error(expander, statement->name_where, "a second `%s`", what),
                        (*place)->name_where, "the first one is here");
        return;
    }
    *place = statement;
}

/* Whether the head of a def has errors; reports them. */
static bool has_bad_head(Expander *expander, const Statement *statement) {
    const OpDef *op = op_find(statement->name);
    if (op != NULL) {
        expand_error(expander, statement->name_where,
                     "a def must not have the name of a layer; %s is one", op->name);
        return true;
    }
    for (const Name *a = statement->parameters.first; a != NULL; a = a->next) {
        for (const Name *b = statement->parameters.first; b != a; b = b->next) {
            if (!expand_charge(expander, 1)) {
                return true;
            }
            if (strcmp(a->text, b->text) == 0) {
                expand_error(expander, a->where, "the parameter '%s' is there twice", a->text);
                return true;
            }
        }
    }
    return false;
}

static void read_definition(Expander *expander, const Statement *statement) {
    const Definition *present = name_find(expander->definitions, statement->name);
    if (present != NULL) {
        diagnostic_note(expand_error(expander, statement->name_where, "'%s' is already defined",
                                     statement->name),
                        present->statement->name_where, "it is defined here");
        return;
    }
    labels_collect(expander, statement->chain);
    Definition *definition = ARENA_NEW(expander->arena, Definition);
    definition->statement = statement;
    definition->failed = has_bad_head(expander, statement);
    name_put(expander->definitions, statement->name, definition);
}

/* The layer kind of a `default`; the nearest one after an error, NULL where there is none. */
static const OpDef *default_kind(Expander *expander, const Statement *statement, bool *valid) {
    const OpDef *op = op_find(statement->name);
    *valid = op != NULL && (op->flags & OP_INTERNAL) == 0;
    if (*valid) {
        return op;
    }
    Diagnostic *error =
        expand_error(expander, statement->name_where, "there is no layer '%s'", statement->name);
    Suggestion suggestion = suggestion_for(statement->name);
    for (int i = 0; i < op_count; i++) {
        if ((op_table[i]->flags & OP_INTERNAL) == 0) {
            suggestion_offer(&suggestion, op_table[i]->name);
        }
    }
    suggestion_hint(&suggestion, error);
    return suggestion.best == NULL ? NULL : op_find(suggestion.best);
}

static void read_default(Expander *expander, Description *description, const Statement *statement) {
    bool valid;
    const OpDef *op = default_kind(expander, statement, &valid);
    if (op == NULL) {
        return;
    }
    Word arguments = {.name = statement->name, .where = statement->where};
    Default *one = ARENA_NEW(expander->arena, Default);
    one->binding = binding_create(expander->arena, op);
    one->previous = description->defaults;
    one->failed = !valid ||
                  !evaluate_arguments(&expander->evaluator, &statement->arguments, &arguments) ||
                  !binding_set(&one->binding, &expander->evaluator, &arguments);
    expander->failed = expander->failed || one->failed;
    binding_warn_products(&one->binding, &statement->arguments, expander->diagnostics);
    for (const Default *older = one->previous; older != NULL; older = older->previous) {
        if (older->binding.op == op) {
            binding_merge(&one->binding, &older->binding);
            one->failed = one->failed || older->failed;
            break;
        }
    }
    description->defaults = one;
}

static void read_net(Expander *expander, Description *description) {
    description->net_defaults = description->defaults;
    labels_collect(expander, description->net->chain);
    if (description->input == NULL) {
        diagnostic_hint(
            expand_error(expander, description->net->name_where, "`input` must stand before `net`"),
            "write input 3x32x32: channels, height, width");
    }
}

static void read_output(Expander *expander, Description *description, const Statement *statement) {
    if (description->net == NULL) {
        expand_error(expander, statement->name_where, "`net` must stand before `output`");
        return;
    }
    for (int i = 0; i < description->head_count; i++) {
        const Statement *other = description->outputs[i].statement;
        if (expand_charge(expander, 1) && strcmp(other->name, statement->name) == 0) {
            diagnostic_note(expand_error(expander, statement->name_where, "a second output '%s'",
                                         statement->name),
                            other->name_where, "the first one is here");
            return;
        }
    }
    ARENA_GROW(expander->arena, description->outputs, description->head_count,
               description->head_capacity);
    description->outputs[description->head_count++] =
        (struct Output){statement, description->defaults};
    labels_collect(expander, statement->chain);
}

static void read_statement(Expander *expander, Description *description,
                           const Statement *statement) {
    switch (statement->kind) {
    case STATEMENT_INPUT:
        set_once(expander, &description->input, statement, "input");
        break;
    case STATEMENT_LET:
        scope_let(expander, statement);
        break;
    case STATEMENT_DEFAULT:
        read_default(expander, description, statement);
        break;
    case STATEMENT_DEF: {
        Definition *definition = name_find(expander->definitions, statement->name);
        if (definition != NULL && definition->statement == statement) {
            definition->defaults = description->defaults;
        }
        break;
    }
    case STATEMENT_NET:
        set_once(expander, &description->net, statement, "net");
        if (description->net == statement) {
            read_net(expander, description);
        }
        break;
    case STATEMENT_OUTPUT:
        read_output(expander, description, statement);
        break;
    case STATEMENT_TRAIN:
        set_once(expander, &description->train, statement, "train");
        break;
    case STATEMENT_DATA:
        set_once(expander, &description->data, statement, "data");
        break;
    case STATEMENT_INCLUDE: /* replaced by the file's statements */
        break;
    }
}

static SourceRange end_of(const SourceFile *file) {
    return (SourceRange){file->begin + file->length, file->begin + file->length};
}

static void extend_loops(Expander *expander, const Description *description) {
    const NameList none = {0};
    for (int i = 0; i < name_count(expander->definitions); i++) {
        const Definition *definition = name_item_at(expander->definitions, i);
        for_extend(expander, definition->statement->chain, &definition->statement->parameters);
    }
    if (description->net != NULL) {
        for_extend(expander, description->net->chain, &none);
    }
    for (int i = 0; i < description->head_count; i++) {
        for_extend(expander, description->outputs[i].statement->chain, &none);
    }
}

/* Reads all statements in order; defs are known from the beginning, so that they may use each
 * other. */
static void read_statements(Expander *expander, Description *description, StatementList list) {
    for (const Statement *one = list.first; one != NULL; one = one->next) {
        if (one->kind == STATEMENT_DEF) {
            expander->place = one->name_where;
            read_definition(expander, one);
        }
    }
    for (const Statement *one = list.first; one != NULL; one = one->next) {
        expander->place = one->name_where;
        read_statement(expander, description, one);
    }
    if (description->net == NULL) {
        diagnostic_hint(
            expand_error(expander, end_of(expander->file), "the description has no `net`"),
            "write net = CONV(...) - RELU - ...");
        if (description->input == NULL) {
            diagnostic_hint(
                expand_error(expander, end_of(expander->file), "the description has no `input`"),
                "write input 3x32x32: channels, height, width");
        }
    }
    scope_apply_options(expander);
    extend_loops(expander, description);
}

/* Pictures are often stored as height x width x colours. */
static void warn_channels(Expander *expander, const Value *literal) {
    const int64_t *extent = literal->as.dims.extent;
    if (literal->kind != VALUE_DIMS || literal->as.dims.rank != 3 || extent[0] != extent[1] ||
        extent[0] <= 4 || (extent[2] != 1 && extent[2] != 3 && extent[2] != 4)) {
        return;
    }
    Diagnostic *warning =
        diagnostic_warning(expander->diagnostics, WARNING_CHANNELS, literal->where,
                           "the input has %lld channels of %lldx%lld", (long long)extent[0],
                           (long long)extent[1], (long long)extent[2]);
    diagnostic_hint(warning, "channels come first: input %lldx%lldx%lld", (long long)extent[2],
                    (long long)extent[0], (long long)extent[1]);
}

/* The layer 0; of unknown shape where there is no usable `input`. */
static Layer *make_input(Expander *expander, const Statement *statement) {
    if (statement == NULL) {
        return expand_unknown(expander, expander->place);
    }
    const OpDef *op = op_find("INPUT");
    Binding binding = binding_create(expander->arena, op);
    Word arguments = {.name = op->name, .where = statement->where};
    ArgumentList list = {0};
    Argument extents = {.where = statement->value->where, .value = statement->value};
    LIST_APPEND(&list, &extents);
    list.count = 1;
    const Value *literal = &statement->value->literal;
    bool positive = literal->kind == VALUE_DIMS || literal->as.integer > 0;
    for (int i = 0; literal->kind == VALUE_DIMS && i < literal->as.dims.rank; i++) {
        positive = positive && literal->as.dims.extent[i] > 0;
    }
    if (!positive) {
        expand_error(expander, literal->where, "every extent of the input must be at least 1");
        return expand_unknown(expander, statement->where);
    }
    warn_channels(expander, literal);
    if (!evaluate_arguments(&expander->evaluator, &list, &arguments) ||
        !binding_set(&binding, &expander->evaluator, &arguments) ||
        !binding_complete(&binding, expander->diagnostics, statement->where)) {
        expander->failed = true;
        return expand_unknown(expander, statement->where);
    }
    return expand_append(expander, op, statement->where, binding.values, NULL, 0);
}

/* The heads: the network's own end, and for each `output` the end of its chain, which starts from a
 * label, or where it names none from the network's end. Labels of the network are seen by all. */
static void expand_heads(Expander *expander, const Description *description, Network *network) {
    Scope *scope = ARENA_NEW(expander->arena, Scope);
    scope->active = true;
    network->heads = ARENA_ARRAY(expander->arena, Head, (size_t)description->head_count + 1);
    expander->place = description->net->name_where;
    Layer *input = make_input(expander, description->input);
    scope->defaults = description->net_defaults;
    Layer *end = expand_chain(expander, description->net->chain, input, scope);
    network->heads[network->head_count++] = (Head){.layer = end};
    if (end == input) {
        expand_error(expander, description->net->name_where, "the network has no layers");
    }
    for (int i = 0; i < description->head_count && !expander->stopped; i++) {
        const Statement *statement = description->outputs[i].statement;
        expander->place = statement->name_where;
        scope->defaults = description->outputs[i].defaults;
        Layer *layer = expand_chain(expander, statement->chain, end, scope);
        network->heads[network->head_count++] = (Head){.name = statement->name, .layer = layer};
    }
    expander->scope = NULL;
}

/* "vgg_16" of "nets/vgg-16.cnn". */
static const char *identifier_of_path(Arena *arena, const char *path) {
    const char *slash = strrchr(path, '/');
    const char *base = slash == NULL ? path : slash + 1;
    const char *dot = strrchr(base, '.');
    size_t length = dot == NULL || dot == base ? strlen(base) : (size_t)(dot - base);
    if (strcmp(path, "<stdin>") == 0 || length == 0) {
        return "network";
    }
    char *name = arena_copy(arena, base, length < 100 ? length : 100);
    for (char *letter = name; *letter != '\0'; letter++) {
        if (!isalnum((unsigned char)*letter)) {
            *letter = '_';
        }
    }
    return isalpha((unsigned char)name[0]) ? name : arena_format(arena, "net_%s", name);
}

static void fill_network(Expander *expander, const Description *description, Network *network) {
    const char *name = description->net->name;
    network->name = name != NULL ? name : identifier_of_path(expander->arena, expander->file->path);
    network->path = expander->file->path;
    network->source = expander->file->text;
    network->layer_count = expander->layer_count;
    network->layers = expander->layers;
    name_layers(expander, description->input == NULL ? NULL : description->input->name);
    settings_read(&expander->evaluator, description->train, description->data, network);
}

Network *expand_file(Sources *sources, Diagnostics *diagnostics, SourceFile *file,
                     const ExpandOptions *options) {
    Arena *arena = diagnostics_arena(diagnostics);
    Expander expander = {.arena = arena,
                         .sources = sources,
                         .diagnostics = diagnostics,
                         .options = options,
                         .file = file,
                         .constants = name_table_create(arena),
                         .definitions = name_table_create(arena),
                         .labels = name_table_create(arena)};
    expander.evaluator = scope_evaluator(&expander);
    StatementList statements =
        load_description(sources, diagnostics, file, options, &expander.option_count);
    if (diagnostics_error_count(diagnostics) > 0) {
        return NULL;
    }
    Description description = {0};
    read_statements(&expander, &description, statements);
    Network *network = ARENA_NEW(arena, Network);
    if (description.net == NULL || expander.stopped) {
        return NULL;
    }
    expand_heads(&expander, &description, network);
    if (expander.layer_count == 0 || expander.stopped) {
        return NULL;
    }
    fill_network(&expander, &description, network);
    if (diagnostics_error_count(diagnostics) == 0) {
        warn_unused(&expander, statements);
    }
    return expander.unsound ? NULL : network;
}
