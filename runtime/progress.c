#include "progress.h"
#include "platform.h"

#include <string.h>

#define PROGRESS_TERMINAL_INTERVAL 0.1 /* seconds */
#define PROGRESS_PLAIN_INTERVAL 10.0

RUNTIME_API void progress_begin(Progress *progress, FILE *stream, long epochs, long batches,
                                bool has_accuracy, long epoch, long batch) {
    *progress = (Progress){.stream = stream,
                           .terminal = stream != NULL && stream_is_terminal(stream),
                           .has_accuracy = has_accuracy,
                           .epochs = epochs,
                           .batches = batches,
                           .begin = clock_seconds(),
                           .first_epoch = epoch,
                           .first_batch = batch};
    progress->shown = progress->begin;
}

RUNTIME_API void progress_begin_epoch(Progress *progress) {
    progress->epoch_begin = clock_seconds();
}

RUNTIME_API double progress_rate(const Progress *progress, double examples) {
    double seconds = clock_seconds() - progress->epoch_begin;
    return seconds > 0 ? examples / seconds : 0;
}

static void progress_duration(double seconds, char *text, size_t size) {
    double whole = seconds < 360000 ? seconds : 360000 - 1;
    long total = (long)(whole + 0.5);
    if (total >= 3600) {
        snprintf(text, size, "%ld:%02ld:%02ld", total / 3600, total / 60 % 60, total % 60);
    } else {
        snprintf(text, size, "%ld:%02ld", total / 60, total % 60);
    }
}

/* Replaces what stands on the terminal's line. */
static void progress_show(Progress *progress, const char *line, bool permanent) {
    size_t width = strlen(line);
    if (progress->terminal) {
        int blanks = progress->width > width ? (int)(progress->width - width) : 0;
        fprintf(progress->stream, "\r%s%*s%s", line, blanks, "", permanent ? "\n" : "");
        progress->width = permanent ? 0 : width;
    } else {
        fprintf(progress->stream, "%s\n", line);
    }
    fflush(progress->stream);
}

RUNTIME_API void progress_update(Progress *progress, const ProgressState *state) {
    double now = progress->stream != NULL ? clock_seconds() : 0;
    double interval = progress->terminal ? PROGRESS_TERMINAL_INTERVAL : PROGRESS_PLAIN_INTERVAL;
    if (progress->stream == NULL || now - progress->shown < interval) {
        return;
    }
    progress->shown = now;
    double done = (double)(state->epoch - progress->first_epoch) * (double)progress->batches +
                  (double)(state->batch - progress->first_batch);
    double left = (double)(progress->epochs - state->epoch) * (double)progress->batches -
                  (double)state->batch;
    char line[256], accuracy[48] = "", duration[32];
    progress_duration(done > 0 ? (now - progress->begin) / done * left : 0, duration,
                      sizeof duration);
    if (progress->has_accuracy) {
        snprintf(accuracy, sizeof accuracy, "  accuracy %.2f %%", 100 * state->accuracy);
    }
    snprintf(line, sizeof line, "epoch %ld/%ld  batch %ld/%ld  loss %.4f%s  %.0f images/s  %s left",
             state->epoch + 1, progress->epochs, state->batch, progress->batches, state->loss,
             accuracy, progress_rate(progress, state->examples), duration);
    progress_show(progress, line, false);
}

RUNTIME_API void progress_end_epoch(Progress *progress, const char *line) {
    if (progress->stream != NULL) {
        progress_show(progress, line, true);
        progress->shown = clock_seconds();
    }
}
