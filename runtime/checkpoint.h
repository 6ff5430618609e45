/* Checkpoints: one .safetensors file with the weights under their own names, the optimizer's state
 * as tensors optimizer.<state>.<parameter>, and the trainer's position as metadata. Numbers are
 * written so that they come back bit for bit; the file replaces the one before at once. */
#ifndef CNNC_CHECKPOINT_H
#define CNNC_CHECKPOINT_H

#include "network.h"
#include "schedule.h"

/* Where the trainer stands. */
typedef struct TrainerState {
    uint64_t seed;
    long batch;           /* examples per step */
    uint64_t examples;    /* of the training data */
    double learning_rate; /* before the schedule */
    double validate;      /* fraction held back */
    long epoch;           /* from 0: the one that is going on */
    long batches_done;    /* of that epoch */
    uint64_t step;        /* steps done so far */
    double best;          /* highest figure of merit so far */
    long best_epoch;      /* from 1; 0: none yet */
    ScheduleState schedule;
    /* Sums over the epoch that is going on. */
    double epoch_loss;
    uint64_t epoch_examples, epoch_positions, epoch_top1, epoch_top5;
} TrainerState;

RUNTIME_API bool checkpoint_save(const Network *network, const TrainSettings *settings,
                                 const TrainerState *state, const char *path, Problem *problem);
/* Fills parameters, network->optimizer_state (which must exist) and *state. */
RUNTIME_API bool checkpoint_load(Network *network, const TrainSettings *settings,
                                 TrainerState *state, const char *path, Problem *problem);

#endif
