/* Activations that the backward pass makes again instead of keeping them (Chen, Xu, Zhang and
 * Guestrin, "Training deep nets with sublinear memory cost", 2016): memory for time. A tensor that
 * is dropped lives in the forward pass only; right before the first node of the backward pass that
 * reads it, the nodes that make it run once more, from the nearest tensors that are kept.
 *
 * The numbers are the same to the last bit. Random layers draw by counter; normalisation takes the
 * statistics that the forward pass saved, and leaves the running ones alone; and what ran in one
 * kernel runs in one kernel again, so that the C compiler contracts the same multiply-adds. */
#ifndef CNNC_RECOMPUTE_H
#define CNNC_RECOMPUTE_H

#include "kernels.h"

/* Rewrites the training programs of a new graph so that the outputs of the layers marked in
 * `dropped` (by layer index) are not kept. Marks that cannot or need not be followed are ignored:
 * outputs of the network, views, what no gradient reads, what is not made again from what the
 * layer saved. `fused`: nodes will be fused (fuse.c). Sets graph->recomputed. To be called before
 * anything depends on the programs. */
void recompute_apply(Graph *graph, const bool *dropped, bool fused);
/* Operations that the nodes of graph->recomputed add to the training step, per example. */
int64_t recomputed_flops(const Graph *graph);

/* The search for what to drop: bytes saved against operations added, on an estimate of the memory
 * that counts tensors without halos, and scratch memory as the kernels of the whole program have
 * it.
 */
typedef struct RecomputeSearch RecomputeSearch;

RecomputeSearch *recompute_search(Arena *arena, const Network *network, const Kernels *kernels,
                                  bool simplified, bool fused);
/* Marks what costs next to nothing to make again: normalisation from the statistics that were
 * saved, sums and RELU, of large tensors that are in memory at the peak, as long as all of it
 * together takes a small share of a training step. NULL if there is nothing of the kind. */
const bool *recompute_cheaply(RecomputeSearch *search);
/* Marks more layers as dropped, so that training needs at least `excess` numbers less if that can
 * be reached. NULL if nothing helps any more; else the marks for recompute_apply. */
const bool *recompute_shrink(RecomputeSearch *search, int64_t excess);

#endif
