/* What the machine can do, measured: the yardstick of the benchmark. */
#ifndef CNNC_MACHINE_H
#define CNNC_MACHINE_H

#include "problem.h"

/* Multiply-adds per second on all threads, counted as two operations, in 1e9/s, in a short window:
 * independent accumulators in vector registers. `repeats` is what machine_peak_repeats found. */
RUNTIME_API double machine_peak_gflops(long repeats);
RUNTIME_API long machine_peak_repeats(void); /* for a window of about a millisecond */
/* Bytes that a[i] = b[i] + s*c[i] reads and writes per second (McCalpin's triad), in 1e9/s. */
RUNTIME_API double machine_bandwidth_gbs(Problem *problem);

#endif
