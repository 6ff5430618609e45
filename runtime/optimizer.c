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

/* Of those from `begin` on. */
static size_t optimizer_share_size(size_t count, size_t begin, size_t share) {
    return count - begin < share ? count - begin : share;
}

/* Keeps the gradients of the parameters from `offset` on, or makes a step. */
static void optimizer_apply(Network *network, size_t offset, const real *gradients, size_t count) {
    const TrainSettings *settings = network->step.settings;
    if (network->gradients != NULL) {
        memcpy(network->gradients + offset, gradients, count * sizeof(real));
    } else if (settings != NULL) {
        OptimizerRange range = {
            .count = count, .parameters = network->parameters + offset, .gradients = gradients};
        for (int i = 0; i < optimizer_state_count(settings); i++) {
            range.states[i] =
                network->optimizer_state + (size_t)i * network->info->trainable_size + offset;
        }
        optimizer_find(settings->optimizer)->update(&network->step, &range);
    }
}

RUNTIME_API void optimizer_update(Network *network, real *parameters, const real *gradients,
                                  size_t count) {
    const size_t offset = (size_t)(parameters - network->parameters);
    if (count <= 2 * OPTIMIZER_SHARE) {
        optimizer_apply(network, offset, gradients, count); /* a region would cost more */
        return;
    }
    PARALLEL_FOR
    for (size_t begin = 0; begin < count; begin += OPTIMIZER_SHARE) {
        optimizer_apply(network, offset + begin, gradients + begin,
                        optimizer_share_size(count, begin, OPTIMIZER_SHARE));
    }
}

/* The same where gradients of shards are added up first: the sums wait in the first-level cache. */
#define OPTIMIZER_SHARD_SHARE 512
#define OPTIMIZER_LINE (64 / sizeof(real)) /* of a cache */

/* With several threads most of these lines lie in the cache of the one that wrote them last: asked
 * for all at once they come in the time of a few. */
static void optimizer_prefetch_share(const Network *network, int shards, size_t begin,
                                     size_t size) {
    for (size_t k = begin; k < begin + size; k += OPTIMIZER_LINE) {
        for (int shard = 0; shard < shards; shard++) {
            PREFETCH(network_shard_gradients(network, shard) + k);
        }
        PREFETCH_WRITE(network->parameters + k);
    }
}

RUNTIME_API void optimizer_update_shards(Network *network, int batch) {
    const size_t count = network->info->trainable_size;
    const int shards = network_shard_count(network->info, batch);
    const bool prefetch = parallel_threads() > 1;
    PARALLEL_FOR
    for (size_t begin = 0; begin < count; begin += OPTIMIZER_SHARD_SHARE) {
        const size_t size = optimizer_share_size(count, begin, OPTIMIZER_SHARD_SHARE);
        /* Not in a shard's memory, whose thread would then have to fetch it back. */
        real sum[OPTIMIZER_SHARD_SHARE];
        const real *gradients = network_shard_gradients(network, 0) + begin;
        if (prefetch) {
            optimizer_prefetch_share(network, shards, begin, size);
        }
        for (int shard = 1; shard < shards; shard++) {
            const real *further = network_shard_gradients(network, shard) + begin;
            SIMD for (size_t k = 0; k < size; k++) {
                sum[k] = gradients[k] + further[k];
            }
            gradients = sum;
        }
        optimizer_apply(network, begin, gradients, size);
    }
}
