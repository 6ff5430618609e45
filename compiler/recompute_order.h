/* What runs again in the backward pass, and when: the part of recomputation that the search for
 * what to drop asks for hundreds of choices, so it knows of the graph only which group of nodes
 * reads and writes which storages. */
#ifndef CNNC_RECOMPUTE_ORDER_H
#define CNNC_RECOMPUTE_ORDER_H

#include "fuse.h"

/* Numbers of tensors, views followed to what they view. */
typedef struct Storages {
    int count;
    const int *numbers;
} Storages;

typedef struct OrderNode {
    Node *node;
    int made; /* storage of its result; -1: none */
    Storages reads, writes;
    Storages reads_again, writes_again; /* of forward nodes: when they run again */
} OrderNode;

typedef struct OrderGroup {
    int count;
    OrderNode *nodes;
} OrderGroup;

/* Nodes first...last of a group, which run as one kernel. */
typedef struct Run {
    const OrderGroup *group;
    int first, last;
    bool again; /* a group of the forward pass in the backward pass */
} Run;

typedef struct RunList {
    int count;
    Run *runs;
} RunList;

typedef struct Recomputation {
    Graph *graph;
    RunList programs[PROGRAM_COUNT]; /* the training ones, in the order of execution */
    bool *wanted;                    /* by storage: the backward pass reads it made again */
    struct OrderWork *work;
} Recomputation;

/* Of a graph as it was built and simplified. `fused`: nodes will be fused (fuse.c). */
Recomputation *recomputation_create(Arena *arena, Graph *graph, bool fused);
/* Sets `programs` and `wanted` for the outputs of the layers marked in `dropped`, by layer index;
 * what came of an earlier call is overwritten. */
void recomputation_order(Recomputation *recomputation, const bool *dropped);

#endif
