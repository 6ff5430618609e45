#include "safetensors.h"
#include "json.h"

#include <stdlib.h>
#include <string.h>

#define SAFETENSORS_MAX_HEADER ((uint64_t)100 << 20) /* as the reference reader */

/* Makes room for one more item of a list. */
static void *safetensors_grow(void *items, size_t count, size_t *capacity, size_t size) {
    if (count < *capacity) {
        return items;
    }
    size_t wanted = *capacity < 32 ? 64 : 2 * *capacity, bytes;
    void *grown = size_multiply(wanted, size, &bytes) && bytes > 0 ? realloc(items, bytes) : NULL;
    *capacity = grown != NULL ? wanted : *capacity;
    return grown;
}

static bool safetensors_read_metadata(JsonReader *reader, SafeTensors *file) {
    bool first = true;
    json_expect(reader, '{');
    while (json_next(reader, '}', &first)) {
        SafeMetadata *list = safetensors_grow(file->metadata, file->metadata_count,
                                              &file->metadata_capacity, sizeof *file->metadata);
        if (list == NULL) {
            return false;
        }
        file->metadata = list;
        SafeMetadata *entry = &list[file->metadata_count++];
        entry->key = json_string(reader);
        json_expect(reader, ':');
        entry->value = json_string(reader);
    }
    return !reader->failed;
}

/* The object that describes one tensor. */
static bool safetensors_read_entry(JsonReader *reader, SafeTensor *tensor) {
    bool first = true, inner, have_shape = false, have_offsets = false;
    json_expect(reader, '{');
    while (json_next(reader, '}', &first)) {
        char *key = json_string(reader);
        json_expect(reader, ':');
        if (key != NULL && strcmp(key, "dtype") == 0 && tensor->dtype == NULL) {
            tensor->dtype = json_string(reader);
        } else if (key != NULL && strcmp(key, "shape") == 0 && !have_shape) {
            json_expect(reader, '[');
            inner = have_shape = true;
            while (json_next(reader, ']', &inner)) {
                size_t extent;
                if (tensor->rank == SAFETENSORS_MAX_RANK || !json_size(reader, &extent)) {
                    reader->failed = true;
                    break;
                }
                tensor->dims[tensor->rank++] = extent;
            }
        } else if (key != NULL && strcmp(key, "data_offsets") == 0 && !have_offsets) {
            have_offsets = json_expect(reader, '[') && json_size(reader, &tensor->begin) &&
                           json_expect(reader, ',') && json_size(reader, &tensor->end) &&
                           json_expect(reader, ']');
        } else {
            reader->failed = true;
        }
        free(key);
    }
    return !reader->failed && tensor->dtype != NULL && have_shape && have_offsets;
}

static bool safetensors_read_header(JsonReader *reader, SafeTensors *file) {
    bool first = true, have_metadata = false;
    json_expect(reader, '{');
    while (json_next(reader, '}', &first)) {
        char *name = json_string(reader);
        json_expect(reader, ':');
        if (name != NULL && strcmp(name, "__metadata__") == 0) {
            free(name);
            if (have_metadata || !safetensors_read_metadata(reader, file)) {
                return false;
            }
            have_metadata = true;
            continue;
        }
        SafeTensor *list =
            safetensors_grow(file->tensors, file->count, &file->capacity, sizeof *file->tensors);
        if (list == NULL) {
            free(name);
            return false;
        }
        file->tensors = list;
        list[file->count] = (SafeTensor){.name = name};
        if (!safetensors_read_entry(reader, &list[file->count++]) || name == NULL) {
            return false;
        }
    }
    return json_at_end(reader);
}

static int safetensors_by_name(const void *a, const void *b) {
    return strcmp(((const SafeTensor *)a)->name, ((const SafeTensor *)b)->name);
}

static int safetensors_by_begin(const void *a, const void *b) {
    const SafeTensor *first = *(const SafeTensor *const *)a;
    const SafeTensor *second = *(const SafeTensor *const *)b;
    if (first->begin != second->begin) {
        return first->begin < second->begin ? -1 : 1;
    }
    return first->end < second->end ? -1 : first->end > second->end;
}

static bool safetensors_check_entry(const char *path, const SafeTensors *file,
                                    const SafeTensor *tensor, Problem *problem) {
    if (tensor->begin > tensor->end || tensor->end > file->data_size) {
        return problem_add(problem, "%s: %s lies at bytes %zu to %zu, but the file has %zu", path,
                           tensor->name, tensor->begin, tensor->end, file->data_size);
    }
    for (int type = 0; type < ELEMENT_TYPES; type++) {
        const ElementTypeInfo *info = element_type_info((ElementType)type);
        size_t bytes = info->size;
        bool fits = true;
        if (strcmp(info->safetensors, tensor->dtype) != 0) {
            continue;
        }
        for (int i = 0; i < tensor->rank; i++) {
            fits = fits && size_multiply(bytes, tensor->dims[i], &bytes);
        }
        if (!fits || bytes != tensor->end - tensor->begin) {
            return problem_add(problem, "%s: %s has a shape that does not fit its %zu bytes", path,
                               tensor->name, tensor->end - tensor->begin);
        }
    }
    return true;
}

/* Sorts the entries and checks them one by one and against each other. */
static bool safetensors_check(const char *path, SafeTensors *file, Problem *problem) {
    const SafeTensor **order = malloc((file->count + 1) * sizeof *order);
    bool good = true;
    if (order == NULL) {
        return problem_out_of_memory(problem, path);
    }
    if (file->count > 0) {
        qsort(file->tensors, file->count, sizeof *file->tensors, safetensors_by_name);
    }
    for (size_t i = 0; i < file->count; i++) {
        order[i] = &file->tensors[i];
        good = safetensors_check_entry(path, file, order[i], problem) && good;
        if (i > 0 && strcmp(order[i]->name, order[i - 1]->name) == 0) {
            good = problem_add(problem, "%s: %s is there twice", path, order[i]->name);
        }
    }
    qsort(order, file->count, sizeof *order, safetensors_by_begin);
    for (size_t i = 1; good && i < file->count; i++) {
        if (order[i]->begin < order[i - 1]->end) {
            good = problem_add(problem, "%s: the bytes of %s and %s overlap", path,
                               order[i - 1]->name, order[i]->name);
        }
    }
    free(order);
    return good;
}

RUNTIME_API bool safetensors_parse(const char *name, unsigned char *bytes, size_t size,
                                   SafeTensors *file, Problem *problem) {
    *file = (SafeTensors){.bytes = bytes};
    uint64_t header = size < 8 ? 0 : elements_unsigned(bytes, 8);
    if (size < 8 || header > size - 8 || header > SAFETENSORS_MAX_HEADER) {
        problem_add(problem, "%s: not a safetensors file", name);
        safetensors_free(file);
        return false;
    }
    JsonReader reader = {(const char *)bytes + 8, (const char *)bytes + 8 + header, false};
    file->data = bytes + 8 + header;
    file->data_size = size - 8 - (size_t)header;
    if (!safetensors_read_header(&reader, file)) {
        problem_add(problem, "%s: its safetensors header is damaged (near byte %zu)", name,
                    (size_t)(reader.at - (const char *)bytes));
        safetensors_free(file);
        return false;
    }
    if (!safetensors_check(name, file, problem)) {
        safetensors_free(file);
        return false;
    }
    return true;
}

RUNTIME_API bool safetensors_read(const char *path, SafeTensors *file, Problem *problem) {
    size_t size;
    unsigned char *bytes = file_read(path, &size, problem);
    *file = (SafeTensors){0};
    return bytes != NULL && safetensors_parse(path, bytes, size, file, problem);
}

RUNTIME_API void safetensors_free(SafeTensors *file) {
    for (size_t i = 0; i < file->count; i++) {
        free(file->tensors[i].name);
        free(file->tensors[i].dtype);
    }
    for (size_t i = 0; i < file->metadata_count; i++) {
        free(file->metadata[i].key);
        free(file->metadata[i].value);
    }
    free(file->tensors);
    free(file->metadata);
    free(file->bytes);
    *file = (SafeTensors){0};
}

static int safetensors_compare_name(const void *name, const void *tensor) {
    return strcmp(name, ((const SafeTensor *)tensor)->name);
}

RUNTIME_API const SafeTensor *safetensors_find(const SafeTensors *file, const char *name) {
    return file->count == 0 ? NULL
                            : bsearch(name, file->tensors, file->count, sizeof *file->tensors,
                                      safetensors_compare_name);
}

RUNTIME_API const char *safetensors_metadata(const SafeTensors *file, const char *key) {
    for (size_t i = 0; i < file->metadata_count; i++) {
        if (strcmp(file->metadata[i].key, key) == 0) {
            return file->metadata[i].value;
        }
    }
    return NULL;
}

static size_t safetensors_source_size(const SafeTensorSource *tensor) {
    size_t count = 1;
    for (int i = 0; i < tensor->rank; i++) {
        count *= tensor->dims[i];
    }
    return count;
}

static void safetensors_header(Text *text, const SafeTensorSource *tensors, size_t count,
                               const SafeMetadataSource *metadata, size_t metadata_count) {
    size_t offset = 0;
    text_add(text, "{\"__metadata__\":{\"format\":\"pt\"");
    for (size_t i = 0; i < metadata_count; i++) {
        text_add(text, ",");
        text_add_json_string(text, metadata[i].key);
        text_add(text, ":");
        text_add_json_string(text, metadata[i].value);
    }
    text_add(text, "}");
    for (size_t i = 0; i < count; i++) {
        size_t bytes = safetensors_source_size(&tensors[i]) * sizeof(real);
        text_add(text, ",");
        text_add_json_string(text, tensors[i].name);
        text_add(text, ":{\"dtype\":\"%s\",\"shape\":[",
                 element_type_info(ELEMENT_REAL)->safetensors);
        for (int k = 0; k < tensors[i].rank; k++) {
            text_add(text, k > 0 ? ",%zu" : "%zu", tensors[i].dims[k]);
        }
        text_add(text, "],\"data_offsets\":[%zu,%zu]}", offset, offset + bytes);
        offset += bytes;
    }
    text_add(text, "}");
    while (text->length % 8 != 0 && !text->failed) {
        text_add(text, " ");
    }
}

static void safetensors_write_data(FileWriter *writer, const SafeTensorSource *tensor) {
    enum { CHUNK = 4096 };
    const size_t count = safetensors_source_size(tensor);
    real dense[CHUNK];
    for (size_t begin = 0; begin < count; begin += CHUNK) {
        size_t chunk = count - begin < CHUNK ? count - begin : CHUNK;
        layout_gather(&tensor->layout, tensor->data, begin, chunk, dense);
        elements_write_reals(writer, dense, chunk);
    }
}

RUNTIME_API bool safetensors_write(const char *path, const SafeTensorSource *tensors, size_t count,
                                   const SafeMetadataSource *metadata, size_t metadata_count,
                                   Problem *problem) {
    FileWriter writer;
    Text header = {0};
    unsigned char length[8];
    safetensors_header(&header, tensors, count, metadata, metadata_count);
    if (header.failed) {
        text_free(&header);
        return problem_out_of_memory(problem, path);
    }
    if (!file_writer_open(&writer, path, problem)) {
        text_free(&header);
        return false;
    }
    for (int i = 0; i < 8; i++) {
        length[i] = (unsigned char)((uint64_t)header.length >> (8 * i));
    }
    file_writer_write(&writer, length, sizeof length);
    file_writer_write(&writer, header.data, header.length);
    text_free(&header);
    for (size_t i = 0; i < count; i++) {
        safetensors_write_data(&writer, &tensors[i]);
    }
    return file_writer_commit(&writer, problem);
}
