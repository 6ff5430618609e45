/* One run of the compiler: what is known of the program so far, and the way from the network's
 * layers to the memory plan. Everything lives in the arena. */
#ifndef CNNC_COMPILATION_H
#define CNNC_COMPILATION_H

#include "fuse.h"
#include "kernels.h"
#include "lower.h"
#include "options.h"
#include "output.h"
#include "plan.h"
#include "tune.h"

enum { STATUS_FINE = 0, STATUS_DESCRIPTION = 1, STATUS_USAGE = 2 };

typedef struct Compilation {
    Arena *arena;
    const Options *options;
    Sources *sources;
    Diagnostics *diagnostics;
    Network *network;
    Graph *graph;
    GroupList groups[PROGRAM_COUNT];
    LowerOptions lowering;
    Kernels *kernels;
    Plan *plan;
    const bool *dropped; /* by layer: outputs that the backward pass makes again; NULL: none */
    int64_t full_peak;   /* bytes that training would need without that; 0: nothing is dropped */
    bool uncut;          /* shards would take too much memory: the batch stays whole */
    bool trial;          /* this run only asks how much memory it takes, or is measured */
    Tuning *tuning;      /* NULL: schedules are not measured */
    Outputs *outputs;
    int status; /* where a phase fails for another reason than the description */
} Compilation;

/* For problems that have no place in a description. Returns false. */
bool complain(Compilation *compilation, const char *format, ...) PRINTF_LIKE(2, 3);

/* These return false after a message. */

/* Graph, kernels and plan of a network with shapes. */
bool make_program(Compilation *compilation);
/* What the backward pass makes again: what is cheap and, as long as training needs more than --mem
 * allows, more. What cannot be reached is reported when the program is then made. */
bool choose_recomputation(Compilation *compilation);
/* Shards have gradients and scratch of their own: the batch stays whole where --mem does not allow
 * these. */
bool fit_shards(Compilation *compilation);

/* The largest batch, that of all shards. */
int whole_batch(const Compilation *compilation);

#endif
