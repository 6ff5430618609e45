/* AVGPOOL: the mean of each window. With count_pad the zeros of the padding count, but what a
 * window of round=ceil covers behind the padding does not; without it only elements of the input
 * count. */
#include "channels.h"
#include "common.h"
#include "pooling.h"

enum { AVGPOOL_COUNT_PAD = POOL_ATTRIBUTES, AVGPOOL_ATTRIBUTES };

static const AttributeDef avgpool_attributes[AVGPOOL_ATTRIBUTES] = {
    POOLING_ATTRIBUTES,
    {"count_pad", ATTRIBUTE_BOOLEAN, "true", 0, 0, NULL, "the mean is over the padding too"},
};

/* How many elements count along one axis of a window. */
static Expr *counted_extent(Builder *b, const ClippedWindow *clipped, int axis, bool count_pad,
                            Expr *output) {
    const Window *window = clipped->window;
    Expr *kernel = integer(b, window->kernel[axis]);
    if (!count_pad) {
        return clipped->clipped[axis] ? minus(b, clipped->end[axis], clipped->begin[axis]) : kernel;
    }
    if (!window_leaves_padding(window, axis)) {
        return kernel;
    }
    int64_t padded = window->input[axis] + window->pad_begin[axis] + window->pad_end[axis];
    Expr *rest = minus(b, integer(b, padded), times(b, output, integer(b, window->stride[axis])));
    return choose(b, less(b, rest, kernel), rest, kernel);
}

/* How many elements the mean of one window is over. */
static Expr *counted(Lowering *lowering, const Node *node, const ClippedWindow *clipped,
                     Expr *const *index) {
    Builder *b = lowering->builder;
    bool count_pad = attribute_boolean(node->layer, AVGPOOL_COUNT_PAD);
    Expr *count = integer(b, 1);
    for (int axis = 0; axis < clipped->window->rank; axis++) {
        count =
            times(b, count, counted_extent(b, clipped, axis, count_pad, index[AXIS_SPACE + axis]));
    }
    return convert(b, TYPE_REAL, count);
}

/* The sum of the window's elements, with loops over them. */
static ChannelValue lower_window_sum(const Channels *channels, const Node *node,
                                     const ClippedWindow *clipped, Expr *const *output) {
    Lowering *lowering = channels->lowering;
    ChannelValue sum = channel_zero(channels, "sum", lower_sum_type(lowering));
    LoopKind kind = channels->lanes > 1 ? LOOP_SERIAL : LOOP_REDUCTION;
    Expr *tap[MAX_AXES] = {output[AXIS_BATCH]};
    int opened = pooling_open_window(lowering, clipped, kind, tap);
    opened += channels_open_lanes(channels, &tap[AXIS_CHANNEL]);
    channel_add(channels, &sum, tap[AXIS_CHANNEL], tensor_load(lowering, node->x[0], tap));
    close_blocks(lowering->builder, opened);
    return sum;
}

/* Where element `tap` of a window that is not clipped lies. */
static void tap_index(Builder *b, const Window *window, Expr *const *output, int64_t tap,
                      Expr **index) {
    int64_t at[3];
    pooling_tap(window, tap, at);
    index[AXIS_BATCH] = output[AXIS_BATCH];
    index[AXIS_CHANNEL] = output[AXIS_CHANNEL];
    for (int axis = 0; axis < window->rank; axis++) {
        Expr *begin = times(b, output[AXIS_SPACE + axis], integer(b, window->stride[axis]));
        index[AXIS_SPACE + axis] = plus(b, begin, integer(b, at[axis] - window->pad_begin[axis]));
    }
}

/* Few elements, none of them outside of the input: the sum is written out. */
static bool is_unrolled(const Window *window) {
    bool inside = true;
    for (int axis = 0; axis < window->rank; axis++)
        inside = inside && !window_leaves_begin(window, axis) && !window_leaves_end(window, axis);
    return inside && pooling_taps(window) <= POOLING_UNROLLED;
}

static Expr *unrolled_sum(Lowering *lowering, const Node *node, Expr *const *output) {
    const Window *window = &node->layer->window;
    Expr *sum = NULL;
    for (int64_t tap = 0; tap < pooling_taps(window); tap++) {
        Expr *index[MAX_AXES];
        tap_index(lowering->builder, window, output, tap, index);
        Expr *value = tensor_load(lowering, node->x[0], index);
        sum = sum ? plus(lowering->builder, sum, value) : value;
    }
    return sum;
}

static void avgpool_forward(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    const Window *window = &node->layer->window;
    bool unrolled = lower_sum_type(lowering) == TYPE_REAL && is_unrolled(window);
    Expr *index[MAX_AXES];
    index[AXIS_BATCH] = open_batch(b, LOOP_INDEPENDENT);
    Channels channels = channels_open(lowering, pooling_layout(node->x[0], node->y));
    int opened =
        1 + channels.opened + pooling_open_outputs(lowering, window, 0, window->rank, index);
    ClippedWindow clipped = pooling_clip(lowering, window, index);
    ChannelValue sums = {.name = NULL};
    if (!unrolled)
        sums = lower_window_sum(&channels, node, &clipped, index);
    Expr *count = counted(lowering, node, &clipped, index);
    opened += channels_open_lanes(&channels, &index[AXIS_CHANNEL]);
    Expr *sum = unrolled ? unrolled_sum(lowering, node, index)
                         : channel_get(&channels, &sums, index[AXIS_CHANNEL]);
    lower_result(lowering, node, index, over(b, sum, count));
    close_blocks(b, opened);
}

/* Windows that tile the input: each element of one gets the same. */
static void spread_tile(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    const Window *window = &node->layer->window;
    Expr *output[MAX_AXES];
    output[AXIS_BATCH] = open_batch(b, LOOP_INDEPENDENT);
    Channels channels = channels_open(lowering, pooling_layout(node->dx, node->dy));
    int opened =
        1 + channels.opened + pooling_open_outputs(lowering, window, 0, window->rank, output);
    opened += channels_open_lanes(&channels, &output[AXIS_CHANNEL]);
    Expr *count = number(b, (double)pooling_taps(window));
    Expr *share = over(b, tensor_load(lowering, node->dy, output), count);
    share = declare(b, "share", TYPE_REAL, share);
    for (int64_t tap = 0; tap < pooling_taps(window); tap++) {
        Expr *index[MAX_AXES];
        tap_index(b, window, output, tap, index);
        lower_result(lowering, node, index, share);
    }
    close_blocks(b, opened);
}

/* The sum of the shares in the windows around an element. */
static void gather_shares(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    const Window *window = &node->layer->window;
    Expr *input[MAX_AXES], *output[MAX_AXES];
    output[AXIS_BATCH] = input[AXIS_BATCH] = open_batch(b, LOOP_INDEPENDENT);
    Channels channels = channels_open(lowering, pooling_layout(node->dx, node->dy));
    int opened = 1 + channels.opened + open_space(lowering, LOOP_INDEPENDENT, node->dx, input);
    ChannelValue sum = channel_zero(&channels, "sum", lower_sum_type(lowering));
    LoopKind kind = channels.lanes > 1 ? LOOP_SERIAL : LOOP_REDUCTION;
    int windows = pooling_open_covering(lowering, window, window->rank, kind, input, output);
    ClippedWindow clipped = pooling_clip(lowering, window, output);
    Expr *count = counted(lowering, node, &clipped, output);
    windows += channels_open_lanes(&channels, &output[AXIS_CHANNEL]);
    channel_add(&channels, &sum, output[AXIS_CHANNEL],
                over(b, tensor_load(lowering, node->dy, output), count));
    close_blocks(b, windows);
    opened += channels_open_lanes(&channels, &input[AXIS_CHANNEL]);
    lower_result(lowering, node, input, channel_get(&channels, &sum, input[AXIS_CHANNEL]));
    close_blocks(b, opened);
}

static void avgpool_data_gradient(Lowering *lowering, const Node *node) {
    const Window *window = &node->layer->window;
    if (pooling_tiles_input(window) && pooling_taps(window) <= POOLING_UNROLLED)
        spread_tile(lowering, node);
    else
        gather_shares(lowering, node);
}

static const char *const avgpool_samples[] = {
    "input 2x6x6 net = CONV(3, 3x3, pad=1) - AVGPOOL(2x2) - FC(3)",
    "input 2x7x8 net = CONV(3, 2x2) - AVGPOOL(3x3, stride=2, pad=1, round=ceil) - FC(3)",
    "input 1x8x7 net = CONV(2, 2x2) - AVGPOOL(3x2, stride=2, pad=1, round=ceil, count_pad=false) "
    "- FC(3)",
    "input 2x8x8 net = CONV(16, 2x2) - AVGPOOL(3x3, stride=2, pad=1, round=ceil) - AVGPOOL(2) - "
    "FC(3)",
    "input 2x9 net = CONV(3, 2) - AVGPOOL(4, stride=2) - FC(3)",
    NULL};

const OpDef op_avgpool = {.name = "AVGPOOL",
                          .summary = "mean of each window",
                          .flags = OP_KEEPS_ZERO,
                          .attributes = avgpool_attributes,
                          .attribute_count = AVGPOOL_ATTRIBUTES,
                          .infer = pooling_infer,
                          .cost = cost_one_per_output,
                          .lower_forward = avgpool_forward,
                          .lower_data_gradient = avgpool_data_gradient,
                          .samples = avgpool_samples};
