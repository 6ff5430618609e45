#include "data.h"
#include "data_formats.h"
#include "parallel.h"

#include <string.h>

/* Below this many numbers a batch is read by one thread. */
#define DATA_PARALLEL 8192
/* Examples come in random order, which no machine foresees: so many before an example is read, the
 * first bytes of its input are called for. */
#define DATA_AHEAD 4
#define DATA_AHEAD_BYTES 4096
#define DATA_CACHE_LINE 64

RUNTIME_API const DataFormatDef *data_format(DataFormat format) {
    static const DataFormatDef table[] = {
        [DATA_SYNTHETIC] = {"synthetic", false, data_synthetic_has, data_synthetic_open,
                            data_synthetic_close, data_synthetic_read},
        [DATA_IDX] = {"idx", true, data_idx_has, data_idx_open, data_idx_close, data_idx_read},
        [DATA_NPY] = {"npy", true, data_npy_has, data_npy_open, data_npy_close, data_npy_read},
    };
    return (size_t)format < sizeof table / sizeof table[0] ? &table[format] : NULL;
}

RUNTIME_API bool data_format_by_name(const char *name, DataFormat *format) {
    const DataFormatDef *row;
    for (int i = 0; (row = data_format((DataFormat)i)) != NULL; i++) {
        if (strcmp(row->name, name) == 0) {
            *format = (DataFormat)i;
            return true;
        }
    }
    return false;
}

RUNTIME_API bool data_has(const DataSettings *settings, DataPart part) {
    const DataFormatDef *format = data_format(settings->format);
    return (!format->needs_path || settings->path != NULL) && format->has(settings->path, part);
}

RUNTIME_API bool data_open(DataSet *set, const NetworkInfo *info, const DataSettings *settings,
                           DataPart part, uint64_t seed, Problem *problem) {
    *set = (DataSet){.format = data_format(settings->format),
                     .info = info,
                     .settings = *settings,
                     .part = part,
                     .seed = seed};
    if (set->format->needs_path && settings->path == NULL) {
        return problem_add(problem, "no data: give a directory with --data");
    }
    if (!set->format->open(set, problem)) {
        return false;
    }
    if (set->count == 0 || set->count > UINT32_MAX) {
        problem_add(problem, "%s: %s: expected 1 to %lu examples, found %zu",
                    settings->path != NULL ? settings->path : set->format->name, set->name,
                    (unsigned long)UINT32_MAX, set->count);
        data_close(set);
        return false;
    }
    return true;
}

RUNTIME_API void data_close(DataSet *set) {
    if (set->format != NULL) {
        set->format->close(set);
    }
    *set = (DataSet){0};
}

static void data_call_for(const DataSet *set, size_t example) {
    size_t bytes = set->input_bytes < DATA_AHEAD_BYTES ? set->input_bytes : DATA_AHEAD_BYTES;
    for (size_t i = 0; set->inputs != NULL && i < bytes; i += DATA_CACHE_LINE) {
        PREFETCH(set->inputs + example * set->input_bytes + i);
    }
}

RUNTIME_API void data_read_batch(const DataSet *set, const size_t *indices, int count,
                                 Network *network) {
    const NetworkInfo *info = network->info;
    const size_t work = (size_t)count * info->input_size;
    real *inputs = network->arena + info->input_offset;
    (void)work; /* read only where there are threads */
    PARALLEL_FOR_IF(work > DATA_PARALLEL)
    for (int n = 0; n < count; n++) {
        size_t target = (size_t)n * info->target_size;
        if (n + DATA_AHEAD < count) {
            data_call_for(set, indices[n + DATA_AHEAD]);
        }
        set->format->read(set, indices[n], inputs + (size_t)n * info->input_size,
                          info->target_is_label ? network->labels + target : NULL,
                          info->target_is_label ? NULL : network->targets + target);
    }
}

RUNTIME_API bool data_choose_label_use(DataSet *set, Problem *problem) {
    const NetworkInfo *info = set->info;
    if (info->target_is_label) {
        set->label_use = DATA_LABEL_IS_LABEL;
        return info->target_size == 1 ||
               problem_add(problem,
                           "%s: it has one label per image, but the network wants one for each of "
                           "its %zu output positions",
                           set->name, info->target_size);
    }
    if (info->output_size == info->input_size) {
        set->label_use = DATA_LABEL_UNUSED;
        return true;
    }
    set->label_use = info->output_size == 1 ? DATA_LABEL_NUMBER : DATA_LABEL_ONE_HOT;
    return info->output_size == network_classes(info) ||
           problem_add(problem, "%s: class labels are no targets for an output with %zu positions",
                       set->name, info->output_size / network_classes(info));
}

RUNTIME_API size_t data_label_limit(const DataSet *set) {
    return set->label_use == DATA_LABEL_IS_LABEL || set->label_use == DATA_LABEL_ONE_HOT
               ? network_classes(set->info)
               : SIZE_MAX;
}

RUNTIME_API void data_put_label(const DataSet *set, int32_t label, const real *input,
                                int32_t *labels, real *targets) {
    switch (set->label_use) {
    case DATA_LABEL_IS_LABEL:
        labels[0] = label;
        break;
    case DATA_LABEL_ONE_HOT:
        for (size_t i = 0; i < set->info->target_size; i++) {
            targets[i] = i == (size_t)label ? (real)1 : (real)0;
        }
        break;
    case DATA_LABEL_NUMBER:
        targets[0] = (real)label;
        break;
    case DATA_LABEL_UNUSED:
        memcpy(targets, input, set->info->input_size * sizeof(real));
        break;
    }
}
