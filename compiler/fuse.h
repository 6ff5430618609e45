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

#endif
