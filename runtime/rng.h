/* Random numbers by counter: a number is a function of a key, a stream and its index, so results
 * depend neither on the order in which they are drawn nor on the number of threads. The generator
 * is Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3",
 * SC 2011. */
#ifndef CNNC_RNG_H
#define CNNC_RNG_H

#include "api.h"
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

/* Philox itself: four words from a 128-bit counter and a 64-bit key. */
RUNTIME_API void random_block(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* Words 4*block to 4*block+3 of a stream. */
RUNTIME_API void random_words(uint64_t key, uint32_t stream, uint64_t block, uint32_t out[4]);
/* The counter-th word of a stream. */
RUNTIME_API uint32_t random_bits(uint64_t key, uint32_t stream, uint64_t counter);
/* In [0, 1), a multiple of 2^-24: the same in single and double precision. */
RUNTIME_API real random_uniform(uint64_t key, uint32_t stream, uint64_t counter);
/* Mean 0, standard deviation 1, by Box and Muller, "A note on the generation of random normal
 * deviates", 1958; computed in double. */
RUNTIME_API double random_gaussian(uint64_t key, uint32_t stream, uint64_t counter);
/* Puts 0..count-1 into `order` in random order (Fisher and Yates); count < 2^32. */
RUNTIME_API void random_permutation(uint64_t key, size_t count, size_t *order);

#endif
