/* Prefetching. A tile reads lines from many places: hardware follows neither the jump from one
 * block of channels to the next nor the short rows of results. So each step of the innermost loop,
 * long enough for that, asks for lines that are needed soon. */
#include "contraction_emission.h"

/* The reduced dimension whose every step reads a chunk of vectors without gaps, in whatever order:
 * its place in e->reduced; -1: none. */
static int find_chunk(const Emission *e, int from, int64_t unit) {
    const Side *vectors = &e->plan->side[e->plan->tile.vector_side];
    int found = -1;
    for (int i = e->reduced_count - 1; i >= from; i--) {
        if (i < e->reduced_count - 1 && vectors->coefficient[e->reduced[i]] == unit)
            found = i;
        unit *= e->plan->dims[e->reduced[i]].extent;
    }
    return found;
}

/* Weights that stream from the second level or memory are asked for one chunk ahead, in the order
 * in which they lie there: strides within a chunk leave the hardware's own prefetching behind. */
static bool find_next_vectors(const Emission *e, int from, Side *next) {
    const ContractionPlan *plan = e->plan;
    const Tile *tile = &plan->tile;
    if (!contraction_streams_vectors(plan, tile))
        return false;
    int64_t unit = tile->column_dim >= 0 ? e->length : (int64_t)tile->columns * e->length;
    int chunk = find_chunk(e, from, unit);
    if (chunk < 0)
        return false;
    *next = plan->side[tile->vector_side];
    next->base += next->coefficient[e->reduced[chunk]];
    for (int i = e->reduced_count - 1; i > chunk; i--) {
        next->coefficient[e->reduced[i]] = unit;
        unit *= plan->dims[e->reduced[i]].extent;
    }
    return true;
}

/* ---- Rows: each step of the innermost loop, over the lanes of a block, asks for one ---- */

#define HIDING 3 /* vectors of sums for each prefetch of a step, which hide it */

static int innermost(const Emission *e) {
    return e->reduced[e->reduced_count - 1];
}

/* Lets the innermost index stand for the rows; false where more than two share a line. */
static bool step_through_rows(const Emission *e, Side *side) {
    int64_t row = side->coefficient[e->plan->tile.row_dim];
    side->coefficient[innermost(e)] = row;
    return row >= LINE_REALS / 2;
}

/* From one tile to the next rows of examples that are more than this part of the second-level cache
 * have left the first. */
#define NEAR_PART 4

/* The rows of the other operand in the next block of channels. */
static bool find_next_scalars(const Emission *e, int from, Side *next) {
    const ContractionPlan *plan = e->plan;
    const Side *scalars = &plan->side[!plan->tile.vector_side];
    int block = -1;
    for (int i = from; i < e->reduced_count - 1; i++)
        if (plan->dims[e->reduced[i]].origin == plan->dims[innermost(e)].origin)
            block = e->reduced[i];
    Tensor *tensor = scalars->operand->tensor;
    int near = plan->lowering->options->second_level_cache / NEAR_PART;
    if (block < 0 ||
        (!lower_is_far(plan->lowering, tensor) && !lower_exceeds(plan->lowering, tensor, near)))
        return false;
    *next = *scalars;
    next->base += next->coefficient[block];
    return step_through_rows(e, next);
}

/* A tensor that is read or written where the results go. */
static bool find_results(const Emission *e, Tensor *tensor, Side *results) {
    ContractionPlan *plan = e->plan;
    Operand operand = plan->contraction->result;
    const Tensor *like = operand.tensor;
    bool alike = tensor->layout.blocked_axis == like->layout.blocked_axis &&
                 tensor->layout.block == like->layout.block && tensor_same_extents(tensor, like);
    if (!alike || !lower_is_far(plan->lowering, tensor))
        return false;
    AxisLayout axes[MAX_AXES];
    operand.tensor = tensor;
    *results = (Side){.operand = &operand, .buffer = lower_buffer(plan->lowering, tensor)};
    contraction_layout(plan, &operand, false, 0, axes);
    contraction_place(plan, results, axes);
    results->operand = NULL;
    return step_through_rows(e, results);
}

/* Rows of the other operand, weights that lie in order: while some are multiplied the next ones
 * come, and as many numbers of them in each step as it has rows. */
static bool find_next_rows(const Emission *e, Side *next) {
    const ContractionPlan *plan = e->plan;
    const Tile *tile = &plan->tile;
    const Side *scalars = &plan->side[!tile->vector_side];
    double bytes = (double)scalars->operand->tensor->elements * sizeof(float);
    if (!plan->turned || e->rows < tile->rows || tile->row_dim < 0 ||
        bytes <= plan->lowering->options->second_level_cache ||
        scalars->coefficient[tile->row_dim] != plan->dims[innermost(e)].extent)
        return false;
    *next = *scalars;
    next->base += e->rows * next->coefficient[tile->row_dim];
    next->coefficient[innermost(e)] = e->rows;
    return true;
}

/* Whether steps are long enough, and each has a row of its own. */
static bool has_stepped_rows(const Emission *e) {
    const ContractionPlan *plan = e->plan;
    const Tile *tile = &plan->tile;
    return tile->form == TILE_BROADCAST && tile->row_dim >= 0 && tile->column_dim >= 0 &&
           e->reduced_count > 1 && plan->dims[innermost(e)].lanes &&
           plan->dims[innermost(e)].extent == e->length && !plan->dims[tile->row_dim].batch;
}

static const char *next_name(const Emission *e, const Side *side) {
    return arena_format(e->b->arena, "%s_next", side->buffer->name);
}

static Prefetch *point_to(Emission *e, Prefetches *prefetches, const Side *side, const char *name) {
    Builder *b = e->b;
    Prefetch *prefetch = &prefetches->list[prefetches->count++];
    *prefetch = (Prefetch){.from = *side, .count = 1};
    prefetch->halves = 2 * side->coefficient[innermost(e)] <= LINE_REALS;
    prefetch->from.buffer = declare_pointer(b, name, side->buffer, side_offset(e, side));
    prefetch->from.base = 0;
    return prefetch;
}

/* How often a step asks: for a row of each line, or for two where rows are more than steps. */
static int row_repeats(const Emission *e) {
    return e->lines > 1 ? e->lines : e->rows > e->length ? 2 : 1;
}

static Prefetch *point_to_rows(Emission *e, Prefetches *prefetches, const Side *side,
                               const char *name) {
    const Tile *tile = &e->plan->tile;
    Prefetch *prefetch = point_to(e, prefetches, side, name);
    prefetch->count = row_repeats(e);
    prefetch->distance = e->lines > 1 ? side->coefficient[tile->line_dim]
                                      : (e->rows - e->length) * side->coefficient[tile->row_dim];
    return prefetch;
}

static void point_to_results(Emission *e, Prefetches *prefetches) {
    ContractionPlan *plan = e->plan;
    Tensor *tensors[MAX_NEAR_TENSORS];
    Side results;
    int count =
        lower_result_tensors(plan->lowering, plan->contraction->node, tensors, MAX_NEAR_TENSORS);
    if (count * row_repeats(e) * HIDING > e->rows * e->lines)
        return;
    for (int i = 0; i < count; i++)
        if (find_results(e, tensors[i], &results))
            point_to_rows(e, prefetches, &results, "near")->write =
                lower_is_written(plan->lowering, tensors[i]);
}

/* ---- Parts of a sum: each step asks for what the same step of the next part will read ---- */

/* Tiles that ask for one line: of more, asking costs more than it saves. */
#define MOST_READERS 48

/* Whether an index leaves a side in its lines: where it is or within a line, or where a sum brings
 * it as well, as that over positions brings the taps of a window. */
static bool stays_in_lines(const ContractionPlan *plan, const Side *side, int d) {
    bool stays = side->coefficient[d] < LINE_REALS;
    for (int sum = 0; sum < plan->dim_count; sum++)
        stays = stays || (plan->dims[sum].reduce && side->coefficient[sum] == side->coefficient[d]);
    return stays;
}

/* How many tiles of a part read the same lines of a side. */
static int64_t count_readers(const Emission *e, const Side *side) {
    const Tile *tile = &e->plan->tile;
    int64_t readers = 1;
    for (int i = 0; i < e->outer_count; i++) {
        int d = e->outer[i], size = d == tile->row_dim      ? tile->rows
                                    : d == tile->column_dim ? tile->columns
                                                            : 1;
        if (!e->plan->dims[d].share && stays_in_lines(e->plan, side, d))
            readers *= (e->plan->dims[d].extent + size - 1) / size;
    }
    return readers;
}

static bool find_next_part(const Emission *e, const Side *side, Side *next) {
    if (!lower_is_large(e->plan->lowering, side->operand->tensor) ||
        side->coefficient[innermost(e)] < LINE_REALS || count_readers(e, side) > MOST_READERS)
        return false;
    *next = *side;
    next->base += side->coefficient[e->reduced[e->first_inner - 1]];
    return true;
}

static void point_to_next_part(Emission *e, Prefetches *prefetches) {
    Side next;
    if (e->first_inner == 0 || (1 + e->columns) * HIDING > e->rows * e->lines * e->columns)
        return;
    for (int s = 0; s < 2; s++)
        if (find_next_part(e, &e->plan->side[s], &next))
            point_to(e, prefetches, &next, next_name(e, &next))->far = true;
}

/* ---- Weights that are read once: while the tiles of one block of channels are multiplied, those
 * of the next come from memory, a share with each tile ---- */

/* How many tiles have the same weights; *number: of this one among those that follow each other. */
static int64_t count_tiles(const Emission *e, Expr **number) {
    Builder *b = e->b;
    const Tile *tile = &e->plan->tile;
    int64_t count = 1;
    bool inside = false;
    *number = integer(b, 0);
    for (int i = 0; i < e->outer_count; i++) {
        int d = e->outer[i];
        int size = d == tile->row_dim ? tile->rows : d == tile->line_dim ? tile->lines : 1;
        int64_t blocks = (e->plan->dims[d].extent + size - 1) / size;
        if (inside)
            *number = plus(b, times(b, *number, integer(b, blocks)),
                           over(b, e->dims[d], integer(b, size)));
        inside = inside || d == tile->column_dim;
        count *= e->plan->side[tile->vector_side].coefficient[d] ? 1 : blocks;
    }
    return count;
}

/* A tensor's weights whose blocks lie one after another. */
static bool has_block_of_weights(const ContractionPlan *plan, int64_t *terms) {
    const Tile *tile = &plan->tile;
    const Side *vectors = &plan->side[tile->vector_side];
    *terms = 1;
    for (int d = 0; d < plan->dim_count; d++)
        *terms *= plan->dims[d].reduce ? plan->dims[d].extent : 1;
    return tile->form == TILE_BROADCAST && tile->column_dim >= 0 && tile->row_dim >= 0 &&
           !tile->in_parts && !vectors->operand->tensor->per_example &&
           vectors->coefficient[tile->column_dim] ==
               *terms * plan->lowering->options->vector_length;
}

void contraction_prefetch_block(Emission *e, int last) {
    ContractionPlan *plan = e->plan;
    Builder *b = e->b;
    int column = plan->tile.column_dim, opened = 1;
    int64_t terms, chunks = 1;
    Expr *share, *dims[MAX_PLAN_DIMS];
    if (last == 0 || contraction_keeps_vectors(plan) || !has_block_of_weights(plan, &terms))
        return;
    int64_t tiles = count_tiles(e, &share);
    for (int i = 0; i < last; i++) {
        int64_t extent = plan->dims[e->reduced[i]].extent;
        share = plus(b, times(b, share, integer(b, extent)), e->dims[e->reduced[i]]);
        chunks *= extent;
    }
    int64_t steps = terms / chunks, lines = (steps + tiles - 1) / tiles;
    if (tiles == 1 || tiles > steps)
        return;
    for (int d = 0; d < plan->dim_count; d++) {
        dims[d] = e->dims[d];
        e->dims[d] = plan->dims[d].reduce ? integer(b, 0) : dims[d];
    }
    Expr *t = open_unless_single(b, LOOP_SERIAL, "t", e->columns, &opened);
    Expr *line = open_loop(b, LOOP_SERIAL, "line", lines);
    e->dims[column] = plus(b, dims[column], plus(b, t, integer(b, e->columns)));
    line = plus(b, times(b, share, integer(b, lines)), line);
    const Side *vectors = &plan->side[plan->tile.vector_side];
    Expr *offset = plus(b, side_offset(e, vectors), times(b, line, integer(b, e->length)));
    Expr *element = load_at(b, vectors->buffer, 1, &offset); /* the macro takes its address */
    call_statement(b, call(b, TYPE_REAL, "VECTOR_PREFETCH_FAR", 1, &element));
    close_blocks(b, opened);
    for (int d = 0; d < plan->dim_count; d++)
        e->dims[d] = dims[d];
}

/* With a step of the optimizer: weights and states of the next rows. */
static void point_to_updated(Emission *e, Prefetches *prefetches) {
    ContractionPlan *plan = e->plan;
    const Node *node = plan->contraction->node;
    Side next = plan->result;
    next.base += e->rows * next.coefficient[plan->tile.row_dim];
    for (int i = -1; i < MAX_STATES; i++) {
        Tensor *tensor = i < 0 ? node->parameters[0] : node->states[i];
        if (tensor == NULL)
            continue;
        next.buffer = lower_buffer(plan->lowering, tensor);
        point_to(e, prefetches, &next, next_name(e, &next))->lines = true;
    }
}

Prefetches contraction_point_ahead(Emission *e, int from) {
    Prefetches prefetches = {.count = 0};
    Side side;
    if (e->plan->tile.form != TILE_BROADCAST)
        return prefetches;
    if (e->plan->tile.panel && e->plan->tile.row_dim >= 0 && e->rows == e->plan->tile.rows) {
        point_to_updated(e, &prefetches);
        return prefetches;
    }
    if (e->plan->tile.in_parts)
        point_to_next_part(e, &prefetches);
    if (find_next_vectors(e, from, &side))
        point_to(e, &prefetches, &side, next_name(e, &side));
    if (find_next_rows(e, &side))
        point_to(e, &prefetches, &side, next_name(e, &side))->far = true;
    if (e->plan->tile.in_parts || !has_stepped_rows(e) || !e->plan->contraction->to_result)
        return prefetches;
    if (find_next_scalars(e, from, &side))
        point_to_rows(e, &prefetches, &side, next_name(e, &side));
    point_to_results(e, &prefetches);
    return prefetches;
}

/* The vectors of all columns. */
static void prefetch_vectors(Emission *e, const Side *from, const char *macro) {
    Builder *b = e->b;
    int opened = 0, column = e->plan->tile.column_dim;
    bool same = column >= 0 && from->coefficient[column] == 0;
    Expr *t = open_unrolled(b, "t", same ? 1 : e->columns, &opened);
    Expr *vector = load_vector(e, from, t);
    vector->type = TYPE_REAL; /* the macro takes an element's address */
    call_statement(b, call(b, TYPE_REAL, macro, 1, &vector));
    close_blocks(b, opened);
}

/* Line by line, as many as there are. */
static void prefetch_lines(Emission *e, const Prefetches *prefetches) {
    Builder *b = e->b;
    Expr *step = e->dims[innermost(e)];
    int64_t lines = ((int64_t)e->columns * e->length + LINE_REALS - 1) / LINE_REALS;
    Expr *of_row = integer(b, lines);
    open_if(b, less(b, step, integer(b, lines * e->rows)));
    for (int i = 0; i < prefetches->count; i++) {
        const Side *from = &prefetches->list[i].from;
        Expr *row =
            times(b, over(b, step, of_row), integer(b, from->coefficient[e->plan->tile.row_dim]));
        Expr *column = times(b, remainder_of(b, step, of_row), integer(b, LINE_REALS));
        Expr *offset = plus(b, row, column);
        Expr *line = load_at(b, from->buffer, 1, &offset);
        call_statement(b, call(b, TYPE_REAL, "VECTOR_PREFETCH", 1, &line));
    }
    close_blocks(b, 1);
}

void contraction_prefetch(Emission *e, const Prefetches *prefetches, bool halves) {
    if (prefetches->count > 0 && prefetches->list[0].lines) {
        if (!halves)
            prefetch_lines(e, prefetches);
        return;
    }
    for (int i = 0; i < prefetches->count; i++) {
        const Prefetch *prefetch = &prefetches->list[i];
        const char *macro = prefetch->write ? "VECTOR_PREFETCH_WRITE"
                            : prefetch->far ? "VECTOR_PREFETCH_FAR"
                                            : "VECTOR_PREFETCH";
        for (int k = 0; k < prefetch->count && prefetch->halves == halves; k++) {
            Side from = prefetch->from;
            from.base = k * prefetch->distance;
            prefetch_vectors(e, &from, macro);
        }
    }
}
