/* Output files, written whole or not at all: everything is collected in memory, and only when all
 * of it is known to be good is it put into temporary files beside the real ones, which replace them
 * by rename once standard output is written, too. */
#ifndef CNNC_OUTPUT_H
#define CNNC_OUTPUT_H

#include "text.h"

#include <stdbool.h>

typedef struct Outputs Outputs;

Outputs *outputs_create(Arena *arena);

/* The text that outputs_commit will write to `path`, which must outlive the outputs; "-" is
 * standard output, to which several may go, one after the other. */
Text *outputs_open(Outputs *outputs, const char *path);

/* Writes all of them. On failure returns false, leaves existing files as they were and sets *path
 * to the one that failed and *problem to the reason, such as "No space left on device". */
bool outputs_commit(Outputs *outputs, const char **path, const char **problem);

/* True where both paths lead to one existing regular file. */
bool output_is_file(const char *path, const char *other);

#endif
