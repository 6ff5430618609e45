/* Sums that are taken in parts: the parts, and shares of the results for the threads; or in chains.
 */
#include "contraction.h"

static int64_t largest_divisor(int64_t number, int64_t limit) {
    for (int64_t divisor = limit < number ? limit : number; divisor > 1; divisor--)
        if (number % divisor == 0)
            return divisor;
    return 1;
}

static void split_terms(ContractionPlan *plan) {
    int64_t terms = 1, limit = contraction_reads_far(plan, &plan->tile) ? FAR_TERMS : PART_TERMS;
    for (int d = plan->dim_count - 1; d >= 0; d--) {
        PlanDim *dim = &plan->dims[d];
        if (!dim->reduce || dim->batch)
            continue;
        if (d == plan->tile.vector_dim) { /* of sums_lanes_last: a step takes all of it */
            dim->in_part = true;
            continue;
        }
        int64_t factor = largest_divisor(dim->extent, limit / terms);
        terms *= factor;
        dim->in_part = factor == dim->extent;
        if (dim->in_part)
            continue;
        if (factor > 1)
            plan->dims[contraction_split(plan, d, factor)].in_part = true;
        return;
    }
}

/* Shares of the results stay outside the parts: one for each thread, and so many that the results
 * of one stay in the second-level cache while all parts are added to them. More would read the
 * operands more often. */
#define USUAL_THREADS 4
#define VECTOR_SHARES 8
#define SHARE_BYTES (512 * 1024)
#define INPUT_BYTES (256 * 1024)

static int64_t usual_threads(const ContractionPlan *plan) {
    int threads = plan->lowering->options->threads;
    return threads > 0 ? threads : USUAL_THREADS;
}

static int64_t wanted_shares(const ContractionPlan *plan) {
    double bytes = sizeof(float);
    for (int d = 0; d < plan->dim_count; d++)
        bytes *= plan->dims[d].reduce ? 1 : (double)plan->dims[d].extent;
    int64_t for_cache = (int64_t)(bytes / SHARE_BYTES) + 1;
    int64_t for_threads = usual_threads(plan);
    return for_cache > for_threads ? for_cache : for_threads;
}

/* Splits a dimension, tiled by `tile`, into at least `shares` shares if that is possible, else into
 * as many as there are tiles; returns how many. The dimension itself becomes that of the shares. */
static int64_t split_shares(ContractionPlan *plan, int *d, int tile, int64_t shares) {
    int64_t extent = plan->dims[*d].extent, part = extent;
    if (extent % tile != 0)
        return 1;
    for (int64_t wanted = 1; wanted <= extent / tile && extent / part < shares; wanted++)
        if (extent / tile % wanted == 0)
            part = extent / wanted;
    if (part == extent)
        return 1;
    plan->dims[*d].share = true;
    int64_t count = extent / part;
    *d = contraction_split(plan, *d, part);
    plan->dims[*d].share = false;
    return count;
}

static double operand_elements(const ContractionPlan *plan, int d) {
    const Side *side = &plan->side[plan->side[0].coefficient[d] == 0];
    return (double)side->operand->tensor->elements;
}

/* The untiled or column dimension of the larger operand first: its shares are read by one thread
 * each, the other operand by all. */
static void split_results(ContractionPlan *plan) {
    Tile *tile = &plan->tile;
    int64_t shares = wanted_shares(plan);
    int order[2] = {tile->column_dim, -1};
    for (int d = 0; d < plan->dim_count; d++)
        if (!plan->dims[d].reduce && d != tile->vector_dim && d != tile->row_dim &&
            d != tile->column_dim && d != tile->line_dim && order[1] < 0 &&
            plan->dims[d].extent > 1)
            order[1] = d;
    bool swap = order[0] < 0 || (order[1] >= 0 && operand_elements(plan, order[1]) >
                                                      operand_elements(plan, order[0]));
    for (int i = 0; i < 2 && shares > 1; i++) {
        int *d = &order[swap ? 1 - i : i];
        bool column = *d == tile->column_dim;
        if (*d < 0)
            continue;
        int64_t made = split_shares(plan, d, column ? tile->columns : 1, shares);
        shares = (shares + made - 1) / made;
        if (column)
            tile->column_dim = *d;
    }
}

/* Shares of the results, made so far. */
static int64_t count_shares(const ContractionPlan *plan) {
    int64_t shares = 1;
    for (int d = 0; d < plan->dim_count; d++)
        shares *= plan->dims[d].share ? plan->dims[d].extent : 1;
    return shares;
}

#define EVEN 0.9 /* of the threads have work all the time */

/* As many slots as leave each a few parts; 1 where their sums would take too much room. */
static int choose_slots(const ContractionPlan *plan) {
    const Tensor *result = plan->result.operand->tensor;
    int slots = lower_slots(plan->lowering->options);
    double parts = 1, bytes = (double)result->storage * sizeof(float) * slots;
    for (int d = 0; d < plan->dim_count; d++)
        parts *= plan->dims[d].reduce && !plan->dims[d].in_part ? (double)plan->dims[d].extent : 1;
    bool usable = !result->per_example && !plan->contraction->to_result &&
                  result->storage % plan->lowering->options->vector_length == 0;
    return usable && bytes <= SLOT_BYTES && parts >= 2 * slots ? slots : 1;
}

/* Blocks of examples are dealt out, as far as there is room: so threads read what they made. */
static int choose_example_slots(const ContractionPlan *plan) {
    double bytes = (double)contraction_slot_size(plan) * sizeof(float);
    int64_t blocks = 1;
    for (int d = 0; d < plan->dim_count; d++)
        blocks = plan->dims[d].reduce && plan->dims[d].batch ? plan->dims[d].extent : blocks;
    int64_t slots = largest_divisor(blocks, lower_slots(plan->lowering->options));
    while (slots > 1 && (double)slots * bytes > SLOT_BYTES)
        slots = largest_divisor(blocks, slots - 1);
    return (int)slots;
}

/* Shares of the results for the threads, or slots where these would be uneven. */
static void split_evenly(ContractionPlan *plan) {
    int length = plan->lowering->options->vector_length;
    ContractionPlan shared = *plan;
    Tile *tile = &shared.tile;
    if (shared.dims[tile->vector_dim].extent == length)
        split_results(&shared);
    else
        split_shares(&shared, &tile->vector_dim, length, VECTOR_SHARES);
    int64_t threads = usual_threads(plan), shares = count_shares(&shared);
    int64_t rounds = (shares + threads - 1) / threads;
    bool even = (double)shares >= EVEN * (double)(rounds * threads);
    plan->tile.slots = even ? 1 : choose_slots(plan);
    if (plan->tile.slots == 1)
        *plan = shared;
}

/* Sums of lanes: the rows or the columns, whichever are more, so that the operand that has them
 * stays in the first-level cache while the loops inside take all of the other one; where they are
 * too few, another dimension. */
static void split_sums(ContractionPlan *plan) {
    Tile *tile = &plan->tile;
    int64_t shares = wanted_shares(plan), made = 1;
    int *dims[2] = {&tile->row_dim, &tile->column_dim}, sizes[2] = {tile->rows, tile->columns};
    bool swap = *dims[0] < 0 ||
                (*dims[1] >= 0 && plan->dims[*dims[1]].extent > plan->dims[*dims[0]].extent);
    for (int i = 0; i < 2 && made == 1; i++) {
        int which = swap ? 1 - i : i;
        if (*dims[which] >= 0)
            made = split_shares(plan, dims[which], sizes[which], shares);
    }
    for (int d = 0; d < plan->dim_count && made == 1; d++) {
        int split = d;
        if (!plan->dims[d].reduce && d != tile->row_dim && d != tile->column_dim &&
            d != tile->line_dim)
            made = split_shares(plan, &split, 1, shares);
    }
    tile->slots = choose_example_slots(plan);
}

#define PANEL_REALS 64          /* of a row, at the least */
#define PANEL_BYTES (32 * 1024) /* of the first-level cache */
#define LEAST_PANEL 16          /* rows: fewer find room in a set of the cache */

/* Inputs of many examples, pages apart, push each other out of the first-level cache. So those of a
 * few vectors are copied side by side and multiplied by all that they are multiplied by, before
 * the next ones are. */
static bool split_panels(ContractionPlan *plan) {
    Tile *tile = &plan->tile;
    const Side *vectors = &plan->side[tile->vector_side];
    int64_t extent = plan->dims[tile->vector_dim].extent;
    int64_t block = (int64_t)plan->lowering->options->vector_length * tile->columns;
    int64_t width = (PANEL_REALS + block - 1) / block * block;
    int64_t rows = plan->lowering->options->max_batch;
    bool usable = extent % width == 0 && extent > width && !tile->pack && rows >= LEAST_PANEL &&
                  rows * width * (int64_t)sizeof(float) <= PANEL_BYTES;
    for (int d = 0; d < plan->dim_count; d++)
        if (plan->dims[d].reduce)
            usable = usable && plan->dims[d].batch && vectors->coefficient[d] >= FAR;
    if (usable)
        split_shares(plan, &tile->vector_dim, (int)width, extent / width);
    tile->panel = usable;
    return usable;
}

/* With a step of the optimizer, the inputs of the whole batch are read again for every few rows of
 * weights: they are taken in shares that stay in the second-level cache. */
static void split_inputs(ContractionPlan *plan) {
    Tile *tile = &plan->tile;
    if (split_panels(plan))
        return;
    double bytes = sizeof(float) * (double)plan->dims[tile->vector_dim].extent;
    for (int d = 0; d < plan->dim_count; d++)
        bytes *= plan->dims[d].reduce ? (double)plan->dims[d].extent : 1;
    int64_t shares = (int64_t)(bytes / INPUT_BYTES) + 1;
    split_shares(plan, &tile->vector_dim, plan->lowering->options->vector_length * tile->columns,
                 shares);
}

bool contraction_split_parts(ContractionPlan *plan) {
    Tile *tile = &plan->tile;
    if (plan->contraction->step_numbers && tile->form == TILE_BROADCAST && tile->column_dim < 0) {
        split_inputs(plan);
        return true;
    }
    if (!tile->in_parts)
        return false;
    split_terms(plan);
    if (tile->sums_lanes_last)
        split_sums(plan);
    else
        split_evenly(plan);
    return true;
}

/* Chains take turns, vector by vector: the operands are read in order. */
bool contraction_split_chains(ContractionPlan *plan) {
    Tile *tile = &plan->tile;
    int length = plan->lowering->options->vector_length;
    if (tile->form != TILE_DOT || tile->chains <= 1)
        return false;
    PlanDim *dim = &plan->dims[tile->vector_dim];
    dim->extent = (dim->extent + length - 1) / length * length;
    tile->chain_dim = contraction_split(plan, tile->vector_dim, (int64_t)length * tile->chains);
    tile->vector_dim = contraction_split(plan, tile->chain_dim, length);
    return true;
}
