/* Window arithmetic: extents, remainders, roundings, padding, clipping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../compiler/window.h"

static Window one_axis(int64_t input, int64_t kernel, int64_t stride, int64_t pad,
                       int64_t dilation) {
    Window window = {.rank = 1,
                     .input = {input},
                     .kernel = {kernel},
                     .stride = {stride},
                     .dilation = {dilation},
                     .pad_begin = {pad},
                     .pad_end = {pad}};
    return window;
}

static void check_output(Window window, Rounding rounding, int64_t expected) {
    int64_t output = -1;
    assert_int_equal(window_fit(&window, 0, rounding, &output), WINDOW_FITS);
    assert_int_equal(output, expected);
}

static void exact_extents(void **state) {
    (void)state;
    check_output(one_axis(7, 3, 1, 0, 1), ROUNDING_EXACT, 5);
    check_output(one_axis(7, 3, 2, 0, 1), ROUNDING_EXACT, 3);
    check_output(one_axis(227, 11, 4, 0, 1), ROUNDING_EXACT, 55);
    check_output(one_axis(224, 3, 1, 1, 1), ROUNDING_EXACT, 224);
    check_output(one_axis(9, 3, 1, 0, 4), ROUNDING_EXACT, 1);
    check_output(one_axis(1, 1, 1000000, 0, 1), ROUNDING_EXACT, 1);
}

static void remainders(void **state) {
    (void)state;
    int64_t output = -1;
    Window window = one_axis(7, 3, 3, 0, 1);
    assert_int_equal(window_fit(&window, 0, ROUNDING_EXACT, &output), WINDOW_LEAVES_REMAINDER);
    assert_int_equal(window_remainder(&window, 0), 1);
    window = one_axis(2, 3, 1, 0, 1);
    assert_int_equal(window_fit(&window, 0, ROUNDING_CEIL, &output), WINDOW_TOO_LARGE);
    assert_int_equal(output, -1);
}

static void roundings(void **state) {
    (void)state;
    check_output(one_axis(7, 3, 3, 0, 1), ROUNDING_FLOOR, 2);
    check_output(one_axis(7, 3, 3, 0, 1), ROUNDING_CEIL, 3);
    check_output(one_axis(6, 3, 3, 0, 1), ROUNDING_CEIL, 2);
    /* The further window would start in the padding behind the input. */
    check_output(one_axis(7, 2, 3, 1, 1), ROUNDING_CEIL, 3);
    check_output(one_axis(5, 2, 4, 1, 1), ROUNDING_CEIL, 2);
}

static void same_padding(void **state) {
    (void)state;
    for (int64_t input = 1; input < 20; input++) {
        for (int64_t kernel = 1; kernel < 8; kernel++) {
            for (int64_t stride = 1; stride < 6; stride++) {
                Window window = one_axis(input, kernel, stride, 0, 1);
                window_pad_same(&window, 0);
                int64_t odd = window.pad_end[0] - window.pad_begin[0];
                assert_true(odd == 0 || odd == 1);
                check_output(window, ROUNDING_FLOOR, (input + stride - 1) / stride);
            }
        }
    }
}

/* Against taps counted one by one. */
static void clipping(void **state) {
    (void)state;
    for (int64_t input = 1; input < 12; input++) {
        for (int64_t kernel = 1; kernel < 6; kernel++) {
            for (int64_t pad = 0; pad <= kernel / 2; pad++) {
                Window window = one_axis(input, kernel, 2, pad, 1);
                if (window_fit(&window, 0, ROUNDING_CEIL, &window.output[0]) != WINDOW_FITS) {
                    continue;
                }
                bool begin = false, end = false, behind = false;
                for (int64_t o = 0; o < window.output[0]; o++) {
                    int64_t first = o * 2 - pad, last = first + kernel - 1;
                    begin = begin || first < 0;
                    end = end || last >= input;
                    behind = behind || last >= input + pad;
                    assert_true(first < input && last >= 0);
                }
                assert_int_equal(window_leaves_begin(&window, 0), begin);
                assert_int_equal(window_leaves_end(&window, 0), end);
                assert_int_equal(window_leaves_padding(&window, 0), behind);
            }
        }
    }
}

static void counts(void **state) {
    (void)state;
    Counter counter = {false};
    Window window = {.rank = 3, .kernel = {2, 3, 4}};
    assert_int_equal(window_taps(&counter, &window), 24);
    assert_false(counter.overflow);
    assert_int_equal(count_times(&counter, INT64_MAX / 2, 2), INT64_MAX - 1);
    assert_int_equal(count_plus(&counter, INT64_MAX - 1, 1), INT64_MAX);
    assert_false(counter.overflow);
    assert_int_equal(count_plus(&counter, INT64_MAX, 1), INT64_MAX);
    assert_true(counter.overflow);
    counter.overflow = false;
    count_times(&counter, (int64_t)1 << 32, (int64_t)1 << 31);
    assert_true(counter.overflow);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_extents), cmocka_unit_test(remainders), cmocka_unit_test(roundings),
        cmocka_unit_test(same_padding),  cmocka_unit_test(clipping),   cmocka_unit_test(counts),
    };
    return cmocka_run_group_tests_name("window", tests, NULL, NULL);
}
