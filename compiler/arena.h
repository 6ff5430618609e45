/* Arena allocation: everything that one compilation makes lives until arena_free. */
#ifndef CNNC_ARENA_H
#define CNNC_ARENA_H

#include <stdarg.h>
#include <stddef.h>

#if defined(__GNUC__)
#define PRINTF_LIKE(format_index, first_argument)                                                  \
    __attribute__((format(printf, format_index, first_argument)))
#else
#define PRINTF_LIKE(format_index, first_argument)
#endif

typedef struct Arena Arena;

/* Returns a new arena; when memory runs out every function here prints a message and exits with
 * status 2, so that no caller has to check. */
Arena *arena_create(void);
void arena_free(Arena *arena);

/* Zeroed memory for `count` items of `size` bytes; the product is checked for overflow. */
void *arena_allocate(Arena *arena, size_t count, size_t size);
#define ARENA_NEW(arena, Type) ((Type *)arena_allocate((arena), 1, sizeof(Type)))
#define ARENA_ARRAY(arena, Type, count) ((Type *)arena_allocate((arena), (count), sizeof(Type)))

/* The string of the given bytes, with a terminating zero. */
char *arena_copy(Arena *arena, const char *text, size_t length);
char *arena_format(Arena *arena, const char *format, ...) PRINTF_LIKE(2, 3);
char *arena_format_list(Arena *arena, const char *format, va_list arguments);

/* Makes room for one more item in a growing array that lives in the arena: `items` points to the
 * array's variable, `count` is how many are in use, `capacity` points to how many fit. */
#define ARENA_GROW(arena, items, count, capacity)                                                  \
    ((items) = arena_grow((arena), (items), (size_t)(count), &(capacity), sizeof *(items)))
void *arena_grow(Arena *arena, void *items, size_t count, int *capacity, size_t size);

#endif
