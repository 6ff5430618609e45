/* GAP: the mean of each channel, to extents of 1 (M. Lin et al., Network in network, 2014, section
 * 3.2). */
#include "common.h"
#include "pooling.h"

static void gap_forward(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    Expr *index[MAX_AXES];
    int opened = open_tensor(lowering, node->y, index);
    ClippedWindow whole = pooling_clip(lowering, &node->layer->window, index);
    Expr *tap[MAX_AXES] = {index[AXIS_BATCH], index[AXIS_CHANNEL]};
    Expr *sum = declare(b, "sum", lower_sum_type(lowering), number(b, 0));
    int taps = pooling_open_window(lowering, &whole, LOOP_REDUCTION, tap);
    local_add(b, sum, tensor_load(lowering, node->x[0], tap));
    close_blocks(b, taps);
    Expr *count = number(b, (double)space_elements(node->x[0]));
    lower_result(lowering, node, index, over(b, sum, count));
    close_blocks(b, opened);
}

static void gap_data_gradient(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    Expr *index[MAX_AXES];
    int opened = open_tensor(lowering, node->dx, index);
    Expr *channel[MAX_AXES] = {index[AXIS_BATCH], index[AXIS_CHANNEL]};
    for (int axis = 1; axis < node->dy->rank; axis++) {
        channel[AXIS_CHANNEL + axis] = integer(b, 0);
    }
    Expr *count = number(b, (double)space_elements(node->dx));
    lower_result(lowering, node, index, over(b, tensor_load(lowering, node->dy, channel), count));
    close_blocks(b, opened);
}

static const char *const gap_samples[] = {"input 2x5x4 net = CONV(3, 2x2) - GAP - FC(3)",
                                          "input 2x6 net = CONV(4, 2) - GAP - FC(3)",
                                          "input 1x4x4x3 net = CONV(4, 2) - GAP - FC(3)", NULL};

const OpDef op_gap = {.name = "GAP",
                      .summary = "global average of each channel",
                      .infer = global_pooling_infer,
                      .cost = cost_one_per_output,
                      .lower_forward = gap_forward,
                      .lower_data_gradient = gap_data_gradient,
                      .samples = gap_samples};
