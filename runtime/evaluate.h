/* Running a network over a data set in evaluation mode. */
#ifndef CNNC_EVALUATE_H
#define CNNC_EVALUATE_H

#include "data.h"
#include "metrics.h"

/* Adds the examples indices[0..count-1] of the set to *metrics, in batches of at most `batch`. */
RUNTIME_API void evaluate(Network *network, const DataSet *set, const size_t *indices, size_t count,
                          int batch, Metrics *metrics);
/* 0, 1, ..., count-1; malloc'ed, NULL if memory is short. */
RUNTIME_API size_t *evaluate_all_indices(size_t count, Problem *problem);

#endif
