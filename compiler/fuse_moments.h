/* The sums of a normalisation over the batch in the tiles of the convolution in front of it: these
 * are at hand there, while the whole map comes from memory when all of it is made. So the
 * normalisation reads its input once. Evaluation in a file that trains has no use for them: it runs
 * the same kernels. */
#ifndef CNNC_FUSE_MOMENTS_H
#define CNNC_FUSE_MOMENTS_H

#include "fuse.h"

/* Sets Node.moments of pairs of nodes: to be called when layouts and groups are settled. */
void fuse_moments(Arena *arena, Graph *graph, const GroupList *list, const LowerOptions *options);

#endif
