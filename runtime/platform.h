/* What standard C has no functions for. On systems without POSIX the parts that need it do
 * without: no directories are made, files are not synced, signals are not caught. */
#ifndef CNNC_PLATFORM_H
#define CNNC_PLATFORM_H

#include "problem.h"

#include <stdio.h>

/* Asks the system to back large memory with large pages: fewer misses of the address translation
 * where kernels walk through weights. Without such pages it does nothing. */
RUNTIME_API void prefer_large_pages(void *memory, size_t bytes);
RUNTIME_API double clock_seconds(void); /* monotonic where the system can */
RUNTIME_API bool stream_is_terminal(FILE *stream);
RUNTIME_API double peak_memory_bytes(void); /* of this process; 0 where unknown */

/* SIGINT and SIGTERM are held back from now on; interrupt_pending tells whether one has come. To be
 * called before the first parallel loop, so that all threads inherit it. */
RUNTIME_API void interrupts_defer(void);
RUNTIME_API bool interrupt_pending(void);

RUNTIME_API bool directory_create(const char *path, Problem *problem); /* with its parents */
RUNTIME_API bool path_is_directory(const char *path);
RUNTIME_API bool path_exists(const char *path);
/* False for devices and pipes, which are written directly; true if nothing is there yet. */
RUNTIME_API bool path_is_replaceable(const char *path);
/* Data of the stream is on the disk when this returns true. */
RUNTIME_API bool stream_sync(FILE *stream);
RUNTIME_API void directory_sync(const char *path_of_file);

/* Checks that this CPU has the instructions that the file was compiled for. */
RUNTIME_API bool cpu_check(Problem *problem);

#endif
