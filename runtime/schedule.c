#include "schedule.h"

#include <math.h>

#define PLATEAU_THRESHOLD 1e-4

static double schedule_constant(const TrainSettings *settings, const ScheduleState *state,
                                long epoch) {
    (void)settings;
    (void)state;
    (void)epoch;
    return 1;
}

static double schedule_step(const TrainSettings *settings, const ScheduleState *state, long epoch) {
    (void)state;
    long every = settings->schedule_every > 0 ? settings->schedule_every : 1;
    return pow(settings->schedule_factor, (double)(epoch / every));
}

static double schedule_plateau(const TrainSettings *settings, const ScheduleState *state,
                               long epoch) {
    (void)settings;
    (void)epoch;
    return state->factor;
}

static void schedule_plateau_end_epoch(const TrainSettings *settings, ScheduleState *state,
                                       double loss) {
    if (loss < state->best * (1 - PLATEAU_THRESHOLD)) {
        state->best = loss;
        state->bad_epochs = 0;
    } else if (++state->bad_epochs > settings->schedule_patience) {
        state->factor *= settings->schedule_factor;
        state->bad_epochs = 0;
    }
}

typedef struct ScheduleDef {
    double (*factor)(const TrainSettings *settings, const ScheduleState *state, long epoch);
    void (*end_epoch)(const TrainSettings *settings, ScheduleState *state, double loss);
} ScheduleDef;

static const ScheduleDef *schedule_find(ScheduleKind kind) {
    static const ScheduleDef table[] = {
        [SCHEDULE_CONSTANT] = {schedule_constant, NULL},
        [SCHEDULE_STEP] = {schedule_step, NULL},
        [SCHEDULE_PLATEAU] = {schedule_plateau, schedule_plateau_end_epoch},
    };
    return &table[kind];
}

RUNTIME_API void schedule_begin(ScheduleState *state) {
    *state = (ScheduleState){.factor = 1, .best = HUGE_VAL};
}

RUNTIME_API double schedule_rate(const TrainSettings *settings, const ScheduleState *state,
                                 long epoch, long batch, long batches_per_epoch) {
    double rate =
        settings->learning_rate * schedule_find(settings->schedule)->factor(settings, state, epoch);
    if (epoch < settings->warmup) {
        double done = (double)epoch + (double)(batch + 1) / (double)batches_per_epoch;
        rate *= done / settings->warmup;
    }
    return rate;
}

RUNTIME_API void schedule_end_epoch(const TrainSettings *settings, ScheduleState *state,
                                    double loss) {
    const ScheduleDef *schedule = schedule_find(settings->schedule);
    if (schedule->end_epoch != NULL) {
        schedule->end_epoch(settings, state, loss);
    }
}
