/* The network as a Graphviz graph: one box per layer with its arguments, shape and parameters,
 * coloured by what it does; branches and skips as edges. Outputs have a double border. */
#ifndef CNNC_DOT_H
#define CNNC_DOT_H

#include "network.h"
#include "text.h"

/* After network_infer. */
void dot_write(Text *out, const Network *network);

#endif
