#include "winograd_emission.h"

/* [point][dy block / columns][x channel][columns][V], for each slot */
static int64_t sums_stride(const WinogradPlan *plan) {
    int64_t channels = plan->input_blocks * plan->length;
    return winograd_point_stride(channels * plan->result_blocks * plan->length);
}

static int64_t sums_size(const WinogradPlan *plan) {
    return plan->points * sums_stride(plan);
}

static Expr *open_vectors(Builder *b, LoopKind kind, int64_t reals, int length) {
    return open_range(b, kind, "i", integer(b, 0), integer(b, reals), length);
}

/* The slot's sums, or with one slot all of them. */
static void clear_sums(const WinogradEmission *e, Buffer *sums) {
    Builder *b = e->b;
    Expr *i = open_vectors(b, e->kind, sums_size(e->plan), e->plan->length);
    Expr *at = plus(b, times(b, e->slot, integer(b, sums_size(e->plan))), i);
    store_at(b, sums, 1, &at, call(b, TYPE_VECTOR, "VECTOR_ZERO", 0, NULL), false);
    close_blocks(b, 1);
}

/* Those of the other slots to those of the first, in order. */
static void join_slots(const WinogradEmission *e, Buffer *sums) {
    Builder *b = e->b;
    int64_t size = sums_size(e->plan);
    Expr *i = open_vectors(b, LOOP_INDEPENDENT, size, e->plan->length);
    Expr *sum = declare(b, "total", TYPE_VECTOR, winograd_load_vector(b, sums, 1, &i));
    Expr *slot = open_range(b, LOOP_SERIAL, "slot", integer(b, 1), integer(b, e->plan->slots), 1);
    Expr *at = plus(b, times(b, slot, integer(b, size)), i);
    local_add(b, sum, winograd_load_vector(b, sums, 1, &at));
    close_blocks(b, 1);
    store_at(b, sums, 1, &i, sum, false);
    close_blocks(b, 1);
}

/* ---- Products ---- */

/* What the next portion needs of memory; `tile`: point, group, block, channel of it. */
static void prefetch_share(WinogradEmission *e, const WinogradCut *x, const WinogradCut *dy,
                           Expr *const *tile) {
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    int64_t groups = plan->result_blocks / plan->columns, rows = plan->length / plan->rows;
    Expr *unit = plus(b, times(b, tile[0], integer(b, groups)), tile[1]);
    unit = plus(b, times(b, unit, integer(b, plan->input_blocks)), tile[2]);
    unit = plus(b, times(b, unit, integer(b, rows)), over(b, tile[3], integer(b, plan->rows)));
    WinogradShare share = {.unit = unit,
                           .units = plan->points * groups * plan->input_blocks * rows,
                           .first = plus(b, e->first, integer(b, plan->portion)),
                           .slabs = plan->portion};
    bool asks[2] = {winograd_asks_ahead(e, x->tensor), winograd_asks_ahead(e, dy->tensor)};
    bool together = asks[0] && asks[1] && x->blocks == dy->blocks;
    for (int i = 0; i < 2; i++) {
        const WinogradCut *cut = i == 0 ? x : dy;
        Expr *block;
        if (!asks[i] || (i == 1 && together))
            continue;
        TilePlace place = winograd_open_share(e, &share, cut->blocks, &block);
        winograd_prefetch_cut(e, cut, &place, block);
        if (together)
            winograd_prefetch_cut(e, dy, &place, block);
        close_blocks(b, 1);
    }
}

/* sums[point][dy block][x channel] += sum over the portion's tiles of inputs * taps; `add`: to what
 * is there. */
static void multiply(WinogradEmission *e, const WinogradCut *x, const WinogradCut *dy, Buffer *sums,
                     bool add) {
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    int64_t length = plan->length, groups = plan->result_blocks / plan->columns;
    int64_t channels = plan->input_blocks * length;
    int opened = 2;
    Expr *point = open_loop(b, e->kind, "point", plan->points);
    Expr *group = open_unless_single(b, e->kind, "group", groups, &opened);
    Expr *block = open_loop(b, e->kind, "block", plan->input_blocks);
    Expr *c = integer(b, 0);
    if (plan->rows < length) {
        c = open_range(b, LOOP_SERIAL, "c", integer(b, 0), integer(b, length), plan->rows);
        opened++;
    }
    prefetch_share(e, x, dy, (Expr *[]){point, group, block, c});
    Buffer *tile = winograd_declare_sums(e);

    int terms_opened = 1;
    Expr *slab = winograd_open_slabs(e, LOOP_SERIAL);
    WinogradPlace place = {slab, point, block};
    Expr *from = winograd_slab_offset(e, x->to, &place, plan->input_blocks);
    Buffer *tiles = declare_pointer(b, "from", x->to, plus(b, from, c));
    place.block = times(b, group, integer(b, plan->columns));
    from = winograd_slab_offset(e, dy->to, &place, plan->result_blocks);
    Buffer *factors = declare_pointer(b, "factors", dy->to, from);
    Expr *i = winograd_open_terms(e, "i", plan->slab, &terms_opened);
    Expr *vector = times(b, i, integer(b, length));
    WinogradTerms terms = {.scalars = tiles,
                           .scalar = vector,
                           .scalar_stride = 1,
                           .vectors = factors,
                           .vector = vector,
                           .vector_stride = plan->slab * length};
    winograd_add_terms(e, tile, &terms);
    close_blocks(b, terms_opened);

    Expr *number =
        plus(b, times(b, group, integer(b, channels)), times(b, block, integer(b, length)));
    number = times(b, plus(b, number, c), integer(b, plan->columns * length));
    number = plus(b, times(b, point, integer(b, sums_stride(plan))), number);
    number = plus(b, times(b, e->slot, integer(b, sums_size(plan))), number);
    Expr *to = declare(b, "to", TYPE_INDEX, number);
    winograd_store_sums(e, tile, sums, to, plan->columns * length, length, add);
    close_blocks(b, opened);
}

/* ---- The gradient from the sums ---- */

static void transform_back(WinogradEmission *e, Buffer *sums) {
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    int64_t channels = plan->input_blocks * plan->length;
    Buffer *gradient = lower_buffer(e->lowering, plan->node->parameter_gradients[0]);
    int opened = 1;
    Expr *group = open_unless_single(b, LOOP_INDEPENDENT, "group",
                                     plan->result_blocks / plan->columns, &opened);
    Expr *t = open_unless_single(b, LOOP_INDEPENDENT, "t", plan->columns, &opened);
    Expr *c = open_loop(b, LOOP_INDEPENDENT, "c", channels);
    Expr *from = plus(b, times(b, group, integer(b, channels)), c);
    from = plus(b, times(b, from, integer(b, plan->columns)), t);
    from = declare(b, "from", TYPE_INDEX, times(b, from, integer(b, plan->length)));
    Expr *block = plus(b, times(b, group, integer(b, plan->columns)), t);
    Expr *to = plus(b, times(b, block, integer(b, channels)), c);
    int64_t filter = (int64_t)plan->taps * plan->taps * plan->length;
    to = declare(b, "to", TYPE_INDEX, times(b, to, integer(b, filter)));
    int64_t point = sums_stride(plan);
    WinogradVectors products = {load_at(b, sums, 1, &from), plan->extent * point, point};
    WinogradVectors weights = {load_at(b, gradient, 1, &to), plan->taps * plan->length,
                               plan->length};
    winograd_transform(e, &e->matrices.output, &products, &weights);
    close_blocks(b, opened);
}

/* ---- The bias's gradient ---- */

/* One vector for each slab of the largest batch and block of dy; NULL where there is no bias. */
static Buffer *slab_sums(const WinogradEmission *e) {
    const WinogradPlan *plan = e->plan;
    int64_t tiles = plan->image_tiles * e->lowering->options->max_batch;
    int64_t slabs = (tiles + plan->slab - 1) / plan->slab;
    if (plan->node->parameter_gradients[1] == NULL)
        return NULL;
    return lower_scratch(e->lowering, "slab_sums", false, slabs * plan->result->extent[0]);
}

/* They are short; their sum is taken in double. */
static void add_up_slabs(WinogradEmission *e, Buffer *slab_sums) {
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    int64_t length = plan->length;
    Expr *block = open_loop(b, LOOP_INDEPENDENT, "block", plan->result_blocks);
    Buffer *totals = declare_array(b, "totals", TYPE_DOUBLE, 1, &length);
    Expr *lane = open_loop(b, LOOP_INDEPENDENT, "lane", length);
    store_at(b, totals, 1, &lane, number(b, 0), false);
    close_blocks(b, 1);
    Expr *slab = open_range(b, LOOP_SERIAL, "slab", integer(b, 0), e->total_slabs, 1);
    expect_trips(b, (double)plan->image_tiles / (double)plan->slab, true);
    lane = open_loop(b, LOOP_INDEPENDENT, "lane", length);
    Expr *place = plus(b, times(b, slab, integer(b, plan->result_blocks)), block);
    place = plus(b, times(b, place, integer(b, length)), lane);
    store_at(b, totals, 1, &lane, load_at(b, slab_sums, 1, &place), true);
    close_blocks(b, 2);
    lane = open_loop(b, LOOP_INDEPENDENT, "lane", length);
    Expr *channel = blocked_index(b, block, lane, length);
    tensor_store(e->lowering, plan->node->parameter_gradients[1], &channel,
                 load_at(b, totals, 1, &lane));
    close_blocks(b, 2);
}

/* ---- All of it ---- */

static WinogradCut cut_of(const WinogradEmission *e, Tensor *tensor, const RationalMatrix *matrix,
                          Buffer *to) {
    const WinogradPlan *plan = e->plan;
    bool input = tensor == plan->input;
    WinogradCut cut = {.tensor = tensor,
                       .blocks = tensor->extent[0] / plan->length,
                       .matrix = matrix,
                       .to = to,
                       .missing = input ? TILES_REPEATED : TILES_ZERO};
    for (int axis = 0; axis < 2; axis++) {
        cut.origin[axis] = input ? plan->origin[axis] : 0;
        cut.end[axis] = cut.origin[axis] + plan->covered[axis] + (input ? plan->taps - 1 : 0);
    }
    return cut;
}

void winograd_emit_weight_gradient(WinogradEmission *e) {
    const WinogradPlan *plan = e->plan;
    e->matrices = winograd_matrices(plan->taps, plan->step, WINOGRAD_SCALE_OUTPUT);
    Buffer *inputs = winograd_slab_scratch(e, "inputs", plan->slots, plan->input_blocks);
    Buffer *taps = winograd_slab_scratch(e, "taps", plan->slots, plan->result_blocks);
    Buffer *sums = lower_scratch(e->lowering, "sums", false, plan->slots * sums_size(plan));
    comment(e->b, "Winograd F(%dx%d, %dx%d): transform tiles of x and of dy%s, multiply,",
            plan->taps, plan->taps, plan->step, plan->step,
            plan->node->dy_windows ? ", which are made here" : "");
    winograd_open_slots(e);
    if (!e->single_portion)
        clear_sums(e, sums);
    winograd_open_portions(e);
    WinogradCut x = cut_of(e, plan->input, &e->matrices.input, inputs);
    WinogradCut dy = cut_of(e, plan->result, &e->matrices.filter, taps);
    dy.sums = slab_sums(e);
    winograd_cut_tiles(e, &x);
    winograd_cut_tiles(e, &dy);
    multiply(e, &x, &dy, sums, !e->single_portion);
    winograd_close_portions(e);
    if (plan->slots > 1)
        join_slots(e, sums);
    comment(e->b, "and transform the sums back.");
    transform_back(e, sums);
    if (dy.sums)
        add_up_slabs(e, dy.sums);
}
