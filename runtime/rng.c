#include "rng.h"

RUNTIME_API uint64_t random_key(uint64_t seed, RandomPurpose purpose, uint64_t number) {
    const uint32_t counter[4] = {(uint32_t)number, (uint32_t)(number >> 32), (uint32_t)purpose, 1};
    const uint32_t words[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t out[4];
    random_block(counter, words, out);
    return (uint64_t)out[1] << 32 | out[0];
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
