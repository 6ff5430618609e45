/* For cnnc --tune: the compiler puts tune.c, and a main that calls it, behind an emitted program
 * with CNNC_NO_MAIN, and runs the result. No emitted program that users get has it. */
#ifndef CNNC_RUNTIME_TUNE_H
#define CNNC_RUNTIME_TUNE_H

#include "network.h"

/* Runs the largest batch for about `seconds`, forward and, where it can be trained, as training
 * steps. Prints the shortest time of every layer and phase in which one was measured, one per line:
 *     evaluation LAYER PHASE SECONDS
 *     training LAYER PHASE SECONDS
 * with the index of the layer and the phase's name as in network.h. Returns the exit status. */
RUNTIME_API int tune_measure(const NetworkInfo *info, double seconds);

#endif
