/* The shape of every program that cnnc writes. The compiler replaces what stands between the
 * begin and end marks by the network's own code, and each line that includes a piece in quotes by
 * the piece's text. As it stands this file is a complete program: a small network of two fully
 * connected layers with kernels written by hand.
 *
 * With CNNC_NO_MAIN defined there is no main, and the network's library interface instead. */

/* cnnc:begin configuration */
#define NETWORK_PREFIX toy
#ifndef VECTOR_BYTES
#define VECTOR_BYTES 16
#endif
/* cnnc:end configuration */

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#define _DEFAULT_SOURCE /* madvise */
#endif
#if defined(__GNUC__)
#define RUNTIME_API static __attribute__((unused))
#else
#define RUNTIME_API static
#endif
/* For gcc: with -std=c11 it would not contract a*b + c to one instruction; predictive commoning
 * would carry scalars from one iteration of a register tile to the next, which spills its sums; and
 * to jam two rounds of a loop over positions puts sums over them into memory. The other passes take
 * a third of the time of compilation and find nothing in kernels. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("fp-contract=fast", "no-predictive-commoning")
#pragma GCC optimize("no-tree-pre", "no-gcse", "no-tree-vrp", "no-code-hoisting")
#pragma GCC optimize("no-loop-unroll-and-jam", "no-unswitch-loops", "no-loop-interchange")
#pragma GCC optimize("no-split-loops", "no-version-loops-for-strides", "no-tree-loop-ivcanon")
#pragma GCC optimize("no-tree-loop-distribution", "no-tree-loop-distribute-patterns")
#pragma GCC optimize("no-tree-dominator-opts", "no-thread-jumps", "no-rerun-cse-after-loop")
#pragma GCC optimize("no-gcse-after-reload", "no-tree-ccp")
#if VECTOR_LENGTH > 1
/* It only joins arguments in pairs where kernels hand them to threads. */
#pragma GCC optimize("no-tree-slp-vectorize")
/* A constant that is moved out of all loops takes a register that tiles of sums need: gcc then
 * keeps sums in memory, and a tile of AVX2 takes half as long again. */
#pragma GCC optimize("no-move-loop-invariants")
#endif
#if VECTOR_LENGTH > 1 && VECTOR_BYTES < 64
/* To move loads behind the tests of what they are for makes branches of selections, and loops of
 * vectors ones of numbers; AVX-512 masks them. */
#pragma GCC optimize("no-tree-sink")
#endif
#endif

#include "api.h"
#include "network.h"
#include "optimizer.h"
#include "parallel.h"
#include "problem.h"
#include "real.h"
#include "rng.h"
#include "settings.h"
#include "simd.h"

/* cnnc:begin network */
#define BATCH 32
#define INPUTS 64
#define HIDDEN 32
#define CLASSES 4

/* Parameters, in numbers from the start. */
#define FC1_WEIGHT 0
#define FC1_BIAS (FC1_WEIGHT + HIDDEN * INPUTS)
#define FC2_WEIGHT (FC1_BIAS + HIDDEN)
#define FC2_BIAS (FC2_WEIGHT + CLASSES * HIDDEN)
#define PARAMETERS (FC2_BIAS + CLASSES)

/* Arena. */
#define INPUT 0
#define RELU1 (INPUT + BATCH * INPUTS)
#define FC2 (RELU1 + BATCH * HIDDEN)
#define FC2_GRADIENT (FC2 + BATCH * CLASSES)
#define RELU1_GRADIENT (FC2_GRADIENT + BATCH * CLASSES)
#define GRADIENTS (RELU1_GRADIENT + BATCH * HIDDEN)
#define INPUT_GRADIENT (GRADIENTS + PARAMETERS)
#define ARENA (INPUT_GRADIENT + BATCH * INPUTS)

static const ParameterInfo network_parameters[] = {
    {"fc1.weight",
     2,
     {HIDDEN, INPUTS},
     1,
     INPUTS,
     FC1_WEIGHT,
     HIDDEN *INPUTS,
     1,
     INITIAL_GAUSSIAN,
     0.18,
     NULL},
    {"fc1.bias", 1, {HIDDEN}, 1, 1, FC1_BIAS, HIDDEN, 1, INITIAL_CONSTANT, 0, NULL},
    {"fc2.weight",
     2,
     {CLASSES, HIDDEN},
     1,
     HIDDEN,
     FC2_WEIGHT,
     CLASSES *HIDDEN,
     1,
     INITIAL_GAUSSIAN,
     0.25,
     NULL},
    {"fc2.bias", 1, {CLASSES}, 1, 1, FC2_BIAS, CLASSES, 1, INITIAL_CONSTANT, 0, NULL},
};

static const LayerInfo network_layers[] = {
    {"input", "INPUT", "1x8x8", 0, 0, 0},
    {"fc1", "FC", "32", HIDDEN *INPUTS + HIDDEN, HIDDEN *INPUTS, 2.0 * HIDDEN *INPUTS},
    {"relu1", "RELU", "32", 0, 0, HIDDEN},
    {"fc2", "FC", "4", CLASSES *HIDDEN + CLASSES, CLASSES *HIDDEN, 2.0 * CLASSES *HIDDEN},
};
/* cnnc:end network */

/* cnnc:begin kernels */
/* y[n][o] = bias[o] + sum over i of weight[o][i]*x[n][i], perhaps max(0, y) of it. */
KERNEL static void fully_connected(int batch, int outputs, int inputs, int relu,
                                   const real *RESTRICT weight, const real *RESTRICT bias,
                                   const real *RESTRICT x, real *RESTRICT y) {
    PARALLEL_FOR_IF(batch > 8)
    for (int n = 0; n < batch; n++) {
        for (int o = 0; o < outputs; o++) {
            vector sums = VECTOR_ZERO;
            int i = 0;
            for (; i + VECTOR_LENGTH <= inputs; i += VECTOR_LENGTH) {
                sums += VECTOR_LOAD(weight + o * inputs + i) * VECTOR_LOAD(x + n * inputs + i);
            }
            real sum = bias[o] + vector_sum(&sums);
            for (; i < inputs; i++) {
                sum += weight[o * inputs + i] * x[n * inputs + i];
            }
            y[n * outputs + o] = relu && sum < 0 ? 0 : sum;
        }
    }
}

/* dweight[o][i] = sum over n of dy[n][o]*x[n][i]; dbias[o] = sum over n of dy[n][o]. */
static void fully_connected_parameter_gradient(int batch, int outputs, int inputs,
                                               const real *RESTRICT x, const real *RESTRICT dy,
                                               real *RESTRICT dweight, real *RESTRICT dbias) {
    for (int o = 0; o < outputs; o++) {
        real sum = 0;
        for (int n = 0; n < batch; n++) {
            sum += dy[n * outputs + o];
        }
        dbias[o] = sum;
        for (int i = 0; i < inputs; i++) {
            sum = 0;
            for (int n = 0; n < batch; n++) {
                sum += dy[n * outputs + o] * x[n * inputs + i];
            }
            dweight[o * inputs + i] = sum;
        }
    }
}

/* dx[n][i] = sum over o of dy[n][o]*weight[o][i], and 0 where y, if given, is not positive. */
static void fully_connected_data_gradient(int batch, int outputs, int inputs,
                                          const real *RESTRICT weight, const real *RESTRICT dy,
                                          const real *y, real *RESTRICT dx) {
    for (int n = 0; n < batch; n++) {
        for (int i = 0; i < inputs; i++) {
            real sum = 0;
            for (int o = 0; o < outputs; o++) {
                sum += dy[n * outputs + o] * weight[o * inputs + i];
            }
            dx[n * inputs + i] = y != NULL && y[n * inputs + i] <= 0 ? 0 : sum;
        }
    }
}

/* losses[n] = -log softmax(y[n])[label]; dy = (softmax(y) - one hot)/batch, unless dy is NULL. */
static void cross_entropy(int batch, const real *y, const int32_t *labels, double *losses,
                          real *dy) {
    for (int n = 0; n < batch; n++) {
        const real *scores = y + n * CLASSES;
        real highest = scores[0], sum = 0;
        for (int c = 1; c < CLASSES; c++) {
            highest = scores[c] > highest ? scores[c] : highest;
        }
        for (int c = 0; c < CLASSES; c++) {
            sum += real_exp(scores[c] - highest);
        }
        losses[n] = (double)(real_log(sum) + highest - scores[labels[n]]);
        for (int c = 0; dy != NULL && c < CLASSES; c++) {
            real probability = real_exp(scores[c] - highest) / sum;
            dy[n * CLASSES + c] =
                (probability - (c == labels[n] ? (real)1 : (real)0)) / (real)batch;
        }
    }
}
/* cnnc:end kernels */

/* These only call kernels, by the hundred. */
#if defined(__OPTIMIZE__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("O1")
#endif
/* cnnc:begin programs */
static void forward(Network *network, int batch) {
    real *p = network->parameters, *a = network->arena;
    fully_connected(batch, HIDDEN, INPUTS, 1, p + FC1_WEIGHT, p + FC1_BIAS, a + INPUT, a + RELU1);
    fully_connected(batch, CLASSES, HIDDEN, 0, p + FC2_WEIGHT, p + FC2_BIAS, a + RELU1, a + FC2);
}

static void loss(Network *network, int batch) {
    cross_entropy(batch, network->arena + FC2, network->labels, network->losses, NULL);
}

static void backward(Network *network, int batch) {
    real *p = network->parameters, *a = network->arena, *g = a + GRADIENTS;
    cross_entropy(batch, a + FC2, network->labels, network->losses, a + FC2_GRADIENT);
    fully_connected_parameter_gradient(batch, CLASSES, HIDDEN, a + RELU1, a + FC2_GRADIENT,
                                       g + FC2_WEIGHT, g + FC2_BIAS);
    fully_connected_data_gradient(batch, CLASSES, HIDDEN, p + FC2_WEIGHT, a + FC2_GRADIENT,
                                  a + RELU1, a + RELU1_GRADIENT);
    fully_connected_parameter_gradient(batch, HIDDEN, INPUTS, a + INPUT, a + RELU1_GRADIENT,
                                       g + FC1_WEIGHT, g + FC1_BIAS);
    optimizer_update(network, p, g, PARAMETERS);
}

static void backward_input(Network *network, int batch) {
    real *p = network->parameters, *a = network->arena;
    fully_connected_data_gradient(batch, HIDDEN, INPUTS, p + FC1_WEIGHT, a + RELU1_GRADIENT, NULL,
                                  a + INPUT_GRADIENT);
}
/* cnnc:end programs */
#if defined(__OPTIMIZE__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif

/* cnnc:begin info */
static const NetworkInfo network_info = {
    .name = "toy",
    .version = "skeleton",
    .options = "",
    .target = "any CPU",
    .input_rank = 3,
    .output_rank = 1,
    .input_dims = {1, 8, 8},
    .output_dims = {CLASSES},
    .input_size = INPUTS,
    .output_size = CLASSES,
    .max_batch = BATCH,
    .trainable = 1,
    .layer_count = sizeof network_layers / sizeof network_layers[0],
    .parameter_tensors = sizeof network_parameters / sizeof network_parameters[0],
    .layers = network_layers,
    .parameters = network_parameters,
    .parameter_size = PARAMETERS,
    .trainable_size = PARAMETERS,
    .arena_size = INPUT_GRADIENT,
    .late_arena_size = ARENA,
    .input_offset = INPUT,
    .output_offset = FC2,
    .input_gradient_offset = INPUT_GRADIENT,
    .target_is_label = 1,
    .target_size = 1,
    .train = {.loss = LOSS_CROSS_ENTROPY,
              .optimizer = OPTIMIZER_SGD,
              .learning_rate = 0.05,
              .momentum = 0.9,
              .weight_decay = 1e-4,
              .beta1 = 0.9,
              .beta2 = 0.999,
              .epsilon = 1e-8,
              .schedule = SCHEDULE_STEP,
              .schedule_factor = 0.5,
              .schedule_every = 5,
              .batch = 16,
              .epochs = 10,
              .seed = 1},
    .data = {.format = DATA_SYNTHETIC, .scale = 1, .synthetic_count = 1000},
    .forward = forward,
    .forward_training = forward,
    .loss = loss,
    .backward = backward,
    .backward_input = backward_input,
};
/* cnnc:end info */

#include "elements.c"
#include "initialise.c"
#include "layout.c"
#include "optimizer.c"
#include "optimizer_adam.c"
#include "optimizer_sgd.c"
#include "rng.c"

/* These do little work, and are compiled in a third of the time this way. */
#if defined(__OPTIMIZE__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("O1")
#endif
#include "file.c"
#include "json.c"
#include "network.c"
#include "platform.c"
#include "problem.c"
#include "safetensors.c"
#include "weights.c"

#ifdef CNNC_NO_MAIN
#include "library.c"
#else
#include "command.c"
#include "command_bench.c"
#include "command_eval.c"
#include "command_info.c"
#include "command_init.c"
#include "command_predict.c"
#include "data.c"
#include "data_npy.c"
#include "data_synthetic.c"
#include "evaluate.c"
#include "metrics.c"
#include "npy.c"
#include "options.c"
#ifndef CNNC_INFER_ONLY
#include "checkpoint.c"
#include "command_grad.c"
#include "command_gradcheck.c"
#include "command_train.c"
#include "log.c"
#include "progress.c"
#include "schedule.c"
#include "threads.c"
#include "train.c"
#endif

#if defined(__OPTIMIZE__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif
#include "data_idx.c"
#include "inflate.c"
#include "machine.c"

int main(int argc, char **argv) {
    return run_program(&network_info, argc, argv);
}
#endif
