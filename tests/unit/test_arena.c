/* Memory of one compilation: alignment, zeroes, growth. */
#include "arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static int create(void **state) {
    *state = arena_create();
    return 0;
}

static int destroy(void **state) {
    arena_free(*state);
    return 0;
}

static void memory_is_zero_and_aligned(void **state) {
    for (size_t size = 1; size < 200000; size = size * 3 + 1) {
        unsigned char *bytes = arena_allocate(*state, size, 1);
        assert_int_equal((uintptr_t)bytes % sizeof(double), 0);
        for (size_t i = 0; i < size; i++) {
            assert_int_equal(bytes[i], 0);
            bytes[i] = 0xFF;
        }
    }
}

static void large_blocks_do_not_end_small_ones(void **state) {
    char *before = arena_allocate(*state, 16, 1);
    char *large = arena_allocate(*state, 1 << 20, 1);
    char *after = arena_allocate(*state, 16, 1);
    memset(large, 1, 1 << 20);
    assert_ptr_equal(after, before + 16);
}

static void nothing_is_something_too(void **state) {
    assert_non_null(arena_allocate(*state, 0, 8));
    assert_ptr_not_equal(arena_allocate(*state, 0, 8), arena_allocate(*state, 0, 8));
}

static void texts_are_copied_and_formatted(void **state) {
    char text[] = "network";
    const char *copy = arena_copy(*state, text, 3);
    text[0] = 'x';
    assert_string_equal(copy, "net");
    assert_string_equal(arena_format(*state, "%s%d", "conv", 12), "conv12");
    assert_int_equal(strlen(arena_format(*state, "%100000d", 1)), 100000);
}

static void arrays_grow(void **state) {
    int *items = NULL, count = 0, capacity = 0;
    for (; count < 10000; count++) {
        ARENA_GROW(*state, items, count, capacity);
        items[count] = count;
    }
    for (int i = 0; i < count; i++) {
        assert_int_equal(items[i], i);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(memory_is_zero_and_aligned, create, destroy),
        cmocka_unit_test_setup_teardown(large_blocks_do_not_end_small_ones, create, destroy),
        cmocka_unit_test_setup_teardown(nothing_is_something_too, create, destroy),
        cmocka_unit_test_setup_teardown(texts_are_copied_and_formatted, create, destroy),
        cmocka_unit_test_setup_teardown(arrays_grow, create, destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
