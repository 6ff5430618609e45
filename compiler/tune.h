/* --tune: makes the program several times, each time with other answers to the questions of
 * tuning.h, measures all of them on this machine and settles every question on the fastest. */
#ifndef CNNC_TUNE_H
#define CNNC_TUNE_H

#include "emit.h"
#include "tuning.h"

typedef struct TuneTask {
    Arena *arena;
    const char *cache_path; /* NULL: the default place */
    const char *version, *target, *compiler_flags;
    bool double_precision;
    int threads; /* of the programs that are measured; 0: as many as the machine has processors */
    /* Makes the program with the answers that `tuning` gives at the moment and, where `out` is not
     * NULL, adds its text. NULL after an error that has been reported. */
    const Kernels *(*make)(void *context, Text *out);
    void *context;
} TuneTask;

/* What the cache knows is not measured; what has been measured goes there. Tells on standard error
 * how far it is. False with a message in *problem, or NULL there where it has been reported. Where
 * a signal ends this process, nothing is left behind. */
bool tune(const TuneTask *task, Tuning *tuning, const char **problem);

#endif
