#include "names.h"

#include <stdint.h>
#include <string.h>

typedef struct Entry {
    const char *name;
    void *item;
    int next; /* entry of the same bucket, or -1 */
    uint32_t hash;
} Entry;

struct NameTable {
    Arena *arena;
    Entry *entries;
    int count, capacity;
    int *buckets; /* index of an entry plus 1; 0: empty */
    int bucket_count;
};

/* FNV-1a. */
static uint32_t hash_of(const char *name) {
    uint32_t hash = 2166136261u;
    for (; *name != '\0'; name++) {
        hash = (hash ^ (unsigned char)*name) * 16777619u;
    }
    return hash;
}

NameTable *name_table_create(Arena *arena) {
    NameTable *table = ARENA_NEW(arena, NameTable);
    table->arena = arena;
    return table;
}

static Entry *find_entry(const NameTable *table, const char *name, uint32_t hash) {
    if (table->bucket_count == 0) {
        return NULL;
    }
    int index = table->buckets[hash % (uint32_t)table->bucket_count] - 1;
    while (index >= 0) {
        Entry *entry = &table->entries[index];
        if (entry->hash == hash && strcmp(entry->name, name) == 0) {
            return entry;
        }
        index = entry->next;
    }
    return NULL;
}

static void link_entry(NameTable *table, int index) {
    Entry *entry = &table->entries[index];
    int *bucket = &table->buckets[entry->hash % (uint32_t)table->bucket_count];
    entry->next = *bucket - 1;
    *bucket = index + 1;
}

void *name_find(const NameTable *table, const char *name) {
    Entry *entry = find_entry(table, name, hash_of(name));
    return entry == NULL ? NULL : entry->item;
}

void name_put(NameTable *table, const char *name, void *item) {
    uint32_t hash = hash_of(name);
    Entry *present = find_entry(table, name, hash);
    if (present != NULL) {
        present->item = item;
        return;
    }
    ARENA_GROW(table->arena, table->entries, table->count, table->capacity);
    table->entries[table->count] = (Entry){.name = name, .item = item, .hash = hash};
    table->count++;
    if (table->count > table->bucket_count) {
        table->bucket_count = table->capacity * 2;
        table->buckets = ARENA_ARRAY(table->arena, int, (size_t)table->bucket_count);
        for (int i = 0; i < table->count; i++) {
            link_entry(table, i);
        }
    } else {
        link_entry(table, table->count - 1);
    }
}

int name_count(const NameTable *table) {
    return table->count;
}

const char *name_at(const NameTable *table, int index) {
    return table->entries[index].name;
}

void *name_item_at(const NameTable *table, int index) {
    return table->entries[index].item;
}
