#include "network.h"
#include "optimizer.h"
#include "parallel.h"
#include "platform.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NETWORK_ALIGNMENT 64

RUNTIME_API void *network_allocate(size_t count, size_t size) {
    /* The start of the block is kept right before the aligned part; behind it one cache line is
     * spare, so that a vector load at the very end stays inside. */
    const size_t extra = 2 * NETWORK_ALIGNMENT + sizeof(void *);
    size_t bytes;
    if (!size_multiply(count, size, &bytes) || bytes > SIZE_MAX - extra) {
        return NULL;
    }
    unsigned char *block = calloc(1, bytes + extra);
    if (block == NULL) {
        return NULL;
    }
    prefer_large_pages(block, bytes + extra);
    uintptr_t address = (uintptr_t)block + sizeof(void *);
    unsigned char *memory =
        block + sizeof(void *) + (NETWORK_ALIGNMENT - address % NETWORK_ALIGNMENT);
    memcpy(memory - sizeof block, (void *)&block, sizeof block);
    return memory;
}

RUNTIME_API void network_release(void *memory) {
    if (memory != NULL) {
        void *block;
        memcpy(&block, (unsigned char *)memory - sizeof(void *), sizeof(void *));
        free(block);
    }
}

/* Reals from one shard's gradients to those of the next, a whole number of cache lines. */
static size_t network_gradient_stride(const NetworkInfo *info) {
    const size_t line = NETWORK_ALIGNMENT / sizeof(real);
    return (info->trainable_size + line - 1) / line * line;
}

static real *network_allocate_gradients(const NetworkInfo *info) {
    size_t count;
    return size_multiply(network_gradient_stride(info), (size_t)info->shards, &count)
               ? network_allocate(count, sizeof(real))
               : NULL;
}

static size_t network_target_count(const NetworkInfo *info) {
    size_t count;
    return size_multiply((size_t)info->max_batch, info->target_size, &count) ? count : SIZE_MAX;
}

RUNTIME_API Network *network_create(const NetworkInfo *info, Problem *problem) {
    Network *network = calloc(1, sizeof *network);
    if (network == NULL) {
        problem_out_of_memory(problem, "the network");
        return NULL;
    }
    size_t targets = network_target_count(info);
    network->info = info;
    network->random_layers = 1;
    network->parameters = network_allocate(info->parameter_size, sizeof(real));
    network->prepared = network_allocate(info->prepared_size, sizeof(real));
    network->arena = network_allocate(info->arena_size, sizeof(real));
    network->arena_capacity = info->arena_size;
    network->losses = network_allocate((size_t)info->max_batch, sizeof(double));
    network->labels = network_allocate(info->target_is_label ? targets : 0, sizeof(int32_t));
    network->targets = network_allocate(info->target_is_label ? 0 : targets, sizeof(real));
    network->shard_gradients =
        info->shards > 1 && info->trainable ? network_allocate_gradients(info) : NULL;
    bool shards_fit = network->shard_gradients != NULL || info->shards <= 1 || !info->trainable;
    if (!shards_fit || network->parameters == NULL || network->prepared == NULL ||
        network->arena == NULL || network->losses == NULL || network->labels == NULL ||
        network->targets == NULL) {
        NetworkMemory memory = network_memory(info);
        problem_add(problem, "out of memory: the network needs %.0f MB",
                    (memory.parameters + memory.arena) / 1e6);
        network_free(network);
        return NULL;
    }
    return network;
}

RUNTIME_API void network_free(Network *network) {
    if (network == NULL) {
        return;
    }
    network_release(network->parameters);
    network_release(network->prepared);
    network_release(network->gradients);
    network_release(network->shard_gradients);
    network_release(network->optimizer_state);
    network_release(network->arena);
    network_release(network->labels);
    network_release(network->targets);
    network_release(network->losses);
    free(network);
}

RUNTIME_API real *network_write_parameter(Network *network, const ParameterInfo *parameter) {
    network->is_prepared = 0;
    return network->parameters + parameter->offset;
}

RUNTIME_API void network_forward(Network *network, int batch) {
    if (!network->is_prepared && network->info->prepare != NULL) {
        network->info->prepare(network);
    }
    network->is_prepared = 1;
    network->info->forward(network, batch);
}

RUNTIME_API void network_train(Network *network, int batch) {
    network->is_prepared = 0;
    network->info->forward_training(network, batch);
    network->info->backward(network, batch);
}

/* Blocks of examples in a shard. */
static int network_shard_blocks(const NetworkInfo *info, int batch) {
    const int blocks = (batch + info->shard_block - 1) / info->shard_block;
    return (blocks + info->shards - 1) / info->shards;
}

RUNTIME_API int network_shard_count(const NetworkInfo *info, int batch) {
    const int examples = network_shard_blocks(info, batch) * info->shard_block;
    return examples > 0 ? (batch + examples - 1) / examples : 0;
}

RUNTIME_API void network_run_shards(Network *network, int batch,
                                    void (*program)(Network *network, const Shard *shard)) {
    const NetworkInfo *info = network->info;
    const int examples = network_shard_blocks(info, batch) * info->shard_block;
    const int count = network_shard_count(info, batch);
    PARALLEL_FOR_IF(count > 1)
    for (int i = 0; i < count; i++) {
        const int first = i * examples;
        const Shard shard = {.number = i,
                             .first = first,
                             .batch = batch - first < examples ? batch - first : examples,
                             .whole_batch = batch};
        program(network, &shard);
    }
}

RUNTIME_API real *network_shard_gradients(const Network *network, int shard) {
    return network->shard_gradients + (size_t)shard * network_gradient_stride(network->info);
}

RUNTIME_API bool network_keep_gradients(Network *network, Problem *problem) {
    if (network->gradients == NULL) {
        network->gradients = network_allocate(network->info->trainable_size, sizeof(real));
    }
    return network->gradients != NULL || problem_out_of_memory(problem, "the gradients");
}

RUNTIME_API bool network_backward_input(Network *network, int batch, Problem *problem) {
    const NetworkInfo *info = network->info;
    if (network->arena_capacity < info->late_arena_size) {
        real *arena = network_allocate(info->late_arena_size, sizeof(real));
        if (arena == NULL) {
            return problem_out_of_memory(problem, "the gradient of the input");
        }
        memcpy(arena, network->arena, network->arena_capacity * sizeof(real));
        network_release(network->arena);
        network->arena = arena;
        network->arena_capacity = info->late_arena_size;
    }
    info->backward_input(network, batch);
    return true;
}

RUNTIME_API size_t network_classes(const NetworkInfo *info) {
    return info->output_rank > 0 ? (size_t)info->output_dims[0] : 1;
}

RUNTIME_API void network_shape_text(const long *dims, int rank, char *text, size_t size) {
    size_t length = 0;
    snprintf(text, size, "1");
    for (int i = 0; i < rank && length < size; i++) {
        int written = snprintf(text + length, size - length, i > 0 ? "x%ld" : "%ld", dims[i]);
        length += written > 0 ? (size_t)written : 0;
    }
}

RUNTIME_API NetworkMemory network_memory(const NetworkInfo *info) {
    const double bytes = sizeof(real);
    NetworkMemory memory = {bytes * (double)(info->parameter_size + info->prepared_size), 0,
                            bytes * (double)info->arena_size};
    if (info->trainable) {
        memory.optimizer =
            bytes * (double)info->trainable_size * optimizer_state_count(&info->train);
        memory.arena += info->shards * bytes * (double)network_gradient_stride(info);
    }
    return memory;
}

double timing_begin(const Network *network) {
    return network->timing != NULL ? clock_seconds() : 0;
}

/* Shards run side by side: those of one thread take the time. */
void timing_end(Network *network, int layer, TimingPhase phase, double from) {
    if (network->timing != NULL && parallel_thread() == 0) {
        network->timing[layer].seconds[phase] += clock_seconds() - from;
    }
}
