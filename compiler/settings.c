#include "settings.h"

#include "settings_table.h"

#include <string.h>

typedef struct Reader {
    Evaluator *evaluator;
    Arena *arena;
    Network *network;
    char *settings; /* TrainSettings or DataSettings */
} Reader;

static void set_integer(Reader *reader, size_t offset, int integer) {
    memcpy(reader->settings + offset, &integer, sizeof integer);
}

static void set_number(Reader *reader, size_t offset, double number) {
    memcpy(reader->settings + offset, &number, sizeof number);
}

/* Enums are stored through an int. */
_Static_assert(sizeof(LossKind) == sizeof(int) && sizeof(OptimizerKind) == sizeof(int) &&
                   sizeof(ScheduleKind) == sizeof(int) && sizeof(DataFormat) == sizeof(int),
               "enums have the size of an int");

static void set_defaults(Reader *reader, const Field *fields) {
    for (const Field *field = fields; field->name != NULL; field++) {
        switch (field->type) {
        case FIELD_INTEGER:
        case FIELD_BOOLEAN:
            set_integer(reader, field->offset, (int)field->fallback);
            break;
        case FIELD_NUMBER:
            set_number(reader, field->offset, field->fallback);
            break;
        case FIELD_SEED: {
            unsigned long long seed = (unsigned long long)field->fallback;
            memcpy(reader->settings + field->offset, &seed, sizeof seed);
            break;
        }
        case FIELD_CHOICE:
            set_integer(reader, field->offset, field->choices[0].value);
            set_defaults(reader, field->choices[0].fields);
            break;
        case FIELD_STRING:
        case FIELD_WEIGHTS:
            break;
        }
    }
}

static void fail_type(Reader *reader, const Field *field, const Value *value, const char *wanted) {
    Diagnostic *error =
        diagnostic_error(reader->evaluator->diagnostics, value->where, "'%s' must be %s, not %.80s",
                         field->name, wanted, value_text(reader->arena, value));
    if (value->kind == VALUE_WORD && diagnostic_is_shown(error)) {
        Suggestion suggestion = suggestion_for(value->as.word->name);
        reader->evaluator->offer(reader->evaluator->context, &suggestion);
        suggestion_hint(&suggestion, error);
    } else if (value->kind == VALUE_STRING) {
        diagnostic_hint(error, "leave out the quotes");
    }
}

static bool in_range(Reader *reader, const Field *field, const Value *value) {
    double number = value_as_number(value);
    bool inside = field->exclusive ? number > field->minimum && number < field->maximum
                                   : number >= field->minimum && number <= field->maximum;
    if (!inside) {
        diagnostic_error(reader->evaluator->diagnostics, value->where,
                         "'%s' must be %s %.10g and %.10g, not %s", field->name,
                         field->exclusive ? "strictly between" : "between", field->minimum,
                         field->maximum, value_text(reader->arena, value));
    }
    return inside;
}

static void read_weights(Reader *reader, const Field *field, const Value *value) {
    if (value->kind != VALUE_LIST) {
        fail_type(reader, field, value, "a list of numbers");
        return;
    }
    int count = value->as.list.count;
    double *weights = ARENA_ARRAY(reader->arena, double, (size_t)count);
    for (int i = 0; i < count; i++) {
        const Value *item = &value->as.list.items[i];
        if (!value_is_numeric(item) || value_as_number(item) < 0) {
            fail_type(reader, field, item, "a list of numbers that are not negative");
            return;
        }
        weights[i] = value_as_number(item);
    }
    reader->network->class_weights_where = value->where;
    reader->network->class_weight_count = count;
    reader->network->class_weights = weights;
}

static void read_choice(Reader *reader, const Field *field, const Value *value);

static void read_value(Reader *reader, const Field *field, Value value) {
    switch (field->type) {
    case FIELD_INTEGER:
        if (!value_to_integer(&value)) {
            fail_type(reader, field, &value, "an integer");
        } else if (in_range(reader, field, &value)) {
            set_integer(reader, field->offset, (int)value.as.integer);
        }
        break;
    case FIELD_NUMBER:
        if (!value_is_numeric(&value)) {
            fail_type(reader, field, &value, "a number");
        } else if (in_range(reader, field, &value)) {
            set_number(reader, field->offset, value_as_number(&value));
        }
        break;
    case FIELD_BOOLEAN:
        if (value.kind != VALUE_BOOLEAN) {
            fail_type(reader, field, &value, "true or false");
        } else {
            set_integer(reader, field->offset, value.as.boolean);
        }
        break;
    case FIELD_SEED:
        if (!value_to_integer(&value) || value.as.integer < 0) {
            fail_type(reader, field, &value, "an integer that is not negative");
        } else {
            unsigned long long seed = (unsigned long long)value.as.integer;
            memcpy(reader->settings + field->offset, &seed, sizeof seed);
        }
        break;
    case FIELD_STRING:
        if (value.kind != VALUE_STRING) {
            fail_type(reader, field, &value, "a string, in double quotes");
        } else {
            memcpy(reader->settings + field->offset, &value.as.string, sizeof value.as.string);
        }
        break;
    case FIELD_WEIGHTS:
        read_weights(reader, field, &value);
        break;
    case FIELD_CHOICE:
        read_choice(reader, field, &value);
        break;
    }
}

static const Field *find_field(const Field *fields, const char *name) {
    for (const Field *field = fields; field->name != NULL; field++) {
        if (strcmp(field->name, name) == 0) {
            return field;
        }
    }
    return NULL;
}

/* Names what a word takes. */
static void hint_fields(Reader *reader, Diagnostic *error, const Choice *choice) {
    const char *text = "";
    for (const Field *field = choice->fields; field->name != NULL; field++) {
        text = arena_format(reader->arena, "%s%s%s", text, *text == '\0' ? "" : ", ", field->name);
    }
    diagnostic_hint(error, "its arguments are %s(%s)", choice->name, text);
}

static void offer_fields(Suggestion *suggestion, const Field *fields) {
    for (const Field *field = fields; field->name != NULL; field++) {
        suggestion_offer(suggestion, field->name);
    }
}

/* The field for argument `i` of a choice's word; NULL after an error. */
static const Field *argument_field(Reader *reader, const Choice *choice, const Word *word, int i) {
    Diagnostics *diagnostics = reader->evaluator->diagnostics;
    const char *name = word->argument_names[i];
    SourceRange where = word->argument_where[i];
    if (choice->fields[0].name == NULL) {
        diagnostic_error(diagnostics, where, "'%s' takes no arguments", choice->name);
        return NULL;
    }
    if (name != NULL) {
        const Field *field = find_field(choice->fields, name);
        if (field == NULL) {
            Diagnostic *error = diagnostic_error(diagnostics, where, "'%s' has no argument '%s'",
                                                 choice->name, name);
            Suggestion suggestion = suggestion_for(name);
            offer_fields(&suggestion, choice->fields);
            suggestion_hint(&suggestion, error);
            if (suggestion.best == NULL) {
                hint_fields(reader, error, choice);
            }
        }
        return field;
    }
    if (i > 0 && word->argument_names[i - 1] != NULL) {
        diagnostic_error(diagnostics, where, "an argument without a name behind one with a name");
        return NULL;
    }
    for (int j = 0; choice->fields[j].name != NULL; j++) {
        if (j == i) {
            return &choice->fields[j];
        }
    }
    hint_fields(reader,
                diagnostic_error(diagnostics, where, "too many arguments for '%s'", choice->name),
                choice);
    return NULL;
}

static void read_arguments(Reader *reader, const Choice *choice, const Word *word) {
    Diagnostics *diagnostics = reader->evaluator->diagnostics;
    int errors = diagnostics_error_count(diagnostics);
    unsigned given = 0; /* a bit for each field */
    for (int i = 0; i < word->argument_count; i++) {
        const Field *field = argument_field(reader, choice, word, i);
        if (field == NULL) {
            continue;
        }
        unsigned bit = 1u << (field - choice->fields);
        if ((given & bit) != 0) {
            diagnostic_error(diagnostics, word->argument_where[i], "'%s' is given twice",
                             field->name);
            continue;
        }
        given |= bit;
        read_value(reader, field, word->arguments[i]);
    }
    if (diagnostics_error_count(diagnostics) > errors) {
        return; /* one of them may be meant for what is missing */
    }
    for (int j = 0; choice->fields[j].name != NULL; j++) {
        if (choice->fields[j].required && (given & (1u << j)) == 0) {
            diagnostic_error(diagnostics, word->where, "'%s' needs its argument '%s'", choice->name,
                             choice->fields[j].name);
        }
    }
}

/* "a, b, c" of the choices that are supported. */
static const char *choice_list(Arena *arena, const Choice *choices) {
    const char *text = "";
    for (const Choice *choice = choices; choice->name != NULL; choice++) {
        if (choice->support == SUPPORTED) {
            text = arena_format(arena, "%s%s%s", text, *text == '\0' ? "" : ", ", choice->name);
        }
    }
    return text;
}

static void read_choice(Reader *reader, const Field *field, const Value *value) {
    Diagnostics *diagnostics = reader->evaluator->diagnostics;
    if (value->kind != VALUE_WORD || value->as.word->next != NULL) {
        fail_type(
            reader, field, value,
            arena_format(reader->arena, "one of %s", choice_list(reader->arena, field->choices)));
        return;
    }
    const Word *word = value->as.word;
    Suggestion suggestion = suggestion_for(word->name);
    for (const Choice *choice = field->choices; choice->name != NULL; choice++) {
        suggestion_offer(&suggestion, choice->name);
        if (strcmp(choice->name, word->name) != 0) {
            continue;
        }
        if (choice->support == NOT_YET) {
            diagnostic_error(diagnostics, word->where,
                             "'%s = %s' is not yet supported by this version of cnnc", field->name,
                             word->name);
            return;
        }
        set_integer(reader, field->offset, choice->value);
        set_defaults(reader, choice->fields);
        read_arguments(reader, choice, word);
        return;
    }
    Diagnostic *error =
        diagnostic_error(diagnostics, word->where, "unknown %s '%s'; known: %s", field->name,
                         word->name, choice_list(reader->arena, field->choices));
    suggestion_hint(&suggestion, error);
}

/* A key that is read but not applied: its words are checked all the same. */
static void read_later(Reader *reader, const LaterKey *key, const Argument *argument,
                       const Value *value) {
    Diagnostics *diagnostics = reader->evaluator->diagnostics;
    if (key->support == NOT_YET) {
        diagnostic_error(diagnostics, argument->name_where,
                         "'%s' is not yet supported by this version of cnnc", key->name);
        return;
    }
    const Word *word = value->kind == VALUE_WORD ? value->as.word : NULL;
    for (; key->words != NULL && word != NULL; word = word->next) {
        Suggestion suggestion = suggestion_for(word->name);
        suggestion_offer_words(&suggestion, reader->arena, key->words);
        if (suggestion.best == NULL || strcmp(suggestion.best, word->name) != 0) {
            Diagnostic *error = diagnostic_error(
                diagnostics, word->where, "unknown word '%s' in '%s'", word->name, key->name);
            suggestion_hint(&suggestion, error);
            return;
        }
    }
    diagnostic_warning(diagnostics, WARNING_NOT_YET, argument->where,
                       "'%s' is read but not applied yet", key->name);
}

/* The word of the block that has an argument of that name; *field is the key of the word. */
static const Choice *find_owner(const Block *block, const char *name, const Field **field) {
    for (*field = block->fields; (*field)->name != NULL; ++*field) {
        const Choice *choice = (*field)->type == FIELD_CHOICE ? (*field)->choices : NULL;
        for (; choice != NULL && choice->name != NULL; choice++) {
            if (choice->fields != NULL && find_field(choice->fields, name) != NULL) {
                return choice;
            }
        }
    }
    return NULL;
}

static void fail_key(Reader *reader, const Block *block, const Argument *argument) {
    Diagnostic *error =
        diagnostic_error(reader->evaluator->diagnostics, argument->name_where,
                         "the %s block has no setting '%s'", block->name, argument->name);
    const Field *field;
    const Choice *owner = find_owner(block, argument->name, &field);
    if (owner != NULL) {
        diagnostic_hint(error, "it is an argument: %s = %s(%s=...)", field->name, owner->name,
                        argument->name);
        return;
    }
    Suggestion suggestion = suggestion_for(argument->name);
    offer_fields(&suggestion, block->fields);
    for (const LaterKey *key = block->later; key->name != NULL; key++) {
        suggestion_offer(&suggestion, key->name);
    }
    suggestion_hint(&suggestion, error);
}

static void read_setting(Reader *reader, const Block *block, const Argument *argument) {
    Value value;
    const Field *field = find_field(block->fields, argument->name);
    const Expression *expression = argument->value;
    if (field != NULL && field->type == FIELD_STRING && expression->kind != EXPRESSION_LITERAL) {
        diagnostic_error(reader->evaluator->diagnostics, expression->where,
                         "'%s' must be a string, in double quotes", field->name);
        return;
    }
    if (!evaluate_value(reader->evaluator, argument->value, &value)) {
        return;
    }
    for (const LaterKey *key = block->later; key->name != NULL; key++) {
        if (strcmp(key->name, argument->name) == 0) {
            read_later(reader, key, argument, &value);
            return;
        }
    }
    if (field == NULL) {
        fail_key(reader, block, argument);
    } else if (block == &train_block && strcmp(field->name, "validate") == 0 &&
               value.kind == VALUE_STRING) {
        diagnostic_hint(diagnostic_error(reader->evaluator->diagnostics, value.where,
                                         "a file for 'validate' is not yet supported by this "
                                         "version of cnnc"),
                        "give the fraction of the training data that is held back, or name the "
                        "file with 'validation' in the data block");
    } else {
        read_value(reader, field, value);
    }
}

static bool is_given(const Statement *block, const char *name) {
    const Argument *argument = block == NULL ? NULL : block->arguments.first;
    for (; argument != NULL; argument = argument->next) {
        if (strcmp(argument->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static void read_block(Reader *reader, const Block *block, const Statement *statement) {
    set_defaults(reader, block->fields);
    if (statement == NULL) {
        return;
    }
    /* Bits of the settings that were given: each once. */
    unsigned given = 0;
    for (const Argument *argument = statement->arguments.first; argument != NULL;
         argument = argument->next) {
        const Field *field = find_field(block->fields, argument->name);
        unsigned bit = field == NULL ? 0 : 1u << (field - block->fields);
        if ((given & bit) != 0) {
            diagnostic_error(reader->evaluator->diagnostics, argument->where,
                             "'%s' is given twice in this block", argument->name);
            continue;
        }
        given |= bit;
        read_setting(reader, block, argument);
    }
}

void settings_read(Evaluator *evaluator, const Statement *train, const Statement *data,
                   Network *network) {
    Reader reader = {.evaluator = evaluator,
                     .arena = diagnostics_arena(evaluator->diagnostics),
                     .network = network,
                     .settings = (char *)&network->train};
    read_block(&reader, &train_block, train);
    reader.settings = (char *)&network->data;
    read_block(&reader, &data_block, data);
    /* As in torch.optim: without momentum there is nothing that could look ahead. */
    if (network->train.nesterov && network->train.momentum == 0) {
        diagnostic_error(evaluator->diagnostics, train->name_where,
                         "nesterov needs a momentum above 0");
    }
    /* The bytes of IDX files are pixels from 0 to 255. */
    if (network->data.format == DATA_IDX && !is_given(data, "scale")) {
        network->data.scale = 1.0 / 255;
    }
    if (train != NULL) {
        network->train_where = train->name_where;
    }
}
