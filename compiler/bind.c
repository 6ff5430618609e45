#include "bind.h"

#include "literal.h"

#include <math.h>
#include <string.h>

#define INITIALISERS "zero constant gaussian uniform he glorot"

Binding binding_create(Arena *arena, const OpDef *op) {
    size_t count = (size_t)op->attribute_count;
    return (Binding){.op = op,
                     .values = ARENA_ARRAY(arena, Value, count),
                     .given = ARENA_ARRAY(arena, bool, count)};
}

static bool is_word(const Value *value, const char *name) {
    return value->kind == VALUE_WORD && value->as.word->argument_count == 0 &&
           value->as.word->next == NULL && strcmp(value->as.word->name, name) == 0;
}

/* Whether `name` is one of the words in `list`, which blanks separate. */
static bool in_list(const char *list, const char *name) {
    size_t length = strlen(name);
    while (*list != '\0') {
        size_t here = strcspn(list, " ");
        if (here == length && strncmp(list, name, length) == 0) {
            return true;
        }
        list += here + strspn(list + here, " ");
    }
    return false;
}

/* The converters check the type of a value and bring it into the form that the ops read. */
static bool convert_integer(Arena *arena, const AttributeDef *attribute, Value *value) {
    (void)arena;
    (void)attribute;
    return value_to_integer(value);
}

static bool convert_number(Arena *arena, const AttributeDef *attribute, Value *value) {
    (void)arena;
    (void)attribute;
    if (value->kind == VALUE_INTEGER) {
        value->as.number = (double)value->as.integer;
        value->kind = VALUE_NUMBER;
    }
    return value->kind == VALUE_NUMBER;
}

static bool convert_boolean(Arena *arena, const AttributeDef *attribute, Value *value) {
    (void)arena;
    (void)attribute;
    return value->kind == VALUE_BOOLEAN;
}

static bool convert_extents(Arena *arena, const AttributeDef *attribute, Value *value) {
    (void)arena;
    (void)attribute;
    return value->kind == VALUE_DIMS || value_to_integer(value);
}

static bool convert_padding(Arena *arena, const AttributeDef *attribute, Value *value) {
    return is_word(value, "same") || convert_extents(arena, attribute, value);
}

/* One integer is a vector. */
static bool convert_dims(Arena *arena, const AttributeDef *attribute, Value *value) {
    (void)arena;
    (void)attribute;
    if (value->kind == VALUE_DIMS) {
        return true;
    }
    if (!value_to_integer(value)) {
        return false;
    }
    int64_t extent = value->as.integer;
    value->kind = VALUE_DIMS;
    value->as.dims = (Dims){.rank = 1, .extent = {extent}};
    return true;
}

static bool convert_choice(Arena *arena, const AttributeDef *attribute, Value *value) {
    (void)arena;
    return value->kind == VALUE_WORD && is_word(value, value->as.word->name) &&
           in_list(attribute->choices, value->as.word->name);
}

/* A word with its argument as a number, or a number, which stands for constant(number). */
static bool convert_initialiser(Arena *arena, const AttributeDef *attribute, Value *value) {
    if (value->kind != VALUE_WORD) {
        return convert_number(arena, attribute, value);
    }
    Word *word = value->as.word;
    if (word->next != NULL || !in_list(INITIALISERS, word->name)) {
        return false;
    }
    if (in_list("zero he glorot", word->name)) {
        return word->argument_count == 0;
    }
    const char *parameter = strcmp(word->name, "gaussian") == 0 ? "std" : "a";
    if (word->argument_count != 1 || !convert_number(arena, attribute, &word->arguments[0])) {
        return false;
    }
    const char *name = word->argument_names[0];
    bool is_constant = strcmp(word->name, "constant") == 0;
    return (name == NULL || strcmp(name, parameter) == 0) &&
           (is_constant || word->arguments[0].as.number >= 0);
}

static bool convert_table(Arena *arena, const AttributeDef *attribute, Value *value) {
    (void)arena;
    (void)attribute;
    if (value->kind != VALUE_LIST) {
        return false;
    }
    for (int i = 0; i < value->as.list.count; i++) {
        Value *row = &value->as.list.items[i];
        if (row->kind != VALUE_LIST) {
            return false;
        }
        for (int j = 0; j < row->as.list.count; j++) {
            Value *channel = &row->as.list.items[j];
            if (!value_to_integer(channel) || channel->as.integer < 0) {
                return false;
            }
        }
    }
    return true;
}

static const struct {
    const char *description; /* of CHOICE: its words instead */
    bool wants_integer;
    bool (*convert)(Arena *arena, const AttributeDef *attribute, Value *value);
} types[] = {
    [ATTRIBUTE_INTEGER] = {"an integer", true, convert_integer},
    [ATTRIBUTE_NUMBER] = {"a number", false, convert_number},
    [ATTRIBUTE_BOOLEAN] = {"true or false", false, convert_boolean},
    [ATTRIBUTE_EXTENTS] = {"an integer or dimensions such as 3x3", true, convert_extents},
    [ATTRIBUTE_PADDING] = {"an integer, dimensions such as 1x1, or same", true, convert_padding},
    [ATTRIBUTE_DIMS] = {"dimensions such as 16x5x5, or an integer", true, convert_dims},
    [ATTRIBUTE_CHOICE] = {"one of", false, convert_choice},
    [ATTRIBUTE_INITIALISER] = {"zero, constant(c), gaussian(std), uniform(a), he, glorot or a "
                               "number",
                               false, convert_initialiser},
    [ATTRIBUTE_TABLE] = {"a list of lists of channels, such as [[0, 1], [1, 2]]", false,
                         convert_table},
};

/* "none or center" of the words "none center". */
static const char *choices_text(Arena *arena, const char *words) {
    const char *text = "";
    while (*words != '\0') {
        int length = (int)strcspn(words, " ");
        const char *rest = words + length + strspn(words + length, " ");
        const char *joint = *text == '\0' ? "" : *rest == '\0' ? " or " : ", ";
        text = arena_format(arena, "%s%s%.*s", text, joint, length, words);
        words = rest;
    }
    return text;
}

/* The words that an attribute may be; NULL: it is none. */
static const char *words_of(const AttributeDef *attribute) {
    switch (attribute->type) {
    case ATTRIBUTE_CHOICE:
        return attribute->choices;
    case ATTRIBUTE_INITIALISER:
        return INITIALISERS;
    case ATTRIBUTE_PADDING:
        return "same";
    case ATTRIBUTE_BOOLEAN:
        return "true false";
    default:
        return NULL;
    }
}

static void hint_word(Evaluator *evaluator, const AttributeDef *attribute, const Word *word,
                      Diagnostic *error) {
    Suggestion suggestion = suggestion_for(word->name);
    suggestion_offer_words(&suggestion, diagnostics_arena(evaluator->diagnostics),
                           words_of(attribute));
    if (attribute->type == ATTRIBUTE_INITIALISER && in_list(INITIALISERS, word->name)) {
        diagnostic_hint(error,
                        in_list("zero he glorot", word->name)
                            ? "%s takes no argument"
                            : "%s takes one number, as in gaussian(0.01)",
                        word->name);
        return;
    }
    evaluator->offer(evaluator->context, &suggestion);
    suggestion_hint(&suggestion, error);
}

static bool fits_unquoted(Arena *arena, const AttributeDef *attribute, const char *text) {
    Value value;
    return literal_read(arena, text, &value) &&
           types[attribute->type].convert(arena, attribute, &value);
}

static bool fail_type(Evaluator *evaluator, const AttributeDef *attribute, const Value *value) {
    Arena *arena = diagnostics_arena(evaluator->diagnostics);
    /* Where no words are expected, a word is a name that has no value. */
    const char *words = words_of(attribute);
    bool is_name =
        value->kind == VALUE_WORD && (words == NULL || attribute->type == ATTRIBUTE_BOOLEAN);
    SourceRange where = is_name ? value->as.word->where : value->where;
    const char *wanted = attribute->type == ATTRIBUTE_CHOICE
                             ? choices_text(arena, attribute->choices)
                             : types[attribute->type].description;
    Diagnostic *error = diagnostic_error(
        evaluator->diagnostics, where, "'%s' must be %s, %s %.80s%s", attribute->name, wanted,
        is_name ? "but" : "not", value_text(arena, value), is_name ? " is not defined" : "");
    if (!diagnostic_is_shown(error)) {
        return false;
    }
    if (value->kind == VALUE_WORD) {
        hint_word(evaluator, attribute, value->as.word, error);
    } else if (value->kind == VALUE_STRING && fits_unquoted(arena, attribute, value->as.string)) {
        diagnostic_hint(error, "leave out the quotes");
    } else if (value->kind == VALUE_NUMBER && types[attribute->type].wants_integer) {
        diagnostic_hint(error, "floor( ), ceil( ) and round( ) make an integer of a number");
    }
    return false;
}

/* Ranges are of doubles: exact for every bound that an op states. */
static bool in_range(const AttributeDef *attribute, double number) {
    return number >= attribute->minimum && number <= attribute->maximum;
}

static bool value_in_range(const AttributeDef *attribute, const Value *value) {
    if ((attribute->minimum == 0 && attribute->maximum == 0) ||
        attribute->type == ATTRIBUTE_INITIALISER) {
        return true;
    }
    if (value->kind == VALUE_DIMS) {
        for (int i = 0; i < value->as.dims.rank; i++) {
            if (!in_range(attribute, (double)value->as.dims.extent[i])) {
                return false;
            }
        }
        return true;
    }
    return !value_is_numeric(value) || in_range(attribute, value_as_number(value));
}

static bool fail_range(Evaluator *evaluator, const AttributeDef *attribute, const Value *value) {
    Arena *arena = diagnostics_arena(evaluator->diagnostics);
    const char *text = value_text(arena, value);
    /* The largest bounds only keep counts within what a number holds. */
    const char *bounds =
        attribute->maximum < COUNT_MAX
            ? arena_format(arena, "between %.10g and %.10g", attribute->minimum, attribute->maximum)
            : arena_format(arena, "between %.10g and 2^53", attribute->minimum);
    diagnostic_error(evaluator->diagnostics, value->where, "'%s' must be %s, not %.80s",
                     attribute->name, bounds, text);
    return false;
}

/* Lists may be shared by many layers, each of which looks at all of their items. */
static bool charge_list(Evaluator *evaluator, const Value *value) {
    if (value->kind != VALUE_LIST) {
        return true;
    }
    bool affordable = evaluator->charge(evaluator->context, value->as.list.count);
    for (int i = 0; affordable && i < value->as.list.count; i++) {
        const Value *row = &value->as.list.items[i];
        if (row->kind == VALUE_LIST) {
            affordable = evaluator->charge(evaluator->context, row->as.list.count);
        }
    }
    return affordable;
}

/* Converts a value that the user gave. */
static bool convert(Evaluator *evaluator, const AttributeDef *attribute, Value *value) {
    if (!charge_list(evaluator, value)) {
        return false;
    }
    bool optional = attribute->fallback != NULL && attribute->fallback[0] == '\0';
    if (optional && is_word(value, "none")) {
        value->kind = VALUE_NONE;
        return true;
    }
    if (!types[attribute->type].convert(diagnostics_arena(evaluator->diagnostics), attribute,
                                        value)) {
        return fail_type(evaluator, attribute, value);
    }
    return value_in_range(attribute, value) || fail_range(evaluator, attribute, value);
}

/* The first attribute that this call has not given yet; attribute_count: none is left. */
static int next_positional(const OpDef *op, const bool *given, const Value *value) {
    int next = 0;
    while (next < op->attribute_count && given[next]) {
        next++;
    }
    if (value->kind == VALUE_DIMS) {
        for (int i = 0; i < op->attribute_count; i++) {
            if (op->attributes[i].type == ATTRIBUTE_EXTENTS) {
                return given[i] ? next : i;
            }
        }
    }
    return next;
}

/* Names what the kind takes. */
static void hint_attributes(Diagnostic *error, Arena *arena, const OpDef *op) {
    const char *text = "";
    for (int i = 0; i < op->attribute_count; i++) {
        const AttributeDef *attribute = &op->attributes[i];
        bool is_required = attribute->fallback == NULL;
        text = arena_format(arena, "%s%s%s%s%s", text, i == 0 ? "" : ", ", attribute->name,
                            is_required || *attribute->fallback == '\0' ? "" : "=",
                            is_required ? "" : attribute->fallback);
    }
    diagnostic_hint(error, "its arguments are %s(%s)", op->name, text);
}

static int fail_argument(Evaluator *evaluator, const OpDef *op, const Word *arguments, int i) {
    const char *name = arguments->argument_names[i];
    SourceRange where = arguments->argument_where[i];
    Arena *arena = diagnostics_arena(evaluator->diagnostics);
    if (op->attribute_count == 0) {
        diagnostic_error(evaluator->diagnostics, where, "%s takes no arguments", op->name);
        return -1;
    }
    if (name == NULL) {
        hint_attributes(
            diagnostic_error(evaluator->diagnostics, where, "too many arguments for %s", op->name),
            arena, op);
        return -1;
    }
    Diagnostic *error =
        diagnostic_error(evaluator->diagnostics, where, "%s has no argument '%s'", op->name, name);
    Suggestion suggestion = suggestion_for(name);
    for (int attribute = 0; attribute < op->attribute_count; attribute++) {
        suggestion_offer(&suggestion, op->attributes[attribute].name);
    }
    if (suggestion.best != NULL) {
        suggestion_hint(&suggestion, error);
    } else {
        hint_attributes(error, arena, op);
    }
    return -1;
}

/* The attribute that argument `i` is for; -1 after an error. */
static int find_attribute(Evaluator *evaluator, const OpDef *op, const bool *given,
                          const Word *arguments, int i) {
    const char *name = arguments->argument_names[i];
    const Value *value = &arguments->arguments[i];
    SourceRange where = arguments->argument_where[i];
    int index = name != NULL ? op_attribute_index(op, name) : next_positional(op, given, value);
    if (index < 0 || index >= op->attribute_count) {
        return fail_argument(evaluator, op, arguments, i);
    }
    bool after_named = name == NULL && i > 0 && arguments->argument_names[i - 1] != NULL;
    if (after_named && value->kind != VALUE_DIMS) {
        diagnostic_hint(diagnostic_error(evaluator->diagnostics, where,
                                         "an argument without a name behind one with a name"),
                        "name it: %s=...", op->attributes[index].name);
        return -1;
    }
    if (given[index]) {
        diagnostic_error(evaluator->diagnostics, where, "'%s' is given twice",
                         op->attributes[index].name);
        return -1;
    }
    return index;
}

bool binding_set(Binding *binding, Evaluator *evaluator, const Word *arguments) {
    const OpDef *op = binding->op;
    bool valid = true;
    for (int i = 0; i < arguments->argument_count; i++) {
        int index = find_attribute(evaluator, op, binding->given, arguments, i);
        if (index < 0) {
            valid = false;
            if (arguments->argument_names[i] == NULL) {
                return false; /* of what follows, none knows its place */
            }
            continue;
        }
        Value value = arguments->arguments[i];
        valid = convert(evaluator, &op->attributes[index], &value) && valid;
        binding->values[index] = value;
        binding->given[index] = true;
    }
    return valid;
}

/* Whether `attribute` of the binding has its value from `expression`. */
static bool is_from(const Binding *binding, int attribute, const Expression *expression) {
    const Value *value = &binding->values[attribute];
    return binding->given[attribute] && value->kind == VALUE_INTEGER &&
           value->where.begin == expression->where.begin &&
           value->where.end == expression->where.end;
}

static bool is_integer(const Expression *expression) {
    return expression->kind == EXPRESSION_LITERAL && expression->literal.kind == VALUE_INTEGER;
}

void binding_warn_products(const Binding *binding, const ArgumentList *arguments,
                           Diagnostics *diagnostics) {
    const AttributeDef *attributes = binding->op->attributes;
    for (const Argument *argument = arguments->first; argument != NULL; argument = argument->next) {
        const Expression *product = argument->value;
        if (product->kind != EXPRESSION_BINARY || product->operation != OPERATOR_MULTIPLY ||
            !is_integer(product->left) || !is_integer(product->right)) {
            continue;
        }
        for (int i = 0; i < binding->op->attribute_count; i++) {
            if (attributes[i].type == ATTRIBUTE_EXTENTS && is_from(binding, i, product)) {
                Diagnostic *warning = diagnostic_warning(
                    diagnostics, WARNING_PRODUCT, product->where, "'%s' is %lld along every axis",
                    attributes[i].name, (long long)binding->values[i].as.integer);
                diagnostic_hint(warning, "dimensions are written %lldx%lld",
                                (long long)product->left->literal.as.integer,
                                (long long)product->right->literal.as.integer);
            }
        }
    }
}

void binding_merge(Binding *binding, const Binding *defaults) {
    for (int i = 0; i < binding->op->attribute_count; i++) {
        if (!binding->given[i] && defaults->given[i]) {
            binding->values[i] = defaults->values[i];
            binding->given[i] = true;
        }
    }
}

bool binding_complete(Binding *binding, Diagnostics *diagnostics, SourceRange where) {
    Arena *arena = diagnostics_arena(diagnostics);
    for (int i = 0; i < binding->op->attribute_count; i++) {
        const AttributeDef *attribute = &binding->op->attributes[i];
        if (binding->given[i]) {
            continue;
        }
        if (attribute->fallback == NULL) {
            diagnostic_hint(diagnostic_error(diagnostics, where, "%s needs its argument '%s'",
                                             binding->op->name, attribute->name),
                            "'%s' is %s%s%s", attribute->name, types[attribute->type].description,
                            attribute->summary != NULL ? ": " : "",
                            attribute->summary != NULL ? attribute->summary : "");
            return false;
        }
        Value value;
        if (!literal_read(arena, attribute->fallback, &value) ||
            (value.kind != VALUE_NONE &&
             !types[attribute->type].convert(arena, attribute, &value))) {
            diagnostic_error(diagnostics, where,
                             "the default '%s' of '%s' in the table of %s is not %s",
                             attribute->fallback, attribute->name, binding->op->name,
                             types[attribute->type].description);
            return false;
        }
        binding->values[i] = value;
    }
    return true;
}

int64_t attribute_integer(const Layer *layer, int attribute) {
    const Value *value = &layer->attributes[attribute];
    return value->kind == VALUE_INTEGER ? value->as.integer : 0;
}

double attribute_number(const Layer *layer, int attribute) {
    const Value *value = &layer->attributes[attribute];
    return value_is_numeric(value) ? value_as_number(value) : 0;
}

bool attribute_boolean(const Layer *layer, int attribute) {
    const Value *value = &layer->attributes[attribute];
    return value->kind == VALUE_BOOLEAN && value->as.boolean;
}

const char *attribute_choice(const Layer *layer, int attribute) {
    const Value *value = &layer->attributes[attribute];
    return value->kind == VALUE_WORD ? value->as.word->name : NULL;
}

bool attribute_given(const Layer *layer, int attribute) {
    return layer->attributes[attribute].kind != VALUE_NONE;
}
