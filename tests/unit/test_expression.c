/* Expressions: precedence, exact integers, errors instead of wrong numbers, words. */
#include "checked.h"
#include "evaluate.h"
#include "literal.h"
#include "parser.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static Arena *arena;
static Sources *sources;
static Diagnostics *diagnostics;

static int create(void **state) {
    (void)state;
    arena = arena_create();
    sources = sources_create(arena);
    diagnostics = diagnostics_create(arena, sources);
    return 0;
}

static int destroy(void **state) {
    (void)state;
    arena_free(arena);
    return 0;
}

/* The only name with a value is `two`. */
static const Value *find(void *context, const char *name) {
    (void)context;
    static const Value two = {.kind = VALUE_INTEGER, .as.integer = 2};
    return strcmp(name, "two") == 0 ? &two : NULL;
}

static void offer(void *context, Suggestion *suggestion) {
    (void)context;
    suggestion_offer(suggestion, "two");
}

static bool charge(void *context, int64_t work) {
    (void)context;
    return work >= 0;
}

/* The value as text; "error" where there is none. */
static const char *value_of(const char *expression) {
    const char *text = arena_format(arena, "let x = %s", expression);
    SourceFile *file = source_from_text(sources, "x.cnn", text, strlen(text));
    int options = 0, errors = diagnostics_error_count(diagnostics);
    StatementList list = parse_file(sources, diagnostics, file, &options);
    Evaluator evaluator = {
        .diagnostics = diagnostics, .find = find, .offer = offer, .charge = charge};
    Value value;
    if (diagnostics_error_count(diagnostics) > errors ||
        !evaluate_value(&evaluator, list.first->lets.first->value, &value)) {
        assert_true(diagnostics_error_count(diagnostics) > errors);
        return "error";
    }
    return value_text(arena, &value);
}

typedef struct Case {
    const char *expression, *value;
} Case;

static void check(const Case *cases, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const char *value = value_of(cases[i].expression);
        if (strcmp(value, cases[i].value) != 0) {
            fail_msg("%s is %s, not %s", cases[i].expression, value, cases[i].value);
        }
    }
}
#define CHECK(cases) check(cases, sizeof(cases) / sizeof(cases)[0])

static void precedence(void **state) {
    (void)state;
    static const Case cases[] = {
        {"1 + 2*3", "7"},       {"(1 + 2)*3", "9"},
        {"10 - 3 - 4", "3"},    {"2^3^2", "512"},
        {"-2^2", "-4"},         {"2^-1", "0.5"},
        {"- -3", "3"},          {"1 < 2 and 2 < 1 or true", "true"},
        {"not 1 == 2", "true"}, {"7 - two*two", "3"},
        {"100/10/two", "5"},    {"not true or true", "true"},
    };
    CHECK(cases);
}

static void integers_stay_exact(void **state) {
    (void)state;
    static const Case cases[] = {
        {"6/3", "2"},
        {"7/2", "3.5"},
        {"-7/7", "-1"},
        {"9007199254740993 + 0", "9007199254740993"},
        {"3037000499*3037000499", "9223372030926249001"},
        {"7 % 5", "2"},
        {"-7 % 5", "3"},
        {"7 % -5", "-3"},
        {"5.5 % 2", "1.5"},
        {"(-2)^63", "-9223372036854775808"},
        {"2^62", "4611686018427387904"},
        {"9223372036854775807 == 9223372036854775806", "false"},
    };
    CHECK(cases);
}

static void what_does_not_fit_is_an_error(void **state) {
    (void)state;
    static const Case cases[] = {
        {"9223372036854775807 + 1", "error"},
        {"-9223372036854775807 - 2", "error"},
        {"3037000500*3037000500", "error"},
        {"2^63", "error"},
        {"(-2)^64", "error"},
        {"-((-2)^63)", "error"},
        {"(-2)^63/-1", "error"},
        {"(-2)^63 % -1", "0"},
        {"1/0", "error"},
        {"1 % 0", "error"},
        {"1.5 % 0", "error"},
        {"1e308*10", "error"},
        {"(-1)^0.5", "error"},
        {"floor(1e300)", "error"},
        {"99999999999999999999", "error"},
        {"1e999", "error"},
    };
    CHECK(cases);
}

static void functions(void **state) {
    (void)state;
    static const Case cases[] = {
        {"min(3, 1, 2)", "1"},    {"max(1, 2.5)", "2.5"},   {"floor(-1.5)", "-2"},
        {"ceil(7/2)", "4"},       {"round(2.5)", "3"},      {"sqrt(16)", "4"},
        {"log2(8)", "3"},         {"min()", "error"},       {"sqrt(-1)", "error"},
        {"log2(0)", "error"},     {"floor(1, 2)", "error"}, {"max(a=1)", "error"},
        {"floor(true)", "error"}, {"floor(two)", "2"},
    };
    CHECK(cases);
}

static void conditions_stop_early(void **state) {
    (void)state;
    static const Case cases[] = {
        {"false and 1/0 > 0", "false"}, {"true or 1/0 > 0", "true"}, {"true and 1/0 > 0", "error"},
        {"3 and true", "true"},         {"2.5 and true", "error"},   {"true == false", "false"},
        {"true < false", "error"},      {"1 == 1.0", "true"},
    };
    CHECK(cases);
}

static void words_and_other_values(void **state) {
    (void)state;
    static const Case cases[] = {
        {"same", "same"},
        {"two", "2"},
        {"floor", "floor"},
        {"gaussian(std=0.01)", "gaussian(std=0.01)"},
        {"random_crop(224) - flip - shift(two)", "random_crop(224) - flip - shift(2)"},
        {"[1, two, [3x3, \"a\"]]", "[1, 2, [3x3, \"a\"]]"},
        {"@skip", "@skip"},
        {"flip - 3", "error"},
        {"3 - flip", "error"},
        {"tow*3", "error"},
        {"3x3*2", "error"},
        {"two - flip", "error"},
    };
    CHECK(cases);
}

static void depth_is_limited(void **state) {
    (void)state;
    enum { DEPTH = 100000 };
    char *text = arena_allocate(arena, 2 * DEPTH + 2, 1);
    memset(text, '(', DEPTH);
    text[DEPTH] = '1';
    memset(text + DEPTH + 1, ')', DEPTH);
    assert_string_equal(value_of(text), "error");
    for (int i = 0; i < DEPTH; i++) {
        memcpy(text + 2 * i, "1+", 2);
    }
    text[2 * DEPTH] = '1';
    assert_string_equal(value_of(text), "error");
}

static void long_texts_are_cut(void **state) {
    (void)state;
    char *text = arena_allocate(arena, 20010, 1);
    text[0] = '[';
    for (int i = 0; i < 10000; i++) {
        memcpy(text + 1 + 2 * i, "1,", 2);
    }
    memcpy(text + 20000, "]", 1);
    const char *value = value_of(text);
    assert_true(strlen(value) < 410);
    assert_string_equal(value + strlen(value) - 3, "...");
}

static void literals(void **state) {
    (void)state;
    static const Case cases[] = {{"1", "1"},        {"-3", "-3"},     {"0.1", "0.1"},
                                 {"1e-5", "1e-05"}, {"true", "true"}, {"same", "same"},
                                 {"2x3", "2x3"},    {"", "none"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Value value;
        assert_true(literal_read(arena, cases[i].expression, &value));
        assert_string_equal(value_text(arena, &value), cases[i].value);
    }
    static const char *const wrong[] = {"1x", "a b", "1e999", "inf(", "--1", "1x2x3x4x5", "0x"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        Value value;
        assert_false(literal_read(arena, wrong[i], &value));
    }
}

static void checked_arithmetic(void **state) {
    (void)state;
    int64_t result = 5;
    assert_false(checked_add(INT64_MAX, 1, &result));
    assert_false(checked_subtract(INT64_MIN, 1, &result));
    assert_false(checked_multiply(INT64_MIN, -1, &result));
    assert_int_equal(result, 5);
    assert_true(checked_multiply(-3, 7, &result));
    assert_int_equal(result, -21);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(precedence, create, destroy),
        cmocka_unit_test_setup_teardown(integers_stay_exact, create, destroy),
        cmocka_unit_test_setup_teardown(what_does_not_fit_is_an_error, create, destroy),
        cmocka_unit_test_setup_teardown(functions, create, destroy),
        cmocka_unit_test_setup_teardown(conditions_stop_early, create, destroy),
        cmocka_unit_test_setup_teardown(words_and_other_values, create, destroy),
        cmocka_unit_test_setup_teardown(depth_is_limited, create, destroy),
        cmocka_unit_test_setup_teardown(long_texts_are_cut, create, destroy),
        cmocka_unit_test_setup_teardown(literals, create, destroy),
        cmocka_unit_test_setup_teardown(checked_arithmetic, create, destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
