/* The operands of a tiled contraction: as they lie in memory, or copied to where and how the tile
 * reads them. */
#include "contraction_emission.h"

/* offset with equal coefficients gathered, largest first: n*3072 + (oh + kh)*32 + ow. */
Expr *side_offset(const Emission *e, const Side *side) {
    Builder *b = e->b;
    int count = e->plan->dim_count;
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

/* The loop over examples, or blocks of them, of a copy. */
static Expr *open_copied_examples(Emission *e, int64_t block) {
    Builder *b = e->b;
    if (block == 1)
        return open_batch(b, LOOP_INDEPENDENT);
    return open_range(b, LOOP_INDEPENDENT, "nb", integer(b, 0), example_blocks(b, block), 1);
}

static void clear_padded(Emission *e, Side *side, const AxisLayout *axes, int count) {
    Builder *b = e->b;
    int batched = side->operand->tensor->per_example;
    int64_t lanes = batched ? axes[0].block : 1;
    const char *const *letters = axis_letters(side->operand->tensor->rank);
    Expr *offset = integer(b, 0);
    for (int axis = 0; axis < count; axis++) {
        Expr *i = axis < batched
                      ? open_copied_examples(e, lanes)
                      : open_loop(b, LOOP_INDEPENDENT, letters[axis - batched], axes[axis].extent);
        offset = plus(b, times(b, offset, integer(b, axes[axis].extent)), i);
    }
    if (lanes > 1)
        offset = plus(b, times(b, offset, integer(b, lanes)),
                      open_loop(b, LOOP_INDEPENDENT, "lane", lanes));
    store_at(b, side->buffer, 1, &offset, number(b, 0), false);
    close_blocks(b, count + (lanes > 1));
}

/* A copy into a padded buffer while its loops are being made. */
typedef struct Fill {
    Side *side;
    const AxisLayout *axes;
    int last;              /* axis */
    int64_t lanes;         /* > 1: of examples in the blocks of the copy */
    Expr *index[MAX_AXES]; /* of the element of the tensor; first the block of examples */
    Expr *place;           /* in the copy, of the axes so far */
} Fill;

static void open_copied_axis(Emission *e, Fill *fill, int axis, Expr *begin, Expr *end,
                             int64_t step) {
    Builder *b = e->b;
    const Tensor *tensor = fill->side->operand->tensor;
    const AxisLayout *a = &fill->axes[axis];
    int spatial = axis - tensor->per_example;
    fill->index[axis] = spatial < 0
                            ? open_copied_examples(e, fill->lanes)
                            : open_range(b, LOOP_INDEPENDENT, axis_letters(tensor->rank)[spatial],
                                         begin, end, step);
    Expr *along =
        minus(b, times(b, fill->index[axis], integer(b, a->divisor)), integer(b, a->shift));
    fill->place = plus(b, times(b, fill->place, integer(b, a->extent)), along);
}

/* The elements begin..end-1 of the last axis, one by one. */
static void fill_elements(Emission *e, const Fill *fill, Expr *begin, Expr *end) {
    Builder *b = e->b;
    Fill at = *fill;
    open_copied_axis(e, &at, at.last, begin, end, 1);
    if (at.lanes > 1) {
        Expr *lane = open_loop(b, LOOP_INDEPENDENT, "lane", at.lanes);
        at.index[0] = blocked_index(b, at.index[0], lane, at.lanes);
        at.place = plus(b, times(b, at.place, integer(b, at.lanes)), lane);
    }
    Expr *value = tensor_load(e->plan->lowering, at.side->operand->tensor, at.index);
    store_at(b, at.side->buffer, 1, &at.place, value, false);
    close_blocks(b, 1 + (at.lanes > 1));
}

/* The same by whole vectors of the last axis, which become examples side by side; in a block that
 * the batch does not fill one by one. */
static void fill_vectors(Emission *e, const Fill *fill, int64_t begin, int64_t end) {
    Builder *b = e->b;
    Fill at = *fill;
    Tensor *tensor = at.side->operand->tensor;
    open_copied_axis(e, &at, at.last, integer(b, begin), integer(b, end), e->length);
    Expr *first = times(b, at.index[0], integer(b, at.lanes)), *vector = at.index[at.last];
    open_if(b, less_equal(b, plus(b, first, integer(b, at.lanes)), batch_size(b)));
    at.index[0] = first;
    Expr *from = tensor_load(e->plan->lowering, tensor, at.index);
    lower_transpose(
        e->plan->lowering,
        &(VectorRows){at.side->buffer, times(b, at.place, integer(b, at.lanes)), at.lanes},
        &(VectorRows){from->buffer, from->argument[0], tensor->elements});
    close_blocks(b, 1);
    open_else(b);
    fill_elements(e, fill, vector, plus(b, vector, integer(b, e->length)));
    close_blocks(b, 2);
}

/* Whether examples that become lanes lie in C order, their last axis dense in the copy. */
static bool turns_examples(const Emission *e, const Fill *fill) {
    return fill->lanes > 1 && fill->lanes == e->length && fill->axes[fill->last].divisor == 1 &&
           fill->side->operand->tensor->layout.blocked_axis == NOT_BLOCKED;
}

static void fill_padded(Emission *e, Side *side, const AxisLayout *axes, int count) {
    Builder *b = e->b;
    Fill fill = {.side = side,
                 .axes = axes,
                 .last = count - 1,
                 .lanes = side->operand->tensor->per_example ? axes[0].block : 1,
                 .place = integer(b, 0)};
    for (int axis = 0; axis < fill.last; axis++)
        open_copied_axis(e, &fill, axis, integer(b, axes[axis].first), integer(b, axes[axis].end),
                         1);
    int64_t begin = axes[fill.last].first, end = axes[fill.last].end, whole = begin;
    if (turns_examples(e, &fill))
        whole += (end - begin) / e->length * e->length;
    if (whole > begin)
        fill_vectors(e, &fill, begin, whole);
    if (whole < end)
        fill_elements(e, &fill, integer(b, whole), integer(b, end));
    close_blocks(b, fill.last);
}

/* Whether a copy has elements that the tensor does not fill. */
static bool has_gaps(const Side *side, const AxisLayout *axes, int count) {
    for (int axis = side->operand->tensor->per_example; axis < count; axis++)
        if (axes[axis].divisor > 1 || axes[axis].end - axes[axis].first != axes[axis].extent)
            return true;
    return false;
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
    if (has_gaps(side, axes, count))
        clear_padded(e, side, axes, count);
    fill_padded(e, side, axes, count);
    contraction_place(plan, side, axes);
    side->guarded = false;
}

static int64_t block_lanes(const Emission *e) {
    const Tile *tile = &e->plan->tile;
    return tile->column_dim >= 0 ? e->length : (int64_t)tile->columns * e->length;
}

/* The same dimensions as they lie in the tensor: reads from beyond the caches cost more than
 * writes. */
static void sort_outermost_first(const Side *side, int *order, int count) {
    for (int i = 1; i < count; i++)
        for (int k = i; k > 0 && side->coefficient[order[k]] > side->coefficient[order[k - 1]];
             k--) {
            int d = order[k];
            order[k] = order[k - 1];
            order[k - 1] = d;
        }
}

/* Where the lane `v` of vector_dim lies in a copy of so many lanes in all, in blocks, at the
 * indices of the other dimensions. */
static Expr *packed_offset(Emission *e, const Side *copy, Expr *v, int64_t all) {
    Builder *b = e->b;
    int d = e->plan->tile.vector_dim;
    int64_t lanes = block_lanes(e);
    Expr *within = all == lanes ? v : remainder_of(b, v, integer(b, lanes));
    Expr *place = e->dims[d];
    e->dims[d] = all == lanes ? integer(b, 0) : minus(b, v, within);
    Expr *offset = plus(b, side_offset(e, copy), within);
    e->dims[d] = place;
    return offset;
}

/* The lanes of vector_dim from the first to `whole`, which lie along another dimension in the
 * tensor, by whole vectors of both. */
static void fill_transposed(Emission *e, const Side *side, const Side *copy, const int *order,
                            int count, int other, int64_t whole, int64_t all) {
    ContractionPlan *plan = e->plan;
    Builder *b = e->b;
    int v = plan->tile.vector_dim, opened = 0;
    for (int i = 0; i < count; i++)
        if (order[i] != other)
            e->dims[order[i]] = plan_dim_open(plan, LOOP_INDEPENDENT, order[i], &opened);
    Expr *place = e->dims[v];
    e->dims[other] = e->dims[v] = integer(b, 0);
    if (whole > e->length) {
        e->dims[v] = open_range(b, LOOP_INDEPENDENT, plan->dims[v].letter, integer(b, 0),
                                integer(b, whole), e->length);
        opened++;
    }
    VectorRows to = {copy->buffer, packed_offset(e, copy, e->dims[v], all),
                     copy->coefficient[other]};
    VectorRows from = {side->buffer, side_offset(e, side), side->coefficient[v]};
    lower_transpose(plan->lowering, &to, &from);
    close_blocks(b, opened);
    e->dims[v] = place;
}

/* The lanes from `begin` on one by one, up to whole vectors with zeros. */
static void fill_packed(Emission *e, const Side *side, const Side *copy, const int *order,
                        int count, int64_t begin, int64_t all) {
    ContractionPlan *plan = e->plan;
    Builder *b = e->b;
    int v = plan->tile.vector_dim, opened = 0;
    int64_t extent = plan->dims[v].extent, end = (extent + e->length - 1) / e->length * e->length;
    for (int i = 0; i < count; i++)
        e->dims[order[i]] = plan_dim_open(plan, LOOP_INDEPENDENT, order[i], &opened);
    Expr *place = e->dims[v];
    Expr *lane = open_range(b, LOOP_INDEPENDENT, plan->dims[v].letter, integer(b, begin),
                            integer(b, end), 1);
    e->dims[v] = lane;
    Expr *from = side_offset(e, side), *to = packed_offset(e, copy, lane, all);
    Expr *value = load_at(b, side->buffer, 1, &from);
    if (end != extent)
        value = choose(b, less(b, lane, integer(b, extent)), value, number(b, 0));
    store_at(b, copy->buffer, 1, &to, value, false);
    close_blocks(b, opened + 1);
    e->dims[v] = place;
}

static void fill_copy(Emission *e, const Side *side, const Side *copy, int *order, int count) {
    const ContractionPlan *plan = e->plan;
    int other = contraction_transposed_dim(plan, &plan->tile);
    int64_t lanes = block_lanes(e), extent = plan->dims[plan->tile.vector_dim].extent;
    int64_t all = (extent + lanes - 1) / lanes * lanes, whole = 0;
    if (other >= 0) {
        whole = extent / e->length * e->length;
        sort_outermost_first(side, order, count);
        fill_transposed(e, side, copy, order, count, other, whole, all);
    }
    if (whole < extent)
        fill_packed(e, side, copy, order, count, whole, all);
}

/* A copy of the vector side in the order in which the tile reads it:
 * [batch and outer dims][block of lanes][reduced dims][lane], zeros in the last vector past the
 * end.
 */
static void make_packed(Emission *e, Side *side) {
    ContractionPlan *plan = e->plan;
    int v = plan->tile.vector_dim;
    int64_t lanes = block_lanes(e), blocks = (plan->dims[v].extent + lanes - 1) / lanes;
    int order[MAX_PLAN_DIMS] = {0}, count = 0;
    bool batched = false;
    for (int pass = 0; pass < 3; pass++) /* the batch, outer dims, reduced dims */
        for (int d = 0; d < plan->dim_count; d++) {
            int group = plan->dims[d].batch ? 0 : plan->dims[d].reduce ? 2 : 1;
            if (group == pass && d != v && side->coefficient[d] != 0)
                order[count++] = d;
        }
    int64_t packed[MAX_PLAN_DIMS] = {0}, stride = lanes, examples = 1;
    bool blocked = false;
    for (int i = count - 1; i >= 0; i--) {
        int d = order[i];
        bool reduced = plan->dims[d].reduce && !plan->dims[d].batch;
        if (!reduced && !blocked) {
            packed[v] = stride / lanes; /* times the index of the first lane of a block */
            stride *= blocks;
            blocked = true;
        }
        packed[d] = stride;
        if (plan->dims[d].batch) {
            batched = true;
            examples = plan->dims[d].scale;
        }
        stride *= plan->dims[d].batch ? 1 : plan->dims[d].extent;
    }
    if (!blocked) {
        packed[v] = stride / lanes;
        stride *= blocks;
    }
    Side copy = *side;
    copy.buffer = lower_scratch(plan->lowering, "packed", batched, stride / examples);
    copy.base = 0;

    for (int d = 0; d < plan->dim_count; d++)
        copy.coefficient[d] = packed[d];
    fill_copy(e, side, &copy, order, count);
    *side = copy;
}

void prepare_sides(Emission *e) {
    ContractionPlan *plan = e->plan;
    const Tile *tile = &plan->tile;
    int64_t extent = plan->dims[tile->vector_dim].extent;
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

void make_panel(Emission *e) {
    ContractionPlan *plan = e->plan;
    Builder *b = e->b;
    int v = plan->tile.vector_dim, n = e->reduced[0], opened = 0;
    Side *side = &plan->side[plan->tile.vector_side];
    int64_t width = plan->dims[v].extent, size = plan->dims[n].extent * width;
    Buffer *panel = declare_array(b, "panel", TYPE_REAL, 1, &size);
    e->dims[n] = plan_dim_open(plan, LOOP_SERIAL, n, &opened);
    e->dims[v] = integer(b, 0);
    Expr *t = open_unrolled(b, "t", width / e->length, &opened);
    Expr *vector = load_vector(e, side, t);
    Expr *to = plus(b, times(b, e->dims[n], integer(b, width)), times(b, t, integer(b, e->length)));
    store_at(b, panel, 1, &to, vector, false);
    close_blocks(b, opened);
    *side = (Side){.operand = side->operand, .buffer = panel};
    side->coefficient[n] = width;
    side->coefficient[v] = 1;
}
