#include "options.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum OptionType { OPTION_FLAG, OPTION_TEXT, OPTION_INTEGER, OPTION_NUMBER } OptionType;

typedef struct OptionDef {
    const char *name;
    OptionType type;
    const char *placeholder; /* "DIR" */
    double minimum, maximum; /* of numbers, inclusive */
    unsigned commands;       /* bit 1 << CommandId */
    unsigned required;       /* of those, the commands that cannot do without */
    const char *help;
} OptionDef;

#define ON(command) (1u << COMMAND_##command)
#define OPTION_MAX_INTEGER 1e9
#define OPTION_MAX_SEED 18446744073709549568.0 /* the largest double below 2^64 */

static const OptionDef option_table[OPTION_COUNT] = {
    [OPTION_DATA] = {"--data", OPTION_TEXT, "PATH", 0, 0, ON(TRAIN) | ON(EVAL), 0,
                     "the data, instead of the path in the description"},
    [OPTION_VAL] = {"--val", OPTION_TEXT, "PATH", 0, 0, ON(TRAIN), 0,
                    "data to test on after each epoch (default: the data's own test part)"},
    [OPTION_FORMAT] = {"--format", OPTION_TEXT, "NAME", 0, 0, ON(TRAIN) | ON(EVAL), 0,
                       "format of the data: synthetic, idx or npy"},
    [OPTION_EPOCHS] = {"--epochs", OPTION_INTEGER, "N", 0, OPTION_MAX_INTEGER, ON(TRAIN), 0,
                       "passes over the training data in all, resumed ones included"},
    [OPTION_BATCH] = {"--batch", OPTION_INTEGER, "N", 1, OPTION_MAX_INTEGER, ON(TRAIN), 0,
                      "examples per step"},
    [OPTION_LR] = {"--lr", OPTION_NUMBER, "X", 0, 1e9, ON(TRAIN) | ON(STEP), 0,
                   "learning rate, before the schedule"},
    [OPTION_SEED] = {"--seed", OPTION_INTEGER, "N", 0, OPTION_MAX_SEED,
                     ON(TRAIN) | ON(EVAL) | ON(STEP) | ON(INIT) | ON(GRADCHECK) | ON(BENCH), 0,
                     "all random numbers come from it"},
    [OPTION_VALIDATE] = {"--validate", OPTION_NUMBER, "X", 0, 0.99, ON(TRAIN), 0,
                         "fraction of the training data to hold back for validation"},
    [OPTION_OUT_DIRECTORY] = {"--out", OPTION_TEXT, "DIR", 0, 0, ON(TRAIN), 0,
                              "where last.safetensors and best.safetensors go (default: the "
                              "network's name with -run, in the current directory)"},
    [OPTION_RESUME] = {"--resume", OPTION_FLAG, NULL, 0, 0, ON(TRAIN), 0,
                       "go on from last.safetensors if it is there; batch, seed and learning "
                       "rate come from it"},
    [OPTION_SAVE_EVERY] = {"--save-every", OPTION_NUMBER, "SECONDS", 0, 1e9, ON(TRAIN), 0,
                           "save at least this often, besides once per epoch (default 300)"},
    [OPTION_LOG] = {"--log", OPTION_TEXT, "FILE", 0, 0, ON(TRAIN), 0,
                    "append a line per epoch: JSON, or CSV if the name ends in .csv"},
    [OPTION_QUIET] = {"--quiet", OPTION_FLAG, NULL, 0, 0, ON(TRAIN), 0,
                      "no progress on standard error"},
    [OPTION_WEIGHTS] = {"--weights", OPTION_TEXT, "FILE", 0, 0,
                        ON(EVAL) | ON(PREDICT) | ON(GRAD) | ON(STEP) | ON(GRADCHECK) | ON(BENCH),
                        ON(EVAL) | ON(PREDICT) | ON(GRAD) | ON(STEP),
                        "weights or a checkpoint (.safetensors)"},
    [OPTION_PART] = {"--part", OPTION_TEXT, "NAME", 0, 0, ON(EVAL), 0,
                     "which part of the data: test (default if there is one) or train"},
    [OPTION_CONFUSION] = {"--confusion", OPTION_TEXT, "FILE", 0, 0, ON(EVAL), 0,
                          "write the confusion matrix as CSV"},
    [OPTION_INPUT] = {"--input", OPTION_TEXT, "FILE", 0, 0, ON(PREDICT) | ON(GRAD) | ON(STEP),
                      ON(PREDICT) | ON(GRAD) | ON(STEP), "inputs (.npy), examples first"},
    [OPTION_OUTPUT] = {"--output", OPTION_TEXT, "FILE", 0, 0, ON(PREDICT) | ON(GRAD), 0,
                       "write the outputs (.npy)"},
    [OPTION_TOP] = {"--top", OPTION_INTEGER, "K", 1, OPTION_MAX_INTEGER, ON(PREDICT), 0,
                    "print the K highest classes of each example"},
    [OPTION_TARGET] = {"--target", OPTION_TEXT, "FILE", 0, 0, ON(GRAD) | ON(STEP),
                       ON(GRAD) | ON(STEP), "labels or targets (.npy)"},
    [OPTION_GRADS] = {"--grads", OPTION_TEXT, "FILE", 0, 0, ON(GRAD), ON(GRAD),
                      "where the gradients go (.safetensors), named like the parameters, and "
                      "input"},
    [OPTION_STEPS] = {"--steps", OPTION_INTEGER, "N", 0, OPTION_MAX_INTEGER, ON(STEP), ON(STEP),
                      "optimizer steps on the batch"},
    [OPTION_RANDOM] = {"--random", OPTION_FLAG, NULL, 0, 0, ON(STEP), 0,
                       "random layers such as dropout are active"},
    [OPTION_OUT_FILE] = {"--out", OPTION_TEXT, "FILE", 0, 0, ON(STEP) | ON(INIT),
                         ON(STEP) | ON(INIT), "where the weights go (.safetensors)"},
    [OPTION_BENCH_BATCH] = {"--batch", OPTION_INTEGER, "N", 1, OPTION_MAX_INTEGER, ON(BENCH), 0,
                            "examples per run (default: the largest batch)"},
    [OPTION_JSON] = {"--json", OPTION_FLAG, NULL, 0, 0, ON(BENCH), 0, "one JSON object"},
    [OPTION_LAYERS] = {"--layers", OPTION_FLAG, NULL, 0, 0, ON(BENCH), 0, "also each layer"},
};

RUNTIME_API const CommandDef *command_def(CommandId command) {
    static const CommandDef table[COMMAND_COUNT] = {
        [COMMAND_INFO] = {"info", "what this network is: layers, parameters, memory", "", false},
        [COMMAND_TRAIN] = {"train", "train the network",
                           "Ctrl-C or SIGTERM ends the step, saves and exits with status 130.\n",
                           true},
        [COMMAND_EVAL] = {"eval", "loss, top-1, top-5 and confusion matrix on data", "", false},
        [COMMAND_PREDICT] = {"predict", "outputs for given inputs",
                             "Without --output it prints the highest class of each example.\n",
                             false},
        [COMMAND_GRAD] = {"grad", "loss and all gradients of one batch",
                          "Training mode, random layers off. Prints the mean loss.\n", true},
        [COMMAND_STEP] = {"step", "optimizer steps on one batch",
                          "Training mode, random layers off unless --random, constant learning "
                          "rate. Prints each step's mean loss.\n",
                          true},
        [COMMAND_INIT] = {"init", "write random initial weights", "", false},
        [COMMAND_GRADCHECK] = {"gradcheck", "compare gradients with finite differences",
                               "Exit status 1 if any tensor is out of tolerance. Compile with "
                               "--double for tight bounds.\n",
                               true},
        [COMMAND_BENCH] = {"bench", "time of the forward pass and the training step", "", false},
    };
    return &table[command];
}

RUNTIME_API bool option_given(const Options *options, OptionId option) {
    return options->values[option].given;
}

RUNTIME_API const char *option_text(const Options *options, OptionId option) {
    return options->values[option].text;
}

RUNTIME_API unsigned long long option_integer(const Options *options, OptionId option,
                                              unsigned long long otherwise) {
    return option_given(options, option) ? options->values[option].integer : otherwise;
}

RUNTIME_API double option_number(const Options *options, OptionId option, double otherwise) {
    return option_given(options, option) ? options->values[option].number : otherwise;
}

static void options_print_commands(FILE *stream, const char *program) {
    fprintf(stream, "usage: %s COMMAND [OPTIONS]\n\ncommands:\n", program);
    for (int i = 0; i < COMMAND_COUNT; i++) {
        const CommandDef *def = command_def((CommandId)i);
        fprintf(stream, "  %-10s %s\n", def->name, def->summary);
    }
    fprintf(stream, "\n'%s COMMAND --help' lists the command's options.\n", program);
}

static void options_print_help(FILE *stream, const char *program, CommandId command) {
    const CommandDef *def = command_def(command);
    fprintf(stream, "usage: %s %s [OPTIONS]\n\n%s\n%s%s", program, def->name, def->summary,
            def->details[0] != '\0' ? "\n" : "", def->details);
    bool heading = false;
    for (int i = 0; i < OPTION_COUNT; i++) {
        const OptionDef *option = &option_table[i];
        char left[64];
        if (!(option->commands >> command & 1)) {
            continue;
        }
        fprintf(stream, "%s", heading ? "" : "\noptions:\n");
        heading = true;
        snprintf(left, sizeof left, "%s%s%s", option->name, option->placeholder ? " " : "",
                 option->placeholder ? option->placeholder : "");
        fprintf(stream, "  %-21s %s%s\n", left, option->help,
                option->required >> command & 1 ? " (required)" : "");
    }
}

/* The number of insertions, deletions and substitutions that turn a into b (Levenshtein 1966). */
static size_t options_distance(const char *a, const char *b) {
    enum { MOST = 32 };
    size_t row[MOST + 1], columns = strlen(b);
    if (columns > MOST || strlen(a) > MOST) {
        return SIZE_MAX;
    }
    for (size_t j = 0; j <= columns; j++) {
        row[j] = j;
    }
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= columns; j++) {
            size_t substitute = diagonal + (a[i - 1] != b[j - 1]);
            size_t other = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = substitute < other ? substitute : other;
        }
    }
    return row[columns];
}

/* Remembers the nearest name so far; near is at most two or three changes away. */
static void options_consider(const char *wrong, const char *name, size_t *distance,
                             const char **nearest) {
    size_t d = options_distance(wrong, name);
    if (d < *distance && d <= 1 + strlen(name) / 5) {
        *distance = d;
        *nearest = name;
    }
}

static OptionsResult options_unknown(const char *program, const char *what, const char *wrong,
                                     const char *nearest, const char *help) {
    fprintf(stderr, "%s: unknown %s '%s'", program, what, wrong);
    if (nearest != NULL) {
        fprintf(stderr, "; did you mean '%s'?\n", nearest);
    } else {
        fprintf(stderr, "; see '%s%s --help'\n", program, help);
    }
    return OPTIONS_WRONG;
}

static bool options_find_command(const char *program, const char *name, CommandId *command) {
    const char *nearest = NULL;
    size_t distance = SIZE_MAX;
    for (int i = 0; i < COMMAND_COUNT; i++) {
        const char *known = command_def((CommandId)i)->name;
        if (strcmp(known, name) == 0) {
            *command = (CommandId)i;
            return true;
        }
        options_consider(name, known, &distance, &nearest);
    }
    options_unknown(program, "command", name, nearest, "");
    return false;
}

/* The command's option of this name (length bytes of it); OPTION_COUNT with a message if none. */
static OptionId options_find(const char *program, CommandId command, const char *argument,
                             size_t length) {
    char name[64], help[32];
    const char *nearest = NULL;
    size_t distance = SIZE_MAX;
    snprintf(name, sizeof name, "%.*s", (int)(length < 60 ? length : 60), argument);
    for (int i = 0; i < OPTION_COUNT; i++) {
        const OptionDef *option = &option_table[i];
        if (option->commands >> command & 1) {
            if (strcmp(option->name, name) == 0) {
                return (OptionId)i;
            }
            options_consider(name, option->name, &distance, &nearest);
        }
    }
    snprintf(help, sizeof help, " %s", command_def(command)->name);
    options_unknown(program, "option", name, nearest, help);
    return OPTION_COUNT;
}

static bool options_read_value(const char *program, const OptionDef *option, const char *text,
                               OptionValue *value) {
    char *end = NULL;
    value->given = true;
    value->text = text;
    if (option->type == OPTION_TEXT) {
        if (text[0] == '\0') {
            fprintf(stderr, "%s: %s: expected %s, found nothing\n", program, option->name,
                    option->placeholder);
        }
        return text[0] != '\0';
    }
    errno = 0;
    if (option->type == OPTION_INTEGER) {
        value->integer = strtoull(text, &end, 10);
        value->number = (double)value->integer;
    } else {
        value->number = strtod(text, &end);
    }
    bool starts_well = (text[0] >= '0' && text[0] <= '9') || text[0] == '.';
    if (!starts_well || end == text || *end != '\0' || errno == ERANGE ||
        !(value->number >= option->minimum && value->number <= option->maximum)) {
        fprintf(stderr, "%s: %s: expected %s from %.10g to %.10g, found '%s'\n", program,
                option->name, option->type == OPTION_INTEGER ? "an integer" : "a number",
                option->minimum, option->maximum, text);
        return false;
    }
    return true;
}

static bool options_check_required(const char *program, CommandId command, const Options *options) {
    bool good = true;
    for (int i = 0; i < OPTION_COUNT; i++) {
        const OptionDef *option = &option_table[i];
        if (option->required >> command & 1 && !options->values[i].given) {
            fprintf(stderr, "%s: %s needs %s %s\n", program, command_def(command)->name,
                    option->name, option->placeholder);
            good = false;
        }
    }
    return good;
}

static bool options_is_help(const char *argument) {
    return strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0 ||
           strcmp(argument, "help") == 0;
}

RUNTIME_API OptionsResult options_parse(const char *program, int argc, char **argv,
                                        CommandId *command, Options *options) {
    *options = (Options){0};
    if (argc < 2) {
        options_print_commands(stderr, program);
        return OPTIONS_WRONG;
    }
    if (options_is_help(argv[1])) {
        options_print_commands(stdout, program);
        return OPTIONS_HELP;
    }
    if (!options_find_command(program, argv[1], command)) {
        return OPTIONS_WRONG;
    }
    for (int i = 2; i < argc; i++) {
        const char *argument = argv[i];
        if (options_is_help(argument)) {
            options_print_help(stdout, program, *command);
            return OPTIONS_HELP;
        }
        if (strncmp(argument, "--", 2) != 0) {
            fprintf(stderr, "%s: unexpected argument '%s'\n", program, argument);
            return OPTIONS_WRONG;
        }
        const char *equals = strchr(argument, '=');
        size_t length = equals != NULL ? (size_t)(equals - argument) : strlen(argument);
        OptionId id = options_find(program, *command, argument, length);
        if (id == OPTION_COUNT) {
            return OPTIONS_WRONG;
        }
        const OptionDef *option = &option_table[id];
        OptionValue *value = &options->values[id];
        if (option->type == OPTION_FLAG) {
            value->given = true;
            if (equals != NULL) {
                fprintf(stderr, "%s: %s takes no value\n", program, option->name);
                return OPTIONS_WRONG;
            }
            continue;
        }
        if (equals == NULL && i + 1 == argc) {
            fprintf(stderr, "%s: %s: expected %s behind it\n", program, option->name,
                    option->placeholder);
            return OPTIONS_WRONG;
        }
        if (!options_read_value(program, option, equals != NULL ? equals + 1 : argv[++i], value)) {
            return OPTIONS_WRONG;
        }
    }
    return options_check_required(program, *command, options) ? OPTIONS_RUN : OPTIONS_WRONG;
}
