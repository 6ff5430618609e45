/* Random numbers by counter: a number is a function of a key, a stream and its index, so results
 * depend neither on the order in which they are drawn nor on the number of threads. The generator
 * is Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3",
 * SC 2011. */
#ifndef CNNC_RNG_H
#define CNNC_RNG_H

#include "api.h"
#include "parallel.h"
#include "real.h"

/* What a key is for; different purposes of one seed are unrelated. */
typedef enum RandomPurpose {
    RANDOM_INITIAL_WEIGHTS,
    RANDOM_EPOCH_ORDER,   /* number = epoch */
    RANDOM_TRAINING_STEP, /* number = step */
    RANDOM_VALIDATION_SPLIT,
    RANDOM_SYNTHETIC_DATA,
    RANDOM_GRADIENT_CHECK,
    RANDOM_BENCHMARK
} RandomPurpose;
RUNTIME_API uint64_t random_key(uint64_t seed, RandomPurpose purpose, uint64_t number);

/* What kernels draw from is inline and has no array indexed by a variable, so that C compilers make
 * vectors of it. */
#define PHILOX_ROUNDS 10
#define PHILOX_MULTIPLIER_0 0xD2511F53u
#define PHILOX_MULTIPLIER_1 0xCD9E8D57u
#define PHILOX_WEYL_0 0x9E3779B9u /* golden ratio */
#define PHILOX_WEYL_1 0xBB67AE85u /* sqrt(3) - 1 */

/* Philox itself: four words from a 128-bit counter and a 64-bit key. */
RUNTIME_INLINE void random_block(const uint32_t counter[4], const uint32_t key[2],
                                 uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    UNROLL(PHILOX_ROUNDS)
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        uint64_t product0 = (uint64_t)PHILOX_MULTIPLIER_0 * c0;
        uint64_t product1 = (uint64_t)PHILOX_MULTIPLIER_1 * c2;
        c0 = (uint32_t)(product1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)product1;
        c2 = (uint32_t)(product0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)product0;
        k0 += PHILOX_WEYL_0;
        k1 += PHILOX_WEYL_1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* Words 4*block to 4*block+3 of a stream. */
RUNTIME_INLINE void random_words(uint64_t key, uint32_t stream, uint64_t block, uint32_t out[4]) {
    const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), stream, 0};
    const uint32_t words[2] = {(uint32_t)key, (uint32_t)(key >> 32)};
    random_block(counter, words, out);
}

/* The counter-th word of a stream. */
RUNTIME_INLINE uint32_t random_bits(uint64_t key, uint32_t stream, uint64_t counter) {
    uint32_t out[4];
    random_words(key, stream, counter >> 2, out); /* gcc 12 makes no vectors of a division */
    const uint32_t low = counter & 1 ? out[1] : out[0], high = counter & 1 ? out[3] : out[2];
    return counter & 2 ? high : low;
}

/* In [0, 1), a multiple of 2^-24: the same in single and double precision. */
RUNTIME_INLINE real random_uniform(uint64_t key, uint32_t stream, uint64_t counter) {
    return (real)(int32_t)(random_bits(key, stream, counter) >> 8) * (real)(1.0 / 16777216.0);
}

/* Mean 0, standard deviation 1, by Box and Muller, "A note on the generation of random normal
 * deviates", 1958; computed in double. */
RUNTIME_API double random_gaussian(uint64_t key, uint32_t stream, uint64_t counter);
/* Puts 0..count-1 into `order` in random order (Fisher and Yates); count < 2^32. */
RUNTIME_API void random_permutation(uint64_t key, size_t count, size_t *order);

#endif
