#include "platform.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__unix__) || defined(__APPLE__)
#define PLATFORM_POSIX 1
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

RUNTIME_API double clock_seconds(void) {
    struct timespec now;
#ifdef PLATFORM_POSIX
    clock_gettime(CLOCK_MONOTONIC, &now);
#else
    timespec_get(&now, TIME_UTC);
#endif
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#define LARGE_PAGE ((size_t)2 << 20)

RUNTIME_API void prefer_large_pages(void *memory, size_t bytes) {
#ifdef MADV_HUGEPAGE
    uintptr_t first = ((uintptr_t)memory + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
    uintptr_t end = ((uintptr_t)memory + bytes) / LARGE_PAGE * LARGE_PAGE;
    if (first < end) {
        madvise((void *)first, end - first, MADV_HUGEPAGE);
    }
#else
    (void)memory;
    (void)bytes;
#endif
}

RUNTIME_API bool stream_is_terminal(FILE *stream) {
#ifdef PLATFORM_POSIX
    return isatty(fileno(stream)) == 1;
#else
    (void)stream;
    return false;
#endif
}

#ifdef __linux__
/* The peak of this program alone: what getrusage says survives exec, so it may be its parent's. */
static double peak_of_status(void) {
    double kibibytes = 0;
    char line[256];
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "VmHWM:", 6) == 0) {
            kibibytes = strtod(line + 6, NULL);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return kibibytes * 1024;
}
#endif

RUNTIME_API double peak_memory_bytes(void) {
#ifdef __linux__
    double peak = peak_of_status();
    if (peak > 0) {
        return peak;
    }
#endif
#ifdef PLATFORM_POSIX
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) {
        return 0;
    }
#ifdef __APPLE__
    return (double)usage.ru_maxrss; /* bytes there, kibibytes elsewhere */
#else
    return (double)usage.ru_maxrss * 1024;
#endif
#else
    return 0;
#endif
}

#ifdef PLATFORM_POSIX
static const int platform_signals[] = {SIGINT, SIGTERM};
#define PLATFORM_SIGNALS (sizeof platform_signals / sizeof platform_signals[0])
#endif

RUNTIME_API void interrupts_defer(void) {
#ifdef PLATFORM_POSIX
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < PLATFORM_SIGNALS; i++) {
        sigaddset(&set, platform_signals[i]);
    }
    sigprocmask(SIG_BLOCK, &set, NULL);
#endif
}

RUNTIME_API bool interrupt_pending(void) {
#ifdef PLATFORM_POSIX
    sigset_t set;
    if (sigpending(&set) != 0) {
        return false;
    }
    for (size_t i = 0; i < PLATFORM_SIGNALS; i++) {
        if (sigismember(&set, platform_signals[i]) == 1) {
            return true;
        }
    }
#endif
    return false;
}

RUNTIME_API bool path_is_directory(const char *path) {
#ifdef PLATFORM_POSIX
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
#else
    (void)path;
    return true; /* unknown: what is opened inside will tell */
#endif
}

RUNTIME_API bool path_exists(const char *path) {
    FILE *stream = fopen(path, "rb");
    if (stream != NULL) {
        fclose(stream);
    }
    return stream != NULL;
}

RUNTIME_API bool path_is_replaceable(const char *path) {
#ifdef PLATFORM_POSIX
    struct stat status;
    return stat(path, &status) != 0 || S_ISREG(status.st_mode);
#else
    (void)path;
    return true;
#endif
}

RUNTIME_API bool directory_create(const char *path, Problem *problem) {
#ifdef PLATFORM_POSIX
    size_t length = strlen(path);
    char *prefix = malloc(length + 1);
    if (prefix == NULL) {
        return problem_out_of_memory(problem, "a path");
    }
    memcpy(prefix, path, length + 1);
    for (size_t i = 1; i <= length; i++) {
        if (path[i] == '/' || path[i] == '\0') {
            prefix[i] = '\0';
            mkdir(prefix, 0777); /* parents may exist: only the last one counts */
            prefix[i] = path[i];
        }
    }
    free(prefix);
    if (!path_is_directory(path)) {
        return problem_add(problem, "%s: cannot make this directory: %s", path, strerror(errno));
    }
#else
    (void)path;
    (void)problem;
#endif
    return true;
}

RUNTIME_API bool stream_sync(FILE *stream) {
    if (fflush(stream) != 0) {
        return false;
    }
#ifdef PLATFORM_POSIX
    return fsync(fileno(stream)) == 0 || errno == EINVAL; /* EINVAL: a pipe or a device */
#else
    return true;
#endif
}

RUNTIME_API void directory_sync(const char *path_of_file) {
#ifdef PLATFORM_POSIX
    const char *slash = strrchr(path_of_file, '/');
    size_t length = slash != NULL ? (size_t)(slash - path_of_file) : 0;
    char *directory = malloc(length + 2);
    if (directory == NULL) {
        return;
    }
    memcpy(directory, path_of_file, length);
    if (length == 0) {
        directory[length++] = slash != NULL ? '/' : '.';
    }
    directory[length] = '\0';
    int descriptor = open(directory, O_RDONLY);
    free(directory);
    if (descriptor >= 0) {
        /* Some file systems cannot sync a directory; the file itself is safe already. */
        (void)fsync(descriptor);
        close(descriptor);
    }
#else
    (void)path_of_file;
#endif
}

#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
#define CPU_REQUIRES(feature)                                                                      \
    do {                                                                                           \
        if (!__builtin_cpu_supports(feature)) {                                                    \
            problem_add(problem, "this CPU lacks " feature                                         \
                                 ", which the program was compiled for; compile it again on this " \
                                 "machine or for an older target");                                \
            return false;                                                                          \
        }                                                                                          \
    } while (0)
#endif

RUNTIME_API bool cpu_check(Problem *problem) {
#ifdef CPU_REQUIRES
    __builtin_cpu_init();
#ifdef __AVX512F__
    CPU_REQUIRES("avx512f");
#endif
#ifdef __AVX512VL__
    CPU_REQUIRES("avx512vl");
#endif
#ifdef __AVX512BW__
    CPU_REQUIRES("avx512bw");
#endif
#ifdef __AVX512DQ__
    CPU_REQUIRES("avx512dq");
#endif
#ifdef __AVX2__
    CPU_REQUIRES("avx2");
#endif
#ifdef __FMA__
    CPU_REQUIRES("fma");
#endif
#ifdef __AVX__
    CPU_REQUIRES("avx");
#endif
#ifdef __BMI2__
    CPU_REQUIRES("bmi2");
#endif
#ifdef __SSE4_2__
    CPU_REQUIRES("sse4.2");
#endif
#endif
    (void)problem;
    return true;
}
