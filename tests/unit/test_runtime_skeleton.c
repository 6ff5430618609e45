/* The skeleton as a program: every command of the network that is written out in it. */
#define main skeleton_main
#include "skeleton.c"
#undef main

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>

#include <cmocka.h>

static Problem test_problem;

/* Runs the program with these arguments, which a blank separates. */
static int run(const char *arguments) {
    char copy[1024], *argv[32] = {"toy"};
    int argc = 1;
    snprintf(copy, sizeof copy, "%s", arguments);
    for (char *word = strtok(copy, " "); word != NULL && argc < 31; word = strtok(NULL, " ")) {
        argv[argc++] = word;
    }
    argv[argc] = NULL;
    return skeleton_main(argc, argv);
}

static void assert_same_files(const char *first, const char *second) {
    size_t size, other_size;
    unsigned char *a = file_read(first, &size, &test_problem);
    unsigned char *b = file_read(second, &other_size, &test_problem);
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(size, other_size);
    assert_memory_equal(a, b, size);
    free(a);
    free(b);
}

static void remove_run(const char *directory) {
    static const char *const names[] = {"last.safetensors", "best.safetensors"};
    char path[128];
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        remove(path);
    }
    remove(directory);
}

/* A batch of `count` examples as batch-x.npy and batch-y.npy. */
static void write_batch(int count) {
    const size_t x_dims[4] = {(size_t)count, 1, 8, 8};
    FileWriter writer;
    real x[INPUTS];
    assert_true(file_writer_open(&writer, "batch-x.npy", &test_problem));
    npy_write_header(&writer, 4, x_dims);
    for (int n = 0; n < count; n++) {
        for (int i = 0; i < INPUTS; i++) {
            x[i] = (real)random_gaussian(5, (uint32_t)n, (uint64_t)i);
        }
        elements_write_reals(&writer, x, INPUTS);
    }
    assert_true(file_writer_commit(&writer, &test_problem));
    char header[128], start[10] = {(char)0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, 0, 0};
    start[8] =
        (char)snprintf(header, sizeof header,
                       "{'descr': '|u1', 'fortran_order': False, 'shape': (%d,), }\n", count);
    assert_true(file_writer_open(&writer, "batch-y.npy", &test_problem));
    file_writer_write(&writer, start, sizeof start);
    file_writer_write(&writer, header, strlen(header));
    for (int n = 0; n < count; n++) {
        const unsigned char label = (unsigned char)(n % CLASSES);
        file_writer_write(&writer, &label, 1);
    }
    assert_true(file_writer_commit(&writer, &test_problem));
}

static void remove_batch(void) {
    remove("batch-x.npy");
    remove("batch-y.npy");
    remove("batch.st");
}

static void commands_without_files(void **state) {
    (void)state;
    assert_int_equal(run("info"), 0);
    assert_int_equal(run("--help"), 0);
    assert_int_equal(run("train --help"), 0);
    assert_int_equal(run("gradcheck"), 0);
    assert_int_equal(run("gradcheck --seed 5"), 0);
    assert_int_equal(run(""), 2);
    assert_int_equal(run("fly"), 2);
    assert_int_equal(run("train --batch 33"), 2);
    assert_int_equal(run("train --format png"), 2);
    assert_int_equal(run("train --data somewhere"), 2);
    assert_int_equal(run("bench --batch 33"), 2);
    assert_int_equal(run("eval --weights no-such-file"), 1);
}

static void training_learns_and_can_be_used(void **state) {
    (void)state;
    assert_int_equal(run("train --quiet --epochs 3 --out trained --log trained.jsonl"), 0);
    assert_int_equal(run("eval --weights trained/last.safetensors"), 0);
    assert_int_equal(run("eval --weights trained/best.safetensors --part train "
                         "--confusion confusion.csv"),
                     0);
    size_t size;
    unsigned char *text = file_read("confusion.csv", &size, &test_problem);
    int diagonal = 0, all = 0, column = 0, row = 0;
    for (char *word = strtok((char *)text, ",\n"); word != NULL && row < CLASSES;
         word = strtok(NULL, ",\n")) {
        diagonal += row == column ? atoi(word) : 0;
        all += atoi(word);
        row += column == CLASSES - 1;
        column = (column + 1) % CLASSES;
    }
    assert_int_equal(all, 1000);
    assert_true(diagonal > 850);
    free(text);
    remove("confusion.csv");
    remove("trained.jsonl");
    remove_run("trained");
}

static void initial_weights_are_those_of_the_seed(void **state) {
    (void)state;
    assert_int_equal(run("init --out a.st --seed 3"), 0);
    assert_int_equal(run("init --out b.st --seed 3"), 0);
    assert_same_files("a.st", "b.st");
    assert_int_equal(run("init --out b.st --seed 4"), 0);
    assert_int_equal(run("init --out no/such/directory"), 1);
    remove("a.st");
    remove("b.st");
}

static void predictions_come_in_chunks(void **state) {
    enum { MANY = 2 * BATCH + 7 };
    Npy output;
    (void)state;
    write_batch(MANY);
    assert_int_equal(run("init --out batch.st"), 0);
    assert_int_equal(run("predict --weights batch.st --input batch-x.npy --output out.npy"), 0);
    assert_int_equal(run("predict --weights batch.st --input batch-x.npy --top 2"), 0);
    assert_true(npy_read("out.npy", &output, &test_problem));
    assert_int_equal(output.rank, 2);
    assert_int_equal(output.dims[0], MANY);
    assert_int_equal(output.dims[1], CLASSES);
    npy_free(&output);
    assert_int_equal(run("predict --weights batch.st --input batch-y.npy"), 1);
    /* A training batch cannot be split. */
    assert_int_equal(run("grad --weights batch.st --input batch-x.npy --target batch-y.npy "
                         "--grads g.st"),
                     1);
    remove("out.npy");
    remove_batch();
}

/* A step of the optimizer is what the gradients say. */
static void gradients_and_steps_agree(void **state) {
    SafeTensors before, after, gradients;
    real w[8], stepped[8], g[8];
    (void)state;
    write_batch(6);
    assert_int_equal(run("init --out batch.st"), 0);
    assert_int_equal(run("grad --weights batch.st --input batch-x.npy --target batch-y.npy "
                         "--grads g.st --output out.npy"),
                     0);
    assert_int_equal(run("step --weights batch.st --input batch-x.npy --target batch-y.npy "
                         "--steps 1 --lr 0.5 --out stepped.st"),
                     0);
    assert_true(safetensors_read("batch.st", &before, &test_problem));
    assert_true(safetensors_read("stepped.st", &after, &test_problem));
    assert_true(safetensors_read("g.st", &gradients, &test_problem));
    assert_int_equal(gradients.count, 5);
    const SafeTensor *input = safetensors_find(&gradients, "input");
    assert_int_equal(input->rank, 4);
    assert_int_equal(input->dims[0], 6);
    ElementType type = ELEMENT_REAL;
    elements_to_real(type, before.data + safetensors_find(&before, "fc2.weight")->begin, 8, w);
    elements_to_real(type, after.data + safetensors_find(&after, "fc2.weight")->begin, 8, stepped);
    elements_to_real(type, gradients.data + safetensors_find(&gradients, "fc2.weight")->begin, 8,
                     g);
    for (int i = 0; i < 8; i++) {
        double expected = (double)w[i] - 0.5 * ((double)g[i] + 1e-4 * (double)w[i]);
        assert_true(fabs((double)stepped[i] - expected) < 1e-6);
    }
    safetensors_free(&before);
    safetensors_free(&after);
    safetensors_free(&gradients);
    remove("g.st");
    remove("out.npy");
    remove("stepped.st");
    remove_batch();
}

/* Stopped after every few steps and resumed, a run ends with the same bits. */
static void resumed_runs_are_the_same(void **state) {
    sigset_t signals;
    int received, interrupted = 0;
    (void)state;
    assert_int_equal(run("train --quiet --epochs 2 --batch 32 --out straight --seed 9"), 0);
    assert_int_equal(run("train --quiet --epochs 1 --batch 32 --out by-epoch --seed 9"), 0);
    assert_int_equal(run("train --quiet --epochs 2 --resume --out by-epoch"), 0);
    assert_same_files("straight/last.safetensors", "by-epoch/last.safetensors");

    interrupts_defer();
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    raise(SIGTERM);
    int status = run("train --quiet --epochs 2 --batch 32 --out by-step --seed 9");
    while (status == 130 && interrupted < 1000) {
        interrupted++;
        status = run("train --quiet --epochs 2 --resume --out by-step");
    }
    assert_int_equal(status, 0);
    assert_int_equal(interrupted, 2 * (32 + 1)); /* after each step and each epoch */
    sigwait(&signals, &received);
    assert_int_equal(received, SIGTERM);
    assert_same_files("straight/last.safetensors", "by-step/last.safetensors");
    assert_same_files("straight/best.safetensors", "by-step/best.safetensors");

    assert_int_equal(run("train --quiet --resume --out by-step --seed 8"), 1);
    assert_int_equal(run("train --quiet --resume --out by-step --batch 16"), 1);
    remove_run("straight");
    remove_run("by-epoch");
    remove_run("by-step");
}

static void part_of_the_data_can_be_held_back(void **state) {
    (void)state;
    assert_int_equal(run("train --quiet --epochs 1 --validate 0.25 --out held --log held.csv"), 0);
    assert_int_equal(run("train --quiet --epochs 2 --resume --out held --log held.csv"), 0);
    size_t size;
    unsigned char *text = file_read("held.csv", &size, &test_problem);
    assert_memory_equal(text, "epoch,step,", 11);
    assert_non_null(strstr((char *)text, "\n2,94,")); /* 750 examples are 47 steps of 16 */
    free(text);
    remove("held.csv");
    remove_run("held");
}

static void slow_runs_are_left_out(void **state) {
    (void)state;
    Samples samples = {0};
    assert_true(samples_median(&samples) == 0);
    for (int i = 9; i > 0; i--) {
        samples_add(&samples, i == 9 ? 1000 : i);
    }
    assert_true(samples_median(&samples) == 5);
    samples_add(&samples, 7);
    assert_true(samples_median(&samples) == 5.5);
    assert_true(samples_largest(&samples) == 1000);
    samples_clear(&samples);
    assert_true(samples_largest(&samples) == 0);

    const Timing runs[3][2] = {{{{1, 20, 300}}, {{4, 50, 600}}},
                               {{{2, 90, 100}}, {{9, 40, 500}}},
                               {{{3, 10, 200}}, {{5, 60, 400}}}};
    Timing least[2] = {{{0}}};
    for (int i = 0; i < 3; i++) {
        bench_keep_least(least, runs[i], 2, i == 0);
    }
    for (int phase = 0; phase < TIMING_PHASES; phase++) {
        static const double expected[2][TIMING_PHASES] = {{1, 10, 100}, {4, 40, 400}};
        assert_true(least[0].seconds[phase] == expected[0][phase]);
        assert_true(least[1].seconds[phase] == expected[1][phase]);
    }
}

static void the_peak_is_measured(void **state) {
    (void)state;
    const long repeats = machine_peak_repeats();
    assert_true(repeats >= 1000);
    assert_true(machine_peak_gflops(repeats) > 0);
}

static void benchmark(void **state) {
    (void)state;
    assert_int_equal(run("bench --json --layers --batch 8"), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_without_files),
        cmocka_unit_test(training_learns_and_can_be_used),
        cmocka_unit_test(initial_weights_are_those_of_the_seed),
        cmocka_unit_test(predictions_come_in_chunks),
        cmocka_unit_test(gradients_and_steps_agree),
        cmocka_unit_test(resumed_runs_are_the_same),
        cmocka_unit_test(part_of_the_data_can_be_held_back),
        cmocka_unit_test(slow_runs_are_left_out),
        cmocka_unit_test(the_peak_is_measured),
        cmocka_unit_test(benchmark),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
