/* The sums of an operand's channels beside those of the products, for the gradient of a bias beside
 * that of the weights: each part of the operand comes from memory once for both. Read on its own it
 * took 2 % of the time of a weight gradient of 64 channels at 224x224. */
#include "contraction_emission.h"

#include <string.h>

#define MOST_CHANNELS 1024 /* of a share: their sums are on the stack, in double */

/* The dimensions of the operand's channels that run inside the parts, but that of the vectors;
 * *channels is how many channels these are. */
static int list_channel_dims(const ContractionPlan *plan, int *list, int64_t *channels) {
    int all[MAX_PLAN_DIMS], count = 0, all_count = contraction_list_dims(plan, false, all);
    *channels = plan->dims[plan->tile.vector_dim].extent;
    for (int i = 0; i < all_count; i++) {
        const PlanDim *dim = &plan->dims[all[i]];
        if (dim->share || all[i] == plan->tile.vector_dim || plan->side[0].coefficient[all[i]] == 0)
            continue;
        list[count++] = all[i];
        *channels *= dim->extent;
    }
    return count;
}

bool contraction_sums_channels(const ContractionPlan *plan) {
    const Tile *tile = &plan->tile;
    bool vectors =
        tile->form == TILE_LANES || (tile->form == TILE_BROADCAST && tile->vector_side == 0);
    if (!plan->contraction->channel_sums || !tile->in_parts || tile->slots > 1 || !vectors ||
        plan->dims[tile->vector_dim].extent != plan->lowering->options->vector_length)
        return false;
    for (int d = 0; d < plan->dim_count; d++)
        if (plan->dims[d].reduce && plan->side[0].coefficient[d] == 0 && plan->dims[d].extent > 1)
            return false;
    int list[MAX_PLAN_DIMS];
    int64_t channels;
    list_channel_dims(plan, list, &channels);
    return channels <= MOST_CHANNELS;
}

/* Of the shares that read the same channels the first adds them up: a block that has to be closed,
 * or none. */
static int open_first_share(Emission *e) {
    Expr *first = NULL;
    for (int d = 0; d < e->plan->dim_count; d++)
        if (e->plan->dims[d].share && e->plan->side[0].coefficient[d] == 0)
            first = both(e->b, first, equal(e->b, e->dims[d], integer(e->b, 0)));
    if (first)
        open_if(e->b, first);
    return first != NULL;
}

/* Loops over the vectors of channels; *place is where the sums of one lie. */
static int open_channels(Emission *e, Expr **place) {
    Builder *b = e->b;
    int list[MAX_PLAN_DIMS], opened = 0;
    int64_t channels;
    int count = list_channel_dims(e->plan, list, &channels);
    *place = integer(b, 0);
    for (int i = 0; i < count; i++) {
        int d = list[i];
        e->dims[d] = plan_dim_open(e->plan, LOOP_INDEPENDENT, d, &opened);
        *place = plus(b, times(b, *place, integer(b, e->plan->dims[d].extent)), e->dims[d]);
    }
    *place = times(b, *place, integer(b, e->length));
    return opened;
}

void contraction_open_channel_sums(Emission *e) {
    Builder *b = e->b;
    int list[MAX_PLAN_DIMS];
    int64_t channels;
    if (!contraction_sums_channels(e->plan))
        return;
    list_channel_dims(e->plan, list, &channels);
    e->channel_sums = declare_array(b, "channel_sums", TYPE_DOUBLE, 1, &channels);
    Expr *channel = open_loop(b, LOOP_INDEPENDENT, "channel", channels);
    store_at(b, e->channel_sums, 1, &channel, number(b, 0), false);
    close_blocks(b, 1);
}

void contraction_add_channels(Emission *e) {
    Builder *b = e->b;
    const Side *side = &e->plan->side[0];
    int64_t length = e->length;
    Expr *place, *dims[MAX_PLAN_DIMS];
    if (e->channel_sums == NULL)
        return;
    memcpy(dims, e->dims, sizeof dims);
    int outer = open_first_share(e);
    outer += open_channels(e, &place);
    e->dims[e->plan->tile.vector_dim] = integer(b, 0);
    Expr *sum = declare(b, "part_sum", TYPE_VECTOR, call(b, TYPE_VECTOR, "VECTOR_ZERO", 0, NULL));
    int opened = contraction_open_reduced(e, e->first_inner, e->reduced_count);
    Expr *offset = side_offset(e, side);
    Expr *vector = load_at(b, side->buffer, 1, &offset);
    vector->type = TYPE_VECTOR;
    local_add(b, sum, vector);
    close_blocks(b, opened);
    Buffer *lanes = declare_array(b, "part_sums", TYPE_REAL, 1, &length);
    Expr *lane = integer(b, 0);
    store_at(b, lanes, 1, &lane, sum, false);
    lane = open_loop(b, LOOP_INDEPENDENT, "lane", length);
    Expr *to = plus(b, place, lane);
    store_at(b, e->channel_sums, 1, &to, load_at(b, lanes, 1, &lane), true);
    close_blocks(b, outer + 1);
    memcpy(e->dims, dims, sizeof dims);
}

void contraction_close_channel_sums(Emission *e) {
    Builder *b = e->b;
    const Contraction *c = e->plan->contraction;
    Expr *place, *dims[MAX_PLAN_DIMS], *origins[MAX_CONTRACTION_DIMS];
    if (e->channel_sums == NULL)
        return;
    memcpy(dims, e->dims, sizeof dims);
    int opened = open_first_share(e);
    opened += open_channels(e, &place);
    Expr *lane = open_loop(b, LOOP_INDEPENDENT, "lane", e->length);
    e->dims[e->plan->tile.vector_dim] = lane;
    contraction_origins(e->plan, e->dims, origins);
    Expr *channel = axis_expression(b, &c->a.axis[AXIS_CHANNEL], c->dim_count, origins);
    Expr *from = plus(b, place, lane);
    tensor_store(e->plan->lowering, c->channel_sums, &channel,
                 load_at(b, e->channel_sums, 1, &from));
    close_blocks(b, opened + 1);
    memcpy(e->dims, dims, sizeof dims);
    e->channel_sums = NULL;
}
