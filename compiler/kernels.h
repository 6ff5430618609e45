/* The functions of the emitted file: every step of every program is a call of one. Steps whose
 * kernels print alike but for the names of parameters and for sizes share a function, to which they
 * pass the sizes that are not the same for all of them, so that code grows with distinct kernels,
 * not with depth. */
#ifndef CNNC_KERNELS_H
#define CNNC_KERNELS_H

#include "cprint.h"
#include "group_key.h"

/* Programs that run one after another and share memory. */
typedef enum Sequence { SEQUENCE_EVALUATION, SEQUENCE_TRAINING, SEQUENCE_COUNT } Sequence;
Sequence program_sequence(ProgramId program);

/* One C function. */
typedef struct Function {
    const char *name;
    const char *parameters; /* "(int batch, ...)", on one line with breaks as in wrap.h */
    const char *body;       /* the statements */
    KernelSizes sizes; /* of the kernel of the first step; with names, if they are parameters */
    int size_count;    /* of different names */
    int step_count, step_capacity;
    struct Step **steps; /* the calls of it, in the order of the programs; at least one */
} Function;

/* One call: a group of nodes, the kernel that it was lowered to, the function that holds it. */
typedef struct Step {
    const Group *group;
    const GroupKey *key;
    const struct Step *same_as; /* an earlier step with an equal group, whose kernel this one uses;
                                   or NULL */
    Kernel *kernel;
    ProgramId program;
    int number;        /* position in its sequence */
    struct Step *next; /* of the same bucket of Kernels.first_steps */
    /* Set by kernels_share. */
    KernelUse *use; /* what the call passes: use->arguments and the extra parameters */
    Function *function;
    const int64_t *sizes; /* of the kernel that it was lowered to; in the end those that the call
                             passes: function->size_count */
} Step;

typedef struct StepList {
    int count, capacity;
    Step **steps;
} StepList;

#define STEP_BUCKETS 1024

typedef struct Kernels {
    Arena *arena;
    int max_batch;
    LayerKeys *layers;
    Step *first_steps[STEP_BUCKETS];     /* those with kernels of their own, by the key's hash */
    int sequence_length[SEQUENCE_COUNT]; /* steps */
    StepList programs[PROGRAM_COUNT];
    int function_count, function_capacity;
    Function **functions; /* in the order of first use */
} Kernels;

Kernels *kernels_create(Arena *arena, const Network *network, int max_batch);
/* Adds a call at the end of a program. Programs are filled in their order. Where step->same_as is
 * NULL the group has no kernel yet: it is to be lowered, and the kernel set with step_set_kernel
 * before the next step is added. */
Step *kernels_add_step(Kernels *kernels, ProgramId program, const Group *group);
/* Names the kernel after the group, too; kernels_share makes the names unique. */
void step_set_kernel(Kernels *kernels, Step *step, Kernel *kernel);
/* Prints all kernels, finds those that are equal and names them (Kernel.name too). To be called
 * once, when all kernels are finished. */
void kernels_share(Kernels *kernels);

/* What the group computes: "conv5x5_relu_6x28x28", "conv5x5_16x10x10_data_gradient_through_relu".
 */
const char *group_name(Arena *arena, const Group *group);
/* The group's layers as the description names them: "conv1-relu1". */
const char *group_layers(Arena *arena, const Group *group);

#endif
