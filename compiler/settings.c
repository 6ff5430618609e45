#include "settings.h"

#include <stddef.h>
#include <string.h>

#define MAXIMUM_COUNT 1000000000.0 /* epochs, examples, ...: far beyond use, far within an int */

typedef enum FieldType {
    FIELD_INTEGER, /* an int */
    FIELD_NUMBER,  /* a double */
    FIELD_BOOLEAN, /* an int, 0 or 1 */
    FIELD_SEED,    /* an unsigned long long */
    FIELD_STRING,  /* a const char * */
    FIELD_WEIGHTS, /* a list of numbers: class_weights of the network */
    FIELD_CHOICE   /* one of `choices`: an enum */
} FieldType;

typedef struct Choice Choice;

/* One key of a block, or one argument of a choice: where its value goes and what it may be. */
typedef struct Field {
    const char *name;
    FieldType type;
    size_t offset; /* in TrainSettings, or in DataSettings for the keys of data */
    double fallback, minimum, maximum;
    bool required;
    bool exclusive; /* the bounds themselves are not allowed */
    const Choice *choices;
} Field;

typedef enum Support { SUPPORTED, NOT_YET, IGNORED_YET } Support;

/* One word that a FIELD_CHOICE may be; the list ends with a name of NULL. */
struct Choice {
    const char *name;
    int value; /* of the enum */
    Support support;
    const Field *fields; /* its arguments in order, ends with a name of NULL */
};

/* Keys and words that the language has and this version does not apply. */
typedef struct LaterKey {
    const char *name;
    Support support;
    const char *words; /* which the value may be made of; NULL: not looked at */
} LaterKey;

typedef struct Block {
    const char *name;
    const Field *fields;
    const LaterKey *later;
} Block;

typedef struct Reader {
    Evaluator *evaluator;
    Arena *arena;
    Network *network;
    char *settings; /* TrainSettings or DataSettings */
} Reader;

#define TRAIN(member) offsetof(TrainSettings, member)
#define DATA(member) offsetof(DataSettings, member)
#define RATE(name_, member, fallback_)                                                             \
    {                                                                                              \
        .name = name_, .type = FIELD_NUMBER, .offset = TRAIN(member), .fallback = fallback_,       \
        .minimum = 0, .maximum = 1e6                                                               \
    }
#define FRACTION(name_, member, fallback_)                                                         \
    {                                                                                              \
        .name = name_, .type = FIELD_NUMBER, .offset = TRAIN(member), .fallback = fallback_,       \
        .minimum = 0, .maximum = 1, .exclusive = true                                              \
    }
#define COUNT(name_, offset_, fallback_, minimum_)                                                 \
    {                                                                                              \
        .name = name_, .type = FIELD_INTEGER, .offset = offset_, .fallback = fallback_,            \
        .minimum = minimum_, .maximum = MAXIMUM_COUNT                                              \
    }

static const Field no_fields[] = {{.name = NULL}};

static const Field cross_entropy_fields[] = {
    {.name = "smoothing", .type = FIELD_NUMBER, .offset = TRAIN(label_smoothing), .maximum = 1},
    {.name = "weights", .type = FIELD_WEIGHTS},
    {.name = NULL},
};

static const Field sgd_fields[] = {
    RATE("lr", learning_rate, 0.01),
    {.name = "momentum", .type = FIELD_NUMBER, .offset = TRAIN(momentum), .maximum = 1},
    {.name = "nesterov", .type = FIELD_BOOLEAN, .offset = TRAIN(nesterov)},
    RATE("weight_decay", weight_decay, 0),
    {.name = NULL},
};

static const Field adam_fields[] = {
    RATE("lr", learning_rate, 0.001),
    {.name = "beta1",
     .type = FIELD_NUMBER,
     .offset = TRAIN(beta1),
     .fallback = 0.9,
     .maximum = 0.999999999},
    {.name = "beta2",
     .type = FIELD_NUMBER,
     .offset = TRAIN(beta2),
     .fallback = 0.999,
     .maximum = 0.999999999},
    {.name = "eps",
     .type = FIELD_NUMBER,
     .offset = TRAIN(epsilon),
     .fallback = 1e-8,
     .minimum = 1e-30,
     .maximum = 1},
    RATE("weight_decay", weight_decay, 0),
    {.name = NULL},
};

#define WARMUP COUNT("warmup", TRAIN(warmup), 0, 0)

static const Field constant_fields[] = {WARMUP, {.name = NULL}};

static const Field step_fields[] = {
    {.name = "every",
     .type = FIELD_INTEGER,
     .offset = TRAIN(schedule_every),
     .minimum = 1,
     .maximum = MAXIMUM_COUNT,
     .required = true},
    FRACTION("factor", schedule_factor, 0.1),
    WARMUP,
    {.name = NULL},
};

static const Field plateau_fields[] = {
    FRACTION("factor", schedule_factor, 0.1),
    COUNT("patience", TRAIN(schedule_patience), 5, 0),
    WARMUP,
    {.name = NULL},
};

static const Choice losses[] = {
    {"cross_entropy", LOSS_CROSS_ENTROPY, SUPPORTED, cross_entropy_fields},
    {"mse", LOSS_MSE, SUPPORTED, no_fields},
    {"l1", 0, NOT_YET, NULL},
    {"bce", 0, NOT_YET, NULL},
    {"hinge", 0, NOT_YET, NULL},
    {.name = NULL},
};

static const Choice optimizers[] = {
    {"sgd", OPTIMIZER_SGD, SUPPORTED, sgd_fields},
    {"adam", OPTIMIZER_ADAM, SUPPORTED, adam_fields},
    {"adagrad", 0, NOT_YET, NULL},
    {"adadelta", 0, NOT_YET, NULL},
    {"rmsprop", 0, NOT_YET, NULL},
    {"adamw", 0, NOT_YET, NULL},
    {.name = NULL},
};

static const Choice schedules[] = {
    {"constant", SCHEDULE_CONSTANT, SUPPORTED, constant_fields},
    {"step", SCHEDULE_STEP, SUPPORTED, step_fields},
    {"plateau", SCHEDULE_PLATEAU, SUPPORTED, plateau_fields},
    {"exp", 0, NOT_YET, NULL},
    {"poly", 0, NOT_YET, NULL},
    {"cosine", 0, NOT_YET, NULL},
    {.name = NULL},
};

static const Choice formats[] = {
    {"synthetic", DATA_SYNTHETIC, SUPPORTED, no_fields},
    {"idx", DATA_IDX, SUPPORTED, no_fields},
    {"npy", DATA_NPY, SUPPORTED, no_fields},
    {"cifar10", 0, NOT_YET, NULL},
    {"cifar100", 0, NOT_YET, NULL},
    {"csv", 0, NOT_YET, NULL},
    {"packed", 0, NOT_YET, NULL},
    {.name = NULL},
};

/* A choice's fallback is its first word. */
static const Field train_fields[] = {
    {.name = "loss", .type = FIELD_CHOICE, .offset = TRAIN(loss), .choices = losses},
    {.name = "optimizer", .type = FIELD_CHOICE, .offset = TRAIN(optimizer), .choices = optimizers},
    {.name = "schedule", .type = FIELD_CHOICE, .offset = TRAIN(schedule), .choices = schedules},
    COUNT("batch", TRAIN(batch), 0, 1),
    COUNT("epochs", TRAIN(epochs), 10, 0),
    {.name = "seed", .type = FIELD_SEED, .offset = TRAIN(seed), .fallback = 1},
    {.name = "validate", .type = FIELD_NUMBER, .offset = TRAIN(validate), .maximum = 0.99},
    RATE("head_weight", head_weight, 0.3),
    {.name = NULL},
};

static const LaterKey train_later[] = {
    {"augment", IGNORED_YET,
     "random_crop flip vflip shift rotate scale stretch brightness contrast color_cast pca_color "
     "vignette erase mixup cutmix normalize"},
    {"tta", IGNORED_YET, "center ten_crop multi_scale"},
    {"early_stop", IGNORED_YET, NULL},
    {"clip_norm", NOT_YET, NULL},
    {"clip_value", NOT_YET, NULL},
    {"l1", NOT_YET, NULL},
    {"max_norm", NOT_YET, NULL},
    {"ema", NOT_YET, NULL},
    {"accumulate", NOT_YET, NULL},
    {.name = NULL},
};

static const Field data_fields[] = {
    {.name = "format", .type = FIELD_CHOICE, .offset = DATA(format), .choices = formats},
    {.name = "path", .type = FIELD_STRING, .offset = DATA(path)},
    {.name = "validation", .type = FIELD_STRING, .offset = DATA(validation_path)},
    {.name = "scale",
     .type = FIELD_NUMBER,
     .offset = DATA(scale),
     .fallback = 1,
     .minimum = -1e30,
     .maximum = 1e30},
    {.name = "shift",
     .type = FIELD_NUMBER,
     .offset = DATA(shift),
     .minimum = -1e30,
     .maximum = 1e30},
    COUNT("count", DATA(synthetic_count), 1024, 1),
    {.name = NULL},
};

static const LaterKey data_later[] = {{.name = NULL}};

static const Block train_block = {"train", train_fields, train_later};
static const Block data_block = {"data", data_fields, data_later};

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
    if (name != NULL) {
        const Field *field = find_field(choice->fields, name);
        if (field == NULL) {
            Diagnostic *error = diagnostic_error(diagnostics, where, "'%s' has no argument '%s'",
                                                 choice->name, name);
            Suggestion suggestion = suggestion_for(name);
            offer_fields(&suggestion, choice->fields);
            suggestion_hint(&suggestion, error);
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
    diagnostic_error(diagnostics, where, "too many arguments for '%s'", choice->name);
    return NULL;
}

static void read_arguments(Reader *reader, const Choice *choice, const Word *word) {
    Diagnostics *diagnostics = reader->evaluator->diagnostics;
    unsigned given = 0; /* a bit for each field */
    for (int i = 0; i < word->argument_count; i++) {
        const Field *field = argument_field(reader, choice, word, i);
        if (field == NULL) {
            return;
        }
        unsigned bit = 1u << (field - choice->fields);
        if ((given & bit) != 0) {
            diagnostic_error(diagnostics, word->argument_where[i], "'%s' is given twice",
                             field->name);
            return;
        }
        given |= bit;
        read_value(reader, field, word->arguments[i]);
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

static void fail_key(Reader *reader, const Block *block, const Argument *argument) {
    Diagnostic *error =
        diagnostic_error(reader->evaluator->diagnostics, argument->name_where,
                         "the %s block has no setting '%s'", block->name, argument->name);
    Suggestion suggestion = suggestion_for(argument->name);
    offer_fields(&suggestion, block->fields);
    for (const LaterKey *key = block->later; key->name != NULL; key++) {
        suggestion_offer(&suggestion, key->name);
    }
    suggestion_hint(&suggestion, error);
}

static void read_setting(Reader *reader, const Block *block, const Argument *argument) {
    Value value;
    if (!evaluate_value(reader->evaluator, argument->value, &value)) {
        return;
    }
    for (const LaterKey *key = block->later; key->name != NULL; key++) {
        if (strcmp(key->name, argument->name) == 0) {
            read_later(reader, key, argument, &value);
            return;
        }
    }
    const Field *field = find_field(block->fields, argument->name);
    if (field == NULL) {
        fail_key(reader, block, argument);
    } else if (field->offset == TRAIN(validate) && block == &train_block &&
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
