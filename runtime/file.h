/* Reading whole files, and writing files that appear complete or not at all. */
#ifndef CNNC_FILE_H
#define CNNC_FILE_H

#include "problem.h"

#include <stdio.h>

/* Returns malloc'ed bytes with a further zero byte behind them; NULL on failure. */
RUNTIME_API unsigned char *file_read(const char *path, size_t *size, Problem *problem);

/* "directory/name", malloc'ed; NULL when memory runs out. */
RUNTIME_API char *path_join(const char *directory, const char *name);
RUNTIME_API bool text_ends_with(const char *text, const char *ending);

/* A file is written under a temporary name beside its own, synced, and renamed by
 * file_writer_commit. Devices and pipes are written directly. */
typedef struct FileWriter {
    FILE *stream;
    char *path, *temporary; /* temporary == NULL: written directly */
    bool failed;
} FileWriter;

RUNTIME_API bool file_writer_open(FileWriter *writer, const char *path, Problem *problem);
/* Failures are remembered for file_writer_commit. */
RUNTIME_API void file_writer_write(FileWriter *writer, const void *data, size_t size);
/* Ends the writer in either case; on failure the temporary file is removed. */
RUNTIME_API bool file_writer_commit(FileWriter *writer, Problem *problem);
RUNTIME_API void file_writer_abandon(FileWriter *writer);

/* A text that grows; `failed` when memory ran out. Start from {0}, end with text_free. */
typedef struct Text {
    char *data; /* NULL while empty, else with a terminating zero */
    size_t length, capacity;
    bool failed;
} Text;

RUNTIME_API void text_add(Text *text, const char *format, ...) PRINTF_FORMAT(2, 3);
/* A JSON string with its quotes. */
RUNTIME_API void text_add_json_string(Text *text, const char *string);
RUNTIME_API void text_free(Text *text);

#endif
