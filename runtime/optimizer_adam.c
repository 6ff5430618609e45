#include "optimizer.h"
#include "parallel.h"

enum {
    ADAM_RATE,
    ADAM_DECAY,
    ADAM_BETA1,
    ADAM_REST1,
    ADAM_BETA2,
    ADAM_REST2,
    ADAM_CORRECTION,
    ADAM_EPSILON
};

RUNTIME_API int optimizer_adam_state_count(const TrainSettings *settings) {
    (void)settings;
    return 2;
}

RUNTIME_API void optimizer_adam_begin(OptimizerStep *step, double learning_rate, uint64_t number) {
    const TrainSettings *settings = step->settings;
    const double t = (double)number;
    real *numbers = step->numbers;
    numbers[ADAM_RATE] = (real)(learning_rate / (1 - pow(settings->beta1, t)));
    numbers[ADAM_DECAY] = (real)settings->weight_decay;
    numbers[ADAM_BETA1] = (real)settings->beta1;
    numbers[ADAM_REST1] = (real)(1 - settings->beta1);
    numbers[ADAM_BETA2] = (real)settings->beta2;
    numbers[ADAM_REST2] = (real)(1 - settings->beta2);
    numbers[ADAM_CORRECTION] = (real)(1 / sqrt(1 - pow(settings->beta2, t)));
    numbers[ADAM_EPSILON] = (real)settings->epsilon;
}

RUNTIME_API void optimizer_adam_update(const OptimizerStep *step, const OptimizerRange *range) {
    const real *n = step->numbers;
    const real rate = n[ADAM_RATE], decay = n[ADAM_DECAY], beta1 = n[ADAM_BETA1];
    const real rest1 = n[ADAM_REST1], beta2 = n[ADAM_BETA2], rest2 = n[ADAM_REST2];
    const real correction = n[ADAM_CORRECTION], epsilon = n[ADAM_EPSILON];
    real *RESTRICT w = range->parameters;
    const real *RESTRICT gradient = range->gradients;
    real *RESTRICT mean = range->states[0];
    real *RESTRICT square = range->states[1];
    const size_t count = range->count;

    for (size_t i = 0; i < count; i++) {
        optimizer_adam(rate, decay, beta1, rest1, beta2, rest2, correction, epsilon, &w[i],
                       &mean[i], &square[i], gradient[i]);
    }
}
