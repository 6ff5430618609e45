#include "text.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 256

void text_init(Text *text, Arena *arena) {
    text->arena = arena;
    text->bytes = ARENA_ARRAY(arena, char, FIRST_CAPACITY);
    text->length = 0;
    text->capacity = FIRST_CAPACITY;
}

void text_clear(Text *text) {
    text->length = 0;
    text->bytes[0] = '\0';
}

/* Room for `more` bytes and the zero behind them. Doubling leaves at most as much unused arena
 * behind as the text itself has. */
static void reserve(Text *text, size_t more) {
    if (more < text->capacity - text->length)
        return;
    size_t capacity = text->capacity;
    while (more >= capacity - text->length)
        capacity = capacity <= SIZE_MAX / 2 ? capacity * 2 : SIZE_MAX;
    char *bytes = ARENA_ARRAY(text->arena, char, capacity);
    memcpy(bytes, text->bytes, text->length + 1);
    text->bytes = bytes;
    text->capacity = capacity;
}

void text_add_bytes(Text *text, const char *bytes, size_t length) {
    reserve(text, length);
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
    text->bytes[text->length] = '\0';
}

void text_add(Text *text, const char *string) {
    text_add_bytes(text, string, strlen(string));
}

void text_add_character(Text *text, char character) {
    if (text->capacity - text->length < 2)
        reserve(text, 1);
    text->bytes[text->length++] = character;
    text->bytes[text->length] = '\0';
}

void text_add_repeated(Text *text, char character, int count) {
    if (count <= 0)
        return;
    reserve(text, (size_t)count);
    memset(text->bytes + text->length, character, (size_t)count);
    text->length += (size_t)count;
    text->bytes[text->length] = '\0';
}

void text_format(Text *text, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    size_t room = text->capacity - text->length;
    int length = vsnprintf(text->bytes + text->length, room, format, arguments);
    if (length > 0 && (size_t)length >= room) {
        text->bytes[text->length] = '\0';
        reserve(text, (size_t)length);
        vsnprintf(text->bytes + text->length, text->capacity - text->length, format, again);
    }
    if (length > 0)
        text->length += (size_t)length;
    va_end(again);
    va_end(arguments);
}

void text_add_quoted(Text *text, const char *string) {
    if (string == NULL) {
        text_add(text, "NULL");
        return;
    }
    text_add_character(text, '"');
    for (const char *c = string; *c != '\0'; c++) {
        unsigned char byte = (unsigned char)*c;
        if (byte == '"' || byte == '\\' || (byte == '?' && c[1] == '?'))
            text_format(text, "\\%c", byte);
        else if (byte == '\n')
            text_add(text, "\\n");
        else if (byte == '\t')
            text_add(text, "\\t");
        else if (byte < ' ' || byte > '~')
            text_format(text, "\\%03o", (unsigned)byte);
        else
            text_add_character(text, *c);
    }
    text_add_character(text, '"');
}

void text_add_double(Text *text, double value) {
    if (isnan(value)) {
        text_add(text, "NAN");
        return;
    }
    if (isinf(value)) {
        text_add(text, value < 0 ? "-INFINITY" : "INFINITY");
        return;
    }
    if (value == floor(value) && fabs(value) < 1e6) {
        text_format(text, "%.1f", value);
        return;
    }
    char digits[40];
    for (int precision = 1; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (strtod(digits, NULL) == value)
            break;
    }
    text_add(text, digits);
    if (strpbrk(digits, ".e") == NULL)
        text_add(text, ".0");
}
