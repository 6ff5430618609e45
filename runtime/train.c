#include "train.h"
#include "checkpoint.h"
#include "evaluate.h"
#include "file.h"
#include "initialise.h"
#include "log.h"
#include "optimizer.h"
#include "parallel.h"
#include "platform.h"
#include "progress.h"
#include "rng.h"
#include "threads.h"

#include <math.h>
#include <stdlib.h>

typedef struct Trainer {
    const NetworkInfo *info;
    const TrainOptions *options;
    TrainSettings settings;
    Network *network;
    TrainerState state;
    DataSet training, test; /* test.format == NULL: there is none */
    size_t *split;          /* all training examples: those to train on first, then the held back */
    size_t train_count, held_back;
    size_t *order, *batch_indices; /* of this epoch */
    size_t *test_indices;
    long batches;
    ThreadChoice threads;
    Progress progress;
    TrainingLog log;
    char *last_path, *best_path;
    double saved; /* when the last checkpoint was written, in seconds */
} Trainer;

static bool train_open_data(Trainer *trainer, Problem *problem) {
    const TrainOptions *options = trainer->options;
    DataSettings test = options->data;
    DataPart part = DATA_TEST;
    if (!data_open(&trainer->training, trainer->info, &options->data, DATA_TRAINING,
                   trainer->settings.seed, problem)) {
        return false;
    }
    if (options->data.validation_path != NULL) {
        test.path = options->data.validation_path;
        part = data_has(&test, DATA_TEST) ? DATA_TEST : DATA_TRAINING;
    } else if (!data_has(&test, DATA_TEST)) {
        return true;
    }
    return data_open(&trainer->test, trainer->info, &test, part, trainer->settings.seed, problem) &&
           (trainer->test_indices = evaluate_all_indices(trainer->test.count, problem)) != NULL;
}

/* Holds a part of the training data back: the same for every run with this seed. */
static bool train_split_data(Trainer *trainer, Problem *problem) {
    size_t count = trainer->training.count;
    trainer->held_back = (size_t)((double)count * trainer->settings.validate);
    trainer->train_count = count - trainer->held_back;
    trainer->split = evaluate_all_indices(count, problem);
    trainer->order = evaluate_all_indices(count, problem);
    trainer->batch_indices = evaluate_all_indices((size_t)trainer->settings.batch, problem);
    if (trainer->split == NULL || trainer->order == NULL || trainer->batch_indices == NULL) {
        return false;
    }
    if (trainer->train_count == 0) {
        return problem_add(problem,
                           "%s: nothing is left to train on: %zu examples, of which %zu "
                           "are held back",
                           trainer->training.name, count, trainer->held_back);
    }
    if (trainer->held_back > 0) {
        random_permutation(random_key(trainer->settings.seed, RANDOM_VALIDATION_SPLIT, 0), count,
                           trainer->split);
    }
    size_t batch = (size_t)trainer->settings.batch;
    trainer->batches = (long)((trainer->train_count + batch - 1) / batch);
    return true;
}

static bool train_check_resumed(Trainer *trainer, const TrainerState *state, Problem *problem) {
    const TrainOptions *options = trainer->options;
    TrainSettings *settings = &trainer->settings;
    const char *path = trainer->last_path;
    bool good = true;
    if (options->batch_given && state->batch != settings->batch) {
        good = problem_add(problem, "%s: it was made with --batch %ld, not %d", path, state->batch,
                           settings->batch);
    }
    if (options->seed_given && state->seed != settings->seed) {
        good = problem_add(problem, "%s: it was made with --seed %llu, not %llu", path,
                           (unsigned long long)state->seed, settings->seed);
    }
    if (options->validate_given && state->validate != settings->validate) {
        good = problem_add(problem, "%s: it was made with --validate %g, not %g", path,
                           state->validate, settings->validate);
    }
    if (state->batch > trainer->info->max_batch) {
        good = problem_add(problem, "%s: its batches of %ld are larger than this program's %d",
                           path, state->batch, trainer->info->max_batch);
    }
    return good;
}

/* Reads the checkpoint, if there is one to resume, before the data are opened: the seed decides
 * about both. */
static bool train_begin_state(Trainer *trainer, bool *resumed, Problem *problem) {
    const TrainOptions *options = trainer->options;
    TrainSettings *settings = &trainer->settings;
    TrainerState *state = &trainer->state;
    *resumed = options->resume && path_exists(trainer->last_path);
    if (*resumed) {
        if (!checkpoint_load(trainer->network, settings, state, trainer->last_path, problem) ||
            !train_check_resumed(trainer, state, problem)) {
            return false;
        }
        settings->batch = (int)state->batch;
        settings->seed = state->seed;
        settings->validate = state->validate;
        if (options->learning_rate_given) {
            state->learning_rate = settings->learning_rate;
        }
        settings->learning_rate = state->learning_rate;
        return true;
    }
    if (options->resume && options->progress != NULL) {
        fprintf(options->progress, "%s: no checkpoint yet, starting from the beginning\n",
                trainer->last_path);
    }
    *state = (TrainerState){.seed = settings->seed,
                            .batch = settings->batch,
                            .learning_rate = settings->learning_rate,
                            .validate = settings->validate,
                            .best = -HUGE_VAL};
    schedule_begin(&state->schedule);
    initialise_parameters(trainer->network, settings->seed);
    return true;
}

static bool train_save(Trainer *trainer, const char *path, Problem *problem) {
    trainer->saved = clock_seconds();
    return checkpoint_save(trainer->network, &trainer->settings, &trainer->state, path, problem);
}

static bool train_begin(Trainer *trainer, Problem *problem) {
    const TrainOptions *options = trainer->options;
    bool resumed = false;
    if (!directory_create(options->directory, problem)) {
        return false;
    }
    trainer->last_path = path_join(options->directory, "last.safetensors");
    trainer->best_path = path_join(options->directory, "best.safetensors");
    trainer->network = network_create(trainer->info, problem);
    if (trainer->last_path == NULL || trainer->best_path == NULL) {
        return problem_out_of_memory(problem, "paths");
    }
    if (trainer->network == NULL ||
        !optimizer_create_state(trainer->network, &trainer->settings, problem) ||
        !train_begin_state(trainer, &resumed, problem) || !train_open_data(trainer, problem) ||
        !train_split_data(trainer, problem)) {
        return false;
    }
    if (resumed && trainer->state.examples != trainer->training.count) {
        return problem_add(problem, "%s: it was made with %llu training examples, found %zu",
                           trainer->last_path, (unsigned long long)trainer->state.examples,
                           trainer->training.count);
    }
    trainer->state.examples = trainer->training.count;
    trainer->saved = clock_seconds();
    trainer->threads = thread_choice(parallel_threads(), trainer->saved);
    return log_open(&trainer->log, options->log, resumed, problem);
}

static void train_end(Trainer *trainer) {
    log_close(&trainer->log);
    data_close(&trainer->training);
    data_close(&trainer->test);
    network_free(trainer->network);
    free(trainer->split);
    free(trainer->order);
    free(trainer->batch_indices);
    free(trainer->test_indices);
    free(trainer->last_path);
    free(trainer->best_path);
}

static bool train_step(Trainer *trainer, double *learning_rate, Problem *problem) {
    TrainerState *state = &trainer->state;
    Network *network = trainer->network;
    const size_t batch = (size_t)trainer->settings.batch;
    const size_t begin = (size_t)state->batches_done * batch;
    const size_t left = trainer->train_count - begin;
    const int size = left < batch ? (int)left : (int)batch;
    Metrics metrics;

    for (int i = 0; i < size; i++) {
        trainer->batch_indices[i] = trainer->split[trainer->order[begin + (size_t)i]];
    }
    data_read_batch(&trainer->training, trainer->batch_indices, size, network);
    network->random_key = random_key(state->seed, RANDOM_TRAINING_STEP, state->step);
    *learning_rate = schedule_rate(&trainer->settings, &state->schedule, state->epoch,
                                   state->batches_done, trainer->batches);
    optimizer_begin_step(network, &trainer->settings, *learning_rate, ++state->step);
    network_train(network, size);
    if (!metrics_begin(&metrics, trainer->info, false, problem)) {
        return false;
    }
    metrics_add(&metrics, network, size);
    if (!isfinite(metrics.loss)) {
        return problem_add(problem,
                           "the loss is not finite at epoch %ld, batch %ld: try a lower learning "
                           "rate (--lr); the last checkpoint is from before",
                           state->epoch + 1, state->batches_done + 1);
    }
    state->batches_done++;
    state->epoch_loss += metrics.loss;
    state->epoch_examples += metrics.examples;
    state->epoch_positions += metrics.positions;
    state->epoch_top1 += metrics.top1;
    state->epoch_top5 += metrics.top5;
    return true;
}

static Metrics train_epoch_metrics(const Trainer *trainer) {
    const TrainerState *state = &trainer->state;
    return (Metrics){.classes = trainer->info->target_is_label ? 1 : 0,
                     .examples = (size_t)state->epoch_examples,
                     .positions = (size_t)state->epoch_positions,
                     .top1 = (size_t)state->epoch_top1,
                     .top5 = (size_t)state->epoch_top5,
                     .loss = state->epoch_loss};
}

/* Evaluates on the examples held back, else on the test set; false if there is neither. */
static bool train_validate(Trainer *trainer, Metrics *metrics, Problem *problem) {
    const DataSet *set = trainer->held_back > 0 ? &trainer->training : &trainer->test;
    if (set->format == NULL || !metrics_begin(metrics, trainer->info, false, problem)) {
        return false;
    }
    evaluate(trainer->network, set,
             trainer->held_back > 0 ? trainer->split + trainer->train_count : trainer->test_indices,
             trainer->held_back > 0 ? trainer->held_back : trainer->test.count,
             trainer->settings.batch, metrics);
    return true;
}

static void train_epoch_line(const Trainer *trainer, const LogEntry *entry, char *line,
                             size_t size) {
    char accuracy[48] = "", validation[96] = "", validation_accuracy[48] = "";
    if (entry->has_accuracy) {
        snprintf(accuracy, sizeof accuracy, "  accuracy %.2f %%", 100 * entry->train_accuracy);
        snprintf(validation_accuracy, sizeof validation_accuracy, "  accuracy %.2f %%",
                 100 * entry->validation_accuracy);
    }
    if (entry->has_validation) {
        snprintf(validation, sizeof validation, "  | %s loss %.4f%s",
                 trainer->held_back > 0 ? "validation" : "test", entry->validation_loss,
                 validation_accuracy);
    }
    snprintf(line, size, "epoch %ld/%d  loss %.4f%s%s  %.0f images/s", entry->epoch,
             trainer->settings.epochs, entry->train_loss, accuracy, validation,
             entry->images_per_second);
}

/* Validation, schedule, log, checkpoints. */
static bool train_end_epoch(Trainer *trainer, double learning_rate, double examples,
                            Problem *problem) {
    TrainerState *state = &trainer->state;
    Metrics training = train_epoch_metrics(trainer), validation = {0};
    double seconds = clock_seconds() - trainer->progress.epoch_begin;
    bool validated = train_validate(trainer, &validation, problem);
    const Metrics *judged = validated ? &validation : &training;
    LogEntry entry = {.epoch = state->epoch + 1,
                      .step = state->step,
                      .learning_rate = learning_rate,
                      .train_loss = metrics_loss(&training),
                      .train_accuracy = metrics_accuracy(&training),
                      .validation_loss = metrics_loss(&validation),
                      .validation_accuracy = metrics_accuracy(&validation),
                      .seconds = seconds,
                      .images_per_second = seconds > 0 ? examples / seconds : 0,
                      .has_accuracy = trainer->info->target_is_label != 0,
                      .has_validation = validated};
    double merit = entry.has_accuracy ? metrics_accuracy(judged) : -metrics_loss(judged);
    bool improved = merit > state->best;
    char line[384];

    train_epoch_line(trainer, &entry, line, sizeof line);
    progress_end_epoch(&trainer->progress, line);
    schedule_end_epoch(&trainer->settings, &state->schedule, metrics_loss(judged));
    if (improved) {
        state->best = merit;
        state->best_epoch = entry.epoch;
    }
    state->epoch++;
    state->batches_done = 0;
    state->epoch_loss = 0;
    state->epoch_examples = state->epoch_positions = state->epoch_top1 = state->epoch_top5 = 0;
    return log_write(&trainer->log, &entry, problem) &&
           (!improved || train_save(trainer, trainer->best_path, problem)) &&
           train_save(trainer, trainer->last_path, problem);
}

static void train_show_progress(Trainer *trainer, double examples) {
    const TrainerState *state = &trainer->state;
    Metrics metrics = train_epoch_metrics(trainer);
    ProgressState shown = {.epoch = state->epoch,
                           .batch = state->batches_done,
                           .loss = metrics_loss(&metrics),
                           .accuracy = metrics_accuracy(&metrics),
                           .examples = examples};
    progress_update(&trainer->progress, &shown);
}

static TrainResult train_epoch(Trainer *trainer, Problem *problem) {
    TrainerState *state = &trainer->state;
    const uint64_t already_done = state->epoch_examples;
    double learning_rate = schedule_rate(&trainer->settings, &state->schedule, state->epoch,
                                         trainer->batches - 1, trainer->batches);
    random_permutation(random_key(state->seed, RANDOM_EPOCH_ORDER, (uint64_t)state->epoch),
                       trainer->train_count, trainer->order);
    progress_begin_epoch(&trainer->progress);
    while (state->batches_done < trainer->batches) {
        double begin = clock_seconds();
        if (!train_step(trainer, &learning_rate, problem)) {
            return TRAIN_FAILED;
        }
        double end = clock_seconds();
        parallel_set_threads(thread_choice_step(&trainer->threads, end, end - begin));
        train_show_progress(trainer, (double)(state->epoch_examples - already_done));
        if (interrupt_pending()) {
            return train_save(trainer, trainer->last_path, problem) ? TRAIN_INTERRUPTED
                                                                    : TRAIN_FAILED;
        }
        if (clock_seconds() - trainer->saved >= trainer->options->save_seconds &&
            !train_save(trainer, trainer->last_path, problem)) {
            return TRAIN_FAILED;
        }
    }
    bool good = train_end_epoch(trainer, learning_rate,
                                (double)(state->epoch_examples - already_done), problem);
    return !good ? TRAIN_FAILED : interrupt_pending() ? TRAIN_INTERRUPTED : TRAIN_DONE;
}

/* The result of the run: on the test set, else on what was held back, else on the training data. */
static bool train_report(Trainer *trainer, Problem *problem) {
    const DataSet *set = trainer->test.format != NULL ? &trainer->test : &trainer->training;
    const size_t *indices = trainer->test_indices;
    const char *what = "test";
    char accuracy[64] = "";
    size_t count = set->count;
    Metrics metrics;
    if (trainer->test.format == NULL) {
        what = trainer->held_back > 0 ? "validation" : "training";
        indices = trainer->split + (trainer->held_back > 0 ? trainer->train_count : 0);
        count = trainer->held_back > 0 ? trainer->held_back : count;
    }
    if (!metrics_begin(&metrics, trainer->info, false, problem)) {
        return false;
    }
    evaluate(trainer->network, set, indices, count, trainer->settings.batch, &metrics);
    if (trainer->info->target_is_label) {
        snprintf(accuracy, sizeof accuracy, "accuracy %.2f %%  ", 100 * metrics_accuracy(&metrics));
    }
    fprintf(trainer->options->results, "%s %sloss %.4f  (%s, %zu images)\n", what, accuracy,
            metrics_loss(&metrics), set->name, count);
    return true;
}

static TrainResult train_run(Trainer *trainer, Problem *problem) {
    TrainerState *state = &trainer->state;
    TrainResult result = TRAIN_DONE;
    interrupts_defer();
    progress_begin(&trainer->progress, trainer->options->progress, trainer->settings.epochs,
                   trainer->batches, trainer->info->target_is_label != 0, state->epoch,
                   state->batches_done);
    if (state->step == 0 && !train_save(trainer, trainer->last_path, problem)) {
        return TRAIN_FAILED;
    }
    while (result == TRAIN_DONE && state->epoch < trainer->settings.epochs) {
        result = train_epoch(trainer, problem);
    }
    if (result == TRAIN_DONE && !train_report(trainer, problem)) {
        result = TRAIN_FAILED;
    }
    return result;
}

RUNTIME_API TrainResult train(const NetworkInfo *info, const TrainOptions *options,
                              Problem *problem) {
    Trainer trainer = {.info = info, .options = options, .settings = options->settings};
    TrainResult result = TRAIN_FAILED;
    if (train_begin(&trainer, problem)) {
        result = train_run(&trainer, problem);
    }
    train_end(&trainer);
    return result;
}
