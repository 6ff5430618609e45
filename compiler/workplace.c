#include "workplace.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT "output"
#define LARGEST_OUTPUT (1 << 20)  /* bytes that are read of it */
#define LONGEST_QUOTE 2000        /* of it in a message */
enum { STATUS_CANNOT_RUN = 127 }; /* as a shell has it */

static bool fail(const Workplace *workplace, const char **problem, const char *what) {
    *problem = arena_format(workplace->arena, "%s: %s", what, strerror(errno));
    return false;
}

/* ---- Signals ---- */

static const int ending[] = {SIGINT, SIGTERM, SIGHUP};
#define ENDING_COUNT (sizeof ending / sizeof ending[0])

static volatile sig_atomic_t pending; /* the signal that has come; 0: none */
static struct sigaction before[ENDING_COUNT];

static void remember_signal(int number) {
    pending = number;
}

/* Without SA_RESTART: waiting for a program ends. */
static void catch_signals(void) {
    struct sigaction action = {.sa_handler = remember_signal};
    sigemptyset(&action.sa_mask);
    pending = 0;
    for (size_t i = 0; i < ENDING_COUNT; i++) {
        sigaction(ending[i], &action, &before[i]);
        if (before[i].sa_handler == SIG_IGN) /* as under nohup */
            sigaction(ending[i], &before[i], NULL);
    }
}

static void release_signals(void) {
    for (size_t i = 0; i < ENDING_COUNT; i++)
        sigaction(ending[i], &before[i], NULL);
    if (pending != 0)
        raise((int)pending);
}

/* ---- The directory ---- */

bool workplace_open(Workplace *workplace, Arena *arena, const char **problem) {
    const char *parent = getenv("TMPDIR");
    workplace->arena = arena;
    workplace->directory =
        arena_format(arena, "%s/cnnc.XXXXXX", parent != NULL && *parent ? parent : "/tmp");
    if (mkdtemp(workplace->directory) == NULL)
        return fail(workplace, problem, workplace->directory);
    catch_signals();
    return true;
}

void workplace_close(Workplace *workplace) {
    DIR *directory = opendir(workplace->directory);
    for (struct dirent *file; directory != NULL && (file = readdir(directory)) != NULL;)
        if (file->d_name[0] != '.')
            unlink(workplace_path(workplace, file->d_name));
    if (directory != NULL)
        closedir(directory);
    rmdir(workplace->directory);
    release_signals();
}

const char *workplace_path(const Workplace *workplace, const char *name) {
    return arena_format(workplace->arena, "%s/%s", workplace->directory, name);
}

bool workplace_write(const Workplace *workplace, const char *name, const Text *text,
                     const char **problem) {
    const char *path = workplace_path(workplace, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL)
        return fail(workplace, problem, path);
    bool good = fwrite(text->bytes, 1, text->length, file) == text->length;
    return (fclose(file) == 0 && good) || fail(workplace, problem, path);
}

/* ---- Programs ---- */

/* In a group of its own, so that a signal reaches what it starts in turn. */
static void become(const Workplace *workplace, char *const *arguments, const char *output,
                   int threads) {
    char number[32];
    setpgid(0, 0);
    snprintf(number, sizeof number, "%d", threads);
    int from = open("/dev/null", O_RDONLY), to = open(output, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (from < 0 || to < 0 || dup2(from, 0) < 0 || dup2(to, 1) < 0 || dup2(to, 2) < 0)
        _exit(STATUS_CANNOT_RUN);
    setenv("OMP_NUM_THREADS", number, 1);
    setenv("TMPDIR", workplace->directory, 1);
    execvp(arguments[0], arguments);
    perror(arguments[0]);
    _exit(STATUS_CANNOT_RUN);
}

/* The exit status, or -1 where the program did not come to an end by itself. */
static int wait_for(pid_t child) {
    int status = 0;
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR)
            return -1;
        if (pending != 0)
            kill(-child, SIGTERM);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static const char *read_output(const Workplace *workplace, const char *path) {
    FILE *file = fopen(path, "rb");
    struct stat status;
    if (file == NULL)
        return "";
    bool known = fstat(fileno(file), &status) == 0 && status.st_size <= LARGEST_OUTPUT;
    size_t length = known ? (size_t)status.st_size : LARGEST_OUTPUT;
    char *bytes = arena_allocate(workplace->arena, length + 1, 1);
    length = fread(bytes, 1, length, file);
    fclose(file);
    while (length > 0 && bytes[length - 1] == '\n')
        bytes[--length] = '\0';
    return bytes;
}

bool workplace_run(const Workplace *workplace, char *const *arguments, int threads,
                   const char **output, const char **problem) {
    const char *path = workplace_path(workplace, OUTPUT);
    fflush(NULL);
    pid_t child = pending != 0 ? -1 : fork();
    if (child == 0)
        become(workplace, arguments, path, threads);
    if (child > 0)
        setpgid(child, child);
    int status = child > 0 ? wait_for(child) : -1;
    *output = child > 0 ? read_output(workplace, path) : "";
    if (status == 0 && pending == 0)
        return true;
    const char *how =
        status < 0 ? "was ended" : arena_format(workplace->arena, "ended with status %d", status);
    *problem = pending != 0 ? "interrupted"
               : child < 0 ? arena_format(workplace->arena, "%s: %s", arguments[0], strerror(errno))
                           : arena_format(workplace->arena, "%s %s%s%.*s", arguments[0], how,
                                          **output ? ":\n" : "", LONGEST_QUOTE, *output);
    return false;
}
