/* Channels that do not fill vectors, in networks too large to have examples in their lanes: maps,
 * parameters and gradients get further channels up to the next whole vector, so that all kernels
 * work on whole vectors. These channels are 0 and stay 0: their weights start so, and layers with
 * OP_KEEPS_ZERO between them make nothing else of them in either direction. Files, random numbers
 * and messages know nothing of them (runtime/layout.h). */
#ifndef CNNC_PAD_H
#define CNNC_PAD_H

#include "graph.h"

/* To be called before anything reads the extents of the graph's tensors. vector_length: reals in a
 * vector; 1: nothing to do. */
void pad_channels(Graph *graph, int vector_length, int max_batch);

#endif
