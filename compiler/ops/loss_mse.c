/* Mean squared error over all elements of the output (torch.nn.MSELoss): of an example with E
 * elements loss = weight/E * sum (x - target)^2, and of the mean over a batch of N, dL/dx =
 * 2*weight/(N*E) * (x - target). */
#include "common.h"

static Expr *difference(Lowering *lowering, const Node *node, Expr *const *index) {
    return minus(lowering->builder, tensor_load(lowering, node->x[0], index),
                 tensor_load(lowering, node->target, index));
}

static void lower_losses(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    Tensor *x = node->x[0];
    Expr *index[MAX_AXES];
    Expr *n = index[AXIS_BATCH] = open_batch(b, LOOP_INDEPENDENT);
    Expr *sum = declare(b, "sum", TYPE_DOUBLE, number(b, 0));
    index[AXIS_CHANNEL] = open_loop(b, LOOP_REDUCTION, "c", x->extent[0]);
    int opened = 1 + open_space(lowering, LOOP_REDUCTION, x, index);
    Expr *error = declare(b, "error", TYPE_DOUBLE, difference(lowering, node, index));
    local_add(b, sum, times(b, error, error));
    close_blocks(b, opened);
    Expr *loss = times(b, sum, number(b, node->loss_weight / (double)x->elements));
    (node->add_loss ? tensor_add : tensor_store)(lowering, node->losses, &n, loss);
    close_blocks(b, 1);
}

static void mse_lower_data_gradient(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    lower_losses(lowering, node);
    Expr *count = batch_times(lowering, node->x[0]->elements);
    Expr *scale = declare(b, "scale", TYPE_REAL, over(b, number(b, 2 * node->loss_weight), count));
    Expr *index[MAX_AXES];
    int opened = open_tensor(lowering, node->dx, index);
    lower_result(lowering, node, index, times(b, scale, difference(lowering, node, index)));
    close_blocks(b, opened);
}

static const char *const mse_samples[] = {
    "input 2x4x3 net = CONV(3,2x2) - TANH - FC(2) train { loss = mse }",
    "input 2x4x3 net = CONV(3,2x2) - SIGMOID train { loss = mse }", NULL};

const OpDef op_loss_mse = {.name = "LOSS_MSE",
                           .summary = "mean squared error",
                           .flags = OP_INTERNAL,
                           .lower_forward = lower_losses,
                           .lower_data_gradient = mse_lower_data_gradient,
                           .samples = mse_samples};
