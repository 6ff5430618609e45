/* The C printer: precedence, literals, loop hints, dead code, wrapping, comments. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "cprint.h"
#include "wrap.h"

enum { BATCH = 16 };

typedef struct Fixture {
    Arena *arena;
    Kernel kernel;
    Tensor tensor;
    Buffer x, y;
} Fixture;

static int set_up(void **state) {
    static Fixture fixture;
    memset(&fixture, 0, sizeof fixture);
    fixture.arena = arena_create();
    fixture.tensor =
        (Tensor){.elements = 100, .storage = 100, .type = TYPE_REAL, .per_example = true};
    fixture.x = (Buffer){.name = "x", .type = TYPE_REAL, .tensor = &fixture.tensor};
    fixture.y =
        (Buffer){.name = "y", .type = TYPE_REAL, .written = true, .tensor = &fixture.tensor};
    fixture.x.per_example = fixture.y.per_example = true;
    builder_init(&fixture.kernel.builder, fixture.arena, &fixture.kernel.body);
    fixture.kernel.parameters = ARENA_ARRAY(fixture.arena, Buffer *, 2);
    fixture.kernel.parameters[0] = &fixture.x;
    fixture.kernel.parameters[1] = &fixture.y;
    fixture.kernel.parameter_count = 2;
    *state = &fixture;
    return 0;
}

static int tear_down(void **state) {
    arena_free(((Fixture *)*state)->arena);
    return 0;
}

static const char *body(Fixture *f) {
    Text text;
    text_init(&text, f->arena);
    print_kernel_body(&text, &f->kernel, kernel_use(f->arena, &f->kernel), NULL, BATCH, 0);
    return text.bytes;
}

static const char *parameters(Fixture *f) {
    Text text;
    text_init(&text, f->arena);
    print_kernel_parameters(&text, kernel_use(f->arena, &f->kernel), NULL, BATCH);
    for (char *c = text.bytes; *c != '\0'; c++)
        *c = *c < ' ' ? ' ' : *c;
    return text.bytes;
}

static Expr *x_at(Fixture *f, Expr *index) {
    return load_at(&f->kernel.builder, &f->x, 1, &index);
}

static void store(Fixture *f, Expr *index, Expr *value) {
    store_at(&f->kernel.builder, &f->y, 1, &index, value, false);
}

/* What "y[0] = <value>;" prints for the value. */
static void assert_value(Fixture *f, Expr *value, const char *expected) {
    f->kernel.body = (Block){NULL, NULL};
    store(f, integer(&f->kernel.builder, 0), value);
    assert_string_equal(body(f), arena_format(f->arena, "y[0] = %s;\n", expected));
}

static void test_real_sums_keep_their_order(void **state) {
    Fixture *f = *state;
    Builder *b = &f->kernel.builder;
    Expr *p = x_at(f, integer(b, 1)), *q = x_at(f, integer(b, 2)), *r = x_at(f, integer(b, 3));
    assert_value(f, plus(b, plus(b, p, q), r), "x[1] + x[2] + x[3]");
    assert_value(f, plus(b, p, plus(b, q, r)), "x[1] + (x[2] + x[3])");
    assert_value(f, minus(b, p, minus(b, q, r)), "x[1] - (x[2] - x[3])");
    assert_value(f, times(b, plus(b, p, q), r), "(x[1] + x[2]) * x[3]");
    assert_value(f, over(b, p, times(b, q, r)), "x[1] / (x[2] * x[3])");
    assert_value(f, over(b, times(b, p, q), r), "x[1] * x[2] / x[3]");
    assert_value(f, negated(b, plus(b, p, q)), "-(x[1] + x[2])");
    assert_value(f, negated(b, negated(b, p)), "-(-x[1])");
}

static void test_index_sums_need_no_parentheses(void **state) {
    Fixture *f = *state;
    Builder *b = &f->kernel.builder;
    Expr *i = open_loop(b, LOOP_SERIAL, "i", 4);
    Expr *j = open_loop(b, LOOP_SERIAL, "j", 4);
    store(f, plus(b, i, plus(b, j, minus(b, i, integer(b, 2)))), number(b, 1));
    close_blocks(b, 2);
    assert_string_equal(body(f),
                        "for (int i = 0; i < 4; i++)\n"
                        "for (int j = 0; j < 4; j++)\n"
                        "  y[i + j + i - 2] = 1;\n");
}

static void test_conditions(void **state) {
    Fixture *f = *state;
    Builder *b = &f->kernel.builder;
    Expr *p = x_at(f, integer(b, 1)), *zero = number(b, 0);
    Expr *positive = greater(b, p, zero), *small = less(b, p, number(b, 6));
    assert_value(f, choose(b, both(b, positive, small), p, zero),
                 "x[1] > 0 && x[1] < 6 ? x[1] : 0");
    Expr *either = binary(b, BINARY_OR, both(b, positive, small), equal(b, p, number(b, 9)));
    assert_value(f, choose(b, either, p, zero), "(x[1] > 0 && x[1] < 6) || x[1] == 9 ? x[1] : 0");
    assert_value(f, choose(b, positive, zero, choose(b, small, p, zero)),
                 "x[1] > 0 ? 0 : x[1] < 6 ? x[1] : 0");
    assert_value(f, plus(b, choose(b, positive, p, zero), p), "(x[1] > 0 ? x[1] : 0) + x[1]");
    assert_value(f, choose(b, unary(b, UNARY_NOT, positive), p, zero), "!(x[1] > 0) ? x[1] : 0");
}

static void test_literals(void **state) {
    Fixture *f = *state;
    Builder *b = &f->kernel.builder;
    Expr *p = x_at(f, integer(b, 1));
    assert_value(f, number(b, 0.1), "(real)0.1");
    assert_value(f, number(b, -2), "-2");
    assert_value(f, number(b, 1e30), "(real)1e+30");
    assert_value(f, number(b, -0.0), "(real)-0.0");
    assert_value(f, number(b, 16777217), "(real)16777217.0");
    assert_value(f, plus(b, p, number(b, -3)), "x[1] - 3");
    assert_value(f, plus(b, p, number(b, -0.5)), "x[1] - (real)0.5");
    assert_value(f, times(b, number(b, 0.5), p), "(real)0.5 * x[1]");
    /* C would divide the integers. */
    assert_value(f, over(b, number(b, 1), number(b, 3)), "(real)1 / 3");
    Expr *select = choose(b, greater(b, p, number(b, 0)), number(b, 1), number(b, 2));
    assert_value(f, over(b, select, number(b, 3)), "(real)(x[1] > 0 ? 1 : 2) / 3");
}

static void test_functions_follow_the_type(void **state) {
    Fixture *f = *state;
    Builder *b = &f->kernel.builder;
    Expr *p = x_at(f, integer(b, 1)), *wide = convert(b, TYPE_DOUBLE, p);
    assert_value(f, maximum(b, p, number(b, 0)), "real_max(x[1], 0)");
    assert_value(f, unary(b, UNARY_EXP, p), "real_exp(x[1])");
    Expr *in_double = convert(b, TYPE_REAL, unary(b, UNARY_ABSOLUTE, wide));
    assert_value(f, in_double, "(real)fabs((double)x[1])");
    Expr *i = open_loop(b, LOOP_SERIAL, "i", 4);
    store(f, maximum(b, i, integer(b, 2)), p);
    close_blocks(b, 1);
    assert_non_null(strstr(body(f), "y[index_max(i, 2)] = x[1];"));
}

static void test_what_nothing_reads_is_left_out(void **state) {
    Fixture *f = *state;
    Builder *b = &f->kernel.builder;
    Expr *first = declare(b, "first", TYPE_REAL, x_at(f, integer(b, 0)));
    declare(b, "second", TYPE_REAL, plus(b, first, first));
    Expr *counter = declare(b, "counter", TYPE_REAL, number(b, 0));
    open_loop(b, LOOP_SERIAL, "i", 4);
    local_add(b, counter, number(b, 1));
    close_blocks(b, 1);
    store(f, integer(b, 0), number(b, 0));
    assert_string_equal(body(f), "y[0] = 0;\n");
    assert_string_equal(parameters(f), "(real *RESTRICT y)");
}

static void test_accumulators_stay(void **state) {
    Fixture *f = *state;
    Builder *b = &f->kernel.builder;
    Expr *n = open_batch(b, LOOP_INDEPENDENT);
    Expr *sum = declare(b, "sum", TYPE_DOUBLE, number(b, 0));
    Expr *i = open_loop(b, LOOP_REDUCTION, "i", 100);
    local_add(b, sum, x_at(f, plus(b, times(b, n, integer(b, 100)), i)));
    close_blocks(b, 1);
    store(f, n, sum);
    close_blocks(b, 1);
    assert_string_equal(body(f),
                        "for (int n = 0; n < batch; n++) {\n"
                        "  double sum = 0;\n"
                        "  for (int i = 0; i < 100; i++)\n"
                        "    sum += x[n * 100 + i];\n"
                        "  y[n] = (real)sum;\n"
                        "}\n");
    assert_string_equal(parameters(f), "(int batch, const real *RESTRICT x, real *RESTRICT y)");
}

static void test_large_buffers_have_wide_indices(void **state) {
    Fixture *f = *state;
    Builder *b = &f->kernel.builder;
    f->tensor.storage = INT_MAX / BATCH + 1;
    store(f, open_batch(b, LOOP_INDEPENDENT), number(b, 1));
    close_blocks(b, 1);
    assert_string_equal(body(f), "for (ptrdiff_t n = 0; n < batch; n++)\n  y[n] = 1;\n");
    assert_string_equal(parameters(f), "(ptrdiff_t batch, real *RESTRICT y)");
    f->tensor.storage--;
    assert_string_equal(parameters(f), "(int batch, real *RESTRICT y)");
}

/* The work of one example decides from which batch on a loop uses threads. */
static void test_loop_hints(void **state) {
    Fixture *f = *state;
    Builder *b = &f->kernel.builder;
    Expr *n = open_batch(b, LOOP_INDEPENDENT);
    Stmt *loop = b->open_stmt[b->depth - 1];
    store(f, n, number(b, 1));
    close_blocks(b, 1);
    const char *plain = "for (int n = 0; n < batch; n++)\n  y[n] = 1;\n";
    loop->parallel = loop->parallel_work_per_example = true;
    loop->parallel_work = 1e9;
    assert_string_equal(body(f), arena_format(f->arena, "PARALLEL_FOR\n%s", plain));
    loop->parallel_work = 10000;
    assert_string_equal(body(f), arena_format(f->arena, "PARALLEL_FOR_IF(batch >= 10)\n%s", plain));
    loop->collapse = 2;
    assert_string_equal(
        body(f), arena_format(f->arena, "PARALLEL_FOR_COLLAPSE_IF(2, batch >= 10)\n%s", plain));
    loop->parallel_work = 10;
    assert_string_equal(body(f), plain);
    loop->parallel = false;
    loop->simd = true;
    assert_string_equal(body(f), arena_format(f->arena, "SIMD\n%s", plain));
}

static void test_vectors(void **state) {
    Fixture *f = *state;
    Builder *b = &f->kernel.builder;
    const int64_t extent[2] = {4, 32};
    Buffer *tile = declare_array(b, "tile", TYPE_REAL, 2, extent);
    Expr *place[2] = {integer(b, 1), integer(b, 16)}, *eight = integer(b, 8);
    Expr *load = x_at(f, eight);
    load->type = TYPE_VECTOR;
    store_at(b, tile, 2, place, load, false);
    Expr *back = load_at(b, tile, 2, place);
    back->type = TYPE_VECTOR;
    store_at(b, &f->y, 1, &eight, back, true);
    assert_string_equal(body(f),
                        "ALIGNED(64) real tile[4][32];\n"
                        "VECTOR_STORE(&tile[1][16], VECTOR_LOAD(x + 8));\n"
                        "VECTOR_STORE(y + 8, VECTOR_LOAD(y + 8) + VECTOR_LOAD(&tile[1][16]));\n");
}

static void test_random_parameters(void **state) {
    Fixture *f = *state;
    Builder *b = &f->kernel.builder;
    Expr *element = integer(b, 7);
    Expr *active = call(b, TYPE_BOOLEAN, CALL_RANDOM_ACTIVE, 0, NULL);
    Expr *uniform = call(b, TYPE_REAL, CALL_RANDOM_UNIFORM, 1, &element);
    assert_value(f, choose(b, active, uniform, number(b, 0)),
                 "random_layers ? random_uniform(random_key, random_stream, 7) : 0");
    assert_string_equal(parameters(f),
                        "(uint64_t random_key, uint32_t random_stream, "
                        "int random_layers, real *RESTRICT y)");
}

static void test_long_lines_are_wrapped(void **state) {
    Fixture *f = *state;
    Builder *b = &f->kernel.builder;
    Expr *sum = x_at(f, integer(b, 1000000));
    for (int i = 1; i < 30; i++)
        sum = plus(b, sum, times(b, number(b, 0.25), x_at(f, integer(b, 1000000 + i))));
    store(f, integer(b, 0), sum);
    const char *text = body(f);
    int lines = 0;
    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1, lines++)
        assert_true(strcspn(line, "\n") <= LINE_WIDTH);
    assert_true(lines > 5);
}

static void test_comments_cannot_be_left(void **state) {
    Fixture *f = *state;
    static const char *const hostile[] = {
        "a */ b", "/* a", "a *\\\n/ b", "?\?/\n", "a\\", "\xe2\x80\xae reversed", "\xff\x01\x7f"};
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        const char *safe = comment_safe(f->arena, hostile[i]);
        assert_null(strstr(safe, "*/"));
        assert_null(strstr(safe, "/*"));
        assert_null(strstr(safe, "\\\n"));
        assert_null(strstr(safe, "?\?/"));
        assert_null(strstr(safe, "\xe2\x80\xae"));
        assert_null(strpbrk(safe, "\xff\x01\x7f"));
    }
    assert_string_equal(comment_safe(f->arena, "caf\xc3\xa9\r\n"), "caf\xc3\xa9\n");
}

static void test_doubles_read_back(void **state) {
    Fixture *f = *state;
    Text text;
    text_init(&text, f->arena);
    text_add_double(&text, 0.1);
    text_add(&text, " ");
    text_add_double(&text, 1.0 / 3);
    text_add(&text, " ");
    text_add_double(&text, 100);
    assert_string_equal(text.bytes, "0.1 0.3333333333333333 100.0");
    text_clear(&text);
    text_add_quoted(&text,
                    "a\"b\\\n?\?/\x01"
                    "2");
    assert_string_equal(text.bytes, "\"a\\\"b\\\\\\n\\?\?/\\0012\"");
}

/* The sizes as numbers with blanks between them. */
static const char *found(Fixture *f, const KernelSizes *sizes) {
    Text text;
    text_init(&text, f->arena);
    for (int i = 0; i < sizes->count; i++)
        text_format(&text, "%s%d", i > 0 ? " " : "", (int)sizes->values[i]);
    return text.bytes;
}

/* for u, for i: y[u*20 + i*30 + i/7] = r[i + 2], with a local r. */
static void build_sizes(Fixture *f, LoopKind kind, int64_t trips, bool unroll) {
    Builder *b = &f->kernel.builder;
    f->kernel.body = (Block){NULL, NULL};
    int64_t extent = 8;
    Buffer *r = declare_array(b, "r", TYPE_REAL, 1, &extent);
    Expr *u = open_loop(b, kind, "u", trips);
    b->open_stmt[b->depth - 1]->unroll = unroll;
    Expr *i = open_loop(b, LOOP_SERIAL, "i", 6), *second = plus(b, i, integer(b, 2));
    Expr *row = times(b, u, integer(b, 20)), *column = times(b, i, integer(b, 30));
    Expr *at = plus(b, plus(b, row, column), over(b, i, integer(b, 7)));
    store(f, at, load_at(b, r, 1, &second));
    close_blocks(b, 2);
}

static void assert_sizes(Fixture *f, const char *expected) {
    Text text;
    text_init(&text, f->arena);
    KernelSizes sizes = {0};
    const KernelUse *use = kernel_use(f->arena, &f->kernel);
    print_kernel_body(&text, &f->kernel, use, &sizes, BATCH, 0);
    assert_string_equal(found(f, &sizes), expected);
}

static void test_sizes_are_numbers_that_nobody_counts_on(void **state) {
    Fixture *f = *state;
    build_sizes(f, LOOP_SERIAL, 9, false);
    assert_sizes(f, "0 9 0 6 20 30");
    build_sizes(f, LOOP_SERIAL, 3, false); /* short */
    assert_sizes(f, "0 0 6 20 30");
    build_sizes(f, LOOP_INDEPENDENT, 3, false);
    assert_sizes(f, "0 3 0 6 20 30");
    build_sizes(f, LOOP_SERIAL, 3, true); /* few rows */
    assert_sizes(f, "0 6 20 30");
    build_sizes(f, LOOP_SERIAL, 9, true); /* many */
    assert_sizes(f, "0 6 30");
}

static void test_sizes_have_names(void **state) {
    Fixture *f = *state;
    build_sizes(f, LOOP_SERIAL, 9, false);
    int64_t values[] = {0, 9, 0, 6, 20, 30};
    const char *size = "size", *names[] = {NULL, size, NULL, NULL, "step", size};
    KernelSizes sizes = {6, 6, values, names};
    const KernelUse *use = kernel_use(f->arena, &f->kernel);
    Text text;
    text_init(&text, f->arena);
    print_kernel_body(&text, &f->kernel, use, &sizes, BATCH, 0);
    assert_string_equal(text.bytes,
                        "real r[8];\n"
                        "for (int u = 0; u < size; u++)\n"
                        "for (int i = 0; i < 6; i++)\n"
                        "  y[u * step + i * size + i / 7] = r[i + 2];\n");
    text_clear(&text);
    print_kernel_parameters(&text, use, &sizes, BATCH);
    assert_string_equal(text.bytes, "(int size,\001int step,\001real *RESTRICT y)");
}

static void test_wide_indices_have_no_sizes(void **state) {
    Fixture *f = *state;
    build_sizes(f, LOOP_SERIAL, 9, false);
    f->tensor.storage = (int64_t)INT_MAX;
    assert_sizes(f, "");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_real_sums_keep_their_order),
        TEST(test_index_sums_need_no_parentheses),
        TEST(test_conditions),
        TEST(test_literals),
        TEST(test_functions_follow_the_type),
        TEST(test_what_nothing_reads_is_left_out),
        TEST(test_accumulators_stay),
        TEST(test_large_buffers_have_wide_indices),
        TEST(test_loop_hints),
        TEST(test_vectors),
        TEST(test_random_parameters),
        TEST(test_long_lines_are_wrapped),
        TEST(test_comments_cannot_be_left),
        TEST(test_doubles_read_back),
        TEST(test_sizes_are_numbers_that_nobody_counts_on),
        TEST(test_sizes_have_names),
        TEST(test_wide_indices_have_no_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
