#include "initialise.h"
#include "parallel.h"
#include "rng.h"
#include "weights.h"

#define INITIALISE_SHARED 4096 /* numbers: about a tenth of a millisecond */

static double initialise_number(const ParameterInfo *parameter, uint64_t key, uint32_t stream,
                                size_t index) {
    switch (parameter->initialiser) {
    case INITIAL_GAUSSIAN:
        return parameter->a * random_gaussian(key, stream, index);
    case INITIAL_UNIFORM:
        return parameter->a * (2.0 * random_bits(key, stream, index) / 4294967295.0 - 1);
    case INITIAL_CONSTANT:
        break;
    }
    return parameter->a;
}

RUNTIME_API void initialise_parameters(Network *network, uint64_t seed) {
    uint64_t key = random_key(seed, RANDOM_INITIAL_WEIGHTS, 0);
    for (int i = 0; i < network->info->parameter_tensors; i++) {
        const ParameterInfo *parameter = &network->info->parameters[i];
        const Layout layout = weights_layout(parameter);
        real *data = network_write_parameter(network, parameter);
        PARALLEL_FOR_IF(parameter->size >= INITIALISE_SHARED)
        for (size_t k = 0; k < parameter->size; k++) {
            data[layout_place(&layout, k)] =
                (real)initialise_number(parameter, key, (uint32_t)i, k);
        }
        weights_apply_connections(parameter, data);
    }
}
