/* The gradient of pooling whose windows tile its input, made in passing: the weight gradient of a
 * Winograd convolution cuts that map, its dy, into tiles, and makes each of them just before it
 * does (OpDef.lower_window_gradient). Others read it from memory afterwards. */
#ifndef CNNC_FUSE_WINDOW_GRADIENTS_H
#define CNNC_FUSE_WINDOW_GRADIENTS_H

#include "fuse.h"

/* Sets Node.dy_windows of these and takes the groups of the pooling from the list: to be called
 * when layouts and groups are settled. */
void fuse_window_gradients(Arena *arena, const Graph *graph, GroupList *list,
                           const LowerOptions *options);

#endif
