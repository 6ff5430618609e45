#include "command.h"
#include "train.h"

#define COMMAND_TRAIN_SAVE_SECONDS 300

RUNTIME_API ExitStatus command_train(const NetworkInfo *info, const Options *options,
                                     Problem *problem) {
    char directory[512];
    TrainOptions train_options = {
        .directory = option_text(options, OPTION_OUT_DIRECTORY),
        .log = option_text(options, OPTION_LOG),
        .save_seconds = option_number(options, OPTION_SAVE_EVERY, COMMAND_TRAIN_SAVE_SECONDS),
        .resume = option_given(options, OPTION_RESUME),
        .batch_given = option_given(options, OPTION_BATCH),
        .seed_given = option_given(options, OPTION_SEED),
        .validate_given = option_given(options, OPTION_VALIDATE),
        .learning_rate_given = option_given(options, OPTION_LR),
        .progress = option_given(options, OPTION_QUIET) ? NULL : stderr,
        .results = stdout,
    };
    if (!command_train_settings(info, options, &train_options.settings, problem) ||
        !command_data_settings(info, options, &train_options.data, problem)) {
        return EXIT_STATUS_USAGE;
    }
    if (train_options.directory == NULL) {
        snprintf(directory, sizeof directory, "%s-run", info->name);
        train_options.directory = directory;
    }
    switch (train(info, &train_options, problem)) {
    case TRAIN_DONE:
        return EXIT_STATUS_DONE;
    case TRAIN_INTERRUPTED:
        problem_add(problem, "interrupted; saved in %s, go on with --resume",
                    train_options.directory);
        return EXIT_STATUS_INTERRUPTED;
    case TRAIN_FAILED:
        break;
    }
    return EXIT_STATUS_FAILED;
}
