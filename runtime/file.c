#include "file.h"
#include "platform.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

RUNTIME_API unsigned char *file_read(const char *path, size_t *size, Problem *problem) {
    FILE *stream = fopen(path, "rb");
    size_t capacity = 1 << 16, length = 0;
    unsigned char *bytes = NULL;
    if (stream == NULL) {
        problem_add(problem, "%s: cannot open: %s", path, strerror(errno));
        return NULL;
    }
    /* A hint only: the file may be a pipe or grow. */
    if (fseek(stream, 0, SEEK_END) == 0) {
        long end = ftell(stream);
        if (end > 0 && end < LONG_MAX) {
            capacity = (size_t)end + 1;
        }
        rewind(stream);
    }
    for (;;) {
        unsigned char *grown = realloc(bytes, capacity);
        if (grown == NULL) {
            problem_add(problem, "%s: not enough memory to read it (%zu bytes)", path, capacity);
            break;
        }
        bytes = grown;
        length += fread(bytes + length, 1, capacity - length, stream);
        if (ferror(stream)) {
            problem_add(problem, "%s: cannot read: %s", path, strerror(errno));
            break;
        }
        if (length < capacity) {
            fclose(stream);
            bytes[length] = 0;
            *size = length;
            return bytes;
        }
        capacity = capacity > SIZE_MAX / 2 ? SIZE_MAX : capacity * 2;
    }
    fclose(stream);
    free(bytes);
    return NULL;
}

static char *file_concatenate(const char *a, const char *b, const char *c) {
    size_t size = strlen(a) + strlen(b) + strlen(c) + 1;
    char *result = malloc(size);
    if (result != NULL) {
        snprintf(result, size, "%s%s%s", a, b, c);
    }
    return result;
}

RUNTIME_API char *path_join(const char *directory, const char *name) {
    return file_concatenate(directory, text_ends_with(directory, "/") ? "" : "/", name);
}

RUNTIME_API bool text_ends_with(const char *text, const char *ending) {
    size_t length = strlen(text), tail = strlen(ending);
    return length >= tail && strcmp(text + length - tail, ending) == 0;
}

RUNTIME_API bool file_writer_open(FileWriter *writer, const char *path, Problem *problem) {
    *writer = (FileWriter){0};
    writer->path = file_concatenate(path, "", "");
    bool replaceable = path_is_replaceable(path);
    if (replaceable) {
        writer->temporary = file_concatenate(path, ".tmp", "");
    }
    if (writer->path == NULL || (replaceable && writer->temporary == NULL)) {
        problem_out_of_memory(problem, "a path");
        file_writer_abandon(writer);
        return false;
    }
    writer->stream = fopen(replaceable ? writer->temporary : writer->path, "wb");
    if (writer->stream == NULL) {
        problem_add(problem, "%s: cannot write: %s", path, strerror(errno));
        file_writer_abandon(writer);
        return false;
    }
    return true;
}

RUNTIME_API void file_writer_write(FileWriter *writer, const void *data, size_t size) {
    if (!writer->failed && size > 0 && fwrite(data, 1, size, writer->stream) != size) {
        writer->failed = true;
    }
}

RUNTIME_API bool file_writer_commit(FileWriter *writer, Problem *problem) {
    errno = 0;
    bool good = !writer->failed && stream_sync(writer->stream);
    good = fclose(writer->stream) == 0 && good;
    writer->stream = NULL;
    if (good && writer->temporary != NULL) {
#ifdef _WIN32
        remove(writer->path); /* rename does not replace there */
#endif
        good = rename(writer->temporary, writer->path) == 0;
    }
    if (good) {
        directory_sync(writer->path);
        free(writer->temporary);
        writer->temporary = NULL;
    } else {
        problem_add(problem, "%s: cannot write: %s", writer->path,
                    errno != 0 ? strerror(errno) : "the disk may be full");
    }
    file_writer_abandon(writer);
    return good;
}

RUNTIME_API void file_writer_abandon(FileWriter *writer) {
    if (writer->stream != NULL) {
        fclose(writer->stream);
    }
    if (writer->temporary != NULL) {
        remove(writer->temporary);
    }
    free(writer->temporary);
    free(writer->path);
    *writer = (FileWriter){0};
}

static bool text_reserve(Text *text, size_t more) {
    if (text->failed || more > SIZE_MAX / 4 - text->length) {
        text->failed = true;
        return false;
    }
    if (text->length + more + 1 > text->capacity) {
        size_t capacity = 2 * (text->length + more + 1);
        char *data = realloc(text->data, capacity);
        if (data == NULL) {
            text->failed = true;
            return false;
        }
        text->data = data;
        text->capacity = capacity;
    }
    return true;
}

RUNTIME_API void text_add(Text *text, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    if (length < 0) {
        text->failed = true;
    } else if (text_reserve(text, (size_t)length)) {
        vsnprintf(text->data + text->length, (size_t)length + 1, format, again);
        text->length += (size_t)length;
    }
    va_end(again);
    va_end(arguments);
}

RUNTIME_API void text_add_json_string(Text *text, const char *string) {
    text_add(text, "\"");
    for (const char *at = string; *at != '\0'; at++) {
        unsigned char byte = (unsigned char)*at;
        if (byte == '"' || byte == '\\') {
            text_add(text, "\\%c", byte);
        } else if (byte < 0x20) {
            text_add(text, "\\u%04x", byte);
        } else {
            text_add(text, "%c", byte);
        }
    }
    text_add(text, "\"");
}

RUNTIME_API void text_free(Text *text) {
    free(text->data);
    *text = (Text){0};
}
