/* Random initial weights. */
#ifndef CNNC_INITIALISE_H
#define CNNC_INITIALISE_H

#include "network.h"

/* Sets all parameters from their initialisers; they depend on the seed and each element's
 * number in dense order alone. Numbers are computed
 * in double and rounded once. */
RUNTIME_API void initialise_parameters(Network *network, uint64_t seed);

#endif
