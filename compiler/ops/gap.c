/* GAP: the mean of each channel, to extents of 1 (M. Lin et al., Network in network, 2014, section
 * 3.2). */
#include "channels.h"
#include "common.h"
#include "pooling.h"

static void gap_term(Lowering *lowering, const void *node, Expr *const *index, Expr **terms) {
    terms[0] = tensor_load(lowering, ((const Node *)node)->x[0], index);
}

static void gap_forward(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    Expr *zero = integer(b, 0), *index[MAX_AXES] = {NULL, NULL, zero, zero, zero};
    index[AXIS_BATCH] = open_batch(b, LOOP_INDEPENDENT);
    Channels channels = channels_open(lowering, node->x[0]);
    ChannelSums sums = {.example = index[AXIS_BATCH],
                        .count = 1,
                        .names = {"sum"},
                        .term = gap_term,
                        .context = node};
    channel_sums(&channels, &sums);
    int opened = 1 + channels.opened + channels_open_lanes(&channels, &index[AXIS_CHANNEL]);
    Expr *sum = channel_get(&channels, &sums.value[0], index[AXIS_CHANNEL]);
    Expr *count = number(b, (double)space_elements(node->x[0]));
    lower_result(lowering, node, index, convert(b, TYPE_REAL, over(b, sum, count)));
    close_blocks(b, opened);
}

static void gap_data_gradient(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    Expr *zero = integer(b, 0), *pooled[MAX_AXES] = {NULL, NULL, zero, zero, zero};
    Expr *index[MAX_AXES];
    index[AXIS_BATCH] = pooled[AXIS_BATCH] = open_batch(b, LOOP_INDEPENDENT);
    Channels channels = channels_open(lowering, node->dx);
    ChannelValue share = channel_value(&channels, "share", TYPE_REAL);
    int opened = channels_open_lanes(&channels, &pooled[AXIS_CHANNEL]);
    Expr *count = number(b, (double)space_elements(node->dx));
    channel_set(&channels, &share, pooled[AXIS_CHANNEL],
                over(b, tensor_load(lowering, node->dy, pooled), count));
    close_blocks(b, opened);
    opened = 1 + channels.opened + open_space(lowering, LOOP_INDEPENDENT, node->dx, index);
    opened += channels_open_lanes(&channels, &index[AXIS_CHANNEL]);
    lower_result(lowering, node, index, channel_get(&channels, &share, index[AXIS_CHANNEL]));
    close_blocks(b, opened);
}

static const char *const gap_samples[] = {"input 2x5x4 net = CONV(3, 2x2) - GAP - FC(3)",
                                          "input 2x6 net = CONV(4, 2) - GAP - FC(3)",
                                          "input 2x5x4 net = CONV(32, 2x2) - RELU - GAP - FC(3)",
                                          "input 1x4x4x3 net = CONV(4, 2) - GAP - FC(3)", NULL};

const OpDef op_gap = {.name = "GAP",
                      .summary = "global average of each channel",
                      .flags = OP_KEEPS_ZERO,
                      .infer = global_pooling_infer,
                      .cost = cost_one_per_output,
                      .lower_forward = gap_forward,
                      .lower_data_gradient = gap_data_gradient,
                      .samples = gap_samples};
