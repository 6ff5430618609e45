/* MAXPOOL: the maximum of each window. Padding never wins: it counts as minus infinity. The
 * gradient goes to the first maximum of the window in scan order; NaN is passed on. */
#include "pooling.h"

static const AttributeDef maxpool_attributes[POOL_ATTRIBUTES] = {POOLING_ATTRIBUTES};

static const char *const maxpool_samples[] = {
    "input 2x6x6 net = CONV(3, 3x3, pad=1) - MAXPOOL(2x2) - FC(3)",
    "input 2x7x8 net = CONV(3, 2x2) - MAXPOOL(3x3, stride=2, pad=1, round=floor) - FC(3)",
    "input 1x8x7 net = CONV(2, 2x2) - MAXPOOL(3x2, stride=2x3, round=ceil) - FC(3)",
    "input 2x9 net = CONV(3, 2) - MAXPOOL(2, stride=1, pad=same) - FC(3)",
    "input 2x7x6 net = CONV(16, 2x2) - RELU - MAXPOOL(3x3, stride=2, pad=1, round=floor) - "
    "CONV(16, 2x2) - RELU - MAXPOOL(2x2) - FC(3)",
    "input 16x8x10 net = CONV(16, 3x3, pad=1) - RELU - MAXPOOL(2x2) - CONV(16, 3x3, pad=1) - FC(3)",
    "input 2x9x9 net = CONV(16, 1x1) - MAXPOOL(5x5, stride=3, pad=2, round=ceil) - FC(3)",
    "input 1x5x5x5 net = CONV(2, 2) - MAXPOOL(2) - FC(3)",
    "input 1x9x45 net = CONV(3, 1x1) - MAXPOOL(3x3, stride=2, pad=1x0, round=floor) - "
    "MAXPOOL(2x2, stride=1x2) - FC(3)", /* rows of windows: whole vectors, and less than one */
    "input 2x8x10 net = CONV(16, 1x1) - MAXPOOL(2x2) - FC(3)", /* lanes that become C order */
    "input 1x1030 net = CONV(16, 1) - MAXPOOL(3, stride=2, round=floor) - FC(3)", /* a long row */
    NULL};

const OpDef op_maxpool = {.name = "MAXPOOL",
                          .aliases = "POOL",
                          .summary = "maximum of each window",
                          .flags = OP_EXAMPLE_LANES | OP_SELECTS | OP_KEEPS_ZERO,
                          .attributes = maxpool_attributes,
                          .attribute_count = POOL_ATTRIBUTES,
                          .infer = pooling_infer,
                          .saved = maximum_pooling_saved,
                          .lower_forward = maximum_pooling_forward,
                          .lower_window = maximum_pooling_window,
                          .lower_window_gradient = maximum_pooling_window_gradient,
                          .lower_data_gradient = maximum_pooling_data_gradient,
                          .samples = maxpool_samples};
