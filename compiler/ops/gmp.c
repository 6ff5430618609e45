/* GMP: the maximum of each channel, to extents of 1; gradient and NaN as in MAXPOOL. */
#include "pooling.h"

static const char *const gmp_samples[] = {"input 2x5x4 net = CONV(3, 2x2) - GMP - FC(3)",
                                          "input 2x5x4 net = CONV(16, 2x2) - GMP - FC(3)",
                                          "input 2x6 net = CONV(4, 2) - GMP - FC(3)", NULL};

const OpDef op_gmp = {.name = "GMP",
                      .summary = "global maximum of each channel",
                      .flags = OP_GRADIENT_READS_INPUT,
                      .infer = global_pooling_infer,
                      .lower_forward = maximum_pooling_forward,
                      .lower_data_gradient = maximum_pooling_data_gradient,
                      .samples = gmp_samples};
