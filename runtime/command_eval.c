#include "command.h"
#include "evaluate.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define COMMAND_EVAL_MAX_PRINTED 20 /* classes: a larger matrix fits no screen */

static bool command_eval_open(const NetworkInfo *info, const Options *options,
                              const DataSettings *settings, DataSet *set, Problem *problem) {
    const char *part = option_text(options, OPTION_PART);
    bool test = part != NULL ? strcmp(part, "test") == 0 : data_has(settings, DATA_TEST);
    return data_open(set, info, settings, test ? DATA_TEST : DATA_TRAINING,
                     command_seed(info, options), problem);
}

static void command_eval_print_matrix(const Metrics *metrics) {
    printf("confusion matrix (row: true class, column: predicted class)\n     ");
    for (size_t column = 0; column < metrics->classes; column++) {
        printf(" %7zu", column);
    }
    for (size_t row = 0; row < metrics->classes; row++) {
        printf("\n%5zu", row);
        for (size_t column = 0; column < metrics->classes; column++) {
            printf(" %7" PRIu64, metrics->confusion[row * metrics->classes + column]);
        }
    }
    printf("\n");
}

static bool command_eval_print(const DataSet *set, const Options *options, const Metrics *metrics,
                               Problem *problem) {
    const char *path = option_text(options, OPTION_CONFUSION);
    printf("data   %s, %zu images\n", set->name, set->count);
    printf("loss   %.9g\n", metrics_loss(metrics));
    if (metrics->classes == 0) {
        return path == NULL ||
               problem_add(problem, "--confusion: this network does not tell classes apart");
    }
    printf("top-1  %.2f %%\n", 100 * metrics_accuracy(metrics));
    printf("top-5  %.2f %%\n", 100 * metrics_top5(metrics));
    if (path != NULL) {
        return metrics_write_confusion(metrics, path, problem);
    }
    if (metrics->classes <= COMMAND_EVAL_MAX_PRINTED) {
        command_eval_print_matrix(metrics);
    }
    return true;
}

RUNTIME_API ExitStatus command_eval(const NetworkInfo *info, const Options *options,
                                    Problem *problem) {
    const char *part = option_text(options, OPTION_PART);
    DataSettings settings;
    DataSet set = {0};
    Metrics metrics = {0};
    size_t *indices = NULL;
    if (part != NULL && strcmp(part, "test") != 0 && strcmp(part, "train") != 0) {
        problem_add(problem, "--part: expected test or train, found '%s'", part);
        return EXIT_STATUS_USAGE;
    }
    if (!command_data_settings(info, options, &settings, problem)) {
        return EXIT_STATUS_USAGE;
    }
    Network *network = command_create_network(info, options, problem);
    bool good = network != NULL && command_eval_open(info, options, &settings, &set, problem) &&
                (indices = evaluate_all_indices(set.count, problem)) != NULL &&
                metrics_begin(&metrics, info, true, problem);
    if (good) {
        evaluate(network, &set, indices, set.count, info->max_batch, &metrics);
        good = command_eval_print(&set, options, &metrics, problem);
    }
    metrics_free(&metrics);
    free(indices);
    data_close(&set);
    network_free(network);
    return good ? EXIT_STATUS_DONE : EXIT_STATUS_FAILED;
}
