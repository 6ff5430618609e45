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
    const char *description;
    bool (*convert)(Arena *arena, const AttributeDef *attribute, Value *value);
} types[] = {
    [ATTRIBUTE_INTEGER] = {"an integer", convert_integer},
    [ATTRIBUTE_NUMBER] = {"a number", convert_number},
    [ATTRIBUTE_BOOLEAN] = {"true or false", convert_boolean},
    [ATTRIBUTE_EXTENTS] = {"an integer or dimensions such as 3x3", convert_extents},
    [ATTRIBUTE_PADDING] = {"an integer, dimensions such as 1x1, or same", convert_padding},
    [ATTRIBUTE_DIMS] = {"dimensions such as 16x5x5, or an integer", convert_dims},
    [ATTRIBUTE_CHOICE] = {"one of", convert_choice},
    [ATTRIBUTE_INITIALISER] = {"zero, constant(c), gaussian(std), uniform(a), he, glorot or a "
                               "number",
                               convert_initialiser},
    [ATTRIBUTE_TABLE] = {"a list of lists of channels, such as [[0, 1], [1, 2]]", convert_table},
};

static bool fail_type(Evaluator *evaluator, const AttributeDef *attribute, const Value *value) {
    Arena *arena = diagnostics_arena(evaluator->diagnostics);
    bool is_choice = attribute->type == ATTRIBUTE_CHOICE;
    /* Where no words are expected, a word is a name that has no value. */
    bool is_name = value->kind == VALUE_WORD && !is_choice &&
                   attribute->type != ATTRIBUTE_INITIALISER && attribute->type != ATTRIBUTE_PADDING;
    SourceRange where = is_name ? value->as.word->where : value->where;
    Diagnostic *error =
        diagnostic_error(evaluator->diagnostics, where, "'%s' must be %s%s%s, %s %.80s%s",
                         attribute->name, types[attribute->type].description, is_choice ? ": " : "",
                         is_choice ? attribute->choices : "", is_name ? "but" : "not",
                         value_text(arena, value), is_name ? " is not defined" : "");
    if (value->kind == VALUE_WORD && diagnostic_is_shown(error)) {
        Suggestion suggestion = suggestion_for(value->as.word->name);
        if (is_choice) {
            suggestion_offer_words(&suggestion, arena, attribute->choices);
        } else if (attribute->type == ATTRIBUTE_INITIALISER) {
            suggestion_offer_words(&suggestion, arena, INITIALISERS);
        } else if (attribute->type == ATTRIBUTE_PADDING) {
            suggestion_offer(&suggestion, "same");
        } else if (attribute->type == ATTRIBUTE_BOOLEAN) {
            suggestion_offer_words(&suggestion, arena, "true false");
        }
        evaluator->offer(evaluator->context, &suggestion);
        suggestion_hint(&suggestion, error);
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
    const char *text = value_text(diagnostics_arena(evaluator->diagnostics), value);
    diagnostic_error(evaluator->diagnostics, value->where,
                     "'%s' must be between %.10g and %.10g, not %.80s", attribute->name,
                     attribute->minimum, attribute->maximum, text);
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

static int fail_argument(Evaluator *evaluator, const OpDef *op, const Word *arguments, int i) {
    const char *name = arguments->argument_names[i];
    SourceRange where = arguments->argument_where[i];
    if (name == NULL) {
        diagnostic_error(evaluator->diagnostics, where,
                         op->attribute_count == 0 ? "%s takes no arguments"
                                                  : "too many arguments for %s",
                         op->name);
        return -1;
    }
    Diagnostic *error =
        diagnostic_error(evaluator->diagnostics, where, "%s has no argument '%s'", op->name, name);
    Suggestion suggestion = suggestion_for(name);
    for (int attribute = 0; attribute < op->attribute_count; attribute++) {
        suggestion_offer(&suggestion, op->attributes[attribute].name);
    }
    suggestion_hint(&suggestion, error);
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
            return false;
        }
        Value value = arguments->arguments[i];
        valid = convert(evaluator, &op->attributes[index], &value) && valid;
        binding->values[index] = value;
        binding->given[index] = true;
    }
    return valid;
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
