#include "output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Output Output;
struct Output {
    const char *path;
    Text text;
    bool direct; /* standard output, a device or a pipe: cannot be replaced, is written in place */
    const char *target; /* the file to replace: `path` with symbolic links followed */
    char *temporary;    /* NULL where there is none (any more) */
    Output *next;
};

struct Outputs {
    Arena *arena;
    Output *first, **end;
};

Outputs *outputs_create(Arena *arena) {
    Outputs *outputs = ARENA_NEW(arena, Outputs);
    outputs->arena = arena;
    outputs->end = &outputs->first;
    return outputs;
}

Text *outputs_open(Outputs *outputs, const char *path) {
    Output *output = ARENA_NEW(outputs->arena, Output);
    output->path = path;
    text_init(&output->text, outputs->arena);
    *outputs->end = output;
    outputs->end = &output->next;
    return &output->text;
}

static bool is_standard_output(const Output *output) {
    return strcmp(output->path, "-") == 0;
}

/* Where the bytes go: in place, or by way of a temporary file. */
static void resolve(Arena *arena, Output *output) {
    struct stat status;
    output->target = output->path;
    if (is_standard_output(output)) {
        output->direct = true;
    } else if (stat(output->path, &status) == 0) {
        output->direct = !S_ISREG(status.st_mode);
        char *followed = realpath(output->path, NULL);
        if (followed) {
            output->target = arena_copy(arena, followed, strlen(followed));
            free(followed);
        }
    }
}

static bool write_all(FILE *file, const Text *text) {
    return fwrite(text->bytes, 1, text->length, file) == text->length && fflush(file) == 0;
}

/* Closes the file whatever happened before; errno tells the first failure. */
static bool close_after(FILE *file, bool good) {
    int reason = errno;
    bool closed = fclose(file) == 0;
    if (!good)
        errno = reason;
    return good && closed;
}

/* The mode that a new file gets, or that of the file which is replaced. */
static mode_t mode_of(const char *path) {
    struct stat status;
    if (stat(path, &status) == 0)
        return status.st_mode & 07777;
    mode_t mask = umask(0);
    umask(mask);
    return 0666 & ~mask;
}

static bool write_temporary(Arena *arena, Output *output) {
    char *path = arena_format(arena, "%s.XXXXXX", output->target);
    int descriptor = mkstemp(path);
    if (descriptor < 0)
        return false;
    output->temporary = path;
    FILE *file = fdopen(descriptor, "wb");
    if (!file) {
        close(descriptor);
        return false;
    }
    return close_after(file, write_all(file, &output->text) &&
                                 fchmod(descriptor, mode_of(output->target)) == 0);
}

static bool write_direct(const Output *output) {
    if (is_standard_output(output))
        return write_all(stdout, &output->text);
    FILE *file = fopen(output->path, "wb");
    return file && close_after(file, write_all(file, &output->text));
}

static bool replace(Output *output) {
    if (rename(output->temporary, output->target) != 0)
        return false;
    output->temporary = NULL;
    return true;
}

static void remove_temporaries(Outputs *outputs) {
    for (Output *output = outputs->first; output; output = output->next) {
        if (output->temporary)
            remove(output->temporary);
        output->temporary = NULL;
    }
}

/* One step for every output before the next step begins: nothing is replaced before all is written.
 */
static Output *commit(Outputs *outputs) {
    for (Output *output = outputs->first; output; output = output->next)
        resolve(outputs->arena, output);
    for (Output *output = outputs->first; output; output = output->next) {
        if (!output->direct && !write_temporary(outputs->arena, output))
            return output;
    }
    for (Output *output = outputs->first; output; output = output->next) {
        if (output->direct && !write_direct(output))
            return output;
    }
    for (Output *output = outputs->first; output; output = output->next) {
        if (!output->direct && !replace(output))
            return output;
    }
    return NULL;
}

bool outputs_commit(Outputs *outputs, const char **path, const char **problem) {
    errno = 0;
    Output *failed = commit(outputs);
    if (!failed)
        return true;
    *path = is_standard_output(failed) ? "standard output" : failed->path;
    *problem = strerror(errno ? errno : EIO);
    remove_temporaries(outputs);
    return false;
}

bool output_is_file(const char *path, const char *other) {
    struct stat a, b;
    return stat(path, &a) == 0 && stat(other, &b) == 0 && S_ISREG(a.st_mode) &&
           a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}
