/* Parameters whose memory is in blocks: outside they are the same as dense ones. */
#include "checkpoint.h"
#include "file.h"
#include "initialise.h"
#include "layout.h"
#include "optimizer.h"
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

/* [A/block][row + room][block], by three loops. */
static void assert_places(size_t block, size_t row, size_t room) {
    const Layout layout = {block, row, row + room};
    size_t memory = 0;
    for (size_t outer = 0; outer < 3; outer++) {
        for (size_t column = 0; column < row + room; column++) {
            for (size_t lane = 0; lane < block; lane++) {
                if (column < row) {
                    size_t element = (outer * block + lane) * row + column;
                    assert_int_equal(layout_place(&layout, element), memory);
                }
                memory++;
            }
        }
    }
}

static void places_are_those_of_the_definition(void **state) {
    (void)state;
    for (size_t block = 1; block <= 8; block *= 2) {
        for (size_t row = 1; row <= 9; row += 4) {
            assert_places(block, row, 0);
            assert_places(block, row, 3);
        }
    }
    assert_int_equal(layout_place(&(Layout){0}, 77), 77);
}

/* Whole tensors and pieces that begin and end anywhere. */
static void gathering_and_scattering_are_inverse(void **state) {
    enum { SIZE = 8 * 7 * 2, ROOM = 3 * SIZE };
    static const Layout layouts[] = {{0},        {1, 7, 7},   {2, 7, 7}, {4, 14, 14}, {8, 14, 14},
                                     {16, 7, 7}, {1, 14, 20}, {4, 7, 8}, {3, 14, 17}};
    (void)state;
    for (size_t l = 0; l < sizeof layouts / sizeof layouts[0]; l++) {
        for (size_t piece = 1; piece <= SIZE; piece += 5) {
            real dense[SIZE], memory[ROOM] = {0}, back[SIZE] = {0};
            for (size_t i = 0; i < SIZE; i++) {
                dense[i] = (real)(i + 1);
            }
            for (size_t first = 0; first < SIZE; first += piece) {
                size_t count = SIZE - first < piece ? SIZE - first : piece;
                layout_scatter(&layouts[l], dense + first, first, count, memory);
            }
            for (size_t i = 0; i < SIZE; i++) {
                assert_true(memory[layout_place(&layouts[l], i)] == dense[i]);
            }
            for (size_t first = 0; first < SIZE; first += piece) {
                size_t count = SIZE - first < piece ? SIZE - first : piece;
                layout_gather(&layouts[l], memory, first, count, back + first);
            }
            assert_memory_equal(back, dense, sizeof dense);
        }
    }
}

/* ---- networks that differ in nothing but the layout ---- */

#define WEIGHTS (16 * 3 * 25 * 5)
#define ROOM 5 /* behind each row */
#define PLACE_B (16 * (3 * 25 * 5 + ROOM))
#define PLACE_BIAS (PLACE_B + 16 * (4 + ROOM))
#define TRAINABLE (PLACE_BIAS + 16)
#define PARAMETERS (TRAINABLE + 16)
/* Connections of filters and input channels, of which every third does not exist. */
static unsigned char connections[16 * 4];

#define ROWS(block, room)                                                                          \
    {                                                                                              \
        {"a.weight", 4, {16, 3, 25, 5},   block, 375 + (room), 0,                                  \
         WEIGHTS,    1, INITIAL_GAUSSIAN, 1,     NULL},                                            \
            {"b.weight", 2, {16, 4},         block, 4 + (room), PLACE_B,                           \
             64,         1, INITIAL_UNIFORM, 1,     connections},                                  \
            {"b.bias", 1, {16}, 1, 1, PLACE_BIAS, 16, 1, INITIAL_CONSTANT, 0, NULL}, {             \
            "n.running_mean", 1, {16}, 1, 1, TRAINABLE, 16, 0, INITIAL_CONSTANT, 0, NULL           \
        }                                                                                          \
    }
static const ParameterInfo rows[4][4] = {ROWS(1, 0), ROWS(4, 0), ROWS(16, 0), ROWS(4, ROOM)};
#define INFO(number)                                                                               \
    {                                                                                              \
        .name = "test", .max_batch = 1, .trainable = 1, .parameter_tensors = 4,                    \
        .parameters = rows[number], .parameter_size = PARAMETERS, .trainable_size = TRAINABLE      \
    }
static const NetworkInfo infos[4] = {INFO(0), INFO(1), INFO(2), INFO(3)};
static const TrainSettings settings = {.optimizer = OPTIMIZER_ADAM};

static Network *create(int number) {
    for (size_t i = 0; i < sizeof connections; i++) {
        connections[i] = i % 3 != 0;
    }
    Network *network = network_create(&infos[number], &problem);
    assert_true(optimizer_create_state(network, &settings, &problem));
    return network;
}

static void assert_same_file(const char *a, const char *b) {
    size_t size_a, size_b;
    unsigned char *bytes_a = file_read(a, &size_a, &problem);
    unsigned char *bytes_b = file_read(b, &size_b, &problem);
    assert_int_equal(size_a, size_b);
    assert_memory_equal(bytes_a, bytes_b, size_a);
    free(bytes_a);
    free(bytes_b);
}

static void initial_weights_are_the_same_in_files(void **state) {
    static const char *const names[] = {"layout0.st", "layout1.st", "layout2.st", "layout3.st"};
    (void)state;
    for (int i = 0; i < 4; i++) {
        Network *network = create(i);
        initialise_parameters(network, 9);
        assert_true(weights_save(network, names[i], &problem));
        assert_same_file(names[0], names[i]);
        network_free(network);
    }
    for (int i = 0; i < 4; i++) {
        remove(names[i]);
    }
}

/* A checkpoint goes through networks of all layouts and stays the same; in memory they differ. */
static void checkpoints_are_exchangeable(void **state) {
    TrainerState trainer = {.seed = 3, .batch = 1}, loaded;
    Network *first = create(1);
    (void)state;
    initialise_parameters(first, 9);
    for (int i = 0; i < 3; i++) {
        for (size_t k = rows[1][i].offset; k < rows[1][i].offset + rows[1][i].size; k++) {
            first->optimizer_state[k] = (real)k;
            first->optimizer_state[TRAINABLE + k] = -(real)k;
        }
    }
    assert_true(checkpoint_save(first, &settings, &trainer, "layout-a.st", &problem));
    for (int i = 0; i < 4; i++) {
        Network *network = create(i);
        assert_true(checkpoint_load(network, &settings, &loaded, "layout-a.st", &problem));
        assert_int_equal(
            i == 1, memcmp(first->parameters, network->parameters, PARAMETERS * sizeof(real)) == 0);
        assert_int_equal(i == 1, memcmp(first->optimizer_state, network->optimizer_state,
                                        2 * TRAINABLE * sizeof(real)) == 0);
        assert_true(checkpoint_save(network, &settings, &loaded, "layout-b.st", &problem));
        assert_same_file("layout-a.st", "layout-b.st");
        network_free(network);
    }
    network_free(first);
    remove("layout-a.st");
    remove("layout-b.st");
}

static void missing_connections_are_found_in_blocks(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        Network *network = create(i);
        real dense[64], *data = network->parameters + PLACE_B;
        const Layout layout = weights_layout(&rows[i][1]);
        for (int k = 0; k < 16 * (4 + ROOM); k++) {
            data[k] = 1;
        }
        assert_int_equal(weights_apply_connections(&rows[i][1], data), 22);
        layout_gather(&layout, data, 0, 64, dense);
        for (size_t k = 0; k < 64; k++) {
            assert_true(dense[k] == (real)connections[k]);
        }
        network_free(network);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(places_are_those_of_the_definition, setup),
        cmocka_unit_test_setup(gathering_and_scattering_are_inverse, setup),
        cmocka_unit_test_setup(initial_weights_are_the_same_in_files, setup),
        cmocka_unit_test_setup(checkpoints_are_exchangeable, setup),
        cmocka_unit_test_setup(missing_connections_are_found_in_blocks, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
