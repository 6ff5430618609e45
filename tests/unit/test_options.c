/* The command line: what every option sets, how values are read, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../../compiler/options.h"

enum { MAX_WORDS = 16 };

/* Parses the blank-separated words behind the program's name. */
static bool parse(Arena *arena, const char *line, Options *options, const char **problem) {
    static char text[512];
    char *words[MAX_WORDS] = {"cnnc"};
    int count = 1;
    assert_true(strlen(line) < sizeof text);
    strcpy(text, line);
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
        assert_true(count < MAX_WORDS);
        words[count++] = word;
    }
    return options_parse(arena, count, words, options, problem);
}

static Options accept(Arena *arena, const char *line) {
    Options options;
    const char *problem = NULL;
    if (!parse(arena, line, &options, &problem))
        fail_msg("'%s': %s", line, problem);
    return options;
}

static void refuse(Arena *arena, const char *line, const char *expected) {
    Options options;
    const char *problem = NULL;
    if (parse(arena, line, &options, &problem))
        fail_msg("'%s' was accepted", line);
    if (!strstr(problem, expected))
        fail_msg("'%s': \"%s\" does not say \"%s\"", line, problem, expected);
}

static void defaults(void **state) {
    Options options = accept(*state, "net.cnn");
    assert_string_equal(options.input_path, "net.cnn");
    assert_null(options.output_path);
    assert_null(options.report);
    assert_int_equal(options.batch, 0);
    assert_int_equal(options.level, 1);
    assert_int_equal(options.memory_limit, 0);
    assert_ptr_equal(options.target, target_find("native"));
    assert_string_equal(options.summary, "");
    for (int pass = 0; pass < PASS_COUNT; pass++)
        assert_true(option_pass_enabled(&options, (Pass)pass));
}

static void values_attached_or_apart(void **state) {
    const char *const lines[] = {"-o net.c --header net.h --target avx2 --batch 8 -D n=3 -I lib x",
                                 "-onet.c --header=net.h --target=avx2 --batch=8 -Dn=3 -Ilib x",
                                 "x -o net.c --header net.h --target=avx2 --batch=8 -Dn=3 -Ilib"};
    for (int i = 0; i < 3; i++) {
        Options options = accept(*state, lines[i]);
        assert_string_equal(options.input_path, "x");
        assert_string_equal(options.output_path, "net.c");
        assert_string_equal(options.header_path, "net.h");
        assert_string_equal(options.target->name, "avx2");
        assert_int_equal(options.batch, 8);
        assert_int_equal(options.expand.define_count, 1);
        assert_string_equal(options.expand.defines[0].name, "n");
        assert_string_equal(options.expand.defines[0].value, "3");
        assert_int_equal(options.expand.include_count, 1);
        assert_string_equal(options.expand.include_directories[0], "lib");
        assert_string_equal(options.summary, "--target=avx2 --batch=8 -Dn=3");
    }
}

static void optional_values(void **state) {
    assert_string_equal(accept(*state, "--report x").report->name, "text");
    assert_string_equal(accept(*state, "--report=csv x").report->name, "csv");
    assert_null(accept(*state, "--list-layers").list_name);
    assert_string_equal(accept(*state, "--list-layers=FC").list_name, "FC");
}

static void passes_and_levels(void **state) {
    Options options = accept(*state, "-fno-fuse x");
    assert_false(option_pass_enabled(&options, PASS_FUSE));
    assert_true(option_pass_enabled(&options, PASS_VECTORISE));
    options = accept(*state, "-fno-fuse -ffuse x");
    assert_true(option_pass_enabled(&options, PASS_FUSE));
    options = accept(*state, "-O0 -ffuse x");
    assert_false(option_pass_enabled(&options, PASS_FUSE));
    assert_int_equal(accept(*state, "-O0 -O x").level, 1);
    refuse(*state, "-O3 x", "no level -O3");
    refuse(*state, "-fvectorize x", "did you mean 'vectorise'?");
}

static void sizes(void **state) {
    assert_int_equal(accept(*state, "--mem=4096 x").memory_limit, 4096);
    assert_int_equal(accept(*state, "--mem=3K x").memory_limit, 3 * 1024);
    assert_int_equal(accept(*state, "--mem=1.5m x").memory_limit, 3 * 512 * 1024);
    assert_int_equal(accept(*state, "--mem=2G x").memory_limit, INT64_C(2) << 30);
    const char *const wrong[] = {"", "0", "-1", "1KB", "K", "inf", "nan", "0x10", "9999999999G"};
    for (size_t i = 1; i < sizeof wrong / sizeof wrong[0]; i++) {
        char line[64] = "--mem ";
        strcat(strcat(line, wrong[i]), " x");
        refuse(*state, line, "--mem needs a number of bytes");
    }
}

static void counts(void **state) {
    const char *const wrong[] = {"0",   "-3",      "+3", "3.5",
                                 "1e3", "1000001", "x",  "18446744073709551617"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char line[64] = "--batch ";
        strcat(strcat(line, wrong[i]), " x");
        refuse(*state, line, "--batch needs a whole number from 1 to 1000000");
    }
    assert_int_equal(accept(*state, "--threads=4096 x").threads, 4096);
    refuse(*state, "--threads=4097 x", "--threads needs");
}

static void warnings(void **state) {
    Options options = accept(*state, "-Wno-unused -Wall -Werror x");
    assert_int_equal(options.warning_count, 2);
    assert_string_equal(options.warnings[0].name, "unused");
    assert_false(options.warnings[0].enabled);
    assert_string_equal(options.warnings[1].name, "all");
    assert_true(options.warnings[1].enabled);
    assert_true(options.warnings_are_errors);
    assert_false(accept(*state, "-Werror -Wno-error x").warnings_are_errors);
    refuse(*state, "-Wunusd x", "did you mean 'unused'?");
}

static void definitions(void **state) {
    Options options = accept(*state, "-Dfast -Dx_1=-2.5 x");
    assert_null(options.expand.defines[0].value);
    assert_string_equal(options.expand.defines[1].name, "x_1");
    assert_string_equal(options.expand.defines[1].value, "-2.5");
    refuse(*state, "-D=3 x", "NAME=VALUE");
    refuse(*state, "-Da-b=3 x", "NAME=VALUE");
    refuse(*state, "-Da= x", "no value");
}

static void files(void **state) {
    assert_string_equal(accept(*state, "-").input_path, "-");
    assert_string_equal(accept(*state, "-- -odd.cnn").input_path, "-odd.cnn");
    refuse(*state, "", "no description");
    refuse(*state, "a b", "one description");
    refuse(*state, "-o a a", "would be overwritten");
    refuse(*state, "-o b --header b a", "would be overwritten");
    refuse(*state, "-o - --report a", "standard output");
    refuse(*state, "--report-file r a", "needs --report");
    accept(*state, "-o - --report --report-file r -");
    accept(*state, "--explain=CONV");
    accept(*state, "--help");
}

static void unknown_options(void **state) {
    refuse(*state, "--rport=json x", "did you mean '--report'?");
    refuse(*state, "-q x", "there is no option '-q'");
    refuse(*state, "--infer=1 x", "takes no value");
    refuse(*state, "--target= x", "empty value");
    refuse(*state, "x --batch", "needs N after it");
    refuse(*state, "-o --report x", "needs OUT.c after it");
    refuse(*state, "--explore x", "did you mean '--explain'?");
}

static void targets(void **state) {
    (void)state;
    assert_non_null(target_find("native"));
    assert_null(target_find("pentium"));
    assert_int_equal(target_vector_length(target_find("avx512"), sizeof(float)), 16);
    assert_int_equal(target_vector_length(target_find("avx2"), sizeof(double)), 4);
    assert_int_equal(target_vector_length(target_find("generic"), sizeof(float)), 1);
}

static int make_arena(void **state) {
    *state = arena_create();
    return 0;
}

static int free_arena(void **state) {
    arena_free(*state);
    return 0;
}

#define WITH_ARENA(test) cmocka_unit_test_setup_teardown(test, make_arena, free_arena)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_ARENA(defaults),        WITH_ARENA(values_attached_or_apart),
        WITH_ARENA(optional_values), WITH_ARENA(passes_and_levels),
        WITH_ARENA(sizes),           WITH_ARENA(counts),
        WITH_ARENA(warnings),        WITH_ARENA(definitions),
        WITH_ARENA(files),           WITH_ARENA(unknown_options),
        WITH_ARENA(targets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
