/* The command line of the program: one table of options, one of commands. */
#ifndef CNNC_OPTIONS_H
#define CNNC_OPTIONS_H

#include "api.h"

#include <stdio.h>

typedef enum OptionId {
    OPTION_DATA,
    OPTION_VAL,
    OPTION_FORMAT,
    OPTION_EPOCHS,
    OPTION_BATCH,
    OPTION_LR,
    OPTION_SEED,
    OPTION_VALIDATE,
    OPTION_OUT_DIRECTORY,
    OPTION_RESUME,
    OPTION_SAVE_EVERY,
    OPTION_LOG,
    OPTION_QUIET,
    OPTION_WEIGHTS,
    OPTION_PART,
    OPTION_CONFUSION,
    OPTION_INPUT,
    OPTION_OUTPUT,
    OPTION_TOP,
    OPTION_TARGET,
    OPTION_GRADS,
    OPTION_STEPS,
    OPTION_RANDOM,
    OPTION_OUT_FILE,
    OPTION_BENCH_BATCH,
    OPTION_JSON,
    OPTION_LAYERS,
    OPTION_COUNT
} OptionId;

typedef enum CommandId {
    COMMAND_INFO,
    COMMAND_TRAIN,
    COMMAND_EVAL,
    COMMAND_PREDICT,
    COMMAND_GRAD,
    COMMAND_STEP,
    COMMAND_INIT,
    COMMAND_GRADCHECK,
    COMMAND_BENCH,
    COMMAND_COUNT
} CommandId;

typedef struct OptionValue {
    bool given;
    const char *text;
    unsigned long long integer;
    double number;
} OptionValue;

typedef struct Options {
    OptionValue values[OPTION_COUNT];
} Options;

typedef struct CommandDef {
    const char *name, *summary, *details; /* details: a further paragraph of --help, or "" */
    bool needs_training;                  /* not in programs compiled with --infer */
} CommandDef;

RUNTIME_API const CommandDef *command_def(CommandId command);

typedef enum OptionsResult { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_WRONG } OptionsResult;

/* Reads argv[1] as the command and the rest as its options. OPTIONS_HELP: help has been printed to
 * standard output; OPTIONS_WRONG: a message has been printed to standard error. */
RUNTIME_API OptionsResult options_parse(const char *program, int argc, char **argv,
                                        CommandId *command, Options *options);

RUNTIME_API bool option_given(const Options *options, OptionId option);
RUNTIME_API const char *option_text(const Options *options, OptionId option); /* NULL: not given */
RUNTIME_API unsigned long long option_integer(const Options *options, OptionId option,
                                              unsigned long long otherwise);
RUNTIME_API double option_number(const Options *options, OptionId option, double otherwise);

#endif
