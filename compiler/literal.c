#include "literal.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool read_integer(const char *text, Value *value) {
    char *end;
    errno = 0;
    long long integer = strtoll(text, &end, 10);
    if (*end != '\0' || errno != 0) {
        return false;
    }
    *value = (Value){.kind = VALUE_INTEGER, .as.integer = integer};
    return true;
}

static bool read_number(const char *text, Value *value) {
    char *end;
    double number = strtod(text, &end);
    if (*end != '\0' || !isfinite(number)) {
        return false;
    }
    *value = (Value){.kind = VALUE_NUMBER, .as.number = number};
    return true;
}

static bool read_dims(const char *text, Value *value) {
    Dims dims = {0};
    while (dims.rank < MAX_RANK) {
        char *end;
        errno = 0;
        dims.extent[dims.rank++] = strtoll(text, &end, 10);
        if (end == text || errno != 0) {
            return false;
        }
        if (*end == '\0') {
            *value = (Value){.kind = VALUE_DIMS, .as.dims = dims};
            return true;
        }
        if (*end != 'x' || !isdigit((unsigned char)end[1])) {
            return false;
        }
        text = end + 1;
    }
    return false;
}

static bool read_word(Arena *arena, const char *text, Value *value) {
    for (const char *rest = text; *rest != '\0'; rest++) {
        if (!isalnum((unsigned char)*rest) && *rest != '_') {
            return false;
        }
    }
    if (isdigit((unsigned char)text[0])) {
        return false;
    }
    Word *word = ARENA_NEW(arena, Word);
    word->name = arena_copy(arena, text, strlen(text));
    *value = (Value){.kind = VALUE_WORD, .as.word = word};
    return true;
}

bool literal_read(Arena *arena, const char *text, Value *value) {
    *value = (Value){.kind = VALUE_NONE};
    if (*text == '\0') {
        return true;
    }
    bool truth = strcmp(text, "true") == 0;
    if (truth || strcmp(text, "false") == 0) {
        *value = (Value){.kind = VALUE_BOOLEAN, .as.boolean = truth};
        return true;
    }
    /* strtod would also take blanks, "inf" and hexadecimal numbers. */
    bool numeric =
        strspn(text, "0123456789+-.eE") == strlen(text) && !isalpha((unsigned char)*text);
    if (numeric) {
        return read_integer(text, value) || read_number(text, value);
    }
    if (isdigit((unsigned char)*text)) {
        return read_dims(text, value);
    }
    return read_word(arena, text, value);
}
