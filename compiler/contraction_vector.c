/* The loops of a tiled contraction: copies of the operands where the tile asks for another layout,
 * outer loops, blocks of the tile with their remainders, the tile itself and the epilogue. */
#include "contraction.h"

#include <assert.h>

/* Longest chain of additions to one accumulator: longer sums go through the tile's memory, which
 * keeps the rounding error of long sums small (pairwise in spirit: Higham 1993). */
#define LONGEST_CHAIN 8192
#define SHORTEST_CHAIN 256 /* below, going through memory would cost too much */

typedef struct Emission {
    ContractionPlan *plan;
    Builder *b;
    int length;                       /* reals in a vector */
    Expr *dims[MAX_CONTRACTION_DIMS]; /* index of every dimension at this point */
    int outer_count, outer[MAX_CONTRACTION_DIMS];
    int first_inner;          /* reduced dims from here on run inside the tile */
    int rows, columns, lanes; /* of the block being emitted; BROADCAST: lanes of vector_dim */
} Emission;

/* ---- Operands ---- */

/* offset with equal coefficients gathered, largest first: n*3072 + (oh + kh)*32 + ow. */
static Expr *side_offset(const Emission *e, const Side *side) {
    Builder *b = e->b;
    int count = e->plan->contraction->dim_count;
    Expr *offset = integer(b, 0);
    int64_t previous = INT64_MAX;
    for (;;) {
        int64_t coefficient = 0;
        for (int d = 0; d < count; d++)
            if (side->coefficient[d] < previous && side->coefficient[d] > coefficient)
                coefficient = side->coefficient[d];
        if (coefficient == 0)
            break;
        Expr *sum = integer(b, 0);
        for (int d = 0; d < count; d++)
            if (side->coefficient[d] == coefficient)
                sum = plus(b, sum, e->dims[d]);
        offset = plus(b, offset, times(b, sum, integer(b, coefficient)));
        previous = coefficient;
    }
    for (int d = 0; d < count; d++)
        if (side->coefficient[d] < 0)
            offset = minus(b, offset, times(b, e->dims[d], integer(b, -side->coefficient[d])));
    return plus(b, offset, integer(b, side->base));
}

static void fill_padded(Emission *e, Side *side, const AxisLayout *axes, int count) {
    Builder *b = e->b;
    Tensor *tensor = side->operand->tensor;
    int batched = tensor->per_example;
    const char *const *letters = axis_letters(tensor->rank);
    Expr *offset = integer(b, 0);
    for (int axis = 0; axis < count; axis++) {
        Expr *i = axis < batched
                      ? open_batch(b, LOOP_INDEPENDENT)
                      : open_loop(b, LOOP_INDEPENDENT, letters[axis - batched], axes[axis].extent);
        offset = plus(b, times(b, offset, integer(b, axes[axis].extent)), i);
    }
    store_at(b, side->buffer, 1, &offset, number(b, 0), false);
    close_blocks(b, count);

    Expr *index[MAX_AXES];
    offset = integer(b, 0);
    for (int axis = 0; axis < count; axis++) {
        const AxisLayout *a = &axes[axis];
        index[axis] = axis < batched ? open_batch(b, LOOP_INDEPENDENT)
                                     : open_range(b, LOOP_INDEPENDENT, letters[axis - batched],
                                                  integer(b, a->first), integer(b, a->end), 1);
        Expr *place = minus(b, times(b, index[axis], integer(b, a->divisor)), integer(b, a->shift));
        offset = plus(b, times(b, offset, integer(b, a->extent)), place);
    }
    Expr *value = tensor_load(e->plan->lowering, tensor, index);
    store_at(b, side->buffer, 1, &offset, value, false);
    close_blocks(b, count);
}

/* A copy of the operand with zeros where the contraction reads padding or between the elements of a
 * strided gradient, and rows of `row_extent` (0: as needed). Afterwards no index needs a test. */
static void make_padded(Emission *e, Side *side, int64_t row_extent) {
    ContractionPlan *plan = e->plan;
    int count = operand_axis_count(side->operand);
    bool batched = side->operand->tensor->per_example;
    AxisLayout axes[MAX_AXES];
    contraction_layout(plan, side->operand, true, row_extent, axes);
    int64_t elements = 1;
    for (int axis = batched; axis < count; axis++)
        elements *= axes[axis].extent;
    side->buffer = lower_scratch(plan->lowering, "padded", batched, elements);
    fill_padded(e, side, axes, count);
    contraction_place(plan, side, axes);
    side->guarded = false;
}

static int64_t block_lanes(const Emission *e) {
    return (int64_t)e->plan->tile.columns * e->length;
}

/* A copy of the vector side in the order in which the tile reads it:
 * [batch and outer dims][block of lanes][reduced dims][lane], zeros in the lanes past the end. */
static void make_packed(Emission *e, Side *side) {
    ContractionPlan *plan = e->plan;
    const Contraction *c = plan->contraction;
    Builder *b = e->b;
    int v = plan->tile.vector_dim;
    int64_t lanes = block_lanes(e), blocks = (plan->extent[v] + lanes - 1) / lanes;
    int64_t rounded = blocks * lanes;
    int order[MAX_CONTRACTION_DIMS], count = 0;
    bool batched = false;
    for (int pass = 0; pass < 3; pass++) /* the batch, outer dims, reduced dims */
        for (int d = 0; d < c->dim_count; d++) {
            int group = c->dims[d].extent == 0 ? 0 : c->dims[d].reduce ? 2 : 1;
            if (group == pass && d != v && side->coefficient[d] != 0)
                order[count++] = d;
        }
    int64_t packed[MAX_CONTRACTION_DIMS] = {0}, stride = lanes, elements;
    bool blocked = false;
    for (int i = count - 1; i >= 0; i--) {
        int d = order[i];
        bool reduced = c->dims[d].reduce && c->dims[d].extent != 0;
        if (!reduced && !blocked) {
            packed[v] = stride / lanes; /* times the index of the first lane of a block */
            stride *= blocks;
            blocked = true;
        }
        packed[d] = stride;
        batched = batched || c->dims[d].extent == 0;
        stride *= c->dims[d].extent == 0 ? 1 : plan->extent[d];
    }
    if (!blocked) {
        packed[v] = stride / lanes;
        stride *= blocks;
    }
    elements = stride;
    Side copy = *side;
    copy.buffer = lower_scratch(plan->lowering, "packed", batched, elements);
    copy.base = 0;

    for (int i = 0; i < count; i++)
        e->dims[order[i]] =
            c->dims[order[i]].extent == 0
                ? open_batch(b, LOOP_INDEPENDENT)
                : open_loop(b, LOOP_INDEPENDENT, c->dims[order[i]].letter, plan->extent[order[i]]);
    Expr *lane = open_loop(b, LOOP_INDEPENDENT, c->dims[v].letter, rounded);
    e->dims[v] = lane;
    for (int d = 0; d < c->dim_count; d++)
        copy.coefficient[d] = packed[d];
    Expr *first = minus(b, lane, remainder_of(b, lane, integer(b, lanes)));
    Expr *from = side_offset(e, side);
    e->dims[v] = first;
    Expr *to = plus(b, side_offset(e, &copy), remainder_of(b, lane, integer(b, lanes)));
    Expr *value = load_at(b, side->buffer, 1, &from);
    if (rounded != plan->extent[v])
        value = choose(b, less(b, lane, integer(b, plan->extent[v])), value, number(b, 0));
    store_at(b, copy.buffer, 1, &to, value, false);
    close_blocks(b, count + 1);
    *side = copy;
}

static void prepare_sides(Emission *e) {
    ContractionPlan *plan = e->plan;
    const Tile *tile = &plan->tile;
    int64_t extent = plan->extent[tile->vector_dim];
    for (int s = 0; s < 2; s++) {
        Side *side = &plan->side[s];
        bool widen = tile->form == TILE_DOT && s == tile->vector_side && extent % e->length != 0;
        if (side->guarded || widen)
            make_padded(e, side, widen ? (extent + e->length - 1) / e->length * e->length : 0);
        else
            side->buffer = lower_buffer(plan->lowering, side->operand->tensor);
        if (tile->pack && s == tile->vector_side)
            make_packed(e, side);
    }
}

/* ---- The tile ---- */

/* An unrolled loop over a constant extent; an extent of 1 needs none. Returns the index. */
static Expr *open_unrolled(Builder *b, const char *letter, int64_t extent, int *opened) {
    if (extent == 1)
        return integer(b, 0);
    Expr *index = open_loop(b, LOOP_SERIAL, letter, extent);
    b->open_stmt[b->depth - 1]->unroll = true;
    ++*opened;
    return index;
}

static Expr *load_vector(Emission *e, const Side *side, Expr *lane) {
    Expr *offset = plus(e->b, side_offset(e, side), lane);
    Expr *load = load_at(e->b, side->buffer, 1, &offset);
    load->type = TYPE_VECTOR;
    return load;
}

static bool depends(const Side *side, int d) {
    return d >= 0 && side->coefficient[d] != 0;
}

/* Lets a tiled dimension stand for block + index while `index` runs. */
static Expr *shift_dim(Emission *e, int d, Expr *index) {
    if (d < 0)
        return NULL;
    Expr *block = e->dims[d];
    e->dims[d] = plus(e->b, block, index);
    return block;
}

static void restore_dim(Emission *e, int d, Expr *block) {
    if (d >= 0)
        e->dims[d] = block;
}

/* sum[row][column] += ... for one combination of the reduced dims, BROADCAST. */
static void emit_broadcast_step(Emission *e, Buffer *sum) {
    Builder *b = e->b;
    const Tile *tile = &e->plan->tile;
    const Side *vectors = &e->plan->side[tile->vector_side];
    const Side *scalars = &e->plan->side[!tile->vector_side];
    bool by_row = depends(vectors, tile->row_dim);
    int64_t extent = e->columns;
    Buffer *held = NULL;
    if (!by_row && e->rows > 1) {
        int opened = 0;
        held = declare_array(b, "held", TYPE_VECTOR, 1, &extent);
        Expr *t = open_unrolled(b, "t", extent, &opened);
        store_at(b, held, 1, &t, load_vector(e, vectors, times(b, t, integer(b, e->length))),
                 false);
        close_blocks(b, opened);
    }
    int opened = 0;
    Expr *u = open_unrolled(b, "u", e->rows, &opened);
    Expr *block = shift_dim(e, tile->row_dim, u);
    Expr *offset = side_offset(e, scalars);
    Expr *scalar = load_at(b, scalars->buffer, 1, &offset);
    Expr *set = declare(b, "scalar", TYPE_VECTOR, call(b, TYPE_VECTOR, "VECTOR_SET", 1, &scalar));
    Expr *t = open_unrolled(b, "t", extent, &opened);
    Expr *vector = held ? load_at(b, held, 1, &t)
                        : load_vector(e, vectors, times(b, t, integer(b, e->length)));
    Expr *place[2] = {u, t};
    store_at(b, sum, 2, place, times(b, set, vector), true);
    close_blocks(b, opened);
    restore_dim(e, tile->row_dim, block);
}

/* The same for DOT: both factors are vectors along the reduced dimension. */
static void emit_dot_step(Emission *e, Buffer *sum) {
    Builder *b = e->b;
    const Tile *tile = &e->plan->tile;
    int opened = 0;
    Expr *zero = integer(b, 0);
    Expr *u = open_unrolled(b, "u", e->rows, &opened);
    Expr *row = shift_dim(e, tile->row_dim, u);
    Expr *t = open_unrolled(b, "t", e->columns, &opened);
    Expr *column = shift_dim(e, tile->column_dim, t);
    Expr *place[2] = {u, t};
    store_at(
        b, sum, 2, place,
        times(b, load_vector(e, &e->plan->side[0], zero), load_vector(e, &e->plan->side[1], zero)),
        true);
    close_blocks(b, opened);
    restore_dim(e, tile->column_dim, column);
    restore_dim(e, tile->row_dim, row);
}

/* Opens the loops of the reduced dims in [from, to). */
static int open_reduced(Emission *e, int from, int to) {
    const Contraction *c = e->plan->contraction;
    int opened = 0;
    for (int d = from; d < to; d++) {
        if (!c->dims[d].reduce)
            continue;
        if (c->dims[d].extent == 1) {
            e->dims[d] = integer(e->b, 0);
            continue;
        }
        bool vector = e->plan->tile.form == TILE_DOT && d == e->plan->tile.vector_dim;
        int64_t step = vector ? e->length : 1;
        Expr *end = c->dims[d].extent == 0 ? batch_size(e->b) : integer(e->b, c->dims[d].extent);
        e->dims[d] = open_range(e->b, LOOP_SERIAL, c->dims[d].letter, integer(e->b, 0), end, step);
        opened++;
    }
    return opened;
}

/* The tile's sums into its memory: whole vectors, or for DOT the sum of the lanes. */
static void emit_spill(Emission *e, Buffer *sum, Buffer *tile, bool add) {
    Builder *b = e->b;
    int opened = 0;
    Expr *u = open_unrolled(b, "u", e->rows, &opened);
    Expr *t = open_unrolled(b, "t", e->columns, &opened);
    Expr *from[2] = {u, t};
    Expr *vector = load_at(b, sum, 2, from);
    if (e->plan->tile.form == TILE_DOT) {
        Expr *total = call(b, TYPE_REAL, "VECTOR_SUM", 1, &vector);
        store_at(b, tile, 2, from, total, add);
    } else {
        Expr *to[2] = {u, times(b, t, integer(b, e->length))};
        if (add) {
            Expr *before = load_at(b, tile, 2, to);
            before->type = TYPE_VECTOR;
            vector = plus(b, before, vector);
        }
        store_at(b, tile, 2, to, vector, false);
    }
    close_blocks(b, opened);
}

static void emit_clear(Emission *e, Buffer *buffer, int64_t columns, bool unroll) {
    Builder *b = e->b;
    int opened = 0;
    Expr *place[2];
    if (unroll) {
        place[0] = open_unrolled(b, "u", e->rows, &opened);
        place[1] = open_unrolled(b, "t", columns, &opened);
        store_at(b, buffer, 2, place, call(b, TYPE_VECTOR, "VECTOR_ZERO", 0, NULL), false);
    } else {
        place[0] = open_loop(b, LOOP_SERIAL, "u", e->rows);
        place[1] = open_loop(b, LOOP_INDEPENDENT, "lane", columns);
        opened = 2;
        store_at(b, buffer, 2, place, number(b, 0), false);
    }
    close_blocks(b, opened);
}

static Expr *open_unless_single(Builder *b, const char *letter, int64_t extent, int *opened) {
    if (extent == 1)
        return integer(b, 0);
    ++*opened;
    return open_loop(b, LOOP_INDEPENDENT, letter, extent);
}

/* Every element of the tile to the node. The inner loop runs along the result's memory. */
static void emit_epilogue(Emission *e, Buffer *tile) {
    Builder *b = e->b;
    const Tile *t = &e->plan->tile;
    const Operand *result = &e->plan->contraction->result;
    bool broadcast = t->form == TILE_BROADCAST;
    int column_dim = broadcast ? t->vector_dim : t->column_dim;
    int64_t columns = broadcast ? e->lanes : e->columns;
    const AxisMap *last = &result->axis[operand_axis_count(result) - 1];
    bool row_inner = t->row_dim >= 0 && last->coefficient[t->row_dim] != 0;
    const char *column_letter = broadcast ? "lane" : "t";
    Expr *u = NULL, *lane = NULL;
    int opened = 0;
    if (row_inner) {
        lane = open_unless_single(b, column_letter, columns, &opened);
        u = open_unless_single(b, "u", e->rows, &opened);
    } else {
        u = open_unless_single(b, "u", e->rows, &opened);
        lane = open_unless_single(b, column_letter, columns, &opened);
    }
    Expr *place[2] = {u, lane};
    Expr *row = shift_dim(e, t->row_dim, u), *column = shift_dim(e, column_dim, lane);
    contraction_finish(e->plan, e->dims, load_at(b, tile, 2, place));
    restore_dim(e, column_dim, column);
    restore_dim(e, t->row_dim, row);
    close_blocks(b, opened);
}

static void emit_tile(Emission *e) {
    Builder *b = e->b;
    int count = e->plan->contraction->dim_count;
    bool broadcast = e->plan->tile.form == TILE_BROADCAST;
    int64_t width = broadcast ? (int64_t)e->columns * e->length : e->columns;
    int64_t tile_extent[2] = {e->rows, width}, sum_extent[2] = {e->rows, e->columns};
    Buffer *tile = declare_array(b, "tile", TYPE_REAL, 2, tile_extent);
    bool split = false;
    for (int d = 0; d < e->first_inner; d++)
        split = split || e->plan->contraction->dims[d].reduce;
    if (split)
        emit_clear(e, tile, width, false);
    int opened = open_reduced(e, 0, e->first_inner);
    Buffer *sum = declare_array(b, "sum", TYPE_VECTOR, 2, sum_extent);
    emit_clear(e, sum, e->columns, true);
    int inner = open_reduced(e, e->first_inner, count);
    if (inner > 0)
        b->open_stmt[b->depth - 1]->rolled = true;
    if (broadcast)
        emit_broadcast_step(e, sum);
    else
        emit_dot_step(e, sum);
    close_blocks(b, inner);
    emit_spill(e, sum, tile, split);
    close_blocks(b, opened);
    emit_epilogue(e, tile);
}

/* ---- Outer loops ---- */

static void emit_outer(Emission *e, int at);

/* Whole blocks of a tiled dimension, then what remains. `size` points to the Emission's block size.
 */
static void emit_blocks(Emission *e, int at, int d, int *size, int block) {
    Builder *b = e->b;
    const ContractionDim *dim = &e->plan->contraction->dims[d];
    if (dim->extent == 0) { /* the batch: what remains goes one by one */
        Expr *rest = remainder_of(b, batch_size(b), integer(b, block));
        Expr *whole = minus(b, batch_size(b), rest);
        *size = block;
        e->dims[d] = open_range(b, LOOP_INDEPENDENT, "n", integer(b, 0), whole, block);
        emit_outer(e, at + 1);
        close_blocks(b, 1);
        if (block > 1) {
            *size = 1;
            e->dims[d] = open_range(b, LOOP_INDEPENDENT, "n", whole, batch_size(b), 1);
            emit_outer(e, at + 1);
            close_blocks(b, 1);
        }
        return;
    }
    int64_t whole = dim->extent / block * block;
    *size = block;
    if (whole == block) {
        e->dims[d] = integer(b, 0);
        emit_outer(e, at + 1);
    } else if (whole > 0) {
        e->dims[d] =
            open_range(b, LOOP_INDEPENDENT, dim->letter, integer(b, 0), integer(b, whole), block);
        emit_outer(e, at + 1);
        close_blocks(b, 1);
    }
    if (whole < dim->extent) {
        *size = (int)(dim->extent - whole);
        e->dims[d] = integer(b, whole);
        emit_outer(e, at + 1);
    }
}

static void emit_outer(Emission *e, int at) {
    const Tile *tile = &e->plan->tile;
    if (at == e->outer_count) {
        if (tile->form == TILE_BROADCAST)
            e->columns = (e->lanes + e->length - 1) / e->length;
        emit_tile(e);
        return;
    }
    int d = e->outer[at];
    if (tile->form == TILE_BROADCAST && d == tile->vector_dim) {
        emit_blocks(e, at, d, &e->lanes, (int)block_lanes(e));
    } else if (d == tile->row_dim) {
        emit_blocks(e, at, d, &e->rows, tile->rows);
    } else if (d == tile->column_dim) {
        emit_blocks(e, at, d, &e->columns, tile->columns);
    } else {
        const ContractionDim *dim = &e->plan->contraction->dims[d];
        int opened = dim->extent == 0;
        e->dims[d] = dim->extent == 0 ? open_batch(e->b, LOOP_INDEPENDENT)
                                      : open_unless_single(e->b, dim->letter, dim->extent, &opened);
        emit_outer(e, at + 1);
        close_blocks(e->b, opened);
    }
}

/* The given order, but a tiled batch comes last: then the weights are read once for all examples.
 */
static void order_outer(Emission *e) {
    const Contraction *c = e->plan->contraction;
    int batch = -1;
    for (int d = 0; d < c->dim_count; d++) {
        if (c->dims[d].reduce)
            continue;
        if (c->dims[d].extent == 0 && d == e->plan->tile.row_dim)
            batch = d;
        else
            e->outer[e->outer_count++] = d;
    }
    if (batch >= 0)
        e->outer[e->outer_count++] = batch;
}

/* The reduced dims from which on one accumulator can take all the additions. */
static int find_first_inner(const Emission *e) {
    const ContractionPlan *plan = e->plan;
    double chain = 1;
    int first = plan->contraction->dim_count;
    for (int d = plan->contraction->dim_count - 1; d >= 0; d--) {
        if (!plan->contraction->dims[d].reduce)
            continue;
        double shorter = chain;
        chain *= (double)plan->extent[d];
        if (chain > LONGEST_CHAIN && shorter >= SHORTEST_CHAIN)
            break;
        first = d;
    }
    return first;
}

void contraction_emit_tiled(ContractionPlan *plan) {
    Emission e = {.plan = plan, .b = plan->lowering->builder};
    e.length = plan->lowering->options->vector_length;
    e.rows = e.columns = 1;
    e.lanes = e.length;
    order_outer(&e);
    e.first_inner = find_first_inner(&e);
    prepare_sides(&e);
    emit_outer(&e, 0);
}
