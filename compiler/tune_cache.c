#include "tune_cache.h"

#include "output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_LINE "cnnc tuning 1"
#define LARGEST_FILE (64L << 20) /* bytes */
#define FIELDS 5

typedef struct Entry {
    const char *text; /* the whole line without its end */
    size_t key;       /* bytes of it up to the signature's end */
    int line;
} Entry;

struct TuneCache {
    Arena *arena;
    const char *path, *machine;
    bool again; /* damaged lines have been reported */
    int count, capacity;
    Entry *entries;
};

/* ---- Places ---- */

const char *tune_cache_default_path(Arena *arena) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache != NULL && cache[0] == '/') /* others are invalid, says the specification */
        return arena_format(arena, "%s/cnnc/tune", cache);
    return home != NULL && home[0] != '\0' ? arena_format(arena, "%s/.cache/cnnc/tune", home)
                                           : NULL;
}

void tune_cache_make_directories(const TuneCache *cache) {
    char *copy = arena_copy(cache->arena, cache->path, strlen(cache->path));
    for (char *slash = strchr(copy + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(copy, 0777);
        *slash = '/';
    }
}

bool tune_cache_writable(const TuneCache *cache, const char **problem) {
    Arena *arena = cache->arena;
    const char *path = cache->path;
    const char *slash = strrchr(path, '/');
    const char *directory = slash == NULL   ? "."
                            : slash == path ? "/"
                                            : arena_copy(arena, path, (size_t)(slash - path));
    if (access(directory, W_OK | X_OK) == 0)
        return true;
    *problem = arena_format(arena, "cannot write %s: %s", path, strerror(errno));
    return false;
}

/* ---- Reading ---- */

/* The bytes of the file, "" if there is none; NULL with a message. */
static char *read_file(Arena *arena, const char *path, size_t *length, const char **problem) {
    struct stat status;
    *length = 0;
    if (stat(path, &status) != 0 && errno == ENOENT)
        return arena_copy(arena, "", 0);
    FILE *file = fopen(path, "rb");
    if (file == NULL || fstat(fileno(file), &status) != 0) {
        *problem = arena_format(arena, "%s: %s", path, strerror(errno));
    } else if (!S_ISREG(status.st_mode) || status.st_size > LARGEST_FILE) {
        *problem = arena_format(arena, "%s: %s", path,
                                S_ISREG(status.st_mode) ? "too large for a file of tuning results"
                                                        : "is not a regular file");
    } else {
        char *bytes = arena_allocate(arena, (size_t)status.st_size + 1, 1);
        *length = fread(bytes, 1, (size_t)status.st_size, file);
        if (!ferror(file)) {
            fclose(file);
            return bytes;
        }
        *problem = arena_format(arena, "%s: %s", path, strerror(errno));
    }
    if (file != NULL)
        fclose(file);
    return NULL;
}

/* Printable, in five fields that are not empty; fills the entry. */
static bool parse_entry(Entry *entry, size_t length) {
    int tabs = 0;
    const char *end = entry->text + length;
    for (const char *c = entry->text; c < end; c++) {
        if (*c == '\t') {
            bool empty = c == entry->text || c[-1] == '\t' || c + 1 == end;
            if (empty || ++tabs == FIELDS)
                return false;
            entry->key = (size_t)(c - entry->text);
        } else if ((unsigned char)*c < ' ' || *c == 0x7f) {
            return false;
        }
    }
    return tabs == FIELDS - 1;
}

static bool same_key(const Entry *a, const Entry *b) {
    return a->key == b->key && memcmp(a->text, b->text, a->key) == 0;
}

static void add_entry(TuneCache *cache, Entry entry) {
    ARENA_GROW(cache->arena, cache->entries, cache->count, cache->capacity);
    cache->entries[cache->count++] = entry;
}

static void add_lines(TuneCache *cache, const char *bytes, size_t length) {
    const char *end = bytes + length;
    int line = 1;
    for (const char *start = bytes; start < end; line++) {
        const char *stop = memchr(start, '\n', (size_t)(end - start));
        size_t size = (size_t)((stop != NULL ? stop : end) - start);
        Entry entry = {.text = arena_copy(cache->arena, start, size), .line = line};
        if (line > 1 && parse_entry(&entry, size))
            add_entry(cache, entry);
        else if (line > 1 && !cache->again)
            fprintf(stderr, "cnnc: warning: %s:%d: damaged line, left out\n", cache->path, line);
        start += size + 1;
    }
}

/* Fills the cache from its file. */
static bool read_entries(TuneCache *cache, const char **problem) {
    size_t length, first = strlen(FIRST_LINE);
    const char *bytes = read_file(cache->arena, cache->path, &length, problem);
    if (bytes == NULL)
        return false;
    if (length > 0 && (length <= first || memcmp(bytes, FIRST_LINE "\n", first + 1) != 0)) {
        *problem = arena_format(
            cache->arena, "%s:1: not a file of tuning results (no '" FIRST_LINE "')", cache->path);
        return false;
    }
    add_lines(cache, bytes, length);
    return true;
}

TuneCache *tune_cache_load(Arena *arena, const char *path, const char *machine,
                           const char **problem) {
    TuneCache *cache = ARENA_NEW(arena, TuneCache);
    *cache = (TuneCache){.arena = arena, .path = path, .machine = machine};
    return read_entries(cache, problem) ? cache : NULL;
}

const char *tune_cache_find(const TuneCache *cache, const char *signature, int *line) {
    const char *key = arena_format(cache->arena, "%s\t%s", cache->machine, signature);
    const Entry wanted = {.text = key, .key = strlen(key)};
    for (int i = cache->count - 1; i >= 0; i--)
        if (same_key(&cache->entries[i], &wanted)) {
            *line = cache->entries[i].line;
            return cache->entries[i].text + wanted.key + 1;
        }
    return NULL;
}

void tune_cache_refuse(const TuneCache *cache, int line, const char *answer) {
    fprintf(stderr, "cnnc: warning: %s:%d: there is no schedule '%s' here; measured again\n",
            cache->path, line, answer);
}

/* ---- Writing ---- */

static bool is_replaced(const TuneCache *cache, int index) {
    for (int i = index + 1; i < cache->count; i++)
        if (same_key(&cache->entries[index], &cache->entries[i]))
            return true;
    return false;
}

bool tune_cache_save(const TuneCache *cache, const Question *const *questions, int count,
                     const char **problem) {
    Arena *arena = cache->arena;
    const char *path;
    TuneCache *merged = ARENA_NEW(arena, TuneCache);
    *merged = (TuneCache){.arena = arena, .path = cache->path, .again = true};
    if (!read_entries(merged, problem))
        return false;
    for (int i = 0; i < count; i++) {
        Entry entry = {.text = arena_format(arena, "%s\t%s\t%s", cache->machine,
                                            questions[i]->signature, questions[i]->settled)};
        if (parse_entry(&entry, strlen(entry.text)))
            add_entry(merged, entry);
    }
    Outputs *outputs = outputs_create(arena);
    Text *out = outputs_open(outputs, cache->path);
    text_add(out, FIRST_LINE "\n");
    for (int i = 0; i < merged->count; i++)
        if (!is_replaced(merged, i))
            text_format(out, "%s\n", merged->entries[i].text);
    if (outputs_commit(outputs, &path, problem))
        return true;
    *problem = arena_format(arena, "cannot write %s: %s", path, *problem);
    return false;
}
