/* PRELU: x, or weight*x where x < 0, with a learned weight (He et al. 2015, eq. 1): one number for
 * the layer as in PyTorch's default, or one per channel. */
#include "common.h"

enum { PRELU_CHANNELWISE, PRELU_ATTRIBUTES };

static const AttributeDef prelu_attributes[PRELU_ATTRIBUTES] = {
    {"channelwise", ATTRIBUTE_BOOLEAN, "false", 0, 0, NULL, "a slope per channel, not per layer"}};

#define PRELU_INITIAL_SLOPE 0.25 /* He et al. 2015, section 2.1 */

static int prelu_parameters(Counter *counter, const Layer *layer, ParameterSpec *specs) {
    (void)counter;
    bool channelwise = attribute_boolean(layer, PRELU_CHANNELWISE);
    int64_t count = channelwise ? layer->inputs[0]->output.extent[0] : 1;
    specs[0] = (ParameterSpec){.name = "weight",
                               .role = PARAMETER_WEIGHT,
                               .dims = {1, {count}},
                               .count = count,
                               .initialiser = {INITIALISER_CONSTANT, PRELU_INITIAL_SLOPE},
                               .fan_in = 1,
                               .fan_out = 1};
    return 1;
}

static Expr *slope_at(Lowering *lowering, const Node *node, Expr *const *index) {
    bool channelwise = attribute_boolean(node->layer, PRELU_CHANNELWISE);
    Expr *position = channelwise ? index[AXIS_CHANNEL] : integer(lowering->builder, 0);
    return tensor_load(lowering, node->parameters[0], &position);
}

static Expr *prelu_value(Lowering *lowering, const Node *node, Expr *const *x, Expr *const *index) {
    Builder *b = lowering->builder;
    Expr *scaled = times(b, slope_at(lowering, node, index), x[0]);
    return choose(b, greater(b, x[0], number(b, 0)), x[0], scaled);
}

static Expr *prelu_derivative(Lowering *lowering, const Node *node, int input, Expr *const *x,
                              Expr *y, Expr *dy, Expr *const *index) {
    (void)input;
    (void)y;
    Builder *b = lowering->builder;
    Expr *scaled = times(b, slope_at(lowering, node, index), dy);
    return choose(b, greater(b, x[0], number(b, 0)), dy, scaled);
}

/* dL/dweight takes dy*x from every element with x < 0; index is that of the element. */
static void add_contribution(Lowering *lowering, const Node *node, Expr *sum, Expr *const *index) {
    Builder *b = lowering->builder;
    Expr *x = tensor_load(lowering, node->x[0], index);
    Expr *product = times(b, tensor_load(lowering, node->dy, index), x);
    local_add(b, sum, choose(b, less(b, x, number(b, 0)), product, number(b, 0)));
}

static void lower_channel_gradients(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    Expr *index[MAX_AXES];
    index[AXIS_CHANNEL] = open_loop(b, LOOP_INDEPENDENT, "c", node->dy->extent[0]);
    Expr *sum = declare(b, "sum", lower_sum_type(lowering), number(b, 0));
    index[AXIS_BATCH] = open_batch(b, LOOP_REDUCTION);
    int opened = open_space(lowering, LOOP_REDUCTION, node->dy, index);
    add_contribution(lowering, node, sum, index);
    close_blocks(b, opened + 1);
    tensor_store(lowering, node->parameter_gradients[0], &index[AXIS_CHANNEL], sum);
    close_blocks(b, 1);
}

/* One number from all elements: first the sum of each example, so that examples are independent. */
static void lower_single_gradient(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    Buffer *sums = lower_scratch(lowering, "example_sums", true, 1);
    Expr *index[MAX_AXES];
    index[AXIS_BATCH] = open_batch(b, LOOP_INDEPENDENT);
    Expr *sum = declare(b, "sum", lower_sum_type(lowering), number(b, 0));
    index[AXIS_CHANNEL] = open_loop(b, LOOP_REDUCTION, "c", node->dy->extent[0]);
    int opened = open_space(lowering, LOOP_REDUCTION, node->dy, index);
    add_contribution(lowering, node, sum, index);
    close_blocks(b, opened + 1);
    store_at(b, sums, 1, &index[AXIS_BATCH], sum, false);
    close_blocks(b, 1);

    Expr *total = declare(b, "total", lower_sum_type(lowering), number(b, 0));
    Expr *n = open_batch(b, LOOP_REDUCTION);
    local_add(b, total, load_at(b, sums, 1, &n));
    close_blocks(b, 1);
    Expr *zero = integer(b, 0);
    tensor_store(lowering, node->parameter_gradients[0], &zero, total);
}

static void prelu_lower_parameter_gradient(Lowering *lowering, const Node *node) {
    if (attribute_boolean(node->layer, PRELU_CHANNELWISE))
        lower_channel_gradients(lowering, node);
    else
        lower_single_gradient(lowering, node);
}

const OpDef op_prelu = {.name = "PRELU",
                        .summary = "leaky rectifier with a learned slope",
                        .flags = OP_GRADIENT_READS_INPUT,
                        .attributes = prelu_attributes,
                        .attribute_count = PRELU_ATTRIBUTES,
                        .infer = infer_like_input,
                        .parameters = prelu_parameters,
                        .cost = cost_one_per_output,
                        .value = prelu_value,
                        .derivative = prelu_derivative,
                        .lower_parameter_gradient = prelu_lower_parameter_gradient,
                        .samples = SAMPLES_OF("PRELU - PRELU(channelwise=true)")};
