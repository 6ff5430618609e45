#include "source.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MAXIMUM_FILE ((size_t)64 * 1024 * 1024)
#define MAXIMUM_TOTAL ((uint32_t)1 << 30) /* of all files: positions stay far within 32 bits */

struct Sources {
    Arena *arena;
    SourceFile *first, *last;
    uint32_t end; /* the next file's `begin` */
};

Sources *sources_create(Arena *arena) {
    Sources *sources = ARENA_NEW(arena, Sources);
    sources->arena = arena;
    sources->end = 1;
    return sources;
}

/* Takes over `text`, which has room for a newline and a zero byte behind `length` bytes. */
static SourceFile *add_file(Sources *sources, const char *path, char *text, size_t length) {
    if (length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        text += 3;
        length -= 3;
    }
    if (length == 0 || text[length - 1] != '\n') {
        text[length++] = '\n';
    }
    text[length] = '\0';
    SourceFile *file = ARENA_NEW(sources->arena, SourceFile);
    file->path = arena_copy(sources->arena, path, strlen(path));
    file->text = text;
    file->begin = sources->end;
    file->length = (uint32_t)length;
    sources->end += (uint32_t)length + 1;
    if (sources->last != NULL) {
        sources->last->next = file;
    } else {
        sources->first = file;
    }
    sources->last = file;
    return file;
}

static bool has_room(const Sources *sources, size_t length) {
    return length <= MAXIMUM_FILE && length < MAXIMUM_TOTAL - sources->end - 2;
}

SourceFile *source_from_text(Sources *sources, const char *path, const char *text, size_t length) {
    if (!has_room(sources, length)) {
        return NULL;
    }
    char *copy = arena_allocate(sources->arena, length + 2, 1);
    if (length > 0) {
        memcpy(copy, text, length);
    }
    return add_file(sources, path, copy, length);
}

/* Reads `stream` to its end; NULL with *problem set on failure. */
static char *read_all(Arena *arena, FILE *stream, size_t *length, const char **problem) {
    size_t capacity = 16 * 1024;
    char *text = arena_allocate(arena, capacity + 2, 1);
    *length = 0;
    for (;;) {
        size_t got = fread(text + *length, 1, capacity - *length, stream);
        *length += got;
        if (ferror(stream)) {
            *problem = arena_format(arena, "cannot read: %s", strerror(errno));
            return NULL;
        }
        if (got == 0 || feof(stream)) {
            return text;
        }
        if (*length > MAXIMUM_FILE) {
            *problem = "the file is larger than 64 MiB";
            return NULL;
        }
        if (*length == capacity) {
            char *larger = arena_allocate(arena, capacity * 2 + 2, 1);
            memcpy(larger, text, *length);
            text = larger;
            capacity *= 2;
        }
    }
}

SourceFile *source_load(Sources *sources, const char *path, const char **problem) {
    bool standard_input = strcmp(path, "-") == 0;
    FILE *stream = standard_input ? stdin : fopen(path, "rb");
    if (stream == NULL) {
        *problem = arena_format(sources->arena, "cannot open: %s", strerror(errno));
        return NULL;
    }
    size_t length = 0;
    char *text = read_all(sources->arena, stream, &length, problem);
    if (!standard_input) {
        fclose(stream);
    }
    if (text == NULL) {
        return NULL;
    }
    if (!has_room(sources, length)) {
        *problem = "the file is larger than 64 MiB, or all files together are larger than 1 GiB";
        return NULL;
    }
    return add_file(sources, standard_input ? "<stdin>" : path, text, length);
}

static const SourceFile *file_at(const Sources *sources, uint32_t position) {
    if (position == 0) {
        return NULL;
    }
    for (const SourceFile *file = sources->first; file != NULL; file = file->next) {
        if (position >= file->begin && position - file->begin <= file->length) {
            return file;
        }
    }
    return NULL;
}

/* Bytes 10xxxxxx continue a UTF-8 character. */
static bool continues_character(char byte) {
    return ((unsigned char)byte & 0xC0) == 0x80;
}

SourcePlace source_place(const Sources *sources, uint32_t position) {
    SourcePlace place = {0};
    const SourceFile *file = file_at(sources, position);
    if (file == NULL) {
        return place;
    }
    uint32_t offset = position - file->begin;
    /* The end of the file is shown at the end of its last line. */
    if (offset == file->length && offset > 0) {
        offset--;
    }
    place.file = file;
    place.line = 1;
    place.line_text = file->text;
    for (uint32_t i = 0; i < offset; i++) {
        if (file->text[i] == '\n') {
            place.line++;
            place.line_text = file->text + i + 1;
        }
    }
    size_t rest = file->length - (size_t)(place.line_text - file->text);
    const char *line_end = memchr(place.line_text, '\n', rest);
    place.line_length = (int)(line_end == NULL ? rest : (size_t)(line_end - place.line_text));
    if (place.line_length > 0 && place.line_text[place.line_length - 1] == '\r') {
        place.line_length--;
    }
    place.byte_in_line = (int)(file->text + offset - place.line_text);
    place.column = 1;
    for (int i = 0; i < place.byte_in_line; i++) {
        place.column += !continues_character(place.line_text[i + 1]);
    }
    return place;
}

const char *source_text_of(const Sources *sources, SourceRange range, Arena *arena) {
    const SourceFile *file = file_at(sources, range.begin);
    if (file == NULL || range.end <= range.begin) {
        return "";
    }
    uint32_t begin = range.begin - file->begin;
    uint32_t length = range.end - range.begin;
    if (length > file->length - begin) {
        length = file->length - begin;
    }
    return arena_copy(arena, file->text + begin, length);
}
