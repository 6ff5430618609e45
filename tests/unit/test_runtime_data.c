/* Data formats: idx plain and compressed, npy, synthetic; what does not fit the network is refused.
 */
#include "data_formats.h"
#include "platform.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#define COUNT 5

static Problem problem;

static int setup(void **state) {
    (void)state;
    problem_clear(&problem);
    return 0;
}

/* A network that only has shapes. */
typedef struct Shapes {
    long input[3];
    int input_rank;
    long output[3];
    int output_rank;
    int target_is_label;
} Shapes;

static NetworkInfo make_info(const Shapes *shapes) {
    NetworkInfo info = {.name = "test",
                        .max_batch = COUNT,
                        .input_rank = shapes->input_rank,
                        .output_rank = shapes->output_rank,
                        .input_size = 1,
                        .output_size = 1,
                        .target_is_label = shapes->target_is_label};
    for (int i = 0; i < shapes->input_rank; i++) {
        info.input_dims[i] = shapes->input[i];
        info.input_size *= (size_t)shapes->input[i];
    }
    for (int i = 0; i < shapes->output_rank; i++) {
        info.output_dims[i] = shapes->output[i];
        info.output_size *= (size_t)shapes->output[i];
    }
    info.target_size =
        shapes->target_is_label ? info.output_size / (size_t)info.output_dims[0] : info.output_size;
    info.arena_size = info.input_size * COUNT;
    return info;
}

static const Shapes digits = {{1, 8, 8}, 3, {10}, 1, 1};

static void write_bytes(const char *path, const unsigned char *bytes, size_t size, bool packed) {
    if (packed) {
        gzFile file = gzopen(path, "wb9");
        assert_int_equal(gzwrite(file, bytes, (unsigned)size), (int)size);
        gzclose(file);
    } else {
        FILE *file = fopen(path, "wb");
        assert_int_equal(fwrite(bytes, 1, size, file), size);
        fclose(file);
    }
}

static unsigned char pixel(int n, int y, int x) {
    return (unsigned char)(40 * n + 7 * y + x);
}

/* COUNT images of 6x4 and labels 0, 1, ... in idx-data, as part "train" or "t10k". */
static void write_idx(const char *part, bool packed) {
    unsigned char images[16 + COUNT * 24] = {0, 0, 8, 3, 0, 0, 0, COUNT, 0, 0, 0, 6, 0, 0, 0, 4};
    unsigned char labels[8 + COUNT] = {0, 0, 8, 1, 0, 0, 0, COUNT};
    char path[128];
    for (int n = 0; n < COUNT; n++) {
        labels[8 + n] = (unsigned char)n;
        for (int i = 0; i < 24; i++) {
            images[16 + n * 24 + i] = pixel(n, i / 4, i % 4);
        }
    }
    assert_true(directory_create("idx-data", &problem));
    snprintf(path, sizeof path, "idx-data/%s-images-idx3-ubyte%s", part, packed ? ".gz" : "");
    write_bytes(path, images, sizeof images, packed);
    snprintf(path, sizeof path, "idx-data/%s-labels-idx1-ubyte%s", part, packed ? ".gz" : "");
    write_bytes(path, labels, sizeof labels, packed);
}

static void remove_idx(void) {
    static const char *const names[] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                        "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};
    char path[128];
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "idx-data/%s", names[i]);
        remove(path);
        snprintf(path, sizeof path, "idx-data/%s.gz", names[i]);
        remove(path);
    }
    remove("idx-data");
}

static void idx_images_are_centred(void **state) {
    const DataSettings settings = {
        .format = DATA_IDX, .path = "idx-data", .scale = 0.5, .shift = -1};
    NetworkInfo info = make_info(&digits);
    const size_t indices[2] = {3, 1};
    DataSet set;
    (void)state;
    for (int packed = 0; packed < 2; packed++) {
        write_idx("train", packed);
        assert_true(data_has(&settings, DATA_TRAINING));
        assert_false(data_has(&settings, DATA_TEST));
        assert_true(data_open(&set, &info, &settings, DATA_TRAINING, 0, &problem));
        assert_int_equal(set.count, COUNT);
        Network *network = network_create(&info, &problem);
        data_read_batch(&set, indices, 2, network);
        for (int i = 0; i < 2 * 64; i++) {
            int n = (int)indices[i / 64], y = i % 64 / 8 - 1, x = i % 8 - 2;
            bool inside = y >= 0 && y < 6 && x >= 0 && x < 4;
            double expected = inside ? pixel(n, y, x) * 0.5 - 1 : -1;
            assert_true((double)network->arena[i] == expected);
        }
        assert_int_equal(network->labels[0], 3);
        assert_int_equal(network->labels[1], 1);
        network_free(network);
        data_close(&set);
        remove_idx();
    }
}

static void idx_for_other_shapes(void **state) {
    static const Shapes good[] = {
        {{24}, 1, {10}, 1, 1},     /* the pixels in a row */
        {{1, 6, 4}, 3, {5}, 1, 0}, /* one hot */
        {{24}, 1, {24}, 1, 0},     /* autoencoder */
        {{24}, 1, {1}, 1, 0},      /* the label as a number */
    };
    static const Shapes bad[] = {
        {{1, 5, 8}, 3, {10}, 1, 1},       /* too low */
        {{1, 8, 3}, 3, {10}, 1, 1},       /* too narrow */
        {{3, 8, 8}, 3, {10}, 1, 1},       /* colours */
        {{25}, 1, {10}, 1, 1},            /* as a vector it must fit exactly */
        {{1, 8, 8}, 3, {4}, 1, 1},        /* label 4 of 4 classes */
        {{1, 8, 8}, 3, {10, 2, 2}, 3, 1}, /* a label for each position */
    };
    const DataSettings settings = {.format = DATA_IDX, .path = "idx-data", .scale = 1};
    const size_t index = 2;
    DataSet set;
    (void)state;
    write_idx("t10k", false);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        NetworkInfo info = make_info(&good[i]);
        assert_true(data_open(&set, &info, &settings, DATA_TEST, 0, &problem));
        assert_string_equal(set.name, "t10k");
        Network *network = network_create(&info, &problem);
        data_read_batch(&set, &index, 1, network);
        assert_true(network->arena[5] == (real)pixel(2, 1, 1));
        if (i == 1) {
            assert_true(network->targets[2] == 1 && network->targets[1] == 0);
        } else if (i == 2) {
            assert_memory_equal(network->targets, network->arena, 24 * sizeof(real));
        } else if (i == 3) {
            assert_true(network->targets[0] == 2);
        }
        network_free(network);
        data_close(&set);
    }
    assert_int_equal(problem.count, 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        NetworkInfo info = make_info(&bad[i]);
        problem_clear(&problem);
        assert_false(data_open(&set, &info, &settings, DATA_TEST, 0, &problem));
        assert_int_equal(problem.count, 1);
        data_close(&set);
    }
    NetworkInfo info = make_info(&digits);
    assert_false(data_open(&set, &info, &settings, DATA_TRAINING, 0, &problem));
    assert_non_null(strstr(problem.text, "train-images-idx3-ubyte.gz"));
    remove_idx();
}

static void idx_headers(void **state) {
    static const unsigned char good[] = {0, 0, 8, 1, 0, 0, 0, 2, 7, 9};
    static const unsigned char huge[] = {0,    0,    8,    4,    0xFF, 0xFF, 0xFF,
                                         0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                         0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1};
    (void)state;
    for (size_t size = 0; size <= sizeof good; size++) {
        unsigned char *bytes = malloc(size + 1);
        IdxFile file;
        memcpy(bytes, good, size);
        bytes = realloc(bytes, size > 0 ? size : 1);
        assert_int_equal(data_idx_parse("test", bytes, size, &file, &problem), size == sizeof good);
        free(bytes);
    }
    for (size_t at = 0; at < 8; at++) {
        unsigned char bytes[sizeof good];
        IdxFile file;
        memcpy(bytes, good, sizeof good);
        bytes[at] ^= 5;
        assert_false(data_idx_parse("test", bytes, sizeof bytes, &file, &problem));
    }
    unsigned char bytes[sizeof huge];
    IdxFile file;
    memcpy(bytes, huge, sizeof huge);
    assert_false(data_idx_parse("test", bytes, sizeof bytes, &file, &problem));
}

/* ---- npy ---- */

static void write_npy(const char *path, const char *descr, const char *shape, const void *data,
                      size_t size) {
    char header[128];
    int length =
        snprintf(header, sizeof header,
                 "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }\n", descr, shape);
    const unsigned char start[] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)length, 0};
    FILE *file = fopen(path, "wb");
    fwrite(start, 1, sizeof start, file);
    fwrite(header, 1, (size_t)length, file);
    fwrite(data, 1, size, file);
    fclose(file);
}

static void npy_files_are_found(void **state) {
    static const unsigned char x[24] = {1, 2, 3, 4, 5, 6, 7, 8}, y[4] = {0, 1, 2, 1};
    static const Shapes shapes = {{1, 2, 3}, 3, {3}, 1, 1};
    NetworkInfo info = make_info(&shapes);
    DataSettings settings = {.format = DATA_NPY, .path = "npy-data", .scale = 2, .shift = 1};
    const size_t index = 1;
    DataSet set;
    (void)state;
    assert_true(directory_create("npy-data", &problem));
    write_npy("npy-data/x.npy", "|u1", "4, 2, 3", x, 24);
    write_npy("npy-data/y.npy", "|u1", "4,", y, 4);
    Network *network = network_create(&info, &problem);
    for (int as_file = 0; as_file < 2; as_file++) {
        settings.path = as_file ? "npy-data/x.npy" : "npy-data";
        assert_true(data_has(&settings, DATA_TRAINING));
        assert_false(data_has(&settings, DATA_TEST));
        assert_true(data_open(&set, &info, &settings, DATA_TRAINING, 0, &problem));
        data_read_batch(&set, &index, 1, network);
        assert_true(network->arena[0] == 15 && network->labels[0] == 1);
        data_close(&set);
    }
    settings.path = "npy-data";
    write_npy("npy-data/train-x.npy", "|u1", "2, 6", x, 12);
    write_npy("npy-data/train-y.npy", "|u1", "2, 1", y, 2);
    write_npy("npy-data/test-x.npy", "|u1", "1, 1, 2, 3", x + 6, 6);
    write_npy("npy-data/test-y.npy", "|u1", "1,", y + 1, 1);
    assert_true(data_open(&set, &info, &settings, DATA_TRAINING, 0, &problem));
    assert_int_equal(set.count, 2);
    data_close(&set);
    assert_true(data_open(&set, &info, &settings, DATA_TEST, 0, &problem));
    assert_int_equal(set.count, 1);
    data_close(&set);
    assert_int_equal(problem.count, 0);

    write_npy("npy-data/test-y.npy", "|u1", "2,", y, 2);
    assert_false(data_open(&set, &info, &settings, DATA_TEST, 0, &problem));
    assert_non_null(strstr(problem.text, "has 1 examples, but"));
    network_free(network);
    static const char *const names[] = {"x", "y", "train-x", "train-y", "test-x", "test-y"};
    for (int i = 0; i < 6; i++) {
        char path[64];
        snprintf(path, sizeof path, "npy-data/%s.npy", names[i]);
        remove(path);
    }
    remove("npy-data");
}

static void npy_arrays_must_fit(void **state) {
    static const Shapes pixels = {{3, 2, 2}, 3, {4, 2, 2}, 3, 1}, numbers = {{4}, 1, {2}, 1, 0};
    static const unsigned char labels[] = {0, 1, 2, 3, 3, 2, 1, 0};
    static const unsigned char wrong[] = {0, 1, 2, 3, 3, 2, 1, 4};
    NetworkInfo segment = make_info(&pixels), regress = make_info(&numbers);
    unsigned char data[96] = {0};
    const Npy x = {ELEMENT_UINT8, 4, {8, 3, 2, 2}, 96, data, NULL};
    const Npy flat = {ELEMENT_UINT8, 2, {8, 12}, 96, data, NULL};
    const Npy transposed = {ELEMENT_UINT8, 4, {8, 2, 2, 3}, 96, data, NULL};
    const Npy per_pixel = {ELEMENT_UINT8, 3, {2, 2, 2}, 8, labels, NULL};
    const Npy too_high = {ELEMENT_UINT8, 3, {2, 2, 2}, 8, wrong, NULL};
    const Npy per_image = {ELEMENT_UINT8, 1, {8}, 8, labels, NULL};
    const Npy floats = {ELEMENT_FLOAT32, 2, {12, 2}, 24, data, NULL};
    const Npy negative = {ELEMENT_INT32, 3, {1, 2, 2}, 4, (const unsigned char *)"\xff\xff\xff\xff"
                          "\0\0\0\0\0\0\0\0\0\0\0", NULL};
    (void)state;
    assert_true(data_npy_check_inputs("x", &x, &segment, &problem));
    assert_true(data_npy_check_inputs("x", &flat, &segment, &problem));
    assert_true(data_npy_check_targets("y", &per_pixel, &segment, &problem));
    assert_true(data_npy_check_targets("y", &floats, &regress, &problem));
    assert_int_equal(problem.count, 0);
    assert_false(data_npy_check_inputs("x", &transposed, &segment, &problem));
    assert_false(data_npy_check_inputs("x", &x, &regress, &problem));
    assert_false(data_npy_check_targets("y", &too_high, &segment, &problem));
    assert_false(data_npy_check_targets("y", &per_image, &segment, &problem));
    assert_false(data_npy_check_targets("y", &floats, &segment, &problem));
    assert_false(data_npy_check_targets("y", &negative, &segment, &problem));
    assert_false(data_npy_check_targets("y", &per_pixel, &regress, &problem));
    assert_int_equal(problem.count, 7);
}

/* ---- synthetic ---- */

static void synthetic_data_follow_the_seed(void **state) {
    const DataSettings settings = {.format = DATA_SYNTHETIC, .scale = 1, .synthetic_count = 100};
    NetworkInfo info = make_info(&digits);
    const size_t indices[COUNT] = {0, 1, 2, 98, 99};
    DataSet set, other, test;
    (void)state;
    assert_true(data_open(&set, &info, &settings, DATA_TRAINING, 1, &problem));
    assert_true(data_open(&other, &info, &settings, DATA_TRAINING, 2, &problem));
    assert_true(data_open(&test, &info, &settings, DATA_TEST, 1, &problem));
    assert_int_equal(set.count, 100);
    assert_int_equal(test.count, 20);
    Network *a = network_create(&info, &problem), *b = network_create(&info, &problem);
    data_read_batch(&set, indices, COUNT, a);
    data_read_batch(&set, indices, COUNT, b);
    assert_memory_equal(a->arena, b->arena, info.arena_size * sizeof(real));
    for (int n = 0; n < COUNT; n++) {
        assert_in_range(a->labels[n], 0, 9);
    }
    data_read_batch(&other, indices, COUNT, b);
    assert_memory_not_equal(a->arena, b->arena, info.arena_size * sizeof(real));
    data_read_batch(&test, indices, 3, b);
    assert_memory_not_equal(a->arena, b->arena, 3 * info.input_size * sizeof(real));
    network_free(a);
    network_free(b);
    data_close(&set);
    data_close(&other);
    data_close(&test);
}

static void synthetic_data_for_every_shape(void **state) {
    static const Shapes shapes[] = {
        {{17}, 1, {3}, 1, 1},
        {{2, 9}, 2, {3}, 1, 1},
        {{3, 8, 6}, 3, {4, 4, 3}, 3, 1},
        {{3, 8, 6}, 3, {4, 4, 3}, 3, 0},
        {{5}, 1, {1}, 1, 0},
    };
    const DataSettings settings = {.format = DATA_SYNTHETIC, .scale = 1, .synthetic_count = 10};
    const size_t indices[COUNT] = {0, 1, 2, 3, 4};
    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        NetworkInfo info = make_info(&shapes[s]);
        Network *network = network_create(&info, &problem);
        DataSet set;
        assert_true(data_open(&set, &info, &settings, DATA_TRAINING, 1, &problem));
        data_read_batch(&set, indices, COUNT, network);
        for (size_t i = 0; i < COUNT * info.target_size; i++) {
            if (info.target_is_label) {
                assert_in_range(network->labels[i], 0, info.output_dims[0] - 1);
            } else {
                assert_true(network->targets[i] == 0 || network->targets[i] == 1);
            }
        }
        data_close(&set);
        network_free(network);
    }
}

static void formats_have_names(void **state) {
    DataFormat format;
    (void)state;
    assert_true(data_format_by_name("idx", &format) && format == DATA_IDX);
    assert_true(data_format_by_name("npy", &format) && format == DATA_NPY);
    assert_true(data_format_by_name("synthetic", &format) && format == DATA_SYNTHETIC);
    assert_false(data_format_by_name("png", &format));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(idx_images_are_centred, setup),
        cmocka_unit_test_setup(idx_for_other_shapes, setup),
        cmocka_unit_test_setup(idx_headers, setup),
        cmocka_unit_test_setup(npy_files_are_found, setup),
        cmocka_unit_test_setup(npy_arrays_must_fit, setup),
        cmocka_unit_test_setup(synthetic_data_follow_the_seed, setup),
        cmocka_unit_test_setup(synthetic_data_for_every_shape, setup),
        cmocka_unit_test_setup(formats_have_names, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
