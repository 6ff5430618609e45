/* Maximum pooling. The training forward pass saves the number of each window's maximum in scan
 * order. The gradient is gathered, so that every element of dx is written once:
 *     windows that tile the input  rows of dx from the row of windows in them (gather_tiles);
 *     windows that overlap         a row of dx from the rows of windows around it (gather_rows);
 *     rows too long for these      an element of dx from the windows around it (gather_elements);
 *     one window over all          nothing is saved, the maximum is found again (gather_whole).
 * Lanes (of channels, or examples) are innermost. NaN counts as larger than everything. */
#include "maximum.h"
#include "common.h"

#include <string.h>

#define LARGEST_BYTE 255
/* Numbers of a row of dx that are kept in an array, on a thread's stack. */
#define LONGEST_ROW 8192

int maximum_pooling_saved(const Layer *layer, SavedSpec *specs) {
    const Shape *shape = &layer->output;
    specs[0] = (SavedSpec){.dims = {.rank = shape->rank},
                           .per_example = true,
                           .byte = pooling_taps(&layer->window) <= LARGEST_BYTE};
    for (int axis = 0; axis < shape->rank; axis++)
        specs[0].dims.extent[axis] = shape->extent[axis];
    return 1;
}

/* ---- The maximum of a window ---- */

int maximum_last_axis(const Maximum *m) {
    return m->window->rank - 1;
}

int maximum_open_blocks(Maximum *m, Lowering *lowering, const Node *node, bool placed,
                        bool in_lanes) {
    *m = (Maximum){
        .lowering = lowering, .node = node, .window = &node->layer->window, .placed = placed};
    if (in_lanes && node->x[0]->layout.blocked_axis == BATCH_AXIS) {
        m->example_lanes = node->x[0]->layout.block;
        m->block_of_examples = open_examples(lowering, LOOP_INDEPENDENT, node->x[0]);
    } else {
        m->output[AXIS_BATCH] = open_batch(lowering->builder, LOOP_INDEPENDENT);
    }
    m->channels = channels_open(lowering, pooling_layout(node->x[0], node->y));
    return 1 + m->channels.opened;
}

/* And those over the windows. Windows that are unrolled go inside the lanes. */
static int open_windows(Maximum *m, Lowering *lowering, const Node *node, bool placed,
                        bool unrolled) {
    int opened = maximum_open_blocks(m, lowering, node, placed, unrolled);
    return opened + pooling_open_outputs(lowering, m->window, 0, m->window->rank, m->output);
}

static int64_t lane_count(const Maximum *m) {
    return m->example_lanes > 0 ? m->example_lanes : m->channels.lanes;
}

static int open_lanes(Maximum *m) {
    Builder *b = m->lowering->builder;
    if (m->example_lanes == 0) {
        Expr **channel = &m->output[AXIS_CHANNEL], *block;
        int opened = channels_open_lanes(&m->channels, channel);
        split_index(b, *channel, m->channels.lanes, m->channels.tensor->extent[0], &block,
                    &m->lane);
        return opened;
    }
    m->output[AXIS_CHANNEL] = m->channels.block;
    m->lane = open_loop(b, LOOP_INDEPENDENT, "lane", m->example_lanes);
    m->output[AXIS_BATCH] = blocked_index(b, m->block_of_examples, m->lane, m->example_lanes);
    return 1;
}

/* ---- Numbers of the maxima ---- */

/* They are saved as bytes. A loop that computes numbers and stores bytes gets short vectors from
 * gcc, so those of all lanes go through an array; without lanes there is none (NULL). */
static Buffer *declare_places(const Maximum *m) {
    int64_t lanes = lane_count(m);
    return lanes > 1 ? declare_array(m->lowering->builder, "places", TYPE_LABEL, 1, &lanes) : NULL;
}

static void store_place(const Maximum *m, Buffer *places, Expr *place) {
    if (places)
        store_at(m->lowering->builder, places, 1, &m->lane, place, false);
    else
        tensor_store(m->lowering, m->node->saved[0], m->output, place);
}

/* To be called behind the loop over the lanes that has stored them. */
static void save_places(Maximum *m, Buffer *places) {
    Builder *b = m->lowering->builder;
    if (places == NULL)
        return;
    int opened = open_lanes(m);
    Expr *place = load_at(b, places, 1, &m->lane);
    tensor_store(m->lowering, m->node->saved[0], m->output, place);
    close_blocks(b, opened);
}

/* The largest element so far and its number in the window (NULL unless placed). */
typedef struct Best {
    Expr *value, *number;
} Best;

/* What is larger than the best so far, or NaN, takes its place. C compilers make vectors of choices
 * by one number that has been compared before. */
static Best better_of(Maximum *m, Best best, Expr *value, Expr *number) {
    Builder *b = m->lowering->builder;
    Expr *better = either(b, greater(b, value, best.value), differs(b, value, value));
    better = declare(b, "better", TYPE_LABEL, better);
    Expr *place = m->placed ? choose(b, better, number, best.number) : NULL;
    return (Best){choose(b, better, value, best.value), place};
}

bool maximum_is_before_input(const Window *window, int axis, int64_t tap) {
    return tap < window->pad_begin[axis];
}

bool maximum_is_behind_input(const Window *window, int axis, int64_t tap) {
    int64_t last = (window->output[axis] - 1) * window->stride[axis];
    return last + tap - window->pad_begin[axis] >= window->input[axis];
}

/* Where the window's element is along one axis. Outside of the input the nearest element inside
 * stands for it: that is in the window as well. */
static Expr *clamped(Maximum *m, int axis, int64_t tap) {
    Builder *b = m->lowering->builder;
    const Window *window = m->window;
    Expr *at = times(b, m->output[AXIS_SPACE + axis], integer(b, window->stride[axis]));
    at = plus(b, at, integer(b, tap - window->pad_begin[axis]));
    if (maximum_is_before_input(window, axis, tap))
        at = maximum(b, at, integer(b, 0));
    if (maximum_is_behind_input(window, axis, tap))
        at = minimum(b, at, integer(b, window->input[axis] - 1));
    return at;
}

void maximum_tap_index(Maximum *m, int64_t tap, Expr **index) {
    int64_t at[3];
    pooling_tap(m->window, tap, at);
    index[AXIS_BATCH] = m->output[AXIS_BATCH];
    index[AXIS_CHANNEL] = m->output[AXIS_CHANNEL];
    for (int axis = 0; axis < m->window->rank; axis++)
        index[AXIS_SPACE + axis] = clamped(m, axis, at[axis]);
}

static Expr *offset_in_window(Maximum *m, int axis, Expr *const *index) {
    Builder *b = m->lowering->builder;
    Expr *begin = times(b, m->output[AXIS_SPACE + axis], integer(b, m->window->stride[axis]));
    Expr *place = plus(b, index[AXIS_SPACE + axis], integer(b, m->window->pad_begin[axis]));
    return minus(b, place, begin);
}

/* The number of the element in its window. */
static Expr *tap_number(Maximum *m, Expr *const *index) {
    Builder *b = m->lowering->builder;
    Expr *number = integer(b, 0);
    for (int axis = 0; axis < m->window->rank; axis++)
        number = plus(b, times(b, number, integer(b, m->window->kernel[axis])),
                      offset_in_window(m, axis, index));
    return declare(b, "number", TYPE_LABEL, number);
}

/* The same for a constant element; what stands for one outside has the number of where it is. */
static Expr *unrolled_number(Maximum *m, int64_t tap, Expr *const *index) {
    Builder *b = m->lowering->builder;
    const Window *window = m->window;
    Expr *number = integer(b, 0);
    int64_t at[3];
    pooling_tap(window, tap, at);
    for (int axis = 0; axis < window->rank; axis++) {
        Expr *offset = integer(b, at[axis]);
        if (maximum_is_before_input(window, axis, at[axis]) ||
            maximum_is_behind_input(window, axis, at[axis]))
            offset = offset_in_window(m, axis, index);
        number = plus(b, times(b, number, integer(b, window->kernel[axis])), offset);
    }
    return number;
}

/* Elements that are made and not loaded go through an array: in one loop with the comparisons C
 * compilers would make one thing of both, and masks of that. */
static Buffer *make_elements(Maximum *m, const WindowElements *elements) {
    Builder *b = m->lowering->builder;
    int64_t extent[] = {pooling_taps(m->window), lane_count(m)}, at[3];
    Buffer *made = declare_array(b, "elements", TYPE_REAL, 2, extent);
    for (int64_t tap = 0; tap < extent[0]; tap++) {
        pooling_tap(m->window, tap, at);
        int lanes = open_lanes(m);
        Expr *value = elements->value(elements->context, m->output[AXIS_CHANNEL], m->lane, at);
        store_at(b, made, 2, (Expr *const[]){integer(b, tap), m->lane}, value, false);
        close_blocks(b, lanes);
    }
    return made;
}

static Expr *unrolled_value(Maximum *m, int64_t tap, Expr *const *index) {
    Builder *b = m->lowering->builder;
    if (m->made == NULL)
        return tensor_load(m->lowering, m->node->x[0], index);
    return load_at(b, m->made, 2, (Expr *const[]){integer(b, tap), m->lane});
}

/* Within the lanes, one element after another. */
static Best emit_unrolled(Maximum *m) {
    Builder *b = m->lowering->builder;
    Expr *index[MAX_AXES];
    maximum_tap_index(m, 0, index);
    Best best = {declare(b, "best", TYPE_REAL, unrolled_value(m, 0, index)), NULL};
    if (m->placed)
        best.number = declare(b, "place", TYPE_LABEL, unrolled_number(m, 0, index));
    for (int64_t tap = 1; tap < pooling_taps(m->window); tap++) {
        maximum_tap_index(m, tap, index);
        Expr *value = declare(b, "value", TYPE_REAL, unrolled_value(m, tap, index));
        Best next = better_of(m, best, value, unrolled_number(m, tap, index));
        if (m->placed)
            assign(b, best.number, next.number);
        assign(b, best.value, next.value);
    }
    return best;
}

typedef struct BestOfChannels {
    ChannelValue value, number;
} BestOfChannels;

/* Outside of the lanes, with loops over the window. */
static BestOfChannels emit_loops(Maximum *m) {
    Builder *b = m->lowering->builder;
    Tensor *x = m->node->x[0];
    ClippedWindow clipped = pooling_clip(m->lowering, m->window, m->output);
    BestOfChannels best = {channel_value(&m->channels, "best", TYPE_REAL), {.name = NULL}};
    Expr *tap[MAX_AXES] = {m->output[AXIS_BATCH]}, *number = NULL;
    for (int axis = 0; axis < m->window->rank; axis++)
        tap[AXIS_SPACE + axis] = clipped.begin[axis];
    if (m->placed) {
        best.number = channel_value(&m->channels, "place", TYPE_LABEL);
        number = tap_number(m, tap);
    }
    int opened = channels_open_lanes(&m->channels, &tap[AXIS_CHANNEL]);
    channel_set(&m->channels, &best.value, tap[AXIS_CHANNEL], tensor_load(m->lowering, x, tap));
    if (m->placed)
        channel_set(&m->channels, &best.number, tap[AXIS_CHANNEL], number);
    close_blocks(b, opened);

    opened = pooling_open_window(m->lowering, &clipped, LOOP_SERIAL, tap);
    number = m->placed ? tap_number(m, tap) : NULL;
    opened += channels_open_lanes(&m->channels, &tap[AXIS_CHANNEL]);
    Expr *value = declare(b, "value", TYPE_REAL, tensor_load(m->lowering, x, tap));
    Best before = {channel_get(&m->channels, &best.value, tap[AXIS_CHANNEL]),
                   number ? channel_get(&m->channels, &best.number, tap[AXIS_CHANNEL]) : NULL};
    Best next = better_of(m, before, value, number);
    if (number)
        channel_update(&m->channels, &best.number, tap[AXIS_CHANNEL], next.number);
    channel_update(&m->channels, &best.value, tap[AXIS_CHANNEL], next.value);
    close_blocks(b, opened);
    return best;
}

/* ---- Forward ---- */

/* The maxima at m->output, lane by lane. */
static void emit_forward(Maximum *m, Buffer *map, bool unrolled) {
    Builder *b = m->lowering->builder;
    BestOfChannels channels = {{.name = NULL}, {.name = NULL}};
    if (!unrolled)
        channels = emit_loops(m);
    Buffer *places = m->placed ? declare_places(m) : NULL;
    int lanes = open_lanes(m);
    Best best = {NULL, NULL};
    if (unrolled) {
        best = emit_unrolled(m);
    } else {
        best.value = channel_get(&m->channels, &channels.value, m->output[AXIS_CHANNEL]);
        if (m->placed)
            best.number = channel_get(&m->channels, &channels.number, m->output[AXIS_CHANNEL]);
    }
    if (m->placed)
        store_place(m, places, best.number);
    if (map)
        maximum_store_in_map(m, map, best.value);
    else
        lower_result(m->lowering, m->node, m->output, best.value);
    close_blocks(b, lanes);
    save_places(m, places);
}

void maximum_pooling_forward(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    Maximum m;
    bool unrolled = pooling_taps(&node->layer->window) <= POOLING_UNROLLED;
    bool placed = node->training && node->saved[0] != NULL;
    if (unrolled && maximum_forward_by_rows(lowering, node, placed))
        return;
    int blocks = maximum_open_blocks(&m, lowering, node, placed, unrolled);
    Buffer *map = maximum_declare_map(&m);
    int windows = pooling_open_outputs(lowering, m.window, 0, m.window->rank, m.output);
    if (!unrolled || !maximum_forward_by_lanes(&m, map))
        emit_forward(&m, map, unrolled);
    close_blocks(b, windows);
    maximum_turn_map(&m, map);
    close_blocks(b, blocks);
}

void maximum_pooling_window(Lowering *lowering, const Node *node, Expr *const *output, Expr *block,
                            const WindowElements *elements) {
    Maximum m = {.lowering = lowering,
                 .node = node,
                 .window = &node->layer->window,
                 .channels = {.lowering = lowering,
                              .tensor = node->x[0],
                              .lanes = node->x[0]->layout.block,
                              .block = block},
                 .placed = node->training && node->saved[0] != NULL};
    memcpy(m.output, output, sizeof m.output);
    m.made = make_elements(&m, elements);
    Buffer *places = m.placed ? declare_places(&m) : NULL;
    int lanes = open_lanes(&m);
    Best best = emit_unrolled(&m);
    if (m.placed)
        store_place(&m, places, best.number);
    lower_result(lowering, node, m.output, best.value);
    close_blocks(lowering->builder, lanes);
    save_places(&m, places);
}

/* ---- Gradient ---- */

/* dy where the element is the maximum of the window, else 0. */
static Expr *passed(Builder *b, Expr *place, Expr *number_of_element, Expr *dy) {
    return choose(b, equal(b, place, number_of_element), dy, number(b, 0));
}

static Expr *window_number(const Maximum *m, Tensor *tensor, Buffer *map) {
    return map ? maximum_load_of_map(m, map) : tensor_load(m->lowering, tensor, m->output);
}

static void turn_maps(Maximum *m) {
    m->dy_map = maximum_map_of(m, m->node->dy);
    if (m->node->through_positive)
        m->y_map = maximum_map_of(m, m->node->y);
}

/* dy of the window; where the node takes over a RELU's derivative, 0 unless the maximum was
 * positive.
 */
static Expr *window_gradient(Maximum *m) {
    Builder *b = m->lowering->builder;
    Expr *dy = window_number(m, m->node->dy, m->dy_map);
    if (!m->node->through_positive)
        return dy;
    Expr *y = window_number(m, m->node->y, m->y_map);
    return choose(b, greater(b, y, number(b, 0)), dy, number(b, 0));
}

void maximum_pooling_window_gradient(Lowering *lowering, const Node *node, Expr *const *output,
                                     Expr *block) {
    Builder *b = lowering->builder;
    const int64_t *kernel = node->layer->window.kernel;
    const Layout *layout = &node->dx->layout;
    Expr *index[MAX_AXES], *input[MAX_AXES];
    memcpy(index, output, sizeof index);
    index[AXIS_CHANNEL] = blocked_index(b, block, integer(b, 0), layout->block);
    memcpy(input, index, sizeof input);
    for (int axis = 0; axis < 2; axis++)
        input[AXIS_SPACE + axis] = times(b, index[AXIS_SPACE + axis], integer(b, kernel[axis]));
    int64_t row = (node->dx->extent[2] + layout->before[2] + layout->after[2]) * layout->block;
    Expr *arguments[7] = {tensor_load(lowering, node->dx, input),
                          integer(b, row),
                          integer(b, kernel[0]),
                          integer(b, kernel[1]),
                          tensor_load(lowering, node->saved[0], index),
                          tensor_load(lowering, node->dy, index)};
    if (node->through_positive)
        arguments[6] = tensor_load(lowering, node->y, index);
    Expr *hand_back = node->through_positive
                          ? call(b, TYPE_VECTOR, "VECTOR_HAND_BACK_POSITIVE", 7, arguments)
                          : call(b, TYPE_VECTOR, "VECTOR_HAND_BACK", 6, arguments);
    hand_back->integer = pooling_taps(&node->layer->window) * layout->block;
    call_statement(b, hand_back);
    lower_buffer(lowering, node->dx)->written = true;
}

/* What a row of windows, along the last axis, hands back, and a row of dx that collects it; all are
 * arrays of columns and lanes. The numbers are converted a row ahead: a vector that is read from
 * what short ones have just stored stalls. Each element of the windows has a loop over lanes of its
 * own, or C compilers would turn the choices of one number into branches. */
typedef struct Row {
    Buffer *places, *gradients;
    Buffer *sums; /* behind the padding; NULL: nothing is added up, windows tile the input */
} Row;

static int64_t row_of_sums(const Window *window) {
    int axis = window->rank - 1;
    int64_t covered = (window->output[axis] - 1) * window->stride[axis] + window->kernel[axis];
    int64_t padded = window->pad_begin[axis] + window->input[axis];
    return covered > padded ? covered : padded;
}

static int open_columns(Maximum *m) {
    return pooling_open_outputs(m->lowering, m->window, maximum_last_axis(m), m->window->rank,
                                m->output);
}

static void load_row(Maximum *m, const Row *row) {
    Builder *b = m->lowering->builder;
    int columns = open_columns(m), lanes = open_lanes(m);
    Expr *at[] = {m->output[AXIS_SPACE + maximum_last_axis(m)], m->lane};
    store_at(b, row->places, 2, at, tensor_load(m->lowering, m->node->saved[0], m->output), false);
    close_blocks(b, lanes);
    lanes = open_lanes(m);
    at[1] = m->lane;
    store_at(b, row->gradients, 2, at, window_gradient(m), false);
    close_blocks(b, columns + lanes);
}

/* The number in its window of the first element in the row; offsets are those in the window along
 * the other axes. */
static Expr *number_of_row(Maximum *m, Expr *const *offset) {
    Builder *b = m->lowering->builder;
    Expr *number = integer(b, 0);
    for (int axis = 0; axis < maximum_last_axis(m); axis++)
        number = plus(b, times(b, number, integer(b, m->window->kernel[axis])), offset[axis]);
    return times(b, number, integer(b, m->window->kernel[maximum_last_axis(m)]));
}

static void hand_back_row(Maximum *m, const Row *row, Expr *const *offset, Expr **input) {
    Builder *b = m->lowering->builder;
    int axis = maximum_last_axis(m);
    Expr *first = number_of_row(m, offset);
    Expr *tap = open_loop(b, LOOP_SERIAL, "tap", m->window->kernel[axis]);
    Expr *number = declare(b, "number", TYPE_LABEL, plus(b, first, tap));
    int opened = 1 + open_columns(m) + open_lanes(m);
    Expr *at[] = {m->output[AXIS_SPACE + axis], m->lane};
    Expr *value =
        passed(b, load_at(b, row->places, 2, at), number, load_at(b, row->gradients, 2, at));
    input[AXIS_SPACE + axis] = plus(b, times(b, at[0], integer(b, m->window->stride[axis])), tap);
    input[AXIS_BATCH] = m->output[AXIS_BATCH];
    input[AXIS_CHANNEL] = m->output[AXIS_CHANNEL];
    if (row->sums)
        store_at(b, row->sums, 2, (Expr *const[]){input[AXIS_SPACE + axis], m->lane}, value, true);
    else
        lower_result(m->lowering, m->node, input, value);
    close_blocks(b, opened);
}

/* Over all columns of the row of dx: sets the sums to 0, or hands them over. */
static void each_sum(Maximum *m, const Row *row, Expr **input, int64_t columns, bool hand_over) {
    Builder *b = m->lowering->builder;
    Expr *column = open_loop(b, LOOP_INDEPENDENT, "w", columns);
    int opened = 1 + open_lanes(m);
    int axis = maximum_last_axis(m);
    Expr *behind = plus(b, column, integer(b, hand_over ? m->window->pad_begin[axis] : 0));
    Expr *at[] = {behind, m->lane};
    input[AXIS_SPACE + axis] = column;
    input[AXIS_BATCH] = m->output[AXIS_BATCH];
    input[AXIS_CHANNEL] = m->output[AXIS_CHANNEL];
    if (hand_over)
        lower_result(m->lowering, m->node, input, load_at(b, row->sums, 2, at));
    else
        store_at(b, row->sums, 2, at, number(b, 0), false);
    close_blocks(b, opened);
}

static void declare_row(Maximum *m, Row *row) {
    Builder *b = m->lowering->builder;
    int64_t extent[] = {m->window->output[maximum_last_axis(m)], lane_count(m)};
    row->places = declare_array(b, "places", TYPE_LABEL, 2, extent);
    row->gradients = declare_array(b, "gradients", TYPE_REAL, 2, extent);
}

/* Windows that tile the input: a row of windows makes all rows of dx that it covers. */
static void gather_tiles(Lowering *lowering, const Node *node) {
    static const char *const letters[] = {"i", "j"};
    Builder *b = lowering->builder;
    Maximum m;
    Row row = {.sums = NULL};
    Expr *input[MAX_AXES], *offset[3];
    int opened = maximum_open_blocks(&m, lowering, node, true, true), last = maximum_last_axis(&m);
    turn_maps(&m);
    opened += pooling_open_outputs(lowering, m.window, 0, last, m.output);
    declare_row(&m, &row);
    load_row(&m, &row);
    for (int axis = 0; axis < last; axis++, opened++) {
        offset[axis] = open_loop(b, LOOP_SERIAL, letters[axis], m.window->kernel[axis]);
        Expr *begin = times(b, m.output[AXIS_SPACE + axis], integer(b, m.window->stride[axis]));
        input[AXIS_SPACE + axis] = plus(b, begin, offset[axis]);
    }
    hand_back_row(&m, &row, offset, input);
    close_blocks(b, opened);
}

static void gather_rows(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    Maximum m;
    Expr *input[MAX_AXES], *offset[3];
    int opened = maximum_open_blocks(&m, lowering, node, true, true), last = maximum_last_axis(&m);
    turn_maps(&m);
    const char *const *letters = axis_letters(node->dx->rank);
    for (int axis = 0; axis < last; axis++, opened++)
        input[AXIS_SPACE + axis] =
            open_loop(b, LOOP_INDEPENDENT, letters[1 + axis], m.window->input[axis]);
    int64_t extent[] = {row_of_sums(m.window), lane_count(&m)};
    Row row = {.sums = declare_array(b, "sums", TYPE_REAL, 2, extent)};
    each_sum(&m, &row, input, extent[0], false);
    int windows = pooling_open_covering(lowering, m.window, last, LOOP_SERIAL, input, m.output);
    declare_row(&m, &row);
    load_row(&m, &row);
    for (int axis = 0; axis < last; axis++)
        offset[axis] = offset_in_window(&m, axis, input);
    hand_back_row(&m, &row, offset, input);
    close_blocks(b, windows);
    each_sum(&m, &row, input, m.window->input[last], true);
    close_blocks(b, opened);
}

static void gather_whole(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    Maximum m;
    int opened = open_windows(&m, lowering, node, true, false);
    BestOfChannels best = emit_loops(&m);
    ClippedWindow whole = pooling_clip(lowering, m.window, m.output);
    Expr *tap[MAX_AXES] = {m.output[AXIS_BATCH]};
    opened += pooling_open_window(lowering, &whole, LOOP_INDEPENDENT, tap);
    Expr *number = tap_number(&m, tap);
    opened += channels_open_lanes(&m.channels, &tap[AXIS_CHANNEL]);
    m.output[AXIS_CHANNEL] = tap[AXIS_CHANNEL];
    Expr *place = channel_get(&m.channels, &best.number, tap[AXIS_CHANNEL]);
    lower_result(lowering, node, tap, passed(b, place, number, window_gradient(&m)));
    close_blocks(b, opened);
}

static void gather_elements(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    Maximum m = {.lowering = lowering, .node = node, .window = &node->layer->window};
    Expr *input[MAX_AXES];
    m.output[AXIS_BATCH] = input[AXIS_BATCH] = open_batch(b, LOOP_INDEPENDENT);
    m.channels = channels_open(lowering, pooling_layout(node->dx, node->dy));
    int opened = 1 + m.channels.opened + open_space(lowering, LOOP_INDEPENDENT, node->dx, input);
    ChannelValue sum = channel_zero(&m.channels, "sum", lower_sum_type(lowering));
    LoopKind kind = m.channels.lanes > 1 ? LOOP_SERIAL : LOOP_REDUCTION;
    int windows = pooling_open_covering(lowering, m.window, m.window->rank, kind, input, m.output);
    Expr *number = tap_number(&m, input);
    windows += open_lanes(&m);
    Expr *place = tensor_load(lowering, node->saved[0], m.output);
    channel_add(&m.channels, &sum, m.output[AXIS_CHANNEL],
                passed(b, place, number, window_gradient(&m)));
    close_blocks(b, windows);
    opened += channels_open_lanes(&m.channels, &input[AXIS_CHANNEL]);
    lower_result(lowering, node, input, channel_get(&m.channels, &sum, input[AXIS_CHANNEL]));
    close_blocks(b, opened);
}

/* At level 0, too, each element is gathered by itself: what rows are tested against. */
static bool goes_by_rows(const Lowering *lowering, const Node *node) {
    int64_t lanes = node->dx->layout.block > 0 ? node->dx->layout.block : 1;
    return lowering->options->level > 0 && row_of_sums(&node->layer->window) <= LONGEST_ROW / lanes;
}

void maximum_pooling_data_gradient(Lowering *lowering, const Node *node) {
    if (node->saved[0] == NULL)
        gather_whole(lowering, node);
    else if (!goes_by_rows(lowering, node))
        gather_elements(lowering, node);
    else if (pooling_tiles_input(&node->layer->window))
        gather_tiles(lowering, node);
    else
        gather_rows(lowering, node);
}
