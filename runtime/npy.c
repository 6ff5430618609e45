#include "npy.h"

#include <stdlib.h>
#include <string.h>

/* The header is a Python dictionary: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }.
 */
typedef struct NpyCursor {
    const char *at, *end;
} NpyCursor;

static void npy_skip_blanks(NpyCursor *cursor) {
    while (cursor->at < cursor->end && strchr(" \t\n", *cursor->at) != NULL && *cursor->at != 0) {
        cursor->at++;
    }
}

static bool npy_accept(NpyCursor *cursor, const char *word) {
    size_t length = strlen(word);
    npy_skip_blanks(cursor);
    if ((size_t)(cursor->end - cursor->at) < length || memcmp(cursor->at, word, length) != 0) {
        return false;
    }
    cursor->at += length;
    return true;
}

/* A string in either kind of quotes, without escapes. */
static bool npy_string(NpyCursor *cursor, char *text, size_t size) {
    npy_skip_blanks(cursor);
    if (cursor->at == cursor->end || (*cursor->at != '\'' && *cursor->at != '"')) {
        return false;
    }
    char quote = *cursor->at++;
    size_t length = 0;
    while (cursor->at < cursor->end && *cursor->at != quote) {
        if (length + 1 >= size || *cursor->at == '\\') {
            return false;
        }
        text[length++] = *cursor->at++;
    }
    text[length] = '\0';
    return cursor->at++ < cursor->end;
}

static bool npy_size(NpyCursor *cursor, size_t *value) {
    npy_skip_blanks(cursor);
    const char *begin = cursor->at;
    *value = 0;
    while (cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9') {
        size_t digit = (size_t)(*cursor->at++ - '0');
        if (!size_multiply(*value, 10, value) || *value > SIZE_MAX - digit) {
            return false;
        }
        *value += digit;
    }
    return cursor->at > begin;
}

static bool npy_shape(NpyCursor *cursor, Npy *array) {
    if (!npy_accept(cursor, "(")) {
        return false;
    }
    array->rank = 0;
    while (!npy_accept(cursor, ")")) {
        if (array->rank == NPY_MAX_RANK || !npy_size(cursor, &array->dims[array->rank])) {
            return false;
        }
        array->rank++;
        if (!npy_accept(cursor, ",")) {
            return npy_accept(cursor, ")");
        }
    }
    return true;
}

static bool npy_type(const char *name, const char *descr, Npy *array, Problem *problem) {
    for (int type = 0; type < ELEMENT_TYPES; type++) {
        if (strcmp(element_type_info((ElementType)type)->npy, descr) == 0) {
            array->type = (ElementType)type;
            return true;
        }
    }
    return problem_add(problem,
                       "%s: expected float32, float64, int32, int64 or uint8 numbers, "
                       "little-endian; found '%s'",
                       name, descr);
}

static bool npy_dictionary(const char *name, NpyCursor cursor, Npy *array, Problem *problem) {
    char key[32], descr[64] = "";
    bool have_shape = false, have_order = false, fortran_order = false, good = true;
    good = npy_accept(&cursor, "{");
    while (good && !npy_accept(&cursor, "}")) {
        good = npy_string(&cursor, key, sizeof key) && npy_accept(&cursor, ":");
        if (good && strcmp(key, "descr") == 0) {
            good = npy_string(&cursor, descr, sizeof descr);
        } else if (good && strcmp(key, "fortran_order") == 0) {
            fortran_order = npy_accept(&cursor, "True");
            good = have_order = fortran_order || npy_accept(&cursor, "False");
        } else if (good && strcmp(key, "shape") == 0) {
            good = have_shape = npy_shape(&cursor, array);
        } else {
            good = false;
        }
        if (good && !npy_accept(&cursor, ",")) {
            good = npy_accept(&cursor, "}");
            break;
        }
    }
    if (!good || !have_shape || !have_order || descr[0] == '\0') {
        return problem_add(problem, "%s: its npy header is damaged or of an unknown kind", name);
    }
    if (fortran_order && array->rank > 1) {
        return problem_add(problem, "%s: expected C order, found Fortran order", name);
    }
    return npy_type(name, descr, array, problem);
}

RUNTIME_API bool npy_parse(const char *name, unsigned char *bytes, size_t size, Npy *array,
                           Problem *problem) {
    *array = (Npy){.bytes = bytes, .count = 1};
    if (size < 10 || memcmp(bytes, "\x93NUMPY", 6) != 0) {
        problem_add(problem, "%s: not an npy file", name);
        goto failed;
    }
    if (bytes[6] < 1 || bytes[6] > 3) {
        problem_add(problem, "%s: npy version %d.%d is not known here", name, bytes[6], bytes[7]);
        goto failed;
    }
    size_t length_bytes = bytes[6] == 1 ? 2 : 4, begin = 8 + length_bytes;
    size_t header = size < begin ? SIZE_MAX : (size_t)elements_unsigned(bytes + 8, length_bytes);
    if (size < begin || header > size - begin) {
        problem_add(problem, "%s: it ends in the middle of the npy header", name);
        goto failed;
    }
    NpyCursor cursor = {(const char *)bytes + begin, (const char *)bytes + begin + header};
    if (!npy_dictionary(name, cursor, array, problem)) {
        goto failed;
    }
    array->data = bytes + begin + header;
    size_t expected = element_type_info(array->type)->size, found = size - begin - header;
    bool fits = true, empty = false;
    for (int i = 0; i < array->rank; i++) {
        empty = empty || array->dims[i] == 0;
        fits = fits && size_multiply(expected, array->dims[i], &expected) &&
               size_multiply(array->count, array->dims[i], &array->count);
    }
    if (!empty && (!fits || expected != found)) {
        problem_add(problem, "%s: its shape asks for %s%zu bytes of numbers, it has %zu", name,
                    fits ? "" : "more than ", fits ? expected : SIZE_MAX, found);
        goto failed;
    }
    array->count = empty ? 0 : array->count;
    return true;

failed:
    npy_free(array);
    return false;
}

RUNTIME_API bool npy_read(const char *path, Npy *array, Problem *problem) {
    size_t size;
    unsigned char *bytes = file_read(path, &size, problem);
    *array = (Npy){0};
    return bytes != NULL && npy_parse(path, bytes, size, array, problem);
}

RUNTIME_API void npy_free(Npy *array) {
    free(array->bytes);
    *array = (Npy){0};
}

RUNTIME_API void npy_shape_text(const Npy *array, char *text, size_t size) {
    size_t length = 0;
    snprintf(text, size, "a single number");
    for (int i = 0; i < array->rank && length < size; i++) {
        int written =
            snprintf(text + length, size - length, i > 0 ? "x%zu" : "%zu", array->dims[i]);
        length += written > 0 ? (size_t)written : 0;
    }
}

RUNTIME_API void npy_write_header(FileWriter *writer, int rank, const size_t *dims) {
    char header[512] = "";
    const size_t preamble = 10, alignment = 64;
    size_t length = (size_t)snprintf(header, sizeof header,
                                     "{'descr': '%s', 'fortran_order': False, 'shape': (",
                                     element_type_info(ELEMENT_REAL)->npy);
    for (int i = 0; i < rank; i++) {
        length += (size_t)snprintf(header + length, sizeof header - length, "%s%zu",
                                   i > 0 ? ", " : "", dims[i]);
    }
    length +=
        (size_t)snprintf(header + length, sizeof header - length, "%s), }", rank == 1 ? "," : "");
    while ((preamble + length + 1) % alignment != 0) {
        header[length++] = ' ';
    }
    header[length++] = '\n';
    const unsigned char start[10] = {
        0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)length, (unsigned char)(length >> 8)};
    file_writer_write(writer, start, sizeof start);
    file_writer_write(writer, header, length);
}
