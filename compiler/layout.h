/* Chooses how tensors lie in memory (Tensor.layout). Channels in blocks of one vector, innermost,
 * let a kernel read and write whole vectors of channels at every position; a halo of zeros around
 * the spatial axes lets it read padding without a test. A conversion is never needed: a tensor has
 * one layout, and its maker writes it so.
 *
 *   activations and their gradients   [n][C/V][before + H + after][before + W + after][V]
 *   weights of convolutions           [F/V][C][kernel...][V], and their gradients
 *
 * In a small network whose channels do not fill vectors, examples do, if the largest batch consists
 * of whole blocks of V of them:
 *
 *   activations and their gradients   [N/V][C][before + H + after][before + W + after][V]
 *
 * where V divides the channels (filters). What is read from outside (input, output) stays dense,
 * and so does what is read through a view of another shape or as one flat vector, unless lanes are
 * examples and it has no halo: then both shapes lie alike. */
#ifndef CNNC_LAYOUT_H
#define CNNC_LAYOUT_H

#include "graph.h"

/* Whether layout_assign would put the examples of the graph into blocks of one vector. */
bool layout_has_example_blocks(const Graph *graph, int vector_length, int max_batch);
/* Sets the layouts of all tensors of the graph. vector_length: reals in a vector; 1: all dense.
 * max_batch: examples that memory is planned for. */
void layout_assign(Graph *graph, int vector_length, int max_batch);

#endif
