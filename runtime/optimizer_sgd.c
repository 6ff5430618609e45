#include "optimizer.h"
#include "parallel.h"

/* Below this many numbers a parallel loop costs more than it gains. */
#define OPTIMIZER_SGD_PARALLEL 8192

RUNTIME_API int optimizer_sgd_state_count(const TrainSettings *settings) {
    return settings->momentum != 0 ? 1 : 0;
}

RUNTIME_API void optimizer_sgd_update(const OptimizerStep *step, const OptimizerRange *range) {
    const TrainSettings *settings = step->settings;
    const real rate = (real)step->learning_rate, decay = (real)settings->weight_decay;
    const real momentum = (real)settings->momentum;
    real *RESTRICT w = range->parameters;
    const real *RESTRICT gradient = range->gradients;
    real *RESTRICT velocity = range->states[0];
    const size_t count = range->count;

    if (velocity == NULL) {
        PARALLEL_FOR_IF(count > OPTIMIZER_SGD_PARALLEL)
        for (size_t i = 0; i < count; i++) {
            w[i] -= rate * (gradient[i] + decay * w[i]);
        }
    } else if (settings->nesterov) {
        PARALLEL_FOR_IF(count > OPTIMIZER_SGD_PARALLEL)
        for (size_t i = 0; i < count; i++) {
            real g = gradient[i] + decay * w[i];
            velocity[i] = momentum * velocity[i] + g;
            w[i] -= rate * (g + momentum * velocity[i]);
        }
    } else {
        PARALLEL_FOR_IF(count > OPTIMIZER_SGD_PARALLEL)
        for (size_t i = 0; i < count; i++) {
            velocity[i] = momentum * velocity[i] + (gradient[i] + decay * w[i]);
            w[i] -= rate * velocity[i];
        }
    }
}
