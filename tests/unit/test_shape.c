/* Shape inference on descriptions: extents, parameters, cost, receptive fields, errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "../../compiler/expand.h"

typedef struct Checked {
    Arena *arena;
    Network *network;
    Diagnostics *diagnostics;
    bool fine;
} Checked;

static Checked check(const char *text) {
    Checked checked = {.arena = arena_create()};
    Sources *sources = sources_create(checked.arena);
    checked.diagnostics = diagnostics_create(checked.arena, sources);
    SourceFile *file = source_from_text(sources, "test.cnn", text, strlen(text));
    ExpandOptions options = {0};
    checked.network = expand_file(sources, checked.diagnostics, file, &options);
    assert_non_null(checked.network);
    checked.fine = network_infer(checked.network, checked.diagnostics);
    return checked;
}

static void expect_shape(const char *text, const char *expected) {
    Checked checked = check(text);
    assert_true(checked.fine);
    assert_string_equal(shape_text(checked.arena, &checked.network->heads[0].layer->output),
                        expected);
    arena_free(checked.arena);
}

static void expect_errors(const char *text, int count) {
    Checked checked = check(text);
    assert_false(checked.fine);
    assert_int_equal(diagnostics_error_count(checked.diagnostics), count);
    arena_free(checked.arena);
}

static void shapes(void **state) {
    (void)state;
    expect_shape("input 3x227x227 net = CONV(96, 11x11, stride=4)", "96x55x55");
    expect_shape("input 3x224x224 net = CONV(64, 7x7, stride=2, pad=3, round=floor)", "64x112x112");
    expect_shape("input 3x17x18 net = CONV(8, 3x3, stride=2, pad=same)", "8x9x9");
    expect_shape("input 2x20 net = CONV(4, 3, dilation=4, causal=true)", "4x20");
    expect_shape("input 2x8x9x10 net = CONV(4, 2x3x4, stride=2x2x3)", "4x4x4x3");
    expect_shape("input 4x9x9 net = DWCONV(3x3, multiplier=3)", "12x7x7");
    expect_shape("input 4x9x9 net = POOL(3)", "4x3x3");
    expect_shape("input 4x10x10 net = AVGPOOL(3x3, stride=2, round=ceil)", "4x5x5");
    expect_shape("input 4x10x10 net = GAP", "4x1x1");
    expect_shape("input 4x10 net = GMP", "4x1");
    expect_shape("input 4x10x10 net = FC(7)", "7");
}

/* LeNet-5 as in LeCun et al. 1998: C1 156, C3 1516 by its table, C5 48120, F6 10164, output 850. */
static void parameters(void **state) {
    (void)state;
    Checked checked = check(
        "input 1x32x32\n"
        "net = CONV(6, 5x5) - AVGPOOL(2x2) - CONV(16, 5x5, table=["
        "[0,1,2],[1,2,3],[2,3,4],[3,4,5],[0,4,5],[0,1,5],[0,1,2,3],[1,2,3,4],[2,3,4,5],[0,3,4,5],"
        "[0,1,4,5],[0,1,2,5],[0,1,3,4],[1,2,4,5],[0,2,3,5],[0,1,2,3,4,5]])"
        " - AVGPOOL(2x2) - CONV(120, 5x5) - FC(84) - FC(10)");
    assert_true(checked.fine);
    const Network *network = checked.network;
    assert_int_equal(network->parameter_count, 156 + 1516 + 48120 + 10164 + 850);
    assert_int_equal(network->bias_count, 6 + 16 + 120 + 84 + 10);
    assert_int_equal(network->layers[3]->cost.macs, 1500 * 100);
    assert_int_equal(network->cost.macs, 150 * 784 + 1500 * 100 + 400 * 120 + 120 * 84 + 84 * 10);
    assert_int_equal(network->cost.flops, 2 * network->cost.macs + 6 * 14 * 14 + 16 * 5 * 5);
    assert_int_equal(network->layers[1]->parameters[0].fan_in, 25);
    assert_int_equal(network->layers[1]->parameters[0].fan_out, 150);
    arena_free(checked.arena);
}

static void receptive_fields(void **state) {
    (void)state;
    Checked checked = check(
        "input 3x100x30 net = CONV(4, 3x3, pad=1) - POOL(2x2) "
        "- CONV(4, 3x3, pad=1) - CONV(4, 5x5, dilation=3, pad=6) - GAP - FC(2)");
    assert_true(checked.fine);
    static const int64_t fields[][2] = {{1, 1},   {3, 3},    {4, 4},   {8, 8},
                                        {32, 30}, {100, 30}, {100, 30}};
    assert_int_equal(checked.network->layer_count, 7);
    for (int i = 0; i < 7; i++) {
        assert_int_equal(checked.network->layers[i]->receptive_field[0], fields[i][0]);
        assert_int_equal(checked.network->layers[i]->receptive_field[1], fields[i][1]);
    }
    arena_free(checked.arena);
}

static void errors(void **state) {
    (void)state;
    expect_errors("input 3x224x224 net = CONV(96, 11x11, stride=4) - FC(10)", 1);
    expect_errors("input 3x4x4 net = CONV(8, 5x5)", 1);
    expect_errors("input 3x8x8 net = CONV(8, 3x3x3)", 1);
    expect_errors("input 64 net = CONV(8, 3x3)", 1);
    expect_errors("input 64 net = GAP", 1);
    expect_errors("input 4x8x8 net = CONV(6, 3x3, groups=4)", 1);
    expect_errors("input 4x8x8 net = MAXPOOL(3x3, pad=2, stride=1)", 1);
    expect_errors("input 4x8x8 net = CONV(2, 3x3, table=[[0,1],[4]])", 1);
    expect_errors("input 4x8x8 net = CONV(2, 3x3, table=[[0,1],[1,2,1]])", 1);
    expect_errors("input 4x8x8 net = CONV(3, 3x3, table=[[0,1],[1,2]])", 1);
    expect_errors("input 4x8x8 net = CONV(2, 3x3, causal=true)", 1);
    expect_errors("input 4x8 net = CONV(2, 3, pad=1, causal=true)", 1);
    expect_errors("input 4x8 net = FC(2, dropconnect=0.5)", 1);
}

static void overflows(void **state) {
    (void)state;
    expect_errors("input 1000000000000x8x8 net = CONV(1000000000000, 3x3)", 1);
    expect_errors("input 1000000x1000000x10000000 net = FC(10)", 1);
    expect_errors("input 1x1000000000 net = FC(9000000000) - FC(9000000000)", 1);
    expect_errors("input 1000000000x1x1 net = FC(100000000) - FC(1000000000)*20", 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes), cmocka_unit_test(parameters), cmocka_unit_test(receptive_fields),
        cmocka_unit_test(errors), cmocka_unit_test(overflows),
    };
    return cmocka_run_group_tests_name("shape", tests, NULL, NULL);
}
