/* Decides which loops of a lowered kernel run on several threads and which are vectorised. Only
 * loops that the op declared independent (or sums, for SIMD) are touched, so results do not change
 * with the number of threads. */
#ifndef CNNC_SCHEDULE_H
#define CNNC_SCHEDULE_H

#include "lower.h"

void schedule_parallel(Kernel *kernel, const LowerOptions *options);
void schedule_simd(Kernel *kernel);

#endif
