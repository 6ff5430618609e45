/* Source texts. A position is a byte offset into all loaded texts laid end to end; line and column
 * are computed only when a message is printed. */
#ifndef CNNC_SOURCE_H
#define CNNC_SOURCE_H

#include "arena.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct SourceRange {
    uint32_t begin, end; /* bytes [begin, end) of the sources; 0,0 is "nowhere" */
} SourceRange;

typedef struct SourceFile {
    const char *path; /* as the user wrote it; "<stdin>" for - */
    const char *text; /* without a byte-order mark, always ends in a newline and a zero byte */
    uint32_t begin;   /* global offset of text[0], at least 1 */
    uint32_t length;
    struct SourceFile *next;
    SourceRange included_from;
} SourceFile;

typedef struct Sources Sources;

Sources *sources_create(Arena *arena);

/* Reads a whole file ("-" is standard input). On failure returns NULL and sets *problem to a
 * message such as "cannot open: No such file or directory". Files above 64 MiB are refused. */
SourceFile *source_load(Sources *sources, const char *path, const char **problem);
/* The same for text in memory; it is copied. */
SourceFile *source_from_text(Sources *sources, const char *path, const char *text, size_t length);

typedef struct SourcePlace {
    const SourceFile *file; /* NULL for "nowhere" */
    int line;               /* from 1 */
    int column;             /* from 1, in characters (code points), a tab counts as one */
    const char *line_text;  /* start of the line */
    int line_length;        /* bytes, without the line end */
    int byte_in_line;
} SourcePlace;
SourcePlace source_place(const Sources *sources, uint32_t position);
const char *source_text_of(const Sources *sources, SourceRange range, Arena *arena);

#endif
