#include "load.h"

#include "names.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAXIMUM_INCLUDE_DEPTH 50

/* One file between the main one and the one that is being read. */
typedef struct OpenFile {
    const char *identity; /* its absolute path, links resolved */
    struct OpenFile *includer;
} OpenFile;

typedef struct Loader {
    Arena *arena;
    Sources *sources;
    Diagnostics *diagnostics;
    const ExpandOptions *options;
    int *option_count;
    NameTable *seen; /* identities of all files so far */
    StatementList statements;
} Loader;

static void load_file(Loader *loader, const SourceFile *file, OpenFile *includer, int depth);

static const char *identity_of(Arena *arena, const char *path) {
    char *resolved = realpath(path, NULL);
    if (resolved == NULL) {
        return path;
    }
    char *copy = arena_copy(arena, resolved, strlen(resolved));
    free(resolved);
    return copy;
}

/* Devices and pipes are left alone: reading them might never end. */
static bool is_regular_file(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

/* The path of an included file: next to the including one, else in the -I directories; NULL: there
 * is none. */
static const char *find_include(Loader *loader, const char *includer, const char *path) {
    const char *slash = strrchr(includer, '/');
    int directory = slash == NULL || path[0] == '/' ? 0 : (int)(slash - includer) + 1;
    const char *candidate = arena_format(loader->arena, "%.*s%s", directory, includer, path);
    if (is_regular_file(candidate)) {
        return candidate;
    }
    for (int i = 0; i < loader->options->include_count && path[0] != '/'; i++) {
        candidate =
            arena_format(loader->arena, "%s/%s", loader->options->include_directories[i], path);
        if (is_regular_file(candidate)) {
            return candidate;
        }
    }
    return NULL;
}

static bool is_open(const OpenFile *file, const char *identity) {
    for (; file != NULL; file = file->includer) {
        if (strcmp(file->identity, identity) == 0) {
            return true;
        }
    }
    return false;
}

static void include_file(Loader *loader, const SourceFile *includer, OpenFile *open,
                         const Expression *path, int depth) {
    const char *name = path->literal.as.string;
    const char *found = find_include(loader, includer->path, name);
    if (found == NULL) {
        Diagnostic *error = diagnostic_error(loader->diagnostics, path->where,
                                             "there is no file '%.200s' to include", name);
        diagnostic_hint(error, "it is looked for next to %s and in the directories of -I",
                        includer->path);
        return;
    }
    const char *identity = identity_of(loader->arena, found);
    if (is_open(open, identity)) {
        diagnostic_error(loader->diagnostics, path->where, "'%.200s' includes itself", found);
        return;
    }
    if (name_find(loader->seen, identity) != NULL) {
        return;
    }
    if (depth == MAXIMUM_INCLUDE_DEPTH) {
        diagnostic_error(loader->diagnostics, path->where,
                         "files are included more than %d levels deep", MAXIMUM_INCLUDE_DEPTH);
        return;
    }
    const char *problem = NULL;
    SourceFile *file = source_load(loader->sources, found, &problem);
    if (file == NULL) {
        diagnostic_error(loader->diagnostics, path->where, "'%.200s': %s", found, problem);
        return;
    }
    file->included_from = path->where;
    load_file(loader, file, open, depth + 1);
}

static void load_file(Loader *loader, const SourceFile *file, OpenFile *includer, int depth) {
    OpenFile open = {.identity = identity_of(loader->arena, file->path), .includer = includer};
    name_put(loader->seen, open.identity, &loader->statements);
    StatementList list =
        parse_file(loader->sources, loader->diagnostics, file, loader->option_count);
    for (Statement *statement = list.first; statement != NULL;) {
        Statement *next = statement->next;
        statement->next = NULL;
        if (statement->kind == STATEMENT_INCLUDE) {
            include_file(loader, file, &open, statement->value, depth);
        } else {
            LIST_APPEND(&loader->statements, statement);
        }
        statement = next;
    }
}

StatementList load_description(Sources *sources, Diagnostics *diagnostics, SourceFile *file,
                               const ExpandOptions *options, int *option_count) {
    Arena *arena = diagnostics_arena(diagnostics);
    Loader loader = {.arena = arena,
                     .sources = sources,
                     .diagnostics = diagnostics,
                     .options = options,
                     .option_count = option_count,
                     .seen = name_table_create(arena)};
    *option_count = 0;
    load_file(&loader, file, NULL, 0);
    return loader.statements;
}
