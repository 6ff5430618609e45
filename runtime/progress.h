/* What the trainer says on standard error while it works: one updating line on a terminal, else a
 * plain line every ten seconds and at the end of each epoch. */
#ifndef CNNC_PROGRESS_H
#define CNNC_PROGRESS_H

#include "api.h"

#include <stdio.h>

typedef struct Progress {
    FILE *stream; /* NULL: quiet */
    bool terminal, has_accuracy;
    long epochs;
    long batches;                     /* per epoch */
    double begin, epoch_begin, shown; /* seconds */
    long first_epoch, first_batch;    /* where this run started */
    size_t width;                     /* of the line on the terminal */
} Progress;

typedef struct ProgressState {
    long epoch, batch; /* batches done in this epoch */
    double loss;       /* mean of the epoch so far */
    double accuracy;   /* 0..1 */
    double examples;   /* of this epoch in this run */
} ProgressState;

RUNTIME_API void progress_begin(Progress *progress, FILE *stream, long epochs, long batches,
                                bool has_accuracy, long epoch, long batch);
RUNTIME_API void progress_begin_epoch(Progress *progress);
/* Called after each batch; shows something only now and then. */
RUNTIME_API void progress_update(Progress *progress, const ProgressState *state);
/* Ends the updating line with a permanent one. */
RUNTIME_API void progress_end_epoch(Progress *progress, const char *line);
/* Images per second in this epoch. */
RUNTIME_API double progress_rate(const Progress *progress, double examples);

#endif
