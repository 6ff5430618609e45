/* What the network's own part of an emitted file gives to the trainer, and an instance of it.
 * All counts of numbers are in `real`s. Inputs, outputs and targets are dense, C order, examples
 * first; parameters, and like them their gradients and the optimizer's state, as their layout says.
 */
#ifndef CNNC_RUNTIME_NETWORK_H
#define CNNC_RUNTIME_NETWORK_H

#include "problem.h"
#include "real.h"
#include "settings.h"

#include <stddef.h>
#include <stdint.h>

#define MAX_TENSOR_RANK 5

typedef enum ParameterInitialiser {
    INITIAL_CONSTANT, /* a */
    INITIAL_GAUSSIAN, /* mean 0, standard deviation a */
    INITIAL_UNIFORM   /* [-a, a] */
} ParameterInitialiser;

typedef struct ParameterInfo {
    const char *name; /* "conv1.weight" */
    int rank;
    long dims[MAX_TENSOR_RANK];
    int block;         /* the first axis lies in blocks of so many, innermost (layout.h) */
    size_t stored_row; /* numbers per index of the first axis in memory: more than the dims give
                        * where channels are rounded up to whole vectors, with zeros */
    size_t offset;     /* in Network.parameters, and in .gradients where trainable and kept */
    size_t size;       /* the product of the dims */
    int trainable;     /* 0: running statistics */
    ParameterInitialiser initialiser;
    double a;
    const unsigned char *connections; /* [dims[0]*dims[1]], 0 where a connection table leaves the
                                         pair out: such weights stay 0; NULL: all exist */
} ParameterInfo;
/* One that has one axis and starts as a constant. */
#define PER_CHANNEL(name, size, offset, trainable, constant)                                       \
    { name, 1, {size}, 1, 1, offset, size, trainable, INITIAL_CONSTANT, constant, NULL }

typedef struct LayerInfo {
    const char *name, *kind, *output; /* "conv1", "CONV", "6x28x28" */
    double parameters, macs, flops;   /* of one example's forward pass */
} LayerInfo;

typedef struct Network Network;

/* Measures kernels for bench --layers; NULL in Network.timing switches it off. */
typedef enum TimingPhase {
    TIMING_FORWARD,
    TIMING_DATA_GRADIENT,
    TIMING_PARAMETER_GRADIENT,
    TIMING_PHASES
} TimingPhase;
typedef struct Timing {
    double seconds[TIMING_PHASES]; /* one Timing per layer, summed over calls */
} Timing;

typedef struct NetworkInfo {
    const char *name, *version, *options, *target;
    int input_rank, output_rank;
    long input_dims[MAX_TENSOR_RANK], output_dims[MAX_TENSOR_RANK]; /* without the batch */
    size_t input_size, output_size;                                 /* per example */
    int max_batch;
    int shards; /* > 1: as many parts of a batch may run side by side, each through all layers */
    int shard_block; /* examples that stay together then */
    int trainable;   /* 0: compiled with --infer, the training functions are NULL */
    int layer_count, parameter_tensors;
    const LayerInfo *layers;
    const ParameterInfo *parameters;
    size_t parameter_size;  /* trainable tensors first, then running statistics, with what may lie
                             * between their rows */
    size_t prepared_size;   /* of what `prepare` makes of them */
    size_t trainable_size;  /* = size of gradients, and of each state of the optimizer */
    size_t arena_size;      /* activations, their gradients and scratch, for max_batch */
    size_t late_arena_size; /* what the arena has to grow to for backward_input */
    size_t input_offset, output_offset, input_gradient_offset; /* in the arena */
    int target_is_label; /* 1: int32 labels, 0: reals of the output's shape */
    size_t target_size;  /* per example: 1 or the number of positions, or output_size */
    TrainSettings train;
    DataSettings data;

    /* Fills network->prepared with what `forward` reads instead of some parameters, as factors of
     * normalisations; NULL: nothing. */
    void (*prepare)(Network *network);
    /* All read the input from arena + input_offset and leave the output at arena + output_offset.
     * To be called through network_forward and network_train. */
    void (*forward)(Network *network, int batch);          /* evaluation mode */
    void (*forward_training)(Network *network, int batch); /* updates running statistics */
    /* Fills network->losses for the batch from the output and labels or targets, for evaluation. */
    void (*loss)(Network *network, int batch);
    /* After forward_training: fills losses, makes the gradients of the mean loss one by one and
     * hands each to optimizer_update. */
    void (*backward)(Network *network, int batch);
    /* After backward: the gradient of the input at arena + input_gradient_offset. To be called
     * through network_backward_input, which makes room. */
    void (*backward_input)(Network *network, int batch);
} NetworkInfo;

#define OPTIMIZER_NUMBERS 8

/* Set by optimizer_begin_step. */
typedef struct OptimizerStep {
    const TrainSettings *settings; /* NULL: the parameters stay as they are */
    /* SGD: rate, decay, momentum; Adam: rate, decay, beta1, 1 - beta1, beta2, 1 - beta2, correction
     * of the square root, epsilon (optimizer.h). */
    real numbers[OPTIMIZER_NUMBERS];
} OptimizerStep;

struct Network {
    const NetworkInfo *info;
    real *parameters;      /* info->parameter_size, written through network_write_parameter */
    real *prepared;        /* info->prepared_size */
    int is_prepared;       /* 0: the parameters have changed since */
    real *gradients;       /* info->trainable_size; NULL: they are not kept */
    real *shard_gradients; /* of info->shards, see network_shard_gradients; NULL: there are none */
    real *optimizer_state; /* as many as the optimizer needs, owned by the trainer's code */
    OptimizerStep step;    /* what backward does with the gradients that it does not keep */
    real *arena;           /* info->arena_size; info->late_arena_size once backward_input has run */
    size_t arena_capacity; /* which of them */
    int32_t *labels;       /* max_batch * target_size, where target_is_label */
    real *targets;         /* the same for real targets */
    double *losses;        /* per example */
    int random_layers;     /* 0: dropout and the like are the identity even in training */
    uint64_t random_key;   /* from the seed and the step: random layers draw from it by counter */
    Timing *timing;        /* info->layer_count entries or NULL */
};

/* Runs the call of a kernel and, where times are wanted, adds what it took to the layer's phase. */
#define TIMED(network, layer, phase, call)                                                         \
    do {                                                                                           \
        const double timed_from = timing_begin(network);                                           \
        call;                                                                                      \
        timing_end(network, layer, phase, timed_from);                                             \
    } while (0)
RUNTIME_API double timing_begin(const Network *network);
RUNTIME_API void timing_end(Network *network, int layer, TimingPhase phase, double from);

/* Examples of a batch that go through all layers together, on one thread. */
typedef struct Shard {
    int number;       /* from 0 */
    int first, batch; /* its first example, how many they are */
    int whole_batch;  /* examples of all shards */
} Shard;
/* Calls `program` for the shards that a batch has: the first `network_shard_count`, each with a
 * whole number of blocks but for the last one. */
RUNTIME_API void network_run_shards(Network *network, int batch,
                                    void (*program)(Network *network, const Shard *shard));
RUNTIME_API int network_shard_count(const NetworkInfo *info, int batch);
/* info->trainable_size gradients of one shard. */
RUNTIME_API real *network_shard_gradients(const Network *network, int shard);

/* An instance with zeroed memory and random_layers = 1; NULL if memory is short. */
RUNTIME_API Network *network_create(const NetworkInfo *info, Problem *problem);
RUNTIME_API void network_free(Network *network); /* NULL is allowed */
/* The numbers of a parameter, for whoever changes them. */
RUNTIME_API real *network_write_parameter(Network *network, const ParameterInfo *parameter);
/* Runs info->forward, after info->prepare where the parameters have changed. */
RUNTIME_API void network_forward(Network *network, int batch);
/* Runs info->forward_training and info->backward, which change the parameters. */
RUNTIME_API void network_train(Network *network, int batch);
/* From now on backward keeps all gradients in network->gradients and changes no parameter. */
RUNTIME_API bool network_keep_gradients(Network *network, Problem *problem);
/* Runs info->backward_input after backward; the arena grows, and moves, when this is done first.
 * False if there is no memory for that. */
RUNTIME_API bool network_backward_input(Network *network, int batch, Problem *problem);
/* Zeroed memory that begins on a cache line (64 bytes); NULL if there is not enough. */
RUNTIME_API void *network_allocate(size_t count, size_t size);
RUNTIME_API void network_release(void *memory);

/* How many classes a label may name: the extent of the output's channels. */
RUNTIME_API size_t network_classes(const NetworkInfo *info);
/* "3x32x32". */
RUNTIME_API void network_shape_text(const long *dims, int rank, char *text, size_t size);
/* Bytes of parameters, optimizer state, and activations with gradients, those of shards too, and
 * scratch. */
typedef struct NetworkMemory {
    double parameters, optimizer, arena;
} NetworkMemory;
RUNTIME_API NetworkMemory network_memory(const NetworkInfo *info);

#endif
