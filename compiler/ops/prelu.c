/* PRELU: x, or weight*x where x < 0, with a learned weight (He et al. 2015, eq. 1): one number for
 * the layer as in PyTorch's default, or one per channel. */
#include "channels.h"
#include "common.h"

enum { PRELU_CHANNELWISE, PRELU_ATTRIBUTES };

static const AttributeDef prelu_attributes[PRELU_ATTRIBUTES] = {
    {"channelwise", ATTRIBUTE_BOOLEAN, "false", 0, 0, NULL, "a slope per channel, not per layer"}};

static const char *const prelu_samples[] = {
    "input 2x5x4 net = CONV(4,3x3) - PRELU - PRELU(channelwise=true) - FC(3)",
    "input 6 net = FC(4) - PRELU - PRELU(channelwise=true) - FC(3)",
    "input 2x5x4 net = CONV(32,2x2) - PRELU - CONV(16,1x1) - PRELU(channelwise=true) - FC(3)",
    NULL};

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
static void slope_term(Lowering *lowering, const void *context, Expr *const *index, Expr **terms) {
    const Node *node = context;
    Builder *b = lowering->builder;
    Expr *x = tensor_load(lowering, node->x[0], index);
    Expr *product = times(b, tensor_load(lowering, node->dy, index), x);
    terms[0] = choose(b, less(b, x, number(b, 0)), product, number(b, 0));
}

/* The sums over the channel's elements, in all examples or in one. */
static ChannelSums slope_sums(const Node *node, Expr *example) {
    return (ChannelSums){
        .example = example, .count = 1, .names = {"sum"}, .term = slope_term, .context = node};
}

static void lower_channel_gradients(Lowering *lowering, const Node *node) {
    Expr *channel;
    Channels channels = channels_open(lowering, node->dy);
    ChannelSums sums = slope_sums(node, NULL);
    channel_sums(&channels, &sums);
    int opened = channels_open_lanes(&channels, &channel);
    tensor_store(lowering, node->parameter_gradients[0], &channel,
                 channel_get(&channels, &sums.value[0], channel));
    close_blocks(lowering->builder, opened);
    channels_close(&channels);
}

/* One number from all elements: first the sum of each channel of each example, so that these are
 * independent. */
static void lower_single_gradient(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    Expr *count = integer(b, node->dy->extent[0]), *channel;
    Buffer *parts = lower_scratch(lowering, "channel_sums", true, node->dy->extent[0]);
    Expr *n = open_batch(b, LOOP_INDEPENDENT);
    Channels channels = channels_open(lowering, node->dy);
    ChannelSums sums = slope_sums(node, n);
    channel_sums(&channels, &sums);
    int opened = channels_open_lanes(&channels, &channel);
    Expr *place = plus(b, times(b, n, count), channel);
    store_at(b, parts, 1, &place, channel_get(&channels, &sums.value[0], channel), false);
    close_blocks(b, opened);
    channels_close(&channels);
    close_blocks(b, 1);

    Expr *total = declare(b, "total", TYPE_DOUBLE, number(b, 0));
    Expr *i = open_range(b, LOOP_REDUCTION, "i", integer(b, 0), times(b, batch_size(b), count), 1);
    local_add(b, total, load_at(b, parts, 1, &i));
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
                        .flags = OP_GRADIENT_READS_INPUT | OP_KEEPS_ZERO,
                        .attributes = prelu_attributes,
                        .attribute_count = PRELU_ATTRIBUTES,
                        .infer = infer_like_input,
                        .parameters = prelu_parameters,
                        .cost = cost_one_per_output,
                        .value = prelu_value,
                        .derivative = prelu_derivative,
                        .lower_parameter_gradient = prelu_lower_parameter_gradient,
                        .samples = prelu_samples};
