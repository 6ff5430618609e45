/* How the functions of the runtime are declared. In an emitted file all pieces lie in one
 * translation unit and everything is static; a piece that is compiled by itself has external
 * linkage. No piece has mutable globals, and nothing below main ends the process. */
#ifndef CNNC_RUNTIME_API_H
#define CNNC_RUNTIME_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef RUNTIME_API
#define RUNTIME_API
#endif

/* Small functions in headers, which not every program uses. */
#if defined(__GNUC__)
#define RUNTIME_INLINE static inline __attribute__((unused))
#else
#define RUNTIME_INLINE static inline
#endif

#if defined(__GNUC__)
#define PRINTF_FORMAT(format_index, first_argument)                                                \
    __attribute__((format(printf, format_index, first_argument)))
#else
#define PRINTF_FORMAT(format_index, first_argument)
#endif

/* Products of sizes that come from files; false on overflow. */
RUNTIME_INLINE bool size_multiply(size_t a, size_t b, size_t *product) {
    *product = a * b;
    return a == 0 || *product / a == b;
}

#endif
