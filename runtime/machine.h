/* What the machine can do, measured: the yardstick of the benchmark. */
#ifndef CNNC_MACHINE_H
#define CNNC_MACHINE_H

#include "problem.h"

/* Multiply-adds per second on all threads, counted as two operations, in 1e9/s: independent
 * accumulators in vector registers, best of several runs. */
RUNTIME_API double machine_peak_gflops(void);
/* Bytes that a[i] = b[i] + s*c[i] reads and writes per second (McCalpin's triad), in 1e9/s. */
RUNTIME_API double machine_bandwidth_gbs(Problem *problem);

#endif
