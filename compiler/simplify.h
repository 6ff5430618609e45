/* Leaves nodes of the backward pass out whose work is a copy, or can be done by another node:
 *   - a gradient that is passed on unchanged (ADD) shares the memory of the one that it would copy;
 *   - where a RELU stands in front of a layer that selects numbers (MAXPOOL), its output is
 * positive where the selected one is, so that the selection takes over the RELU's derivative and
 * the RELU's output need not be kept. */
#ifndef CNNC_SIMPLIFY_H
#define CNNC_SIMPLIFY_H

#include "graph.h"

/* To be called on a new graph, before anything depends on the programs. */
void simplify_graph(Graph *graph);

#endif
