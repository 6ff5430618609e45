#include "optimizer.h"
#include "parallel.h"

enum { SGD_RATE, SGD_DECAY, SGD_MOMENTUM };

RUNTIME_API int optimizer_sgd_state_count(const TrainSettings *settings) {
    return settings->momentum != 0 ? 1 : 0;
}

RUNTIME_API void optimizer_sgd_begin(OptimizerStep *step, double learning_rate, uint64_t number) {
    (void)number;
    step->numbers[SGD_RATE] = (real)learning_rate;
    step->numbers[SGD_DECAY] = (real)step->settings->weight_decay;
    step->numbers[SGD_MOMENTUM] = (real)step->settings->momentum;
}

RUNTIME_API void optimizer_sgd_update(const OptimizerStep *step, const OptimizerRange *range) {
    const real rate = step->numbers[SGD_RATE], decay = step->numbers[SGD_DECAY];
    const real momentum = step->numbers[SGD_MOMENTUM];
    real *RESTRICT w = range->parameters;
    const real *RESTRICT gradient = range->gradients;
    real *RESTRICT velocity = range->states[0];
    const size_t count = range->count;

    if (velocity == NULL) {
        for (size_t i = 0; i < count; i++) {
            optimizer_sgd(rate, decay, &w[i], gradient[i]);
        }
    } else if (step->settings->nesterov) {
        for (size_t i = 0; i < count; i++) {
            optimizer_nesterov(rate, decay, momentum, &w[i], &velocity[i], gradient[i]);
        }
    } else {
        for (size_t i = 0; i < count; i++) {
            optimizer_momentum(rate, decay, momentum, &w[i], &velocity[i], gradient[i]);
        }
    }
}
