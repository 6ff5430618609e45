/* A directory for files that are only needed for a moment, and the programs that work on them.
 * While it is open, SIGINT, SIGTERM and SIGHUP end the program that is running; workplace_close
 * then takes everything away and lets the signal have its way. One at a time. */
#ifndef CNNC_WORKPLACE_H
#define CNNC_WORKPLACE_H

#include "text.h"

#include <stdbool.h>

typedef struct Workplace {
    Arena *arena;
    char *directory;
} Workplace;

/* In $TMPDIR or /tmp. All functions return false with a message in *problem where they fail. */
bool workplace_open(Workplace *workplace, Arena *arena, const char **problem);
/* Does not return if there was a signal that ends this program. */
void workplace_close(Workplace *workplace);
const char *workplace_path(const Workplace *workplace, const char *name);
bool workplace_write(const Workplace *workplace, const char *name, const Text *text,
                     const char **problem);
/* Runs a program, found by PATH, with arguments that NULL ends, nothing on its standard input and
 * OMP_NUM_THREADS=threads. *output is what it wrote, standard error included; where it fails that
 * is part of the message. */
bool workplace_run(const Workplace *workplace, char *const *arguments, int threads,
                   const char **output, const char **problem);

#endif
