/* BN, batch normalisation over examples and space, per channel (Ioffe and Szegedy 2015):
 *   y = weight*(x - mean)/sqrt(variance + eps) + bias
 * Training takes mean and biased variance of the batch (algorithm 1) and moves the running
 * statistics towards them by `momentum`, the variance unbiased; evaluation takes the running
 * statistics. With m numbers per channel, r = 1/sqrt(variance + eps) and d = x - mean, section 3
 * gives dweight = r * sum dy*d        dbias = sum dy dx = weight*r*(dy - (sum dy)/m - d*r*r*(sum
 * dy*d)/m). Each pass reads its tensors twice, once for the sums and once for the result, channel
 * by channel, so that the second time finds them in the cache. The sum of squared deviations is
 * that of the distances from an origin, less the part of the mean: with one of the numbers as the
 * origin nothing cancels that matters (Chan, Golub and LeVeque, "Algorithms for computing the
 * sample variance", 1983, section 3). Right behind a convolution the forward pass need not read x
 * for the sums: the convolution has left mean and sum of squared deviations of each of its tiles
 * (Node.moments); the distances of the means from the origin count for all numbers of a tile. */
#include "channels.h"
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
    "input 2x4x3 net = CONV(16,2x2) - ADD{ID, CONV(16,3x3,pad=1) - BN - RELU - CONV(16,1x1) - BN} "
    "- "
    "RELU - FC(3)",
    "input 1x3x3x3 net = CONV(2,2x2x2) - BN - FC(2)",
    NULL};

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

static int bn_saved(const Layer *layer, SavedSpec *specs) {
    for (int i = 0; i < SAVED_TENSORS; i++)
        specs[i] = (SavedSpec){.dims = {1, {layer->inputs[0]->output.extent[0]}}};
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

/* weight/sqrt(variance + eps) of a channel. */
static Expr *running_scale(Lowering *lowering, const Node *node, Expr *channel) {
    Builder *b = lowering->builder;
    BnTensors tensors = bn_tensors(node);
    Expr *eps = number(b, attribute_number(node->layer, BN_EPS));
    Expr *variance = plus(b, tensor_load(lowering, tensors.running_variance, &channel), eps);
    Expr *weight = tensors.weight ? tensor_load(lowering, tensors.weight, &channel) : number(b, 1);
    return over(b, weight, unary(b, UNARY_SQRT, variance));
}

enum { PREPARED_SCALE, PREPARED_SHIFT };

/* y = x*scale + shift, with shift = bias - mean*scale. */
static void bn_lower_prepare(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    BnTensors tensors = bn_tensors(node);
    Tensor *const *prepared = node->prepared;
    Expr *c = open_loop(b, LOOP_INDEPENDENT, "c", node->channels);
    Expr *factor = declare(b, "factor", TYPE_REAL, running_scale(lowering, node, c));
    Expr *moved = times(b, tensor_load(lowering, tensors.running_mean, &c), factor);
    tensor_store(lowering, prepared[PREPARED_SCALE], &c, factor);
    tensor_store(lowering, prepared[PREPARED_SHIFT], &c,
                 tensors.bias ? minus(b, tensor_load(lowering, tensors.bias, &c), moved)
                              : negated(b, moved));
    close_blocks(b, 1);
}

static Expr *bn_value(Lowering *lowering, const Node *node, Expr *const *x, Expr *const *index) {
    Builder *b = lowering->builder;
    BnTensors tensors = bn_tensors(node);
    Expr *const *channel = &index[AXIS_CHANNEL];
    Tensor *scale = node->prepared[PREPARED_SCALE], *shift = node->prepared[PREPARED_SHIFT];
    if (scale)
        return plus(b, times(b, x[0], tensor_load(lowering, scale, channel)),
                    tensor_load(lowering, shift, channel));
    Expr *centred = minus(b, x[0], tensor_load(lowering, tensors.running_mean, channel));
    Expr *scaled = times(b, centred, running_scale(lowering, node, *channel));
    return tensors.bias ? plus(b, scaled, tensor_load(lowering, tensors.bias, channel)) : scaled;
}

/* ---- Training ---- */

/* x minus the channel's mean, or whatever stands for it. */
static Expr *centred_load(Lowering *lowering, const Node *node, Expr *const *index, Expr *mean) {
    return minus(lowering->builder, tensor_load(lowering, node->x[0], index), mean);
}

/* The number that the sums of squares are about: see above. */
static ChannelValue lower_origin(Channels *channels, const Node *node) {
    Lowering *lowering = channels->lowering;
    Builder *b = lowering->builder;
    const Tensor *x = node->x[0];
    ChannelValue origin = channel_value(channels, "origin", TYPE_REAL);
    Expr *index[MAX_AXES] = {integer(b, 0)};
    for (int axis = 1; axis < x->rank; axis++)
        index[AXIS_CHANNEL + axis] = integer(b, x->extent[axis] / 2);
    int opened = channels_open_lanes(channels, &index[AXIS_CHANNEL]);
    channel_set(channels, &origin, index[AXIS_CHANNEL], tensor_load(lowering, node->x[0], index));
    close_blocks(b, opened);
    return origin;
}

typedef struct MomentTerms {
    const Channels *channels;
    const Node *node;
    ChannelValue origin;
    Expr *numbers; /* of each tile, where a convolution has gathered the moments of tiles */
} MomentTerms;

static void moment_terms(Lowering *lowering, const void *context, Expr *const *index,
                         Expr **terms) {
    const MomentTerms *moments = context;
    Builder *b = lowering->builder;
    Expr *origin = channel_get(moments->channels, &moments->origin, index[AXIS_CHANNEL]);
    Expr *centred = centred_load(lowering, moments->node, index, origin);
    terms[0] = declare(b, "distance", lower_sum_type(lowering), centred);
    terms[1] = times(b, terms[0], terms[0]);
}

/* The terms of a tile's numbers: its mean stands for each of them, and their distances from that
 * are what it has. */
static void tile_terms(Lowering *lowering, const void *context, Expr *const *index, Expr **terms) {
    const MomentTerms *moments = context;
    Builder *b = lowering->builder;
    Tensor *tiles = moments->node->moments;
    Expr *place[] = {index[AXIS_BATCH], index[AXIS_CHANNEL], index[AXIS_SPACE], integer(b, 0)};
    Expr *origin = channel_get(moments->channels, &moments->origin, index[AXIS_CHANNEL]);
    Expr *mean = tensor_load(lowering, tiles, place);
    Expr *distance = declare(b, "distance", TYPE_REAL, minus(b, mean, origin));
    terms[0] = declare(b, "tile_sum", TYPE_REAL, times(b, moments->numbers, distance));
    place[AXIS_SPACE + 1] = integer(b, 1);
    terms[1] = plus(b, times(b, terms[0], distance), tensor_load(lowering, tiles, place));
}

/* The sums about the origin, over all numbers or over all tiles. */
static void sum_moments(Channels channels, MomentTerms *moments, Expr *count, ChannelSums *sums) {
    Tensor *gathered = moments->node->moments, tiles;
    *sums = (ChannelSums){.count = 2,
                          .names = {"sum", "square_sum"},
                          .term = gathered ? tile_terms : moment_terms,
                          .context = moments};
    if (gathered) {
        Builder *b = channels.lowering->builder;
        tiles = *gathered;
        tiles.rank--; /* both moments at once */
        channels.tensor = &tiles;
        Expr *all = batch_times(channels.lowering, tiles.extent[1]);
        moments->numbers = declare(b, "numbers", TYPE_REAL, over(b, count, all));
    }
    channel_sums(&channels, sums);
}

/* running += momentum*(statistic - running). */
static void update_running(Lowering *lowering, const Node *node, Tensor *running,
                           Expr *const *channel, Expr *statistic) {
    Builder *b = lowering->builder;
    Expr *momentum = number(b, attribute_number(node->layer, BN_MOMENTUM));
    Expr *change = minus(b, statistic, tensor_load(lowering, running, channel));
    tensor_add(lowering, running, channel, times(b, momentum, change));
}

/* What the second sweep needs of a channel. */
typedef struct Normalisation {
    ChannelValue mean, scale, shift;
} Normalisation;

/* Mean and deviation from the sums about the origin: saved, moved into the running statistics, and
 * left in *n. */
static void lower_statistics(const Channels *channels, const Node *node, const MomentTerms *moments,
                             const ChannelSums *sums, Expr *count, Normalisation *n) {
    Lowering *lowering = channels->lowering;
    Builder *b = lowering->builder;
    BnTensors tensors = bn_tensors(node);
    /* A single number has no unbiased variance: its biased one, 0, stands for it. */
    Expr *less_one = choose(b, greater(b, count, number(b, 1)), minus(b, count, number(b, 1)),
                            number(b, 1)),
         *channel;
    Expr *freedom = declare(b, "freedom", TYPE_DOUBLE, less_one);
    int opened = channels_open_lanes(channels, &channel);
    Expr *sum = channel_get(channels, &sums->value[0], channel);
    Expr *step = declare(b, "step", TYPE_DOUBLE, over(b, sum, count));
    Expr *spread = minus(b, channel_get(channels, &sums->value[1], channel), times(b, sum, step));
    Expr *squares = declare(b, "squares", TYPE_DOUBLE, maximum(b, spread, number(b, 0)));
    Expr *mean = plus(b, step, channel_get(channels, &moments->origin, channel));
    mean = declare(b, "batch_mean", TYPE_DOUBLE, mean);
    Expr *variance =
        plus(b, over(b, squares, count), number(b, attribute_number(node->layer, BN_EPS)));
    Expr *deviation = call(b, TYPE_DOUBLE, "sqrt", 1, &variance);
    Expr *inverse = declare(b, "inverse", TYPE_REAL, over(b, number(b, 1), deviation));
    tensor_store(lowering, node->saved[SAVED_MEAN], &channel, mean);
    tensor_store(lowering, node->saved[SAVED_INVERSE_DEVIATION], &channel, inverse);
    update_running(lowering, node, tensors.running_mean, &channel, mean);
    update_running(lowering, node, tensors.running_variance, &channel, over(b, squares, freedom));
    channel_set(channels, &n->mean, channel, mean);
    if (tensors.weight)
        inverse = times(b, tensor_load(lowering, tensors.weight, &channel), inverse);
    channel_set(channels, &n->scale, channel, inverse);
    if (tensors.bias)
        channel_set(channels, &n->shift, channel, tensor_load(lowering, tensors.bias, &channel));
    close_blocks(b, opened);
}

static void bn_lower_forward(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    bool affine = bn_tensors(node).weight != NULL;
    Expr *index[MAX_AXES], *count = batch_times(lowering, space_elements(node->y));
    count = declare(b, "count", TYPE_DOUBLE, count);
    Channels channels = channels_open(lowering, node->y);
    MomentTerms moments = {
        .channels = &channels, .node = node, .origin = lower_origin(&channels, node)};
    ChannelSums sums;
    sum_moments(channels, &moments, count, &sums);
    Normalisation n = {.mean = channel_value(&channels, "mean", TYPE_REAL),
                       .scale = channel_value(&channels, "scale", TYPE_REAL)};
    if (affine)
        n.shift = channel_value(&channels, "shift", TYPE_REAL);
    lower_statistics(&channels, node, &moments, &sums, count, &n);

    int opened = channels_open_elements(&channels, index);
    Expr *channel = index[AXIS_CHANNEL];
    Expr *y =
        times(b, centred_load(lowering, node, index, channel_get(&channels, &n.mean, channel)),
              channel_get(&channels, &n.scale, channel));
    lower_result(lowering, node, index,
                 affine ? plus(b, y, channel_get(&channels, &n.shift, channel)) : y);
    close_blocks(b, opened);
    channels_close(&channels);
}

/* With the mean and deviation of the batch that the forward pass saved: the same arithmetic. */
static Expr *bn_value_again(Lowering *lowering, const Node *node, Expr *const *x,
                            Expr *const *index) {
    Builder *b = lowering->builder;
    BnTensors tensors = bn_tensors(node);
    Expr *const *channel = &index[AXIS_CHANNEL];
    Expr *centred = minus(b, x[0], tensor_load(lowering, node->saved[SAVED_MEAN], channel));
    Expr *scale = tensor_load(lowering, node->saved[SAVED_INVERSE_DEVIATION], channel);
    if (tensors.weight == NULL)
        return times(b, centred, scale);
    scale = times(b, tensor_load(lowering, tensors.weight, channel), scale);
    return plus(b, times(b, centred, scale), tensor_load(lowering, tensors.bias, channel));
}

/* ---- Gradients ---- */

/* The sums of dy and of dy*(x - mean). */
static void gradient_terms(Lowering *lowering, const void *context, Expr *const *index,
                           Expr **terms) {
    const Node *node = context;
    Builder *b = lowering->builder;
    Expr *mean = tensor_load(lowering, node->saved[SAVED_MEAN], &index[AXIS_CHANNEL]);
    terms[0] = tensor_load(lowering, node->dy, index);
    terms[1] = times(
        b, terms[0],
        declare(b, "centred", lower_sum_type(lowering), centred_load(lowering, node, index, mean)));
}

static void lower_gradient_sums(const Channels *channels, const Node *node, ChannelSums *sums) {
    *sums = (ChannelSums){
        .count = 2, .names = {"sum", "product_sum"}, .term = gradient_terms, .context = node};
    channel_sums(channels, sums);
}

/* dweight and dbias of a channel, where there are such parameters; returns dweight. */
static Expr *store_gradients(const Channels *channels, const Node *node, const ChannelSums *sums,
                             Expr *inverse, Expr *channel) {
    Lowering *lowering = channels->lowering;
    Builder *b = lowering->builder;
    Expr *product = channel_get(channels, &sums->value[1], channel);
    Expr *slope = declare(b, "projection", TYPE_DOUBLE, times(b, product, inverse));
    if (node->parameter_gradients[0]) {
        tensor_store(lowering, node->parameter_gradients[0], &channel, slope);
        tensor_store(lowering, node->parameter_gradients[1], &channel,
                     channel_get(channels, &sums->value[0], channel));
    }
    return slope;
}

static void bn_lower_parameter_gradient(Lowering *lowering, const Node *node) {
    Channels channels = channels_open(lowering, node->dy);
    ChannelSums sums;
    Expr *channel;
    lower_gradient_sums(&channels, node, &sums);
    int opened = channels_open_lanes(&channels, &channel);
    Expr *inverse = tensor_load(lowering, node->saved[SAVED_INVERSE_DEVIATION], &channel);
    store_gradients(&channels, node, &sums, inverse, channel);
    close_blocks(lowering->builder, opened);
    channels_close(&channels);
}

/* dx, and the parameters' gradients by the way: OP_GRADIENTS_TOGETHER. */
static void bn_lower_data_gradient(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    Tensor *weight = bn_tensors(node).weight;
    Expr *index[MAX_AXES], *channel, *count = batch_times(lowering, space_elements(node->dy));
    count = declare(b, "count", TYPE_DOUBLE, count);
    Channels channels = channels_open(lowering, node->dy);
    ChannelSums sums;
    lower_gradient_sums(&channels, node, &sums);

    ChannelValue mean_gradient = channel_value(&channels, "mean_gradient", TYPE_REAL);
    ChannelValue slope = channel_value(&channels, "slope", TYPE_REAL);
    ChannelValue scale = channel_value(&channels, "scale", TYPE_REAL);
    int opened = channels_open_lanes(&channels, &channel);
    Expr *inverse = tensor_load(lowering, node->saved[SAVED_INVERSE_DEVIATION], &channel);
    Expr *projection = store_gradients(&channels, node, &sums, inverse, channel);
    Expr *sum = channel_get(&channels, &sums.value[0], channel);
    channel_set(&channels, &mean_gradient, channel, over(b, sum, count));
    channel_set(&channels, &slope, channel, over(b, times(b, projection, inverse), count));
    channel_set(&channels, &scale, channel,
                weight ? times(b, tensor_load(lowering, weight, &channel), inverse) : inverse);
    close_blocks(b, opened);

    opened = channels_open_elements(&channels, index);
    channel = index[AXIS_CHANNEL];
    Expr *mean = tensor_load(lowering, node->saved[SAVED_MEAN], &channel);
    Expr *dy = minus(b, tensor_load(lowering, node->dy, index),
                     channel_get(&channels, &mean_gradient, channel));
    Expr *along = times(b, centred_load(lowering, node, index, mean),
                        channel_get(&channels, &slope, channel));
    lower_result(lowering, node, index,
                 times(b, channel_get(&channels, &scale, channel), minus(b, dy, along)));
    close_blocks(b, opened);
    channels_close(&channels);
}

const OpDef op_bn = {.name = "BN",
                     .aliases = "BATCHNORM",
                     .summary = "batch normalisation of each channel",
                     .flags = OP_KEEPS_ZERO | OP_MODE | OP_GRADIENT_READS_INPUT |
                              OP_GRADIENTS_TOGETHER | OP_READS_MOMENTS,
                     .attributes = bn_attributes,
                     .attribute_count = BN_ATTRIBUTES,
                     .infer = infer_like_input,
                     .parameters = bn_parameters,
                     .cost = cost_one_per_output,
                     .saved = bn_saved,
                     .value = bn_value,
                     .prepared = {[PREPARED_SCALE] = "scale", [PREPARED_SHIFT] = "shift"},
                     .lower_prepare = bn_lower_prepare,
                     .value_again = bn_value_again,
                     .lower_forward = bn_lower_forward,
                     .lower_parameter_gradient = bn_lower_parameter_gradient,
                     .lower_data_gradient = bn_lower_data_gradient,
                     .samples = bn_samples};
