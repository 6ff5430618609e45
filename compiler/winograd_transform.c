#include "winograd_transform.h"

#include <assert.h>
#include <stdlib.h>

/* ---- Fractions ---- */

static int64_t greatest_common_divisor(int64_t a, int64_t b) {
    while (b != 0) {
        int64_t remainder = a % b;
        a = b;
        b = remainder;
    }
    return llabs(a);
}

Rational rational(int64_t numerator, int64_t denominator) {
    assert(denominator != 0);
    int64_t divisor = greatest_common_divisor(numerator, denominator);
    if (denominator < 0)
        divisor = -divisor;
    return (Rational){numerator / divisor, denominator / divisor};
}

Rational rational_plus(Rational x, Rational y) {
    int64_t divisor = greatest_common_divisor(x.denominator, y.denominator);
    return rational(x.numerator * (y.denominator / divisor) +
                        y.numerator * (x.denominator / divisor),
                    x.denominator / divisor * y.denominator);
}

Rational rational_minus(Rational x, Rational y) {
    return rational_plus(x, (Rational){-y.numerator, y.denominator});
}

Rational rational_times(Rational x, Rational y) {
    Rational a = rational(x.numerator, y.denominator), b = rational(y.numerator, x.denominator);
    return rational(a.numerator * b.numerator, a.denominator * b.denominator);
}

Rational rational_over(Rational x, Rational y) {
    assert(y.numerator != 0);
    return rational_times(x, rational(y.denominator, y.numerator));
}

bool rational_equal(Rational x, Rational y) {
    return x.numerator == y.numerator && x.denominator == y.denominator;
}

double rational_value(Rational x) {
    return (double)x.numerator / (double)x.denominator;
}

static bool is_zero(Rational x) {
    return x.numerator == 0;
}

static bool is_one(Rational x) {
    return x.numerator == 1 && x.denominator == 1;
}

static bool is_opposite(Rational x, Rational y) {
    return x.numerator == -y.numerator && x.denominator == y.denominator;
}

static Rational negative(Rational x) {
    return (Rational){-x.numerator, x.denominator};
}

/* ---- Matrices ---- */

/* The finite points; infinity comes last. Small numbers in pairs p and -p make few operations;
 * powers of two in the denominators keep B^T exact; and for four points beside 0 this choice has
 * about half the rounding error of 1 and 2 (B. Barabasz, A. Anderson, K. Soodhalter, D. Gregg,
 * Error analysis and improving the accuracy of Winograd convolution, 2020, discuss the search). Of
 * six, these have the least of all eighths up to 3: F(4, 5) along a row rounds 2.4 times as
 * coarsely as direct sums, F(2, 5) 1.3 times. */
static const Rational points_of_4[] = {{0, 1}, {1, 1}, {-1, 1}};
static const Rational points_of_6[] = {{0, 1}, {5, 8}, {-5, 8}, {3, 2}, {-3, 2}};
static const Rational points_of_8[] = {{0, 1}, {1, 2}, {-1, 2}, {1, 1}, {-1, 1}, {2, 1}, {-2, 1}};

static const Rational one = {1, 1}, zero = {0, 1};

/* Rows 1, p, p^2, ...; for infinity the coefficient of the highest power alone. */
static RationalMatrix powers(const Rational *points, int count, int columns) {
    RationalMatrix matrix = {.rows = count, .columns = columns};
    for (int column = 0; column < columns; column++) {
        for (int row = 0; row < count - 1; row++)
            matrix.at[row][column] =
                column == 0 ? one : rational_times(matrix.at[row][column - 1], points[row]);
        matrix.at[count - 1][column] = column == columns - 1 ? one : zero;
    }
    return matrix;
}

/* The product of (x - p) over all finite points but `left_out` (-1: none), lowest power first. */
static void point_polynomial(const Rational *points, int count, int left_out,
                             Rational *coefficients) {
    int degree = 0;
    coefficients[0] = one;
    for (int i = 0; i < count - 1; i++) {
        if (i == left_out)
            continue;
        coefficients[degree + 1] = zero;
        for (int power = ++degree; power >= 0; power--) {
            Rational shifted = power > 0 ? coefficients[power - 1] : zero;
            Rational scaled =
                power < degree ? rational_times(coefficients[power], points[i]) : zero;
            coefficients[power] = rational_minus(shifted, scaled);
        }
    }
}

static RationalMatrix interpolation(const Rational *points, int count) {
    RationalMatrix matrix = {.rows = count, .columns = count};
    for (int row = 0; row < count; row++) {
        for (int column = 0; column < count; column++)
            matrix.at[row][column] = zero;
        point_polynomial(points, count, row < count - 1 ? row : -1, matrix.at[row]);
    }
    return matrix;
}

/* Lagrange's denominator: the product of (p - q) over the other finite points q. */
static Rational denominator_at(const Rational *points, int count, int row) {
    Rational product = one;
    for (int i = 0; i < count - 1; i++)
        if (i != row)
            product = rational_times(product, rational_minus(points[row], points[i]));
    return product;
}

WinogradMatrices winograd_matrices(int outputs, int taps, WinogradScaling scaling) {
    int count = outputs + taps - 1;
    assert(count == 4 || count == 6 || count == 8);
    const Rational *points = count == 4 ? points_of_4 : count == 6 ? points_of_6 : points_of_8;
    WinogradMatrices matrices = {.filter = powers(points, count, taps),
                                 .input = interpolation(points, count)};
    RationalMatrix evaluation = powers(points, count, outputs);
    RationalMatrix *scaled = scaling == WINOGRAD_SCALE_FILTER ? &matrices.filter : &evaluation;
    for (int row = 0; row < count - 1; row++) {
        Rational denominator = denominator_at(points, count, row);
        for (int column = 0; column < scaled->columns; column++)
            scaled->at[row][column] = rational_over(scaled->at[row][column], denominator);
    }
    matrices.output = (RationalMatrix){.rows = outputs, .columns = count};
    for (int row = 0; row < outputs; row++)
        for (int column = 0; column < count; column++)
            matrices.output.at[row][column] = evaluation.at[column][row];
    return matrices;
}

/* ---- Straight-line code ---- */

/* What remains to be computed: rows of coefficients of values. */
typedef struct Reduction {
    LinearProgram *program;
    RationalMatrix matrix;
    int value[WINOGRAD_MAX]; /* which each column multiplies */
} Reduction;

static void add_term(LinearStep *step, int value, Rational coefficient) {
    if (is_zero(coefficient))
        return;
    int place = step->term_count++;
    step->terms[place] = (LinearTerm){value, coefficient};
    if (is_one(coefficient) && !is_one(step->terms[0].coefficient)) {
        step->terms[place] = step->terms[0];
        step->terms[0] = (LinearTerm){value, coefficient};
    }
}

/* Returns the number of the step's value. */
static int add_step(LinearProgram *program, LinearStep step) {
    assert(program->step_count < MAX_LINEAR_STEPS);
    program->steps[program->step_count] = step;
    return program->input_count + program->step_count++;
}

static int add_pair(LinearProgram *program, int x, int y, Rational coefficient, int row) {
    LinearStep step = {.row = row};
    add_term(&step, x, one);
    add_term(&step, y, coefficient);
    return add_step(program, step);
}

static bool same_or_opposite(Rational x, Rational y) {
    return rational_equal(x, y) || is_opposite(x, y);
}

static bool columns_pair(const RationalMatrix *matrix, int a, int b) {
    bool same = false, opposite = false;
    for (int row = 0; row < matrix->rows; row++) {
        Rational x = matrix->at[row][a], y = matrix->at[row][b];
        if (!same_or_opposite(x, y))
            return false;
        same = same || (rational_equal(x, y) && !is_zero(x));
        opposite = opposite || (is_opposite(x, y) && !is_zero(x));
    }
    return same && opposite;
}

/* c*x + d*y with d = +-c becomes c*(x + y) or c*(x - y). */
static void join_columns(Reduction *reduction) {
    RationalMatrix *matrix = &reduction->matrix;
    for (int a = 0; a < matrix->columns; a++)
        for (int b = a + 1; b < matrix->columns; b++) {
            if (!columns_pair(matrix, a, b))
                continue;
            int x = reduction->value[a], y = reduction->value[b];
            reduction->value[a] = add_pair(reduction->program, x, y, one, -1);
            reduction->value[b] = add_pair(reduction->program, x, y, negative(one), -1);
            for (int row = 0; row < matrix->rows; row++) {
                Rational x_factor = matrix->at[row][a];
                bool same = rational_equal(x_factor, matrix->at[row][b]);
                matrix->at[row][a] = same ? x_factor : zero;
                matrix->at[row][b] = same ? zero : x_factor;
            }
        }
}

static void add_row(Reduction *reduction, int row) {
    LinearStep step = {.row = row};
    for (int column = 0; column < reduction->matrix.columns; column++)
        add_term(&step, reduction->value[column], reduction->matrix.at[row][column]);
    add_step(reduction->program, step);
}

static bool rows_pair(const RationalMatrix *matrix, int a, int b) {
    bool same = false, opposite = false;
    for (int column = 0; column < matrix->columns; column++) {
        Rational x = matrix->at[a][column], y = matrix->at[b][column];
        if (!same_or_opposite(x, y))
            return false;
        same = same || (rational_equal(x, y) && !is_zero(x));
        opposite = opposite || (is_opposite(x, y) && !is_zero(x));
    }
    return same && opposite;
}

/* The terms that rows a and b have in common (or with opposite signs). Returns how many. */
static int part_of_rows(const Reduction *reduction, int a, int b, bool same, LinearTerm *terms) {
    const RationalMatrix *matrix = &reduction->matrix;
    int count = 0;
    for (int column = 0; column < matrix->columns; column++) {
        Rational x = matrix->at[a][column];
        if (!is_zero(x) && rational_equal(x, matrix->at[b][column]) == same)
            terms[count++] = (LinearTerm){reduction->value[column], x};
    }
    return count;
}

static bool is_dyadic(Rational x) {
    return (x.denominator & (x.denominator - 1)) == 0;
}

/* A factor of all terms such that one of them has coefficient 1 without it, and the others remain
 * exact in binary where they can. */
static Rational common_factor(const LinearTerm *terms, int count) {
    Rational best = terms[0].coefficient;
    for (int i = count - 1; i >= 0; i--) {
        Rational factor = terms[i].coefficient;
        if (is_one(factor))
            return one;
        bool exact = true;
        for (int k = 0; k < count; k++)
            exact = exact && is_dyadic(rational_over(terms[k].coefficient, factor));
        if (exact)
            best = factor;
    }
    return best;
}

/* Makes a value of the part without its factor, which is left in *factor. */
static int add_part(Reduction *reduction, int a, int b, bool same, Rational *factor) {
    LinearTerm terms[WINOGRAD_MAX] = {{0, {0, 1}}};
    int count = part_of_rows(reduction, a, b, same, terms);
    *factor = common_factor(terms, count);
    if (count == 1)
        return terms[0].value;
    LinearStep step = {.row = -1};
    for (int i = 0; i < count; i++)
        add_term(&step, terms[i].value, rational_over(terms[i].coefficient, *factor));
    return add_step(reduction->program, step);
}

/* Rows e + o and e - o. */
static void add_rows(Reduction *reduction, int a, int b) {
    LinearProgram *program = reduction->program;
    Rational even_factor, odd_factor;
    int even = add_part(reduction, a, b, true, &even_factor);
    int odd = add_part(reduction, a, b, false, &odd_factor);
    const int rows[2] = {a, b};
    for (int i = 0; i < 2; i++) {
        LinearStep step = {.row = rows[i]};
        add_term(&step, even, even_factor);
        add_term(&step, odd, i == 0 ? odd_factor : negative(odd_factor));
        add_step(program, step);
    }
}

LinearProgram linear_program(const RationalMatrix *matrix) {
    LinearProgram program = {.input_count = matrix->columns, .row_count = matrix->rows};
    Reduction reduction = {.program = &program, .matrix = *matrix};
    bool done[WINOGRAD_MAX] = {false};
    for (int column = 0; column < matrix->columns; column++)
        reduction.value[column] = column;
    join_columns(&reduction);
    for (int row = 0; row < matrix->rows; row++) {
        int partner = row + 1;
        while (partner < matrix->rows &&
               (done[partner] || !rows_pair(&reduction.matrix, row, partner)))
            partner++;
        if (done[row])
            continue;
        if (partner < matrix->rows) {
            add_rows(&reduction, row, partner);
            done[partner] = true;
        } else {
            add_row(&reduction, row);
        }
    }
    return program;
}

int linear_operations(const LinearProgram *program) {
    int operations = 0;
    for (int i = 0; i < program->step_count; i++) {
        const LinearStep *step = &program->steps[i];
        Rational first = step->terms[0].coefficient;
        bool plain = is_one(first) || is_opposite(first, one);
        operations += step->term_count - plain;
    }
    return operations;
}
