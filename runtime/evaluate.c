#include "evaluate.h"

#include <stdlib.h>

RUNTIME_API void evaluate(Network *network, const DataSet *set, const size_t *indices, size_t count,
                          int batch, Metrics *metrics) {
    for (size_t begin = 0; begin < count; begin += (size_t)batch) {
        size_t left = count - begin;
        int size = left < (size_t)batch ? (int)left : batch;
        data_read_batch(set, indices + begin, size, network);
        network_forward(network, size);
        network->info->loss(network, size);
        metrics_add(metrics, network, size);
    }
}

RUNTIME_API size_t *evaluate_all_indices(size_t count, Problem *problem) {
    size_t bytes, *indices = NULL;
    if (size_multiply(count, sizeof *indices, &bytes)) {
        indices = malloc(bytes > 0 ? bytes : 1);
    }
    if (indices == NULL) {
        problem_out_of_memory(problem, "the order of the data");
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        indices[i] = i;
    }
    return indices;
}
