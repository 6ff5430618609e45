/* The vector type, with the width that this machine's compiler flags allow. */
#include "parallel.h"
#include "simd.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void load_and_store_anywhere(void **state) {
    real numbers[3 * VECTOR_LENGTH + 1], copy[3 * VECTOR_LENGTH + 1];
    (void)state;
    for (int i = 0; i < 3 * VECTOR_LENGTH + 1; i++) {
        numbers[i] = (real)i;
    }
    for (int begin = 0; begin <= 2 * VECTOR_LENGTH; begin++) {
        vector value = VECTOR_LOAD(numbers + begin);
        VECTOR_STORE(copy + begin, value + value);
        for (int lane = 0; lane < VECTOR_LENGTH; lane++) {
            assert_true(copy[begin + lane] == (real)(2 * (begin + lane)));
        }
    }
}

static void parts_of_vectors(void **state) {
    real numbers[VECTOR_LENGTH], copy[VECTOR_LENGTH];
    (void)state;
    for (int i = 0; i < VECTOR_LENGTH; i++) {
        numbers[i] = (real)(i + 1);
    }
    const vector value = VECTOR_LOAD(numbers);
    for (int count = 0; count <= VECTOR_LENGTH; count++) {
        VECTOR_STORE(copy, VECTOR_SET(-7));
        vector_store_partial(copy, count, &value);
        for (int lane = 0; lane < VECTOR_LENGTH; lane++) {
            assert_true(copy[lane] == (lane < count ? numbers[lane] : (real)-7));
        }
    }
}

static void sums_and_broadcasts(void **state) {
    real numbers[VECTOR_LENGTH];
    (void)state;
    for (int i = 0; i < VECTOR_LENGTH; i++) {
        numbers[i] = (real)(1 << i);
    }
    vector value = VECTOR_LOAD(numbers);
    assert_true(vector_sum(&value) == (real)((1 << VECTOR_LENGTH) - 1));
    value = VECTOR_SET((real)-0.0);
    VECTOR_STORE(numbers, value);
    assert_true(signbit(numbers[0]) && numbers[0] == 0);
    value = VECTOR_ZERO;
    assert_true(vector_sum(&value) == 0);
}

static void larger_lanes(void **state) {
    real a[VECTOR_LENGTH], b[VECTOR_LENGTH], larger[VECTOR_LENGTH];
    (void)state;
    for (int i = 0; i < VECTOR_LENGTH; i++) {
        a[i] = i % 2 == 0 ? NAN : (real)(i - 3);
        b[i] = i % 4 == 2 ? (real)INFINITY : (real)(2 - i);
    }
    for (int turn = 0; turn < 2; turn++) {
        vector best = VECTOR_LOAD(turn == 0 ? a : b);
        const vector value = VECTOR_LOAD(turn == 0 ? b : a);
        VECTOR_TAKE_LARGER(best, value);
        VECTOR_STORE(larger, best);
        for (int i = 0; i < VECTOR_LENGTH; i++) {
            assert_true(i % 2 == 0 ? isnan(larger[i]) : larger[i] == (a[i] > b[i] ? a[i] : b[i]));
        }
    }
}

static void every_other_lane(void **state) {
    real numbers[2 * VECTOR_LENGTH], even[VECTOR_LENGTH], odd[VECTOR_LENGTH];
    (void)state;
    for (int i = 0; i < 2 * VECTOR_LENGTH; i++) {
        numbers[i] = (real)i;
    }
    const vector a = VECTOR_LOAD(numbers), b = VECTOR_LOAD(numbers + VECTOR_LENGTH);
    VECTOR_STORE(even, VECTOR_EVEN(a, b));
    VECTOR_STORE(odd, VECTOR_ODD(a, b));
    for (int i = 0; i < VECTOR_LENGTH; i++) {
        assert_true(even[i] == (real)(2 * i) && odd[i] == (real)(2 * i + 1));
    }
}

static void transposed_blocks(void **state) {
    enum { FROM_STEP = VECTOR_LENGTH + 3, TO_STEP = VECTOR_LENGTH + 1 };
    real from[VECTOR_LENGTH * FROM_STEP], to[VECTOR_LENGTH * TO_STEP];
    (void)state;
    for (int i = 0; i < VECTOR_LENGTH * FROM_STEP; i++) {
        from[i] = (real)i;
    }
    for (int i = 0; i < VECTOR_LENGTH * TO_STEP; i++) {
        to[i] = -1;
    }
    VECTOR_TRANSPOSE(to[0], TO_STEP, from[0], FROM_STEP);
    for (int i = 0; i < VECTOR_LENGTH; i++) {
        for (int j = 0; j < VECTOR_LENGTH; j++) {
            assert_true(to[j * TO_STEP + i] == from[i * FROM_STEP + j]);
        }
        assert_true(to[i * TO_STEP + VECTOR_LENGTH] == -1); /* between the rows */
    }
}

/* A mean a thousand times the deviation: the squares' own sum would have no digit of it left. */
static void moments_far_from_zero(void **state) {
    enum { MOST = 29, STEP = VECTOR_LENGTH + 3 };
    real from[MOST * STEP], to[2 * VECTOR_LENGTH];
    (void)state;
    for (int i = 0; i < MOST * STEP; i++) {
        from[i] = (real)(1000 + sin(i * i));
    }
    for (int count = 1; count <= MOST; count++) {
        VECTOR_MOMENTS(to[0], from[0], count, STEP);
        for (int lane = 0; lane < VECTOR_LENGTH; lane++) {
            double mean = 0, squares = 0;
            for (int i = 0; i < count; i++) {
                mean += (double)from[i * STEP + lane] / count;
            }
            for (int i = 0; i < count; i++) {
                squares += pow((double)from[i * STEP + lane] - mean, 2);
            }
            assert_true(fabs((double)to[lane] - mean) < 1e-4);
            assert_true(fabs((double)to[VECTOR_LENGTH + lane] - squares) <= 1e-5 * squares);
        }
    }
}

static void loops_with_hints(void **state) {
    enum { COUNT = 1000 };
    int numbers[COUNT] = {0}, table[4] = {0};
    (void)state;
    PARALLEL_FOR_IF(COUNT > 10)
    for (int i = 0; i < COUNT; i++) {
        numbers[i] += i;
    }
    PARALLEL_FOR_COLLAPSE(2)
    for (int i = 0; i < COUNT / 10; i++) {
        for (int j = 0; j < 10; j++) {
            numbers[10 * i + j] += 1;
        }
    }
    UNROLL(4)
    for (int i = 0; i < 4; i++) {
        table[i] = i * i;
    }
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(numbers[i], i + 1);
    }
    assert_int_equal(table[3], 9);
    assert_true(parallel_threads() >= 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(load_and_store_anywhere),
        cmocka_unit_test(parts_of_vectors),
        cmocka_unit_test(sums_and_broadcasts),
        cmocka_unit_test(transposed_blocks),
        cmocka_unit_test(larger_lanes),
        cmocka_unit_test(every_other_lane),
        cmocka_unit_test(moments_far_from_zero),
        cmocka_unit_test(loops_with_hints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
