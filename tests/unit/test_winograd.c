/* Winograd's transforms: exact identity with convolution, and straight-line code that computes
 * exactly what the matrices say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "winograd_transform.h"

#define ASSERT_SAME(x, y) assert_true(rational_equal(x, y))

static const struct {
    int outputs, taps;
} forms[] = {{2, 3}, {3, 2}, {4, 3}, {3, 4}, {2, 5}, {5, 2}, {4, 5}, {5, 4}, {6, 3}, {3, 6}};
#define FORMS (sizeof forms / sizeof forms[0])

static void multiply(const RationalMatrix *matrix, const Rational *x, Rational *y) {
    for (int row = 0; row < matrix->rows; row++) {
        y[row] = rational(0, 1);
        for (int column = 0; column < matrix->columns; column++)
            y[row] = rational_plus(y[row], rational_times(matrix->at[row][column], x[column]));
    }
}

static void run(const LinearProgram *program, const Rational *x, Rational *y) {
    Rational value[WINOGRAD_MAX + MAX_LINEAR_STEPS];
    for (int i = 0; i < program->input_count; i++)
        value[i] = x[i];
    for (int i = 0; i < program->step_count; i++) {
        const LinearStep *step = &program->steps[i];
        Rational sum = rational(0, 1);
        for (int t = 0; t < step->term_count; t++)
            sum = rational_plus(
                sum, rational_times(step->terms[t].coefficient, value[step->terms[t].value]));
        value[program->input_count + i] = sum;
        if (step->row >= 0)
            y[step->row] = sum;
    }
}

static void test_fractions(void **state) {
    (void)state;
    ASSERT_SAME(rational(6, -4), rational(-3, 2));
    ASSERT_SAME(rational_plus(rational(1, 6), rational(1, 3)), rational(1, 2));
    ASSERT_SAME(rational_minus(rational(1, 6), rational(1, 6)), rational(0, 5));
    ASSERT_SAME(rational_times(rational(4, 9), rational(-3, 8)), rational(-1, 6));
    ASSERT_SAME(rational_over(rational(1, 2), rational(-3, 4)), rational(-2, 3));
    assert_true(rational_value(rational(-5, 8)) == -0.625);
}

/* Both sides are linear in d and in g: unit vectors are enough. */
static void check_identity(int outputs, int taps, WinogradScaling scaling) {
    WinogradMatrices matrices = winograd_matrices(outputs, taps, scaling);
    int count = outputs + taps - 1;
    assert_int_equal(matrices.output.rows, outputs);
    assert_int_equal(matrices.filter.columns, taps);
    for (int input = 0; input < count; input++)
        for (int tap = 0; tap < taps; tap++) {
            Rational product[WINOGRAD_MAX], y[WINOGRAD_MAX];
            for (int i = 0; i < count; i++)
                product[i] =
                    rational_times(matrices.input.at[i][input], matrices.filter.at[i][tap]);
            multiply(&matrices.output, product, y);
            for (int i = 0; i < outputs; i++)
                ASSERT_SAME(y[i], rational(i + tap == input, 1));
        }
}

static void test_identity_with_convolution(void **state) {
    (void)state;
    for (size_t i = 0; i < FORMS; i++) {
        check_identity(forms[i].outputs, forms[i].taps, WINOGRAD_SCALE_FILTER);
        check_identity(forms[i].outputs, forms[i].taps, WINOGRAD_SCALE_OUTPUT);
    }
}

static void check_program(const RationalMatrix *matrix) {
    LinearProgram program = linear_program(matrix);
    assert_int_equal(program.row_count, matrix->rows);
    Rational x[WINOGRAD_MAX], expected[WINOGRAD_MAX], y[WINOGRAD_MAX];
    for (int i = 0; i < matrix->columns; i++)
        x[i] = rational(3 * i * i - 7 * i + 2, i + 1);
    multiply(matrix, x, expected);
    run(&program, x, y);
    for (int row = 0; row < matrix->rows; row++)
        ASSERT_SAME(y[row], expected[row]);
}

static void test_programs_compute_the_matrices(void **state) {
    (void)state;
    for (size_t i = 0; i < FORMS; i++)
        for (int scaling = 0; scaling < 2; scaling++) {
            WinogradMatrices matrices =
                winograd_matrices(forms[i].outputs, forms[i].taps, (WinogradScaling)scaling);
            check_program(&matrices.input);
            check_program(&matrices.filter);
            check_program(&matrices.output);
        }
}

static int operations(const RationalMatrix *matrix) {
    LinearProgram program = linear_program(matrix);
    return linear_operations(&program);
}

static void test_pairs_save_operations(void **state) {
    (void)state;
    WinogradMatrices large = winograd_matrices(4, 3, WINOGRAD_SCALE_FILTER);
    assert_int_equal(operations(&large.input), 12);
    assert_int_equal(operations(&large.output), 12);
    WinogradMatrices small = winograd_matrices(2, 3, WINOGRAD_SCALE_FILTER);
    assert_int_equal(operations(&small.input), 4);
    assert_int_equal(operations(&small.output), 4);
    WinogradMatrices gradient = winograd_matrices(3, 4, WINOGRAD_SCALE_OUTPUT);
    assert_int_equal(operations(&gradient.filter), 8);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fractions),
        cmocka_unit_test(test_identity_with_convolution),
        cmocka_unit_test(test_programs_compute_the_matrices),
        cmocka_unit_test(test_pairs_save_operations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
