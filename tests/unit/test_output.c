/* Output files: whole or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../compiler/output.h"

typedef struct Fixture {
    Arena *arena;
    char directory[64];
} Fixture;

static const char *path_of(const Fixture *fixture, const char *name) {
    return arena_format(fixture->arena, "%s/%s", fixture->directory, name);
}

static void put(const char *path, const char *text) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

static void expect(const char *path, const char *text) {
    char bytes[64] = "";
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t length = fread(bytes, 1, sizeof bytes - 1, file);
    bytes[length] = '\0';
    fclose(file);
    assert_string_equal(bytes, text);
}

static bool commit(Outputs *outputs) {
    const char *path = NULL, *problem = NULL;
    bool good = outputs_commit(outputs, &path, &problem);
    assert_true(good || (path && problem && *problem));
    return good;
}

static void replaces_files(void **state) {
    Fixture *fixture = *state;
    const char *old = path_of(fixture, "old"), *fresh = path_of(fixture, "fresh");
    put(old, "before");
    assert_int_equal(chmod(old, 0600), 0);
    Outputs *outputs = outputs_create(fixture->arena);
    text_add(outputs_open(outputs, old), "after");
    text_add(outputs_open(outputs, fresh), "new");
    assert_true(commit(outputs));
    expect(old, "after");
    expect(fresh, "new");
    struct stat status;
    assert_int_equal(stat(old, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

static void one_failure_writes_nothing(void **state) {
    Fixture *fixture = *state;
    const char *old = path_of(fixture, "old");
    put(old, "before");
    Outputs *outputs = outputs_create(fixture->arena);
    text_add(outputs_open(outputs, old), "after");
    text_add(outputs_open(outputs, path_of(fixture, "missing/file")), "new");
    assert_false(commit(outputs));
    expect(old, "before");
    assert_int_equal(unlink(old), 0); /* and no temporary file is left: the teardown's rmdir sees */
}

static void failing_device_writes_nothing(void **state) {
    Fixture *fixture = *state;
    const char *old = path_of(fixture, "old");
    if (access("/dev/full", W_OK) != 0)
        skip();
    put(old, "before");
    Outputs *outputs = outputs_create(fixture->arena);
    text_add(outputs_open(outputs, old), "after");
    text_add(outputs_open(outputs, "/dev/full"), "lost");
    assert_false(commit(outputs));
    expect(old, "before");
}

static void follows_links(void **state) {
    Fixture *fixture = *state;
    const char *old = path_of(fixture, "old"), *link = path_of(fixture, "link");
    put(old, "before");
    assert_int_equal(symlink(old, link), 0);
    Outputs *outputs = outputs_create(fixture->arena);
    text_add(outputs_open(outputs, link), "after");
    assert_true(commit(outputs));
    expect(old, "after");
    assert_true(output_is_file(link, old));
    assert_false(output_is_file(path_of(fixture, "none"), old));
}

static int make_directory(void **state) {
    Fixture *fixture = calloc(1, sizeof *fixture);
    if (!fixture)
        return -1;
    fixture->arena = arena_create();
    strcpy(fixture->directory, "/tmp/cnnc-output-XXXXXX");
    *state = fixture;
    return mkdtemp(fixture->directory) ? 0 : -1;
}

static int remove_directory(void **state) {
    Fixture *fixture = *state;
    const char *const names[] = {"old", "fresh", "link"};
    for (int i = 0; i < 3; i++)
        unlink(path_of(fixture, names[i]));
    int result = rmdir(fixture->directory);
    arena_free(fixture->arena);
    free(fixture);
    return result;
}

#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_DIRECTORY(replaces_files),
        IN_DIRECTORY(one_failure_writes_nothing),
        IN_DIRECTORY(failing_device_writes_nothing),
        IN_DIRECTORY(follows_links),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
