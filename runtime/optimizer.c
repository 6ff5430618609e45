#include "optimizer.h"
#include "parallel.h"

#include <string.h>

RUNTIME_API const OptimizerDef *optimizer_find(OptimizerKind kind) {
    static const OptimizerDef table[] = {
        [OPTIMIZER_SGD] = {"sgd",
                           optimizer_sgd_state_count,
                           {"momentum"},
                           optimizer_sgd_begin,
                           optimizer_sgd_update},
        [OPTIMIZER_ADAM] = {"adam",
                            optimizer_adam_state_count,
                            {"exp_avg", "exp_avg_sq"},
                            optimizer_adam_begin,
                            optimizer_adam_update},
    };
    return &table[kind];
}

RUNTIME_API int optimizer_state_count(const TrainSettings *settings) {
    return optimizer_find(settings->optimizer)->state_count(settings);
}

RUNTIME_API bool optimizer_create_state(Network *network, const TrainSettings *settings,
                                        Problem *problem) {
    size_t count;
    if (!size_multiply(network->info->trainable_size, (size_t)optimizer_state_count(settings),
                       &count)) {
        return problem_out_of_memory(problem, "the optimizer");
    }
    network_release(network->optimizer_state);
    network->optimizer_state = network_allocate(count, sizeof(real));
    return network->optimizer_state != NULL || problem_out_of_memory(problem, "the optimizer");
}

RUNTIME_API void optimizer_begin_step(Network *network, const TrainSettings *settings,
                                      double learning_rate, uint64_t number) {
    network->step.settings = settings;
    optimizer_find(settings->optimizer)->begin(&network->step, learning_rate, number);
}

/* Numbers that one thread updates at a time; up to twice as many are not worth waking another. */
#define OPTIMIZER_SHARE 4096

/* One share after another of what lies from `whole` on. */
static void optimizer_update_shares(const OptimizerStep *step, const OptimizerRange *whole) {
    const OptimizerDef *optimizer = optimizer_find(step->settings->optimizer);
    const size_t shares = (whole->count + OPTIMIZER_SHARE - 1) / OPTIMIZER_SHARE;
    if (shares <= 2) {
        optimizer->update(step, whole); /* even a region of one thread would cost more */
        return;
    }
    PARALLEL_FOR
    for (size_t i = 0; i < shares; i++) {
        const size_t begin = i * OPTIMIZER_SHARE, left = whole->count - begin;
        OptimizerRange range = {.count = left < OPTIMIZER_SHARE ? left : OPTIMIZER_SHARE,
                                .parameters = whole->parameters + begin,
                                .gradients = whole->gradients + begin};
        for (int k = 0; k < OPTIMIZER_MAX_STATES; k++) {
            range.states[k] = whole->states[k] != NULL ? whole->states[k] + begin : NULL;
        }
        optimizer->update(step, &range);
    }
}

RUNTIME_API void optimizer_update(Network *network, real *parameters, const real *gradients,
                                  size_t count) {
    const TrainSettings *settings = network->step.settings;
    const size_t offset = (size_t)(parameters - network->parameters);
    if (network->gradients != NULL) {
        memcpy(network->gradients + offset, gradients, count * sizeof(real));
    } else if (settings != NULL) {
        OptimizerRange range = {.count = count, .parameters = parameters, .gradients = gradients};
        for (int i = 0; i < optimizer_state_count(settings); i++) {
            range.states[i] =
                network->optimizer_state + (size_t)i * network->info->trainable_size + offset;
        }
        optimizer_update_shares(&network->step, &range);
    }
}
