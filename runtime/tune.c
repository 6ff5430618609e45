#include "tune.h"

#include "optimizer.h"
#include "platform.h"
#include "weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TUNE_MIN_RUNS 2
#define TUNE_MAX_RUNS 1000

static const char *const tune_phase_names[TIMING_PHASES] = {
    "TIMING_FORWARD", "TIMING_DATA_GRADIENT", "TIMING_PARAMETER_GRADIENT"};

/* Numbers of both signs up to `largest`, by Marsaglia's xorshift: it only matters that they are of
 * the usual size and quickly made. */
static void tune_fill(real *numbers, size_t count, double largest) {
    uint32_t state = 2463534242u;
    for (size_t i = 0; i < count; i++) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        numbers[i] = (real)(largest * ((double)state / 2147483648.0 - 1));
    }
}

static void tune_fill_parameters(Network *network) {
    for (int i = 0; i < network->info->parameter_tensors; i++) {
        const ParameterInfo *parameter = &network->info->parameters[i];
        real *data = network_write_parameter(network, parameter);
        if (parameter->initialiser == INITIAL_CONSTANT) {
            for (size_t k = 0; k < parameter->size; k++) {
                data[k] = (real)parameter->a;
            }
        } else {
            tune_fill(data, parameter->size, 1.7 * parameter->a);
        }
        weights_apply_connections(parameter, data);
    }
}

static void tune_forward(Network *network) {
    network_forward(network, network->info->max_batch);
}

static void tune_train_step(Network *network) {
    optimizer_begin_step(network, &network->info->train, 0, 1);
    network_train(network, network->info->max_batch);
}

static void tune_print(const char *sequence, const Timing *shortest, int layers) {
    for (int i = 0; i < layers; i++) {
        for (int phase = 0; phase < TIMING_PHASES; phase++) {
            if (shortest[i].seconds[phase] > 0) {
                printf("%s %d %s %.9g\n", sequence, i, tune_phase_names[phase],
                       shortest[i].seconds[phase]);
            }
        }
    }
}

/* The first run brings memory and caches in and does not count. */
static bool tune_run(Network *network, const char *sequence, void (*work)(Network *network),
                     double seconds, Problem *problem) {
    const size_t layers = (size_t)network->info->layer_count;
    Timing *timing = calloc(2 * layers + 1, sizeof *timing);
    if (timing == NULL) {
        return problem_out_of_memory(problem, "the layers' times");
    }
    Timing *shortest = timing + layers;
    work(network);
    network->timing = timing;
    const double begin = clock_seconds();
    for (int run = 0;
         run < TUNE_MIN_RUNS || (run < TUNE_MAX_RUNS && clock_seconds() - begin < seconds); run++) {
        memset(timing, 0, layers * sizeof *timing);
        work(network);
        for (size_t i = 0; i < layers; i++) {
            for (int phase = 0; phase < TIMING_PHASES; phase++) {
                const double time = timing[i].seconds[phase];
                double *least = &shortest[i].seconds[phase];
                *least = run == 0 || time < *least ? time : *least;
            }
        }
    }
    network->timing = NULL;
    tune_print(sequence, shortest, network->info->layer_count);
    free(timing);
    return true;
}

RUNTIME_API int tune_measure(const NetworkInfo *info, double seconds) {
    Problem problem;
    problem_clear(&problem);
    Network *network = cpu_check(&problem) ? network_create(info, &problem) : NULL;
    bool good = network != NULL &&
                (!info->trainable || optimizer_create_state(network, &info->train, &problem));
    if (good) {
        tune_fill_parameters(network);
        tune_fill(network->arena + info->input_offset, (size_t)info->max_batch * info->input_size,
                  1.7);
        good =
            tune_run(network, "evaluation", tune_forward, seconds, &problem) &&
            (!info->trainable || tune_run(network, "training", tune_train_step, seconds, &problem));
    }
    network_free(network);
    if (problem.count > 0) {
        fprintf(stderr, "%s: error: %s\n", info->name, problem.text);
    }
    return good && fflush(stdout) == 0 ? 0 : 1;
}
