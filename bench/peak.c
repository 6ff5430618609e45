/* Measures what this machine can do: fused multiply-adds per second in registers and memory
 * bandwidth. usage: peak SECONDS      (threads: OMP_NUM_THREADS) Prints one line of JSON:
 * {"threads", "peak_gflops", "read_gbs", "triad_gbs"}. Build it with -std=gnu11: under -std=c11 gcc
 * does not contract a*b + c to an FMA. An FMA counts as two operations. Bandwidth counts the bytes
 * that the program names, as STREAM does (J. McCalpin, Memory bandwidth and machine balance in
 * current high performance computers, 1995). */
#include "peers/measure.h"

#include <omp.h>

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#define LANES (VECTOR_BYTES / 4)

typedef float Vector __attribute__((vector_size(VECTOR_BYTES)));

#if defined(__clang__) && defined(__AVX512F__)
/* clang otherwise halves 512-bit vectors. */
#define FULL_WIDTH __attribute__((min_vector_width(512)))
#else
#define FULL_WIDTH
#endif

/* Enough independent chains to hide the latency of two units (2 * 4 cycles), few enough for 16
 * registers. */
enum { CHAINS = 12, FMA_STEPS = 1 << 20 };

/* 64 MiB each: with three arrays far beyond a core's share of the caches. */
enum { ARRAY_LENGTH = 16 << 20 };

FULL_WIDTH static float multiply_add(void) {
    Vector sum[CHAINS], scale = {0}, offset = {0};
    scale += 1.0000001f;
    offset += 1e-9f;
    for (int i = 0; i < CHAINS; i++) {
        sum[i] = offset * (float)i;
    }
    for (int step = 0; step < FMA_STEPS; step++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) {
            sum[i] = sum[i] * scale + offset;
        }
        __asm__ volatile("" : "+x"(scale)); /* keeps the loop from being solved in advance */
    }
    float total = 0;
    for (int i = 0; i < CHAINS; i++) {
        total += sum[i][0];
    }
    return total;
}

/* Best rate of operations per second within about `seconds`. */
static double peak_flops(double seconds, volatile float *sink) {
    double best = 0, start = measure_seconds();
    do {
        float total = 0;
        int threads = 1;
        double before = measure_seconds();
#pragma omp parallel reduction(+ : total)
        {
            total += multiply_add();
#pragma omp single
            threads = omp_get_num_threads();
        }
        double rate = 2.0 * LANES * CHAINS * FMA_STEPS * threads / (measure_seconds() - before);
        *sink = total;
        best = rate > best ? rate : best;
    } while (measure_seconds() - start < seconds);
    return best;
}

FULL_WIDTH static float read_all(const Vector *a) {
    float total = 0;
#pragma omp parallel reduction(+ : total)
    {
        Vector sum[4] = {{0}};
#pragma omp for schedule(static)
        for (int i = 0; i < ARRAY_LENGTH / LANES; i += 4) {
            sum[0] += a[i];
            sum[1] += a[i + 1];
            sum[2] += a[i + 2];
            sum[3] += a[i + 3];
        }
        Vector all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
        for (int lane = 0; lane < LANES; lane++) {
            total += all[lane];
        }
    }
    return total;
}

static void triad(float *restrict a, const float *restrict b, const float *restrict c,
                  float scale) {
#pragma omp parallel for schedule(static)
    for (int i = 0; i < ARRAY_LENGTH; i++) {
        a[i] = b[i] + scale * c[i];
    }
}

static void fill(float *a, float value) {
#pragma omp parallel for schedule(static)
    for (int i = 0; i < ARRAY_LENGTH; i++) {
        a[i] = value;
    }
}

int main(int count, char **arguments) {
    double seconds = count == 2 ? strtod(arguments[1], NULL) : 0;
    if (!(seconds > 0)) {
        fprintf(stderr, "usage: peak SECONDS\n");
        return 2;
    }
    volatile float sink = 0;
    double flops = peak_flops(seconds / 3, &sink), read = 0, copy = 0;
    float *arrays[3];
    for (int i = 0; i < 3; i++) {
        arrays[i] = aligned_alloc(VECTOR_BYTES, ARRAY_LENGTH * sizeof *arrays[i]);
        if (!arrays[i]) {
            fprintf(stderr, "peak: out of memory\n");
            return 1;
        }
        fill(arrays[i], (float)i);
    }
    double bytes = (double)ARRAY_LENGTH * sizeof *arrays[0], start = measure_seconds();
    do {
        double before = measure_seconds();
        sink = read_all((const Vector *)arrays[1]);
        double middle = measure_seconds();
        triad(arrays[0], arrays[1], arrays[2], sink);
        double after = measure_seconds();
        read = bytes / (middle - before) > read ? bytes / (middle - before) : read;
        copy = 3 * bytes / (after - middle) > copy ? 3 * bytes / (after - middle) : copy;
    } while (measure_seconds() - start < seconds * 2 / 3);
    for (int i = 0; i < 3; i++) {
        free(arrays[i]);
    }
    printf("{\"threads\": %d, \"peak_gflops\": %.2f, \"read_gbs\": %.2f, \"triad_gbs\": %.2f}\n",
           omp_get_max_threads(), flops * 1e-9, read * 1e-9, copy * 1e-9);
    return 0;
}
