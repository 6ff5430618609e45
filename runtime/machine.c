#include "machine.h"
#include "network.h"
#include "parallel.h"
#include "platform.h"
#include "simd.h"

#define MACHINE_RUNS 5
#define MACHINE_WINDOW 0.0005 /* seconds, at least: about what a layer takes */
/* Enough to hide the latency of two units that take four cycles. */
#define MACHINE_ACCUMULATORS 12
#if VECTOR_LENGTH == 1
#define MACHINE_LANES 16 /* for the compiler to vectorise */
#else
#define MACHINE_LANES VECTOR_LENGTH
#endif
#define MACHINE_TRIAD_COUNT ((size_t)16000000) /* beyond any cache */

/* acc = acc*a + b, again and again; the sum keeps the compiler from leaving it out. */
KERNEL static double machine_multiply_add(long repeats, real a, real b) {
    double sum = 0;
#if VECTOR_LENGTH == 1
    real accumulators[MACHINE_ACCUMULATORS * MACHINE_LANES];
    for (int i = 0; i < MACHINE_ACCUMULATORS * MACHINE_LANES; i++) {
        accumulators[i] = (real)i;
    }
    for (long r = 0; r < repeats; r++) {
        for (int i = 0; i < MACHINE_ACCUMULATORS * MACHINE_LANES; i++) {
            accumulators[i] = accumulators[i] * a + b;
        }
    }
    for (int i = 0; i < MACHINE_ACCUMULATORS * MACHINE_LANES; i++) {
        sum += (double)accumulators[i];
    }
#else
    vector accumulators[MACHINE_ACCUMULATORS];
    const vector factor = VECTOR_SET(a), term = VECTOR_SET(b);
    UNROLL(12)
    for (int i = 0; i < MACHINE_ACCUMULATORS; i++) {
        accumulators[i] = VECTOR_SET((real)i);
    }
    for (long r = 0; r < repeats; r++) {
        UNROLL(12)
        for (int i = 0; i < MACHINE_ACCUMULATORS; i++) {
            accumulators[i] = accumulators[i] * factor + term;
        }
    }
    UNROLL(12)
    for (int i = 0; i < MACHINE_ACCUMULATORS; i++) {
        sum += (double)vector_sum(&accumulators[i]);
    }
#endif
    return sum;
}

/* Seconds that all threads need together. */
static double machine_peak_run(int threads, long repeats, double *sum) {
    double begin = clock_seconds(), total = 0;
#if defined(_OPENMP)
#pragma omp parallel for schedule(static) reduction(+ : total)
#endif
    for (int t = 0; t < threads; t++) {
        total += machine_multiply_add(repeats, (real)0.999, (real)(0.001 * (t + 1)));
    }
    *sum += total;
    return clock_seconds() - begin;
}

RUNTIME_API double machine_peak_gflops(long repeats) {
    const int threads = parallel_threads();
    const double work = 2.0 * MACHINE_ACCUMULATORS * MACHINE_LANES * threads;
    double sum = 0;
    double seconds = machine_peak_run(threads, repeats, &sum);
    return sum > -REAL_MAX && seconds > 0 ? work * (double)repeats / seconds / 1e9 : 0;
}

RUNTIME_API long machine_peak_repeats(void) {
    const int threads = parallel_threads();
    long repeats = 1000;
    double sum = 0;
    while (machine_peak_run(threads, repeats, &sum) < MACHINE_WINDOW && repeats < 1L << 30) {
        repeats *= 2;
    }
    return sum > -REAL_MAX ? repeats : 1;
}

RUNTIME_API double machine_bandwidth_gbs(Problem *problem) {
    const size_t count = MACHINE_TRIAD_COUNT;
    real *a = network_allocate(count, sizeof(real));
    real *b = network_allocate(count, sizeof(real));
    real *c = network_allocate(count, sizeof(real));
    double best = 0;
    if (a == NULL || b == NULL || c == NULL) {
        problem_out_of_memory(problem, "the measurement of bandwidth");
    } else {
        /* Pages that were never written would all be read from one page of zeros. */
        PARALLEL_FOR
        for (size_t i = 0; i < count; i++) {
            b[i] = (real)1;
            c[i] = (real)2;
        }
        for (int run = 0; run <= MACHINE_RUNS; run++) {
            const real factor = (real)run;
            double begin = clock_seconds();
            PARALLEL_FOR
            for (size_t i = 0; i < count; i++) {
                a[i] = b[i] + factor * c[i];
            }
            double seconds = clock_seconds() - begin;
            double rate = 3.0 * (double)sizeof(real) * (double)count / seconds / 1e9;
            /* The first run also brings the pages in. */
            best = run > 0 && rate > best ? rate : best;
        }
    }
    network_release(a);
    network_release(b);
    network_release(c);
    return best;
}
