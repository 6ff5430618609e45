#include "weights.h"

#include <stdlib.h>
#include <string.h>

RUNTIME_API Layout weights_layout(const ParameterInfo *parameter) {
    const size_t row = parameter->size / (size_t)parameter->dims[0];
    if (parameter->block == 1 && parameter->stored_row == row) {
        return (Layout){.row = 0};
    }
    return (Layout){
        .block = (size_t)parameter->block, .row = row, .stored_row = parameter->stored_row};
}

RUNTIME_API void weights_describe(const ParameterInfo *parameter, const char *prefix,
                                  const real *data, SafeTensorSource *source) {
    snprintf(source->name, sizeof source->name, "%s%s", prefix, parameter->name);
    source->rank = parameter->rank;
    for (int i = 0; i < parameter->rank; i++) {
        source->dims[i] = (size_t)parameter->dims[i];
    }
    source->data = data;
    source->layout = weights_layout(parameter);
}

RUNTIME_API bool weights_tensor_fits(const char *path, const SafeTensor *tensor,
                                     const ParameterInfo *parameter, Problem *problem) {
    const char *expected = element_type_info(ELEMENT_REAL)->safetensors;
    bool same = tensor->rank == parameter->rank, good = true;
    for (int i = 0; same && i < tensor->rank; i++) {
        same = tensor->dims[i] == (size_t)parameter->dims[i];
    }
    if (!same) {
        char wanted[128], found[128] = "1";
        size_t length = 0;
        network_shape_text(parameter->dims, parameter->rank, wanted, sizeof wanted);
        for (int i = 0; i < tensor->rank && length < sizeof found; i++) {
            length += (size_t)snprintf(found + length, sizeof found - length,
                                       i > 0 ? "x%zu" : "%zu", tensor->dims[i]);
        }
        good = problem_add(problem, "%s: %s: expected shape %s, found %s", path, tensor->name,
                           wanted, found);
    }
    bool accepted = strcmp(tensor->dtype, expected) == 0;
#ifdef CNNC_DOUBLE
    accepted = accepted || strcmp(tensor->dtype, "F32") == 0;
#endif
    if (!accepted) {
        good = problem_add(problem, "%s: %s: expected numbers of type %s, found %s", path,
                           tensor->name, expected, tensor->dtype);
    }
    return good;
}

RUNTIME_API void weights_copy(const SafeTensors *file, const SafeTensor *tensor,
                              const ParameterInfo *parameter, real *out) {
    enum { CHUNK = 4096 };
    ElementType type = strcmp(tensor->dtype, "F64") == 0 ? ELEMENT_FLOAT64 : ELEMENT_FLOAT32;
    const size_t size = element_type_info(type)->size;
    const Layout layout = weights_layout(parameter);
    real dense[CHUNK];
    for (size_t begin = 0; begin < parameter->size; begin += CHUNK) {
        size_t chunk = parameter->size - begin < CHUNK ? parameter->size - begin : CHUNK;
        elements_to_real(type, file->data + tensor->begin + begin * size, chunk, dense);
        layout_scatter(&layout, dense, begin, chunk, out);
    }
}

RUNTIME_API bool weights_connected(const ParameterInfo *parameter, size_t element) {
    if (parameter->connections == NULL) {
        return true;
    }
    size_t pairs = (size_t)parameter->dims[0] * (size_t)parameter->dims[1];
    return parameter->connections[element / (parameter->size / pairs)] != 0;
}

RUNTIME_API size_t weights_apply_connections(const ParameterInfo *parameter, real *data) {
    size_t changed = 0;
    if (parameter->connections == NULL) {
        return 0;
    }
    const Layout layout = weights_layout(parameter);
    for (size_t i = 0; i < parameter->size; i++) {
        real *weight = &data[layout_place(&layout, i)];
        if (!weights_connected(parameter, i)) {
            changed += *weight != 0;
            *weight = 0;
        }
    }
    return changed;
}

static const ParameterInfo *weights_parameter(const NetworkInfo *info, const char *name) {
    for (int i = 0; i < info->parameter_tensors; i++) {
        if (strcmp(info->parameters[i].name, name) == 0) {
            return &info->parameters[i];
        }
    }
    return NULL;
}

static bool weights_ignored(const char *name) {
    return strncmp(name, "optimizer.", strlen("optimizer.")) == 0 ||
           text_ends_with(name, ".num_batches_tracked");
}

RUNTIME_API bool weights_apply(Network *network, const char *path, const SafeTensors *file,
                               Problem *problem, Problem *warning) {
    const NetworkInfo *info = network->info;
    bool good = true;
    for (int i = 0; i < info->parameter_tensors; i++) {
        const SafeTensor *tensor = safetensors_find(file, info->parameters[i].name);
        good = (tensor != NULL
                    ? weights_tensor_fits(path, tensor, &info->parameters[i], problem)
                    : problem_add(problem, "%s: %s is missing", path, info->parameters[i].name)) &&
               good;
    }
    for (size_t i = 0; i < file->count; i++) {
        const char *name = file->tensors[i].name;
        if (!weights_ignored(name) && weights_parameter(info, name) == NULL) {
            good = problem_add(problem, "%s: %s is not a parameter of this network", path, name);
        }
    }
    for (int i = 0; good && i < info->parameter_tensors; i++) {
        const ParameterInfo *parameter = &info->parameters[i];
        real *data = network_write_parameter(network, parameter);
        weights_copy(file, safetensors_find(file, parameter->name), parameter, data);
        size_t changed = weights_apply_connections(parameter, data);
        if (changed > 0) {
            problem_add(warning,
                        "%s: %s: %zu weights are not zero where the connection table has no "
                        "connection; they are taken as zero",
                        path, parameter->name, changed);
        }
    }
    return good;
}

RUNTIME_API bool weights_load(Network *network, const char *path, Problem *problem,
                              Problem *warning) {
    SafeTensors file;
    if (!safetensors_read(path, &file, problem)) {
        return false;
    }
    bool good = weights_apply(network, path, &file, problem, warning);
    safetensors_free(&file);
    return good;
}

RUNTIME_API bool weights_save(const Network *network, const char *path, Problem *problem) {
    const NetworkInfo *info = network->info;
    SafeTensorSource *sources = calloc((size_t)info->parameter_tensors + 1, sizeof *sources);
    if (sources == NULL) {
        return problem_out_of_memory(problem, path);
    }
    for (int i = 0; i < info->parameter_tensors; i++) {
        weights_describe(&info->parameters[i], "", network->parameters + info->parameters[i].offset,
                         &sources[i]);
    }
    bool good = safetensors_write(path, sources, (size_t)info->parameter_tensors, NULL, 0, problem);
    free(sources);
    return good;
}
