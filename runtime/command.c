#include "command.h"
#include "data.h"
#include "platform.h"
#include "weights.h"

RUNTIME_API uint64_t command_seed(const NetworkInfo *info, const Options *options) {
    return option_integer(options, OPTION_SEED, info->train.seed);
}

RUNTIME_API bool command_train_settings(const NetworkInfo *info, const Options *options,
                                        TrainSettings *settings, Problem *problem) {
    *settings = info->train;
    settings->seed = command_seed(info, options);
    settings->epochs =
        (int)option_integer(options, OPTION_EPOCHS, (unsigned long long)info->train.epochs);
    settings->learning_rate = option_number(options, OPTION_LR, info->train.learning_rate);
    settings->validate = option_number(options, OPTION_VALIDATE, info->train.validate);
    settings->batch = (int)option_integer(
        options, OPTION_BATCH,
        (unsigned long long)(info->train.batch > 0 ? info->train.batch : info->max_batch));
    return settings->batch <= info->max_batch ||
           problem_add(problem,
                       "batch %d: this program was compiled for batches of at most %d "
                       "(cnnc --batch=N)",
                       settings->batch, info->max_batch);
}

RUNTIME_API bool command_data_settings(const NetworkInfo *info, const Options *options,
                                       DataSettings *settings, Problem *problem) {
    const char *format = option_text(options, OPTION_FORMAT);
    *settings = info->data;
    if (format != NULL && !data_format_by_name(format, &settings->format)) {
        return problem_add(problem, "--format: expected synthetic, idx or npy, found '%s'", format);
    }
    if (settings->format != info->data.format) {
        /* The description's scale was meant for another format. */
        settings->scale = settings->format == DATA_IDX ? 1.0 / 255 : 1;
        settings->shift = 0;
        settings->path = NULL;
        settings->validation_path = NULL;
    }
    if (option_given(options, OPTION_DATA)) {
        settings->path = option_text(options, OPTION_DATA);
        settings->validation_path = NULL;
        if (settings->format == DATA_SYNTHETIC) {
            return problem_add(problem,
                               "--data: the format is synthetic, which reads no files; "
                               "say --format idx or --format npy");
        }
    }
    if (option_given(options, OPTION_VAL)) {
        settings->validation_path = option_text(options, OPTION_VAL);
    }
    return true;
}

RUNTIME_API Network *command_create_network(const NetworkInfo *info, const Options *options,
                                            Problem *problem) {
    Network *network = network_create(info, problem);
    Problem warning;
    problem_clear(&warning);
    if (network != NULL && option_given(options, OPTION_WEIGHTS) &&
        !weights_load(network, option_text(options, OPTION_WEIGHTS), problem, &warning)) {
        network_free(network);
        network = NULL;
    }
    if (warning.count > 0) {
        fprintf(stderr, "%s: warning: %s\n", info->name, warning.text);
    }
    return network;
}

static ExitStatus command_run(CommandId command, const NetworkInfo *info, const Options *options,
                              Problem *problem) {
    static Command *const table[COMMAND_COUNT] = {
#ifndef CNNC_INFER_ONLY
        [COMMAND_TRAIN] = command_train,     [COMMAND_GRAD] = command_grad,
        [COMMAND_STEP] = command_step,       [COMMAND_GRADCHECK] = command_gradcheck,
#endif
        [COMMAND_INFO] = command_info,       [COMMAND_EVAL] = command_eval,
        [COMMAND_PREDICT] = command_predict, [COMMAND_INIT] = command_init,
        [COMMAND_BENCH] = command_bench,
    };
    if (table[command] == NULL || (command_def(command)->needs_training && !info->trainable)) {
        problem_add(problem, "%s: this program was compiled with --infer and cannot train",
                    command_def(command)->name);
        return EXIT_STATUS_USAGE;
    }
    return table[command](info, options, problem);
}

RUNTIME_API int run_program(const NetworkInfo *info, int argc, char **argv) {
    CommandId command = COMMAND_INFO;
    Options options;
    Problem problem;
    ExitStatus status = EXIT_STATUS_FAILED;
    problem_clear(&problem);
    if (cpu_check(&problem)) {
        OptionsResult parsed = options_parse(info->name, argc, argv, &command, &options);
        status = parsed == OPTIONS_RUN    ? command_run(command, info, &options, &problem)
                 : parsed == OPTIONS_HELP ? EXIT_STATUS_DONE
                                          : EXIT_STATUS_USAGE;
    }
    if (fflush(stdout) != 0 && status == EXIT_STATUS_DONE) {
        problem_add(&problem, "cannot write to standard output");
        status = EXIT_STATUS_FAILED;
    }
    if (problem.count > 0) {
        fprintf(stderr, "%s: %s%s\n", info->name,
                status == EXIT_STATUS_INTERRUPTED ? "" : "error: ", problem.text);
    }
    return (int)status;
}
