/* The transforms of tiles as functions of the emitted file, one for each matrix. */
#include "winograd_emission.h"

/* ---- Straight-line code ---- */

static Expr *add_product(Builder *b, Expr *sum, Expr *x, Rational coefficient) {
    double factor = rational_value(coefficient);
    if (sum == NULL)
        return factor == -1 ? negated(b, x) : times(b, number(b, factor), x);
    if (factor < 0)
        return minus(b, sum, times(b, number(b, -factor), x));
    return plus(b, sum, times(b, number(b, factor), x));
}

void winograd_emit_linear(Builder *b, const RationalMatrix *matrix, Expr *const *x, Expr **y) {
    LinearProgram program = linear_program(matrix);
    Expr *value[WINOGRAD_MAX + MAX_LINEAR_STEPS];
    for (int i = 0; i < program.input_count; i++)
        value[i] = x[i];
    for (int i = 0; i < program.step_count; i++) {
        const LinearStep *step = &program.steps[i];
        Expr *sum = NULL;
        for (int t = 0; t < step->term_count; t++)
            sum = add_product(b, sum, value[step->terms[t].value], step->terms[t].coefficient);
        if (step->row >= 0)
            y[step->row] = sum;
        else
            value[program.input_count + i] = declare(b, "part", x[0]->type, sum);
    }
}

/* ---- Functions ---- */

/* Where a function finds the vectors of a tile, or leaves them: its parameters. */
typedef struct Vectors {
    Buffer buffer;
    Variable row, column; /* how far apart rows and columns lie */
} Vectors;

static Expr *variable_value(Builder *b, Variable *variable) {
    Expr *value = ARENA_NEW(b->arena, Expr);
    *value = (Expr){.kind = EXPR_VARIABLE, .type = TYPE_INDEX, .variable = variable};
    return value;
}

static Expr *vector_offset(Builder *b, Vectors *vectors, Expr *row, Expr *column) {
    return plus(b, times(b, row, variable_value(b, &vectors->row)),
                times(b, column, variable_value(b, &vectors->column)));
}

/* half = matrix * X */
static void first_half(Builder *b, const RationalMatrix *matrix, Vectors *from, Buffer *half) {
    Expr *x[WINOGRAD_MAX], *y[WINOGRAD_MAX];
    int opened = 0;
    Expr *column = open_unrolled(b, "j", matrix->columns, &opened);
    for (int row = 0; row < matrix->columns; row++) {
        Expr *offset = vector_offset(b, from, integer(b, row), column);
        x[row] = declare(b, "x", TYPE_VECTOR, winograd_load_vector(b, &from->buffer, 1, &offset));
    }
    winograd_emit_linear(b, matrix, x, y);
    for (int row = 0; row < matrix->rows; row++) {
        Expr *place[2] = {integer(b, row), column};
        store_at(b, half, 2, place, y[row], false);
    }
    close_blocks(b, opened);
}

/* Y = half * matrix^T */
static void second_half(Builder *b, const RationalMatrix *matrix, Buffer *half, Vectors *to) {
    Expr *x[WINOGRAD_MAX], *y[WINOGRAD_MAX];
    int opened = 0;
    Expr *row = open_unrolled(b, "i", matrix->rows, &opened);
    for (int column = 0; column < matrix->columns; column++) {
        Expr *place[2] = {row, integer(b, column)};
        x[column] = declare(b, "x", TYPE_VECTOR, load_at(b, half, 2, place));
    }
    winograd_emit_linear(b, matrix, x, y);
    for (int column = 0; column < matrix->rows; column++) {
        Expr *offset = vector_offset(b, to, row, integer(b, column));
        store_at(b, &to->buffer, 1, &offset, y[column], false);
    }
    close_blocks(b, opened);
}

/* Matrices of one purpose and size are equal. */
static const char *purpose(const WinogradEmission *e, const RationalMatrix *matrix) {
    return matrix == &e->matrices.input    ? "input"
           : matrix == &e->matrices.filter ? "filter"
                                           : "result";
}

/* Operations of a transform, as schedule.c counts them. */
static int64_t transform_work(const RationalMatrix *matrix) {
    LinearProgram program = linear_program(matrix);
    int64_t once = matrix->columns + matrix->rows;
    for (int i = 0; i < program.step_count; i++)
        for (int t = 0; t < program.steps[i].term_count; t++)
            once += (t > 0) + (rational_value(program.steps[i].terms[t].coefficient) != 1);
    return once * (matrix->columns + matrix->rows);
}

/* The vectors that a function gets, and those that it leaves. */
static void make_parameters(Arena *arena, Vectors **from, Vectors **to) {
    *from = ARENA_NEW(arena, Vectors);
    *to = ARENA_NEW(arena, Vectors);
    **from = (Vectors){{.name = "from", .type = TYPE_REAL},
                       {.name = "row", .type = TYPE_INDEX},
                       {.name = "column", .type = TYPE_INDEX}};
    **to = (Vectors){{.name = "to", .type = TYPE_REAL, .written = true},
                     {.name = "to_row", .type = TYPE_INDEX},
                     {.name = "to_column", .type = TYPE_INDEX}};
}

static Subroutine *new_function(Arena *arena, const char *name, const char *comment) {
    Subroutine *function = ARENA_NEW(arena, Subroutine);
    function->name = name;
    function->comment = comment;
    function->parameters =
        "(const real *RESTRICT from,\001ptrdiff_t row,\001ptrdiff_t column,"
        "\001real *RESTRICT to,\001ptrdiff_t to_row,\001ptrdiff_t to_column)";
    function->kernel = ARENA_NEW(arena, Kernel);
    builder_init(&function->kernel->builder, arena, &function->kernel->body);
    return function;
}

static void call_function(Builder *b, const Subroutine *function, Expr **arguments, int64_t work) {
    Expr *transform = call(b, TYPE_VECTOR, function->name, 6, arguments);
    transform->subroutine = function;
    transform->integer = work;
    call_statement(b, transform);
}

static const Subroutine *transform_function(const WinogradEmission *e,
                                            const RationalMatrix *matrix) {
    Arena *arena = e->b->arena;
    const char *what = purpose(e, matrix);
    const char *name =
        arena_format(arena, "transform_%s_%dx%d", what, matrix->rows, matrix->columns);
    const char *comment =
        arena_format(arena, "Winograd's transform of %dx%d vectors to %dx%d: %s", matrix->columns,
                     matrix->columns, matrix->rows, matrix->rows, what);
    Subroutine *function = new_function(arena, name, comment);
    Builder *b = &function->kernel->builder;
    Vectors *from, *to;
    make_parameters(arena, &from, &to);
    int64_t extent[2] = {matrix->rows, matrix->columns};
    Buffer *half = declare_array(b, "half", TYPE_VECTOR, 2, extent);
    first_half(b, matrix, from, half);
    second_half(b, matrix, half, to);
    function->copied = true;
    return function;
}

/* The same as one function for all kernels. */
static const Subroutine *shared_function(const WinogradEmission *e, const RationalMatrix *matrix) {
    Arena *arena = e->b->arena;
    const Subroutine *transform = transform_function(e, matrix);
    Subroutine *function =
        new_function(arena, arena_format(arena, "shared_%s", transform->name), "The same, shared");
    Builder *b = &function->kernel->builder;
    Vectors *from, *to;
    make_parameters(arena, &from, &to);
    Expr *zero = integer(b, 0);
    Expr *arguments[6] = {load_at(b, &from->buffer, 1, &zero), variable_value(b, &from->row),
                          variable_value(b, &from->column),    load_at(b, &to->buffer, 1, &zero),
                          variable_value(b, &to->row),         variable_value(b, &to->column)};
    call_function(b, transform, arguments, 0);
    return function;
}

/* So many channels, and one function takes no longer than a copy in every kernel, which the C
 * compiler would spend a tenth of its time on. */
#define MANY_CHANNELS 128

static bool has_many_channels(const WinogradPlan *plan) {
    int64_t fewest =
        plan->input_blocks < plan->result_blocks ? plan->input_blocks : plan->result_blocks;
    return fewest * plan->length >= MANY_CHANNELS;
}

void winograd_transform(const WinogradEmission *e, const RationalMatrix *matrix,
                        const WinogradVectors *from, const WinogradVectors *to) {
    Builder *b = e->b;
    const Subroutine *function =
        (has_many_channels(e->plan) ? shared_function : transform_function)(e, matrix);
    Expr *arguments[6] = {from->first, integer(b, from->row), integer(b, from->column),
                          to->first,   integer(b, to->row),   integer(b, to->column)};
    to->first->buffer->written = true;
    call_function(b, function, arguments, transform_work(matrix));
}
