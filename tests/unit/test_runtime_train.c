/* Optimizers against their formulas, schedules, metrics, checkpoints, the log, options. */
#include "checkpoint.h"
#include "file.h"
#include "log.h"
#include "metrics.h"
#include "optimizer.h"
#include "options.h"
#include "rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT 40

static Problem problem;

static int setup(void **state) {
    (void)state;
    problem_clear(&problem);
    return 0;
}

static const ParameterInfo parameters[] = {
    {"fc1.weight", 2, {6, 5}, 1, 5, 0, 30, 1, INITIAL_CONSTANT, 0, NULL},
    {"fc1.bias", 1, {10}, 1, 1, 30, 10, 1, INITIAL_CONSTANT, 0, NULL},
    {"bn1.running_var", 1, {3}, 1, 1, 40, 3, 0, INITIAL_CONSTANT, 1, NULL},
};
static const NetworkInfo info = {.name = "test",
                                 .max_batch = 4,
                                 .trainable = 1,
                                 .parameter_tensors = 3,
                                 .parameters = parameters,
                                 .parameter_size = 43,
                                 .trainable_size = COUNT};

static double gradient_at(int step, int i) {
    return random_gaussian(77, (uint32_t)step, (uint64_t)i);
}

/* Runs ten steps with the optimizer; returns the network, whose weights began as i/10 - 2. */
static Network *run_steps(const TrainSettings *settings) {
    Network *network = network_create(&info, &problem);
    assert_true(optimizer_create_state(network, settings, &problem));
    for (int i = 0; i < COUNT; i++) {
        network->parameters[i] = (real)(i / 10.0 - 2);
    }
    for (int step = 1; step <= 10; step++) {
        real gradients[COUNT];
        for (int i = 0; i < COUNT; i++) {
            gradients[i] = (real)gradient_at(step, i);
        }
        optimizer_begin_step(network, settings, settings->learning_rate, (uint64_t)step);
        /* Parameter by parameter, from the last to the first, as the backward pass does. */
        optimizer_update(network, network->parameters + COUNT / 2, gradients + COUNT / 2,
                         COUNT - COUNT / 2);
        optimizer_update(network, network->parameters, gradients, COUNT / 2);
    }
    return network;
}

static void assert_near(double found, double expected) {
    if (!(fabs(found - expected) <= 2e-5 * fmax(1, fabs(expected)))) {
        fail_msg("expected %.9g, found %.9g", expected, found);
    }
}

static void sgd_follows_its_formula(void **state) {
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        TrainSettings settings = {.optimizer = OPTIMIZER_SGD,
                                  .learning_rate = 0.03,
                                  .momentum = kind > 0 ? 0.9 : 0,
                                  .nesterov = kind == 2,
                                  .weight_decay = 0.01};
        Network *network = run_steps(&settings);
        assert_int_equal(optimizer_state_count(&settings), kind > 0);
        for (int i = 0; i < COUNT; i++) {
            double w = i / 10.0 - 2, v = 0;
            for (int step = 1; step <= 10; step++) {
                double g = gradient_at(step, i) + 0.01 * w;
                v = settings.momentum * v + g;
                w -= 0.03 * (kind == 2 ? g + 0.9 * v : v);
            }
            assert_near((double)network->parameters[i], w);
        }
        assert_true(network->parameters[40] == 0); /* running statistics are left alone */
        network_free(network);
    }
}

static void adam_follows_its_formula(void **state) {
    const TrainSettings settings = {.optimizer = OPTIMIZER_ADAM,
                                    .learning_rate = 0.01,
                                    .beta1 = 0.9,
                                    .beta2 = 0.99,
                                    .epsilon = 1e-6,
                                    .weight_decay = 0.1};
    Network *network = run_steps(&settings);
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        double w = i / 10.0 - 2, m = 0, v = 0;
        for (int t = 1; t <= 10; t++) {
            double g = gradient_at(t, i) + 0.1 * w;
            m = 0.9 * m + 0.1 * g;
            v = 0.99 * v + 0.01 * g * g;
            w -= 0.01 / (1 - pow(0.9, t)) * m / (sqrt(v) / sqrt(1 - pow(0.99, t)) + 1e-6);
        }
        assert_near((double)network->parameters[i], w);
    }
    network_free(network);
}

static void schedules(void **state) {
    TrainSettings settings = {.learning_rate = 2, .schedule = SCHEDULE_CONSTANT};
    ScheduleState schedule;
    (void)state;
    schedule_begin(&schedule);
    assert_true(schedule_rate(&settings, &schedule, 7, 3, 10) == 2);

    settings.warmup = 2;
    assert_near(schedule_rate(&settings, &schedule, 0, 0, 10), 2 * 0.05);
    assert_near(schedule_rate(&settings, &schedule, 1, 4, 10), 2 * 0.75);
    assert_near(schedule_rate(&settings, &schedule, 1, 9, 10), 2);
    assert_near(schedule_rate(&settings, &schedule, 2, 0, 10), 2);
    settings.warmup = 0;

    settings.schedule = SCHEDULE_STEP;
    settings.schedule_factor = 0.1;
    settings.schedule_every = 3;
    assert_near(schedule_rate(&settings, &schedule, 2, 0, 10), 2);
    assert_near(schedule_rate(&settings, &schedule, 3, 0, 10), 0.2);
    assert_near(schedule_rate(&settings, &schedule, 8, 0, 10), 0.02);
}

/* As torch's ReduceLROnPlateau: after more than `patience` epochs that are no better. */
static void plateau(void **state) {
    static const double losses[] = {1, 0.5, 0.6, 0.5, 0.55, 0.4, 0.41, 0.42, 0.43, 0.44};
    static const double factors[] = {1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01};
    const TrainSettings settings = {.learning_rate = 1,
                                    .schedule = SCHEDULE_PLATEAU,
                                    .schedule_factor = 0.1,
                                    .schedule_patience = 2};
    ScheduleState schedule;
    (void)state;
    schedule_begin(&schedule);
    for (int epoch = 0; epoch < 10; epoch++) {
        schedule_end_epoch(&settings, &schedule, losses[epoch]);
        assert_near(schedule_rate(&settings, &schedule, epoch, 0, 1), factors[epoch]);
    }
}

static void metrics_count_guesses(void **state) {
    static const NetworkInfo classes7 = {.name = "test",
                                         .max_batch = 4,
                                         .output_rank = 1,
                                         .output_dims = {7},
                                         .output_size = 7,
                                         .arena_size = 28,
                                         .target_is_label = 1,
                                         .target_size = 1};
    static const real scores[4][7] = {
        {9, 1, 2, 3, 4, 5, 6}, {9, 1, 2, 3, 4, 5, 6}, {9, 1, 2, 3, 4, 5, 6}, {1, 1, 0, 0, 0, 0, 0}};
    static const int32_t labels[4] = {0, 3, 2, 1};
    Metrics metrics;
    (void)state;
    Network *network = network_create(&classes7, &problem);
    memcpy(network->arena, scores, sizeof scores);
    memcpy(network->labels, labels, sizeof labels);
    for (int n = 0; n < 4; n++) {
        network->losses[n] = n + 1;
    }
    assert_true(metrics_begin(&metrics, &classes7, true, &problem));
    metrics_add(&metrics, network, 4);
    assert_int_equal(metrics.top1, 1); /* a tie goes to the lower class: the last one is wrong */
    assert_int_equal(metrics.top5, 3); /* label 2 is the sixth of its row */
    assert_near(metrics_loss(&metrics), 2.5);
    assert_near(metrics_accuracy(&metrics), 0.25);
    assert_int_equal(metrics.confusion[0], 1);
    assert_int_equal(metrics.confusion[3 * 7], 1);
    assert_int_equal(metrics.confusion[1 * 7], 1);
    network->arena[0] = (real)NAN;
    metrics_add(&metrics, network, 1);
    assert_int_equal(metrics.top1, 1);
    assert_true(metrics_write_confusion(&metrics, "confusion.csv", &problem));
    size_t size;
    unsigned char *text = file_read("confusion.csv", &size, &problem);
    assert_memory_equal(text, "1,0,0,0,0,0,1\n", 14);
    free(text);
    remove("confusion.csv");
    metrics_free(&metrics);
    network_free(network);
}

static void metrics_of_positions(void **state) {
    static const NetworkInfo map = {.name = "test",
                                    .max_batch = 1,
                                    .output_rank = 3,
                                    .output_dims = {2, 1, 3},
                                    .output_size = 6,
                                    .arena_size = 6,
                                    .target_is_label = 1,
                                    .target_size = 3};
    Metrics metrics;
    (void)state;
    Network *network = network_create(&map, &problem);
    const real scores[6] = {1, 1, 0, 0, 2, 5};
    const int32_t labels[3] = {0, 0, 1};
    memcpy(network->arena, scores, sizeof scores);
    memcpy(network->labels, labels, sizeof labels);
    assert_true(metrics_begin(&metrics, &map, false, &problem));
    metrics_add(&metrics, network, 1);
    assert_int_equal(metrics.positions, 3);
    assert_int_equal(metrics.top1, 2);
    network_free(network);
}

static void checkpoints_come_back_exactly(void **state) {
    const TrainSettings settings = {.optimizer = OPTIMIZER_ADAM,
                                    .learning_rate = 0.1,
                                    .beta1 = 0.9,
                                    .beta2 = 0.999,
                                    .epsilon = 1e-8};
    TrainSettings other_optimizer = {.optimizer = OPTIMIZER_SGD, .momentum = 0.9};
    const TrainerState saved = {.seed = UINT64_MAX,
                                .batch = 3,
                                .examples = 12345678901,
                                .learning_rate = 0.1,
                                .validate = 1.0 / 3,
                                .epoch = 7,
                                .batches_done = 9,
                                .step = 1234,
                                .best = -HUGE_VAL,
                                .best_epoch = 2,
                                .schedule = {0.1, 1e-310, 3},
                                .epoch_loss = 0.1 + 0.2,
                                .epoch_examples = 27,
                                .epoch_positions = 28,
                                .epoch_top1 = 5,
                                .epoch_top5 = 6};
    TrainerState loaded = {0};
    (void)state;
    Network *network = run_steps(&settings), *other = network_create(&info, &problem);
    assert_true(optimizer_create_state(other, &settings, &problem));
    assert_true(checkpoint_save(network, &settings, &saved, "check.st", &problem));
    assert_true(checkpoint_load(other, &settings, &loaded, "check.st", &problem));
    assert_memory_equal(&loaded, &saved, sizeof saved);
    assert_memory_equal(network->parameters, other->parameters, 43 * sizeof(real));
    assert_memory_equal(network->optimizer_state, other->optimizer_state, 2 * COUNT * sizeof(real));
    assert_int_equal(problem.count, 0);

    assert_false(checkpoint_load(other, &other_optimizer, &loaded, "check.st", &problem));
    assert_non_null(strstr(problem.text, "adam"));
    network_free(network);
    network_free(other);
    remove("check.st");
}

static void damaged_checkpoints_are_refused(void **state) {
    const TrainSettings settings = {.optimizer = OPTIMIZER_SGD, .momentum = 0.9};
    const TrainerState saved = {.batch = 1};
    TrainerState loaded;
    size_t size;
    (void)state;
    Network *network = run_steps(&settings);
    assert_true(checkpoint_save(network, &settings, &saved, "damage.st", &problem));
    unsigned char *bytes = file_read("damage.st", &size, &problem);
    for (size_t at = 0; at < size; at += 3) {
        FILE *stream = fopen("damage.st", "wb");
        bytes[at] ^= 0x15;
        fwrite(bytes, 1, size, stream);
        fclose(stream);
        bytes[at] ^= 0x15;
        (void)checkpoint_load(network, &settings, &loaded, "damage.st", &problem);
        if (at % 5 == 0) {
            stream = fopen("damage.st", "wb");
            fwrite(bytes, 1, at, stream);
            fclose(stream);
            assert_false(checkpoint_load(network, &settings, &loaded, "damage.st", &problem));
        }
    }
    free(bytes);
    network_free(network);
    remove("damage.st");
}

/* Writes epochs first..last; returns how many lines the file has then. */
static int write_log(const char *path, bool resume, long first, long last) {
    TrainingLog log;
    size_t size;
    int lines = 0;
    assert_true(log_open(&log, path, resume, &problem));
    for (long epoch = first; epoch <= last; epoch++) {
        const LogEntry entry = {.epoch = epoch, .train_loss = 0.5, .validation_loss = NAN};
        assert_true(log_write(&log, &entry, &problem));
    }
    log_close(&log);
    char *text = (char *)file_read(path, &size, &problem);
    for (size_t i = 0; i < size; i++) {
        lines += text[i] == '\n';
    }
    free(text);
    return lines;
}

static void logs_go_on_after_a_resume(void **state) {
    static const char *const paths[] = {"log.jsonl", "log.csv"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        remove(paths[i]);
        assert_int_equal(write_log(paths[i], false, 1, 4), 4 + i);
        assert_int_equal(write_log(paths[i], true, 3, 12), 12 + i); /* 3 and 4 are there */
        assert_int_equal(write_log(paths[i], true, 12, 13), 13 + i);
        assert_int_equal(write_log(paths[i], false, 1, 2), 15 + i);
        remove(paths[i]);
    }
}

/* ---- options ---- */

static OptionsResult parse(const char *line, CommandId *command, Options *options) {
    static char copy[512];
    char *argv[32] = {"net"};
    int argc = 1;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " ")) {
        argv[argc++] = word;
    }
    return options_parse("net", argc, argv, command, options);
}

static void options_are_read(void **state) {
    CommandId command;
    Options options;
    (void)state;
    assert_int_equal(parse("train --epochs 5 --lr=1e-3 --resume --seed 18446744073709549000",
                           &command, &options),
                     OPTIONS_RUN);
    assert_int_equal(command, COMMAND_TRAIN);
    assert_int_equal(option_integer(&options, OPTION_EPOCHS, 1), 5);
    assert_true(option_number(&options, OPTION_LR, 1) == 1e-3);
    assert_true(option_integer(&options, OPTION_SEED, 0) == 18446744073709549000u);
    assert_true(option_given(&options, OPTION_RESUME));
    assert_false(option_given(&options, OPTION_BATCH));
    assert_int_equal(option_integer(&options, OPTION_BATCH, 17), 17);
    assert_int_equal(parse("eval --help", &command, &options), OPTIONS_HELP);
    assert_int_equal(parse("--help", &command, &options), OPTIONS_HELP);
}

static void wrong_options_are_refused(void **state) {
    static const char *const lines[] = {
        "",
        "trian",
        "train --epoch 3",
        "train --epochs",
        "train --epochs -3",
        "train --epochs 3x",
        "train --epochs 99999999999999999999",
        "train --epochs 3.5",
        "train --epochs=",
        "train --batch 0",
        "train --lr nan",
        "train --lr inf",
        "train --lr -1",
        "train --lr 0x1p3z",
        "train --seed 18446744073709551616",
        "train --validate 1",
        "train --resume=yes",
        "train --steps 3",
        "train extra",
        "train --data=",
        "eval",
        "step --weights w --input x --target y --steps 3",
    };
    CommandId command;
    Options options;
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        assert_int_equal(parse(lines[i], &command, &options), OPTIONS_WRONG);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(sgd_follows_its_formula, setup),
        cmocka_unit_test_setup(adam_follows_its_formula, setup),
        cmocka_unit_test_setup(schedules, setup),
        cmocka_unit_test_setup(plateau, setup),
        cmocka_unit_test_setup(metrics_count_guesses, setup),
        cmocka_unit_test_setup(metrics_of_positions, setup),
        cmocka_unit_test_setup(checkpoints_come_back_exactly, setup),
        cmocka_unit_test_setup(damaged_checkpoints_are_refused, setup),
        cmocka_unit_test_setup(logs_go_on_after_a_resume, setup),
        cmocka_unit_test_setup(options_are_read, setup),
        cmocka_unit_test_setup(wrong_options_are_refused, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
