/* AVGPOOL: the mean of each window. With count_pad the zeros of the padding count, but what a
 * window of round=ceil covers behind the padding does not; without it only elements of the input
 * count. */
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

static void avgpool_forward(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    Expr *index[MAX_AXES];
    int opened = open_tensor(lowering, node->y, index);
    ClippedWindow clipped = pooling_clip(lowering, &node->layer->window, index);
    Expr *tap[MAX_AXES] = {index[AXIS_BATCH], index[AXIS_CHANNEL]};
    Expr *sum = declare(b, "sum", lower_sum_type(lowering), number(b, 0));
    int taps = pooling_open_window(lowering, &clipped, LOOP_REDUCTION, tap);
    local_add(b, sum, tensor_load(lowering, node->x[0], tap));
    close_blocks(b, taps);
    lower_result(lowering, node, index, over(b, sum, counted(lowering, node, &clipped, index)));
    close_blocks(b, opened);
}

static void avgpool_data_gradient(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    lower_clear_result(lowering, node);
    Expr *index[MAX_AXES];
    int opened = pooling_open_outputs(lowering, node, index);
    ClippedWindow clipped = pooling_clip(lowering, &node->layer->window, index);
    Expr *dy = tensor_load(lowering, node->dy, index);
    Expr *share =
        declare(b, "share", TYPE_REAL, over(b, dy, counted(lowering, node, &clipped, index)));
    Expr *tap[MAX_AXES] = {index[AXIS_BATCH], index[AXIS_CHANNEL]};
    int taps = pooling_open_window(lowering, &clipped, LOOP_SERIAL, tap);
    tensor_add(lowering, node->dx, tap, share);
    close_blocks(b, opened + taps);
}

static const char *const avgpool_samples[] = {
    "input 2x6x6 net = CONV(3, 3x3, pad=1) - AVGPOOL(2x2) - FC(3)",
    "input 2x7x8 net = CONV(3, 2x2) - AVGPOOL(3x3, stride=2, pad=1, round=ceil) - FC(3)",
    "input 1x8x7 net = CONV(2, 2x2) - AVGPOOL(3x2, stride=2, pad=1, round=ceil, count_pad=false) "
    "- FC(3)",
    "input 2x9 net = CONV(3, 2) - AVGPOOL(4, stride=2) - FC(3)", NULL};

const OpDef op_avgpool = {.name = "AVGPOOL",
                          .summary = "mean of each window",
                          .flags = OP_SCATTERS,
                          .attributes = avgpool_attributes,
                          .attribute_count = AVGPOOL_ATTRIBUTES,
                          .infer = pooling_infer,
                          .cost = cost_one_per_output,
                          .lower_forward = avgpool_forward,
                          .lower_data_gradient = avgpool_data_gradient,
                          .samples = avgpool_samples};
