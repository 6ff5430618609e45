/* The loops of a tiled contraction: outer loops, blocks of the tile with their remainders, the tile
 * itself and the epilogue. */
#include "contraction_emission.h"

#include <assert.h>

/* ---- The tile ---- */

Expr *open_unrolled(Builder *b, const char *letter, int64_t extent, int *opened) {
    if (extent == 1)
        return integer(b, 0);
    Expr *index = open_loop(b, LOOP_SERIAL, letter, extent);
    b->open_stmt[b->depth - 1]->unroll = true;
    ++*opened;
    return index;
}

static Expr *open_unless_single(Builder *b, const char *letter, int64_t extent, int *opened) {
    if (extent == 1)
        return integer(b, 0);
    ++*opened;
    return open_loop(b, LOOP_INDEPENDENT, letter, extent);
}

static bool depends(const Side *side, int d) {
    return d >= 0 && side->coefficient[d] != 0;
}

Expr *shift_dim(Emission *e, int d, Expr *index) {
    if (d < 0)
        return NULL;
    Expr *block = e->dims[d];
    e->dims[d] = plus(e->b, block, index);
    return block;
}

void restore_dim(Emission *e, int d, Expr *block) {
    if (d >= 0)
        e->dims[d] = block;
}

/* Loops over the rows of the tile, of all its lines: their number. close_rows lets the dimensions
 * stand for the block again. */
typedef struct Rows {
    Expr *line_block, *row_block;
} Rows;

static Expr *open_rows(Emission *e, bool unrolled, Rows *rows, int *opened) {
    Builder *b = e->b;
    const Tile *tile = &e->plan->tile;
    Expr *v = unrolled ? open_unrolled(b, "v", e->lines, opened)
                       : open_unless_single(b, "v", e->lines, opened);
    Expr *u = unrolled ? open_unrolled(b, "u", e->rows, opened)
                       : open_unless_single(b, "u", e->rows, opened);
    rows->line_block = shift_dim(e, tile->line_dim, v);
    rows->row_block = shift_dim(e, tile->row_dim, u);
    return plus(b, times(b, v, integer(b, e->rows)), u);
}

static void close_rows(Emission *e, const Rows *rows) {
    restore_dim(e, e->plan->tile.row_dim, rows->row_block);
    restore_dim(e, e->plan->tile.line_dim, rows->line_block);
}

Expr *load_vector(Emission *e, const Side *side, Expr *column) {
    int d = e->plan->tile.column_dim;
    Expr *block = d >= 0 ? shift_dim(e, d, column) : NULL;
    Expr *offset = side_offset(e, side);
    if (d >= 0)
        restore_dim(e, d, block);
    else
        offset = plus(e->b, offset, times(e->b, column, integer(e->b, e->length)));
    Expr *load = load_at(e->b, side->buffer, 1, &offset);
    load->type = TYPE_VECTOR;
    return load;
}

/* One of several columns stays in its register until all rows have used it. */
static void hold_value(Emission *e, Buffer *held, Expr *column) {
    Builder *b = e->b;
    Expr *value = load_at(b, held, 1, &column);
    if (e->columns > 1)
        call_statement(b, call(b, TYPE_VECTOR, "VECTOR_HOLD", 1, &value));
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
    if (!by_row && e->rows * e->lines > 1) {
        int opened = 0;
        held = declare_array(b, "held", TYPE_VECTOR, 1, &extent);
        Expr *t = open_unrolled(b, "t", extent, &opened);
        store_at(b, held, 1, &t, load_vector(e, vectors, t), false);
        if (tile->column_dim < 0)
            hold_value(e, held, t);
        close_blocks(b, opened);
    }
    int opened = 0;
    Rows rows;
    Expr *row = open_rows(e, true, &rows, &opened);
    Expr *offset = side_offset(e, scalars);
    Expr *scalar = load_at(b, scalars->buffer, 1, &offset);
    Expr *set = declare(b, "scalar", TYPE_VECTOR, call(b, TYPE_VECTOR, "VECTOR_SET", 1, &scalar));
    Expr *t = open_unrolled(b, "t", extent, &opened);
    Expr *vector = held ? load_at(b, held, 1, &t) : load_vector(e, vectors, t);
    Expr *place[2] = {row, t};
    store_at(b, sum, 2, place, times(b, set, vector), true);
    close_blocks(b, opened);
    close_rows(e, &rows);
}

/* A factor of DOT and LANES as it is loaded: once for all rows, once for all columns, or each time.
 */
typedef struct Factor {
    const Side *side;
    Buffer *held; /* by column, for all rows */
    Expr *row;    /* for all columns */
} Factor;

static Factor hold_factor(Emission *e, const Side *side) {
    Builder *b = e->b;
    Factor factor = {.side = side};
    int64_t extent = e->columns;
    if (depends(side, e->plan->tile.row_dim) || e->rows == 1)
        return factor;
    int opened = 0;
    factor.held = declare_array(b, "held", TYPE_VECTOR, 1, &extent);
    Expr *t = open_unrolled(b, "t", extent, &opened);
    store_at(b, factor.held, 1, &t, load_vector(e, side, t), false);
    hold_value(e, factor.held, t);
    close_blocks(b, opened);
    return factor;
}

static Expr *factor_at(Emission *e, const Factor *factor, Expr *column) {
    return factor->held  ? load_at(e->b, factor->held, 1, &column)
           : factor->row ? factor->row
                         : load_vector(e, factor->side, column);
}

/* The same for DOT and LANES: both factors are vectors along the vector dimension. C compilers do
 * not see that the unrolled loops load the same again. */
static void emit_dot_step(Emission *e, Buffer *sum) {
    Builder *b = e->b;
    const Tile *tile = &e->plan->tile;
    int opened = 0;
    Expr *chain = NULL;
    if (tile->chains > 1)
        chain = e->dims[tile->chain_dim] = open_unrolled(b, "chain", tile->chains, &opened);
    Factor factors[2];
    for (int s = 0; s < 2; s++)
        factors[s] = hold_factor(e, &e->plan->side[s]);
    Expr *u = open_unrolled(b, "u", e->rows, &opened);
    Expr *row = shift_dim(e, tile->row_dim, u);
    for (int s = 0; s < 2; s++)
        if (factors[s].held == NULL && e->columns > 1 &&
            !depends(factors[s].side, tile->column_dim))
            factors[s].row =
                declare(b, "row", TYPE_VECTOR, load_vector(e, factors[s].side, integer(b, 0)));
    Expr *t = open_unrolled(b, "t", e->columns, &opened);
    Expr *place[2] = {u, chain ? chain : t};
    store_at(b, sum, 2, place, times(b, factor_at(e, &factors[0], t), factor_at(e, &factors[1], t)),
             true);
    close_blocks(b, opened);
    restore_dim(e, tile->row_dim, row);
}

/* Whether a step of the innermost loop takes all of a dimension. */
static bool is_one_step(const Emission *e, int d) {
    const Tile *tile = &e->plan->tile;
    bool vector = d == tile->vector_dim && e->plan->dims[d].extent == e->length;
    return tile->form == TILE_DOT && (vector || (tile->chains > 1 && d == tile->chain_dim));
}

/* Opens the loops of e->reduced[from, to). */
static int open_reduced(Emission *e, int from, int to) {
    int opened = 0;
    for (int i = from; i < to; i++) {
        int d = e->reduced[i];
        const PlanDim *dim = &e->plan->dims[d];
        if ((dim->extent == 1 && !dim->batch) || is_one_step(e, d)) {
            e->dims[d] = integer(e->b, 0);
            continue;
        }
        bool vector = e->plan->tile.form == TILE_DOT && d == e->plan->tile.vector_dim;
        int64_t step = vector ? e->length : 1;
        const Range *part = &e->clipped[d];
        Expr *begin = part->begin ? part->begin : integer(e->b, 0);
        Expr *end = part->end ? part->end : plan_dim_end(e->plan, d);
        e->dims[d] = open_range(e->b, LOOP_SERIAL, dim->letter, begin, end, step);
        if (part->end)
            expect_trips(e->b, part->trips, false);
        opened++;
    }
    return opened;
}

/* The tile's sums into its memory: whole vectors, or for DOT the sum of the lanes. */
static void emit_spill(Emission *e, Buffer *sum, Buffer *tile, bool add) {
    Builder *b = e->b;
    int opened = 0;
    Expr *u = open_unrolled(b, "u", e->rows * e->lines, &opened);
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

/* The tile's sums, or zeros, to the result's memory, or added to what is there. */
static void emit_store(Emission *e, Buffer *sum, bool add) {
    Builder *b = e->b;
    const Tile *tile = &e->plan->tile;
    int opened = 0;
    Rows rows;
    Expr *row = open_rows(e, true, &rows, &opened);
    Expr *t = open_unrolled(b, "t", e->columns, &opened);
    Expr *column = shift_dim(e, tile->column_dim, t);
    Expr *place[2] = {row, t};
    Expr *vector = sum ? load_at(b, sum, 2, place) : call(b, TYPE_VECTOR, "VECTOR_ZERO", 0, NULL);
    Expr *offset = side_offset(e, &e->plan->result);
    if (tile->column_dim < 0)
        offset = plus(b, offset, times(b, t, integer(b, e->length)));
    store_at(b, e->plan->result.buffer, 1, &offset, vector, add);
    restore_dim(e, tile->column_dim, column);
    close_rows(e, &rows);
    close_blocks(b, opened);
}

static void emit_clear(Emission *e, Buffer *buffer, int64_t columns, bool unroll) {
    Builder *b = e->b;
    int opened = 0;
    Expr *place[2];
    if (unroll) {
        place[0] = open_unrolled(b, "u", e->rows * e->lines, &opened);
        place[1] = open_unrolled(b, "t", columns, &opened);
        store_at(b, buffer, 2, place, call(b, TYPE_VECTOR, "VECTOR_ZERO", 0, NULL), false);
    } else {
        place[0] = open_loop(b, LOOP_SERIAL, "u", e->rows * e->lines);
        place[1] = open_loop(b, LOOP_INDEPENDENT, "lane", columns);
        opened = 2;
        store_at(b, buffer, 2, place, number(b, 0), false);
    }
    close_blocks(b, opened);
}

/* Every element of the tile to the node. The inner loop runs along the result's memory. */
static void emit_epilogue(Emission *e, Buffer *tile) {
    Builder *b = e->b;
    const Tile *t = &e->plan->tile;
    bool lanes = t->form != TILE_DOT, columns = t->column_dim >= 0;
    int64_t width = lanes && columns ? e->length : lanes ? e->lanes : 1;
    bool row_inner = t->row_dim >= 0 && e->plan->result.coefficient[t->row_dim] == 1;
    int opened = 0;
    Expr *column = columns ? open_unless_single(b, "t", e->columns, &opened) : integer(b, 0);
    Rows rows;
    Expr *row, *lane = NULL;
    if (row_inner)
        lane = open_unless_single(b, "lane", width, &opened);
    row = open_rows(e, false, &rows, &opened);
    if (!row_inner)
        lane = open_unless_single(b, "lane", width, &opened);
    Expr *place[2] = {row, plus(b, times(b, column, integer(b, width)), lane)};
    Expr *column_block = columns ? shift_dim(e, t->column_dim, column) : NULL;
    Expr *lane_block = lanes ? shift_dim(e, t->vector_dim, lane) : NULL;
    contraction_finish(e->plan, e->dims, load_at(b, tile, 2, place));
    if (lanes)
        restore_dim(e, t->vector_dim, lane_block);
    if (columns)
        restore_dim(e, t->column_dim, column_block);
    close_rows(e, &rows);
    close_blocks(b, opened);
}

/* Lets the operands be read from pointers to where they start at the indices of this point; all
 * indices count from there. */
static void point_to_sides(Emission *e, Side *saved, Expr **dims) {
    Builder *b = e->b;
    for (int s = 0; s < 2; s++) {
        Side *side = &e->plan->side[s];
        saved[s] = *side;
        const char *name = arena_format(b->arena, "%s_at", side->buffer->name);
        side->buffer = declare_pointer(b, name, side->buffer, side_offset(e, side));
        side->base = 0;
    }
    for (int d = 0; d < e->plan->dim_count; d++) {
        dims[d] = e->dims[d];
        e->dims[d] = integer(b, 0);
    }
}

#define BRIEF 112    /* multiply-adds; half as many where C compilers soon run out of registers */
#define WIDE_FILE 32 /* registers */

/* The innermost loop is so short that counting would cost more than the code of all its steps. Not
 * with chains, whose loads C compilers would bring out of their order then. */
static bool is_brief(const Emission *e, int d) {
    int64_t most = e->plan->lowering->options->registers >= WIDE_FILE ? BRIEF : BRIEF / 2;
    const Tile *tile = &e->plan->tile;
    const PlanDim *dim = &e->plan->dims[d];
    int64_t step = tile->form == TILE_DOT && d == tile->vector_dim ? e->length : 1;
    bool constant = !dim->batch && !e->clipped[d].end;
    return constant && tile->chains <= 1 &&
           dim->extent / step * e->rows * e->lines * e->columns <= most;
}

/* The sums of a result's chains to its first. */
static void join_chains(Emission *e, Buffer *sum) {
    Builder *b = e->b;
    int opened = 0;
    Expr *zero = integer(b, 0);
    Expr *chain = open_unrolled(b, "chain", e->plan->tile.chains - 1, &opened);
    Expr *from[2] = {zero, plus(b, chain, integer(b, 1))}, *to[2] = {zero, zero};
    store_at(b, sum, 2, to, load_at(b, sum, 2, from), true);
    close_blocks(b, opened);
}

/* The sums over e->reduced[from...) in registers; returns their array. */
static Buffer *emit_sums(Emission *e, int from) {
    Builder *b = e->b;
    ContractionPlan *plan = e->plan;
    bool chains = plan->tile.chains > 1; /* then there is one result */
    int64_t extent[2] = {(int64_t)e->rows * e->lines, chains ? plan->tile.chains : e->columns};
    Buffer *sum = declare_array(b, "sum", TYPE_VECTOR, 2, extent);
    emit_clear(e, sum, extent[1], true);
    int last = e->reduced_count - 1;
    while (last > from && is_one_step(e, e->reduced[last]))
        last--;
    last = last > from ? last : from;
    int inner = open_reduced(e, from, last);
    Side saved[2];
    Expr *dims[MAX_PLAN_DIMS];
    for (int i = last; i < e->reduced_count; i++)
        e->dims[e->reduced[i]] = integer(b, 0);
    Prefetches ahead = contraction_point_ahead(e, from);
    point_to_sides(e, saved, dims);
    inner += open_reduced(e, last, e->reduced_count);
    if (inner > 0) {
        bool brief = last < e->reduced_count && is_brief(e, e->reduced[last]);
        b->open_stmt[b->depth - 1]->unroll = brief;
        b->open_stmt[b->depth - 1]->rolled = !brief;
    }
    contraction_prefetch(e, &ahead);
    if (plan->tile.form == TILE_BROADCAST)
        emit_broadcast_step(e, sum);
    else
        emit_dot_step(e, sum);
    close_blocks(b, inner);
    if (chains)
        join_chains(e, sum);
    for (int s = 0; s < 2; s++)
        plan->side[s] = saved[s];
    for (int d = 0; d < plan->dim_count; d++)
        e->dims[d] = dims[d];
    return sum;
}

static void emit_tile(Emission *e) {
    Builder *b = e->b;
    const Tile *form = &e->plan->tile;
    int64_t width = form->form != TILE_DOT ? (int64_t)e->columns * e->length : e->columns;
    int64_t tile_extent[2] = {(int64_t)e->rows * e->lines, width};
    Buffer *tile = declare_array(b, "tile", TYPE_REAL, 2, tile_extent);
    bool split = e->first_inner > 0;
    if (split)
        emit_clear(e, tile, width, false);
    int opened = open_reduced(e, 0, e->first_inner);
    Buffer *sum = emit_sums(e, e->first_inner);
    emit_spill(e, sum, tile, split);
    close_blocks(b, opened);
    emit_epilogue(e, tile);
}

/* ---- Outer loops ---- */

static void emit_outer(Emission *e, int at);

/* Blocks of the batch: what remains goes one by one. */
static void emit_batch_blocks(Emission *e, int at, int d, int *size, int block) {
    Builder *b = e->b;
    const char *letter = e->plan->dims[d].letter;
    Expr *end = plan_dim_end(e->plan, d);
    Expr *whole = minus(b, end, remainder_of(b, end, integer(b, block)));
    *size = block;
    e->dims[d] = open_range(b, LOOP_INDEPENDENT, letter, integer(b, 0), whole, block);
    emit_outer(e, at + 1);
    close_blocks(b, 1);
    if (block > 1) {
        *size = 1;
        e->dims[d] = open_range(b, LOOP_INDEPENDENT, letter, whole, end, 1);
        emit_outer(e, at + 1);
        close_blocks(b, 1);
    }
}

/* Whole blocks of a tiled dimension, then what remains. `size` points to the Emission's block size.
 */
static void emit_blocks(Emission *e, int at, int d, int *size, Blocks blocks) {
    Builder *b = e->b;
    int64_t begin = 0;
    if (e->plan->dims[d].batch) {
        emit_batch_blocks(e, at, d, size, (int)blocks.size[0]);
        return;
    }
    for (int part = 0; part < 2; part++) {
        int64_t step = blocks.size[part], end = begin + blocks.count[part] * step;
        bool loop = blocks.count[part] > 1;
        if (blocks.count[part] == 0)
            continue;
        *size = (int)step;
        e->dims[d] = loop ? open_range(b, LOOP_INDEPENDENT, e->plan->dims[d].letter,
                                       integer(b, begin), integer(b, end), step)
                          : integer(b, begin);
        emit_outer(e, at + 1);
        close_blocks(b, loop);
        begin = end;
    }
}

/* All the results of the innermost loops. */
static void emit_innermost(Emission *e) {
    const Tile *tile = &e->plan->tile;
    if (tile->form == TILE_BROADCAST && tile->column_dim < 0)
        e->columns = (e->lanes + e->length - 1) / e->length;
    if (!tile->in_parts)
        contraction_clip(e);
    if (e->clearing)
        emit_store(e, NULL, false);
    else if (tile->in_parts)
        emit_store(e, emit_sums(e, e->first_inner), true);
    else if (tile->stored_directly)
        emit_store(e, emit_sums(e, 0), e->plan->contraction->accumulate);
    else
        emit_tile(e);
}

/* Whether what the parts add up to is not yet the result. */
static bool needs_finish(const ContractionPlan *plan) {
    return plan->contraction->to_result || plan->tile.sums_lanes_last;
}

/* The results of these loops become zero; then every part is added to all of them. */
static void emit_parts(Emission *e, int at) {
    e->first_part = -1;
    e->clearing = !e->plan->contraction->accumulate || needs_finish(e->plan);
    if (e->clearing)
        emit_outer(e, at);
    e->clearing = false;
    int opened = open_reduced(e, 0, e->first_inner);
    emit_outer(e, at);
    close_blocks(e->b, opened);
    e->first_part = at;
}

static void emit_outer(Emission *e, int at) {
    const Tile *tile = &e->plan->tile;
    if (tile->in_parts && at == e->first_part) {
        emit_parts(e, at);
        return;
    }
    if (at == e->outer_count) {
        emit_innermost(e);
        return;
    }
    int d = e->outer[at];
    if (tile->form == TILE_BROADCAST && d == tile->vector_dim) {
        int64_t lanes = (int64_t)tile->columns * e->length;
        emit_blocks(e, at, d, &e->lanes, contraction_blocks(e->plan, d, lanes, e->length));
    } else if (d == tile->row_dim) {
        emit_blocks(e, at, d, &e->rows, contraction_blocks(e->plan, d, tile->rows, 1));
    } else if (d == tile->line_dim) {
        emit_blocks(e, at, d, &e->lines, contraction_blocks(e->plan, d, tile->lines, 1));
    } else if (d == tile->column_dim) {
        emit_blocks(e, at, d, &e->columns, contraction_blocks(e->plan, d, tile->columns, 1));
    } else {
        int opened = 0;
        e->dims[d] = plan_dim_open(e->plan, LOOP_INDEPENDENT, d, &opened);
        emit_outer(e, at + 1);
        close_blocks(e->b, opened);
    }
}

/* ---- The whole contraction ---- */

/* Where parts are added up: the result itself, or scratch in the same order if the node's fused
 * followers want finished values. */
static void make_result(ContractionPlan *plan) {
    Tensor *tensor = plan->result.operand->tensor;
    int64_t lanes = plan->tile.sums_lanes_last ? plan->lowering->options->vector_length : 1;
    for (int d = 0; d < plan->dim_count; d++)
        plan->result.coefficient[d] *= lanes;
    plan->result.base *= lanes;
    plan->result.buffer =
        needs_finish(plan)
            ? lower_scratch(plan->lowering, "sums", tensor->per_example, tensor->storage * lanes)
            : lower_buffer(plan->lowering, tensor);
}

static void emit_finish(Emission *e) {
    ContractionPlan *plan = e->plan;
    int list[MAX_PLAN_DIMS], count = contraction_list_dims(plan, false, list), opened = 0;
    for (int i = 0; i < count; i++)
        e->dims[list[i]] = plan_dim_open(plan, LOOP_INDEPENDENT, list[i], &opened);
    Expr *offset = side_offset(e, &plan->result);
    Expr *sum = load_at(e->b, plan->result.buffer, 1, &offset);
    if (plan->tile.sums_lanes_last) {
        sum->type = TYPE_VECTOR;
        Expr *lanes = declare(e->b, "lanes", TYPE_VECTOR, sum);
        sum = call(e->b, TYPE_REAL, "VECTOR_SUM", 1, &lanes);
    }
    contraction_finish(plan, e->dims, sum);
    close_blocks(e->b, opened);
}

void contraction_emit_tiled(ContractionPlan *plan) {
    Emission e = {.plan = plan, .b = plan->lowering->builder};
    e.length = plan->lowering->options->vector_length;
    e.rows = e.lines = e.columns = 1;
    e.lanes = e.length;
    contraction_order_outer(&e);
    e.reduced_count = contraction_list_dims(plan, true, e.reduced);
    e.first_inner = contraction_first_inner(&e);
    e.first_part = contraction_move_shares(&e);
    prepare_sides(&e);
    if (plan->tile.in_parts || plan->tile.stored_directly)
        make_result(plan);
    emit_outer(&e, 0);
    if (plan->tile.in_parts && needs_finish(plan))
        emit_finish(&e);
}
