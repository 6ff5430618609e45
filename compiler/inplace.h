/* Results in the memory of an input: where the last kernel that reads a tensor makes one of the
 * same shape and layout from it, element by element, the new one takes its place. Residual sums,
 * and gradients through activations, then need no memory of their own. */
#ifndef CNNC_INPLACE_H
#define CNNC_INPLACE_H

#include "fuse.h"

/* Makes such results views of the tensors whose memory they take. The groups of one program, after
 * layouts are assigned. */
void share_memory_in_place(Arena *arena, const GroupList *groups);

#endif
