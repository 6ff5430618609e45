#include "winograd_emission.h"
#include "winograd_rows.h"

/* Arrays in memory, a vector being a number of V examples:
 *
 *   inputs   [block of examples][point][input channel][row][tile][V]
 *   factors  [point][input channel][tap along the other axis][output channel]
 *   products [block of examples][output channel][row of a part][tile][point][V]
 *
 * with one block of examples in all where one thread takes them in turn. x is the input and y the
 * output, or dy and dx. The data gradient is the transpose of the forward pass: elements of dy go
 * to the points by the transpose of A^T, and those of dx come back by that of B^T, each the sum of
 * the tiles that reach it; so it has as many products, and no padding. */
typedef struct MapPlan {
    Lowering *lowering;
    Builder *b;
    const Node *node;
    Tensor *from, *to;
    bool turned;         /* the data gradient */
    int length;          /* reals in a vector */
    int64_t taps[2];     /* of a filter along both axes */
    int64_t pad;         /* rows that the first row of the result reads before the input */
    RowsTiles tiles;     /* of a row */
    int64_t first[2];    /* column of the first tile in the input, and in the result */
    int outputs, places; /* of a register tile: output channels and tiles */
    int64_t rows;        /* of the result, in a part: multiplied at one point after the other */
    bool in_turn;        /* blocks of examples */
    RationalMatrix cut, filter, put;
    Buffer *inputs, *factors, *products;
} MapPlan;

/* ---- What it is used for ---- */

/* That stay in a first-level cache of 32 KB beside sums, factors and what is being stored. */
#define NEAR_BYTES (26 << 10)

/* The register tile with the fewest loads for each multiply-add. */
static bool choose_register_tile(void *plan, const RowsTiles *cut) {
    MapPlan *p = plan;
    int64_t registers = p->lowering->options->registers, channels = p->to->extent[0];
    double best = 1;
    for (int64_t outputs = 1; outputs <= channels; outputs++)
        for (int64_t places = 1; places <= cut->count; places++) {
            double loads = (double)(outputs + places) / (double)(outputs * places);
            if (channels % outputs != 0 || cut->count % places != 0 || loads >= best ||
                outputs * places < ROWS_LEAST_SUMS || outputs * places + places + 1 > registers)
                continue;
            best = loads;
            p->outputs = (int)outputs;
            p->places = (int)places;
        }
    return best < 1;
}

static double vector_bytes(const MapPlan *p, int64_t vectors) {
    return (double)vectors * p->length * sizeof(float);
}

/* Bytes that a block of examples reads and writes beyond the first-level cache in parts of so many
 * rows: all points of a row's taps come again for the next row, those of one point stay. */
static double bytes_moved(const MapPlan *p, int64_t rows) {
    int64_t row = p->from->extent[0] * p->tiles.count, height = p->to->extent[1];
    double made = vector_bytes(p, p->to->extent[0] * rows * p->tiles.count * p->tiles.points);
    bool stays = vector_bytes(p, row * p->taps[0]) <= NEAR_BYTES;
    double inputs = vector_bytes(p, row * p->tiles.points);
    inputs *= stays ? (double)(rows + p->taps[0] - 1) : (double)(rows * p->taps[0]);
    return (double)(height / rows) * (inputs + (made <= NEAR_BYTES ? 0 : 2 * made));
}

static int64_t choose_rows(const MapPlan *p) {
    int64_t best = 1;
    for (int64_t rows = 2; rows <= p->to->extent[1]; rows++)
        if (p->to->extent[1] % rows == 0 && bytes_moved(p, rows) < bytes_moved(p, best))
            best = rows;
    return best;
}

static RationalMatrix transposed(const RationalMatrix *matrix) {
    RationalMatrix result = {.rows = matrix->columns, .columns = matrix->rows};
    for (int row = 0; row < matrix->rows; row++)
        for (int column = 0; column < matrix->columns; column++)
            result.at[column][row] = matrix->at[row][column];
    return result;
}

static void choose_matrices(MapPlan *p) {
    WinogradMatrices matrices =
        winograd_matrices(p->tiles.step, (int)p->taps[1], WINOGRAD_SCALE_FILTER);
    p->filter = matrices.filter;
    p->cut = p->turned ? transposed(&matrices.output) : matrices.input;
    p->put = p->turned ? transposed(&matrices.input) : matrices.output;
}

/* Tiles are those of the output or of dy. */
static bool choose_tiles(MapPlan *p) {
    const Tensor *tiled = p->turned ? p->from : p->to;
    double rows = (double)(tiled->extent[1] * p->taps[0]);
    int64_t transformed =
        p->from->extent[0] * p->from->extent[1] + p->to->extent[0] * p->to->extent[1];
    RowsWork work = {.width = tiled->extent[2],
                     .taps = p->taps[1],
                     .products = (double)(p->from->extent[0] * p->to->extent[0]) * rows,
                     .transformed = (double)transformed,
                     .fits = choose_register_tile,
                     .plan = p};
    return winograd_rows_choose(p->lowering, &work, &p->tiles) &&
           choose_register_tile(p, &p->tiles);
}

static bool make_plan(MapPlan *p) {
    const LowerOptions *options = p->lowering->options;
    const Window *window = &p->node->layer->window;
    int threads = lower_threads(options);
    p->length = options->vector_length;
    p->in_turn = threads == 1;
    /* Threads share blocks of examples, direct kernels rows as well. */
    bool shares = p->in_turn || options->max_batch / p->length >= threads;
    if (!shares || !winograd_rows_form(p->lowering, p->node, p->from, p->to) || p->node->moments ||
        lower_window_node(p->lowering))
        return false;
    for (int axis = 0; axis < 2; axis++)
        p->taps[axis] = window->kernel[axis];
    if (!choose_tiles(p))
        return false;
    p->pad = p->turned ? p->taps[0] - 1 - window->pad_begin[0] : window->pad_begin[0];
    p->first[p->turned] = -window->pad_begin[1];
    p->rows = choose_rows(p);
    return true;
}

/* ---- Filters ---- */

static int64_t factors_size(const MapPlan *p) {
    return p->tiles.points * p->from->extent[0] * p->taps[0] * p->to->extent[0];
}

/* Rows are turned around for the data gradient. */
static void transform_filters(const MapPlan *p) {
    Builder *b = p->b;
    Expr *index[4], *x[WINOGRAD_MAX], *y[WINOGRAD_MAX];
    int64_t inputs = p->from->extent[0], outputs = p->to->extent[0];
    Expr *input = open_loop(b, LOOP_INDEPENDENT, p->turned ? "oc" : "ic", inputs);
    Expr *tap = open_loop(b, LOOP_INDEPENDENT, "kh", p->taps[0]);
    Expr *output = open_loop(b, LOOP_INDEPENDENT, p->turned ? "ic" : "oc", outputs);
    index[0] = p->turned ? input : output;
    index[1] = p->turned ? output : input;
    index[2] = p->turned ? minus(b, integer(b, p->taps[0] - 1), tap) : tap;
    for (int i = 0; i < p->taps[1]; i++) {
        index[3] = integer(b, i);
        Expr *weight = tensor_load(p->lowering, p->node->parameters[0], index);
        x[i] = declare(b, "x", TYPE_REAL, weight);
    }
    winograd_emit_linear(b, &p->filter, x, y);
    Expr *place = plus(b, scaled(b, input, p->taps[0]), tap);
    place = plus(b, scaled(b, place, outputs), output);
    for (int point = 0; point < p->tiles.points; point++) {
        Expr *at = plus(b, place, integer(b, point * (factors_size(p) / p->tiles.points)));
        store_at(b, p->factors, 1, &at, y[point], false);
    }
    close_blocks(b, 3);
}

/* ---- Inputs ---- */

/* The number of a block among those that scratch has. */
static Expr *scratch_block(const MapPlan *p, Expr *block) {
    return p->in_turn ? integer(p->b, 0) : block;
}

static RowsCut inputs_cut(const MapPlan *p) {
    return (RowsCut){.lowering = p->lowering,
                     .tensor = p->from,
                     .matrix = &p->cut,
                     .tiles = p->tiles,
                     .first = p->first[0],
                     .rows = p->from->extent[1],
                     .to = p->inputs};
}

static int64_t point_stride(const MapPlan *p) {
    RowsCut cut = inputs_cut(p);
    return winograd_rows_stride(&cut);
}

/* ---- Products ---- */

/* A register tile: where it reads, and the first of its output channels and tiles. */
typedef struct MapTile {
    Expr *block, *row, *point, *output, *place;
} MapTile;

/* sum[output][place] += factor * input for one input channel and tap. */
static void add_products(const MapPlan *p, Buffer *sum, Buffer *inputs, Buffer *factors,
                         Expr *tap) {
    Builder *b = p->b;
    int64_t places = p->places;
    Buffer *held = declare_array(b, "held", TYPE_VECTOR, 1, &places);
    int opened = 0;
    Expr *t = open_unrolled(b, "t", places, &opened);
    Expr *at = plus(b, scaled(b, tap, p->tiles.count * p->length), scaled(b, t, p->length));
    store_at(b, held, 1, &t, winograd_load_vector(b, inputs, 1, &at), false);
    Expr *value = load_at(b, held, 1, &t);
    call_statement(b, call(b, TYPE_VECTOR, "VECTOR_HOLD", 1, &value));
    close_blocks(b, opened);
    opened = 0;
    Expr *u = open_unrolled(b, "u", p->outputs, &opened);
    at = plus(b, scaled(b, tap, p->to->extent[0]), u);
    Expr *factor = load_at(b, factors, 1, &at);
    factor = declare(b, "factor", TYPE_VECTOR, call(b, TYPE_VECTOR, "VECTOR_SET", 1, &factor));
    t = open_unrolled(b, "t", places, &opened);
    Expr *place[2] = {u, t};
    store_at(b, sum, 2, place, times(b, factor, load_at(b, held, 1, &t)), true);
    close_blocks(b, opened);
}

/* The taps whose rows the input has. */
static Expr *open_taps(const MapPlan *p, Expr *row) {
    Builder *b = p->b;
    int64_t rows = p->from->extent[1];
    Expr *begin = integer(b, 0), *end = integer(b, p->taps[0]);
    if (p->pad > 0)
        begin = maximum(b, begin, minus(b, integer(b, p->pad), row));
    if (p->to->extent[1] + p->taps[0] - 1 - p->pad > rows)
        end = minimum(b, end, minus(b, integer(b, rows + p->pad), row));
    Expr *tap = open_range(b, LOOP_SERIAL, "kh", begin, end, 1);
    expect_trips(b, (double)p->taps[0], false);
    b->open_stmt[b->depth - 1]->rolled = true;
    return tap;
}

static void add_terms(const MapPlan *p, Buffer *sum, const MapTile *tile) {
    Builder *b = p->b;
    int64_t row = p->tiles.count * p->length, rows = p->from->extent[1];
    Expr *channel = open_loop(b, LOOP_SERIAL, "c", p->from->extent[0]);
    Expr *from = plus(b, scaled(b, tile->block, p->tiles.points), tile->point);
    Expr *first = plus(b, scaled(b, channel, rows), minus(b, tile->row, integer(b, p->pad)));
    first = plus(b, scaled(b, first, row), scaled(b, tile->place, p->length));
    Buffer *inputs = declare_pointer(b, "inputs_at", p->inputs,
                                     plus(b, scaled(b, from, point_stride(p)), first));
    Expr *factor = plus(b, scaled(b, tile->point, p->from->extent[0]), channel);
    factor = plus(b, scaled(b, factor, p->taps[0] * p->to->extent[0]), tile->output);
    Buffer *factors = declare_pointer(b, "factors_at", p->factors, factor);
    add_products(p, sum, inputs, factors, open_taps(p, tile->row));
    close_blocks(b, 2);
}

/* The offset of a row's products: [tile][point][V]. */
static Expr *products_offset(const MapPlan *p, Expr *block, Expr *output, Expr *row) {
    Builder *b = p->b;
    Expr *offset = plus(b, scaled(b, block, p->to->extent[0]), output);
    offset = plus(b, scaled(b, offset, p->rows), row);
    return scaled(b, offset, p->tiles.count * p->tiles.points * p->length);
}

/* The sums to their place among the products, a row of the part; without one, zeros to the sums. */
static void each_sum(const MapPlan *p, Buffer *sum, const MapTile *tile, Expr *to_row) {
    Builder *b = p->b;
    int opened = 0;
    Expr *place[2];
    place[0] = open_unrolled(b, "u", p->outputs, &opened);
    place[1] = open_unrolled(b, "t", p->places, &opened);
    if (to_row) {
        Expr *at = products_offset(p, tile->block, plus(b, tile->output, place[0]), to_row);
        Expr *in_row = scaled(b, plus(b, tile->place, place[1]), p->tiles.points);
        in_row = plus(b, in_row, tile->point);
        at = plus(b, at, scaled(b, in_row, p->length));
        store_at(b, p->products, 1, &at, load_at(b, sum, 2, place), false);
    } else {
        store_at(b, sum, 2, place, call(b, TYPE_VECTOR, "VECTOR_ZERO", 0, NULL), false);
    }
    close_blocks(b, opened);
}

static Expr *open_parts(const MapPlan *p, const char *letter, int64_t extent, int64_t part,
                        int *opened) {
    Builder *b = p->b;
    if (extent == part)
        return integer(b, 0);
    ++*opened;
    return open_range(b, LOOP_SERIAL, letter, integer(b, 0), integer(b, extent), part);
}

/* The products of a part, from its first row on. */
static void multiply(const MapPlan *p, Expr *block, Expr *first) {
    Builder *b = p->b;
    int64_t extent[2] = {p->outputs, p->places};
    int opened = 1;
    MapTile tile = {.block = block};
    tile.point = open_loop(b, LOOP_SERIAL, "point", p->tiles.points);
    tile.output = open_parts(p, p->turned ? "ic" : "oc", p->to->extent[0], p->outputs, &opened);
    Expr *row = open_unless_single(b, LOOP_SERIAL, "h", p->rows, &opened);
    tile.row = plus(b, first, row);
    tile.place = open_parts(p, "tile", p->tiles.count, p->places, &opened);
    Buffer *sum = declare_array(b, "sum", TYPE_VECTOR, 2, extent);
    each_sum(p, sum, &tile, NULL);
    add_terms(p, sum, &tile);
    each_sum(p, sum, &tile, row);
    close_blocks(b, opened);
}

/* ---- Results ---- */

static int64_t row_width(const MapPlan *p) {
    return (p->tiles.count - 1) * p->tiles.step + p->put.rows;
}

/* A row of one output channel from its products: the tiles side by side, or one over the other. */
static void put_row(const MapPlan *p, Expr *from, Buffer *result) {
    Builder *b = p->b;
    Expr *x[WINOGRAD_MAX], *y[WINOGRAD_MAX], *place[2] = {NULL, integer(b, 0)};
    if (p->turned) {
        place[0] = open_loop(b, LOOP_SERIAL, "w", row_width(p));
        store_at(b, result, 2, place, call(b, TYPE_VECTOR, "VECTOR_ZERO", 0, NULL), false);
        close_blocks(b, 1);
    }
    Expr *tile = open_loop(b, LOOP_SERIAL, "tile", p->tiles.count);
    expect_trips(b, (double)(p->tiles.count * p->length), false);
    for (int point = 0; point < p->tiles.points; point++) {
        Expr *at = plus(b, scaled(b, tile, p->tiles.points), integer(b, point));
        at = plus(b, from, scaled(b, at, p->length));
        x[point] = declare(b, "x", TYPE_VECTOR, winograd_load_vector(b, p->products, 1, &at));
    }
    winograd_emit_linear(b, &p->put, x, y);
    for (int i = 0; i < p->put.rows; i++) {
        place[0] = plus(b, scaled(b, tile, p->tiles.step), integer(b, i));
        Expr *value = y[i];
        if (p->turned)
            value = plus(b, winograd_load_vector(b, result, 2, place), value);
        store_at(b, result, 2, place, value, false);
    }
    close_blocks(b, 1);
}

static void hand_over(const MapPlan *p, Buffer *result, Expr *const *place) {
    Builder *b = p->b;
    Expr *index[MAX_AXES];
    Tensor *bias = p->turned ? NULL : p->node->parameters[1];
    Expr *column = open_loop(b, LOOP_SERIAL, "w", p->to->extent[2]);
    Expr *lane = open_loop(b, LOOP_INDEPENDENT, "lane", p->length);
    index[AXIS_BATCH] = blocked_index(b, place[0], lane, p->length);
    index[AXIS_CHANNEL] = place[1];
    index[AXIS_SPACE] = place[2];
    index[AXIS_SPACE + 1] = column;
    Expr *at[2] = {plus(b, column, integer(b, -p->first[1])), lane};
    Expr *value = load_at(b, result, 2, at);
    if (bias)
        value = plus(b, value, tensor_load(p->lowering, bias, &place[1]));
    lower_result(p->lowering, p->node, index, value);
    close_blocks(b, 2);
}

static void make_rows(const MapPlan *p, Expr *block) {
    Builder *b = p->b;
    int64_t extent[2] = {row_width(p), p->length};
    int opened = 1;
    Expr *first = integer(b, 0), *from = scratch_block(p, block);
    if (p->rows < p->to->extent[1]) {
        first = open_range(b, LOOP_SERIAL, "part", integer(b, 0), integer(b, p->to->extent[1]),
                           p->rows);
        opened++;
    }
    multiply(p, from, first);
    Expr *output = open_loop(b, LOOP_SERIAL, p->turned ? "ic" : "oc", p->to->extent[0]);
    Expr *row = open_unless_single(b, LOOP_SERIAL, "h", p->rows, &opened);
    Buffer *result = declare_array(b, "result", TYPE_REAL, 2, extent);
    Expr *offset = products_offset(p, from, output, row);
    put_row(p, declare(b, "from", TYPE_INDEX, offset), result);
    Expr *place[3] = {block, output, plus(b, first, row)};
    hand_over(p, result, place);
    close_blocks(b, opened);
}

bool winograd_rows_map(Lowering *lowering, const Node *node, bool data_gradient) {
    MapPlan p = {.lowering = lowering,
                 .b = lowering->builder,
                 .node = node,
                 .from = data_gradient ? node->dy : node->x[0],
                 .to = data_gradient ? node->dx : node->y,
                 .turned = data_gradient};
    if (!make_plan(&p))
        return false;
    choose_matrices(&p);
    int64_t block = p.in_turn ? p.length : 1;
    p.factors = lower_scratch(lowering, "factors", false, factors_size(&p));
    p.inputs = lower_scratch(lowering, "inputs", !p.in_turn,
                             block * p.tiles.points * point_stride(&p) / p.length);
    p.products = lower_scratch(lowering, "products", !p.in_turn,
                               block * p.to->extent[0] * p.rows * p.tiles.count * p.tiles.points);
    comment(p.b, "Winograd F(%d, %d) along rows: transform filters and tiles,", p.tiles.step,
            (int)p.taps[1]);
    transform_filters(&p);
    comment(p.b, "then multiply and transform back.");
    Expr *n = open_examples(lowering, p.in_turn ? LOOP_SERIAL : LOOP_INDEPENDENT, p.to);
    RowsCut cut = inputs_cut(&p);
    winograd_rows_cut(&cut, LOOP_SERIAL, n, scratch_block(&p, n));
    make_rows(&p, n);
    close_blocks(p.b, 1);
    return true;
}
