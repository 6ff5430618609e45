/* The gzip decoder against zlib, and against damaged input. */
#include "inflate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#define LIMIT ((size_t)1 << 24)

static uint32_t next_random(uint32_t *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* zlib's gzip of the data; freed by the caller. */
static unsigned char *compress_gzip(const unsigned char *data, size_t size, int level, int strategy,
                                    size_t *packed_size) {
    z_stream stream;
    memset(&stream, 0, sizeof stream);
    assert_int_equal(deflateInit2(&stream, level, Z_DEFLATED, 15 + 16, 8, strategy), Z_OK);
    size_t capacity = deflateBound(&stream, (uLong)size);
    unsigned char *packed = malloc(capacity);
    stream.next_in = (unsigned char *)(uintptr_t)data;
    stream.avail_in = (uInt)size;
    stream.next_out = packed;
    stream.avail_out = (uInt)capacity;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    *packed_size = stream.total_out;
    deflateEnd(&stream);
    return packed;
}

/* kind 0: noise, 1: text-like with repeats, 2: zeros, 3: few symbols. */
static void fill(unsigned char *data, size_t size, int kind) {
    uint32_t seed = 12345;
    for (size_t i = 0; i < size; i++) {
        uint32_t value = next_random(&seed);
        const unsigned char kinds[] = {(unsigned char)value,
                                       (unsigned char)"the quick brown fox "[(i + value % 3) % 20],
                                       0, (unsigned char)('a' + value % 3)};
        data[i] = kinds[kind];
    }
}

static void same_as_zlib(void **state) {
    static const size_t sizes[] = {0, 1, 2, 100, 4095, 65535, 65536, 300000};
    static const int strategies[] = {Z_DEFAULT_STRATEGY, Z_FIXED, Z_HUFFMAN_ONLY, Z_RLE};
    static Problem problem;
    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        for (int kind = 0; kind < 4; kind++) {
            for (int level = 0; level <= 9; level += 3) {
                unsigned char *data = malloc(sizes[s] + 1);
                size_t packed_size, size = 1;
                fill(data, sizes[s], kind);
                unsigned char *packed = compress_gzip(
                    data, sizes[s], level, strategies[(level + kind) / 3 % 4], &packed_size);
                assert_true(gzip_recognise(packed, packed_size));
                unsigned char *result =
                    gzip_decompress("test", packed, packed_size, LIMIT, &size, &problem);
                assert_non_null(result);
                assert_int_equal(size, sizes[s]);
                assert_memory_equal(result, data, size);
                free(result);
                free(packed);
                free(data);
            }
        }
    }
    assert_int_equal(problem.count, 0);
}

static void several_members(void **state) {
    static Problem problem;
    unsigned char data[1000], both[4096];
    size_t first_size, second_size, size;
    (void)state;
    fill(data, sizeof data, 1);
    unsigned char *first = compress_gzip(data, 600, 9, Z_DEFAULT_STRATEGY, &first_size);
    unsigned char *second = compress_gzip(data + 600, 400, 0, Z_DEFAULT_STRATEGY, &second_size);
    memcpy(both, first, first_size);
    memcpy(both + first_size, second, second_size);
    unsigned char *result =
        gzip_decompress("test", both, first_size + second_size, LIMIT, &size, &problem);
    assert_non_null(result);
    assert_int_equal(size, 1000);
    assert_memory_equal(result, data, 1000);
    free(result);
    /* What follows a member must be one. */
    both[first_size] ^= 1;
    assert_null(gzip_decompress("test", both, first_size + second_size, LIMIT, &size, &problem));
    free(first);
    free(second);
}

static void header_with_all_parts(void **state) {
    static Problem problem;
    unsigned char data[50], whole[256] = {0x1F, 0x8B, 8, 2 | 4 | 8 | 16, 0, 0, 0, 0, 0, 3};
    static const unsigned char parts[] = {3, 0, 'x', 'y', 'z', 'n', 0, 'c', 'c', 0, 0xAB, 0xCD};
    size_t packed_size, size;
    (void)state;
    fill(data, sizeof data, 1);
    unsigned char *packed = compress_gzip(data, sizeof data, 9, Z_DEFAULT_STRATEGY, &packed_size);
    memcpy(whole + 10, parts, sizeof parts);
    memcpy(whole + 10 + sizeof parts, packed + 10, packed_size - 10);
    unsigned char *result =
        gzip_decompress("test", whole, packed_size + sizeof parts, LIMIT, &size, &problem);
    assert_non_null(result);
    assert_int_equal(size, sizeof data);
    free(result);
    free(packed);
}

static void damage_is_noticed(void **state) {
    enum { SIZE = 700 };
    static Problem problem;
    unsigned char data[SIZE];
    int harmless = 0;
    (void)state;
    fill(data, SIZE, 1);
    for (int level = 0; level <= 9; level += 9) {
        size_t packed_size, size;
        unsigned char *packed = compress_gzip(data, SIZE, level, Z_DEFAULT_STRATEGY, &packed_size);
        for (size_t cut = 0; cut < packed_size; cut++) {
            /* A copy of exactly that size, so that reading too far is seen. */
            unsigned char *part = malloc(cut + 1);
            memcpy(part, packed, cut);
            part = realloc(part, cut > 0 ? cut : 1);
            problem_clear(&problem);
            assert_null(gzip_decompress("test", part, cut, LIMIT, &size, &problem));
            assert_int_equal(problem.count, 1);
            free(part);
        }
        for (size_t bit = 0; bit < 8 * packed_size; bit++) {
            packed[bit / 8] ^= (unsigned char)(1 << bit % 8);
            problem_clear(&problem);
            unsigned char *result =
                gzip_decompress("test", packed, packed_size, LIMIT, &size, &problem);
            if (result != NULL) { /* the time in the header, padding before a stored block */
                assert_int_equal(size, SIZE);
                assert_memory_equal(result, data, SIZE);
                harmless++;
            }
            free(result);
            packed[bit / 8] ^= (unsigned char)(1 << bit % 8);
        }
        free(packed);
    }
    assert_true(harmless < 2 * 8 * 10);
}

static void noise_is_refused(void **state) {
    static Problem problem;
    uint32_t seed = 99;
    (void)state;
    for (int round = 0; round < 3000; round++) {
        unsigned char bytes[200] = {0x1F, 0x8B, 8, 0};
        size_t size, length = 10 + next_random(&seed) % 190;
        for (size_t i = 10; i < length; i++) {
            bytes[i] = (unsigned char)next_random(&seed);
        }
        bytes[10] = (unsigned char)((bytes[10] & ~7u) | (uint32_t)(round % 3) << 1 | 1);
        problem_clear(&problem);
        assert_null(gzip_decompress("noise", bytes, length, LIMIT, &size, &problem));
    }
}

static void limit_is_kept(void **state) {
    static Problem problem;
    unsigned char *data = calloc(1, 100000);
    size_t packed_size, size;
    (void)state;
    unsigned char *packed = compress_gzip(data, 100000, 9, Z_DEFAULT_STRATEGY, &packed_size);
    assert_true(packed_size < 1000);
    assert_null(gzip_decompress("bomb", packed, packed_size, 99999, &size, &problem));
    assert_non_null(strstr(problem.text, "bomb"));
    unsigned char *result = gzip_decompress("bomb", packed, packed_size, 100000, &size, &problem);
    assert_non_null(result);
    free(result);
    free(packed);
    free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_as_zlib),          cmocka_unit_test(several_members),
        cmocka_unit_test(header_with_all_parts), cmocka_unit_test(damage_is_noticed),
        cmocka_unit_test(noise_is_refused),      cmocka_unit_test(limit_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
