#include "arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SIZE ((size_t)64 * 1024)
#define ALIGNMENT alignof(max_align_t)

typedef struct Block {
    struct Block *next;
    size_t used, size; /* bytes of `data` */
    max_align_t data[];
} Block;

struct Arena {
    Block *blocks; /* the newest first: the only one that still hands out memory */
};

static void out_of_memory(void) {
    fputs("cnnc: out of memory\n", stderr);
    exit(2);
}

Arena *arena_create(void) {
    Arena *arena = calloc(1, sizeof *arena);
    if (arena == NULL) {
        out_of_memory();
    }
    return arena;
}

void arena_free(Arena *arena) {
    if (arena == NULL) {
        return;
    }
    for (Block *block = arena->blocks; block != NULL;) {
        Block *next = block->next;
        free(block);
        block = next;
    }
    free(arena);
}

/* A large request gets a block of its own behind the current one, which stays in use. */
static Block *add_block(Arena *arena, size_t bytes) {
    size_t size = bytes > BLOCK_SIZE / 4 ? bytes : BLOCK_SIZE;
    if (size > SIZE_MAX - sizeof(Block)) {
        out_of_memory();
    }
    Block *block = calloc(1, sizeof(Block) + size);
    if (block == NULL) {
        out_of_memory();
    }
    block->size = size;
    if (size != BLOCK_SIZE && arena->blocks != NULL) {
        block->next = arena->blocks->next;
        arena->blocks->next = block;
    } else {
        block->next = arena->blocks;
        arena->blocks = block;
    }
    return block;
}

void *arena_allocate(Arena *arena, size_t count, size_t size) {
    if (size != 0 && count > (SIZE_MAX - ALIGNMENT) / size) {
        out_of_memory();
    }
    size_t bytes = (count * size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (bytes == 0) {
        bytes = ALIGNMENT;
    }
    Block *block = arena->blocks;
    if (block == NULL || block->size - block->used < bytes) {
        block = add_block(arena, bytes);
    }
    void *memory = (char *)block->data + block->used;
    block->used += bytes;
    return memory;
}

char *arena_copy(Arena *arena, const char *text, size_t length) {
    if (length == SIZE_MAX) {
        out_of_memory();
    }
    char *copy = arena_allocate(arena, length + 1, 1);
    if (length > 0) {
        memcpy(copy, text, length);
    }
    copy[length] = '\0';
    return copy;
}

char *arena_format_list(Arena *arena, const char *format, va_list arguments) {
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    if (length < 0) {
        va_end(again);
        return arena_copy(arena, "", 0);
    }
    char *text = arena_allocate(arena, (size_t)length + 1, 1);
    vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

char *arena_format(Arena *arena, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *text = arena_format_list(arena, format, arguments);
    va_end(arguments);
    return text;
}

void *arena_grow(Arena *arena, void *items, size_t count, int *capacity, size_t size) {
    if (count < (size_t)*capacity) {
        return items;
    }
    if (*capacity > INT32_MAX / 2) {
        out_of_memory();
    }
    int larger = *capacity < 4 ? 8 : *capacity * 2;
    void *grown = arena_allocate(arena, (size_t)larger, size);
    if (count > 0) {
        memcpy(grown, items, count * size);
    }
    *capacity = larger;
    return grown;
}
