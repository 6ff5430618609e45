/* npy, JSON, safetensors, weights: what is written comes back, what is wrong is refused. */
#include "file.h"
#include "json.h"
#include "npy.h"
#include "platform.h"
#include "weights.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static Problem problem;

static int setup(void **state) {
    (void)state;
    problem_clear(&problem);
    return 0;
}

static unsigned char *copy_bytes(const void *bytes, size_t size) {
    unsigned char *copy = malloc(size > 0 ? size : 1);
    memcpy(copy, bytes, size);
    return copy;
}

/* ---- problems and files ---- */

static void problems_are_counted_when_they_no_longer_fit(void **state) {
    (void)state;
    for (int i = 0; i < 1000; i++) {
        assert_false(problem_add(&problem, "problem number %d of many that are listed", i));
    }
    assert_int_equal(problem.count + problem.omitted, 1000);
    assert_true(problem.omitted > 0 && strlen(problem.text) < PROBLEM_CAPACITY);
    assert_non_null(strstr(problem.text, "problem number 0 "));
    assert_non_null(strstr(problem.text, " more"));
}

static void files_appear_whole_or_not_at_all(void **state) {
    FileWriter writer;
    size_t size;
    (void)state;
    remove("whole.bin");
    assert_true(file_writer_open(&writer, "whole.bin", &problem));
    file_writer_write(&writer, "abc", 3);
    assert_false(path_exists("whole.bin"));
    file_writer_abandon(&writer);
    assert_false(path_exists("whole.bin.tmp"));
    assert_true(file_writer_open(&writer, "whole.bin", &problem));
    file_writer_write(&writer, "abc", 3);
    assert_true(file_writer_commit(&writer, &problem));
    unsigned char *bytes = file_read("whole.bin", &size, &problem);
    assert_int_equal(size, 3);
    assert_memory_equal(bytes, "abc", 3);
    free(bytes);
    remove("whole.bin");
    assert_false(file_writer_open(&writer, "no/such/directory/file", &problem));
    assert_null(file_read("whole.bin", &size, &problem));
    assert_int_equal(problem.count, 2);
}

static void full_disks_are_noticed(void **state) {
    FileWriter writer;
    char block[5000] = {0};
    (void)state;
    if (path_exists("/dev/full") && file_writer_open(&writer, "/dev/full", &problem)) {
        file_writer_write(&writer, block, sizeof block);
        assert_false(file_writer_commit(&writer, &problem));
        assert_true(path_exists("/dev/full"));
    }
}

static void directories_are_made_with_parents(void **state) {
    (void)state;
    assert_true(directory_create("made/of/several", &problem));
    assert_true(path_is_directory("made/of/several"));
    assert_true(directory_create("made/of/several", &problem));
    FILE *stream = fopen("made/file", "wb");
    fclose(stream);
    assert_false(directory_create("made/file/inside", &problem));
    remove("made/file");
    remove("made/of/several");
    remove("made/of");
    remove("made");
}

/* ---- npy ---- */

static void npy_round_trip(void **state) {
    static const size_t shapes[][4] = {{0}, {1, 7}, {2, 3, 4}, {3, 2, 5, 3}, {3, 40, 40, 40}};
    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        int rank = (int)shapes[s][0];
        size_t count = 1;
        FileWriter writer;
        Npy array;
        for (int i = 0; i < rank; i++) {
            count *= shapes[s][i + 1];
        }
        real *numbers = malloc(count * sizeof(real)), *back = malloc(count * sizeof(real));
        for (size_t i = 0; i < count; i++) {
            numbers[i] = (real)i / 3 - 1;
        }
        assert_true(file_writer_open(&writer, "round.npy", &problem));
        npy_write_header(&writer, rank, shapes[s] + 1);
        elements_write_reals(&writer, numbers, count);
        assert_true(file_writer_commit(&writer, &problem));
        assert_true(npy_read("round.npy", &array, &problem));
        assert_int_equal((array.data - array.bytes) % 64, 0);
        assert_int_equal(array.type, ELEMENT_REAL);
        assert_int_equal(array.rank, rank);
        assert_int_equal(array.count, count);
        assert_memory_equal(array.dims, shapes[s] + 1, (size_t)rank * sizeof(size_t));
        elements_to_real(array.type, array.data, count, back);
        assert_memory_equal(numbers, back, count * sizeof(real));
        npy_free(&array);
        free(numbers);
        free(back);
    }
    remove("round.npy");
}

/* A file of the version with this dictionary and `data` zero bytes. */
static bool parse_npy(int version, const char *dictionary, size_t data, Npy *array) {
    size_t length = strlen(dictionary), begin = version == 1 ? 10 : 12;
    unsigned char *bytes = calloc(1, begin + length + data);
    memcpy(bytes, "\x93NUMPY", 6);
    bytes[6] = (unsigned char)version;
    bytes[8] = (unsigned char)length;
    memcpy(bytes + begin, dictionary, length);
    return npy_parse("test", bytes, begin + length + data, array, &problem);
}

static void npy_headers(void **state) {
    static const char *const good[] = {
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }\n",
        "{'shape':(3,4),\"descr\":\"<i4\",'fortran_order':False}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (6,), }\n",
        "{'descr': '|u1', 'fortran_order': True, 'shape': (48,), }\n",
        "{'descr': '<i8', 'fortran_order': False, 'shape': (3, 2), }\n",
    };
    static const char *const bad[] = {
        "",
        "{",
        "{}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), 'more': 1}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 5), }",
        "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 4), }",
        "{'descr': '>f4', 'fortran_order': False, 'shape': (3, 4), }",
        "{'descr': '<f2', 'fortran_order': False, 'shape': (3, 8), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (3, 4), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 4), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4, }",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (3, 4), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,3,4), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 12), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999, 1), }",
    };
    Npy array;
    (void)state;
    for (int version = 1; version <= 3; version++) {
        for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
            assert_true(parse_npy(version, good[i], 48, &array));
            npy_free(&array);
        }
    }
    assert_int_equal(problem.count, 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        problem_clear(&problem);
        assert_false(parse_npy(1, bad[i], 48, &array));
        assert_int_equal(problem.count, 1);
    }
    assert_false(parse_npy(4, good[0], 48, &array));
    assert_false(npy_parse("short", copy_bytes("\x93NUMPY\1\0", 8), 8, &array, &problem));
    assert_false(
        npy_parse("long", copy_bytes("\x93NUMPY\2\0\xff\xff\xff\xff", 12), 12, &array, &problem));
}

static void numbers_of_all_types(void **state) {
    static const unsigned char float32[] = {0, 0, 0xC0, 0xBF},
                               float64[] = {0, 0, 0, 0, 0, 0, 4, 0x40},
                               int32[] = {0xFE, 0xFF, 0xFF, 0xFF},
                               int64[] = {0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF}, uint8[] = {200};
    real number;
    int32_t label;
    (void)state;
    elements_to_real(ELEMENT_FLOAT32, float32, 1, &number);
    assert_true(number == (real)-1.5);
    elements_to_real(ELEMENT_FLOAT64, float64, 1, &number);
    assert_true(number == (real)2.5);
    elements_to_real(ELEMENT_INT32, int32, 1, &number);
    assert_true(number == (real)-2);
    elements_to_labels(ELEMENT_INT32, int32, 1, &label);
    assert_int_equal(label, -2);
    elements_to_labels(ELEMENT_INT64, int64, 1, &label);
    assert_true(label == INT32_MIN); /* -2^32 */
    elements_to_labels(ELEMENT_UINT8, uint8, 1, &label);
    assert_int_equal(label, 200);
}

/* ---- JSON ---- */

static char *read_string(const char *text) {
    JsonReader reader = {text, text + strlen(text), false};
    return json_string(&reader);
}

static void json_strings(void **state) {
    static const char *const rows[][2] = {
        {"\"plain\"", "plain"},
        {" \"a\\\"b\\\\c\\/\\n\\t\"", "a\"b\\c/\n\t"},
        {"\"\\u0041\\u00e9\\u20AC\\ud83d\\ude00\"", "A\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"},
    };
    static const char *const bad[] = {"",
                                      "\"",
                                      "\"open",
                                      "\"\\x\"",
                                      "\"\\u12\"",
                                      "\"\\ud83d\"",
                                      "\"\\ude00\"",
                                      "\"\\u0000\"",
                                      "plain",
                                      "\"a\nb\"",
                                      "\"\\ud83dabcdefg\"",
                                      "\"\\"};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *text = read_string(rows[i][0]);
        assert_non_null(text);
        assert_string_equal(text, rows[i][1]);
        free(text);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_null(read_string(bad[i]));
    }
}

/* ---- safetensors ---- */

static bool parse_safetensors(const char *header, size_t data, SafeTensors *file) {
    size_t length = strlen(header);
    unsigned char *bytes = calloc(1, 8 + length + data);
    bytes[0] = (unsigned char)length;
    bytes[1] = (unsigned char)(length >> 8);
    memcpy(bytes + 8, header, length);
    return safetensors_parse("test", bytes, 8 + length + data, file, &problem);
}

static void safetensors_headers(void **state) {
    static const char *const good[] = {
        "{}",
        " { \"__metadata__\" : {\"format\":\"pt\"}, \"a\":{\"dtype\":\"F32\",\"shape\":[2,3],"
        "\"data_offsets\":[0,24]}} ",
        "{\"b\":{\"data_offsets\":[8,24],\"dtype\":\"F32\",\"shape\":[4]},"
        "\"a\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[0,8]}}",
        "{\"a\":{\"dtype\":\"BF16\",\"shape\":[12],\"data_offsets\":[0,24]}}",
    };
    static const char *const bad[] = {
        "",
        "[]",
        "{\"a\":1}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}} x",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,28]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[8,32]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[24,0]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,24]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[-2,3],\"data_offsets\":[0,24]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3]}}",
        "{\"a\":{\"shape\":[2,3],\"data_offsets\":[0,24]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,2,3],\"data_offsets\":[0,24]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387905,4],\"data_offsets\":[0,16]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},"
        "\"b\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[12,24]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]},"
        "\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[12,24]}}",
        "{\"__metadata__\":{\"a\":1}}",
        "{\"__metadata__\":{},\"__metadata__\":{}}",
        "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24]}}",
    };
    SafeTensors file;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(parse_safetensors(good[i], 24, &file));
        safetensors_free(&file);
    }
    assert_int_equal(problem.count, 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        problem_clear(&problem);
        assert_false(parse_safetensors(bad[i], 24, &file));
        assert_true(problem.count > 0);
    }
    assert_false(safetensors_parse("short", copy_bytes("1234567", 7), 7, &file, &problem));
    assert_false(safetensors_parse("long", copy_bytes("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10), 10,
                                   &file, &problem));
}

/* Every file with one byte changed or with the end cut off is refused or read, but nothing else. */
static void safetensors_damage(void **state) {
    static const char header[] =
        "{\"__metadata__\":{\"k\":\"v\"},\"a\":{\"dtype\":\"F32\",\"shape\":[2],"
        "\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[8,12]}}";
    unsigned char whole[8 + sizeof header - 1 + 12] = {(unsigned char)(sizeof header - 1)};
    SafeTensors file;
    (void)state;
    memcpy(whole + 8, header, sizeof header - 1);
    for (size_t at = 0; at < sizeof whole; at++) {
        for (int change = 1; change < 256; change = change * 3 + 1) {
            unsigned char *bytes = copy_bytes(whole, sizeof whole);
            bytes[at] ^= (unsigned char)change;
            if (safetensors_parse("test", bytes, sizeof whole, &file, &problem)) {
                safetensors_free(&file);
            }
        }
        assert_false(safetensors_parse("test", copy_bytes(whole, at), at, &file, &problem));
    }
}

/* ---- weights ---- */

static const unsigned char connections[4] = {1, 0, 1, 1};
static const ParameterInfo parameters[] = {
    {"c1.weight", 4, {2, 2, 1, 2}, 1, 4, 0, 8, 1, INITIAL_CONSTANT, 0, connections},
    {"c1.bias", 1, {2}, 1, 1, 8, 2, 1, INITIAL_CONSTANT, 0, NULL},
    {"bn1.running_mean", 1, {3}, 1, 1, 10, 3, 0, INITIAL_CONSTANT, 0, NULL},
};
static const NetworkInfo info = {.name = "test",
                                 .max_batch = 1,
                                 .trainable = 1,
                                 .parameter_tensors = 3,
                                 .parameters = parameters,
                                 .parameter_size = 13,
                                 .trainable_size = 10};

static void weights_round_trip(void **state) {
    static Problem warning;
    (void)state;
    Network *network = network_create(&info, &problem), *other = network_create(&info, &problem);
    for (int i = 0; i < 13; i++) {
        network->parameters[i] = (real)(i + 1) / 7;
    }
    network->parameters[2] = network->parameters[3] = 0; /* no connection */
    assert_true(weights_save(network, "weights.st", &problem));
    assert_true(weights_load(other, "weights.st", &problem, &warning));
    assert_memory_equal(network->parameters, other->parameters, 13 * sizeof(real));
    assert_int_equal(warning.count, 0);

    network->parameters[3] = 5;
    assert_true(weights_save(network, "weights.st", &problem));
    assert_true(weights_load(other, "weights.st", &problem, &warning));
    assert_int_equal(warning.count, 1);
    assert_non_null(strstr(warning.text, "c1.weight: 1 weight"));
    assert_true(other->parameters[3] == 0);
    network_free(network);
    network_free(other);
    remove("weights.st");
}

/* Everything that is wrong is listed at once, and nothing is changed. */
static void weights_that_do_not_fit(void **state) {
    static Problem warning;
    static const real numbers[20];
    const SafeTensorSource sources[] = {
        {"c1.weight", 4, {2, 2, 2, 1}, numbers, {0}},
        {"bn1.running_mean", 1, {3}, numbers, {0}},
        {"fc9.weight", 2, {3, 4}, numbers, {0}},
        {"optimizer.momentum.c1.bias", 1, {2}, numbers, {0}},
        {"bn1.num_batches_tracked", 1, {1}, numbers, {0}},
    };
    (void)state;
    Network *network = network_create(&info, &problem);
    network->parameters[12] = 3;
    assert_true(safetensors_write("wrong.st", sources, 5, NULL, 0, &problem));
    assert_false(weights_load(network, "wrong.st", &problem, &warning));
    assert_int_equal(problem.count, 3);
    assert_non_null(strstr(problem.text, "c1.weight: expected shape 2x2x1x2, found 2x2x2x1"));
    assert_non_null(strstr(problem.text, "c1.bias is missing"));
    assert_non_null(strstr(problem.text, "fc9.weight is not a parameter"));
    assert_true(network->parameters[12] == 3);
    network_free(network);
    remove("wrong.st");
}

static void networks_too_large_are_refused(void **state) {
    static const NetworkInfo huge = {.name = "huge", .max_batch = 1, .arena_size = SIZE_MAX / 2};
    (void)state;
    assert_null(network_create(&huge, &problem));
    assert_int_equal(problem.count, 1);
    for (size_t count = 0; count < 300; count += 7) {
        unsigned char *memory = network_allocate(count, 1);
        assert_int_equal((uintptr_t)memory % 64, 0);
        for (size_t i = 0; i < count + 64; i++) {
            assert_int_equal(memory[i], 0);
        }
        network_release(memory);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(problems_are_counted_when_they_no_longer_fit, setup),
        cmocka_unit_test_setup(files_appear_whole_or_not_at_all, setup),
        cmocka_unit_test_setup(full_disks_are_noticed, setup),
        cmocka_unit_test_setup(directories_are_made_with_parents, setup),
        cmocka_unit_test_setup(npy_round_trip, setup),
        cmocka_unit_test_setup(npy_headers, setup),
        cmocka_unit_test_setup(numbers_of_all_types, setup),
        cmocka_unit_test_setup(json_strings, setup),
        cmocka_unit_test_setup(safetensors_headers, setup),
        cmocka_unit_test_setup(safetensors_damage, setup),
        cmocka_unit_test_setup(weights_round_trip, setup),
        cmocka_unit_test_setup(weights_that_do_not_fit, setup),
        cmocka_unit_test_setup(networks_too_large_are_refused, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
