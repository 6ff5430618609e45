/* Timing that the C and C++ peers share; also valid C++. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MEASURE_MINIMUM_SAMPLES = 3, MEASURE_MAXIMUM_SAMPLES = 100000 };

static inline double measure_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static inline int measure_compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of `count` > 0 samples, which it sorts. */
static inline double measure_median(double *samples, int count) {
    qsort(samples, (size_t)count, sizeof *samples, measure_compare);
    return count % 2 ? samples[count / 2] : (samples[count / 2 - 1] + samples[count / 2]) / 2;
}

/* A line of /proc/self/status in bytes, VmRSS (now) or VmHWM (the peak); 0 if there is none. */
static inline double measure_status_bytes(const char *field) {
    char line[256];
    double bytes = 0;
    size_t length = strlen(field);
    FILE *status = fopen("/proc/self/status", "r");
    if (!status) {
        return 0;
    }
    while (fgets(line, sizeof line, status)) {
        if (strncmp(line, field, length) == 0 && line[length] == ':') {
            bytes = strtod(line + length + 1, NULL) * 1024;
        }
    }
    fclose(status);
    return bytes;
}

#endif
