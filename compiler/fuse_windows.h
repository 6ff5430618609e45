/* Pooling in the tile: a node whose windows tile its input joins the group that makes this, where
 * the leader hands over whole windows (winograd_takes_windows). What it reads is then never stored.
 */
#ifndef CNNC_FUSE_WINDOWS_H
#define CNNC_FUSE_WINDOWS_H

#include "fuse.h"

/* Joins groups of the list: to be called when layouts are settled. */
void fuse_windows(Arena *arena, const Graph *graph, GroupList *list, const LowerOptions *options);

#endif
