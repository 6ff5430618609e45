/* Loss, accuracy and the confusion matrix over many batches. */
#ifndef CNNC_METRICS_H
#define CNNC_METRICS_H

#include "network.h"

typedef struct Metrics {
    size_t classes;   /* 0: targets are numbers, only the loss is known */
    size_t examples;  /* so far */
    size_t positions; /* labels so far: more than examples where the output has space */
    size_t top1, top5;
    double loss;         /* sum of the examples' losses */
    uint64_t *confusion; /* [classes][classes]: true class, predicted class; NULL: not kept */
} Metrics;

/* metrics_free is needed only with the confusion matrix. */
RUNTIME_API bool metrics_begin(Metrics *metrics, const NetworkInfo *info, bool confusion,
                               Problem *problem);
RUNTIME_API void metrics_free(Metrics *metrics);
/* Adds a batch from the network's output, labels and losses. Of equal scores the class with the
 * lower number counts as the higher one. */
RUNTIME_API void metrics_add(Metrics *metrics, const Network *network, int batch);
RUNTIME_API double metrics_loss(const Metrics *metrics);     /* mean per example */
RUNTIME_API double metrics_accuracy(const Metrics *metrics); /* of the first guess, 0..1 */
RUNTIME_API double metrics_top5(const Metrics *metrics);

/* Writes the matrix as CSV: a row per true class, a column per predicted one. */
RUNTIME_API bool metrics_write_confusion(const Metrics *metrics, const char *path,
                                         Problem *problem);

#endif
