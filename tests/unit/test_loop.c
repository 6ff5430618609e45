/* The loop language: folding of expressions, names in scope, and what the scheduler marks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "schedule.h"

typedef struct Fixture {
    Arena *arena;
    Kernel kernel;
} Fixture;

static int set_up(void **state) {
    static Fixture fixture;
    fixture = (Fixture){.arena = arena_create()};
    builder_init(&fixture.kernel.builder, fixture.arena, &fixture.kernel.body);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state) {
    arena_free(((Fixture *)*state)->arena);
    return 0;
}

static Builder *builder_of(void **state) {
    return &((Fixture *)*state)->kernel.builder;
}

static void test_constants_fold(void **state) {
    Builder *b = builder_of(state);
    assert_true(is_integer(plus(b, integer(b, 3), integer(b, 4)), 7));
    assert_true(is_integer(times(b, integer(b, 3), integer(b, -4)), -12));
    assert_true(is_integer(over(b, integer(b, 9), integer(b, 2)), 4));
    assert_true(is_integer(remainder_of(b, integer(b, 9), integer(b, 2)), 1));
}

static void test_neutral_elements_vanish(void **state) {
    Builder *b = builder_of(state);
    Expr *i = open_loop(b, LOOP_SERIAL, "i", 10);
    assert_ptr_equal(plus(b, i, integer(b, 0)), i);
    assert_ptr_equal(plus(b, integer(b, 0), i), i);
    assert_ptr_equal(times(b, i, integer(b, 1)), i);
    assert_true(is_integer(times(b, i, integer(b, 0)), 0));
    assert_true(is_integer(remainder_of(b, i, integer(b, 1)), 0));
    close_blocks(b, 1);
}

static void test_constants_of_sums_join(void **state) {
    Builder *b = builder_of(state);
    Expr *i = open_loop(b, LOOP_SERIAL, "i", 10);
    Expr *sum = plus(b, plus(b, i, integer(b, 2)), integer(b, 3));
    assert_int_equal(sum->operation, BINARY_ADD);
    assert_true(is_integer(sum->argument[1], 5));
    Expr *back = minus(b, plus(b, i, integer(b, 2)), integer(b, 2));
    assert_ptr_equal(back, i);
    Expr *below = minus(b, plus(b, i, integer(b, 2)), integer(b, 5));
    assert_int_equal(below->operation, BINARY_SUBTRACT);
    assert_true(is_integer(below->argument[1], 3));
    close_blocks(b, 1);
}

/* x*0 is not 0 for reals: x may be infinite. */
static void test_real_zero_is_kept(void **state) {
    Builder *b = builder_of(state);
    Expr *x = declare(b, "x", TYPE_REAL, NULL);
    assert_int_equal(times(b, x, number(b, 0))->kind, EXPR_BINARY);
}

static void test_indices_convert(void **state) {
    Builder *b = builder_of(state);
    Expr *i = open_loop(b, LOOP_SERIAL, "i", 10);
    Expr *sum = plus(b, i, number(b, 0.5));
    assert_int_equal(sum->type, TYPE_REAL);
    assert_int_equal(sum->argument[0]->kind, EXPR_CONVERT);
    assert_int_equal(less(b, i, integer(b, 3))->type, TYPE_BOOLEAN);
    close_blocks(b, 1);
}

static void test_names_are_unique_in_scope(void **state) {
    Builder *b = builder_of(state);
    Expr *first = open_loop(b, LOOP_SERIAL, "i", 10);
    Expr *inner = open_loop(b, LOOP_SERIAL, "i", 10);
    assert_string_equal(first->variable->name, "i");
    assert_string_equal(inner->variable->name, "i2");
    close_blocks(b, 2);
    Expr *later = open_loop(b, LOOP_SERIAL, "i", 10);
    assert_string_equal(later->variable->name, "i");
    close_blocks(b, 1);
    assert_string_equal(builder_reserve(b, "batch"), "batch2");
}

/* for i, j independent, k a sum: i gets the threads, k the vectors. */
static void test_schedule_marks_loops(void **state) {
    Fixture *fixture = *state;
    Builder *b = builder_of(state);
    open_loop(b, LOOP_INDEPENDENT, "i", 100);
    open_loop(b, LOOP_INDEPENDENT, "j", 100);
    Expr *sum = declare(b, "sum", TYPE_REAL, number(b, 0));
    Expr *k = open_loop(b, LOOP_REDUCTION, "k", 100);
    local_add(b, sum, k);
    close_blocks(b, 3);
    LowerOptions options = {.level = 1, .vector_length = 8, .threads = 2};
    schedule_parallel(&fixture->kernel, &options);
    schedule_simd(&fixture->kernel);
    const Stmt *i = fixture->kernel.body.first, *j = i->body.first;
    assert_true(i->parallel);
    assert_false(j->parallel);
    assert_true(i->parallel_work >= 100 * 100 * 100);
    const Stmt *inner = j->body.first->next;
    assert_true(inner->simd);
    assert_ptr_equal(inner->simd_sums[0], sum->variable);
}

/* A loop that carries something from one iteration to the next is left as it is. */
static void test_schedule_leaves_serial_loops(void **state) {
    Fixture *fixture = *state;
    Builder *b = builder_of(state);
    Expr *largest = declare(b, "largest", TYPE_REAL, number(b, 0));
    Expr *i = open_loop(b, LOOP_SERIAL, "i", 100);
    assign(b, largest, maximum(b, largest, i));
    close_blocks(b, 1);
    LowerOptions options = {.level = 1, .vector_length = 8, .threads = 2};
    schedule_parallel(&fixture->kernel, &options);
    schedule_simd(&fixture->kernel);
    const Stmt *loop = fixture->kernel.body.first->next;
    assert_false(loop->parallel);
    assert_false(loop->simd);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_constants_fold),         TEST(test_neutral_elements_vanish),
        TEST(test_constants_of_sums_join), TEST(test_real_zero_is_kept),
        TEST(test_indices_convert),        TEST(test_names_are_unique_in_scope),
        TEST(test_schedule_marks_loops),   TEST(test_schedule_leaves_serial_loops)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
