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
    for (int d = 0; d < plan->dim_count; d++) {
        const PlanDim *dim = &plan->dims[d];
        int64_t reach = map->coefficient[dim->origin] * dim->scale * (dim->extent - 1);
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
    for (int d = 0; d < plan->dim_count; d++)
        if (side->coefficient[d] != 0)
            covered *= (double)plan->dims[d].extent;
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

/* As the tensor lies in memory. */
static void own_axis(const Operand *operand, int axis, AxisLayout *a) {
    const Layout *layout = &operand->tensor->layout;
    int own = axis - operand->tensor->per_example;
    if (own < 0) {
        a->block = layout->blocked_axis == BATCH_AXIS ? layout->block : 1;
        a->extent /= a->block;
        return;
    }
    a->shift = -layout->before[own];
    a->extent += layout->before[own] + layout->after[own];
    if (own == layout->blocked_axis) {
        a->block = layout->block;
        a->extent /= layout->block;
    }
}

void contraction_layout(const ContractionPlan *plan, const Operand *operand, bool padded,
                        int64_t row_extent, AxisLayout *axes) {
    int count = operand_axis_count(operand);
    for (int axis = 0; axis < count; axis++) {
        int64_t extent = operand_axis_extent(plan, operand, axis);
        axes[axis] = (AxisLayout){extent, 1, 0, 0, extent, 1};
        if (!padded) {
            own_axis(operand, axis, &axes[axis]);
            continue;
        }
        AxisRange range = axis_range(plan, &operand->axis[axis], extent);
        padded_axis(&operand->axis[axis], &range, &axes[axis]);
        if (plan->example_lanes > 1 && operand->tensor->per_example && axis == 0) {
            axes[axis].block = plan->example_lanes;
            axes[axis].extent /= plan->example_lanes;
        }
        if (axis == count - 1 && axes[axis].extent < row_extent)
            axes[axis].extent = row_extent;
    }
}

/* What one step along an axis moves by: a whole number of blocks, or lanes within one. */
static int64_t blocked_step(int64_t step, int64_t block, int64_t stride) {
    return block > 1 && step % block != 0 ? step : step / block * stride;
}

void contraction_place(const ContractionPlan *plan, Side *side, const AxisLayout *axes) {
    int64_t stride = 1;
    side->base = 0;
    for (int d = 0; d < plan->dim_count; d++)
        side->coefficient[d] = 0;
    for (int axis = 0; axis < operand_axis_count(side->operand); axis++)
        stride *= axes[axis].block;
    for (int axis = operand_axis_count(side->operand) - 1; axis >= 0; axis--) {
        const AxisMap *map = &side->operand->axis[axis];
        int64_t block = axes[axis].block;
        side->base += blocked_step(map->constant - axes[axis].shift, block, stride);
        for (int d = 0; d < plan->dim_count; d++) {
            const PlanDim *dim = &plan->dims[d];
            side->coefficient[d] +=
                blocked_step(map->coefficient[dim->origin] * dim->scale, block, stride);
        }
        stride *= axes[axis].extent;
    }
}

bool contraction_within_halo(const ContractionPlan *plan, const Operand *operand, int axis) {
    const AxisMap *map = &operand->axis[axis];
    int own = axis - operand->tensor->per_example;
    int64_t extent = operand_axis_extent(plan, operand, axis);
    AxisRange range = axis_range(plan, map, extent);
    return !range.guarded || (axis_divisor(map) <= 1 && own >= 0 &&
                              -range.minimum <= operand->tensor->layout.before[own] &&
                              range.maximum - extent < operand->tensor->layout.after[own]);
}

static bool is_guarded(const ContractionPlan *plan, const Operand *operand) {
    const Tensor *tensor = operand->tensor;
    if (plan->example_lanes > 1 && tensor->per_example && tensor->layout.blocked_axis != BATCH_AXIS)
        return true;
    for (int axis = 0; axis < operand_axis_count(operand); axis++)
        if (!contraction_within_halo(plan, operand, axis) &&
            !contraction_must_clip(plan, operand, axis))
            return true;
    return false;
}

/* The rows of weights that chains read run on into the next ones: see chain_count. */
static bool runs_on(const ContractionPlan *plan, int side) {
    return plan->tile.chains > 1 && side != plan->tile.vector_side;
}

void contraction_sides(ContractionPlan *plan) {
    const Contraction *c = plan->contraction;
    const Operand *operands[3] = {&c->a, &c->b, &c->result};
    Side *sides[3] = {&plan->side[0], &plan->side[1], &plan->result};
    AxisLayout axes[MAX_AXES];
    for (int s = 0; s < 3; s++) {
        Side *side = sides[s];
        side->operand = operands[s];
        side->guarded = s < 2 && !runs_on(plan, s) && is_guarded(plan, side->operand);
        contraction_layout(plan, side->operand, side->guarded, 0, axes);
        contraction_place(plan, side, axes);
        side->packable = is_packable(plan, side);
    }
}

/* ---- The plan's dimensions ---- */

int contraction_split(ContractionPlan *plan, int d, int64_t factor) {
    int part = plan->dim_count++;
    PlanDim *outer = &plan->dims[d];
    plan->dims[part] = *outer;
    plan->dims[part].extent = factor;
    outer->extent /= factor;
    outer->scale *= factor;
    return part;
}

/* The dimension that runs through a blocked axis; -1: the map does not split. *fits tells whether
 * all others move by whole blocks. */
static int blocked_dim(const ContractionPlan *plan, const AxisMap *map, int64_t block) {
    int found = -1;
    if (axis_divisor(map) != 1 || map->constant % block != 0)
        return -1;
    for (int d = 0; d < plan->contraction->dim_count; d++) {
        if (map->coefficient[d] % block == 0)
            continue;
        int64_t extent = plan->contraction->dims[d].extent;
        if (extent == 0)
            extent = plan->lowering->options->max_batch;
        if (found >= 0 || map->coefficient[d] != 1 || extent % block)
            return -1;
        found = d;
    }
    return found;
}

/* Splits a dimension into blocks and the lanes of one. */
static void split_lanes(ContractionPlan *plan, int d, int64_t block) {
    Arena *arena = plan->lowering->arena;
    int lane = contraction_split(plan, d, block);
    plan->dims[lane].lanes = true;
    plan->dims[lane].batch = false;
    plan->dims[lane].letter = arena_format(arena, "%s_lane", plan->dims[d].letter);
    plan->dims[d].letter = arena_format(arena, "%s_block", plan->dims[d].letter);
}

static bool split_operand(ContractionPlan *plan, const Operand *operand) {
    const Layout *layout = &operand->tensor->layout;
    if (layout->blocked_axis == NOT_BLOCKED)
        return true;
    bool examples = layout->blocked_axis == BATCH_AXIS;
    int axis = examples ? 0 : layout->blocked_axis + operand->tensor->per_example;
    if (examples)
        plan->example_lanes = layout->block;
    int d = blocked_dim(plan, &operand->axis[axis], layout->block);
    if (d < 0)
        return false;
    bool whole = plan->dims[d].extent == layout->block && !plan->dims[d].batch;
    if (plan->dims[d].scale == 1 && !whole)
        split_lanes(plan, d, layout->block);
    return true;
}

bool contraction_split_blocks(ContractionPlan *plan) {
    const Contraction *c = plan->contraction;
    return split_operand(plan, &c->a) && split_operand(plan, &c->b) &&
           split_operand(plan, &c->result);
}

Expr *plan_dim_end(const ContractionPlan *plan, int d) {
    Builder *b = plan->lowering->builder;
    const PlanDim *dim = &plan->dims[d];
    if (!dim->batch)
        return integer(b, dim->extent);
    return dim->scale > 1 ? example_blocks(b, dim->scale) : batch_size(b);
}

Expr *plan_dim_open(const ContractionPlan *plan, LoopKind kind, int d, int *opened) {
    Builder *b = plan->lowering->builder;
    const PlanDim *dim = &plan->dims[d];
    if (dim->extent == 1 && !dim->batch)
        return integer(b, 0);
    ++*opened;
    return open_range(b, kind, dim->letter, integer(b, 0), plan_dim_end(plan, d), 1);
}

void contraction_origins(ContractionPlan *plan, Expr *const *dims, Expr **origins) {
    Builder *b = plan->lowering->builder;
    for (int d = 0; d < plan->contraction->dim_count; d++)
        origins[d] = dims[d] && plan->dims[d].scale > 1
                         ? times(b, dims[d], integer(b, plan->dims[d].scale))
                         : dims[d];
    for (int d = plan->contraction->dim_count; d < plan->dim_count; d++) {
        const PlanDim *part = &plan->dims[d];
        bool lane = part->scale == 1 && plan->dims[part->origin].scale == part->extent;
        if (dims[d] == NULL)
            continue;
        origins[part->origin] =
            lane ? blocked_index(b, dims[part->origin], dims[d], part->extent)
                 : plus(b, origins[part->origin], times(b, dims[d], integer(b, part->scale)));
    }
}

/* ---- Results ---- */

void contraction_finish(ContractionPlan *plan, Expr *const *dims, Expr *sum) {
    const Contraction *c = plan->contraction;
    Lowering *lowering = plan->lowering;
    Builder *b = lowering->builder;
    Expr *index[MAX_AXES], *origins[MAX_CONTRACTION_DIMS];
    int axes = operand_axis_count(&c->result);
    contraction_origins(plan, dims, origins);
    for (int axis = 0; axis < axes; axis++)
        index[axis] = axis_expression(b, &c->result.axis[axis], c->dim_count, origins);
    if (c->bias)
        sum = plus(b, sum, tensor_load(lowering, c->bias, &index[AXIS_CHANNEL]));
    if (c->connections)
        sum = times(b, sum, tensor_load(lowering, c->connections, index));
    if (c->step_numbers)
        lower_number_update(lowering, c->node, c->step_numbers, index, sum);
    else if (c->to_result)
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

static void start_plan(ContractionPlan *plan) {
    plan->dim_count = plan->contraction->dim_count;
    for (int d = 0; d < plan->dim_count; d++) {
        const ContractionDim *dim = &plan->contraction->dims[d];
        bool batch = dim->extent == 0;
        plan->dims[d] =
            (PlanDim){.letter = dim->letter,
                      .extent = batch ? plan->lowering->options->max_batch : dim->extent,
                      .batch = batch,
                      .reduce = dim->reduce,
                      .origin = d,
                      .scale = 1};
    }
}

/* Examples side by side where no layout has them so: the operand that has examples is copied, the
 * other one's numbers, weights, are each read once. Changes the plan if that takes fewer cycles. */
static void try_examples(ContractionPlan *plan) {
    const Contraction *c = plan->contraction;
    const Operand *operands[3] = {&c->a, &c->b, &c->result};
    const Side *weights = &plan->side[c->a.tensor->per_example];
    int length = plan->lowering->options->vector_length, batch = -1;
    ContractionPlan lanes = *plan;
    bool in_order = false, usable = length > 1 &&
                                    plan->lowering->options->max_batch % length == 0 &&
                                    plan->dim_count == c->dim_count && c->step_numbers == NULL &&
                                    c->a.tensor->per_example != c->b.tensor->per_example;
    for (int s = 0; s < 3; s++)
        usable = usable && operands[s]->tensor->layout.blocked_axis == NOT_BLOCKED &&
                 !is_guarded(plan, operands[s]);
    for (int d = 0; d < plan->dim_count; d++) {
        batch = plan->dims[d].batch && !plan->dims[d].reduce ? d : batch;
        in_order = in_order || (plan->dims[d].reduce && weights->coefficient[d] == 1);
    }
    if (!usable || !in_order || batch < 0)
        return;
    lanes.example_lanes = length;
    lanes.turned = true;
    split_lanes(&lanes, batch, length);
    contraction_sides(&lanes);
    lanes.tile = contraction_choose_tile(&lanes);
    if (lanes.tile.form != TILE_NONE && lanes.tile.cycles < plan->tile.cycles)
        *plan = lanes;
}

bool contraction_plan(Lowering *lowering, const Contraction *contraction, ContractionPlan *plan) {
    *plan = (ContractionPlan){.contraction = contraction, .lowering = lowering};
    start_plan(plan);
    if (lowering->options->level == 0 || !contraction_split_blocks(plan))
        return false;
    contraction_sides(plan);
    plan->tile = contraction_choose_tile(plan);
    try_examples(plan);
    plan->tile = contraction_tuned_tile(plan);
    if (contraction_split_parts(plan) || contraction_split_chains(plan))
        contraction_sides(plan);
    return plan->tile.form != TILE_NONE;
}

bool lower_contraction(Lowering *lowering, const Contraction *contraction) {
    ContractionPlan plan;
    if (contraction_plan(lowering, contraction, &plan)) {
        contraction_emit_tiled(&plan);
        return contraction_sums_channels(&plan);
    }
    start_plan(&plan);
    emit_plain(&plan);
    return false;
}
