/* The transforms of Winograd's minimal filtering F(m, r): m outputs of a filter with r taps from
 * m + r - 1 inputs with as many multiplications,
 *
 *   y = A^T [(G g) * (B^T d)]     y[i] = sum over k < r of g[k] * d[i + k],  * element by element
 *
 * (S. Winograd, Arithmetic complexity of computations, 1980; A. Lavin and S. Gray, Fast algorithms
 * for convolutional neural networks, 2016). Applied along both axes it filters a tile. The matrices
 * are made from interpolation points by Toom and Cook's algorithm in exact arithmetic: multiply two
 * polynomials at m + r - 2 points and infinity, and transpose. */
#ifndef CNNC_WINOGRAD_TRANSFORM_H
#define CNNC_WINOGRAD_TRANSFORM_H

#include <stdbool.h>
#include <stdint.h>

/* m + r - 1 at most: along one axis, and along both, where rounding errors multiply. */
#define WINOGRAD_MAX 8
#define WINOGRAD_TILE_MAX 6

/* A fraction in lowest terms; the denominator is positive. */
typedef struct Rational {
    int64_t numerator, denominator;
} Rational;
Rational rational(int64_t numerator, int64_t denominator);
Rational rational_plus(Rational x, Rational y);
Rational rational_minus(Rational x, Rational y);
Rational rational_times(Rational x, Rational y);
Rational rational_over(Rational x, Rational y);
bool rational_equal(Rational x, Rational y);
double rational_value(Rational x);

typedef struct RationalMatrix {
    int rows, columns;
    Rational at[WINOGRAD_MAX][WINOGRAD_MAX];
} RationalMatrix;

/* Each product is scaled by a constant, in the transform of the filter or in that of the output:
 * where it is applied less often. */
typedef enum WinogradScaling { WINOGRAD_SCALE_FILTER, WINOGRAD_SCALE_OUTPUT } WinogradScaling;

typedef struct WinogradMatrices {
    RationalMatrix output; /* A^T: m x (m + r - 1) */
    RationalMatrix filter; /* G:   (m + r - 1) x r */
    RationalMatrix input;  /* B^T: square */
} WinogradMatrices;

/* m + r - 1 is 4, 6 or 8. */
WinogradMatrices winograd_matrices(int outputs, int taps, WinogradScaling scaling);

/* A matrix times a vector as straight-line code. Values are numbered: first the elements of the
 * vector, then the results of the steps; each step is a sum of at most WINOGRAD_MAX terms. The sum
 * and the difference of two values stand for pairs of rows, or columns, that agree but for signs
 * (points p and -p make such pairs). */
typedef struct LinearTerm {
    int value;
    Rational coefficient;
} LinearTerm;

typedef struct LinearStep {
    int term_count;
    LinearTerm terms[WINOGRAD_MAX]; /* one with coefficient 1 first, if there is one */
    int row;                        /* of the result; -1: an intermediate value */
} LinearStep;

#define MAX_LINEAR_STEPS (3 * WINOGRAD_MAX)
typedef struct LinearProgram {
    int input_count, row_count;
    int step_count;
    LinearStep steps[MAX_LINEAR_STEPS];
} LinearProgram;

LinearProgram linear_program(const RationalMatrix *matrix);
/* Additions and multiplications, a multiply-add as one. */
int linear_operations(const LinearProgram *program);

#endif
