/* SOFTMAX and LOGSOFTMAX over the channels, at every position of the space. With m the largest
 * input, y_c = exp(x_c - m)/sum_k exp(x_k - m)         dx_c = y_c*(dy_c - sum_k dy_k*y_k) y_c =
 * (x_c - m) - log(sum_k exp(x_k - m))     dx_c = dy_c - exp(y_c)*sum_k dy_k No exponent is
 * positive, so nothing overflows, and the sum is at least 1. */
#include "common.h"

/* Opens independent loops over examples and positions. */
static int open_positions(Lowering *lowering, const Tensor *tensor, Expr **index) {
    index[AXIS_BATCH] = open_batch(lowering->builder, LOOP_INDEPENDENT);
    return 1 + open_space(lowering, LOOP_INDEPENDENT, tensor, index);
}

static void lower_forward(Lowering *lowering, const Node *node, bool logarithm) {
    Builder *b = lowering->builder;
    Tensor *x = node->x[0];
    int64_t channels = x->extent[0];
    Expr *index[MAX_AXES];
    int opened = open_positions(lowering, x, index);

    index[AXIS_CHANNEL] = integer(b, 0);
    Expr *peak = declare(b, "largest", TYPE_REAL, tensor_load(lowering, x, index));
    index[AXIS_CHANNEL] = open_range(b, LOOP_SERIAL, "c", integer(b, 1), integer(b, channels), 1);
    assign(b, peak, maximum(b, peak, tensor_load(lowering, x, index)));
    close_blocks(b, 1);

    Expr *sum = declare(b, "sum", lower_sum_type(lowering), number(b, 0));
    index[AXIS_CHANNEL] = open_loop(b, LOOP_REDUCTION, "c", channels);
    local_add(b, sum, unary(b, UNARY_EXP, minus(b, tensor_load(lowering, x, index), peak)));
    close_blocks(b, 1);

    Expr *scale = logarithm ? declare(b, "log_sum", TYPE_REAL, unary(b, UNARY_LOG, sum))
                            : declare(b, "scale", TYPE_REAL, over(b, number(b, 1), sum));
    index[AXIS_CHANNEL] = open_loop(b, LOOP_INDEPENDENT, "c", channels);
    Expr *shifted = minus(b, tensor_load(lowering, x, index), peak);
    lower_result(lowering, node, index,
                 logarithm ? minus(b, shifted, scale)
                           : times(b, unary(b, UNARY_EXP, shifted), scale));
    close_blocks(b, opened + 1);
}

static void lower_data_gradient(Lowering *lowering, const Node *node, bool logarithm) {
    Builder *b = lowering->builder;
    int64_t channels = node->y->extent[0];
    Expr *index[MAX_AXES];
    int opened = open_positions(lowering, node->y, index);

    Expr *sum = declare(b, "sum", lower_sum_type(lowering), number(b, 0));
    index[AXIS_CHANNEL] = open_loop(b, LOOP_REDUCTION, "c", channels);
    Expr *dy = tensor_load(lowering, node->dy, index);
    local_add(b, sum, logarithm ? dy : times(b, dy, tensor_load(lowering, node->y, index)));
    close_blocks(b, 1);
    sum = lower_sum_type(lowering) == TYPE_REAL ? sum : convert(b, TYPE_REAL, sum);

    index[AXIS_CHANNEL] = open_loop(b, LOOP_INDEPENDENT, "c", channels);
    dy = tensor_load(lowering, node->dy, index);
    Expr *y = tensor_load(lowering, node->y, index);
    lower_result(lowering, node, index,
                 logarithm ? minus(b, dy, times(b, unary(b, UNARY_EXP, y), sum))
                           : times(b, y, minus(b, dy, sum)));
    close_blocks(b, opened + 1);
}

static void softmax_lower_forward(Lowering *lowering, const Node *node) {
    lower_forward(lowering, node, false);
}

static void softmax_lower_data_gradient(Lowering *lowering, const Node *node) {
    lower_data_gradient(lowering, node, false);
}

static void logsoftmax_lower_forward(Lowering *lowering, const Node *node) {
    lower_forward(lowering, node, true);
}

static void logsoftmax_lower_data_gradient(Lowering *lowering, const Node *node) {
    lower_data_gradient(lowering, node, true);
}

const OpDef op_softmax = {.name = "SOFTMAX",
                          .summary = "probabilities over the channels at every position",
                          .flags = OP_GRADIENT_READS_OUTPUT,
                          .infer = infer_like_input,
                          .cost = cost_one_per_output,
                          .lower_forward = softmax_lower_forward,
                          .lower_data_gradient = softmax_lower_data_gradient,
                          .samples = SAMPLES_OF("SOFTMAX")};

const OpDef op_logsoftmax = {.name = "LOGSOFTMAX",
                             .summary = "logarithm of the probabilities that SOFTMAX gives",
                             .flags = OP_GRADIENT_READS_OUTPUT,
                             .infer = infer_like_input,
                             .cost = cost_one_per_output,
                             .lower_forward = logsoftmax_lower_forward,
                             .lower_data_gradient = logsoftmax_lower_data_gradient,
                             .samples = SAMPLES_OF("LOGSOFTMAX")};
