/* The optimizer's steps within the backward pass: what each kind keeps and computes for a number.
 * The arithmetic itself is the runtime's (optimizer.h). */
#ifndef CNNC_UPDATE_H
#define CNNC_UPDATE_H

#include "graph.h"

/* Numbers that the optimizer keeps per trainable one: momentum; Adam's two moments. */
int optimizer_state_count(const TrainSettings *train);

/* Lets weight gradients of OP_UPDATES kinds hand each finished number to the optimizer, so that it
 * never reaches memory. Where gradients are to be kept, the plain gradient runs instead. Larger
 * batches than `max_batch` of some hundred examples gain nothing: their sums take far longer than
 * the memory. To be called before anything depends on the programs. */
void fuse_updates(Graph *graph, int max_batch);

#endif
