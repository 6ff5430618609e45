#include "optimizer.h"
#include "parallel.h"

/* Below this many numbers a parallel loop costs more than it gains. */
#define OPTIMIZER_ADAM_PARALLEL 8192

RUNTIME_API int optimizer_adam_state_count(const TrainSettings *settings) {
    (void)settings;
    return 2;
}

RUNTIME_API void optimizer_adam_update(const OptimizerStep *step, const OptimizerRange *range) {
    const TrainSettings *settings = step->settings;
    const double t = (double)step->number;
    const real beta1 = (real)settings->beta1, beta2 = (real)settings->beta2;
    const real rest1 = (real)(1 - settings->beta1), rest2 = (real)(1 - settings->beta2);
    const real decay = (real)settings->weight_decay, epsilon = (real)settings->epsilon;
    const real rate = (real)(step->learning_rate / (1 - pow(settings->beta1, t)));
    const real correction = (real)(1 / sqrt(1 - pow(settings->beta2, t)));
    real *RESTRICT w = range->parameters;
    const real *RESTRICT gradient = range->gradients;
    real *RESTRICT mean = range->states[0];
    real *RESTRICT square = range->states[1];
    const size_t count = range->count;

    PARALLEL_FOR_IF(count > OPTIMIZER_ADAM_PARALLEL)
    for (size_t i = 0; i < count; i++) {
        real g = gradient[i] + decay * w[i];
        mean[i] = beta1 * mean[i] + rest1 * g;
        square[i] = beta2 * square[i] + rest2 * g * g;
        w[i] -= rate * mean[i] / (real_sqrt(square[i]) * correction + epsilon);
    }
}
