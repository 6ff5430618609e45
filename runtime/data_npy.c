#include "data_formats.h"
#include "platform.h"

#include <stdlib.h>
#include <string.h>

typedef struct NpyContents {
    Npy x, y;
} NpyContents;

/* The path of the x or y file, malloc'ed; NULL when there can be none or memory runs out. */
static char *data_npy_path(const char *path, DataPart part, char letter) {
    char name[32];
    if (!path_is_directory(path) || text_ends_with(path, ".npy")) {
        char *file =
            part == DATA_TRAINING && text_ends_with(path, "x.npy") ? path_join("", path) : NULL;
        if (file != NULL) {
            memmove(file, file + 1, strlen(file)); /* the slash that path_join put in front */
            file[strlen(file) - strlen("x.npy")] = letter;
        }
        return file;
    }
    snprintf(name, sizeof name, "%s-x.npy", part == DATA_TEST ? "test" : "train");
    char *pair = path_join(path, name);
    bool paired = pair != NULL && path_exists(pair);
    free(pair);
    if (!paired && part == DATA_TEST) {
        return NULL;
    }
    snprintf(name, sizeof name, "%s%c.npy",
             !paired             ? ""
             : part == DATA_TEST ? "test-"
                                 : "train-",
             letter);
    return path_join(path, name);
}

RUNTIME_API bool data_npy_has(const char *path, DataPart part) {
    char *file = data_npy_path(path, part, 'x');
    bool there = file != NULL && path_exists(file);
    free(file);
    return there;
}

/* Whether the array is [N, dims...], with or without leading extents of 1, or [N, size]. */
static bool data_npy_shape_fits(const Npy *array, const long *dims, int rank, size_t size) {
    int first = 0;
    if (array->rank < 1) {
        return false;
    }
    if ((array->rank == 2 && array->dims[1] == size) || (array->rank == 1 && size == 1)) {
        return true;
    }
    if (array->rank == rank && rank > 1 && dims[0] == 1) {
        first = 1;
    }
    bool same = array->rank - 1 == rank - first;
    for (int i = first; same && i < rank; i++) {
        same = array->dims[1 + i - first] == (size_t)dims[i];
    }
    return same;
}

RUNTIME_API bool data_npy_check_inputs(const char *path, const Npy *x, const NetworkInfo *info,
                                       Problem *problem) {
    char wanted[128], found[128];
    if (data_npy_shape_fits(x, info->input_dims, info->input_rank, info->input_size)) {
        return true;
    }
    network_shape_text(info->input_dims, info->input_rank, wanted, sizeof wanted);
    npy_shape_text(x, found, sizeof found);
    return problem_add(problem, "%s: expected shape Nx%s, found %s", path, wanted, found);
}

static bool data_npy_check_labels(const char *path, const Npy *y, const NetworkInfo *info,
                                  Problem *problem) {
    const long *positions = info->output_dims + 1;
    char found[128];
    size_t classes = network_classes(info);
    if (!element_type_info(y->type)->integer) {
        return problem_add(problem, "%s: expected integer labels, found %s", path,
                           element_type_info(y->type)->name);
    }
    if (!data_npy_shape_fits(y, positions, info->output_rank - 1, info->target_size)) {
        npy_shape_text(y, found, sizeof found);
        return problem_add(problem, "%s: expected %zu label%s per example, found shape %s", path,
                           info->target_size, info->target_size == 1 ? "" : "s", found);
    }
    size_t size = element_type_info(y->type)->size;
    for (size_t i = 0; i < y->count; i++) {
        int32_t label;
        elements_to_labels(y->type, y->data + i * size, 1, &label);
        if (label < 0 || (size_t)label >= classes) {
            return problem_add(problem, "%s: the network has %zu classes, found label %ld at %zu",
                               path, classes, (long)label, i);
        }
    }
    return true;
}

RUNTIME_API bool data_npy_check_targets(const char *path, const Npy *y, const NetworkInfo *info,
                                        Problem *problem) {
    char wanted[128], found[128];
    if (info->target_is_label) {
        return data_npy_check_labels(path, y, info, problem);
    }
    if (data_npy_shape_fits(y, info->output_dims, info->output_rank, info->target_size)) {
        return true;
    }
    network_shape_text(info->output_dims, info->output_rank, wanted, sizeof wanted);
    npy_shape_text(y, found, sizeof found);
    return problem_add(problem, "%s: expected shape Nx%s, found %s", path, wanted, found);
}

static bool data_npy_load(DataSet *set, NpyContents *contents, Problem *problem) {
    char *x = data_npy_path(set->settings.path, set->part, 'x');
    char *y = data_npy_path(set->settings.path, set->part, 'y');
    bool good = false;
    if (x == NULL || y == NULL) {
        problem_add(problem,
                    "%s: expected a directory with %s-x.npy and %s-y.npy, or a file whose name "
                    "ends in x.npy",
                    set->settings.path, set->name, set->name);
    } else if (npy_read(x, &contents->x, problem) && npy_read(y, &contents->y, problem) &&
               data_npy_check_inputs(x, &contents->x, set->info, problem) &&
               data_npy_check_targets(y, &contents->y, set->info, problem)) {
        good = contents->x.dims[0] == contents->y.dims[0] ||
               problem_add(problem, "%s has %zu examples, but %s has %zu", x, contents->x.dims[0],
                           y, contents->y.dims[0]);
    }
    free(x);
    free(y);
    return good;
}

RUNTIME_API bool data_npy_open(DataSet *set, Problem *problem) {
    NpyContents *contents = calloc(1, sizeof *contents);
    if (contents == NULL) {
        return problem_out_of_memory(problem, "the data");
    }
    set->contents = contents;
    snprintf(set->name, sizeof set->name, "%s", set->part == DATA_TEST ? "test" : "train");
    if (!data_npy_load(set, contents, problem)) {
        data_npy_close(set);
        return false;
    }
    set->count = contents->x.dims[0];
    set->inputs = contents->x.data;
    set->input_bytes = set->info->input_size * element_type_info(contents->x.type)->size;
    return true;
}

RUNTIME_API void data_npy_close(DataSet *set) {
    NpyContents *contents = set->contents;
    if (contents != NULL) {
        npy_free(&contents->x);
        npy_free(&contents->y);
        free(contents);
        set->contents = NULL;
    }
}

RUNTIME_API void data_npy_read(const DataSet *set, size_t example, real *input, int32_t *labels,
                               real *targets) {
    const NpyContents *contents = set->contents;
    const real scale = (real)set->settings.scale, shift = (real)set->settings.shift;
    const size_t input_size = set->info->input_size, target_size = set->info->target_size;
    const Npy *x = &contents->x, *y = &contents->y;

    elements_to_real(x->type, x->data + example * input_size * element_type_info(x->type)->size,
                     input_size, input);
    for (size_t i = 0; i < input_size; i++) {
        input[i] = input[i] * scale + shift;
    }
    const unsigned char *from = y->data + example * target_size * element_type_info(y->type)->size;
    if (labels != NULL) {
        elements_to_labels(y->type, from, target_size, labels);
    } else {
        elements_to_real(y->type, from, target_size, targets);
    }
}
