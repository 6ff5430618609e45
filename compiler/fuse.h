/* Groups the nodes of a program into kernels: an elementwise node that directly follows the node
 * that makes its input rides along with it. */
#ifndef CNNC_FUSE_H
#define CNNC_FUSE_H

#include "lower.h"

typedef struct GroupList {
    int count;
    Group **groups;
} GroupList;

/* With `enabled` false every node is a group of its own. */
GroupList fuse_program(Arena *arena, const Program *program, bool enabled);

/* Lets evaluation, in a file that trains, run the kernels of training: a normalisation, whose
 * training begins a group because it has statistics to take, begins one there too, so that the
 * convolution before it is the same function. Without training there is nothing to share. */
void fuse_evaluation_as_training(Graph *graph);

#endif
