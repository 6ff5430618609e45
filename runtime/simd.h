/* The vector type of the kernels: VECTOR_LENGTH reals in VECTOR_BYTES bytes. The configuration sets
 * VECTOR_BYTES to 64 for AVX-512, 32 for AVX2, 16 for SSE2 and NEON, or VECTOR_LENGTH to 1: then a
 * vector is one real and no compiler extension is needed. Vectors are never passed or returned by
 * value, because that would depend on the instruction set; the functions take pointers. */
#ifndef CNNC_SIMD_H
#define CNNC_SIMD_H

#include "api.h"
#include "parallel.h"
#include "real.h"

/* Goes before each kernel. Put into its caller a kernel is compiled no better, only later and in
 * one huge function; nor does it gain from a copy for each size. */
#if defined(__clang__) && VECTOR_BYTES == 64
/* clang splits 512-bit vectors into halves in functions without this attribute. */
#define KERNEL __attribute__((noinline, min_vector_width(512)))
#elif defined(__clang__)
#define KERNEL __attribute__((noinline))
#elif defined(__GNUC__)
#define KERNEL __attribute__((noinline, noclone))
#else
#define KERNEL
#endif

/* And this before a part that several kernels have, each its own copy with the numbers that it is
 * called with. */
#if defined(__GNUC__)
#define KERNEL_PART inline __attribute__((always_inline))
#else
#define KERNEL_PART inline
#endif

#if defined(VECTOR_LENGTH) && VECTOR_LENGTH == 1

typedef real vector;
#define VECTOR_LOAD(pointer) (*(const real *)(pointer))
#define VECTOR_STORE(pointer, value) (*(real *)(pointer) = (value))
#define VECTOR_SET(number) ((real)(number))
#define VECTOR_ZERO ((real)0)
#define VECTOR_HOLD(value) ((void)(value))
#define VECTOR_PREFETCH(element) ((void)sizeof(element)) /* reads nothing */
#define VECTOR_PREFETCH_FAR VECTOR_PREFETCH
#define VECTOR_PREFETCH_WRITE VECTOR_PREFETCH

#elif !defined(__GNUC__)
#error "vectors need gcc or clang: write this program with --target=generic"
#else

#ifndef VECTOR_BYTES
#define VECTOR_BYTES 16
#endif
#ifndef VECTOR_LENGTH
#ifdef CNNC_DOUBLE
#define VECTOR_LENGTH (VECTOR_BYTES / 8)
#else
#define VECTOR_LENGTH (VECTOR_BYTES / 4)
#endif
#endif
typedef real vector __attribute__((vector_size(VECTOR_BYTES)));
typedef real vector_in_memory
    __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));
#define VECTOR_LOAD(pointer) (*(const vector_in_memory *)(pointer))
#define VECTOR_STORE(pointer, value) (*(vector_in_memory *)(pointer) = (value))
/* number - 0 is exact for every number, -0 and NaN among them, and costs no instruction. */
#define VECTOR_SET(number) ((real)(number) - (vector){0})
#define VECTOR_ZERO ((vector){0})
/* Keeps a value that was loaded for several uses in its register. gcc reads it again from memory
 * for each of them if it can tell that this gives the same: no instruction more, but more loads
 * than a core can do beside its multiply-adds. */
#if (VECTOR_BYTES == 64 && defined(__AVX512F__)) || (VECTOR_BYTES == 32 && defined(__AVX__)) ||    \
    (VECTOR_BYTES == 16 && defined(__SSE2__))
#define VECTOR_HOLD(value) __asm__("" : "+v"(value))
#elif VECTOR_BYTES == 16 && defined(__aarch64__)
#define VECTOR_HOLD(value) __asm__("" : "+w"(value))
#else
#define VECTOR_HOLD(value) ((void)(value))
#endif
/* Asks for the cache line of an element, which may lie behind the end of its array; the far one
 * leaves it in the second-level cache. */
#define VECTOR_PREFETCH(element) __builtin_prefetch(&(element))
#define VECTOR_PREFETCH_FAR(element) __builtin_prefetch(&(element), 0, 2)
#define VECTOR_PREFETCH_WRITE(element) __builtin_prefetch(&(element), 1)

#endif

#if VECTOR_LENGTH > 1
#define LANES(count)                                                                               \
    __attribute__((vector_size((count) * sizeof(real)), aligned(sizeof(real)), may_alias))
typedef real eight_lanes LANES(8);
typedef real four_lanes LANES(4);
typedef real two_lanes LANES(2);
#endif

/* The first `count` (0..VECTOR_LENGTH) lanes. In halves: of a loop over a constant count C
 * compilers make single stores. */
RUNTIME_INLINE void vector_store_partial(real *to, int count, const vector *value) {
    const real *lanes = (const real *)value;
    int done = 0;
    if (count >= VECTOR_LENGTH) {
        VECTOR_STORE(to, *value);
        return;
    }
#if VECTOR_LENGTH >= 16
    if (count & 8) {
        *(eight_lanes *)to = *(const eight_lanes *)lanes;
        done = 8;
    }
#endif
#if VECTOR_LENGTH >= 8
    if (count & 4) {
        *(four_lanes *)(to + done) = *(const four_lanes *)(lanes + done);
        done += 4;
    }
#endif
#if VECTOR_LENGTH >= 4
    if (count & 2) {
        *(two_lanes *)(to + done) = *(const two_lanes *)(lanes + done);
        done += 2;
    }
#endif
    if (count & 1) {
        to[done] = lanes[done];
    }
}

#define VECTOR_STORE_PARTIAL(to, count, value) vector_store_partial(&(to), count, &(value))

/* The sum of the lanes, halving in a fixed tree, so that every target of one vector length rounds
 * alike. Written with halves and not with loops because a tile has many sums in a row. */
RUNTIME_INLINE real vector_sum(const vector *value) {
    const real *lanes = (const real *)value;
#if VECTOR_LENGTH >= 16
    const eight_lanes eight = *(const eight_lanes *)lanes + *(const eight_lanes *)(lanes + 8);
    lanes = (const real *)&eight;
#endif
#if VECTOR_LENGTH >= 8
    const four_lanes four = *(const four_lanes *)lanes + *(const four_lanes *)(lanes + 4);
    lanes = (const real *)&four;
#endif
#if VECTOR_LENGTH >= 4
    return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
#elif VECTOR_LENGTH == 2
    return lanes[0] + lanes[1];
#else
    return lanes[0];
#endif
}

#define VECTOR_SUM(value) vector_sum(&(value))

/* to[j][i] = from[i][j] for a block of VECTOR_LENGTH rows and columns; rows are steps apart. Rounds
 * of a perfect shuffle of the rows, in which pairs of rows mix lane by lane. */
#if VECTOR_LENGTH == 16
#define VECTOR_LOW_LANES 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define VECTOR_HIGH_LANES 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define VECTOR_EVEN_LANES 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define VECTOR_ODD_LANES 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#elif VECTOR_LENGTH == 8
#define VECTOR_LOW_LANES 0, 8, 1, 9, 2, 10, 3, 11
#define VECTOR_HIGH_LANES 4, 12, 5, 13, 6, 14, 7, 15
#define VECTOR_EVEN_LANES 0, 2, 4, 6, 8, 10, 12, 14
#define VECTOR_ODD_LANES 1, 3, 5, 7, 9, 11, 13, 15
#elif VECTOR_LENGTH == 4
#define VECTOR_LOW_LANES 0, 4, 1, 5
#define VECTOR_HIGH_LANES 2, 6, 3, 7
#define VECTOR_EVEN_LANES 0, 2, 4, 6
#define VECTOR_ODD_LANES 1, 3, 5, 7
#elif VECTOR_LENGTH == 2
#define VECTOR_LOW_LANES 0, 2
#define VECTOR_HIGH_LANES 1, 3
#define VECTOR_EVEN_LANES 0, 2
#define VECTOR_ODD_LANES 1, 3
#endif

#ifdef VECTOR_LOW_LANES

#ifdef __clang__
#define VECTOR_MIX(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#ifdef CNNC_DOUBLE
typedef int64_t vector_lanes __attribute__((vector_size(VECTOR_BYTES)));
#else
typedef int32_t vector_lanes __attribute__((vector_size(VECTOR_BYTES)));
#endif
#define VECTOR_MIX(a, b, ...) __builtin_shuffle(a, b, (vector_lanes){__VA_ARGS__})
#endif
/* Every other element of two vectors in a row, from the first one and from the second one on. */
#define VECTOR_EVEN(a, b) VECTOR_MIX(a, b, VECTOR_EVEN_LANES)
#define VECTOR_ODD(a, b) VECTOR_MIX(a, b, VECTOR_ODD_LANES)

/* Lane by lane the larger one; NaN is larger than everything. What C compilers make of that is
 * several comparisons; x86's instruction gives its last operand where one of them is NaN, so of
 * both orders at least one is NaN, and both together are. */
#if (VECTOR_BYTES == 64 && defined(__AVX512F__)) || (VECTOR_BYTES <= 32 && defined(__AVX__))
#ifdef CNNC_DOUBLE
#define VECTOR_MAXIMUM "vmaxpd %2, %1, %0"
#else
#define VECTOR_MAXIMUM "vmaxps %2, %1, %0"
#endif
#endif

RUNTIME_INLINE void vector_take_larger(vector *best, const vector *value) {
    typedef __typeof__(*value > *best) Bits;
#ifdef VECTOR_MAXIMUM
    vector either, other;
    __asm__(VECTOR_MAXIMUM : "=v"(either) : "v"(*best), "v"(*value));
    __asm__(VECTOR_MAXIMUM : "=v"(other) : "v"(*value), "v"(*best));
    *best = (vector)((Bits)either | (Bits)other);
#else
    /* Only NaN differs from itself: NOLINTNEXTLINE(misc-redundant-expression) */
    const Bits larger = (*value > *best) | (*value != *value);
    *best = (vector)(((Bits)*value & larger) | ((Bits)*best & ~larger));
#endif
}

#define VECTOR_TAKE_LARGER(best, value) vector_take_larger(&(best), &(value))

RUNTIME_INLINE void vector_transpose(real *to, size_t to_step, const real *from, size_t from_step) {
    vector rows[VECTOR_LENGTH], mixed[VECTOR_LENGTH];
    UNROLL(VECTOR_LENGTH)
    for (int i = 0; i < VECTOR_LENGTH; i++) {
        rows[i] = VECTOR_LOAD(from + (size_t)i * from_step);
    }
    UNROLL(4)
    for (int stage = 1; stage < VECTOR_LENGTH; stage *= 2) {
        UNROLL(VECTOR_LENGTH)
        for (int i = 0; i < VECTOR_LENGTH / 2; i++) {
            mixed[2 * i] = VECTOR_MIX(rows[i], rows[i + VECTOR_LENGTH / 2], VECTOR_LOW_LANES);
            mixed[2 * i + 1] = VECTOR_MIX(rows[i], rows[i + VECTOR_LENGTH / 2], VECTOR_HIGH_LANES);
        }
        UNROLL(VECTOR_LENGTH)
        for (int i = 0; i < VECTOR_LENGTH; i++) {
            rows[i] = mixed[i];
        }
    }
    UNROLL(VECTOR_LENGTH)
    for (int i = 0; i < VECTOR_LENGTH; i++) {
        VECTOR_STORE(to + (size_t)i * to_step, rows[i]);
    }
}

#else

RUNTIME_INLINE void vector_transpose(real *to, size_t to_step, const real *from, size_t from_step) {
    for (size_t i = 0; i < VECTOR_LENGTH; i++) {
        for (size_t j = 0; j < VECTOR_LENGTH; j++) {
            to[j * to_step + i] = from[i * from_step + j];
        }
    }
}

#endif

/* Lane by lane the mean of `count` vectors, which are steps apart, and the sum of their squared
 * distances from it, side by side. These are the sums about the first vector, so that nothing
 * cancels that matters, less the part of the mean (Chan, Golub and LeVeque 1983). In two chains,
 * because each addition waits for the one before. */
RUNTIME_INLINE void vector_moments(real *to, const real *from, int count, int step) {
    const vector origin = VECTOR_LOAD(from);
    vector sum = VECTOR_ZERO, squares = VECTOR_ZERO;
    vector other_sum = VECTOR_ZERO, other_squares = VECTOR_ZERO;
    const int pairs = count / 2;
    ROLLED
    for (int i = 0; i < pairs; i++) {
        const vector distance = VECTOR_LOAD(from) - origin;
        const vector other = VECTOR_LOAD(from + step) - origin;
        sum += distance;
        squares += distance * distance;
        other_sum += other;
        other_squares += other * other;
        from += 2 * step;
    }
    if (count % 2 != 0) {
        const vector distance = VECTOR_LOAD(from) - origin;
        sum += distance;
        squares += distance * distance;
    }
    sum += other_sum;
    const vector mean = sum * VECTOR_SET(1 / (real)count);
    VECTOR_STORE(to, origin + mean);
    VECTOR_STORE(to + VECTOR_LENGTH, squares + other_squares - sum * mean);
}

#define VECTOR_MOMENTS(to, from, count, step) vector_moments(&(to), &(from), count, step)

#if VECTOR_LENGTH > 1
/* The gradient of a window of maximum pooling, height x width vectors whose rows are `row` reals
 * apart: of each lane of dy to the element whose number, in scan order, is in `places`, and 0 to
 * the others; where there is an y, only if that is positive. */
RUNTIME_INLINE void vector_hand_back(real *to, int row, int height, int width,
                                     const unsigned char *places, const real *dy, const real *y) {
    typedef __typeof__((vector){0} > (vector){0}) Bits;
    typedef unsigned char Bytes __attribute__((vector_size(VECTOR_LENGTH), aligned(1), may_alias));
    const Bits place = __builtin_convertvector(*(const Bytes *)places, Bits);
    Bits gradient = (Bits)VECTOR_LOAD(dy);
    if (y != NULL) {
        gradient &= VECTOR_LOAD(y) > VECTOR_ZERO;
    }
    for (int i = 0; i < height; i++) {
        for (int j = 0; j < width; j++) {
            const Bits here = place == i * width + j;
            VECTOR_STORE(to + i * row + j * VECTOR_LENGTH, (vector)(gradient & here));
        }
    }
}

#define VECTOR_HAND_BACK(to, row, height, width, places, dy)                                       \
    vector_hand_back(&(to), row, height, width, &(places), &(dy), NULL)
#define VECTOR_HAND_BACK_POSITIVE(to, row, height, width, places, dy, y)                           \
    vector_hand_back(&(to), row, height, width, &(places), &(dy), &(y))
#endif

#define VECTOR_TRANSPOSE(to, to_step, from, from_step)                                             \
    vector_transpose(&(to), to_step, &(from), from_step)

#endif
