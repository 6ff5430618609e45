/* Threads, and hints for loops and caches. Without OpenMP every macro is empty and the program runs
 * on one thread.
 */
#ifndef CNNC_PARALLEL_H
#define CNNC_PARALLEL_H

#include "api.h"

#if defined(_OPENMP)
#include <omp.h>
#endif

#define PRAGMA(text) _Pragma(#text)

#if defined(_OPENMP)
#define PARALLEL_FOR PRAGMA(omp parallel for schedule(static))
#define PARALLEL_FOR_IF(condition) PRAGMA(omp parallel for schedule(static) if (condition))
#define PARALLEL_FOR_COLLAPSE(loops) PRAGMA(omp parallel for schedule(static) collapse(loops))
#define PARALLEL_FOR_COLLAPSE_IF(loops, condition)                                                 \
    PRAGMA(omp parallel for schedule(static) collapse(loops) if (condition))
#define SIMD PRAGMA(omp simd)
#define SIMD_SUM(...) PRAGMA(omp simd reduction(+ : __VA_ARGS__))
#else
#define PARALLEL_FOR
#define PARALLEL_FOR_IF(condition)
#define PARALLEL_FOR_COLLAPSE(loops)
#define PARALLEL_FOR_COLLAPSE_IF(loops, condition)
#define SIMD
#define SIMD_SUM(...)
#endif

/* Unrolls the loop that follows; with the trip count itself the loop disappears and small arrays
 * that it indexes can live in registers. */
#if defined(__clang__)
#define UNROLL(times) PRAGMA(clang loop unroll_count(times))
#elif defined(__GNUC__)
#define UNROLL(times) PRAGMA(GCC unroll times)
#else
#define UNROLL(times)
#endif
/* A loop that disappears, and one that stays although it is short. */
#define UNROLLED(index, trips) UNROLL(trips) for (int index = 0; index < (trips); index++)
#define ROLLED UNROLL(1)

/* SIMD allows vectors; where clang finds that they do not pay, that is no reason to warn. */
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

/* Asks for a cache line that will be read soon, or read and written. */
#if defined(__GNUC__)
#define PREFETCH(address) __builtin_prefetch(address)
#define PREFETCH_WRITE(address) __builtin_prefetch((address), 1)
#else
#define PREFETCH(address) ((void)(address))
#define PREFETCH_WRITE(address) ((void)(address))
#endif

#define RESTRICT restrict
#if defined(__GNUC__)
#define ALIGNED(bytes) __attribute__((aligned(bytes)))
#else
#define ALIGNED(bytes) _Alignas(bytes)
#endif

RUNTIME_INLINE void parallel_set_threads(int threads) {
#if defined(_OPENMP)
    omp_set_num_threads(threads);
#else
    (void)threads;
#endif
}

/* The number of this thread within the parallel loop that it runs, 0 outside of one. */
RUNTIME_INLINE int parallel_thread(void) {
#if defined(_OPENMP)
    return omp_get_thread_num();
#else
    return 0;
#endif
}

/* How many threads the next parallel loop will use. */
RUNTIME_INLINE int parallel_threads(void) {
#if defined(_OPENMP)
    return omp_get_max_threads();
#else
    return 1;
#endif
}

#endif
