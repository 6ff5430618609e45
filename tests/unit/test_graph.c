/* The graph, its gradients and what is fused, for small descriptions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "expand.h"
#include "fuse.h"

#include <string.h>

static Arena *arena;

static int set_up(void **state) {
    (void)state;
    arena = arena_create();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    arena_free(arena);
    return 0;
}

static Graph *graph_of(const char *text, bool infer_only) {
    Sources *sources = sources_create(arena);
    Diagnostics *diagnostics = diagnostics_create(arena, sources);
    SourceFile *file = source_from_text(sources, "test.cnn", text, strlen(text));
    ExpandOptions options = {0};
    Network *network = expand_file(sources, diagnostics, file, &options);
    assert_non_null(network);
    assert_true(network_infer(network, diagnostics));
    Graph *graph = graph_build(arena, network, infer_only);
    assert_true(graph_verify(graph, stderr));
    return graph;
}

static const Node *find(const Graph *graph, ProgramId program, NodeRole role, const char *layer) {
    const Program *list = &graph->programs[program];
    for (int i = 0; i < list->count; i++)
        if (list->nodes[i]->role == role && strcmp(list->nodes[i]->layer->name, layer) == 0)
            return list->nodes[i];
    return NULL;
}

/* The groups of a program, as "conv1+relu1 fc1". */
static const char *groups_of(const Graph *graph, ProgramId program, bool enabled) {
    GroupList list = fuse_program(arena, &graph->programs[program], enabled);
    const char *text = "";
    for (int i = 0; i < list.count; i++)
        for (int k = 0; k < list.groups[i]->count; k++)
            text = arena_format(arena, "%s%s%s", text, k > 0 ? "+" : (i > 0 ? " " : ""),
                                list.groups[i]->nodes[k]->layer->name);
    return text;
}

static void test_activation_fuses_behind_convolution(void **state) {
    (void)state;
    Graph *graph = graph_of("input 3x8x8 net = CONV(4,3x3) - RELU - FC(2)", false);
    assert_string_equal(groups_of(graph, PROGRAM_FORWARD, true), "conv1+relu1 fc1");
    assert_string_equal(groups_of(graph, PROGRAM_FORWARD, false), "conv1 relu1 fc1");
}

/* relu's gradient reads its output, so what the convolution makes is not stored. */
static void test_intermediate_is_not_stored(void **state) {
    (void)state;
    Graph *graph = graph_of("input 3x8x8 net = CONV(4,3x3) - RELU - FC(2)", false);
    fuse_program(arena, &graph->programs[PROGRAM_FORWARD_TRAINING], true);
    assert_false(find(graph, PROGRAM_FORWARD_TRAINING, NODE_FORWARD, "conv1")->stored);
    assert_true(find(graph, PROGRAM_FORWARD_TRAINING, NODE_FORWARD, "relu1")->stored);
}

static void test_intermediate_with_a_reader_is_stored(void **state) {
    (void)state;
    Graph *graph = graph_of("input 3x8x8 net = CONV(4,3x3) @a - RELU - ADD{ID, @a} - FC(2)", false);
    fuse_program(arena, &graph->programs[PROGRAM_FORWARD], true);
    assert_true(find(graph, PROGRAM_FORWARD, NODE_FORWARD, "a")->stored);
}

/* A tensor with two consumers: the first gradient stores, the second adds. */
static void test_gradients_accumulate(void **state) {
    (void)state;
    Graph *graph =
        graph_of("input 4x6x6 net = CONV(4,1x1) - ADD{ID, CONV(4,3x3,pad=1)} - FC(2)", false);
    const Node *sum = find(graph, PROGRAM_BACKWARD, NODE_DATA_GRADIENT, "add1");
    const Node *convolution = find(graph, PROGRAM_BACKWARD, NODE_DATA_GRADIENT, "conv2");
    assert_non_null(sum);
    assert_false(sum->accumulate);
    assert_true(convolution->accumulate);
    assert_ptr_equal(tensor_storage(sum->dx), tensor_storage(convolution->dx));
}

/* What no parameter influences is differentiated only on demand. */
static void test_input_gradient_is_apart(void **state) {
    (void)state;
    Graph *graph = graph_of("input 3x8x8 net = LRN - CONV(4,3x3) - FC(2)", false);
    assert_null(find(graph, PROGRAM_BACKWARD, NODE_DATA_GRADIENT, "conv1"));
    assert_non_null(find(graph, PROGRAM_BACKWARD_INPUT, NODE_DATA_GRADIENT, "conv1"));
    assert_non_null(find(graph, PROGRAM_BACKWARD_INPUT, NODE_DATA_GRADIENT, "lrn1"));
    assert_non_null(find(graph, PROGRAM_BACKWARD, NODE_PARAMETER_GRADIENT, "conv1"));
}

static void test_views_have_no_nodes(void **state) {
    (void)state;
    Graph *graph = graph_of("input 3x8x8 net = CONV(4,3x3) - FLATTEN - FC(2)", false);
    assert_null(find(graph, PROGRAM_FORWARD, NODE_FORWARD, "flatten1"));
    const Node *fc = find(graph, PROGRAM_BACKWARD, NODE_DATA_GRADIENT, "fc1");
    const Node *convolution = find(graph, PROGRAM_BACKWARD, NODE_PARAMETER_GRADIENT, "conv1");
    assert_ptr_equal(tensor_storage(fc->dx), tensor_storage(convolution->dy));
}

/* Cross entropy reads the logits; the gradient of the softmax itself is not needed. */
static void test_loss_takes_logits(void **state) {
    (void)state;
    Graph *graph = graph_of("input 8 net = FC(3) - SOFTMAX", false);
    const Node *loss = find(graph, PROGRAM_BACKWARD, NODE_LOSS_GRADIENT, "fc1");
    assert_non_null(loss);
    assert_null(find(graph, PROGRAM_BACKWARD, NODE_DATA_GRADIENT, "softmax1"));
}

static void test_dropout_is_a_view_in_evaluation(void **state) {
    (void)state;
    Graph *graph = graph_of("input 8 net = FC(5) - DROPOUT(0.5) - FC(3)", false);
    assert_null(find(graph, PROGRAM_FORWARD, NODE_FORWARD, "dropout1"));
    assert_non_null(find(graph, PROGRAM_FORWARD_TRAINING, NODE_FORWARD, "dropout1"));
}

static void test_one_random_layer_for_each_kernel(void **state) {
    (void)state;
    Graph *graph = graph_of("input 8 net = FC(5) - DROPOUT(0.5) - DROPOUT(0.1) - FC(3)", false);
    assert_string_equal(groups_of(graph, PROGRAM_FORWARD_TRAINING, true),
                        "fc1+dropout1 dropout2 fc2");
}

static void test_inference_has_no_training_programs(void **state) {
    (void)state;
    Graph *graph = graph_of("input 3x8x8 net = CONV(4,3x3) - RELU - FC(2)", true);
    assert_int_equal(graph->programs[PROGRAM_FORWARD_TRAINING].count, 0);
    assert_int_equal(graph->programs[PROGRAM_BACKWARD].count, 0);
    assert_true(graph->programs[PROGRAM_FORWARD].count > 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {TEST(test_activation_fuses_behind_convolution),
                                       TEST(test_intermediate_is_not_stored),
                                       TEST(test_intermediate_with_a_reader_is_stored),
                                       TEST(test_gradients_accumulate),
                                       TEST(test_input_gradient_is_apart),
                                       TEST(test_views_have_no_nodes),
                                       TEST(test_loss_takes_logits),
                                       TEST(test_dropout_is_a_view_in_evaluation),
                                       TEST(test_one_random_layer_for_each_kernel),
                                       TEST(test_inference_has_no_training_programs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
