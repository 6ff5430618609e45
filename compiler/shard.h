/* Shards: a batch is cut into parts, and each goes through all layers on one thread, with an arena
 * and gradients of its own; the sums of the gradients are what the optimizer gets (data
 * parallelism, as between machines; Krizhevsky, "One weird trick for parallelizing convolutional
 * neural networks", 2014). The number of shards belongs to the program, not to the threads that run
 * it, and so do the results' bits.
 *
 * Small networks, whose layers take microseconds each, do not gain from threads that meet behind
 * every layer. Larger ones lose by reading from each other's caches: what one core writes while
 * both have a copy costs it ten times as long as what is its own (measured on two cores with a
 * third-level cache each: 15 against 160 GB/s). Both are cut where the parameters are small. */
#ifndef CNNC_SHARD_H
#define CNNC_SHARD_H

#include "lower.h"

/* How many shards a largest batch of options->max_batch examples is cut into; 1: the network does
 * not gain, or its examples depend on each other. Divides max_batch. *block is how many examples
 * have to stay together. */
int shard_count(const Graph *graph, const LowerOptions *options, int *block);
/* The backward pass leaves the gradients of the parameters to the shard: TENSOR_SHARD_GRADIENT. */
void shard_gradients(Graph *graph);

#endif
