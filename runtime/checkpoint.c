#include "checkpoint.h"
#include "optimizer.h"
#include "weights.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define CHECKPOINT_OPTIMIZER_KEY "trainer.optimizer"

typedef enum CheckpointFieldType {
    CHECKPOINT_LONG,
    CHECKPOINT_UNSIGNED,
    CHECKPOINT_DOUBLE
} CheckpointFieldType;

typedef struct CheckpointField {
    const char *key;
    CheckpointFieldType type;
    size_t offset;
} CheckpointField;

#define CHECKPOINT_FIELD(type, member)                                                             \
    { "trainer." #member, type, offsetof(TrainerState, member) }
static const CheckpointField checkpoint_fields[] = {
    CHECKPOINT_FIELD(CHECKPOINT_UNSIGNED, seed),
    CHECKPOINT_FIELD(CHECKPOINT_LONG, batch),
    CHECKPOINT_FIELD(CHECKPOINT_UNSIGNED, examples),
    CHECKPOINT_FIELD(CHECKPOINT_DOUBLE, learning_rate),
    CHECKPOINT_FIELD(CHECKPOINT_DOUBLE, validate),
    CHECKPOINT_FIELD(CHECKPOINT_LONG, epoch),
    CHECKPOINT_FIELD(CHECKPOINT_LONG, batches_done),
    CHECKPOINT_FIELD(CHECKPOINT_UNSIGNED, step),
    CHECKPOINT_FIELD(CHECKPOINT_DOUBLE, best),
    CHECKPOINT_FIELD(CHECKPOINT_LONG, best_epoch),
    CHECKPOINT_FIELD(CHECKPOINT_DOUBLE, schedule.factor),
    CHECKPOINT_FIELD(CHECKPOINT_DOUBLE, schedule.best),
    CHECKPOINT_FIELD(CHECKPOINT_LONG, schedule.bad_epochs),
    CHECKPOINT_FIELD(CHECKPOINT_DOUBLE, epoch_loss),
    CHECKPOINT_FIELD(CHECKPOINT_UNSIGNED, epoch_examples),
    CHECKPOINT_FIELD(CHECKPOINT_UNSIGNED, epoch_positions),
    CHECKPOINT_FIELD(CHECKPOINT_UNSIGNED, epoch_top1),
    CHECKPOINT_FIELD(CHECKPOINT_UNSIGNED, epoch_top5),
};
#define CHECKPOINT_FIELDS (sizeof checkpoint_fields / sizeof checkpoint_fields[0])

static void checkpoint_write_fields(const TrainerState *state, SafeMetadataSource *metadata) {
    for (size_t i = 0; i < CHECKPOINT_FIELDS; i++) {
        const CheckpointField *field = &checkpoint_fields[i];
        const void *at = (const char *)state + field->offset;
        char *text = metadata[i].value;
        const size_t size = sizeof metadata[i].value;
        metadata[i].key = field->key;
        switch (field->type) {
        case CHECKPOINT_LONG:
            snprintf(text, size, "%ld", *(const long *)at);
            break;
        case CHECKPOINT_UNSIGNED:
            snprintf(text, size, "%" PRIu64, *(const uint64_t *)at);
            break;
        case CHECKPOINT_DOUBLE: /* hexadecimal, exact */
            snprintf(text, size, "%a", *(const double *)at);
            break;
        }
    }
}

static bool checkpoint_read_fields(const SafeTensors *file, const char *path, TrainerState *state,
                                   Problem *problem) {
    bool good = true;
    for (size_t i = 0; i < CHECKPOINT_FIELDS; i++) {
        const CheckpointField *field = &checkpoint_fields[i];
        const char *text = safetensors_metadata(file, field->key);
        char *end = NULL;
        void *at = (char *)state + field->offset;
        if (text == NULL) {
            good = problem_add(problem, "%s: %s is missing: not a checkpoint", path, field->key);
            continue;
        }
        errno = 0;
        switch (field->type) {
        case CHECKPOINT_LONG:
            *(long *)at = strtol(text, &end, 10);
            break;
        case CHECKPOINT_UNSIGNED:
            *(uint64_t *)at = strtoull(text, &end, 10);
            break;
        case CHECKPOINT_DOUBLE:
            *(double *)at = strtod(text, &end);
            break;
        }
        bool range = errno == ERANGE && field->type != CHECKPOINT_DOUBLE;
        if (end == text || *end != '\0' || range) {
            good = problem_add(problem, "%s: %s is damaged: '%.40s'", path, field->key, text);
        }
    }
    if (good && (state->epoch < 0 || state->batches_done < 0 || state->batch < 1)) {
        good = problem_add(problem, "%s: its position is impossible", path);
    }
    return good;
}

static int checkpoint_trainable_count(const NetworkInfo *info) {
    int count = 0;
    for (int i = 0; i < info->parameter_tensors; i++) {
        count += info->parameters[i].trainable != 0;
    }
    return count;
}

RUNTIME_API bool checkpoint_save(const Network *network, const TrainSettings *settings,
                                 const TrainerState *state, const char *path, Problem *problem) {
    const NetworkInfo *info = network->info;
    const OptimizerDef *optimizer = optimizer_find(settings->optimizer);
    const int states = optimizer_state_count(settings);
    size_t count = 0, most = (size_t)info->parameter_tensors +
                             (size_t)states * (size_t)checkpoint_trainable_count(info);
    SafeTensorSource *sources = calloc(most + 1, sizeof *sources);
    SafeMetadataSource metadata[CHECKPOINT_FIELDS + 1] = {{0}};
    if (sources == NULL) {
        return problem_out_of_memory(problem, path);
    }
    for (int i = 0; i < info->parameter_tensors; i++) {
        weights_describe(&info->parameters[i], "", network->parameters + info->parameters[i].offset,
                         &sources[count++]);
    }
    for (int s = 0; s < states; s++) {
        const real *numbers = network->optimizer_state + (size_t)s * info->trainable_size;
        char prefix[64];
        snprintf(prefix, sizeof prefix, "optimizer.%s.", optimizer->state_names[s]);
        for (int i = 0; i < info->parameter_tensors; i++) {
            if (info->parameters[i].trainable) {
                weights_describe(&info->parameters[i], prefix, numbers + info->parameters[i].offset,
                                 &sources[count++]);
            }
        }
    }
    checkpoint_write_fields(state, metadata);
    metadata[CHECKPOINT_FIELDS].key = CHECKPOINT_OPTIMIZER_KEY;
    snprintf(metadata[CHECKPOINT_FIELDS].value, sizeof metadata[0].value, "%s", optimizer->name);
    bool good = safetensors_write(path, sources, count, metadata, CHECKPOINT_FIELDS + 1, problem);
    free(sources);
    return good;
}

/* Two passes: all tensors are checked before the first is copied. */
static bool checkpoint_read_optimizer(Network *network, const TrainSettings *settings,
                                      const SafeTensors *file, const char *path, bool copy,
                                      Problem *problem) {
    const NetworkInfo *info = network->info;
    const OptimizerDef *optimizer = optimizer_find(settings->optimizer);
    bool good = true;
    for (int s = 0; s < optimizer_state_count(settings); s++) {
        real *numbers = network->optimizer_state + (size_t)s * info->trainable_size;
        for (int i = 0; i < info->parameter_tensors; i++) {
            const ParameterInfo *parameter = &info->parameters[i];
            char name[512];
            if (!parameter->trainable) {
                continue;
            }
            snprintf(name, sizeof name, "optimizer.%s.%s", optimizer->state_names[s],
                     parameter->name);
            const SafeTensor *tensor = safetensors_find(file, name);
            if (tensor == NULL) {
                good = problem_add(problem, "%s: %s is missing", path, name);
            } else if (!copy) {
                good = weights_tensor_fits(path, tensor, parameter, problem) && good;
            } else {
                weights_copy(file, tensor, parameter, numbers + parameter->offset);
            }
        }
    }
    return good;
}

RUNTIME_API bool checkpoint_load(Network *network, const TrainSettings *settings,
                                 TrainerState *state, const char *path, Problem *problem) {
    const char *expected = optimizer_find(settings->optimizer)->name;
    SafeTensors file;
    TrainerState loaded = {0};
    Problem warning;
    problem_clear(&warning);
    if (!safetensors_read(path, &file, problem)) {
        return false;
    }
    const char *optimizer = safetensors_metadata(&file, CHECKPOINT_OPTIMIZER_KEY);
    bool good = checkpoint_read_fields(&file, path, &loaded, problem);
    if (good && (optimizer == NULL || strcmp(optimizer, expected) != 0)) {
        good = problem_add(problem, "%s: it was made with the optimizer %.40s, this program has %s",
                           path, optimizer != NULL ? optimizer : "(none)", expected);
    }
    good = good && checkpoint_read_optimizer(network, settings, &file, path, false, problem) &&
           weights_apply(network, path, &file, problem, &warning) &&
           checkpoint_read_optimizer(network, settings, &file, path, true, problem);
    safetensors_free(&file);
    if (good) {
        *state = loaded;
    }
    return good;
}
