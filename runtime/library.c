/* The library interface over `network_info`, which the file that includes this piece defines before
 * it. By itself, where nothing has given the names a prefix, the piece has no content. */
#include "initialise.h"
#include "network.h"
#include "optimizer.h"
#include "rng.h"
#include "weights.h"

#include <stdlib.h>
#include <string.h>

#ifdef NETWORK_PREFIX

#define NETWORK_JOIN_NAMES(prefix, name) prefix##_##name
#define NETWORK_JOIN(prefix, name) NETWORK_JOIN_NAMES(prefix, name)
#define NETWORK_NAME(name) NETWORK_JOIN(NETWORK_PREFIX, name)
#define NETWORK_REAL real
#include "library.h"

struct NETWORK_NAME(instance) {
    Network *network;
    uint64_t seed, steps;
    Problem problem;
};

NETWORK_NAME(instance) * NETWORK_NAME(create)(void) {
    NETWORK_NAME(instance) *instance = calloc(1, sizeof *instance);
    if (instance == NULL) {
        return NULL;
    }
    instance->seed = network_info.train.seed;
    instance->network = network_create(&network_info, &instance->problem);
    if (instance->network == NULL ||
        (network_info.trainable &&
         !optimizer_create_state(instance->network, &network_info.train, &instance->problem))) {
        NETWORK_NAME(destroy)(instance);
        return NULL;
    }
    return instance;
}

void NETWORK_NAME(destroy)(NETWORK_NAME(instance) * instance) {
    if (instance != NULL) {
        network_free(instance->network);
        free(instance);
    }
}

const char *NETWORK_NAME(message)(const NETWORK_NAME(instance) * instance) {
    return instance->problem.text;
}

int NETWORK_NAME(initialise)(NETWORK_NAME(instance) * instance, uint64_t seed) {
    problem_clear(&instance->problem);
    initialise_parameters(instance->network, seed);
    instance->seed = seed;
    return NETWORK_NAME(ok);
}

int NETWORK_NAME(load)(NETWORK_NAME(instance) * instance, const char *path) {
    Problem warning;
    problem_clear(&warning);
    problem_clear(&instance->problem);
    return weights_load(instance->network, path, &instance->problem, &warning)
               ? NETWORK_NAME(ok)
               : NETWORK_NAME(error_file);
}

int NETWORK_NAME(save)(NETWORK_NAME(instance) * instance, const char *path) {
    problem_clear(&instance->problem);
    return weights_save(instance->network, path, &instance->problem) ? NETWORK_NAME(ok)
                                                                     : NETWORK_NAME(error_file);
}

int NETWORK_NAME(forward)(NETWORK_NAME(instance) * instance, const NETWORK_REAL *input,
                          size_t count, NETWORK_REAL *output) {
    const NetworkInfo *info = &network_info;
    Network *network = instance->network;
    problem_clear(&instance->problem);
    for (size_t begin = 0; begin < count; begin += (size_t)info->max_batch) {
        size_t left = count - begin;
        size_t batch = left < (size_t)info->max_batch ? left : (size_t)info->max_batch;
        memcpy(network->arena + info->input_offset, input + begin * info->input_size,
               batch * info->input_size * sizeof(real));
        network_forward(network, (int)batch);
        memcpy(output + begin * info->output_size, network->arena + info->output_offset,
               batch * info->output_size * sizeof(real));
    }
    return NETWORK_NAME(ok);
}

/* Copies a training batch into the network; false if it is not one. */
static bool library_put_batch(Network *network, Problem *problem, const real *input,
                              const int32_t *labels, const real *targets, int count) {
    const NetworkInfo *info = &network_info;
    const size_t examples = count > 0 ? (size_t)count : 0, size = examples * info->target_size;
    if (count < 1 || count > info->max_batch) {
        return problem_add(problem, "expected a batch of 1 to %d examples, found %d",
                           info->max_batch, count);
    }
    if (info->target_is_label ? labels == NULL : targets == NULL) {
        return problem_add(problem, "this network needs %s",
                           info->target_is_label ? "labels" : "targets");
    }
    for (size_t i = 0; info->target_is_label && i < size; i++) {
        if (labels[i] < 0 || (size_t)labels[i] >= network_classes(info)) {
            return problem_add(problem, "the network has %zu classes, found label %ld",
                               network_classes(info), (long)labels[i]);
        }
    }
    memcpy(network->arena + info->input_offset, input, examples * info->input_size * sizeof(real));
    if (info->target_is_label) {
        memcpy(network->labels, labels, size * sizeof *labels);
    } else {
        memcpy(network->targets, targets, size * sizeof *targets);
    }
    return true;
}

int NETWORK_NAME(train_step)(NETWORK_NAME(instance) * instance, const NETWORK_REAL *input,
                             const int32_t *labels, const NETWORK_REAL *targets, int count,
                             double learning_rate, double *loss) {
    const NetworkInfo *info = &network_info;
    Network *network = instance->network;
    double sum = 0;
    problem_clear(&instance->problem);
    if (!info->trainable) {
        problem_add(&instance->problem, "this network was compiled without training code");
        return NETWORK_NAME(error_training);
    }
    if (!library_put_batch(network, &instance->problem, input, labels, targets, count)) {
        return NETWORK_NAME(error_argument);
    }
    network->random_key = random_key(instance->seed, RANDOM_TRAINING_STEP, instance->steps);
    optimizer_begin_step(network, &info->train, learning_rate, ++instance->steps);
    network_train(network, count);
    for (int n = 0; n < count; n++) {
        sum += network->losses[n];
    }
    if (loss != NULL) {
        *loss = sum / count;
    }
    return NETWORK_NAME(ok);
}

int NETWORK_NAME(input_rank)(void) {
    return network_info.input_rank;
}

const long *NETWORK_NAME(input_dims)(void) {
    return network_info.input_dims;
}

int NETWORK_NAME(output_rank)(void) {
    return network_info.output_rank;
}

const long *NETWORK_NAME(output_dims)(void) {
    return network_info.output_dims;
}

size_t NETWORK_NAME(input_size)(void) {
    return network_info.input_size;
}

size_t NETWORK_NAME(output_size)(void) {
    return network_info.output_size;
}

int NETWORK_NAME(max_batch)(void) {
    return network_info.max_batch;
}

int NETWORK_NAME(target_is_label)(void) {
    return network_info.target_is_label;
}

size_t NETWORK_NAME(target_size)(void) {
    return network_info.target_size;
}

static const ParameterInfo *library_parameter(int index) {
    return index >= 0 && index < network_info.parameter_tensors ? &network_info.parameters[index]
                                                                : NULL;
}

int NETWORK_NAME(parameter_count)(void) {
    return network_info.parameter_tensors;
}

const char *NETWORK_NAME(parameter_name)(int index) {
    const ParameterInfo *parameter = library_parameter(index);
    return parameter != NULL ? parameter->name : NULL;
}

int NETWORK_NAME(parameter_rank)(int index) {
    const ParameterInfo *parameter = library_parameter(index);
    return parameter != NULL ? parameter->rank : 0;
}

const long *NETWORK_NAME(parameter_dims)(int index) {
    const ParameterInfo *parameter = library_parameter(index);
    return parameter != NULL ? parameter->dims : NULL;
}

size_t NETWORK_NAME(parameter_size)(int index) {
    const ParameterInfo *parameter = library_parameter(index);
    return parameter != NULL ? parameter->size : 0;
}

/* The parameter and its layout; NULL with a message if there is none of this index. */
static const ParameterInfo *library_find(NETWORK_NAME(instance) * instance, int index,
                                         Layout *layout) {
    const ParameterInfo *parameter = library_parameter(index);
    problem_clear(&instance->problem);
    if (parameter == NULL) {
        problem_add(&instance->problem, "the network has %d parameters, found index %d",
                    network_info.parameter_tensors, index);
        return NULL;
    }
    *layout = weights_layout(parameter);
    return parameter;
}

int NETWORK_NAME(get_parameter)(NETWORK_NAME(instance) * instance, int index,
                                NETWORK_REAL *values) {
    Layout layout;
    const ParameterInfo *parameter = library_find(instance, index, &layout);
    if (parameter == NULL) {
        return NETWORK_NAME(error_argument);
    }
    layout_gather(&layout, instance->network->parameters + parameter->offset, 0, parameter->size,
                  values);
    return NETWORK_NAME(ok);
}

int NETWORK_NAME(set_parameter)(NETWORK_NAME(instance) * instance, int index,
                                const NETWORK_REAL *values) {
    Layout layout;
    const ParameterInfo *parameter = library_find(instance, index, &layout);
    if (parameter == NULL) {
        return NETWORK_NAME(error_argument);
    }
    real *data = network_write_parameter(instance->network, parameter);
    layout_scatter(&layout, values, 0, parameter->size, data);
    weights_apply_connections(parameter, data);
    return NETWORK_NAME(ok);
}

#endif
