/* BN, batch normalisation over examples and space, per channel (Ioffe and Szegedy 2015):
 *   y = weight*(x - mean)/sqrt(variance + eps) + bias
 * Training takes mean and biased variance of the batch (algorithm 1) and moves the running
 * statistics towards them by `momentum`, the variance unbiased; evaluation takes the running
 * statistics. With m numbers per channel, r = 1/sqrt(variance + eps) and d = x - mean, section 3
 * gives dweight = r * sum dy*d        dbias = sum dy dx = weight*r*(dy - (sum dy)/m - d*r*r*(sum
 * dy*d)/m) Sums run in double precision, the variance in a second pass over x: no cancellation. */
#include "common.h"

enum { BN_EPS, BN_MOMENTUM, BN_AFFINE, BN_ATTRIBUTES };

static const AttributeDef bn_attributes[BN_ATTRIBUTES] = {
    {"eps", ATTRIBUTE_NUMBER, "1e-5", 1e-12, 1, NULL, "added to the variance"},
    {"momentum", ATTRIBUTE_NUMBER, "0.1", 0, 1, NULL, "weight of a batch in running statistics"},
    {"affine", ATTRIBUTE_BOOLEAN, "true", 0, 0, NULL, "learned scale and shift of each channel"}};

static const char *const bn_samples[] = {
    "input 2x4x3 net = CONV(3,2x2) - BN - RELU - FC(3)",
    "input 6 net = FC(4) - BN(eps=1e-3, momentum=0.2) - TANH - FC(3)",
    "input 2x7 net = CONV(3,3,bias=false) - BN(affine=false) - FC(3)",
    "input 1x3x3x3 net = CONV(2,2x2x2) - BN - FC(2)", NULL};

enum { SAVED_MEAN, SAVED_INVERSE_DEVIATION, SAVED_TENSORS };

/* ---- Parameters ---- */

static int bn_parameters(Counter *counter, const Layer *layer, ParameterSpec *specs) {
    (void)counter;
    static const struct {
        const char *name;
        ParameterRole role;
        Initialiser initialiser;
    } tensors[] = {{"weight", PARAMETER_WEIGHT, {INITIALISER_CONSTANT, 1}},
                   {"bias", PARAMETER_BIAS, {INITIALISER_ZERO, 0}},
                   {"running_mean", PARAMETER_RUNNING, {INITIALISER_ZERO, 0}},
                   {"running_var", PARAMETER_RUNNING, {INITIALISER_CONSTANT, 1}}};
    int64_t channels = layer->inputs[0]->output.extent[0];
    int first = attribute_boolean(layer, BN_AFFINE) ? 0 : 2, count = 0;
    for (int i = first; i < 4; i++)
        specs[count++] = (ParameterSpec){.name = tensors[i].name,
                                         .role = tensors[i].role,
                                         .dims = {1, {channels}},
                                         .count = channels,
                                         .initialiser = tensors[i].initialiser,
                                         .fan_in = 1,
                                         .fan_out = 1};
    return count;
}

static int bn_saved(const Layer *layer, Dims *dims) {
    for (int i = 0; i < SAVED_TENSORS; i++)
        dims[i] = (Dims){1, {layer->inputs[0]->output.extent[0]}};
    return SAVED_TENSORS;
}

typedef struct BnTensors {
    Tensor *weight, *bias; /* NULL without affine */
    Tensor *running_mean, *running_variance;
} BnTensors;

static BnTensors bn_tensors(const Node *node) {
    Tensor *const *p = node->parameters;
    if (attribute_boolean(node->layer, BN_AFFINE))
        return (BnTensors){p[0], p[1], p[2], p[3]};
    return (BnTensors){NULL, NULL, p[0], p[1]};
}

/* ---- Evaluation ---- */

static Expr *bn_value(Lowering *lowering, const Node *node, Expr *const *x, Expr *const *index) {
    Builder *b = lowering->builder;
    BnTensors tensors = bn_tensors(node);
    Expr *const *channel = &index[AXIS_CHANNEL];
    Expr *eps = number(b, attribute_number(node->layer, BN_EPS));
    Expr *variance = plus(b, tensor_load(lowering, tensors.running_variance, channel), eps);
    Expr *deviation = unary(b, UNARY_SQRT, variance);
    Expr *centred = minus(b, x[0], tensor_load(lowering, tensors.running_mean, channel));
    if (tensors.weight == NULL)
        return over(b, centred, deviation);
    Expr *scale = over(b, tensor_load(lowering, tensors.weight, channel), deviation);
    return plus(b, times(b, centred, scale), tensor_load(lowering, tensors.bias, channel));
}

/* ---- Training ---- */

/* Opens the loops over all numbers of index[AXIS_CHANNEL]; returns how many. */
static int open_channel(Lowering *lowering, LoopKind kind, const Tensor *tensor, Expr **index) {
    index[AXIS_BATCH] = open_batch(lowering->builder, kind);
    return 1 + open_space(lowering, kind, tensor, index);
}

/* x minus the channel's mean. */
static Expr *centred_load(Lowering *lowering, const Node *node, Expr *const *index, Expr *mean) {
    return minus(lowering->builder, tensor_load(lowering, node->x[0], index), mean);
}

/* The mean, and the sum of squared deviations from it, of index[AXIS_CHANNEL]. */
static Expr *lower_mean(Lowering *lowering, const Node *node, Expr **index, Expr *count) {
    Builder *b = lowering->builder;
    Expr *sum = declare(b, "sum", TYPE_DOUBLE, number(b, 0));
    int opened = open_channel(lowering, LOOP_REDUCTION, node->x[0], index);
    local_add(b, sum, tensor_load(lowering, node->x[0], index));
    close_blocks(b, opened);
    return declare(b, "mean", TYPE_DOUBLE, over(b, sum, count));
}

static Expr *lower_squares(Lowering *lowering, const Node *node, Expr **index, Expr *mean) {
    Builder *b = lowering->builder;
    Expr *squares = declare(b, "squares", TYPE_DOUBLE, number(b, 0));
    int opened = open_channel(lowering, LOOP_REDUCTION, node->x[0], index);
    Expr *centred = declare(b, "centred", TYPE_DOUBLE, centred_load(lowering, node, index, mean));
    local_add(b, squares, times(b, centred, centred));
    close_blocks(b, opened);
    return squares;
}

/* running += momentum*(statistic - running). */
static void update_running(Lowering *lowering, const Node *node, Tensor *running,
                           Expr *const *channel, Expr *statistic) {
    Builder *b = lowering->builder;
    Expr *momentum = number(b, attribute_number(node->layer, BN_MOMENTUM));
    Expr *change = minus(b, statistic, tensor_load(lowering, running, channel));
    tensor_add(lowering, running, channel, times(b, momentum, change));
}

static void bn_lower_forward(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    BnTensors tensors = bn_tensors(node);
    Expr *index[MAX_AXES], **channel = &index[AXIS_CHANNEL];
    Expr *count = declare(b, "count", TYPE_DOUBLE, batch_times(b, space_elements(node->y)));
    /* A single number has no unbiased variance: its biased one, 0, stands for it. */
    Expr *freedom = declare(
        b, "freedom", TYPE_DOUBLE,
        choose(b, greater(b, count, number(b, 1)), minus(b, count, number(b, 1)), number(b, 1)));
    *channel = open_loop(b, LOOP_INDEPENDENT, "c", node->y->extent[0]);
    Expr *mean = lower_mean(lowering, node, index, count);
    Expr *squares = lower_squares(lowering, node, index, mean);
    Expr *eps = number(b, attribute_number(node->layer, BN_EPS));
    Expr *variance = plus(b, over(b, squares, count), eps);
    Expr *deviation = call(b, TYPE_DOUBLE, "sqrt", 1, &variance);
    Expr *inverse = declare(b, "inverse", TYPE_REAL, over(b, number(b, 1), deviation));
    tensor_store(lowering, node->saved[SAVED_MEAN], channel, mean);
    tensor_store(lowering, node->saved[SAVED_INVERSE_DEVIATION], channel, inverse);
    update_running(lowering, node, tensors.running_mean, channel, mean);
    update_running(lowering, node, tensors.running_variance, channel, over(b, squares, freedom));

    Expr *centre = declare(b, "centre", TYPE_REAL, mean);
    Expr *scale = inverse, *shift = number(b, 0);
    if (tensors.weight) {
        Expr *weight = tensor_load(lowering, tensors.weight, channel);
        scale = declare(b, "scale", TYPE_REAL, times(b, weight, inverse));
        shift = declare(b, "shift", TYPE_REAL, tensor_load(lowering, tensors.bias, channel));
    }
    int opened = open_channel(lowering, LOOP_INDEPENDENT, node->y, index);
    Expr *centred = centred_load(lowering, node, index, centre);
    lower_result(lowering, node, index, plus(b, times(b, centred, scale), shift));
    close_blocks(b, opened + 1);
}

/* ---- Gradients ---- */

/* The sums of dy, and of dy*(x - mean), over index[AXIS_CHANNEL]: two loops, since a vector loop
 * adds to one sum. */
static Expr *lower_gradient_sum(Lowering *lowering, const Node *node, Expr **index) {
    Builder *b = lowering->builder;
    Expr *sum = declare(b, "sum", TYPE_DOUBLE, number(b, 0));
    int opened = open_channel(lowering, LOOP_REDUCTION, node->dy, index);
    local_add(b, sum, tensor_load(lowering, node->dy, index));
    close_blocks(b, opened);
    return sum;
}

static Expr *lower_product_sum(Lowering *lowering, const Node *node, Expr **index, Expr *mean) {
    Builder *b = lowering->builder;
    Expr *sum = declare(b, "product_sum", TYPE_DOUBLE, number(b, 0));
    int opened = open_channel(lowering, LOOP_REDUCTION, node->dy, index);
    Expr *dy = tensor_load(lowering, node->dy, index);
    local_add(b, sum, times(b, dy, centred_load(lowering, node, index, mean)));
    close_blocks(b, opened);
    return sum;
}

static Expr *saved_value(Lowering *lowering, const Node *node, int saved, const char *name,
                         Expr *const *channel) {
    Expr *value = tensor_load(lowering, node->saved[saved], channel);
    return declare(lowering->builder, name, TYPE_REAL, value);
}

static void bn_lower_parameter_gradient(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    Expr *index[MAX_AXES], **channel = &index[AXIS_CHANNEL];
    *channel = open_loop(b, LOOP_INDEPENDENT, "c", node->dy->extent[0]);
    Expr *mean = saved_value(lowering, node, SAVED_MEAN, "mean", channel);
    Expr *sum = lower_gradient_sum(lowering, node, index);
    Expr *product_sum = lower_product_sum(lowering, node, index, mean);
    Expr *inverse = tensor_load(lowering, node->saved[SAVED_INVERSE_DEVIATION], channel);
    tensor_store(lowering, node->parameter_gradients[0], channel, times(b, product_sum, inverse));
    tensor_store(lowering, node->parameter_gradients[1], channel, sum);
    close_blocks(b, 1);
}

/* With affine the sums stand in the parameter gradients, which come before the data gradient. */
static void bn_lower_data_gradient(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    Expr *index[MAX_AXES], **channel = &index[AXIS_CHANNEL], *sum, *projection;
    Tensor *weight = bn_tensors(node).weight;
    Expr *count = declare(b, "count", TYPE_DOUBLE, batch_times(b, space_elements(node->dy)));
    *channel = open_loop(b, LOOP_INDEPENDENT, "c", node->dy->extent[0]);
    Expr *mean = saved_value(lowering, node, SAVED_MEAN, "mean", channel);
    Expr *inverse = saved_value(lowering, node, SAVED_INVERSE_DEVIATION, "inverse", channel);
    Expr *scale = inverse;
    if (weight) {
        scale = declare(b, "scale", TYPE_REAL,
                        times(b, tensor_load(lowering, weight, channel), inverse));
        projection = tensor_load(lowering, node->parameter_gradients[0], channel);
        sum = tensor_load(lowering, node->parameter_gradients[1], channel);
    } else {
        sum = lower_gradient_sum(lowering, node, index);
        projection = times(b, lower_product_sum(lowering, node, index, mean), inverse);
    }
    Expr *mean_gradient = declare(b, "mean_gradient", TYPE_REAL, over(b, sum, count));
    Expr *slope = declare(b, "slope", TYPE_REAL, over(b, times(b, projection, inverse), count));
    int opened = open_channel(lowering, LOOP_INDEPENDENT, node->dx, index);
    Expr *dy = minus(b, tensor_load(lowering, node->dy, index), mean_gradient);
    Expr *along = times(b, centred_load(lowering, node, index, mean), slope);
    lower_result(lowering, node, index, times(b, scale, minus(b, dy, along)));
    close_blocks(b, opened + 1);
}

const OpDef op_bn = {.name = "BN",
                     .aliases = "BATCHNORM",
                     .summary = "batch normalisation of each channel",
                     .flags = OP_MODE | OP_GRADIENT_READS_INPUT,
                     .attributes = bn_attributes,
                     .attribute_count = BN_ATTRIBUTES,
                     .infer = infer_like_input,
                     .parameters = bn_parameters,
                     .cost = cost_one_per_output,
                     .saved = bn_saved,
                     .value = bn_value,
                     .lower_forward = bn_lower_forward,
                     .lower_parameter_gradient = bn_lower_parameter_gradient,
                     .lower_data_gradient = bn_lower_data_gradient,
                     .samples = bn_samples};
