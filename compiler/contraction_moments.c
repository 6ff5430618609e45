/* Node.moments of a contraction: those of each tile are stored where it is finished, so that what
 * reads them finds the same whoever made which tile. */
#include "contraction_emission.h"

/* Whether a step of the dimension is one of the axis, and of no other. */
static bool runs_along(const ContractionPlan *plan, int d, int axis) {
    const Operand *result = plan->result.operand;
    bool along = result->axis[axis].coefficient[plan->dims[d].origin] == 1;
    for (int i = 0; i < operand_axis_count(result); i++)
        along = along && (i == axis || result->axis[i].coefficient[plan->dims[d].origin] == 0);
    return along && plan->dims[d].scale == 1;
}

/* The tiled dimension that runs along a spatial axis; -1: none. */
static int tiled_dim(const ContractionPlan *plan, int axis) {
    const int dims[2] = {plan->tile.row_dim, plan->tile.line_dim};
    for (int i = 0; i < 2; i++)
        if (dims[i] >= 0 && runs_along(plan, dims[i], axis))
            return dims[i];
    return -1;
}

/* Whether vectors are blocks of channels, one beside the other, and rows and lines are spatial. */
static bool suits(const ContractionPlan *plan) {
    const Tensor *result = plan->result.operand->tensor;
    const Tile *tile = &plan->tile;
    int length = plan->lowering->options->vector_length, spatial = 0;
    bool vectors = tile->form == TILE_BROADCAST || tile->form == TILE_LANES;
    if (!vectors || tile->in_parts || plan->turned || plan->contraction->connections ||
        result->layout.blocked_axis != 0 || result->layout.block != length ||
        plan->dims[tile->vector_dim].extent != length ||
        plan->result.coefficient[tile->vector_dim] != 1)
        return false;
    const AxisMap *channels = &plan->result.operand->axis[AXIS_CHANNEL];
    if (tile->column_dim >= 0 && channels->coefficient[plan->dims[tile->column_dim].origin] == 0)
        return false;
    for (int axis = AXIS_SPACE; axis <= result->rank; axis++)
        spatial += tiled_dim(plan, axis) >= 0;
    return spatial == (tile->row_dim >= 0) + (tile->line_dim >= 0);
}

/* How many of the tiles there are along a spatial axis, and the extent of each; false if they are
 * not alike. */
static bool cut_axis(const ContractionPlan *plan, int axis, int64_t *count, int64_t *extent) {
    int d = tiled_dim(plan, axis);
    *count = plan->result.operand->tensor->extent[axis - 1];
    *extent = 1;
    if (d < 0)
        return true;
    Blocks blocks = contraction_blocks(
        plan, d, d == plan->tile.row_dim ? plan->tile.rows : plan->tile.lines, 1);
    int part = blocks.count[0] == 0;
    *count = blocks.count[part];
    *extent = blocks.size[part];
    return blocks.count[!part] == 0;
}

int64_t contraction_tile_numbers(Lowering *lowering, const Contraction *contraction) {
    ContractionPlan plan;
    int64_t numbers = 1, count, extent;
    if (!contraction_plan(lowering, contraction, &plan) || !suits(&plan))
        return 0;
    for (int axis = AXIS_SPACE; axis <= contraction->result.tensor->rank; axis++) {
        if (!cut_axis(&plan, axis, &count, &extent))
            return 0;
        numbers *= extent;
    }
    return numbers;
}

/* Which of all tiles of a map it is. */
static Expr *tile_number(const ContractionPlan *plan, Expr *const *index) {
    Builder *b = plan->lowering->builder;
    Expr *number = integer(b, 0);
    int64_t count, extent;
    for (int axis = AXIS_SPACE; axis <= plan->result.operand->tensor->rank; axis++) {
        cut_axis(plan, axis, &count, &extent);
        number =
            plus(b, times(b, number, integer(b, count)), over(b, index[axis], integer(b, extent)));
    }
    return number;
}

void contraction_emit_moments(Emission *e, Buffer *tile) {
    Builder *b = e->b;
    ContractionPlan *plan = e->plan;
    const Contraction *c = plan->contraction;
    if (!c->to_result || c->node->role != NODE_FORWARD || c->node->moments == NULL)
        return;
    int opened = 0, vector_dim = plan->tile.vector_dim;
    Expr *column = open_unless_single(b, LOOP_INDEPENDENT, "t", e->columns, &opened);
    Expr *block = shift_dim(e, plan->tile.column_dim, column);
    Expr *lane = e->dims[vector_dim], *index[MAX_AXES] = {NULL}, *origins[MAX_CONTRACTION_DIMS];
    e->dims[vector_dim] = integer(b, 0);
    contraction_origins(plan, e->dims, origins);
    for (int axis = 0; axis < operand_axis_count(&c->result); axis++)
        index[axis] = axis_expression(b, &c->result.axis[axis], c->dim_count, origins);
    index[AXIS_SPACE] = tile_number(plan, index);
    Expr *place[2] = {integer(b, 0), times(b, column, integer(b, e->length))};
    lower_moments(plan->lowering, c->node, index,
                  &(TileVectors){.first = load_at(b, tile, 2, place),
                                 .count = (int64_t)e->rows * e->lines,
                                 .step = (int64_t)e->columns * e->length});
    e->dims[vector_dim] = lane;
    restore_dim(e, plan->tile.column_dim, block);
    close_blocks(b, opened);
}
