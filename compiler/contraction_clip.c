/* Terms that are padding for all results of a tile are left out: the taps of a window's axis that
 * lie outside of the tensor. Where the windows are large against the tensor, as for the gradient of
 * a convolution without padding, that is up to half of all terms. */
#include "contraction_emission.h"

#define LEAST_SHARE 0.125 /* of the terms: fewer are not worth loops of changing length */

/* The index along an axis of an operand is step*d + (what the outer dimension gives) + constant. */
typedef struct Clip {
    const AxisMap *map;
    int64_t extent; /* of the axis */
    int64_t step;   /* 1 or -1 */
    int outer;
    int64_t outer_step;
    bool must; /* see contraction_must_clip */
} Clip;

static int64_t step_of(const ContractionPlan *plan, const AxisMap *map, int d) {
    return map->coefficient[plan->dims[d].origin] * plan->dims[d].scale;
}

/* Whether d and one outer dimension alone run along the axis, and leave the tensor there. */
static bool clips_axis(const ContractionPlan *plan, const Operand *operand, int axis, int d,
                       Clip *clip) {
    const AxisMap *map = &operand->axis[axis];
    int64_t extent = operand_axis_extent(plan, operand, axis);
    *clip = (Clip){.map = map, .extent = extent, .step = step_of(plan, map, d), .outer = -1};
    bool steps = clip->step == 1 || clip->step == -1;
    if (!steps || map->divisor > 1 || !axis_range(plan, map, extent).guarded)
        return false;
    for (int other = 0; other < plan->dim_count; other++) {
        int64_t step = step_of(plan, map, other);
        if (other == d || step == 0 || plan->dims[other].extent == 1)
            continue;
        if (clip->outer >= 0 || plan->dims[other].reduce || plan->dims[other].batch)
            return false;
        clip->outer = other;
        clip->outer_step = step;
    }
    return clip->outer >= 0;
}

/* The reduced dimension that is clipped along the axis. */
static int clipped_dim(const ContractionPlan *plan, const Operand *operand, int axis, Clip *clip) {
    for (int d = 0; d < plan->dim_count; d++)
        if (plan->dims[d].reduce && !plan->dims[d].batch &&
            clips_axis(plan, operand, axis, d, clip))
            return d;
    return -1;
}

bool contraction_must_clip(const ContractionPlan *plan, const Operand *operand, int axis) {
    const Layout *layout = &operand->tensor->layout;
    int own = axis - operand->tensor->per_example;
    Clip clip;
    return layout->blocked_axis == BATCH_AXIS && own >= 0 &&
           (layout->before[own] > 0 || layout->after[own] > 0) &&
           !contraction_within_halo(plan, operand, axis) &&
           clipped_dim(plan, operand, axis, &clip) >= 0;
}

static bool find_clip(const ContractionPlan *plan, const Tile *tile, int d, Clip *clip) {
    bool in_steps = plan->dims[d].batch || d == tile->vector_dim;
    for (int s = 0; s < 2 && !in_steps; s++) {
        const Operand *operand = plan->side[s].operand;
        for (int axis = operand->tensor->per_example; axis < operand_axis_count(operand); axis++)
            if (clips_axis(plan, operand, axis, d, clip)) {
                clip->must = contraction_must_clip(plan, operand, axis);
                return true;
            }
    }
    return false;
}

/* Consecutive indices of an outer dimension that a block of the given size has. */
static int64_t span(const Tile *tile, int d, int rows, int lines, int columns, int64_t lanes) {
    return d == tile->row_dim      ? rows
           : d == tile->line_dim   ? lines
           : d == tile->column_dim ? columns
           : d == tile->vector_dim ? lanes
                                   : 1;
}

/* The first and the last index along the axis, of a block that starts at `first`, for d = 0. */
static void axis_bounds(const Clip *clip, int64_t first, int64_t count, int64_t *low,
                        int64_t *high) {
    int64_t start = clip->map->constant + clip->outer_step * first;
    int64_t reach = clip->outer_step * (count - 1);
    *low = start + (reach < 0 ? reach : 0);
    *high = start + (reach > 0 ? reach : 0);
}

/* The blocks of an outer dimension. */
static Blocks outer_blocks(const ContractionPlan *plan, const Tile *tile, int d) {
    if (d == tile->vector_dim)
        return contraction_vector_blocks(plan, tile);
    return contraction_blocks(plan, d,
                              (int)span(tile, d, tile->rows, tile->lines, tile->columns, 1), 1);
}

/* Trips of the loop over d for a block of the outer dimension. */
static int64_t block_trips(const ContractionPlan *plan, const Clip *clip, int d, int64_t first,
                           int64_t count) {
    int64_t extent = plan->dims[d].extent, low, high;
    axis_bounds(clip, first, count, &low, &high);
    int64_t begin = clip->step < 0 ? low - (clip->extent - 1) : -high;
    int64_t end = clip->step < 0 ? high + 1 : clip->extent - low;
    begin = begin > 0 ? begin : 0;
    end = end < extent ? end : extent;
    return end > begin ? end - begin : 0;
}

/* Those on average if it is clipped for each block of the tile; `by_size`: for each element. */
static double average_trips(const ContractionPlan *plan, const Tile *tile, const Clip *clip, int d,
                            bool by_size) {
    Blocks blocks = outer_blocks(plan, tile, clip->outer);
    int64_t trips = 0, count = 0, first = 0;
    for (int part = 0; part < 2; part++)
        for (int64_t i = 0; i < blocks.count[part]; i++, first += blocks.size[part]) {
            int64_t weight = by_size ? blocks.size[part] : 1;
            trips += weight * block_trips(plan, clip, d, first, blocks.size[part]);
            count += weight;
        }
    return (double)trips / (double)count;
}

static bool clips(const ContractionPlan *plan, const Tile *tile, int d, Clip *clip) {
    double most = (1 - LEAST_SHARE) * (double)plan->dims[d].extent;
    return find_clip(plan, tile, d, clip) &&
           (clip->must || average_trips(plan, tile, clip, d, false) <= most);
}

/* A block of several elements reads what any of them needs, and so beside the tensor what the
 * others need not. */
static bool block_stays_in_halo(const ContractionPlan *plan, const Tile *tile,
                                const Operand *operand, int axis) {
    const Layout *layout = &operand->tensor->layout;
    int own = axis - operand->tensor->per_example;
    int64_t extent = operand_axis_extent(plan, operand, axis);
    AxisRange range = axis_range(plan, &operand->axis[axis], extent);
    Clip clip;
    int d = clipped_dim(plan, operand, axis, &clip);
    int64_t length = plan->lowering->options->vector_length;
    int64_t reach = span(tile, clip.outer, tile->rows, tile->lines, tile->columns, length) - 1;
    int64_t step = clip.outer_step < 0 ? -clip.outer_step : clip.outer_step;
    int64_t before = -range.minimum, after = range.maximum - extent + 1;
    reach *= step;
    return d != tile->vector_dim && clip.outer != tile->vector_dim &&
           (before < reach ? before : reach) <= layout->before[own] &&
           (after < reach ? after : reach) <= layout->after[own];
}

bool contraction_clips_always(const ContractionPlan *plan) {
    for (int s = 0; s < 2; s++)
        for (int axis = 0; axis < operand_axis_count(plan->side[s].operand); axis++)
            if (contraction_must_clip(plan, plan->side[s].operand, axis))
                return true;
    return false;
}

bool contraction_stays_in_halo(const ContractionPlan *plan, const Tile *tile) {
    for (int s = 0; s < 2; s++) {
        const Operand *operand = plan->side[s].operand;
        for (int axis = 0; axis < operand_axis_count(operand); axis++)
            if (contraction_must_clip(plan, operand, axis) &&
                !block_stays_in_halo(plan, tile, operand, axis))
                return false;
    }
    return true;
}

double contraction_clipped_share(const ContractionPlan *plan, const Tile *tile) {
    double share = 1;
    Clip clip;
    for (int d = 0; d < plan->dim_count; d++)
        if (plan->dims[d].reduce && clips(plan, tile, d, &clip))
            share *= average_trips(plan, tile, &clip, d, true) / (double)plan->dims[d].extent;
    return share;
}

/* Whichever of an index and a constant is larger, or smaller. */
static Expr *bounded(Builder *b, Expr *index, int64_t bound, bool larger) {
    if (index->kind == EXPR_INTEGER)
        return (index->integer > bound) == larger ? index : integer(b, bound);
    Expr *limit = integer(b, bound);
    return choose(b, larger ? greater(b, index, limit) : less(b, index, limit), index, limit);
}

static void clip_dim(Emission *e, int d, const Clip *clip) {
    Builder *b = e->b;
    int64_t extent = e->plan->dims[d].extent, low, high;
    int64_t count = span(&e->plan->tile, clip->outer, e->rows, e->lines, e->columns, e->lanes);
    axis_bounds(clip, 0, count, &low, &high);
    Expr *moved = times(b, e->dims[clip->outer], integer(b, clip->outer_step));
    bool down = clip->step < 0;
    Expr *begin = down ? plus(b, moved, integer(b, low - (clip->extent - 1)))
                       : minus(b, integer(b, -high), moved);
    Expr *end = down ? plus(b, moved, integer(b, high + 1))
                     : minus(b, integer(b, clip->extent - low), moved);
    Range *range = &e->clipped[d];
    const char *letter = e->plan->dims[d].letter;
    range->begin = bounded(b, begin, 0, true);
    range->end = bounded(b, end, extent, false);
    if (range->begin->kind != EXPR_INTEGER)
        range->begin =
            declare(b, arena_format(b->arena, "%s_begin", letter), TYPE_INDEX, range->begin);
    if (range->end->kind != EXPR_INTEGER)
        range->end = declare(b, arena_format(b->arena, "%s_end", letter), TYPE_INDEX, range->end);
    range->trips = average_trips(e->plan, &e->plan->tile, clip, d, false);
}

void contraction_clip(Emission *e) {
    for (int i = 0; i < e->reduced_count; i++) {
        int d = e->reduced[i];
        Clip clip;
        e->clipped[d] = (Range){NULL, NULL, 0};
        if (clips(e->plan, &e->plan->tile, d, &clip))
            clip_dim(e, d, &clip);
    }
}
