#include "rng.h"

#define PHILOX_ROUNDS 10
#define PHILOX_MULTIPLIER_0 0xD2511F53u
#define PHILOX_MULTIPLIER_1 0xCD9E8D57u
#define PHILOX_WEYL_0 0x9E3779B9u /* golden ratio */
#define PHILOX_WEYL_1 0xBB67AE85u /* sqrt(3) - 1 */

RUNTIME_API void random_block(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
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

RUNTIME_API void random_words(uint64_t key, uint32_t stream, uint64_t block, uint32_t out[4]) {
    const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), stream, 0};
    const uint32_t words[2] = {(uint32_t)key, (uint32_t)(key >> 32)};
    random_block(counter, words, out);
}

RUNTIME_API uint64_t random_key(uint64_t seed, RandomPurpose purpose, uint64_t number) {
    const uint32_t counter[4] = {(uint32_t)number, (uint32_t)(number >> 32), (uint32_t)purpose, 1};
    const uint32_t words[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t out[4];
    random_block(counter, words, out);
    return (uint64_t)out[1] << 32 | out[0];
}

RUNTIME_API uint32_t random_bits(uint64_t key, uint32_t stream, uint64_t counter) {
    uint32_t out[4];
    random_words(key, stream, counter / 4, out);
    return out[counter % 4];
}

RUNTIME_API real random_uniform(uint64_t key, uint32_t stream, uint64_t counter) {
    return (real)(random_bits(key, stream, counter) >> 8) * (real)(1.0 / 16777216.0);
}

RUNTIME_API double random_gaussian(uint64_t key, uint32_t stream, uint64_t counter) {
    const double two_pi = 6.283185307179586476925286766559;
    uint32_t out[4];
    /* Two numbers from each block of four words. */
    random_words(key, stream, counter / 2, out);
    const uint32_t *words = out + 2 * (counter % 2);
    double radius = sqrt(-2 * log(((double)words[0] + 1) / 4294967296.0));
    return radius * cos(two_pi * ((double)words[1] / 4294967296.0));
}

/* Uniform in 0..limit-1 without bias (Lemire 2019); `draw` counts the words used. */
static uint32_t random_below(uint64_t key, uint32_t limit, uint64_t *draw) {
    uint32_t reject = (0u - limit) % limit;
    for (;;) {
        uint64_t product = (uint64_t)random_bits(key, 0, (*draw)++) * limit;
        if ((uint32_t)product >= reject) {
            return (uint32_t)(product >> 32);
        }
    }
}

RUNTIME_API void random_permutation(uint64_t key, size_t count, size_t *order) {
    uint64_t draw = 0;
    for (size_t i = 0; i < count; i++) {
        size_t j = random_below(key, (uint32_t)(i + 1), &draw);
        order[i] = order[j];
        order[j] = i;
    }
}
