#include "target.h"

#include <string.h>

#define AVX512_FLAGS "-mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma"
#define KB 1024
const Target target_table[] = {
    {"avx512", "x86-64 with AVX-512", 64, 32, 2, 1024 * KB, AVX512_FLAGS},
    {"zen4", "x86-64 with AVX-512 in halves", 64, 32, 1, 1024 * KB, AVX512_FLAGS},
    {"avx2", "x86-64 with AVX2 and FMA", 32, 16, 2, 512 * KB, "-mavx2 -mfma"},
    {"sse2", "any x86-64", 16, 16, 2, 512 * KB, "-msse2"},
    {"neon", "AArch64", 16, 32, 2, 1024 * KB, ""},
    {"generic", "any machine: no vectors", 0, 16, 2, 1024 * KB, ""},
};
const int target_count = (int)(sizeof target_table / sizeof target_table[0]);

static const char *native_name(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        return __builtin_cpu_is("amdfam19h") ? "zen4" : "avx512";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return "avx2";
    return "sse2";
#elif defined(__aarch64__)
    return "neon";
#else
    return "generic";
#endif
}

const Target *target_find(const char *name) {
    if (strcmp(name, "native") == 0)
        name = native_name();
    for (int i = 0; i < target_count; i++) {
        if (strcmp(target_table[i].name, name) == 0)
            return &target_table[i];
    }
    return NULL;
}

/* Within an architecture, the widest runs all. */
bool target_runs_here(const Target *target) {
    const Target *native = target_find("native");
    bool same = strcmp(native->name, "neon") == 0 || strcmp(native->name, "generic") == 0
                    ? target == native
                    : strcmp(target->name, "neon") != 0;
    return target->vector_bytes == 0 || (same && target->vector_bytes <= native->vector_bytes);
}

int target_vector_length(const Target *target, size_t number_bytes) {
    size_t length = (size_t)target->vector_bytes / number_bytes;
    return length > 1 ? (int)length : 1;
}
