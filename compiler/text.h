/* A growing string in an arena: what the printers write to. */
#ifndef CNNC_TEXT_H
#define CNNC_TEXT_H

#include "arena.h"

typedef struct Text {
    Arena *arena;
    char *bytes; /* always ends in a zero byte that `length` does not count */
    size_t length, capacity;
} Text;

void text_init(Text *text, Arena *arena);
void text_clear(Text *text); /* keeps the memory */
void text_add(Text *text, const char *string);
void text_add_bytes(Text *text, const char *bytes, size_t length);
void text_add_character(Text *text, char character);
void text_add_repeated(Text *text, char character, int count);
void text_format(Text *text, const char *format, ...) PRINTF_LIKE(2, 3);
/* As a C string literal with its quotes; bytes that are not printable ASCII are octal escapes and
 * question marks are split so that no trigraph appears. NULL prints NULL. */
void text_add_quoted(Text *text, const char *string);
/* The shortest decimal that reads back as the same double ("0.1", "5e-05"), always with a point or
 * an exponent, and INFINITY, -INFINITY or NAN for what has none. */
void text_add_double(Text *text, double value);

#endif
