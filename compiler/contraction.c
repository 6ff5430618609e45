#include "contraction.h"

/* ---- Axis maps ---- */

int operand_axis_count(const Operand *operand) {
    return operand->tensor->rank + operand->tensor->per_example;
}

int64_t operand_axis_extent(const ContractionPlan *plan, const Operand *operand, int axis) {
    if (!operand->tensor->per_example)
        return operand->tensor->extent[axis];
    return axis == 0 ? plan->lowering->options->max_batch : operand->tensor->extent[axis - 1];
}

static int64_t axis_divisor(const AxisMap *map) {
    return map->divisor > 1 ? map->divisor : 1;
}

AxisRange axis_range(const ContractionPlan *plan, const AxisMap *map, int64_t extent) {
    AxisRange range = {map->constant, map->constant, false};
    for (int d = 0; d < plan->contraction->dim_count; d++) {
        int64_t reach = map->coefficient[d] * (plan->extent[d] - 1);
        if (reach < 0)
            range.minimum += reach;
        else
            range.maximum += reach;
    }
    int64_t divisor = axis_divisor(map);
    range.guarded = divisor > 1 || range.minimum < 0 || range.maximum >= extent * divisor;
    return range;
}

Expr *axis_expression(Builder *b, const AxisMap *map, int dim_count, Expr *const *dims) {
    Expr *sum = integer(b, 0);
    for (int d = 0; d < dim_count; d++)
        if (map->coefficient[d] > 0)
            sum = plus(b, sum, times(b, dims[d], integer(b, map->coefficient[d])));
    sum = plus(b, sum, integer(b, map->constant));
    for (int d = 0; d < dim_count; d++)
        if (map->coefficient[d] < 0)
            sum = minus(b, sum, times(b, dims[d], integer(b, -map->coefficient[d])));
    return sum;
}

static bool is_packable(const ContractionPlan *plan, const Side *side) {
    double covered = 1, elements = (double)side->operand->tensor->elements;
    for (int d = 0; d < plan->contraction->dim_count; d++)
        if (side->coefficient[d] != 0)
            covered *= (double)plan->extent[d];
    if (side->operand->tensor->per_example)
        elements *= plan->lowering->options->max_batch;
    return !side->guarded && covered <= elements;
}

static void padded_axis(const AxisMap *map, const AxisRange *range, AxisLayout *axis) {
    int64_t extent = axis->extent;
    axis->divisor = axis_divisor(map);
    axis->shift = range->minimum;
    axis->extent = range->maximum - range->minimum + 1;
    axis->first = range->minimum > 0 ? (range->minimum + axis->divisor - 1) / axis->divisor : 0;
    axis->end = range->maximum < 0 ? 0 : range->maximum / axis->divisor + 1;
    if (axis->end > extent)
        axis->end = extent;
    if (axis->first > axis->end)
        axis->first = axis->end;
}

void contraction_layout(const ContractionPlan *plan, const Operand *operand, bool padded,
                        int64_t row_extent, AxisLayout *axes) {
    int count = operand_axis_count(operand);
    for (int axis = 0; axis < count; axis++) {
        int64_t extent = operand_axis_extent(plan, operand, axis);
        axes[axis] = (AxisLayout){extent, 1, 0, 0, extent};
        if (!padded)
            continue;
        AxisRange range = axis_range(plan, &operand->axis[axis], extent);
        padded_axis(&operand->axis[axis], &range, &axes[axis]);
        if (axis == count - 1 && axes[axis].extent < row_extent)
            axes[axis].extent = row_extent;
    }
}

void contraction_place(const ContractionPlan *plan, Side *side, const AxisLayout *axes) {
    int64_t stride = 1;
    side->base = 0;
    for (int d = 0; d < plan->contraction->dim_count; d++)
        side->coefficient[d] = 0;
    for (int axis = operand_axis_count(side->operand) - 1; axis >= 0; axis--) {
        const AxisMap *map = &side->operand->axis[axis];
        side->base += (map->constant - axes[axis].shift) * stride;
        for (int d = 0; d < plan->contraction->dim_count; d++)
            side->coefficient[d] += map->coefficient[d] * stride;
        stride *= axes[axis].extent;
    }
}

void contraction_sides(ContractionPlan *plan) {
    const Operand *operands[2] = {&plan->contraction->a, &plan->contraction->b};
    AxisLayout axes[MAX_AXES];
    for (int s = 0; s < 2; s++) {
        Side *side = &plan->side[s];
        side->operand = operands[s];
        for (int axis = 0; axis < operand_axis_count(side->operand); axis++) {
            int64_t extent = operand_axis_extent(plan, side->operand, axis);
            AxisRange range = axis_range(plan, &side->operand->axis[axis], extent);
            side->guarded = side->guarded || range.guarded;
        }
        contraction_layout(plan, side->operand, side->guarded, 0, axes);
        contraction_place(plan, side, axes);
        side->packable = is_packable(plan, side);
    }
}

/* ---- Results ---- */

void contraction_finish(ContractionPlan *plan, Expr *const *dims, Expr *sum) {
    const Contraction *c = plan->contraction;
    Lowering *lowering = plan->lowering;
    Builder *b = lowering->builder;
    Expr *index[MAX_AXES];
    int axes = operand_axis_count(&c->result);
    for (int axis = 0; axis < axes; axis++)
        index[axis] = axis_expression(b, &c->result.axis[axis], c->dim_count, dims);
    if (c->bias)
        sum = plus(b, sum, tensor_load(lowering, c->bias, &index[AXIS_CHANNEL]));
    if (c->connections)
        sum = times(b, sum, tensor_load(lowering, c->connections, index));
    if (c->to_result)
        lower_result(lowering, c->node, index, sum);
    else if (c->accumulate)
        tensor_add(lowering, c->result.tensor, index, sum);
    else
        tensor_store(lowering, c->result.tensor, index, sum);
}

/* ---- Plain loops ---- */

/* The index along one axis; conditions under which the element exists are joined to *exists. */
static Expr *plain_axis(ContractionPlan *plan, const Operand *operand, int axis, Expr *const *dims,
                        Expr **exists) {
    const AxisMap *map = &operand->axis[axis];
    Builder *b = plan->lowering->builder;
    int64_t extent = operand_axis_extent(plan, operand, axis);
    AxisRange range = axis_range(plan, map, extent);
    Expr *index = axis_expression(b, map, plan->contraction->dim_count, dims);
    if (!range.guarded)
        return index;
    int rank = operand->tensor->rank;
    int spatial = operand->tensor->per_example ? axis - 1 : axis;
    index = declare(b, axis_letters(rank)[spatial], TYPE_INDEX, index);
    int64_t divisor = axis_divisor(map);
    if (range.minimum < 0)
        *exists = both(b, *exists, greater_equal(b, index, integer(b, 0)));
    if (range.maximum >= extent * divisor)
        *exists = both(b, *exists, less(b, index, integer(b, extent * divisor)));
    if (divisor > 1)
        *exists =
            both(b, *exists, equal(b, remainder_of(b, index, integer(b, divisor)), integer(b, 0)));
    return over(b, index, integer(b, divisor));
}

static void plain_indices(ContractionPlan *plan, const Operand *operand, Expr *const *dims,
                          Expr **index, Expr **exists) {
    for (int axis = 0; axis < operand_axis_count(operand); axis++)
        index[axis] = plain_axis(plan, operand, axis, dims, exists);
}

/* A dimension of extent 1 needs no loop. */
static Expr *open_dim(Builder *b, const ContractionDim *dim, LoopKind kind, int *opened) {
    if (dim->extent == 1)
        return integer(b, 0);
    ++*opened;
    return dim->extent == 0 ? open_batch(b, kind) : open_loop(b, kind, dim->letter, dim->extent);
}

/* result = sum of a*b, as it stands in a textbook: one loop per dimension. */
static void emit_plain(ContractionPlan *plan) {
    const Contraction *c = plan->contraction;
    Builder *b = plan->lowering->builder;
    Expr *dims[MAX_CONTRACTION_DIMS], *index_a[MAX_AXES], *index_b[MAX_AXES];
    int outer = 0, reduced = 0;
    for (int d = 0; d < c->dim_count; d++)
        if (!c->dims[d].reduce)
            dims[d] = open_dim(b, &c->dims[d], LOOP_INDEPENDENT, &outer);
    ElementType type = lower_sum_type(plan->lowering);
    Expr *sum = declare(b, "sum", type, number(b, 0));
    for (int d = 0; d < c->dim_count; d++)
        if (c->dims[d].reduce)
            dims[d] = open_dim(b, &c->dims[d], LOOP_REDUCTION, &reduced);
    Expr *exists = NULL;
    plain_indices(plan, &c->a, dims, index_a, &exists);
    plain_indices(plan, &c->b, dims, index_b, &exists);
    if (exists)
        open_if(b, exists);
    Expr *a = tensor_load(plan->lowering, c->a.tensor, index_a);
    local_add(b, sum,
              times(b, convert(b, type, a), tensor_load(plan->lowering, c->b.tensor, index_b)));
    close_blocks(b, reduced + (exists != NULL));
    contraction_finish(plan, dims, sum);
    close_blocks(b, outer);
}

void lower_contraction(Lowering *lowering, const Contraction *contraction) {
    ContractionPlan plan = {.contraction = contraction, .lowering = lowering};
    for (int d = 0; d < contraction->dim_count; d++)
        plan.extent[d] = contraction->dims[d].extent ? contraction->dims[d].extent
                                                     : lowering->options->max_batch;
    if (lowering->options->level > 0) {
        contraction_sides(&plan);
        plan.tile = contraction_choose_tile(&plan);
    }
    if (plan.tile.form == TILE_NONE)
        emit_plain(&plan);
    else
        contraction_emit_tiled(&plan);
}
