/* The trainer. */
#ifndef CNNC_TRAIN_H
#define CNNC_TRAIN_H

#include "network.h"

#include <stdio.h>

typedef struct TrainOptions {
    TrainSettings settings; /* batch is set: 1..info->max_batch */
    DataSettings data;      /* path: training data; validation_path: what to test on, or NULL */
    const char *directory;  /* for last.safetensors and best.safetensors */
    const char *log;        /* NULL: none */
    double save_seconds;    /* a checkpoint at least this often, besides one per epoch */
    bool resume;
    /* Said on the command line: must agree with a checkpoint that is resumed. */
    bool batch_given, seed_given, validate_given;
    bool learning_rate_given; /* replaces the checkpoint's */
    FILE *progress;           /* NULL: quiet */
    FILE *results;
} TrainOptions;

typedef enum TrainResult { TRAIN_DONE, TRAIN_FAILED, TRAIN_INTERRUPTED } TrainResult;

/* Trains from random weights or the checkpoint in the directory, until all epochs are done or
 * SIGINT or SIGTERM arrives. TRAIN_FAILED: the reason is in *problem. */
RUNTIME_API TrainResult train(const NetworkInfo *info, const TrainOptions *options,
                              Problem *problem);

#endif
