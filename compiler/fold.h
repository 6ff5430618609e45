/* Numbers that depend on parameters alone, as the factor and shift of a normalisation in
 * evaluation, are computed when parameters change and not in every pass: the program `prepare`
 * fills tensors that last, Network.prepared of the emitted program. The parameters themselves stay
 * as they are. */
#ifndef CNNC_FOLD_H
#define CNNC_FOLD_H

#include "graph.h"

/* For the layers in evaluation whose kind says what to prepare (OpDef.prepared). */
void fold_parameters(Graph *graph);

#endif
