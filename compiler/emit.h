/* The emitted program: the runtime's skeleton with the regions filled that depend on the network.
 */
#ifndef CNNC_EMIT_H
#define CNNC_EMIT_H

#include "plan.h"
#include "text.h"

typedef struct EmitOptions {
    const char *version; /* of the compiler */
    const char *options; /* what shapes the program on the command line, without paths of outputs */
    const char *target;  /* "avx512" */
    int vector_length;   /* reals in a vector of the target; 1: none */
    int max_batch;
    int threads; /* that the schedule was planned for; 0: not said */
    bool double_precision;
    bool infer_only;
} EmitOptions;

typedef struct EmitInput {
    const Network *network;
    const Graph *graph;
    const Kernels *kernels; /* after kernels_share */
    const Plan *plan;
    Sources *sources; /* for line numbers in comments */
    EmitOptions options;
} EmitInput;

/* The C file. Returns false with a message in *problem if the runtime's text is broken (a marker or
 * a piece is missing): an error of this compiler, never of the description. */
bool emit_program(Text *out, const EmitInput *input, const char **problem);
/* The phase that a call for a node with this role counts to, as runtime/network.h names it. */
const char *emit_timing_phase(NodeRole role);
/* The header of its library interface. */
bool emit_library_header(Text *out, const EmitInput *input, const char **problem);

#endif
