/* Cross-entropy of labels and the softmax of logits over the channels (torch.nn.CrossEntropyLoss
 * with its mean reduction). With C classes, label t, class weights w (1 where none are given),
 * smoothing e, p = softmax(x) and l = log(sum_c exp(x_c)), a position costs (1 - e)*w_t*(l - x_t) +
 * e/C * sum_c w_c*(l - x_c), and the loss of the batch is the sum over all examples and positions
 * divided by T, the sum of w_t over them. Per position, with W = sum_c w_c, T * dL/dx_c = ((1 -
 * e)*w_t + e*W/C)*p_c - (1 - e)*w_t*[c = t] - e/C*w_c. losses[n] is scaled so that the mean over
 * the batch is the loss. The trainer has checked that labels are below C. */
#include "common.h"

typedef struct CrossEntropy {
    Lowering *lowering;
    const Node *node;
    Expr *index[MAX_AXES];
    int64_t classes;
    double smoothing;  /* e/C */
    double weight_sum; /* W */
    /* Of the position at hand. */
    Expr *peak, *sum; /* the largest logit; sum_c exp(x_c - peak) */
    Expr *label;
    Expr *target_weight; /* (1 - e)*w_t */
} CrossEntropy;

static CrossEntropy cross_entropy(Lowering *lowering, const Node *node) {
    CrossEntropy loss = {.lowering = lowering, .node = node, .classes = node->x[0]->extent[0]};
    loss.smoothing = node->label_smoothing / (double)loss.classes;
    const double *weights = node->class_weights ? node->class_weights->constant : NULL;
    for (int64_t c = 0; c < loss.classes; c++)
        loss.weight_sum += weights ? weights[c] : 1;
    return loss;
}

static Expr *logit(CrossEntropy *loss, Expr *c) {
    loss->index[AXIS_CHANNEL] = c;
    return tensor_load(loss->lowering, loss->node->x[0], loss->index);
}

static Expr *class_weight(CrossEntropy *loss, Expr *c) {
    if (loss->node->class_weights == NULL)
        return number(loss->lowering->builder, 1);
    return tensor_load(loss->lowering, loss->node->class_weights, &c);
}

static Expr *load_label(CrossEntropy *loss) {
    Builder *b = loss->lowering->builder;
    Expr *position = space_offset(b, loss->node->x[0], loss->index);
    Expr *at[2] = {loss->index[AXIS_BATCH], position};
    return tensor_load(loss->lowering, loss->node->target, at);
}

/* T, as a double. */
static Expr *lower_total_weight(CrossEntropy *loss) {
    Builder *b = loss->lowering->builder;
    Tensor *x = loss->node->x[0];
    if (loss->node->class_weights == NULL)
        return batch_times(loss->lowering, space_elements(x));
    Expr *total = declare(b, "total_weight", TYPE_DOUBLE, number(b, 0));
    loss->index[AXIS_BATCH] = open_batch(b, LOOP_REDUCTION);
    int opened = 1 + open_space(loss->lowering, LOOP_REDUCTION, x, loss->index);
    local_add(b, total, class_weight(loss, load_label(loss)));
    close_blocks(b, opened);
    return total;
}

/* Sets what is known of a position before its loss and gradient. */
static void lower_position(CrossEntropy *loss) {
    Builder *b = loss->lowering->builder;
    loss->peak = declare(b, "largest", TYPE_REAL, logit(loss, integer(b, 0)));
    Expr *c = open_range(b, LOOP_SERIAL, "c", integer(b, 1), integer(b, loss->classes), 1);
    assign(b, loss->peak, maximum(b, loss->peak, logit(loss, c)));
    close_blocks(b, 1);
    loss->sum = declare(b, "sum", lower_sum_type(loss->lowering), number(b, 0));
    c = open_loop(b, LOOP_REDUCTION, "c", loss->classes);
    local_add(b, loss->sum, unary(b, UNARY_EXP, minus(b, logit(loss, c), loss->peak)));
    close_blocks(b, 1);

    double kept = 1 - loss->node->label_smoothing;
    loss->label = declare(b, "label", TYPE_INDEX, load_label(loss));
    loss->target_weight = number(b, kept);
    if (loss->node->class_weights)
        loss->target_weight = declare(b, "target_weight", TYPE_REAL,
                                      times(b, number(b, kept), class_weight(loss, loss->label)));
}

/* Adds the cost of the position to `total`. */
static void lower_cost(CrossEntropy *loss, Expr *total) {
    Builder *b = loss->lowering->builder;
    Expr *log_sum = plus(b, call(b, TYPE_DOUBLE, "log", 1, &loss->sum), loss->peak);
    log_sum = declare(b, "log_sum", TYPE_DOUBLE, log_sum);
    Expr *surprise = minus(b, log_sum, logit(loss, loss->label));
    local_add(b, total, times(b, loss->target_weight, surprise));
    if (loss->smoothing == 0)
        return;
    Expr *rest = declare(b, "smoothed", TYPE_DOUBLE, number(b, 0));
    Expr *c = open_loop(b, LOOP_REDUCTION, "c", loss->classes);
    local_add(b, rest, times(b, class_weight(loss, c), minus(b, log_sum, logit(loss, c))));
    close_blocks(b, 1);
    local_add(b, total, times(b, number(b, loss->smoothing), rest));
}

/* dL/dx of the position; scale = weight of the loss divided by T. */
static void lower_gradient(CrossEntropy *loss, Expr *scale) {
    Builder *b = loss->lowering->builder;
    double uniform = loss->smoothing * loss->weight_sum;
    Expr *mass = loss->node->class_weights ? plus(b, loss->target_weight, number(b, uniform))
                                           : number(b, 1); /* (1 - e) + e */
    Expr *share = declare(b, "share", TYPE_REAL, over(b, mass, loss->sum));
    Expr *c = open_loop(b, LOOP_INDEPENDENT, "c", loss->classes);
    Expr *value = times(b, share, unary(b, UNARY_EXP, minus(b, logit(loss, c), loss->peak)));
    value = minus(b, value, choose(b, equal(b, c, loss->label), loss->target_weight, number(b, 0)));
    if (loss->smoothing != 0)
        value = minus(b, value, times(b, number(b, loss->smoothing), class_weight(loss, c)));
    loss->index[AXIS_CHANNEL] = c;
    lower_result(loss->lowering, loss->node, loss->index, times(b, scale, value));
    close_blocks(b, 1);
}

static void lower_loss(Lowering *lowering, const Node *node, bool gradient) {
    Builder *b = lowering->builder;
    CrossEntropy loss = cross_entropy(lowering, node);
    Expr *weight = over(b, number(b, node->loss_weight), lower_total_weight(&loss));
    weight = declare(b, "scale", TYPE_DOUBLE, weight);
    Expr *scale = gradient ? declare(b, "gradient_scale", TYPE_REAL, weight) : NULL;

    Expr *n = loss.index[AXIS_BATCH] = open_batch(b, LOOP_INDEPENDENT);
    Expr *total = declare(b, "loss", TYPE_DOUBLE, number(b, 0));
    int opened = open_space(lowering, LOOP_SERIAL, node->x[0], loss.index);
    lower_position(&loss);
    lower_cost(&loss, total);
    if (gradient)
        lower_gradient(&loss, scale);
    close_blocks(b, opened);
    Expr *result =
        times(b, total, times(b, weight, convert(b, TYPE_DOUBLE, lower_whole_batch(lowering))));
    (node->add_loss ? tensor_add : tensor_store)(lowering, node->losses, &n, result);
    close_blocks(b, 1);
}

static void cross_entropy_lower_forward(Lowering *lowering, const Node *node) {
    lower_loss(lowering, node, false);
}

static void cross_entropy_lower_data_gradient(Lowering *lowering, const Node *node) {
    lower_loss(lowering, node, true);
}

static const char *const cross_entropy_samples[] = {
    "input 2x4x3 net = CONV(3,2x2) - FC(4) - SOFTMAX",
    "input 5 net = FC(4) train { loss = cross_entropy(smoothing=0.2) }",
    "input 5 net = FC(4) - LOGSOFTMAX train { loss = cross_entropy(weights=[0.5, 2, 1, 0.3]) }",
    "input 2x4x3 net = CONV(3,2x2) - SOFTMAX "
    "train { loss = cross_entropy(smoothing=0.1, weights=[0.5, 2, 1]) }",
    NULL};

const OpDef op_loss_cross_entropy = {.name = "LOSS_CROSS_ENTROPY",
                                     .summary = "cross-entropy of labels and logits",
                                     .flags = OP_INTERNAL,
                                     .lower_forward = cross_entropy_lower_forward,
                                     .lower_data_gradient = cross_entropy_lower_data_gradient,
                                     .samples = cross_entropy_samples};
