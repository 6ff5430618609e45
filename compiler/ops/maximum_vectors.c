/* Maximum pooling: results that go to memory by whole vectors. */
#include "maximum.h"

/* Whether nothing is fused behind. */
static bool is_stored_plainly(const Maximum *m) {
    const Group *group = m->lowering->group;
    return m->node == group->nodes[group->count - 1] && !m->node->accumulate;
}

#define WORK 4 /* operations that a maximum counts for, in each lane */

static void take_larger(Maximum *m, Expr *best, Expr *value) {
    Builder *b = m->lowering->builder;
    Expr *arguments[] = {best, value};
    Expr *take = call(b, TYPE_VECTOR, "VECTOR_TAKE_LARGER", 2, arguments);
    take->integer = (int64_t)WORK * m->lowering->options->vector_length;
    best->variable->assigned = true;
    call_statement(b, take);
}

/* The maxima of every `step`th element of the window from `first` on, in scan order, for a vector
 * that starts at m->output. */
static Expr *vector_maxima(Maximum *m, int64_t first, int64_t step) {
    Builder *b = m->lowering->builder;
    Expr *best = NULL, *index[MAX_AXES];
    for (int64_t tap = first; tap < pooling_taps(m->window); tap += step) {
        maximum_tap_index(m, tap, index);
        Expr *load = tensor_load(m->lowering, m->node->x[0], index);
        load->type = TYPE_VECTOR;
        Expr *value = declare(b, best ? "value" : "best", TYPE_VECTOR, load);
        if (best)
            take_larger(m, best, value);
        else
            best = value;
    }
    return best;
}

/* ---- Lanes ---- */

bool maximum_forward_by_lanes(Maximum *m, Buffer *map) {
    Builder *b = m->lowering->builder;
    const Layout *x = &m->node->x[0]->layout, *y = &m->node->y->layout;
    int64_t lanes = m->example_lanes > 0 ? m->example_lanes : m->channels.lanes;
    bool alike = x->blocked_axis == y->blocked_axis && x->block == y->block;
    if (x->blocked_axis == NOT_BLOCKED || lanes != m->lowering->options->vector_length ||
        lanes == 1 || m->placed || !is_stored_plainly(m) || (map == NULL && !alike))
        return false;
    m->lane = integer(b, 0);
    if (m->example_lanes > 0)
        m->output[AXIS_BATCH] = blocked_index(b, m->block_of_examples, m->lane, lanes);
    m->output[AXIS_CHANNEL] = m->example_lanes > 0
                                  ? m->channels.block
                                  : blocked_index(b, m->channels.block, m->lane, lanes);
    Expr *best = vector_maxima(m, 0, 1);
    if (map)
        maximum_store_in_map(m, map, best);
    else
        tensor_store(m->lowering, m->node->y, m->output, best);
    return true;
}

/* ---- Rows of windows without lanes ---- */

/* Whether a vector can be made of the windows in a row, and stored as it is: windows that start at
 * every other element of a row, which C compilers make much more of, and no padding beside it. */
static bool goes_by_vectors(const Maximum *m) {
    const Window *window = m->window;
    const Node *node = m->node;
    int axis = maximum_last_axis(m);
    bool dense = node->x[0]->layout.blocked_axis == NOT_BLOCKED &&
                 node->y->layout.blocked_axis == NOT_BLOCKED;
    return m->lowering->options->vector_length > 1 && !m->placed && is_stored_plainly(m) && dense &&
           window->stride[axis] == 2 && !maximum_is_before_input(window, axis, 0) &&
           !maximum_is_behind_input(window, axis, window->kernel[axis] - 1);
}

/* `count` windows of the row from that at m->output on. */
static void emit_windows(Maximum *m, int64_t count) {
    Builder *b = m->lowering->builder;
    int axis = maximum_last_axis(m), length = m->lowering->options->vector_length;
    Expr *first = m->output[AXIS_SPACE + axis], *best = NULL;
    for (int64_t column = 0; column < m->window->kernel[axis]; column += 2) {
        Expr *pair[2];
        pair[0] = pair[1] = vector_maxima(m, column, m->window->kernel[axis]);
        if (2 * count > length) {
            m->output[AXIS_SPACE + axis] = plus(b, first, integer(b, length / 2));
            pair[1] = vector_maxima(m, column, m->window->kernel[axis]);
            m->output[AXIS_SPACE + axis] = first;
        }
        for (int odd = 0; odd < 2 && column + odd < m->window->kernel[axis]; odd++) {
            Expr *mixed = call(b, TYPE_VECTOR, odd ? "VECTOR_ODD" : "VECTOR_EVEN", 2, pair);
            mixed = declare(b, odd ? "odd" : "even", TYPE_VECTOR, mixed);
            if (best)
                take_larger(m, best, mixed);
            else
                best = mixed;
        }
    }
    if (count == length) {
        tensor_store(m->lowering, m->node->y, m->output, best);
        return;
    }
    Expr *arguments[] = {tensor_load(m->lowering, m->node->y, m->output), integer(b, count), best};
    arguments[0]->buffer->written = true;
    call_statement(b, call(b, TYPE_VECTOR, "VECTOR_STORE_PARTIAL", 3, arguments));
}

/* Whole vectors of windows; those that are left with windows before them that fill a vector. */
static void emit_row_of_windows(Maximum *m) {
    Builder *b = m->lowering->builder;
    int axis = maximum_last_axis(m), length = m->lowering->options->vector_length;
    int64_t extent = m->window->output[axis], whole = extent / length * length;
    Expr **at = &m->output[AXIS_SPACE + axis];
    if (whole > 0) {
        *at = open_range(b, LOOP_INDEPENDENT, pooling_letter(m->window, axis), integer(b, 0),
                         integer(b, whole), length);
        emit_windows(m, length);
        close_blocks(b, 1);
    }
    if (whole < extent) {
        *at = integer(b, whole > 0 ? extent - length : 0);
        emit_windows(m, whole > 0 ? length : extent);
    }
}

bool maximum_forward_by_rows(Lowering *lowering, const Node *node, bool placed) {
    Maximum m = {
        .lowering = lowering, .node = node, .window = &node->layer->window, .placed = placed};
    if (!goes_by_vectors(&m))
        return false;
    int opened = maximum_open_blocks(&m, lowering, node, false, false);
    opened += pooling_open_outputs(lowering, m.window, 0, maximum_last_axis(&m), m.output);
    m.output[AXIS_CHANNEL] = m.channels.block;
    emit_row_of_windows(&m);
    close_blocks(lowering->builder, opened);
    return true;
}

/* ---- Lanes of channels that become maps in C order ---- */

#define LARGEST_MAP 64 /* positions: what an array of the kernel's own may hold */

static int64_t count_positions(const Maximum *m) {
    int64_t positions = 1;
    for (int axis = 0; axis < m->window->rank; axis++)
        positions *= m->window->output[axis];
    return positions;
}

/* Whether there are two such tensors, of which an array holds one block of channels. */
static bool is_turned(const Maximum *m, const Tensor *lanes, const Tensor *map) {
    int64_t length = m->lowering->options->vector_length, positions = count_positions(m);
    return m->example_lanes == 0 && lanes->layout.blocked_axis == 0 &&
           map->layout.blocked_axis == NOT_BLOCKED && length > 1 && m->channels.lanes == length &&
           positions >= length && positions <= LARGEST_MAP;
}

static Buffer *declare_map(const Maximum *m) {
    int64_t extent = count_positions(m) * m->channels.lanes;
    return declare_array(m->lowering->builder, "map", TYPE_REAL, 1, &extent);
}

static Expr *place_in_map(const Maximum *m) {
    Builder *b = m->lowering->builder;
    Expr *place = integer(b, 0);
    for (int axis = 0; axis < m->window->rank; axis++)
        place = plus(b, times(b, place, integer(b, m->window->output[axis])),
                     m->output[AXIS_SPACE + axis]);
    return plus(b, times(b, place, integer(b, m->channels.lanes)), m->lane);
}

/* A vector of positions of each channel from the map to the tensor, or back. */
static void turn_positions(Maximum *m, Tensor *tensor, Buffer *map, Expr *first, bool back) {
    Builder *b = m->lowering->builder;
    Expr *element = tensor_load(m->lowering, tensor, m->output);
    VectorRows channels = {element->buffer, plus(b, element->argument[0], first),
                           count_positions(m)};
    VectorRows lanes = {map, times(b, first, integer(b, m->channels.lanes)), m->channels.lanes};
    lower_transpose(m->lowering, back ? &lanes : &channels, back ? &channels : &lanes);
}

/* As many positions at a time as a vector has lanes; the last ones with some before them. */
static void turn_all(Maximum *m, Tensor *tensor, Buffer *map, bool back) {
    Builder *b = m->lowering->builder;
    int64_t length = m->lowering->options->vector_length, positions = count_positions(m);
    int64_t whole = positions / length * length;
    m->output[AXIS_CHANNEL] = times(b, m->channels.block, integer(b, length));
    for (int axis = 0; axis < m->window->rank; axis++)
        m->output[AXIS_SPACE + axis] = integer(b, 0);
    if (whole == length) {
        turn_positions(m, tensor, map, integer(b, 0), back);
    } else {
        Expr *first =
            open_range(b, LOOP_INDEPENDENT, "position", integer(b, 0), integer(b, whole), length);
        turn_positions(m, tensor, map, first, back);
        close_blocks(b, 1);
    }
    if (whole < positions)
        turn_positions(m, tensor, map, integer(b, positions - length), back);
}

Buffer *maximum_declare_map(const Maximum *m) {
    if (!is_turned(m, m->node->x[0], m->node->y) || !is_stored_plainly(m))
        return NULL;
    return declare_map(m);
}

void maximum_store_in_map(const Maximum *m, Buffer *map, Expr *value) {
    Expr *place = place_in_map(m);
    store_at(m->lowering->builder, map, 1, &place, value, false);
}

void maximum_turn_map(Maximum *m, Buffer *map) {
    if (map)
        turn_all(m, m->node->y, map, false);
}

Buffer *maximum_map_of(Maximum *m, Tensor *tensor) {
    if (!is_turned(m, m->node->dx, tensor))
        return NULL;
    Buffer *map = declare_map(m);
    turn_all(m, tensor, map, true);
    return map;
}

Expr *maximum_load_of_map(const Maximum *m, Buffer *map) {
    Expr *place = place_in_map(m);
    return load_at(m->lowering->builder, map, 1, &place);
}
