/* Arithmetic on 64-bit integers that notices when the result does not fit: all return false then
 * and leave *result alone. */
#ifndef CNNC_CHECKED_H
#define CNNC_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__GNUC__)

static inline bool checked_add(int64_t a, int64_t b, int64_t *result) {
    int64_t sum;
    bool fits = !__builtin_add_overflow(a, b, &sum);
    if (fits) {
        *result = sum;
    }
    return fits;
}

static inline bool checked_subtract(int64_t a, int64_t b, int64_t *result) {
    int64_t difference;
    bool fits = !__builtin_sub_overflow(a, b, &difference);
    if (fits) {
        *result = difference;
    }
    return fits;
}

static inline bool checked_multiply(int64_t a, int64_t b, int64_t *result) {
    int64_t product;
    bool fits = !__builtin_mul_overflow(a, b, &product);
    if (fits) {
        *result = product;
    }
    return fits;
}

#else

static inline bool checked_add(int64_t a, int64_t b, int64_t *result) {
    if (b > 0 ? a > INT64_MAX - b : a < INT64_MIN - b) {
        return false;
    }
    *result = a + b;
    return true;
}

static inline bool checked_subtract(int64_t a, int64_t b, int64_t *result) {
    if (b < 0 ? a > INT64_MAX + b : a < INT64_MIN + b) {
        return false;
    }
    *result = a - b;
    return true;
}

static inline bool checked_multiply(int64_t a, int64_t b, int64_t *result) {
    if (a != 0 && b != 0) {
        bool overflow = a > 0 ? (b > 0 ? a > INT64_MAX / b : b < INT64_MIN / a)
                              : (b > 0 ? a < INT64_MIN / b : b < INT64_MAX / a);
        if (overflow) {
            return false;
        }
    }
    *result = a * b;
    return true;
}

#endif

#endif
