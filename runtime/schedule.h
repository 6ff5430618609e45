/* The learning rate over time. */
#ifndef CNNC_SCHEDULE_H
#define CNNC_SCHEDULE_H

#include "api.h"
#include "settings.h"

/* What a schedule remembers; part of a checkpoint. */
typedef struct ScheduleState {
    double factor; /* the plateau schedule's so far */
    double best;   /* lowest loss so far */
    long bad_epochs;
} ScheduleState;

RUNTIME_API void schedule_begin(ScheduleState *state);
/* The rate for a batch. Warmup: linear growth from 0 over settings->warmup epochs, the rate of the
 * first batch being 1/(warmup*batches_per_epoch) of the full one. */
RUNTIME_API double schedule_rate(const TrainSettings *settings, const ScheduleState *state,
                                 long epoch, long batch, long batches_per_epoch);
/* After each epoch, with the validation loss (the training loss if there is none). Plateau follows
 * torch.optim.lr_scheduler.ReduceLROnPlateau: relative threshold 1e-4, no cooldown. */
RUNTIME_API void schedule_end_epoch(const TrainSettings *settings, ScheduleState *state,
                                    double loss);

#endif
