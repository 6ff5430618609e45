#include "convolution.h"
#include "../winograd.h"
#include "../winograd_rows.h"

#include "channels.h"
#include "common.h"

#include <assert.h>

/* Dimensions of the contractions; -1: left out because its extent is 1. */
typedef struct Dimensions {
    int n, group, filter, channel, position[3], tap[3];
} Dimensions;

/* What the three contractions share. */
typedef struct Convolution {
    Contraction contraction;
    const Window *window;
    int64_t groups, filters, channels; /* the last two in each group */
    Dimensions at;
} Convolution;

static int add_dimension(Contraction *contraction, const char *letter, int64_t extent,
                         bool reduce) {
    contraction->dims[contraction->dim_count] = (ContractionDim){letter, extent, reduce};
    return contraction->dim_count++;
}

/* Groups, taps and what lies inside a group are left out where there is only one. */
static int add_unless_single(Contraction *contraction, const char *letter, int64_t extent,
                             bool reduce) {
    return extent == 1 ? -1 : add_dimension(contraction, letter, extent, reduce);
}

static const char *letter_of(const Window *window, int axis, char kind) {
    static const char *const outputs[] = {"od", "oh", "ow"}, *const inputs[] = {"id", "ih", "iw"},
                             *const taps[] = {"kd", "kh", "kw"};
    if (window->rank == 1) {
        return kind == 'o' ? "ol" : kind == 'i' ? "il" : "kl";
    }
    assert(window->rank <= 3 && axis >= 0 && axis < window->rank);
    const char *const *letters = kind == 'o' ? outputs : kind == 'i' ? inputs : taps;
    return letters[3 - window->rank + axis];
}

/* As many groups as the tensors have: those of a depthwise one may have been widened (pad.c). */
static Convolution convolution_of(const Node *node) {
    int64_t groups = node->x[0]->extent[0] / node->parameters[0]->extent[1];
    Convolution c = {.contraction = {.node = node},
                     .window = &node->layer->window,
                     .groups = groups,
                     .filters = node->y->extent[0] / groups,
                     .channels = node->x[0]->extent[0] / groups};
    return c;
}

static void add_positions(Convolution *c, bool reduce) {
    for (int i = 0; i < c->window->rank; i++) {
        c->at.position[i] = add_dimension(&c->contraction, letter_of(c->window, i, 'o'),
                                          c->window->output[i], reduce);
    }
}

static void add_taps(Convolution *c, bool reduce) {
    for (int i = 0; i < c->window->rank; i++) {
        c->at.tap[i] = add_unless_single(&c->contraction, letter_of(c->window, i, 'k'),
                                         c->window->kernel[i], reduce);
    }
}

static void add_group(Convolution *c) {
    c->at.group = add_unless_single(&c->contraction, "g", c->groups, false);
}

/* Where a group has one filter (or channel), the group stands for it. */
static void add_filter(Convolution *c, bool reduce) {
    c->at.filter = c->groups > 1 ? add_unless_single(&c->contraction, "oc", c->filters, reduce)
                                 : add_dimension(&c->contraction, "oc", c->filters, reduce);
}

static void add_channel(Convolution *c, bool reduce) {
    c->at.channel = c->groups > 1 ? add_unless_single(&c->contraction, "ic", c->channels, reduce)
                                  : add_dimension(&c->contraction, "ic", c->channels, reduce);
}

/* A dimension of extent 1 is left out: -1. */
static void set(AxisMap *map, int dimension, int64_t coefficient) {
    if (dimension >= 0) {
        map->coefficient[dimension] = coefficient;
    }
}

static Operand example_operand(const Convolution *c, Tensor *tensor) {
    Operand operand = {.tensor = tensor};
    set(&operand.axis[AXIS_BATCH], c->at.n, 1);
    return operand;
}

/* x or dx, read or written at input positions that the caller maps. */
static Operand input_operand(const Convolution *c, Tensor *tensor) {
    Operand operand = example_operand(c, tensor);
    set(&operand.axis[AXIS_CHANNEL], c->at.group, c->channels);
    set(&operand.axis[AXIS_CHANNEL], c->at.channel, 1);
    return operand;
}

/* x under the taps of the windows: o*S + k*D - P. */
static Operand windowed_input(const Convolution *c, Tensor *tensor) {
    Operand operand = input_operand(c, tensor);
    for (int i = 0; i < c->window->rank; i++) {
        AxisMap *map = &operand.axis[AXIS_SPACE + i];
        set(map, c->at.position[i], c->window->stride[i]);
        set(map, c->at.tap[i], c->window->dilation[i]);
        map->constant = -c->window->pad_begin[i];
    }
    return operand;
}

/* y or dy; its positions are dimensions of the contraction unless the caller maps them. */
static Operand output_operand(const Convolution *c, Tensor *tensor) {
    Operand operand = example_operand(c, tensor);
    set(&operand.axis[AXIS_CHANNEL], c->at.group, c->filters);
    set(&operand.axis[AXIS_CHANNEL], c->at.filter, 1);
    return operand;
}

static void map_positions(const Convolution *c, Operand *operand) {
    for (int i = 0; i < c->window->rank; i++) {
        set(&operand->axis[AXIS_SPACE + i], c->at.position[i], 1);
    }
}

static Operand weight_operand(const Convolution *c, Tensor *tensor) {
    Operand operand = {.tensor = tensor};
    set(&operand.axis[0], c->at.group, c->filters);
    set(&operand.axis[0], c->at.filter, 1);
    set(&operand.axis[1], c->at.channel, 1);
    for (int i = 0; i < c->window->rank; i++) {
        set(&operand.axis[2 + i], c->at.tap[i], 1);
    }
    return operand;
}

/* y as a contraction. */
static Convolution forward_convolution(const Node *node) {
    Convolution c = convolution_of(node);
    c.at.n = add_dimension(&c.contraction, "n", 0, false);
    add_group(&c);
    add_filter(&c, false);
    add_positions(&c, false);
    add_channel(&c, true);
    add_taps(&c, true);
    c.contraction.a = windowed_input(&c, node->x[0]);
    c.contraction.b = weight_operand(&c, node->parameters[0]);
    c.contraction.result = output_operand(&c, node->y);
    map_positions(&c, &c.contraction.result);
    c.contraction.bias = node->parameters[1];
    c.contraction.to_result = true;
    return c;
}

void convolution_forward(Lowering *lowering, const Node *node) {
    if (winograd_lower(lowering, node, WINOGRAD_FORWARD) ||
        winograd_rows_map(lowering, node, false))
        return;
    const Convolution c = forward_convolution(node);
    lower_contraction(lowering, &c.contraction);
}

int64_t convolution_tile_numbers(Lowering *lowering, const Node *node) {
    int64_t numbers;
    if (winograd_tile_numbers(lowering, node, &numbers))
        return numbers;
    const Convolution c = forward_convolution(node);
    return contraction_tile_numbers(lowering, &c.contraction);
}

void convolution_parameter_gradient(Lowering *lowering, const Node *node) {
    if (winograd_lower(lowering, node, WINOGRAD_WEIGHT_GRADIENT))
        return;
    Convolution c = convolution_of(node);
    add_group(&c);
    add_filter(&c, false);
    add_channel(&c, false);
    add_taps(&c, false);
    c.at.n = add_dimension(&c.contraction, "n", 0, true);
    add_positions(&c, true);
    c.contraction.a = output_operand(&c, node->dy);
    map_positions(&c, &c.contraction.a);
    c.contraction.b = windowed_input(&c, node->x[0]);
    c.contraction.result = weight_operand(&c, node->parameter_gradients[0]);
    c.contraction.connections = node->connections;
    Tensor *bias_gradient = c.contraction.channel_sums = node->parameter_gradients[1];
    bool summed = !winograd_rows_weight_gradient(lowering, node) &&
                  lower_contraction(lowering, &c.contraction);
    if (bias_gradient && !summed)
        lower_bias_gradient(lowering, node, bias_gradient);
}

/* ---- Data gradient ---- */

/* The input positions i = first + step*q, q < count, of one axis, and the taps k = first_tap +
 * tap_step*j, j < taps, whose windows' positions (i + P - k*D)/S are whole: for every q and j they
 * are q + shift - j*reach. All positions at once, with the quotient left to the contraction, is
 * the phase of step 1, tap_step 1 and divisor S. */
typedef struct Phase {
    int64_t first, step, count, first_tap, tap_step, taps, shift, reach, divisor;
} Phase;

static Phase whole_axis(const Window *window, int axis) {
    return (Phase){.step = 1,
                   .count = window->input[axis],
                   .tap_step = 1,
                   .taps = window->kernel[axis],
                   .shift = window->pad_begin[axis],
                   .reach = window->dilation[axis],
                   .divisor = window->stride[axis]};
}

/* The positions that leave the remainder `first` by the stride. */
static Phase phase_of(const Window *window, int axis, int64_t first) {
    int64_t stride = window->stride[axis], dilation = window->dilation[axis];
    int64_t begin = first + window->pad_begin[axis];
    Phase phase = {.first = first, .step = stride, .tap_step = 1, .divisor = 1};
    phase.count = (window->input[axis] - first + stride - 1) / stride;
    while (phase.tap_step * dilation % stride != 0)
        phase.tap_step++;
    while (phase.first_tap < phase.tap_step && (begin - phase.first_tap * dilation) % stride != 0)
        phase.first_tap++;
    if (phase.first_tap < phase.tap_step && phase.first_tap < window->kernel[axis])
        phase.taps = (window->kernel[axis] - 1 - phase.first_tap) / phase.tap_step + 1;
    phase.shift = (begin - phase.first_tap * dilation) / stride;
    phase.reach = phase.tap_step * dilation / stride;
    return phase;
}

/* dx at the positions of the given phases. Taps are counted from the last one, so that dy is read
 * forwards: backwards cost a seventh of the peak where a cache line holds two positions. */
static void lower_phase(Lowering *lowering, const Node *node, const Phase *phases) {
    Convolution c = convolution_of(node);
    c.at.n = add_dimension(&c.contraction, "n", 0, false);
    add_group(&c);
    add_channel(&c, false);
    for (int i = 0; i < c.window->rank; i++)
        c.at.position[i] =
            add_dimension(&c.contraction, letter_of(c.window, i, 'i'), phases[i].count, false);
    add_filter(&c, true);
    for (int i = 0; i < c.window->rank; i++)
        c.at.tap[i] =
            add_unless_single(&c.contraction, letter_of(c.window, i, 'k'), phases[i].taps, true);
    c.contraction.a = output_operand(&c, node->dy);
    c.contraction.b = weight_operand(&c, node->parameters[0]);
    c.contraction.result = input_operand(&c, node->dx);
    for (int i = 0; i < c.window->rank; i++) {
        AxisMap *dy = &c.contraction.a.axis[AXIS_SPACE + i];
        AxisMap *weight = &c.contraction.b.axis[2 + i];
        AxisMap *dx = &c.contraction.result.axis[AXIS_SPACE + i];
        int64_t last = phases[i].taps - 1;
        set(dy, c.at.position[i], 1);
        set(dy, c.at.tap[i], phases[i].reach);
        dy->constant = phases[i].shift - last * phases[i].reach;
        dy->divisor = phases[i].divisor;
        set(weight, c.at.tap[i], -phases[i].tap_step);
        weight->constant = phases[i].first_tap + last * phases[i].tap_step;
        set(dx, c.at.position[i], phases[i].step);
        dx->constant = phases[i].first;
    }
    c.contraction.to_result = true;
    lower_contraction(lowering, &c.contraction);
}

/* No window covers the positions of these phases: their gradient is zero. */
static void lower_uncovered(Lowering *lowering, const Node *node, const Phase *phases) {
    Builder *b = lowering->builder;
    const Tensor *dx = node->dx;
    int64_t block = dx->layout.block;
    Expr *index[MAX_AXES];
    index[AXIS_BATCH] = open_batch(b, LOOP_INDEPENDENT);
    Expr *channels = open_loop(b, LOOP_INDEPENDENT, "cb", dx->extent[0] / block);
    for (int i = 0; i < dx->rank - 1; i++) {
        Expr *q = open_loop(b, LOOP_INDEPENDENT, letter_of(&node->layer->window, i, 'i'),
                            phases[i].count);
        index[AXIS_SPACE + i] =
            plus(b, times(b, q, integer(b, phases[i].step)), integer(b, phases[i].first));
    }
    Expr *lane = open_loop(b, LOOP_INDEPENDENT, "lane", block);
    index[AXIS_CHANNEL] = blocked_index(b, channels, lane, block);
    lower_result(lowering, node, index, number(b, 0));
    close_blocks(b, dx->rank + 2);
}

/* The same for all positions of the axes from `axis` on. */
static void lower_uncovered_rest(Lowering *lowering, const Node *node, int axis, Phase *phases) {
    const Window *window = &node->layer->window;
    for (int i = axis; i < window->rank; i++)
        phases[i] = whole_axis(window, i);
    lower_uncovered(lowering, node, phases);
}

/* All combinations of the axes' phases from `axis` on. */
static void lower_phases(Lowering *lowering, const Node *node, int axis, Phase *phases) {
    const Window *window = &node->layer->window;
    if (axis == window->rank) {
        lower_phase(lowering, node, phases);
        return;
    }
    for (int64_t first = 0; first < window->stride[axis] && first < window->input[axis]; first++) {
        phases[axis] = phase_of(window, axis, first);
        if (phases[axis].taps > 0)
            lower_phases(lowering, node, axis + 1, phases);
        else
            lower_uncovered_rest(lowering, node, axis + 1, phases);
    }
}

/* In a blocked layout every remainder of the positions by the stride is a contraction of its own,
 * without the zeros between the elements of dy. */
void convolution_data_gradient(Lowering *lowering, const Node *node) {
    const Window *window = &node->layer->window;
    Phase phases[3];
    if (winograd_lower(lowering, node, WINOGRAD_DATA_GRADIENT) ||
        winograd_rows_map(lowering, node, true))
        return;
    if (node->dx->layout.blocked_axis >= 0 && node->dy->layout.blocked_axis >= 0) {
        lower_phases(lowering, node, 0, phases);
        return;
    }
    for (int i = 0; i < window->rank; i++)
        phases[i] = whole_axis(window, i);
    lower_phase(lowering, node, phases);
}

int convolution_parameters(Counter *counter, const Layer *layer, int64_t filters, int64_t inputs,
                           bool bias, ParameterSpec *specs) {
    const Window *window = &layer->window;
    ParameterSpec *weight = &specs[0];
    *weight = (ParameterSpec){.name = "weight", .role = PARAMETER_WEIGHT};
    weight->dims.rank = 2 + window->rank;
    weight->dims.extent[0] = filters;
    weight->dims.extent[1] = inputs;
    for (int axis = 0; axis < window->rank; axis++) {
        weight->dims.extent[2 + axis] = window->kernel[axis];
    }
    weight->fan_in = count_times(counter, inputs, window_taps(counter, window));
    weight->count = count_times(counter, filters, weight->fan_in);
    weight->fan_out = count_times(counter, filters, window_taps(counter, window));
    if (bias) {
        specs[1] = (ParameterSpec){.name = "bias",
                                   .role = PARAMETER_BIAS,
                                   .dims = {1, {filters}},
                                   .count = filters,
                                   .fan_in = weight->fan_in,
                                   .fan_out = weight->fan_out};
    }
    return bias ? 2 : 1;
}

static void gradient_term(Lowering *lowering, const void *node, Expr *const *index, Expr **terms) {
    terms[0] = tensor_load(lowering, ((const Node *)node)->dy, index);
}

/* Sums that do not wait for each other: as many as divide the positions of a row. */
#define MOST_CHAINS 8

static int64_t choose_chains(int64_t row) {
    int64_t chains = MOST_CHAINS < row ? MOST_CHAINS : row;
    while (row % chains != 0)
        chains--;
    return chains;
}

static Expr *open_chains(Builder *b, int64_t chains) {
    Expr *chain = open_loop(b, LOOP_SERIAL, "chain", chains);
    b->open_stmt[b->depth - 1]->unroll = true;
    return chain;
}

/* sums[chain][lane] += all positions of a block of examples. */
static void add_positions_of_lanes(Lowering *lowering, Tensor *dy, Expr **index, Buffer *sums) {
    Builder *b = lowering->builder;
    int last = dy->rank - 1, opened = last - 1;
    int64_t chains = sums->local_extent[0], block = dy->layout.block;
    Expr *examples = index[AXIS_BATCH];
    for (int axis = 1; axis < last; axis++)
        index[AXIS_CHANNEL + axis] =
            open_loop(b, LOOP_SERIAL, axis_letters(dy->rank)[axis], dy->extent[axis]);
    Expr *first = open_range(b, LOOP_SERIAL, axis_letters(dy->rank)[last], integer(b, 0),
                             integer(b, dy->extent[last]), chains);
    Expr *to[2] = {open_chains(b, chains), open_loop(b, LOOP_INDEPENDENT, "lane", block)};
    index[AXIS_CHANNEL + last] = plus(b, first, to[0]);
    index[AXIS_BATCH] = blocked_index(b, examples, to[1], block);
    store_at(b, sums, 2, to, tensor_load(lowering, dy, index), true);
    close_blocks(b, opened + 3);
}

/* The sum over the positions of each example and channel: [n/V][channels][V]. */
static Buffer *sum_positions_of_lanes(Lowering *lowering, Tensor *dy) {
    Builder *b = lowering->builder;
    int64_t block = dy->layout.block;
    int64_t extent[2] = {choose_chains(dy->extent[dy->rank - 1]), block};
    Buffer *parts = lower_scratch(lowering, "example_sums", true, dy->extent[0]);
    Expr *count = integer(b, dy->extent[0]), *index[MAX_AXES];
    Expr *examples = index[AXIS_BATCH] = open_examples(lowering, LOOP_INDEPENDENT, dy);
    Expr *channel = index[AXIS_CHANNEL] = open_loop(b, LOOP_INDEPENDENT, "oc", dy->extent[0]);
    Buffer *sums = declare_array(b, "sums", TYPE_REAL, 2, extent);
    Expr *to[2] = {open_chains(b, extent[0]), open_loop(b, LOOP_INDEPENDENT, "lane", block)};
    store_at(b, sums, 2, to, number(b, 0), false);
    close_blocks(b, 2);
    add_positions_of_lanes(lowering, dy, index, sums);
    to[1] = open_loop(b, LOOP_INDEPENDENT, "lane", block);
    to[0] = integer(b, 0);
    Expr *sum = load_at(b, sums, 2, to);
    for (int64_t chain = 1; chain < extent[0]; chain++) {
        to[0] = integer(b, chain);
        sum = plus(b, sum, load_at(b, sums, 2, to));
    }
    Expr *place = plus(b, times(b, examples, count), channel);
    place = plus(b, times(b, place, integer(b, block)), to[1]);
    store_at(b, parts, 1, &place, sum, false);
    close_blocks(b, 3);
    return parts;
}

/* The lanes are examples. First the sums of each block of them, by the thread that has the block
 * elsewhere, too; then those over the blocks and lanes, in order. */
static void bias_gradient_of_lanes(Lowering *lowering, const Node *node, Tensor *bias_gradient) {
    Builder *b = lowering->builder;
    Tensor *dy = node->dy;
    int64_t block = dy->layout.block;
    Buffer *parts = sum_positions_of_lanes(lowering, dy);
    Expr *oc = open_loop(b, LOOP_INDEPENDENT, "oc", dy->extent[0]);
    Expr *total = declare(b, "total", TYPE_DOUBLE, number(b, 0));
    Expr *examples = open_examples(lowering, LOOP_SERIAL, dy);
    Expr *lane = open_loop(b, LOOP_REDUCTION, "lane", block);
    Expr *place = plus(b, times(b, examples, integer(b, dy->extent[0])), oc);
    place = plus(b, times(b, place, integer(b, block)), lane);
    local_add(b, total, load_at(b, parts, 1, &place));
    close_blocks(b, 2);
    tensor_store(lowering, bias_gradient, &oc, total);
    close_blocks(b, 1);
}

/* The same where a channel has one position: its lanes are added up once for all blocks. */
static void bias_gradient_of_vectors(Lowering *lowering, const Node *node, Tensor *bias_gradient) {
    Builder *b = lowering->builder;
    Tensor *dy = node->dy;
    Expr *index[2];
    index[AXIS_CHANNEL] = open_loop(b, LOOP_INDEPENDENT, "oc", dy->extent[0]);
    Expr *sum = declare(b, "sum", TYPE_VECTOR, call(b, TYPE_VECTOR, "VECTOR_ZERO", 0, NULL));
    Expr *examples = open_examples(lowering, LOOP_SERIAL, dy);
    index[AXIS_BATCH] = times(b, examples, integer(b, dy->layout.block));
    Expr *lanes = tensor_load(lowering, dy, index);
    lanes->type = TYPE_VECTOR;
    local_add(b, sum, lanes);
    close_blocks(b, 1);
    tensor_store(lowering, bias_gradient, &index[AXIS_CHANNEL], lower_lane_sum(lowering, sum));
    close_blocks(b, 1);
}

/* One block of channels after another, all examples of each. */
static void bias_gradient_of_channels(Lowering *lowering, const Node *node, Tensor *bias_gradient) {
    Channels channels = channels_open(lowering, node->dy);
    ChannelSums sums = {.count = 1, .names = {"sum"}, .term = gradient_term, .context = node};
    Expr *channel;
    channel_sums(&channels, &sums);
    int opened = channels_open_lanes(&channels, &channel);
    tensor_store(lowering, bias_gradient, &channel,
                 channel_get(&channels, &sums.value[0], channel));
    close_blocks(lowering->builder, opened);
    channels_close(&channels);
}

/* First the sums of each example, which threads can share; then those over the examples, in order:
 * the same bits for any number of threads. */
static void bias_gradient_of_examples(Lowering *lowering, const Node *node, Tensor *bias_gradient) {
    Builder *b = lowering->builder;
    Expr *count = integer(b, node->dy->extent[0]), *channel;
    Buffer *parts = lower_scratch(lowering, "example_sums", true, node->dy->extent[0]);
    Expr *n = open_batch(b, LOOP_INDEPENDENT);
    Channels channels = channels_open(lowering, node->dy);
    ChannelSums sums = {
        .example = n, .count = 1, .names = {"sum"}, .term = gradient_term, .context = node};
    channel_sums(&channels, &sums);
    int opened = 1 + channels.opened + channels_open_lanes(&channels, &channel);
    Expr *place = plus(b, times(b, n, count), channel);
    store_at(b, parts, 1, &place, channel_get(&channels, &sums.value[0], channel), false);
    close_blocks(b, opened);

    Expr *oc = open_loop(b, LOOP_INDEPENDENT, "oc", node->dy->extent[0]);
    Expr *total = declare(b, "total", TYPE_DOUBLE, number(b, 0));
    n = open_batch(b, LOOP_REDUCTION);
    place = plus(b, times(b, n, count), oc);
    local_add(b, total, load_at(b, parts, 1, &place));
    close_blocks(b, 1);
    tensor_store(lowering, bias_gradient, &oc, total);
    close_blocks(b, 1);
}

void lower_bias_gradient(Lowering *lowering, const Node *node, Tensor *bias_gradient) {
    const LowerOptions *options = lowering->options;
    const Tensor *dy = node->dy;
    int threads = lower_threads(options);
    bool few_blocks =
        dy->layout.blocked_axis == 0 && dy->extent[0] / dy->layout.block < (int64_t)2 * threads;
    if (dy->layout.blocked_axis == BATCH_AXIS && dy->rank == 1)
        bias_gradient_of_vectors(lowering, node, bias_gradient);
    else if (dy->layout.blocked_axis == BATCH_AXIS)
        bias_gradient_of_lanes(lowering, node, bias_gradient);
    else if (few_blocks && options->max_batch > 1)
        bias_gradient_of_examples(lowering, node, bias_gradient);
    else
        bias_gradient_of_channels(lowering, node, bias_gradient);
}
