#include "data_formats.h"
#include "inflate.h"
#include "platform.h"

#include <stdlib.h>
#include <string.h>

#define IDX_MAX_UNPACKED (SIZE_MAX / 4 < ((uint64_t)8 << 30) ? SIZE_MAX / 4 : (size_t)8 << 30)
#define IDX_UNSIGNED_BYTE 0x08

typedef struct IdxContents {
    IdxFile images, labels;
    size_t channels, height, width;   /* of an image */
    size_t input_height, input_width; /* of the network's input */
    size_t top, left;                 /* where the image begins in it */
} IdxContents;

static const char *data_idx_prefix(DataPart part) {
    return part == DATA_TEST ? "t10k" : "train";
}

/* "<path>/<prefix>-<what>[.gz]": the one that exists, malloc'ed; NULL if neither does. */
static char *data_idx_path(const char *path, DataPart part, const char *what) {
    static const char *const endings[] = {"", ".gz"};
    char name[64];
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "%s-%s%s", data_idx_prefix(part), what, endings[i]);
        char *candidate = path_join(path, name);
        if (candidate != NULL && path_exists(candidate)) {
            return candidate;
        }
        free(candidate);
    }
    return NULL;
}

RUNTIME_API bool data_idx_has(const char *path, DataPart part) {
    char *images = data_idx_path(path, part, "images-idx3-ubyte");
    free(images);
    return images != NULL;
}

RUNTIME_API bool data_idx_parse(const char *name, unsigned char *bytes, size_t size, IdxFile *file,
                                Problem *problem) {
    *file = (IdxFile){.bytes = bytes};
    if (size < 4 || bytes[0] != 0 || bytes[1] != 0) {
        return problem_add(problem, "%s: not an idx file", name);
    }
    file->rank = bytes[3];
    if (bytes[2] != IDX_UNSIGNED_BYTE || file->rank < 1 || file->rank > 4) {
        return problem_add(problem,
                           "%s: expected bytes (type 8) with 1 to 4 dimensions, found type %d with "
                           "%d dimensions",
                           name, bytes[2], file->rank);
    }
    size_t header = 4 + 4 * (size_t)file->rank, expected = 1;
    if (size < header) {
        return problem_add(problem, "%s: it ends in the middle of the idx header", name);
    }
    bool fits = true;
    for (int i = 0; i < file->rank; i++) {
        const unsigned char *at = bytes + 4 + 4 * i;
        file->dims[i] = (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
        fits = fits && size_multiply(expected, file->dims[i], &expected);
    }
    if (!fits || expected != size - header) {
        return problem_add(problem, "%s: its header announces %s%zu bytes, found %zu", name,
                           fits ? "" : "more than ", fits ? expected : SIZE_MAX, size - header);
    }
    file->data = bytes + header;
    return true;
}

static bool data_idx_load(const DataSet *set, const char *what, IdxFile *file, Problem *problem) {
    char *path = data_idx_path(set->settings.path, set->part, what);
    size_t size = 0;
    *file = (IdxFile){0};
    if (path == NULL) {
        const char *prefix = data_idx_prefix(set->part);
        return problem_add(problem, "%s: expected %s-%s or %s-%s.gz in it, found neither",
                           set->settings.path, prefix, what, prefix, what);
    }
    unsigned char *bytes = file_read(path, &size, problem);
    if (bytes != NULL && gzip_recognise(bytes, size)) {
        unsigned char *packed = bytes;
        bytes = gzip_decompress(path, packed, size, IDX_MAX_UNPACKED, &size, problem);
        free(packed);
    }
    bool good = bytes != NULL && data_idx_parse(path, bytes, size, file, problem);
    free(path);
    return good;
}

/* Where the images go in the network's input. */
static bool data_idx_place(const DataSet *set, IdxContents *contents, Problem *problem) {
    const NetworkInfo *info = set->info;
    const IdxFile *images = &contents->images;
    char wanted[128];
    if (images->rank < 3) {
        return problem_add(problem, "%s: expected images (3 or 4 dimensions), found %d dimensions",
                           set->settings.path, images->rank);
    }
    contents->channels = images->rank == 4 ? images->dims[1] : 1;
    contents->height = images->dims[images->rank - 2];
    contents->width = images->dims[images->rank - 1];
    network_shape_text(info->input_dims, info->input_rank, wanted, sizeof wanted);
    if (info->input_rank == 3) {
        contents->input_height = (size_t)info->input_dims[1];
        contents->input_width = (size_t)info->input_dims[2];
        if (contents->channels == (size_t)info->input_dims[0] &&
            contents->height <= contents->input_height &&
            contents->width <= contents->input_width) {
            contents->top = (contents->input_height - contents->height) / 2;
            contents->left = (contents->input_width - contents->width) / 2;
            return true;
        }
    } else {
        /* A vector takes all pixels in order, if there are as many. */
        contents->input_height = contents->height;
        contents->input_width = contents->width;
        if (info->input_rank == 1 && images->dims[0] > 0 &&
            contents->channels * contents->height * contents->width == info->input_size) {
            return true;
        }
    }
    return problem_add(problem, "%s: the network's input is %s, found images of %zux%zux%zu",
                       set->settings.path, wanted, contents->channels, contents->height,
                       contents->width);
}

static bool data_idx_check_labels(const DataSet *set, const IdxContents *contents,
                                  Problem *problem) {
    const IdxFile *labels = &contents->labels;
    size_t limit = data_label_limit(set);
    if (labels->rank != 1 || labels->dims[0] != contents->images.dims[0]) {
        return problem_add(problem, "%s: expected one label for each of %zu images, found %zu",
                           set->settings.path, contents->images.dims[0], labels->dims[0]);
    }
    for (size_t i = 0; i < labels->dims[0]; i++) {
        if (labels->data[i] >= limit) {
            return problem_add(problem,
                               "%s: the network has %zu classes, found label %d at image %zu",
                               set->settings.path, limit, labels->data[i], i);
        }
    }
    return true;
}

RUNTIME_API bool data_idx_open(DataSet *set, Problem *problem) {
    IdxContents *contents = calloc(1, sizeof *contents);
    if (contents == NULL) {
        return problem_out_of_memory(problem, "the data");
    }
    set->contents = contents;
    snprintf(set->name, sizeof set->name, "%s", data_idx_prefix(set->part));
    if (!data_idx_load(set, "images-idx3-ubyte", &contents->images, problem) ||
        !data_idx_load(set, "labels-idx1-ubyte", &contents->labels, problem) ||
        !data_choose_label_use(set, problem) || !data_idx_place(set, contents, problem) ||
        !data_idx_check_labels(set, contents, problem)) {
        data_idx_close(set);
        return false;
    }
    set->count = contents->images.dims[0];
    set->inputs = contents->images.data;
    set->input_bytes = contents->channels * contents->height * contents->width;
    return true;
}

RUNTIME_API void data_idx_close(DataSet *set) {
    IdxContents *contents = set->contents;
    if (contents != NULL) {
        free(contents->images.bytes);
        free(contents->labels.bytes);
        free(contents);
        set->contents = NULL;
    }
}

RUNTIME_API void data_idx_read(const DataSet *set, size_t example, real *input, int32_t *labels,
                               real *targets) {
    const IdxContents *contents = set->contents;
    const real scale = (real)set->settings.scale, shift = (real)set->settings.shift;
    const size_t height = contents->height, width = contents->width;
    const unsigned char *pixel =
        contents->images.data + example * contents->channels * height * width;

    if (height < contents->input_height || width < contents->input_width) {
        for (size_t i = 0; i < set->info->input_size; i++) {
            input[i] = shift;
        }
    }
    for (size_t c = 0; c < contents->channels; c++) {
        for (size_t y = 0; y < height; y++) {
            real *row = input +
                        (c * contents->input_height + contents->top + y) * contents->input_width +
                        contents->left;
            for (size_t x = 0; x < width; x++) {
                row[x] = (real)*pixel++ * scale + shift;
            }
        }
    }
    data_put_label(set, contents->labels.data[example], input, labels, targets);
}
