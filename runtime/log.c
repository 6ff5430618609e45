#include "log.h"
#include "file.h"
#include "platform.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LOG_FIELDS 9

/* The epoch in the last line of the text, 0 if there is none. */
static long log_last_epoch(const char *text, bool csv) {
    const char *line = strrchr(text, '\n');
    if (line == NULL) {
        return 0;
    }
    /* An unfinished line does not count. */
    const char *end = line;
    while (line > text && line[-1] != '\n') {
        line--;
    }
    const char *number = csv ? line : strstr(line, "\"epoch\":");
    if (number == NULL || number > end) {
        return 0;
    }
    return strtol(csv ? number : number + strlen("\"epoch\":"), NULL, 10);
}

/* Looks at what is in the file: the last epoch, whether it is empty, whether its last line is cut.
 */
static bool log_inspect(TrainingLog *log, bool *empty, bool *cut, Problem *problem) {
    size_t size;
    *empty = true;
    *cut = false;
    if (!path_is_replaceable(log->path) || !path_exists(log->path)) {
        return true;
    }
    char *text = (char *)file_read(log->path, &size, problem);
    if (text == NULL) {
        return false;
    }
    *empty = size == 0;
    *cut = size > 0 && text[size - 1] != '\n';
    log->last_epoch = log_last_epoch(text, log->csv);
    free(text);
    return true;
}

RUNTIME_API bool log_open(TrainingLog *log, const char *path, bool resume, Problem *problem) {
    bool empty, cut;
    *log = (TrainingLog){.path = path};
    if (path == NULL) {
        return true;
    }
    log->csv = text_ends_with(path, ".csv");
    if (!log_inspect(log, &empty, &cut, problem)) {
        return false;
    }
    if (!resume) {
        log->last_epoch = 0;
    }
    log->stream = fopen(path, "ab");
    if (log->stream == NULL) {
        return problem_add(problem, "%s: cannot write: %s", path, strerror(errno));
    }
    if (cut) {
        fprintf(log->stream, "\n");
    }
    if (log->csv && empty) {
        fprintf(log->stream,
                "epoch,step,learning_rate,train_loss,train_accuracy,validation_loss,"
                "validation_accuracy,seconds,images_per_second\n");
    }
    return true;
}

RUNTIME_API bool log_write(TrainingLog *log, const LogEntry *entry, Problem *problem) {
    if (log->stream == NULL || entry->epoch <= log->last_epoch) {
        return true;
    }
    const struct {
        const char *name;
        bool known;
        double value;
    } fields[LOG_FIELDS] = {
        {"epoch", true, (double)entry->epoch},
        {"step", true, (double)entry->step},
        {"learning_rate", true, entry->learning_rate},
        {"train_loss", true, entry->train_loss},
        {"train_accuracy", entry->has_accuracy, entry->train_accuracy},
        {"validation_loss", entry->has_validation, entry->validation_loss},
        {"validation_accuracy", entry->has_validation && entry->has_accuracy,
         entry->validation_accuracy},
        {"seconds", true, entry->seconds},
        {"images_per_second", true, entry->images_per_second},
    };
    bool first = true;
    fprintf(log->stream, "%s", log->csv ? "" : "{");
    for (int i = 0; i < LOG_FIELDS; i++) {
        bool known = fields[i].known && isfinite(fields[i].value);
        if (log->csv) {
            fprintf(log->stream, "%s", i > 0 ? "," : "");
        } else if (known) {
            fprintf(log->stream, "%s\"%s\":", first ? "" : ",", fields[i].name);
        }
        if (known) {
            fprintf(log->stream, "%.9g", fields[i].value);
            first = false;
        }
    }
    fprintf(log->stream, "%s\n", log->csv ? "" : "}");
    if (fflush(log->stream) != 0 || ferror(log->stream)) {
        return problem_add(problem, "%s: cannot write: %s", log->path, strerror(errno));
    }
    return true;
}

RUNTIME_API void log_close(TrainingLog *log) {
    if (log->stream != NULL) {
        fclose(log->stream);
        log->stream = NULL;
    }
}
