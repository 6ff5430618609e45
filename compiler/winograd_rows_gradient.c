#include "winograd_emission.h"
#include "winograd_rows.h"

/* Arrays in memory, a vector being a number of V examples:
 *
 *   inputs  [block of examples][point][x channel][row][tile][V]
 *   taps    [block of examples][point][filter][row][tile][V]
 *   sums    [slot][point][filter][x channel][tap along the other axis][V]
 *
 * Threads that share blocks of examples, or slots of them, read what they have made. */
typedef struct RowsPlan {
    Lowering *lowering;
    Builder *b;
    const Node *node;
    Tensor *x, *dy;
    int length;           /* reals in a vector */
    RowsTiles tiles;      /* of dy; windows of x have its points */
    int64_t taps[2];      /* of a filter along both axes */
    int64_t rows;         /* of x that windows read */
    int64_t pad[2];       /* before x */
    int64_t input_stride; /* reals from one point to the next */
    int64_t tap_stride;
    int filters; /* of a register tile */
    int slots;
    WinogradMatrices matrices;
    Buffer *inputs, *tiles_of_dy, *sums;
} RowsPlan;

/* ---- What it is used for ---- */

/* The halo has all rows that windows read. */
static bool has_rows(const RowsPlan *p) {
    const Layout *layout = &p->x->layout;
    int64_t end = p->dy->extent[1] + p->taps[0] - 1 - p->pad[0];
    return p->pad[0] <= layout->before[1] && end <= p->x->extent[1] + layout->after[1];
}

/* The filters of a register tile: as many as there are registers for, all tiles being equal. */
static int choose_filters(const RowsPlan *p) {
    int64_t registers = p->lowering->options->registers, filters = p->dy->extent[0];
    while (filters > 1 &&
           (p->dy->extent[0] % filters != 0 || filters * p->taps[0] + p->taps[0] + 1 > registers))
        filters--;
    return filters * p->taps[0] >= ROWS_LEAST_SUMS ? (int)filters : 0;
}

static int64_t sums_size(const RowsPlan *p) {
    const Tensor *weight = p->node->parameter_gradients[0];
    return p->tiles.points * weight->extent[0] * weight->extent[1] * p->taps[0] * p->length;
}

/* As many as there is room for and divide the blocks of examples. */
static int choose_slots(const RowsPlan *p) {
    const LowerOptions *options = p->lowering->options;
    int64_t blocks = options->max_batch / p->length, slots = lower_slots(options);
    double bytes = (double)sums_size(p) * sizeof(float);
    while (slots > 1 && (blocks % slots != 0 || bytes * (double)slots > SLOT_BYTES))
        slots--;
    return (int)slots;
}

static RowsWork work(const RowsPlan *p) {
    double rows = (double)(p->dy->extent[1] * p->taps[0]);
    return (RowsWork){
        .width = p->dy->extent[2],
        .taps = p->taps[1],
        .products = (double)(p->dy->extent[0] * p->x->extent[0]) * rows,
        .transformed = (double)(p->x->extent[0] * p->rows + p->dy->extent[0] * p->dy->extent[1])};
}

static bool make_plan(RowsPlan *p) {
    const Window *window = &p->node->layer->window;
    p->length = p->lowering->options->vector_length;
    if (!winograd_rows_form(p->lowering, p->node, p->x, p->dy))
        return false;
    for (int axis = 0; axis < 2; axis++) {
        p->taps[axis] = window->kernel[axis];
        p->pad[axis] = window->pad_begin[axis];
    }
    p->rows = p->dy->extent[1] + p->taps[0] - 1;
    p->filters = choose_filters(p);
    RowsWork all = work(p);
    if (!has_rows(p) || p->filters == 0 || !winograd_rows_choose(p->lowering, &all, &p->tiles))
        return false;
    p->slots = choose_slots(p);
    return true;
}

/* ---- Transforms ---- */

static RowsCut inputs_cut(const RowsPlan *p) {
    return (RowsCut){.lowering = p->lowering,
                     .tensor = p->x,
                     .matrix = &p->matrices.input,
                     .tiles = p->tiles,
                     .first = -p->pad[1],
                     .rows = p->rows,
                     .pad = p->pad[0],
                     .to = p->inputs};
}

static RowsCut taps_cut(const RowsPlan *p) {
    return (RowsCut){.lowering = p->lowering,
                     .tensor = p->dy,
                     .matrix = &p->matrices.filter,
                     .tiles = p->tiles,
                     .rows = p->dy->extent[1],
                     .to = p->tiles_of_dy};
}

static void cut_rows(const RowsPlan *p, const RowsCut *cut) {
    Expr *block = open_examples(p->lowering, LOOP_INDEPENDENT, p->dy);
    winograd_rows_cut(cut, LOOP_INDEPENDENT, block, block);
    close_blocks(p->b, 1);
}

/* ---- Products ---- */

/* sum[filter][tap] += taps * inputs for one tile; its number counts through the rows, which lie
 * side by side in both. */
static void add_products(const RowsPlan *p, Buffer *sum, Buffer *inputs, Buffer *taps, Expr *tile) {
    Builder *b = p->b;
    Expr *first = scaled(b, tile, p->length);
    Buffer *held = declare_array(b, "held", TYPE_VECTOR, 1, &p->taps[0]);
    int opened = 0;
    Expr *t = open_unrolled(b, "t", p->taps[0], &opened);
    Expr *at = plus(b, scaled(b, t, p->tiles.count * p->length), first);
    store_at(b, held, 1, &t, winograd_load_vector(b, inputs, 1, &at), false);
    Expr *value = load_at(b, held, 1, &t);
    call_statement(b, call(b, TYPE_VECTOR, "VECTOR_HOLD", 1, &value));
    close_blocks(b, opened);
    opened = 0;
    Expr *u = open_unrolled(b, "u", p->filters, &opened);
    at = plus(b, scaled(b, u, p->dy->extent[1] * p->tiles.count * p->length), first);
    Expr *row = declare(b, "row", TYPE_VECTOR, winograd_load_vector(b, taps, 1, &at));
    t = open_unrolled(b, "t", p->taps[0], &opened);
    Expr *place[2] = {u, t};
    store_at(b, sum, 2, place, times(b, row, load_at(b, held, 1, &t)), true);
    close_blocks(b, opened);
}

/* The sums of a register tile to memory; without a place there, zeros to the sums. */
static void each_sum(const RowsPlan *p, Buffer *sum, Expr *to) {
    Builder *b = p->b;
    int opened = 0;
    Expr *place[2];
    place[0] = open_unrolled(b, "u", p->filters, &opened);
    place[1] = open_unrolled(b, "t", p->taps[0], &opened);
    if (to) {
        Expr *at = plus(b, scaled(b, place[0], p->x->extent[0] * p->taps[0]), place[1]);
        at = plus(b, to, scaled(b, at, p->length));
        store_at(b, p->sums, 1, &at, load_at(b, sum, 2, place), false);
    } else {
        store_at(b, sum, 2, place, call(b, TYPE_VECTOR, "VECTOR_ZERO", 0, NULL), false);
    }
    close_blocks(b, opened);
}

/* All terms of a register tile that a block of examples has. */
static void add_block(const RowsPlan *p, Buffer *sum, Expr *from, Expr *channel, Expr *filter) {
    Builder *b = p->b;
    int64_t row = p->tiles.count * p->length, rows = p->dy->extent[1];
    Expr *input = plus(b, scaled(b, from, p->input_stride), scaled(b, channel, p->rows * row));
    Expr *tap = plus(b, scaled(b, from, p->tap_stride), scaled(b, filter, rows * row));
    Buffer *inputs = declare_pointer(b, "inputs_at", p->inputs, input);
    Buffer *taps = declare_pointer(b, "taps_at", p->tiles_of_dy, tap);
    Expr *tile = open_loop(b, LOOP_SERIAL, "tile", rows * p->tiles.count);
    b->open_stmt[b->depth - 1]->rolled = true;
    add_products(p, sum, inputs, taps, tile);
    close_blocks(b, 1);
}

static void multiply(const RowsPlan *p) {
    Builder *b = p->b;
    int64_t channels = p->x->extent[0], filters = p->dy->extent[0];
    int64_t extent[2] = {p->filters, p->taps[0]};
    int opened = 1;
    Expr *blocks = declare(b, "blocks", TYPE_INDEX, example_blocks(b, p->length));
    Expr *slot = open_unless_single(b, LOOP_INDEPENDENT, "slot", p->slots, &opened);
    Expr *point = open_loop(b, LOOP_INDEPENDENT, "point", p->tiles.points);
    Expr *filter = integer(b, 0);
    if (p->filters < filters) {
        filter =
            open_range(b, LOOP_INDEPENDENT, "oc", integer(b, 0), integer(b, filters), p->filters);
        opened++;
    }
    Expr *channel = open_loop(b, LOOP_INDEPENDENT, "ic", channels);
    Buffer *sum = declare_array(b, "sum", TYPE_VECTOR, 2, extent);
    each_sum(p, sum, NULL);
    Expr *begin = over(b, times(b, slot, blocks), integer(b, p->slots));
    Expr *next = plus(b, slot, integer(b, 1));
    Expr *end = over(b, times(b, next, blocks), integer(b, p->slots));
    Expr *block = open_range(b, LOOP_SERIAL, "nb", begin, end, 1);
    expect_trips(b, 1.0 / (p->slots * p->length), true);
    Expr *from = declare(b, "from", TYPE_INDEX, plus(b, scaled(b, block, p->tiles.points), point));
    add_block(p, sum, from, channel, filter);
    close_blocks(b, 1);
    Expr *to = plus(b, scaled(b, slot, p->tiles.points), point);
    to = plus(b, scaled(b, to, filters), filter);
    to = scaled(b, plus(b, scaled(b, to, channels), channel), p->taps[0] * p->length);
    each_sum(p, sum, to);
    close_blocks(b, opened + 1);
}

/* ---- The gradient ---- */

/* The sum of all slots at an offset in that of the first. */
static Expr *slots_total(const RowsPlan *p, Expr *offset) {
    Builder *b = p->b;
    Expr *total = declare(b, "x", TYPE_VECTOR, winograd_load_vector(b, p->sums, 1, &offset));
    if (p->slots == 1)
        return total;
    Expr *slot = open_range(b, LOOP_SERIAL, "slot", integer(b, 1), integer(b, p->slots), 1);
    Expr *at = plus(b, offset, scaled(b, slot, sums_size(p)));
    local_add(b, total, winograd_load_vector(b, p->sums, 1, &at));
    close_blocks(b, 1);
    return total;
}

static void transform_back(const RowsPlan *p) {
    Builder *b = p->b;
    Tensor *gradient = p->node->parameter_gradients[0];
    Expr *index[4], *x[WINOGRAD_MAX], *y[WINOGRAD_MAX];
    index[0] = open_loop(b, LOOP_INDEPENDENT, "oc", gradient->extent[0]);
    index[1] = open_loop(b, LOOP_INDEPENDENT, "ic", gradient->extent[1]);
    index[2] = open_loop(b, LOOP_INDEPENDENT, "kh", p->taps[0]);
    Expr *first = plus(b, scaled(b, index[0], gradient->extent[1]), index[1]);
    first = scaled(b, plus(b, scaled(b, first, p->taps[0]), index[2]), p->length);
    for (int point = 0; point < p->tiles.points; point++)
        x[point] =
            slots_total(p, plus(b, first, integer(b, point * (sums_size(p) / p->tiles.points))));
    winograd_emit_linear(b, &p->matrices.output, x, y);
    for (int tap = 0; tap < p->taps[1]; tap++) {
        Expr *lanes = declare(b, "lanes", TYPE_VECTOR, y[tap]);
        index[3] = integer(b, tap);
        tensor_store(p->lowering, gradient, index, lower_lane_sum(p->lowering, lanes));
    }
    close_blocks(b, 3);
}

bool winograd_rows_weight_gradient(Lowering *lowering, const Node *node) {
    RowsPlan p = {.lowering = lowering,
                  .b = lowering->builder,
                  .node = node,
                  .x = node->x[0],
                  .dy = node->dy};
    if (!make_plan(&p))
        return false;
    p.matrices = winograd_matrices((int)p.taps[1], p.tiles.step, WINOGRAD_SCALE_OUTPUT);
    RowsCut x = inputs_cut(&p), dy = taps_cut(&p);
    p.input_stride = winograd_rows_stride(&x);
    p.tap_stride = winograd_rows_stride(&dy);
    x.to = p.inputs =
        lower_scratch(lowering, "inputs", true, p.tiles.points * p.input_stride / p.length);
    dy.to = p.tiles_of_dy =
        lower_scratch(lowering, "taps", true, p.tiles.points * p.tap_stride / p.length);
    p.sums = lower_scratch(lowering, "sums", false, p.slots * sums_size(&p));
    comment(p.b, "Winograd F(%d, %d) along rows: transform tiles of x and of dy, multiply,",
            (int)p.taps[1], p.tiles.step);
    cut_rows(&p, &x);
    cut_rows(&p, &dy);
    multiply(&p);
    comment(p.b, "and transform the sums back.");
    transform_back(&p);
    return true;
}
