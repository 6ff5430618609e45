/* The order of a tiled contraction's loops. */
#include "contraction_emission.h"

#define SHORTEST_CHAIN 256 /* below, going through memory would cost too much */

/* Lists the reduced or the other dimensions in the given order, parts behind what they are parts
 * of, lanes of blocks last. */
int contraction_list_dims(const ContractionPlan *plan, bool reduce, int *list) {
    int count = 0;
    for (int lanes = 0; lanes < 2; lanes++)
        for (int origin = 0; origin < plan->contraction->dim_count; origin++)
            for (int d = origin; d < plan->dim_count;
                 d = d < plan->contraction->dim_count ? plan->contraction->dim_count : d + 1)
                if (plan->dims[d].origin == origin && plan->dims[d].reduce == reduce &&
                    plan->dims[d].lanes == (lanes == 1))
                    list[count++] = d;
    return count;
}

/* Moves a dimension to another place in the order. */
static void move_to(Emission *e, int d, int to) {
    int at = 0;
    while (e->outer[at] != d)
        at++;
    for (; at < to; at++)
        e->outer[at] = e->outer[at + 1];
    for (; at > to; at--)
        e->outer[at] = e->outer[at - 1];
    e->outer[to] = d;
}

bool contraction_keeps_vectors(const ContractionPlan *plan) {
    const Tensor *tensor = plan->side[plan->tile.vector_side].operand->tensor;
    return (double)tensor->elements * sizeof(float) <=
           plan->lowering->options->second_level_cache / 2;
}

/* Where the loop over blocks of channels goes if not all the weights stay in the cache: outside of
 * the batch, so that each weight is read once; or, where that would read more, since the positions
 * of an image are read again for every block, inside the batch; or, where an image is too large to
 * stay in the cache either, inside its lines, next to the rows. */
static int place_of_blocks(const Emission *e) {
    const ContractionPlan *plan = e->plan;
    const Tile *tile = &plan->tile;
    const Tensor *image = plan->side[!tile->vector_side].operand->tensor;
    const Tensor *vectors = plan->side[tile->vector_side].operand->tensor;
    int64_t blocks = plan->dims[tile->column_dim].extent / tile->columns;
    int behind_batch = 0;
    for (int i = 0; i < e->outer_count; i++)
        if (plan->dims[e->outer[i]].batch)
            behind_batch = i + 1;
    if (!image->per_example || plan->dims[tile->row_dim].batch ||
        image->elements * blocks <= vectors->elements)
        return 0;
    if (image->elements * (int64_t)sizeof(float) > 2 * plan->lowering->options->second_level_cache)
        return e->outer_count - 1;
    return behind_batch;
}

/* The given order, but
 *   - a tiled batch comes last: then the weights are read once for all examples;
 *   - blocks of channels go inside the positions, so that these are read once, if all the weights
 *     stay in the cache, and else further out. */
void contraction_order_outer(Emission *e) {
    const ContractionPlan *plan = e->plan;
    const Tile *tile = &plan->tile;
    int all[MAX_PLAN_DIMS], count = contraction_list_dims(plan, false, all);
    bool blocks = tile->form == TILE_BROADCAST && tile->column_dim >= 0;
    bool whole_vector = tile->form == TILE_LANES || blocks;
    for (int i = 0; i < count; i++)
        if (!whole_vector || all[i] != tile->vector_dim)
            e->outer[e->outer_count++] = all[i];
    if (whole_vector)
        e->dims[tile->vector_dim] = integer(e->b, 0);
    if (tile->row_dim < 0)
        return;
    if (plan->dims[tile->row_dim].batch)
        move_to(e, tile->row_dim, e->outer_count - 1);
    const Tensor *vectors = plan->side[tile->vector_side].operand->tensor;
    if (blocks && plan->turned)
        move_to(e, tile->column_dim, e->outer_count - 1);
    if (!blocks || tile->in_parts || vectors->per_example)
        return;
    int place = contraction_keeps_vectors(plan) ? e->outer_count - 1 : place_of_blocks(e);
    move_to(e, tile->column_dim, place);
    if (place == e->outer_count - 1)
        move_to(e, tile->row_dim, place);
}

/* The reduced dims from which on one accumulator can take all the additions. */
int contraction_first_inner(const Emission *e) {
    double chain = 1;
    int first = e->reduced_count;
    for (int i = e->reduced_count - 1; i >= 0; i--) {
        const PlanDim *dim = &e->plan->dims[e->reduced[i]];
        if (e->plan->tile.in_parts && !dim->in_part)
            break;
        double shorter = chain;
        chain *= (double)dim->extent;
        if (!e->plan->tile.in_parts && chain > LONGEST_CHAIN && shorter >= SHORTEST_CHAIN)
            break;
        first = i;
    }
    return first;
}

/* Shares of the results go outside the parts of the sum; returns how many loops that are. */
int contraction_move_shares(Emission *e) {
    int count = 0;
    for (int i = 0; i < e->outer_count; i++)
        if (e->plan->dims[e->outer[i]].share)
            move_to(e, e->outer[i], count++);
    return count;
}
