/* Places in source texts: lines, columns in characters, several files. */
#include "source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static Arena *arena;
static Sources *sources;

static int create(void **state) {
    (void)state;
    arena = arena_create();
    sources = sources_create(arena);
    return 0;
}

static int destroy(void **state) {
    (void)state;
    arena_free(arena);
    return 0;
}

static SourceFile *add(const char *path, const char *text) {
    return source_from_text(sources, path, text, strlen(text));
}

static void expect_place(uint32_t position, const char *path, int line, int column) {
    SourcePlace place = source_place(sources, position);
    assert_non_null(place.file);
    assert_string_equal(place.file->path, path);
    assert_int_equal(place.line, line);
    assert_int_equal(place.column, column);
}

static void lines_and_columns(void **state) {
    (void)state;
    SourceFile *one = add("one", "ab\ncd");
    SourceFile *two = add("two", "\xC3\xA9x\r\n\ty\n");
    expect_place(one->begin, "one", 1, 1);
    expect_place(one->begin + 1, "one", 1, 2);
    expect_place(one->begin + 2, "one", 1, 3);
    expect_place(one->begin + 3, "one", 2, 1);
    expect_place(two->begin + 2, "two", 1, 2); /* behind a letter of two bytes */
    expect_place(two->begin + 6, "two", 2, 2); /* a tab is one character */
    SourcePlace place = source_place(sources, two->begin);
    assert_int_equal(place.line_length, 3); /* without the CR */
}

static void nowhere_has_no_place(void **state) {
    (void)state;
    SourceFile *file = add("file", "text");
    assert_null(source_place(sources, 0).file);
    assert_null(source_place(sources, file->begin + 1000).file);
    assert_true(file->begin >= 1);
}

static void the_end_is_on_the_last_line(void **state) {
    (void)state;
    SourceFile *file = add("file", "a\nbc\n");
    expect_place(file->begin + file->length, "file", 2, 3);
    SourceFile *empty = add("empty", "");
    expect_place(empty->begin + empty->length, "empty", 1, 1);
}

static void byte_order_mark_is_left_out(void **state) {
    (void)state;
    SourceFile *file = add("file", "\xEF\xBB\xBFnet");
    assert_string_equal(file->text, "net\n");
    assert_int_equal(file->length, 4);
}

static void texts_of_ranges(void **state) {
    (void)state;
    SourceFile *file = add("file", "input 3x3");
    SourceRange range = {file->begin + 6, file->begin + 9};
    assert_string_equal(source_text_of(sources, range, arena), "3x3");
    range.end = file->begin + 5000;
    assert_string_equal(source_text_of(sources, range, arena), "3x3\n");
    assert_string_equal(source_text_of(sources, (SourceRange){0, 0}, arena), "");
}

static void files_are_read(void **state) {
    (void)state;
    char path[] = "/tmp/cnnc-test-XXXXXX";
    int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    FILE *stream = fdopen(descriptor, "wb");
    for (int i = 0; i < 50000; i++) {
        fputs("line\n", stream);
    }
    fclose(stream);
    const char *problem = NULL;
    SourceFile *file = source_load(sources, path, &problem);
    remove(path);
    assert_non_null(file);
    assert_int_equal(file->length, 250000);
    expect_place(file->begin + 249999, path, 50000, 5);
}

static void what_cannot_be_read_says_why(void **state) {
    (void)state;
    const char *problem = NULL;
    assert_null(source_load(sources, "/nowhere/at/all", &problem));
    assert_non_null(strstr(problem, "cannot open"));
    problem = NULL;
    assert_null(source_load(sources, "/", &problem)); /* a directory */
    assert_non_null(problem);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lines_and_columns, create, destroy),
        cmocka_unit_test_setup_teardown(nowhere_has_no_place, create, destroy),
        cmocka_unit_test_setup_teardown(the_end_is_on_the_last_line, create, destroy),
        cmocka_unit_test_setup_teardown(byte_order_mark_is_left_out, create, destroy),
        cmocka_unit_test_setup_teardown(texts_of_ranges, create, destroy),
        cmocka_unit_test_setup_teardown(files_are_read, create, destroy),
        cmocka_unit_test_setup_teardown(what_cannot_be_read_says_why, create, destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
