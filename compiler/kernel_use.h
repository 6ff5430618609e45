/* What the body of a kernel really uses. Lowering may declare a value or ask for a buffer that the
 * rest of the group then does without; the printer leaves such things out. */
#ifndef CNNC_KERNEL_USE_H
#define CNNC_KERNEL_USE_H

#include "lower.h"

typedef struct KernelUse {
    bool batch, whole_batch, first, random_key, random_stream, random_layers, network;
    int argument_count;
    Buffer **arguments; /* the kernel's parameters that are used, in their order */
    int variable_count, variable_capacity;
    const Variable **variables; /* those that are read */
    int buffer_count, buffer_capacity;
    const Buffer **buffers; /* parameters and local arrays that are read or written */
    int subroutine_count, subroutine_capacity;
    const Subroutine **subroutines; /* those that are called */
} KernelUse;

KernelUse *kernel_use(Arena *arena, const Kernel *kernel);
/* False for a statement that has no effect: it sets a variable that nobody reads, or is a loop or
 * condition around nothing else. Comments have none by themselves. */
bool statement_has_effect(const KernelUse *use, const Stmt *stmt);

/* Calls of the loop language that stand for the extra parameters of random kernels. */
#define CALL_RANDOM_ACTIVE "RANDOM_ACTIVE"
#define CALL_RANDOM_UNIFORM "RANDOM_UNIFORM"
/* A step of the optimizer: the first elements of the parameters and of their gradients, and how
 * many there are. */
#define CALL_UPDATE "UPDATE"

#endif
