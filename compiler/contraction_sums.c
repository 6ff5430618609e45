/* The sums of a tile in registers: the loops over the reduced dimensions and the step inside them.
 */
#include "contraction_emission.h"

static bool depends(const Side *side, int d) {
    return d >= 0 && side->coefficient[d] != 0;
}

/* ---- A step: all multiply-adds for one combination of the reduced dimensions ---- */

Expr *load_vector(Emission *e, const Side *side, Expr *column) {
    int d = e->plan->tile.column_dim;
    Expr *block = d >= 0 ? shift_dim(e, d, column) : NULL;
    Expr *offset = side_offset(e, side);
    if (d >= 0)
        restore_dim(e, d, block);
    else
        offset = plus(e->b, offset, times(e->b, column, integer(e->b, e->spacing)));
    Expr *load = load_at(e->b, side->buffer, 1, &offset);
    load->type = TYPE_VECTOR;
    return load;
}

static int free_registers(const Emission *e) {
    return e->plan->lowering->options->registers - e->rows * e->lines * e->columns;
}

static bool has_few_registers(const Emission *e) {
    return lower_has_few_registers(e->plan->lowering->options);
}

/* One of several columns stays in its register until all rows have used it. */
static void hold_value(Emission *e, Buffer *held, Expr *column) {
    Builder *b = e->b;
    Expr *value = load_at(b, held, 1, &column);
    if (e->columns > 1)
        call_statement(b, call(b, TYPE_VECTOR, "VECTOR_HOLD", 1, &value));
}

/* Whether a step loads its vectors once for all rows, BROADCAST. */
static bool holds_vectors(const Emission *e) {
    const Tile *tile = &e->plan->tile;
    return !depends(&e->plan->side[tile->vector_side], tile->row_dim) && e->rows * e->lines > 1;
}

/* Whether they are to be kept in registers. Where the registers do not suffice, as for three rows
 * of four vectors out of 16, gcc would put sums into memory instead: a third slower. */
static bool keeps_held(const Emission *e) {
    return e->plan->tile.column_dim < 0 ||
           (has_few_registers(e) && e->columns + 1 <= free_registers(e));
}

/* sum[row][column] += ... for one combination of the reduced dims, BROADCAST. */
static void emit_broadcast_step(Emission *e, Buffer *sum) {
    Builder *b = e->b;
    const Tile *tile = &e->plan->tile;
    const Side *vectors = &e->plan->side[tile->vector_side];
    const Side *scalars = &e->plan->side[!tile->vector_side];
    int64_t extent = e->columns;
    Buffer *held = NULL;
    if (holds_vectors(e)) {
        int opened = 0;
        held = declare_array(b, "held", TYPE_VECTOR, 1, &extent);
        Expr *t = open_unrolled(b, "t", extent, &opened);
        store_at(b, held, 1, &t, load_vector(e, vectors, t), false);
        if (keeps_held(e))
            hold_value(e, held, t);
        close_blocks(b, opened);
    }
    int opened = 0;
    Rows rows;
    Expr *row = contraction_open_rows(e, true, &rows, &opened);
    Expr *offset = side_offset(e, scalars);
    Expr *scalar = load_at(b, scalars->buffer, 1, &offset);
    Expr *set = declare(b, "scalar", TYPE_VECTOR, call(b, TYPE_VECTOR, "VECTOR_SET", 1, &scalar));
    Expr *t = open_unrolled(b, "t", extent, &opened);
    Expr *vector = held ? load_at(b, held, 1, &t) : load_vector(e, vectors, t);
    Expr *place[2] = {row, t};
    store_at(b, sum, 2, place, times(b, set, vector), true);
    close_blocks(b, opened);
    contraction_close_rows(e, &rows);
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

/* ---- Loops ---- */

/* Whether a step of the innermost loop takes all of a dimension. */
static bool is_one_step(const Emission *e, int d) {
    const Tile *tile = &e->plan->tile;
    bool vector = d == tile->vector_dim && e->plan->dims[d].extent == e->length;
    return tile->form == TILE_DOT && (vector || (tile->chains > 1 && d == tile->chain_dim));
}

int contraction_open_reduced(Emission *e, int from, int to) {
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

void contraction_clear(Emission *e, Buffer *buffer, int64_t columns, bool unroll) {
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

#define BRIEF 112 /* multiply-adds; half as many where registers are few */

/* The innermost loop is so short that counting would cost more than the code of all its steps. Not
 * with chains, whose loads C compilers would bring out of their order then. */
static bool is_brief(const Emission *e, int d) {
    int64_t most = has_few_registers(e) ? BRIEF / 2 : BRIEF;
    const Tile *tile = &e->plan->tile;
    const PlanDim *dim = &e->plan->dims[d];
    int64_t step = tile->form == TILE_DOT && d == tile->vector_dim ? e->length : 1;
    bool constant = !dim->batch && !e->clipped[d].end;
    return constant && tile->chains <= 1 &&
           dim->extent / step * e->rows * e->lines * e->columns <= most;
}

/* Whether rows and the last reduced dimension step alike through the scalars, as positions and taps
 * of a convolution do: then a scalar serves all taps at once. With one column, where a step loads
 * as often as it multiplies, that is worth the registers. */
static bool slides(const Emission *e, int last, const Prefetches *ahead) {
    const ContractionPlan *plan = e->plan;
    const Tile *tile = &plan->tile;
    if (tile->form != TILE_BROADCAST || tile->row_dim < 0 || e->columns > 1 || ahead->count > 0 ||
        last != e->reduced_count - 1)
        return false;
    const Side *vectors = &plan->side[tile->vector_side],
               *scalars = &plan->side[!tile->vector_side];
    int d = e->reduced[last];
    int64_t taps = plan->dims[d].extent;
    return taps > 1 && e->rows > 1 && is_brief(e, d) && !depends(vectors, tile->row_dim) &&
           scalars->coefficient[d] == scalars->coefficient[tile->row_dim] &&
           (int64_t)e->rows * e->lines + taps + 2 <= plan->lowering->options->registers;
}

/* sum[row] += ... for all taps. The order of additions to one sum is as without. */
static void emit_sliding_steps(Emission *e, Buffer *sum, int d) {
    Builder *b = e->b;
    const Tile *tile = &e->plan->tile;
    const Side *scalars = &e->plan->side[!tile->vector_side];
    const char *letter = e->plan->dims[d].letter;
    int64_t taps = e->plan->dims[d].extent;
    int opened = 0;
    Buffer *held = declare_array(b, "held", TYPE_VECTOR, 1, &taps);
    Expr *tap = e->dims[d] = open_unrolled(b, letter, taps, &opened);
    store_at(b, held, 1, &tap, load_vector(e, &e->plan->side[tile->vector_side], integer(b, 0)),
             false);
    close_blocks(b, opened);
    opened = 0;
    e->dims[d] = integer(b, 0);
    Expr *v = open_unrolled(b, "v", e->lines, &opened);
    Expr *line = shift_dim(e, tile->line_dim, v);
    Expr *at = open_unrolled(b, "at", e->rows + taps - 1, &opened);
    Expr *row = shift_dim(e, tile->row_dim, at);
    Expr *offset = side_offset(e, scalars);
    Expr *scalar = load_at(b, scalars->buffer, 1, &offset);
    scalar = declare(b, "scalar", TYPE_VECTOR, call(b, TYPE_VECTOR, "VECTOR_SET", 1, &scalar));
    restore_dim(e, tile->row_dim, row);
    restore_dim(e, tile->line_dim, line);
    tap = open_unrolled(b, letter, taps, &opened);
    Expr *u = minus(b, at, tap);
    open_if(b, both(b, greater_equal(b, u, integer(b, 0)), less(b, u, integer(b, e->rows))));
    Expr *place[2] = {plus(b, times(b, v, integer(b, e->rows)), u), integer(b, 0)};
    store_at(b, sum, 2, place, times(b, scalar, load_at(b, held, 1, &tap)), true);
    close_blocks(b, opened + 1);
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

/* Tiles of few registers have few multiply-adds in a step: two steps share the counting, which
 * takes slots that another thread of the same core wants, and what they ask the caches for. Not
 * where the loads of the second would need registers of the first. */
static bool takes_pairs(const Emission *e, int last) {
    const ContractionPlan *plan = e->plan;
    int d = e->reduced[last];
    return plan->tile.form == TILE_BROADCAST && last == e->reduced_count - 1 &&
           has_few_registers(e) && plan->dims[d].lanes && plan->dims[d].extent % 2 == 0 &&
           !e->clipped[d].end && !is_brief(e, d) && holds_vectors(e) && e->columns > 1 &&
           e->columns + 2 <= free_registers(e);
}

/* The steps of the innermost loop in pairs; returns how many loops were opened. */
static int emit_pairs(Emission *e, Buffer *sum, int last, const Prefetches *ahead) {
    Builder *b = e->b;
    int d = e->reduced[last], opened = 1;
    Expr *pair = e->dims[d] = open_range(b, LOOP_SERIAL, e->plan->dims[d].letter, integer(b, 0),
                                         plan_dim_end(e->plan, d), 2);
    b->open_stmt[b->depth - 1]->rolled = true;
    contraction_prefetch(e, ahead, true);
    e->dims[d] = plus(b, pair, open_unrolled(b, "half", 2, &opened));
    contraction_prefetch(e, ahead, false);
    emit_broadcast_step(e, sum);
    return opened;
}

/* Opens the loops of e->reduced[last...) inside `outer` others and makes their step; returns how
 * many were opened. */
static int emit_steps(Emission *e, Buffer *sum, int last, int outer, const Prefetches *ahead) {
    Builder *b = e->b;
    if (last < e->reduced_count && takes_pairs(e, last))
        return emit_pairs(e, sum, last, ahead);
    int opened = contraction_open_reduced(e, last, e->reduced_count);
    if (outer + opened > 0) {
        bool brief = last < e->reduced_count && is_brief(e, e->reduced[last]);
        b->open_stmt[b->depth - 1]->unroll = brief;
        b->open_stmt[b->depth - 1]->rolled = !brief;
    }
    contraction_prefetch(e, ahead, true);
    contraction_prefetch(e, ahead, false);
    if (e->plan->tile.form == TILE_BROADCAST)
        emit_broadcast_step(e, sum);
    else
        emit_dot_step(e, sum);
    return opened;
}

Buffer *contraction_emit_sums(Emission *e, int from) {
    Builder *b = e->b;
    ContractionPlan *plan = e->plan;
    bool chains = plan->tile.chains > 1; /* then there is one result */
    int64_t extent[2] = {(int64_t)e->rows * e->lines, chains ? plan->tile.chains : e->columns};
    Buffer *sum = declare_array(b, "sum", TYPE_VECTOR, 2, extent);
    contraction_clear(e, sum, extent[1], true);
    int last = e->reduced_count - 1;
    while (last > from && is_one_step(e, e->reduced[last]))
        last--;
    last = last > from ? last : from;
    int inner = contraction_open_reduced(e, from, last);
    Side saved[2];
    Expr *dims[MAX_PLAN_DIMS];
    for (int i = last; i < e->reduced_count; i++)
        e->dims[e->reduced[i]] = integer(b, 0);
    contraction_prefetch_block(e, last);
    Prefetches ahead = contraction_point_ahead(e, from);
    point_to_sides(e, saved, dims);
    if (slides(e, last, &ahead))
        emit_sliding_steps(e, sum, e->reduced[last]);
    else
        inner += emit_steps(e, sum, last, inner, &ahead);
    close_blocks(b, inner);
    if (chains)
        join_chains(e, sum);
    for (int s = 0; s < 2; s++)
        plan->side[s] = saved[s];
    for (int d = 0; d < plan->dim_count; d++)
        e->dims[d] = dims[d];
    return sum;
}
