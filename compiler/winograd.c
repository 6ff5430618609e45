#include "winograd.h"
#include "winograd_emission.h"

/* ---- Filters ---- */

typedef struct FilterEmission {
    WinogradEmission *e;
    Buffer *from; /* the weights, or a turned copy of one filter */
    Expr *first;  /* offset of the first tap there */
    Buffer *to;
    Expr *place; /* offset of the first point */
    int64_t point_stride;
} FilterEmission;

static Expr *filter_tap(void *context, Expr *row, Expr *column) {
    const FilterEmission *f = context;
    Builder *b = f->e->b;
    Expr *tap = plus(b, times(b, row, integer(b, WINOGRAD_TAPS)), column);
    if (f->from->local_rank > 0) {
        Expr *place[2] = {tap, integer(b, 0)};
        return winograd_load_vector(b, f->from, 2, place);
    }
    Expr *offset = plus(b, f->first, times(b, tap, integer(b, f->e->plan->length)));
    return winograd_load_vector(b, f->from, 1, &offset);
}

static void filter_point(void *context, Expr *row, Expr *column, Expr *value) {
    const FilterEmission *f = context;
    Builder *b = f->e->b;
    Expr *point = plus(b, times(b, row, integer(b, f->e->plan->extent)), column);
    Expr *offset = plus(b, f->place, times(b, point, integer(b, f->point_stride)));
    store_at(b, f->to, 1, &offset, value, false);
}

/* Offset of the taps of filter block `block`, channel `channel`: weights are [block][channel][3][3]
 * [V]. */
static Expr *weight_offset(const WinogradEmission *e, Expr *block, Expr *channel) {
    Builder *b = e->b;
    int64_t channels = e->plan->node->parameters[0]->extent[1];
    Expr *number = plus(b, times(b, block, integer(b, channels)), channel);
    return times(b, number, integer(b, (int64_t)WINOGRAD_TAPS * WINOGRAD_TAPS * e->plan->length));
}

/* For the data gradient: the taps in reverse order, and channels instead of filters in the lanes.
 */
static Buffer *turn_filter(const WinogradEmission *e, Buffer *weights, Expr *input, Expr *lane,
                           Expr *result) {
    Builder *b = e->b;
    int64_t length = e->plan->length, taps = (int64_t)WINOGRAD_TAPS * WINOGRAD_TAPS;
    int64_t extent[2] = {taps, length};
    Buffer *turned = declare_array(b, "turned", TYPE_REAL, 2, extent);
    Expr *tap = open_loop(b, LOOP_SERIAL, "tap", taps);
    Expr *c = open_loop(b, LOOP_INDEPENDENT, "c", length);
    Expr *offset = weight_offset(e, input, plus(b, times(b, result, integer(b, length)), c));
    Expr *mirrored = minus(b, integer(b, taps - 1), tap);
    offset = plus(b, offset, times(b, mirrored, integer(b, length)));
    offset = plus(b, offset, lane);
    Expr *place[2] = {tap, c};
    store_at(b, turned, 2, place, load_at(b, weights, 1, &offset), false);
    close_blocks(b, 2);
    return turned;
}

/* filters[point][result block / columns][input channel][columns][V] = G g G^T */
static Buffer *transform_filters(WinogradEmission *e) {
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    Buffer *weights = lower_buffer(e->lowering, plan->node->parameters[0]);
    int64_t channels = plan->input_blocks * plan->length,
            groups = plan->result_blocks / plan->columns;
    FilterEmission f = {.e = e, .from = weights};
    f.point_stride = groups * channels * plan->columns * plan->length;
    f.to = lower_scratch(e->lowering, "filters", false, plan->points * f.point_stride);
    int opened = 2;
    Expr *group = winograd_open_loop(b, LOOP_INDEPENDENT, "group", groups, &opened);
    Expr *t = winograd_open_loop(b, LOOP_INDEPENDENT, "t", plan->columns, &opened);
    Expr *result = plus(b, times(b, group, integer(b, plan->columns)), t);
    Expr *block = open_loop(b, LOOP_INDEPENDENT, "block", plan->input_blocks);
    Expr *lane = open_loop(b, LOOP_SERIAL, "lane", plan->length);
    Expr *channel = plus(b, times(b, block, integer(b, plan->length)), lane);
    if (plan->kind == WINOGRAD_DATA_GRADIENT)
        f.from = turn_filter(e, weights, block, lane, result);
    else
        f.first = declare(b, "from", TYPE_INDEX, weight_offset(e, result, channel));
    Expr *place = plus(b, times(b, group, integer(b, channels)), channel);
    place = plus(b, times(b, place, integer(b, plan->columns)), t);
    f.place = declare(b, "to", TYPE_INDEX, times(b, place, integer(b, plan->length)));
    Buffer *half = winograd_declare_half(b, &e->matrices.filter);
    winograd_first_half(b, &e->matrices.filter, half, filter_tap, &f);
    winograd_second_half(b, &e->matrices.filter, half, filter_point, &f);
    close_blocks(b, opened);
    return f.to;
}

/* ---- Products ---- */

/* products[slab][point][result block][tile] = sum over channels of inputs * filters */
static void multiply(WinogradEmission *e, Buffer *filters, Buffer *inputs, Buffer *products) {
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    int64_t length = plan->length, groups = plan->result_blocks / plan->columns;
    int64_t group_size = plan->input_blocks * length * plan->columns * length;
    int64_t side = plan->slab * length; /* of one block of channels at one point */
    int opened = 2;
    Expr *point = open_loop(b, e->kind, "point", plan->points);
    Expr *group = winograd_open_loop(b, e->kind, "group", groups, &opened);
    Expr *slab = winograd_open_slabs(e, e->kind);
    Buffer *sums = winograd_declare_sums(e);

    int inner = 1;
    Expr *block = winograd_open_loop(b, LOOP_SERIAL, "block", plan->input_blocks, &inner);
    Expr *number = plus(b, times(b, point, integer(b, plan->input_blocks)), block);
    Expr *from = plus(b, winograd_slab_offset(e, slab, plan->input_blocks),
                      times(b, number, integer(b, side)));
    Buffer *tiles = declare_pointer(b, "from", inputs, from);
    number = plus(b, times(b, point, integer(b, groups)), group);
    number = plus(b, times(b, number, integer(b, group_size)),
                  times(b, block, integer(b, length * plan->columns * length)));
    Buffer *factors = declare_pointer(b, "factors", filters, number);
    Expr *c = open_loop(b, LOOP_SERIAL, "c", length);
    b->open_stmt[b->depth - 1]->rolled = true;
    WinogradTerms terms = {.scalars = tiles,
                           .scalar = c,
                           .scalar_stride = length,
                           .vectors = factors,
                           .vector_stride = length};
    terms.vector = times(b, c, integer(b, plan->columns * length));
    winograd_add_terms(e, sums, &terms);
    close_blocks(b, inner);

    number = plus(b, times(b, point, integer(b, plan->result_blocks)),
                  times(b, group, integer(b, plan->columns)));
    Expr *to = declare(b, "to", TYPE_INDEX,
                       plus(b, winograd_slab_offset(e, slab, plan->result_blocks),
                            times(b, number, integer(b, side))));
    winograd_store_sums(e, sums, products, to, length, side, false);
    close_blocks(b, opened);
}

/* ---- Results ---- */

typedef struct ResultEmission {
    WinogradEmission *e;
    Buffer *products;
    Expr *from; /* offset of the first point */
    Buffer *tile;
} ResultEmission;

static Expr *product_vector(void *context, Expr *row, Expr *column) {
    const ResultEmission *r = context;
    const WinogradPlan *plan = r->e->plan;
    Builder *b = r->e->b;
    Expr *point = plus(b, times(b, row, integer(b, plan->extent)), column);
    int64_t stride = plan->result_blocks * plan->slab * plan->length;
    Expr *offset = plus(b, r->from, times(b, point, integer(b, stride)));
    return winograd_load_vector(b, r->products, 1, &offset);
}

static void tile_vector(void *context, Expr *row, Expr *column, Expr *value) {
    const ResultEmission *r = context;
    Builder *b = r->e->b;
    Expr *place[2] = {plus(b, times(b, row, integer(b, r->e->plan->step)), column), integer(b, 0)};
    store_at(b, r->tile, 2, place, value, false);
}

/* A loop over the elements of a tile that the result has along one axis. */
static Expr *open_covered(const WinogradEmission *e, const char *letter, int axis, Expr *first) {
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    Expr *end = integer(b, plan->step);
    if (plan->covered[axis] % plan->step != 0)
        end = minimum(b, minus(b, integer(b, plan->covered[axis]), first), end);
    Expr *i = open_range(b, LOOP_SERIAL, letter, integer(b, 0), end, 1);
    expect_trips(b, plan->step, false);
    return i;
}

/* Every element of the tile to the node. */
static void hand_over(const ResultEmission *r, const TilePlace *place, Expr *block) {
    const WinogradEmission *e = r->e;
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    Expr *i = open_covered(e, "i", 0, place->row);
    Expr *j = open_covered(e, "j", 1, place->column);
    Expr *lane = open_loop(b, LOOP_INDEPENDENT, "lane", plan->length);
    Expr *index[MAX_AXES];
    index[AXIS_BATCH] = place->n;
    index[AXIS_CHANNEL] = blocked_index(b, block, lane, plan->length);
    index[AXIS_SPACE] = plus(b, place->row, i);
    index[AXIS_SPACE + 1] = plus(b, place->column, j);
    Expr *at[2] = {plus(b, times(b, i, integer(b, plan->step)), j), lane};
    Expr *value = load_at(b, r->tile, 2, at);
    Tensor *bias = plan->kind == WINOGRAD_FORWARD ? plan->node->parameters[1] : NULL;
    if (bias)
        value = plus(b, value, tensor_load(e->lowering, bias, &index[AXIS_CHANNEL]));
    lower_result(e->lowering, plan->node, index, value);
    close_blocks(b, 3);
}

static void transform_back(WinogradEmission *e, Buffer *products) {
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    ResultEmission r = {.e = e, .products = products};
    Expr *slab = winograd_open_slabs(e, e->kind);
    Expr *block = open_loop(b, e->kind, "block", plan->result_blocks);
    Expr *i = winograd_open_tiles(e, slab, false);
    TilePlace place = winograd_tile_place(e, slab, i);
    Expr *vector = plus(b, times(b, block, integer(b, plan->slab)), i);
    r.from = declare(b, "from", TYPE_INDEX,
                     plus(b, winograd_slab_offset(e, slab, plan->result_blocks),
                          times(b, vector, integer(b, plan->length))));
    Buffer *half = winograd_declare_half(b, &e->matrices.output);
    winograd_first_half(b, &e->matrices.output, half, product_vector, &r);
    int64_t extent[2] = {(int64_t)plan->step * plan->step, plan->length};
    r.tile = declare_array(b, "result", TYPE_REAL, 2, extent);
    winograd_second_half(b, &e->matrices.output, half, tile_vector, &r);
    hand_over(&r, &place, block);
    close_blocks(b, 3);
}

void winograd_emit_convolution(WinogradEmission *e) {
    const WinogradPlan *plan = e->plan;
    e->matrices = winograd_matrices(plan->step, WINOGRAD_TAPS, WINOGRAD_SCALE_FILTER);
    comment(e->b, "Winograd F(%dx%d, 3x3): transform the filters,", plan->step, plan->step);
    Buffer *filters = transform_filters(e);
    Buffer *inputs = winograd_slab_scratch(e, "inputs", plan->input_blocks);
    Buffer *products = winograd_slab_scratch(e, "products", plan->result_blocks);
    comment(e->b, "and in portions of the tiles: transform, multiply, transform back.");
    winograd_open_slots(e);
    winograd_open_portions(e);
    WinogradCut cut = {.tensor = plan->input,
                       .blocks = plan->input_blocks,
                       .matrix = &e->matrices.input,
                       .to = inputs};
    for (int axis = 0; axis < 2; axis++) {
        cut.origin[axis] = plan->origin[axis];
        cut.end[axis] = plan->origin[axis] + plan->covered[axis] + WINOGRAD_TAPS - 1;
    }
    winograd_cut_tiles(e, &cut);
    multiply(e, filters, inputs, products);
    transform_back(e, products);
    winograd_close_portions(e);
}

bool winograd_lower(Lowering *lowering, const Node *node, WinogradKind kind) {
    WinogradPlan plan;
    if (!winograd_choose(lowering, node, kind, &plan))
        return false;
    WinogradEmission e = {.plan = &plan, .lowering = lowering, .b = lowering->builder};
    if (kind == WINOGRAD_WEIGHT_GRADIENT)
        winograd_emit_weight_gradient(&e);
    else
        winograd_emit_convolution(&e);
    return true;
}
