/* The loops of a tiled contraction: outer loops, blocks of the tile with their remainders, the tile
 * itself and the epilogue. */
#include "contraction_emission.h"

#include <assert.h>

/* ---- The tile ---- */

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

Expr *contraction_open_rows(Emission *e, bool unrolled, Rows *rows, int *opened) {
    Builder *b = e->b;
    const Tile *tile = &e->plan->tile;
    Expr *v = unrolled ? open_unrolled(b, "v", e->lines, opened)
                       : open_unless_single(b, LOOP_INDEPENDENT, "v", e->lines, opened);
    Expr *u = unrolled ? open_unrolled(b, "u", e->rows, opened)
                       : open_unless_single(b, LOOP_INDEPENDENT, "u", e->rows, opened);
    rows->line_block = shift_dim(e, tile->line_dim, v);
    rows->row_block = shift_dim(e, tile->row_dim, u);
    return plus(b, times(b, v, integer(b, e->rows)), u);
}

void contraction_close_rows(Emission *e, const Rows *rows) {
    restore_dim(e, e->plan->tile.row_dim, rows->row_block);
    restore_dim(e, e->plan->tile.line_dim, rows->line_block);
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
    Expr *row = contraction_open_rows(e, true, &rows, &opened);
    Expr *t = open_unrolled(b, "t", e->columns, &opened);
    Expr *column = shift_dim(e, tile->column_dim, t);
    Expr *place[2] = {row, t};
    Expr *vector = sum ? load_at(b, sum, 2, place) : call(b, TYPE_VECTOR, "VECTOR_ZERO", 0, NULL);
    Expr *offset = side_offset(e, &e->plan->result);
    if (tile->column_dim < 0)
        offset = plus(b, offset, times(b, t, integer(b, e->length)));
    if (e->slot)
        offset = plus(b, times(b, e->slot, integer(b, contraction_slot_size(e->plan))), offset);
    store_at(b, e->plan->result.buffer, 1, &offset, vector, add);
    restore_dim(e, tile->column_dim, column);
    contraction_close_rows(e, &rows);
    close_blocks(b, opened);
}

/* The lanes of a block; where they are examples, only those that the batch has. */
static Expr *open_lanes(Emission *e, int64_t width, Expr *column, int *opened) {
    Builder *b = e->b;
    const ContractionPlan *plan = e->plan;
    int blocks = plan->dims[plan->tile.vector_dim].origin;
    if (!plan->turned)
        return open_unless_single(b, LOOP_INDEPENDENT, "lane", width, opened);
    Expr *block =
        plan->tile.column_dim == blocks ? plus(b, e->dims[blocks], column) : e->dims[blocks];
    Expr *left = minus(b, batch_size(b), times(b, block, integer(b, e->length)));
    Expr *end = minimum(b, left, integer(b, width));
    Expr *lane = open_range(b, LOOP_INDEPENDENT, "lane", integer(b, 0), end, 1);
    expect_trips(b, (double)width, false);
    ++*opened;
    return lane;
}

/* Every element of the tile to the node. The inner loop runs along the result's memory. */
static void emit_epilogue(Emission *e, Buffer *tile) {
    Builder *b = e->b;
    const Tile *t = &e->plan->tile;
    bool lanes = t->form != TILE_DOT, columns = t->column_dim >= 0;
    bool overlap = e->spacing < e->length, by_column = columns || overlap;
    int64_t width = lanes && by_column ? e->length : lanes ? e->lanes : 1;
    bool row_inner = t->row_dim >= 0 && e->plan->result.coefficient[t->row_dim] == 1;
    int opened = 0;
    Expr *column = by_column ? open_unless_single(b, LOOP_INDEPENDENT, "t", e->columns, &opened)
                             : integer(b, 0);
    Rows rows;
    Expr *row, *lane = NULL;
    if (row_inner)
        lane = open_lanes(e, width, column, &opened);
    row = contraction_open_rows(e, false, &rows, &opened);
    if (!row_inner)
        lane = open_lanes(e, width, column, &opened);
    Expr *place[2] = {row, plus(b, times(b, column, integer(b, width)), lane)};
    Expr *column_block = columns ? shift_dim(e, t->column_dim, column) : NULL;
    Expr *along = overlap ? plus(b, times(b, column, integer(b, e->spacing)), lane) : lane;
    Expr *lane_block = lanes ? shift_dim(e, t->vector_dim, along) : NULL;
    contraction_finish(e->plan, e->dims, load_at(b, tile, 2, place));
    if (lanes)
        restore_dim(e, t->vector_dim, lane_block);
    if (columns)
        restore_dim(e, t->column_dim, column_block);
    contraction_close_rows(e, &rows);
    close_blocks(b, opened);
}

static void emit_tile(Emission *e) {
    Builder *b = e->b;
    const Tile *form = &e->plan->tile;
    int64_t width = form->form != TILE_DOT ? (int64_t)e->columns * e->length : e->columns;
    int64_t tile_extent[2] = {(int64_t)e->rows * e->lines, width};
    Buffer *tile = declare_array(b, "tile", TYPE_REAL, 2, tile_extent);
    bool split = e->first_inner > 0;
    if (split)
        contraction_clear(e, tile, width, false);
    int opened = contraction_open_reduced(e, 0, e->first_inner);
    Buffer *sum = contraction_emit_sums(e, e->first_inner);
    emit_spill(e, sum, tile, split);
    close_blocks(b, opened);
    contraction_emit_moments(e, tile);
    emit_epilogue(e, tile);
}

/* ---- Vectors that overlap ---- */

/* Where lanes do not fill vectors, the last vector starts as much earlier, and what it shares with
 * the one before is made twice: whole vectors in the epilogue cost less than single elements. Not
 * where an element must be handed over once, as where something is added to it. */
static bool may_overlap(const Emission *e) {
    const ContractionPlan *plan = e->plan;
    const Contraction *c = plan->contraction;
    const Tile *tile = &plan->tile;
    bool again = c->to_result ? lower_result_repeats(plan->lowering, c->node)
                              : !c->accumulate && !c->step_numbers;
    return tile->form == TILE_BROADCAST && tile->column_dim < 0 && !tile->pack && !tile->in_parts &&
           plan->result.coefficient[tile->vector_dim] == 1 && again;
}

/* Where the block that remains of a dimension behind `whole` elements starts. */
static int64_t start_of_rest(const Emission *e, int d, int64_t whole) {
    int64_t extent = e->plan->dims[d].extent;
    int64_t rounded = (extent - whole + e->length - 1) / e->length * e->length;
    bool earlier = d == e->plan->tile.vector_dim && rounded <= extent && may_overlap(e);
    return earlier ? extent - rounded : whole;
}

/* The distance between the vectors of a block of all lanes. */
static int vector_spacing(const Emission *e) {
    int distances = e->columns - 1, last = e->lanes - e->length;
    bool overlap = distances > 0 && e->lanes % e->length != 0 && last % distances == 0;
    return overlap && may_overlap(e) ? last / distances : e->length;
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
        if (part == 1 && !loop) {
            begin = start_of_rest(e, d, begin);
            step = end - begin;
        }
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
    if (tile->form == TILE_BROADCAST && tile->column_dim < 0) {
        e->columns = (e->lanes + e->length - 1) / e->length;
        e->spacing = vector_spacing(e);
    }
    if (!tile->in_parts)
        contraction_clip(e);
    if (e->clearing)
        emit_store(e, NULL, false);
    else if (tile->in_parts)
        emit_store(e, contraction_emit_sums(e, e->first_inner), true);
    else if (tile->stored_directly)
        emit_store(e, contraction_emit_sums(e, 0), e->plan->contraction->accumulate);
    else
        emit_tile(e);
}

/* Whether what the parts add up to is not yet the result. */
static bool needs_finish(const ContractionPlan *plan) {
    return plan->contraction->to_result || plan->tile.sums_lanes_last;
}

/* The results of these loops become zero; then every part is added to all of them. */
static void emit_parts(Emission *e, int at) {
    bool slots = e->plan->tile.slots > 1;
    e->first_part = -1;
    e->clearing = slots || !e->plan->contraction->accumulate || needs_finish(e->plan);
    if (e->clearing)
        emit_outer(e, at);
    e->clearing = false;
    contraction_open_channel_sums(e);
    int opened =
        slots ? contraction_open_slot_parts(e) : contraction_open_reduced(e, 0, e->first_inner);
    contraction_add_channels(e);
    emit_outer(e, at);
    close_blocks(e->b, opened);
    contraction_close_channel_sums(e);
    e->first_part = at;
}

static void emit_outer(Emission *e, int at) {
    const Tile *tile = &e->plan->tile;
    if (tile->panel && at == e->first_part)
        make_panel(e);
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
        emit_blocks(e, at, d, &e->lanes, contraction_vector_blocks(e->plan, tile));
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
    int slots = plan->tile.slots > 1 ? plan->tile.slots : 1;
    int64_t size = slots * contraction_slot_size(plan);
    plan->result.buffer = needs_finish(plan) || slots > 1
                              ? lower_scratch(plan->lowering, "sums", tensor->per_example, size)
                              : lower_buffer(plan->lowering, tensor);
}

static void emit_finish(Emission *e) {
    ContractionPlan *plan = e->plan;
    int list[MAX_PLAN_DIMS], count = contraction_list_dims(plan, false, list), opened = 0;
    for (int i = 0; i < count; i++)
        e->dims[list[i]] = plan_dim_open(plan, LOOP_INDEPENDENT, list[i], &opened);
    Expr *offset = side_offset(e, &plan->result), *sum;
    if (plan->tile.sums_lanes_last) {
        sum = lower_lane_sum(plan->lowering, contraction_slots_total(e, "lanes", offset));
    } else {
        sum = load_at(e->b, plan->result.buffer, 1, &offset);
    }
    contraction_finish(plan, e->dims, sum);
    close_blocks(e->b, opened);
}

void contraction_emit_tiled(ContractionPlan *plan) {
    Emission e = {.plan = plan, .b = plan->lowering->builder};
    e.length = plan->lowering->options->vector_length;
    e.rows = e.lines = e.columns = 1;
    e.lanes = e.spacing = e.length;
    contraction_order_outer(&e);
    e.reduced_count = contraction_list_dims(plan, true, e.reduced);
    e.first_inner = contraction_first_inner(&e);
    e.first_part = contraction_move_shares(&e);
    prepare_sides(&e);
    if (plan->tile.in_parts || plan->tile.stored_directly)
        make_result(plan);
    if (plan->tile.slots > 1)
        contraction_open_slots(&e);
    emit_outer(&e, 0);
    if (plan->tile.slots > 1)
        contraction_close_slots(&e);
    if (plan->tile.in_parts && needs_finish(plan))
        emit_finish(&e);
}
