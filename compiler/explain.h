/* --explain=LAYER: one layer with its arithmetic written out. */
#ifndef CNNC_EXPLAIN_H
#define CNNC_EXPLAIN_H

#include "network.h"
#include "text.h"

/* The layer of that name or label; NULL: there is none. */
const Layer *explain_find(const Network *network, const char *name);
/* The layer's name nearest to a misspelt one; NULL if none is near. */
const char *explain_nearest(const Network *network, const char *name);

/* Shape arithmetic with its numbers (language: output = (W - D*(F-1) - 1 + P_begin + P_end)/S + 1),
 * parameters, cost and receptive field; after network_infer. */
void explain_layer(Text *out, const Network *network, const Sources *sources, const Layer *layer);

#endif
