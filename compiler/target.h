/* The machines that the SIMD code of an emitted program can be for. */
#ifndef CNNC_TARGET_H
#define CNNC_TARGET_H

#include <stdbool.h>
#include <stddef.h>

typedef struct Target {
    const char *name;           /* as in --target=NAME */
    const char *summary;        /* for --help */
    int vector_bytes;           /* of one vector register; 0: no vectors */
    int vector_registers;       /* that a kernel may hope to keep values in */
    double vector_rate;         /* multiply-adds, and loads, of a whole vector per cycle */
    int second_level_cache;     /* bytes of one core's that operands may fill */
    const char *compiler_flags; /* for gcc and clang, where it is not -march=native; "": none */
} Target;

extern const Target target_table[];
extern const int target_count;

/* The target of that name; "native" is the one that fits this machine best. NULL: unknown. */
const Target *target_find(const char *name);

/* False where this machine cannot run it. */
bool target_runs_here(const Target *target);

/* How many numbers of `number_bytes` bytes one vector holds; 1 where there are no vectors. */
int target_vector_length(const Target *target, size_t number_bytes);

#endif
