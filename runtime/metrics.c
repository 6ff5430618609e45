#include "metrics.h"
#include "file.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

RUNTIME_API bool metrics_begin(Metrics *metrics, const NetworkInfo *info, bool confusion,
                               Problem *problem) {
    *metrics = (Metrics){.classes = info->target_is_label ? network_classes(info) : 0};
    if (confusion && metrics->classes > 0) {
        size_t count;
        if (size_multiply(metrics->classes, metrics->classes, &count)) {
            metrics->confusion = calloc(count, sizeof *metrics->confusion);
        }
        if (metrics->confusion == NULL) {
            return problem_out_of_memory(problem, "the confusion matrix");
        }
    }
    return true;
}

RUNTIME_API void metrics_free(Metrics *metrics) {
    free(metrics->confusion);
    metrics->confusion = NULL;
}

/* One position's scores lie `stride` numbers apart. */
static void metrics_add_position(Metrics *metrics, const real *scores, size_t stride,
                                 size_t label) {
    size_t above = 0, best = 0;
    real own = scores[label * stride];
    for (size_t c = 0; c < metrics->classes; c++) {
        real score = scores[c * stride];
        /* Written so that a score that is not a number is never the best, and never right. */
        best = score > scores[best * stride] || isnan(scores[best * stride]) ? c : best;
        above += c != label && !(score < own || (score == own && c > label));
    }
    metrics->positions++;
    metrics->top1 += above < 1;
    metrics->top5 += above < 5;
    if (metrics->confusion != NULL) {
        metrics->confusion[label * metrics->classes + best]++;
    }
}

RUNTIME_API void metrics_add(Metrics *metrics, const Network *network, int batch) {
    const NetworkInfo *info = network->info;
    const real *output = network->arena + info->output_offset;
    for (int n = 0; n < batch; n++) {
        metrics->loss += network->losses[n];
        metrics->examples++;
        for (size_t p = 0; metrics->classes > 0 && p < info->target_size; p++) {
            size_t label = (size_t)network->labels[(size_t)n * info->target_size + p];
            metrics_add_position(metrics, output + (size_t)n * info->output_size + p,
                                 info->target_size, label);
        }
    }
}

RUNTIME_API double metrics_loss(const Metrics *metrics) {
    return metrics->examples > 0 ? metrics->loss / (double)metrics->examples : 0;
}

RUNTIME_API double metrics_accuracy(const Metrics *metrics) {
    return metrics->positions > 0 ? (double)metrics->top1 / (double)metrics->positions : 0;
}

RUNTIME_API double metrics_top5(const Metrics *metrics) {
    return metrics->positions > 0 ? (double)metrics->top5 / (double)metrics->positions : 0;
}

RUNTIME_API bool metrics_write_confusion(const Metrics *metrics, const char *path,
                                         Problem *problem) {
    FileWriter writer;
    Text text = {0};
    for (size_t row = 0; row < metrics->classes; row++) {
        for (size_t column = 0; column < metrics->classes; column++) {
            text_add(&text, column > 0 ? ",%" PRIu64 : "%" PRIu64,
                     metrics->confusion[row * metrics->classes + column]);
        }
        text_add(&text, "\n");
    }
    if (text.failed || !file_writer_open(&writer, path, problem)) {
        bool failed = text.failed;
        text_free(&text);
        return failed ? problem_out_of_memory(problem, path) : false;
    }
    file_writer_write(&writer, text.data, text.length);
    text_free(&text);
    return file_writer_commit(&writer, problem);
}
