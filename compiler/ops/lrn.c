/* LRN, local response normalisation over n neighbouring channels (Krizhevsky et al. 2012,
 * section 3.3; alpha is not divided by n): y_c = x_c * s_c^-beta,   s_c = k + alpha * sum of x_j^2
 * over the window of c, the window being c - floor(n/2) .. c + floor((n-1)/2) within the channels.
 * From the chain rule dx_c = dy_c*s_c^-beta - 2*alpha*beta*x_c * sum of q_i over all i with c in
 * the window of i, q_i = dy_i * x_i * s_i^(-beta-1). Sums over channels are made for a row of the
 * last axis at once, in scratch memory [n][C][W]: all inner loops run along memory, and each power
 * is computed once. Where channels lie in blocks, the channels of each position are the row
 * instead.
 */
#include "channels.h"
#include "common.h"

enum { LRN_N, LRN_K, LRN_ALPHA, LRN_BETA, LRN_ATTRIBUTES };

static const AttributeDef lrn_attributes[LRN_ATTRIBUTES] = {
    {"n", ATTRIBUTE_INTEGER, "5", 1, 1e6, NULL, "channels of a window"},
    {"k", ATTRIBUTE_NUMBER, "2", 1e-6, 1e6, NULL, "added to the sum of squares"},
    {"alpha", ATTRIBUTE_NUMBER, "1e-4", 0, 1e6, NULL, "factor of the sum of squares"},
    {"beta", ATTRIBUTE_NUMBER, "0.75", 0, 100, NULL, "exponent"}};

static const char *const lrn_samples[] = {
    "input 2x4x3 net = CONV(6,2x2) - LRN(alpha=0.1) - FC(3)",
    "input 2x5 net = CONV(4,2) - LRN(n=3, k=1, alpha=0.5, beta=0.5) - FC(3)",
    "input 6 net = FC(5) - LRN(n=4, alpha=0.3, beta=0.6) - FC(3)",
    "input 2x4x3 net = CONV(32,2x2) - LRN(alpha=0.1) - CONV(16,1x1) - LRN(n=4, alpha=0.3) - FC(3)",
    "input 2x3x3 net = CONV(3,2x2) - LRN(n=9, k=1, alpha=0.2, beta=1) - FC(2)",
    NULL};

/* ---- Rows ---- */

static int64_t row_length(const Tensor *tensor) {
    return tensor->rank > 1 ? tensor->extent[tensor->rank - 1] : 1;
}

/* Opens the spatial loops but the last one: their iterations share the scratch rows. */
static int open_rows(Lowering *lowering, const Tensor *tensor, Expr **index) {
    const char *const *letters = axis_letters(tensor->rank);
    int opened = 0;
    for (int axis = 1; axis + 1 < tensor->rank; axis++, opened++)
        index[AXIS_CHANNEL + axis] =
            open_loop(lowering->builder, LOOP_SERIAL, letters[axis], tensor->extent[axis]);
    return opened;
}

/* Opens the loop along the row; returns the position in it (0 for a vector, without a loop). */
static Expr *open_row(Lowering *lowering, const Tensor *tensor, Expr **index, int *opened) {
    Builder *b = lowering->builder;
    *opened = tensor->rank > 1;
    if (!*opened)
        return integer(b, 0);
    int last = tensor->rank - 1;
    const char *letter = axis_letters(tensor->rank)[last];
    index[AXIS_CHANNEL + last] = open_loop(b, LOOP_INDEPENDENT, letter, tensor->extent[last]);
    return index[AXIS_CHANNEL + last];
}

/* [n][c][position] of the scratch memory. */
static Expr *scratch_offset(Builder *b, const Tensor *tensor, Expr *n, Expr *c, Expr *position) {
    Expr *row = plus(b, times(b, n, integer(b, tensor->extent[0])), c);
    return plus(b, times(b, row, integer(b, row_length(tensor))), position);
}

/* The channels [begin, end) from c - before to c + after. */
typedef struct ChannelRange {
    Expr *begin, *end;
} ChannelRange;

static ChannelRange channel_range(Builder *b, const Tensor *tensor, Expr *c, int64_t before,
                                  int64_t after) {
    Expr *first = maximum(b, minus(b, c, integer(b, before)), integer(b, 0));
    Expr *last = minimum(b, plus(b, c, integer(b, after + 1)), integer(b, tensor->extent[0]));
    ChannelRange range = {declare(b, "first", TYPE_INDEX, first),
                          declare(b, "end", TYPE_INDEX, last)};
    return range;
}

/* ---- Sums ---- */

static void store_row(Lowering *lowering, const Tensor *tensor, Buffer *scratch, Expr *const *index,
                      double value) {
    Builder *b = lowering->builder;
    Expr *copy[MAX_AXES];
    int opened;
    Expr *position = open_row(lowering, tensor, copy, &opened);
    Expr *offset = scratch_offset(b, tensor, index[AXIS_BATCH], index[AXIS_CHANNEL], position);
    store_at(b, scratch, 1, &offset, number(b, value), false);
    close_blocks(b, opened);
}

/* scale[c] = k + alpha * sum of squares over the window of c, along the row of `index`. */
static void lower_scale(Lowering *lowering, const Node *node, Buffer *scale, Expr **index,
                        ChannelRange window) {
    Builder *b = lowering->builder;
    Tensor *x = node->x[0];
    Expr *c = index[AXIS_CHANNEL];
    store_row(lowering, x, scale, index, attribute_number(node->layer, LRN_K));
    int opened;
    index[AXIS_CHANNEL] = open_range(b, LOOP_SERIAL, "j", window.begin, window.end, 1);
    Expr *position = open_row(lowering, x, index, &opened);
    Expr *neighbour = declare(b, "neighbour", TYPE_REAL, tensor_load(lowering, x, index));
    Expr *square = times(b, neighbour, neighbour);
    Expr *alpha = number(b, attribute_number(node->layer, LRN_ALPHA));
    Expr *offset = scratch_offset(b, x, index[AXIS_BATCH], c, position);
    store_at(b, scale, 1, &offset, times(b, alpha, square), true);
    close_blocks(b, opened + 1);
    index[AXIS_CHANNEL] = c;
}

/* s^-beta; the usual exponents need square roots only, which vectorise. */
static Expr *inverse_power(Builder *b, Expr *s, double beta) {
    Expr *one = number(b, 1);
    if (beta == 1)
        return over(b, one, s);
    if (beta == 0.5)
        return over(b, one, unary(b, UNARY_SQRT, s));
    if (beta == 0.75) {
        Expr *root = declare(b, "root", TYPE_REAL, unary(b, UNARY_SQRT, s));
        return over(b, one, times(b, root, unary(b, UNARY_SQRT, root)));
    }
    return binary(b, BINARY_POWER, s, number(b, -beta));
}

static int64_t window_before(const Node *node) {
    return attribute_integer(node->layer, LRN_N) / 2;
}

static int64_t window_after(const Node *node) {
    return (attribute_integer(node->layer, LRN_N) - 1) / 2;
}

/* ---- Blocks of channels ---- */

/* The channels of one position lie in local arrays, with zeros before and behind, so that a window
 * is a few loads side by side. */
#define LONGEST_UNROLLED_WINDOW 16
#define LONGEST_LOCAL_ARRAY 4096

static bool works_on_blocks(const Node *node) {
    int64_t size = attribute_integer(node->layer, LRN_N), channels = node->x[0]->extent[0];
    return node->x[0]->layout.blocked_axis == 0 && size <= LONGEST_UNROLLED_WINDOW &&
           channels + size <= LONGEST_LOCAL_ARRAY;
}

/* An array of the position's channels with `before` zeros in front and `after` behind. */
typedef struct PaddedChannels {
    Buffer *array;
    int64_t before;
} PaddedChannels;

static void store_zeros(Builder *b, Buffer *array, int64_t first, int64_t count) {
    if (count == 0)
        return;
    Expr *i = open_loop(b, LOOP_INDEPENDENT, "i", count);
    Expr *at = plus(b, i, integer(b, first));
    store_at(b, array, 1, &at, number(b, 0), false);
    close_blocks(b, 1);
}

static PaddedChannels padded_channels(Lowering *lowering, const Node *node, const char *name,
                                      int64_t before, int64_t after) {
    Builder *b = lowering->builder;
    int64_t channels = node->x[0]->extent[0], size = before + channels + after;
    PaddedChannels padded = {declare_array(b, name, TYPE_REAL, 1, &size), before};
    store_zeros(b, padded.array, 0, before);
    store_zeros(b, padded.array, before + channels, after);
    return padded;
}

static void padded_store(Builder *b, const PaddedChannels *padded, Expr *channel, Expr *value) {
    Expr *at = plus(b, integer(b, padded->before), channel);
    store_at(b, padded->array, 1, &at, value, false);
}

/* The sum of the elements from `before` in front of the channel to those behind it, `size` in all.
 */
static Expr *window_sum(Builder *b, const PaddedChannels *padded, Expr *channel, int64_t size) {
    Expr *sum = NULL;
    for (int64_t j = 0; j < size; j++) {
        Expr *at = plus(b, integer(b, j), channel);
        Expr *value = load_at(b, padded->array, 1, &at);
        sum = sum ? plus(b, sum, value) : value;
    }
    return sum;
}

/* Opens the blocks and lanes of the position's channels; returns how many loops. */
static int open_channels(Lowering *lowering, const Node *node, Expr **index) {
    Channels channels = channels_open(lowering, node->x[0]);
    return channels.opened + channels_open_lanes(&channels, &index[AXIS_CHANNEL]);
}

/* The squares of the position's inputs. */
static PaddedChannels lower_squares(Lowering *lowering, const Node *node, Expr **index) {
    Builder *b = lowering->builder;
    PaddedChannels squares =
        padded_channels(lowering, node, "squares", window_before(node), window_after(node));
    int opened = open_channels(lowering, node, index);
    Expr *x = declare(b, "value", TYPE_REAL, tensor_load(lowering, node->x[0], index));
    padded_store(b, &squares, index[AXIS_CHANNEL], times(b, x, x));
    close_blocks(b, opened);
    return squares;
}

static Expr *scale_of(Lowering *lowering, const Node *node, const PaddedChannels *squares,
                      Expr *channel) {
    Builder *b = lowering->builder;
    Expr *sum = window_sum(b, squares, channel, attribute_integer(node->layer, LRN_N));
    Expr *scaled = times(b, number(b, attribute_number(node->layer, LRN_ALPHA)), sum);
    Expr *s = plus(b, number(b, attribute_number(node->layer, LRN_K)), scaled);
    return declare(b, "s", TYPE_REAL, s);
}

static int open_positions(Lowering *lowering, const Tensor *tensor, Expr **index) {
    index[AXIS_BATCH] = open_batch(lowering->builder, LOOP_INDEPENDENT);
    return 1 + open_space(lowering, LOOP_INDEPENDENT, tensor, index);
}

static void forward_blocks(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    Expr *index[MAX_AXES];
    int opened = open_positions(lowering, node->x[0], index);
    PaddedChannels squares = lower_squares(lowering, node, index);
    opened += open_channels(lowering, node, index);
    Expr *s = scale_of(lowering, node, &squares, index[AXIS_CHANNEL]);
    Expr *power = inverse_power(b, s, attribute_number(node->layer, LRN_BETA));
    lower_result(lowering, node, index, times(b, tensor_load(lowering, node->x[0], index), power));
    close_blocks(b, opened);
}

static void data_gradient_blocks(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    double alpha = attribute_number(node->layer, LRN_ALPHA);
    double beta = attribute_number(node->layer, LRN_BETA);
    Expr *index[MAX_AXES];
    int opened = open_positions(lowering, node->x[0], index);
    PaddedChannels squares = lower_squares(lowering, node, index);
    PaddedChannels powers = padded_channels(lowering, node, "powers", 0, 0);
    PaddedChannels ratios =
        padded_channels(lowering, node, "ratios", window_after(node), window_before(node));
    int inner = open_channels(lowering, node, index);
    Expr *s = scale_of(lowering, node, &squares, index[AXIS_CHANNEL]);
    Expr *power = declare(b, "power", TYPE_REAL, inverse_power(b, s, beta));
    Expr *product =
        times(b, tensor_load(lowering, node->dy, index), tensor_load(lowering, node->x[0], index));
    padded_store(b, &powers, index[AXIS_CHANNEL], power);
    padded_store(b, &ratios, index[AXIS_CHANNEL], over(b, times(b, product, power), s));
    close_blocks(b, inner);

    opened += open_channels(lowering, node, index);
    Expr *direct = times(b, tensor_load(lowering, node->dy, index),
                         window_sum(b, &powers, index[AXIS_CHANNEL], 1));
    Expr *sum = window_sum(b, &ratios, index[AXIS_CHANNEL], attribute_integer(node->layer, LRN_N));
    Expr *through = times(b, number(b, 2 * alpha * beta), tensor_load(lowering, node->x[0], index));
    lower_result(lowering, node, index, minus(b, direct, times(b, through, sum)));
    close_blocks(b, opened);
}

/* ---- Kernels ---- */

static void lrn_lower_forward(Lowering *lowering, const Node *node) {
    if (works_on_blocks(node)) {
        forward_blocks(lowering, node);
        return;
    }
    Builder *b = lowering->builder;
    Tensor *x = node->x[0];
    Buffer *scale = lower_scratch(lowering, "scale", true, x->extent[0] * row_length(x));
    Expr *index[MAX_AXES];
    Expr *n = index[AXIS_BATCH] = open_batch(b, LOOP_INDEPENDENT);
    Expr *c = index[AXIS_CHANNEL] = open_loop(b, LOOP_INDEPENDENT, "c", x->extent[0]);
    ChannelRange window = channel_range(b, x, c, window_before(node), window_after(node));
    int rows = open_rows(lowering, x, index), opened;
    lower_scale(lowering, node, scale, index, window);

    Expr *position = open_row(lowering, x, index, &opened);
    Expr *offset = scratch_offset(b, x, n, c, position);
    Expr *s = declare(b, "s", TYPE_REAL, load_at(b, scale, 1, &offset));
    Expr *power = inverse_power(b, s, attribute_number(node->layer, LRN_BETA));
    lower_result(lowering, node, index, times(b, tensor_load(lowering, x, index), power));
    close_blocks(b, opened + rows + 2);
}

typedef struct GradientScratch {
    Buffer *power; /* s, then s^-beta */
    Buffer *ratio; /* q */
    Buffer *sum;   /* of q over the windows that contain c */
} GradientScratch;

/* Fills power and ratio for all channels of the row of `index`. */
static void lower_ratios(Lowering *lowering, const Node *node, const GradientScratch *scratch,
                         Expr **index) {
    Builder *b = lowering->builder;
    Tensor *x = node->x[0];
    Expr *c = index[AXIS_CHANNEL] = open_loop(b, LOOP_INDEPENDENT, "c", x->extent[0]);
    ChannelRange window = channel_range(b, x, c, window_before(node), window_after(node));
    lower_scale(lowering, node, scratch->power, index, window);
    int opened;
    Expr *position = open_row(lowering, x, index, &opened);
    Expr *offset = scratch_offset(b, x, index[AXIS_BATCH], c, position);
    Expr *s = declare(b, "s", TYPE_REAL, load_at(b, scratch->power, 1, &offset));
    Expr *power = declare(b, "power", TYPE_REAL,
                          inverse_power(b, s, attribute_number(node->layer, LRN_BETA)));
    store_at(b, scratch->power, 1, &offset, power, false);
    Expr *product =
        times(b, tensor_load(lowering, node->dy, index), tensor_load(lowering, x, index));
    store_at(b, scratch->ratio, 1, &offset, over(b, times(b, product, power), s), false);
    close_blocks(b, opened + 1);
}

/* sum[c] = the sum of the ratios of the channels whose windows contain c. */
static void lower_ratio_sum(Lowering *lowering, const Node *node, const GradientScratch *scratch,
                            Expr *const *index) {
    Builder *b = lowering->builder;
    Tensor *x = node->x[0];
    Expr *n = index[AXIS_BATCH], *c = index[AXIS_CHANNEL], *copy[MAX_AXES];
    ChannelRange range = channel_range(b, x, c, window_after(node), window_before(node));
    store_row(lowering, x, scratch->sum, index, 0);
    int opened;
    Expr *j = open_range(b, LOOP_SERIAL, "j", range.begin, range.end, 1);
    Expr *position = open_row(lowering, x, copy, &opened);
    Expr *from = scratch_offset(b, x, n, j, position), *to = scratch_offset(b, x, n, c, position);
    store_at(b, scratch->sum, 1, &to, load_at(b, scratch->ratio, 1, &from), true);
    close_blocks(b, opened + 1);
}

static void lrn_lower_data_gradient(Lowering *lowering, const Node *node) {
    if (works_on_blocks(node)) {
        data_gradient_blocks(lowering, node);
        return;
    }
    Builder *b = lowering->builder;
    Tensor *x = node->x[0];
    int64_t size = x->extent[0] * row_length(x);
    GradientScratch scratch = {lower_scratch(lowering, "power", true, size),
                               lower_scratch(lowering, "ratio", true, size),
                               lower_scratch(lowering, "ratio_sum", true, size)};
    Expr *index[MAX_AXES];
    Expr *n = index[AXIS_BATCH] = open_batch(b, LOOP_INDEPENDENT);
    int rows = open_rows(lowering, x, index), opened;
    lower_ratios(lowering, node, &scratch, index);

    Expr *c = index[AXIS_CHANNEL] = open_loop(b, LOOP_INDEPENDENT, "c", x->extent[0]);
    lower_ratio_sum(lowering, node, &scratch, index);
    Expr *position = open_row(lowering, x, index, &opened);
    Expr *offset = scratch_offset(b, x, n, c, position);
    double alpha = attribute_number(node->layer, LRN_ALPHA);
    double beta = attribute_number(node->layer, LRN_BETA);
    Expr *direct =
        times(b, tensor_load(lowering, node->dy, index), load_at(b, scratch.power, 1, &offset));
    Expr *through = times(b, times(b, number(b, 2 * alpha * beta), tensor_load(lowering, x, index)),
                          load_at(b, scratch.sum, 1, &offset));
    lower_result(lowering, node, index, minus(b, direct, through));
    close_blocks(b, opened + 1 + rows + 1);
}

const OpDef op_lrn = {.name = "LRN",
                      .summary = "local response normalisation over neighbouring channels",
                      .flags = OP_GRADIENT_READS_INPUT,
                      .attributes = lrn_attributes,
                      .attribute_count = LRN_ATTRIBUTES,
                      .infer = infer_like_input,
                      .cost = cost_one_per_output,
                      .lower_forward = lrn_lower_forward,
                      .lower_data_gradient = lrn_lower_data_gradient,
                      .samples = lrn_samples};
