/* A table from names to items, in the order in which they were put: constants, defs, labels. */
#ifndef CNNC_NAMES_H
#define CNNC_NAMES_H

#include "arena.h"

typedef struct NameTable NameTable;

NameTable *name_table_create(Arena *arena);
/* The item of that name, or NULL. */
void *name_find(const NameTable *table, const char *name);
/* Puts an item, which must not be NULL, or replaces the one of that name. The name is not copied.
 */
void name_put(NameTable *table, const char *name, void *item);

/* All entries: 0 <= index < name_count(). */
int name_count(const NameTable *table);
const char *name_at(const NameTable *table, int index);
void *name_item_at(const NameTable *table, int index);

#endif
