/* Messages as they are printed, and "did you mean". */
#include "diagnostic.h"
#include "suggest.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static Arena *arena;
static Sources *sources;
static Diagnostics *diagnostics;
static char *printed;

static int create(void **state) {
    (void)state;
    arena = arena_create();
    sources = sources_create(arena);
    diagnostics = diagnostics_create(arena, sources);
    return 0;
}

static int destroy(void **state) {
    (void)state;
    free(printed);
    printed = NULL;
    arena_free(arena);
    return 0;
}

static const char *print(ColorMode color) {
    size_t length;
    free(printed);
    FILE *stream = open_memstream(&printed, &length);
    diagnostics_print(diagnostics, stream, color);
    fclose(stream);
    return printed;
}

/* The range of `length` bytes from `offset` of a new file with that text. */
static SourceRange range_of(const char *text, uint32_t offset, uint32_t length) {
    SourceFile *file = source_from_text(sources, "a.cnn", text, strlen(text));
    return (SourceRange){file->begin + offset, file->begin + offset + length};
}

/* The same text at the same place is shown once, and is no further one that is not shown. */
static void repeated(void **state) {
    (void)state;
    SourceRange where = range_of("net = CNOV(3) - CNOV(3)\n", 6, 4);
    SourceRange other = {where.begin + 10, where.end + 10};
    diagnostic_note(diagnostic_error(diagnostics, where, "no layer"), other, "one note");
    diagnostic_note(diagnostic_error(diagnostics, where, "no layer"), other, "a lost note");
    diagnostic_error(diagnostics, other, "no layer");
    diagnostic_error(diagnostics, where, "another text");
    diagnostic_warning(diagnostics, WARNING_UNUSED, where, "no layer");
    diagnostic_warning(diagnostics, WARNING_UNUSED, where, "no layer");
    const char *text = print(COLOR_NEVER);
    assert_null(strstr(text, "lost"));
    assert_null(strstr(text, "not shown"));
    assert_int_equal(diagnostics_error_count(diagnostics), 4);
    int lines = 0;
    for (const char *colon = text; (colon = strstr(colon, "a.cnn:1:")) != NULL; colon++)
        lines++;
    assert_int_equal(lines, 5); /* three errors, a note, a warning */
}

static void error_note_hint(void **state) {
    (void)state;
    SourceRange where = range_of("input 3\nnet = CNOV(3)\n", 14, 4);
    Diagnostic *error = diagnostic_error(diagnostics, where, "no layer '%s'", "CNOV");
    diagnostic_note(error, (SourceRange){where.begin - 14, where.begin - 9}, "the input");
    diagnostic_hint(error, "write %s", "CONV");
    assert_string_equal(print(COLOR_NEVER),
                        "a.cnn:2:7: error: no layer 'CNOV'\n"
                        "net = CNOV(3)\n"
                        "      ^~~~\n"
                        "a.cnn:1:1: note: the input\n"
                        "input 3\n"
                        "^~~~~\n"
                        "hint: write CONV\n");
    assert_int_equal(diagnostics_error_count(diagnostics), 1);
}

static void nowhere(void **state) {
    (void)state;
    diagnostic_error(diagnostics, (SourceRange){0, 0}, "wrong");
    assert_string_equal(print(COLOR_NEVER), "cnnc: error: wrong\n");
}

static void tabs_and_letters_align(void **state) {
    (void)state;
    diagnostic_error(diagnostics, range_of("\t\xC3\xA9\t@\xC3\xA9", 4, 3), "here");
    assert_string_equal(print(COLOR_NEVER),
                        "a.cnn:1:4: error: here\n"
                        "\t\xC3\xA9\t@\xC3\xA9\n"
                        "\t \t^~\n");
}

static void terminals_are_safe(void **state) {
    (void)state;
    diagnostic_error(diagnostics, range_of("a\033[2J\xFF\xC2\x9B z", 0, 1), "here");
    assert_string_equal(print(COLOR_NEVER),
                        "a.cnn:1:1: error: here\n"
                        "a?[2J?? z\n"
                        "^\n");
}

static void long_lines_are_cut(void **state) {
    (void)state;
    char *line = arena_allocate(arena, 100001, 1);
    memset(line, 'x', 100000);
    diagnostic_error(diagnostics, range_of(line, 50000, 100), "here");
    const char *text = print(COLOR_NEVER);
    assert_true(strlen(text) < 350);
    assert_non_null(strstr(text, "\n...xxx"));
    assert_non_null(strstr(text, "xxx...\n"));
    /* The caret is below byte 50000, the 41st that is shown. */
    const char *caret = strchr(text, '^');
    while (caret[-1] != '\n') {
        caret--;
    }
    assert_int_equal(strspn(caret, " "), 3 + 40);
}

static void at_most_twenty(void **state) {
    (void)state;
    for (int i = 0; i < 23; i++) {
        Diagnostic *error = diagnostic_error(diagnostics, (SourceRange){0, 0}, "number %d", i);
        diagnostic_hint(error, "of %d", i);
    }
    const char *text = print(COLOR_NEVER);
    assert_non_null(strstr(text, "number 19"));
    assert_null(strstr(text, "number 20"));
    assert_null(strstr(text, "of 20"));
    assert_non_null(strstr(text, "3 further errors are not shown\n"));
    assert_int_equal(diagnostics_error_count(diagnostics), 23);
}

static void warnings_switch(void **state) {
    (void)state;
    diagnostic_warning(diagnostics, WARNING_UNUSED, (SourceRange){0, 0}, "one");
    assert_true(diagnostics_set_warning(diagnostics, "unused", false));
    diagnostic_hint(diagnostic_warning(diagnostics, WARNING_UNUSED, (SourceRange){0, 0}, "two"),
                    "no");
    assert_false(diagnostics_set_warning(diagnostics, "unusual", true));
    assert_true(diagnostics_set_warning(diagnostics, "all", true));
    assert_string_equal(print(COLOR_NEVER), "cnnc: warning: one [-Wunused]\n");
    assert_int_equal(diagnostics_error_count(diagnostics), 0);
    diagnostics_warnings_are_errors(diagnostics);
    diagnostic_warning(diagnostics, WARNING_UNUSED, (SourceRange){0, 0}, "three");
    assert_non_null(strstr(print(COLOR_NEVER), "cnnc: error: three [-Werror=unused]\n"));
    assert_int_equal(diagnostics_error_count(diagnostics), 1);
}

static void colors(void **state) {
    (void)state;
    diagnostic_error(diagnostics, range_of("x", 0, 1), "here");
    assert_non_null(strstr(print(COLOR_ALWAYS), "\033[1;31merror:\033[0m here"));
    assert_null(strchr(print(COLOR_AUTO), '\033')); /* a stream in memory is no terminal */
}

static void includes_are_named(void **state) {
    (void)state;
    SourceRange outer = range_of("include \"b\"", 8, 3);
    SourceFile *inner = source_from_text(sources, "b", "wrong", 5);
    inner->included_from = outer;
    diagnostic_error(diagnostics, (SourceRange){inner->begin, inner->begin + 5}, "here");
    assert_non_null(strstr(print(COLOR_NEVER),
                           "b:1:1: error: here\nwrong\n^~~~~\n"
                           "a.cnn:1:9: note: included from here\n"));
}

static void distances(void **state) {
    (void)state;
    assert_int_equal(edit_distance("CONV", "conv"), 0);
    assert_int_equal(edit_distance("CNOV", "CONV"), 1); /* neighbours exchanged */
    assert_int_equal(edit_distance("kernal", "kernel"), 1);
    assert_int_equal(edit_distance("", "abc"), 3);
    assert_int_equal(edit_distance("kitten", "sitting"), 3);
    char longer[100];
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(edit_distance(longer, "a"), INT_MAX);
}

static void suggestions(void **state) {
    (void)state;
    Suggestion near = suggestion_for("momentun");
    suggestion_offer_words(&near, arena, "lr momentum nesterov");
    assert_string_equal(near.best, "momentum");
    Suggestion far = suggestion_for("xyz");
    suggestion_offer_words(&far, arena, "lr momentum nesterov");
    assert_null(far.best);
    Suggestion letter = suggestion_for("a");
    suggestion_offer(&letter, "b");
    assert_null(letter.best);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(repeated, create, destroy),
        cmocka_unit_test_setup_teardown(error_note_hint, create, destroy),
        cmocka_unit_test_setup_teardown(nowhere, create, destroy),
        cmocka_unit_test_setup_teardown(tabs_and_letters_align, create, destroy),
        cmocka_unit_test_setup_teardown(terminals_are_safe, create, destroy),
        cmocka_unit_test_setup_teardown(long_lines_are_cut, create, destroy),
        cmocka_unit_test_setup_teardown(at_most_twenty, create, destroy),
        cmocka_unit_test_setup_teardown(warnings_switch, create, destroy),
        cmocka_unit_test_setup_teardown(colors, create, destroy),
        cmocka_unit_test_setup_teardown(includes_are_named, create, destroy),
        cmocka_unit_test_setup_teardown(distances, create, destroy),
        cmocka_unit_test_setup_teardown(suggestions, create, destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
