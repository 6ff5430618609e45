/* Numbers for people and aligned tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../compiler/report_table.h"

static void counts(void **state) {
    Arena *arena = *state;
    assert_string_equal(count_text(arena, 0), "0");
    assert_string_equal(count_text(arena, 999), "999");
    assert_string_equal(count_text(arena, 1000), "1,000");
    assert_string_equal(count_text(arena, 60806), "60,806");
    assert_string_equal(count_text(arena, 138357544), "138,357,544");
    assert_string_equal(count_text(arena, -123456), "-123,456");
    assert_string_equal(count_text(arena, INT64_MAX), "9,223,372,036,854,775,807");
}

static void scaled_numbers(void **state) {
    Arena *arena = *state;
    assert_string_equal(scaled_text(arena, 0), "0 ");
    assert_string_equal(scaled_text(arena, 999), "999 ");
    assert_string_equal(scaled_text(arena, 1000), "1.00 k");
    assert_string_equal(scaled_text(arena, 659558), "660 k");
    assert_string_equal(scaled_text(arena, 999600), "1.00 M");
    assert_string_equal(scaled_text(arena, 22620500000), "22.6 G");
    assert_string_equal(scaled_text(arena, INT64_MAX), "9.22 E");
}

static void bytes(void **state) {
    Arena *arena = *state;
    assert_string_equal(bytes_text(arena, 1023), "1023 B");
    assert_string_equal(bytes_text(arena, 1024), "1.00 KiB");
    assert_string_equal(bytes_text(arena, 10 * 1024 * 1024), "10.0 MiB");
    assert_string_equal(bytes_text(arena, (INT64_C(1) << 30) - 1), "1.00 GiB");
}

static void tables(void **state) {
    static const Column columns[] = {{"Name", false}, {"Count", true}, {"Note", false}};
    Text out;
    Table table;
    text_init(&out, *state);
    table_init(&table, *state, columns, 3);
    const char **row = table_add_row(&table);
    row[0] = "größe"; /* five columns wide, seven bytes */
    row[1] = "1";
    row[2] = "longer than its title";
    row = table_add_row(&table);
    row[0] = "n";
    row[1] = "123456";
    table_print_text(&out, &table, 1);
    assert_string_equal(out.bytes,
                        "Name    Count  Note\n"
                        "-------------------\n"
                        "größe       1  longer than its title\n"
                        "-------------------\n"
                        "n      123456\n");
    text_clear(&out);
    table_print_markdown(&out, &table);
    assert_string_equal(out.bytes,
                        "| Name | Count | Note |\n"
                        "|---|---:|---|\n"
                        "| größe | 1 | longer than its title |\n"
                        "| n | 123456 |  |\n");
}

static int make_arena(void **state) {
    *state = arena_create();
    return 0;
}

static int free_arena(void **state) {
    arena_free(*state);
    return 0;
}

#define WITH_ARENA(test) cmocka_unit_test_setup_teardown(test, make_arena, free_arena)

int main(void) {
    const struct CMUnitTest tests[] = {WITH_ARENA(counts), WITH_ARENA(scaled_numbers),
                                       WITH_ARENA(bytes), WITH_ARENA(tables)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
