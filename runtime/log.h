/* The training log: one JSON object per line and epoch, or CSV with a heading if the file's name
 * ends in .csv. It is appended to. After a resume, epochs that the log already has are left out:
 * they are the same. */
#ifndef CNNC_LOG_H
#define CNNC_LOG_H

#include "problem.h"

#include <stdio.h>

typedef struct TrainingLog {
    FILE *stream; /* NULL: no log */
    const char *path;
    bool csv;
    long last_epoch; /* epochs up to this one are in the file already */
} TrainingLog;

typedef struct LogEntry {
    long epoch; /* from 1 */
    uint64_t step;
    double learning_rate;
    double train_loss, train_accuracy;
    double validation_loss, validation_accuracy;
    double seconds, images_per_second;
    bool has_accuracy, has_validation;
} LogEntry;

/* path NULL: no log. */
RUNTIME_API bool log_open(TrainingLog *log, const char *path, bool resume, Problem *problem);
RUNTIME_API bool log_write(TrainingLog *log, const LogEntry *entry, Problem *problem);
RUNTIME_API void log_close(TrainingLog *log);

#endif
