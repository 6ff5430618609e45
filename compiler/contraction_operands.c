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

static void fill_padded(Emission *e, Side *side, const AxisLayout *axes, int count) {
    Builder *b = e->b;
    Tensor *tensor = side->operand->tensor;
    int batched = tensor->per_example;
    int64_t lanes = batched ? axes[0].block : 1;
    const char *const *letters = axis_letters(tensor->rank);
    Expr *index[MAX_AXES], *offset = integer(b, 0);
    for (int axis = 0; axis < count; axis++) {
        const AxisLayout *a = &axes[axis];
        index[axis] = axis < batched ? open_copied_examples(e, lanes)
                                     : open_range(b, LOOP_INDEPENDENT, letters[axis - batched],
                                                  integer(b, a->first), integer(b, a->end), 1);
        Expr *place = minus(b, times(b, index[axis], integer(b, a->divisor)), integer(b, a->shift));
        offset = plus(b, times(b, offset, integer(b, a->extent)), place);
    }
    if (lanes > 1) {
        Expr *lane = open_loop(b, LOOP_INDEPENDENT, "lane", lanes);
        index[0] = blocked_index(b, index[0], lane, lanes);
        offset = plus(b, times(b, offset, integer(b, lanes)), lane);
    }
    Expr *value = tensor_load(e->plan->lowering, tensor, index);
    store_at(b, side->buffer, 1, &offset, value, false);
    close_blocks(b, count + (lanes > 1));
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

/* The blocks whose lanes lie along vector_dim in the copy and along another dimension in the tensor
 * are transposed as a whole; false where there are none. */
static bool fill_transposed(Emission *e, const Side *side, const Side *copy, int *order,
                            int count) {
    ContractionPlan *plan = e->plan;
    Builder *b = e->b;
    int v = plan->tile.vector_dim, other = contraction_transposed_dim(plan, &plan->tile),
        opened = 0;
    if (other < 0)
        return false;
    sort_outermost_first(side, order, count);
    for (int i = 0; i < count; i++)
        if (order[i] != other)
            e->dims[order[i]] = plan_dim_open(plan, LOOP_INDEPENDENT, order[i], &opened);
    Expr *place = e->dims[v];
    e->dims[v] = e->dims[other] = integer(b, 0);
    VectorRows to = {copy->buffer, side_offset(e, copy), copy->coefficient[other]};
    VectorRows from = {side->buffer, side_offset(e, side), side->coefficient[v]};
    lower_transpose(plan->lowering, &to, &from);
    close_blocks(b, opened);
    e->dims[v] = place;
    return true;
}

/* Element by element. */
static void fill_packed(Emission *e, const Side *side, const Side *copy, const int *order,
                        int count) {
    ContractionPlan *plan = e->plan;
    Builder *b = e->b;
    int v = plan->tile.vector_dim, opened = 0;
    int64_t lanes = block_lanes(e), extent = plan->dims[v].extent;
    int64_t rounded = (extent + lanes - 1) / lanes * lanes;
    for (int i = 0; i < count; i++)
        e->dims[order[i]] = plan_dim_open(plan, LOOP_INDEPENDENT, order[i], &opened);
    Expr *place = e->dims[v];
    Expr *lane = open_loop(b, LOOP_INDEPENDENT, plan->dims[v].letter, rounded);
    e->dims[v] = lane;
    Expr *within = rounded == lanes ? lane : remainder_of(b, lane, integer(b, lanes));
    Expr *from = side_offset(e, side);
    e->dims[v] = rounded == lanes ? integer(b, 0) : minus(b, lane, within);
    Expr *to = plus(b, side_offset(e, copy), within);
    Expr *value = load_at(b, side->buffer, 1, &from);
    if (rounded != extent)
        value = choose(b, less(b, lane, integer(b, extent)), value, number(b, 0));
    store_at(b, copy->buffer, 1, &to, value, false);
    close_blocks(b, opened + 1);
    e->dims[v] = place;
}

/* A copy of the vector side in the order in which the tile reads it:
 * [batch and outer dims][block of lanes][reduced dims][lane], zeros in the lanes past the end. */
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
    int64_t packed[MAX_PLAN_DIMS] = {0}, stride = lanes, elements;
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
        batched = batched || plan->dims[d].batch;
        stride *= plan->dims[d].batch ? 1 : plan->dims[d].extent;
    }
    if (!blocked) {
        packed[v] = stride / lanes;
        stride *= blocks;
    }
    elements = stride;
    Side copy = *side;
    copy.buffer = lower_scratch(plan->lowering, "packed", batched, elements);
    copy.base = 0;

    for (int d = 0; d < plan->dim_count; d++)
        copy.coefficient[d] = packed[d];
    if (!fill_transposed(e, side, &copy, order, count))
        fill_packed(e, side, &copy, order, count);
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
