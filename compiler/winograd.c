#include "winograd.h"
#include "winograd_emission.h"

/* Arrays of winograd_plan.h. */
typedef struct Scratch {
    Buffer *filters, *inputs, *products;
} Scratch;

/* ---- What results need of memory ---- */

/* Asks for the lines of a tile in the tensors that it is handed over to, and in those read there.
 */
static void prefetch_lines(const WinogradEmission *e, Tensor *const *tensors, int count,
                           const TilePlace *place, Expr *block) {
    Builder *b = e->b;
    if (count == 0)
        return;
    Expr *i = open_loop(b, LOOP_SERIAL, "i", e->plan->step);
    Expr *j = open_loop(b, LOOP_SERIAL, "j", e->plan->step);
    Expr *index[MAX_AXES] = {place->n, blocked_index(b, block, integer(b, 0), e->plan->length),
                             plus(b, place->row, i), plus(b, place->column, j)};
    for (int k = 0; k < count; k++) {
        Expr *element = tensor_load(e->lowering, tensors[k], index);
        bool write = lower_is_written(e->lowering, tensors[k]);
        call_statement(b, call(b, TYPE_REAL, write ? "VECTOR_PREFETCH_WRITE" : "VECTOR_PREFETCH", 1,
                               &element));
    }
    close_blocks(b, 2);
}

/* The large ones. */
static int result_tensors(const WinogradEmission *e, Tensor **tensors) {
    Tensor *all[MAX_NEAR_TENSORS];
    int count = lower_result_tensors(e->lowering, e->plan->node, all, MAX_NEAR_TENSORS), large = 0;
    for (int k = 0; k < count; k++)
        if (lower_is_large(e->lowering, all[k]))
            tensors[large++] = all[k];
    return large;
}

/* Those of a tile some way ahead. */
static void prefetch_results(WinogradEmission *e, const TilePlace *current, Expr *block) {
    Tensor *tensors[MAX_NEAR_TENSORS];
    int count = result_tensors(e, tensors);
    TilePlace place = winograd_tile_ahead(e, current);
    prefetch_lines(e, tensors, count, &place, block);
}

/* What the next portion reads and where its results go: `unit` is the number of a register tile of
 * the slab among `units`. */
static void prefetch_share(WinogradEmission *e, const WinogradCut *inputs, Expr *unit,
                           int64_t units, Expr *slab) {
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    Tensor *tensors[MAX_NEAR_TENSORS];
    int count = plan->slots > 1 ? result_tensors(e, tensors) : 0;
    Expr *next = plus(b, plus(b, e->first, slab), integer(b, plan->portion)), *block;
    WinogradShare share = {unit, units, next, 1};
    bool asks = winograd_asks_ahead(e, inputs->tensor);
    bool together = asks && plan->input_blocks == plan->result_blocks;
    if (asks) {
        TilePlace place = winograd_open_share(e, &share, plan->input_blocks, &block);
        winograd_prefetch_cut(e, inputs, &place, block);
        if (together)
            prefetch_lines(e, tensors, count, &place, block);
        close_blocks(b, 1);
    }
    if (!together && count > 0) {
        TilePlace place = winograd_open_share(e, &share, plan->result_blocks, &block);
        prefetch_lines(e, tensors, count, &place, block);
        close_blocks(b, 1);
    }
}

/* ---- Products ---- */

/* Result blocks whose products lie in memory at the same time. */
static int64_t product_blocks(const WinogradPlan *plan) {
    return plan->part > 0 ? plan->columns : plan->result_blocks;
}

/* One slab at one point for one group of result blocks: the sum over the channels of some input
 * blocks. */
typedef struct Product {
    Expr *slab, *point, *group;
    Expr *filters;     /* where they lie from, as [input channel][columns][V] */
    Expr *first;       /* input block */
    int64_t blocks;    /* how many */
    bool add;          /* to what is there */
    Buffer *next_from; /* the weights, where others are asked for meanwhile */
    Expr *next_part;   /* these */
} Product;

static void add_block(const WinogradEmission *e, const Scratch *scratch, const Product *product,
                      Expr *block, Buffer *sums) {
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    int64_t length = plan->length, vectors = plan->columns * length;
    WinogradPlace place = {product->slab, product->point, plus(b, product->first, block)};
    Expr *from = winograd_slab_offset(e, scratch->inputs, &place, plan->input_blocks);
    Buffer *tiles = declare_pointer(b, "from", scratch->inputs, from);
    Expr *offset = plus(b, product->filters, times(b, block, integer(b, length * vectors)));
    Buffer *factors = declare_pointer(b, "factors", scratch->filters, offset);
    int opened = 0;
    Expr *c = winograd_open_terms(e, "c", length, &opened);
    WinogradTerms terms = {.scalars = tiles,
                           .scalar = c,
                           .scalar_stride = length,
                           .vectors = factors,
                           .vector = times(b, c, integer(b, vectors)),
                           .vector_stride = length};
    winograd_add_terms(e, sums, &terms);
    close_blocks(b, opened);
}

static void multiply_slab(const WinogradEmission *e, const Scratch *scratch,
                          const Product *product) {
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    Buffer *sums = winograd_declare_sums(e);
    int opened = 0;
    Expr *block = open_unless_single(b, LOOP_SERIAL, "block", product->blocks, &opened);
    if (product->next_from) {
        Expr *share = plus(b, times(b, product->point, integer(b, product->blocks)), block);
        winograd_prefetch_filter_part(e, product->next_from, product->next_part, share);
    }
    add_block(e, scratch, product, block, sums);
    close_blocks(b, opened);
    Expr *first = scaled(b, product->group, plan->part > 0 ? 0 : plan->columns);
    WinogradPlace place = {product->slab, product->point, first};
    Expr *to = declare(b, "to", TYPE_INDEX,
                       winograd_slab_offset(e, scratch->products, &place, product_blocks(plan)));
    winograd_store_sums(e, sums, scratch->products, to, plan->length, plan->slab * plan->length,
                        product->add);
}

/* With filters that have been transformed before. */
static void multiply(WinogradEmission *e, const WinogradCut *inputs, const Scratch *scratch) {
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    int64_t groups = plan->result_blocks / plan->columns;
    int64_t size = plan->input_blocks * plan->length * plan->columns * plan->length;
    int opened = 2;
    Expr *point = open_loop(b, e->kind, "point", plan->points);
    Expr *group = open_unless_single(b, e->kind, "group", groups, &opened);
    Expr *slab = winograd_open_slabs(e, e->kind);
    prefetch_share(e, inputs, plus(b, times(b, point, integer(b, groups)), group),
                   plan->points * groups, slab);
    Expr *filters = plus(b, lower_slot_offset(e->lowering, scratch->filters, e->slot),
                         times(b, point, integer(b, winograd_filters_stride(plan))));
    filters = plus(b, filters, times(b, group, integer(b, size)));
    Product product = {.slab = slab,
                       .point = point,
                       .group = group,
                       .filters = filters,
                       .first = integer(b, 0),
                       .blocks = plan->input_blocks};
    multiply_slab(e, scratch, &product);
    close_blocks(b, opened);
}

/* Transforms what each group of result blocks needs of the filters for one row of points, and
 * multiplies by it while it is in the cache. */
static void multiply_by_rows(WinogradEmission *e, Buffer *filters, const Scratch *scratch) {
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    int64_t units = plan->result_blocks / plan->columns * plan->extent;
    int64_t share = units / plan->filter_slots, size = winograd_filter_row_size(plan);
    Expr *slot = open_loop(b, LOOP_INDEPENDENT, "slot", plan->filter_slots);
    int opened = 1;
    Expr *unit = open_unless_single(b, LOOP_SERIAL, "unit", share, &opened);
    unit = plus(b, times(b, slot, integer(b, share)), unit);
    Expr *groups = integer(b, plan->result_blocks / plan->columns);
    Expr *row = declare(b, "row", TYPE_INDEX, over(b, unit, groups));
    Expr *group = declare(b, "group", TYPE_INDEX, remainder_of(b, unit, groups));
    Expr *first = lower_slot_offset(e->lowering, scratch->filters, slot);
    winograd_transform_filter_row(e, filters, group, row, scratch->filters, first);
    Expr *column = open_loop(b, LOOP_SERIAL, "column", plan->extent);
    Expr *slab = winograd_open_slabs(e, LOOP_SERIAL);
    Expr *point = plus(b, times(b, row, integer(b, plan->extent)), column);
    Product product = {.slab = slab,
                       .point = point,
                       .group = group,
                       .filters = plus(b, first, times(b, column, integer(b, size / plan->extent))),
                       .first = integer(b, 0),
                       .blocks = plan->input_blocks};
    multiply_slab(e, scratch, &product);
    close_blocks(b, opened + 2);
}

/* ---- Results ---- */

typedef struct ResultEmission {
    WinogradEmission *e;
    Buffer *products;
    Expr *from; /* offset of the first point */
    Buffer *tile;
} ResultEmission;

static void transform_products(const ResultEmission *r) {
    const WinogradPlan *plan = r->e->plan;
    Builder *b = r->e->b;
    int64_t point = winograd_point_stride(product_blocks(plan) * plan->slab * plan->length);
    Expr *origin[2] = {integer(b, 0), integer(b, 0)};
    WinogradVectors from = {load_at(b, r->products, 1, &r->from), plan->extent * point, point};
    WinogradVectors to = {load_at(b, r->tile, 2, origin), plan->step * plan->length, plan->length};
    winograd_transform(r->e, &r->e->matrices.output, &from, &to);
}

/* A loop over the elements of a tile that the result has along one axis, or over windows of
 * `extent` elements, which divides the tile and the result. */
static Expr *open_covered(const WinogradEmission *e, const char *letter, int axis, Expr *first,
                          int64_t extent) {
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    Expr *end = integer(b, plan->step / extent);
    if (plan->covered[axis] % plan->step != 0) {
        Expr *left = minus(b, integer(b, plan->covered[axis]), first);
        end = minimum(b, over(b, left, integer(b, extent)), end);
    }
    Expr *i = open_range(b, LOOP_SERIAL, letter, integer(b, 0), end, 1);
    expect_trips(b, (double)plan->step / (double)extent, false);
    return i;
}

/* An element of the tile, with the bias. */
static Expr *tile_element(const ResultEmission *r, Expr *row, Expr *column, Expr *channel,
                          Expr *lane) {
    const WinogradPlan *plan = r->e->plan;
    Builder *b = r->e->b;
    Expr *at[2] = {plus(b, times(b, row, integer(b, plan->step)), column), lane};
    Expr *value = load_at(b, r->tile, 2, at);
    Tensor *bias = plan->kind == WINOGRAD_FORWARD ? plan->node->parameters[1] : NULL;
    return bias ? plus(b, value, tensor_load(r->e->lowering, bias, &channel)) : value;
}

/* Every element of the tile to the node. */
static void hand_over(const ResultEmission *r, const TilePlace *place, Expr *block) {
    const WinogradEmission *e = r->e;
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    Expr *i = open_covered(e, "i", 0, place->row, 1);
    Expr *j = open_covered(e, "j", 1, place->column, 1);
    Expr *lane = open_loop(b, LOOP_INDEPENDENT, "lane", plan->length);
    Expr *index[MAX_AXES];
    index[AXIS_BATCH] = place->n;
    index[AXIS_CHANNEL] = blocked_index(b, block, lane, plan->length);
    index[AXIS_SPACE] = plus(b, place->row, i);
    index[AXIS_SPACE + 1] = plus(b, place->column, j);
    lower_result(e->lowering, plan->node, index, tile_element(r, i, j, index[AXIS_CHANNEL], lane));
    close_blocks(b, 3);
}

/* The moments of the tile, all of which the result has, to the node's. */
static void gather_moments(const ResultEmission *r, const TilePlace *place, Expr *block) {
    const WinogradEmission *e = r->e;
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    Expr *zero = integer(b, 0), *first[2] = {zero, zero};
    Expr *index[MAX_AXES] = {[AXIS_BATCH] = place->n,
                             [AXIS_CHANNEL] = blocked_index(b, block, zero, plan->length),
                             [AXIS_SPACE] =
                                 remainder_of(b, place->number, integer(b, plan->image_tiles))};
    lower_moments(e->lowering, plan->node, index,
                  &(TileVectors){.first = load_at(b, r->tile, 2, first),
                                 .count = (int64_t)plan->step * plan->step,
                                 .step = plan->length});
}

/* A window of the tile. */
typedef struct TileWindow {
    const ResultEmission *r;
    const TilePlace *place;
    Expr *row, *column; /* of its first element in the tile */
} TileWindow;

static Expr *window_element(void *context, Expr *channel, Expr *lane, const int64_t *at) {
    const TileWindow *w = context;
    Builder *b = w->r->e->b;
    Expr *row = plus(b, w->row, integer(b, at[0]));
    Expr *column = plus(b, w->column, integer(b, at[1]));
    Expr *index[MAX_AXES] = {w->place->n, channel, plus(b, w->place->row, row),
                             plus(b, w->place->column, column)};
    return lower_window_element(w->r->e->lowering, w->r->e->plan->node, index,
                                tile_element(w->r, row, column, channel, lane));
}

/* Every window of the tile to the node that reads windows: they tile it. */
static void hand_over_windows(const ResultEmission *r, const Node *reader, const TilePlace *place,
                              Expr *block) {
    const WinogradEmission *e = r->e;
    const int64_t *extent = reader->layer->window.kernel;
    Builder *b = e->b;
    TileWindow w = {.r = r, .place = place};
    Expr *i = open_covered(e, "i", 0, place->row, extent[0]);
    Expr *j = open_covered(e, "j", 1, place->column, extent[1]);
    w.row = times(b, i, integer(b, extent[0]));
    w.column = times(b, j, integer(b, extent[1]));
    Expr *output[MAX_AXES] = {place->n, NULL,
                              plus(b, over(b, place->row, integer(b, extent[0])), i),
                              plus(b, over(b, place->column, integer(b, extent[1])), j)};
    reader->op->lower_window(e->lowering, reader, output, block,
                             &(WindowElements){window_element, &w});
    close_blocks(b, 2);
}

/* All tiles of the result blocks whose products there are, from `first_block` on. */
static void transform_back(WinogradEmission *e, Buffer *products, Expr *first_block) {
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    int64_t blocks = product_blocks(plan);
    ResultEmission r = {.e = e, .products = products};
    int opened = 2;
    Expr *slab = winograd_open_slabs(e, e->kind);
    Expr *block = open_unless_single(b, e->kind, "block", blocks, &opened);
    Expr *i = winograd_open_tiles(e, slab, false);
    TilePlace place = winograd_tile_place(e, slab, i);
    Expr *first =
        winograd_slab_offset(e, products, &(WinogradPlace){slab, integer(b, 0), block}, blocks);
    block = plus(b, first_block, block);
    r.from = declare(b, "from", TYPE_INDEX, plus(b, first, times(b, i, integer(b, plan->length))));
    prefetch_results(e, &place, block);
    int64_t extent[2] = {(int64_t)plan->step * plan->step, plan->length};
    r.tile = declare_array(b, "result", TYPE_REAL, 2, extent);
    transform_products(&r);
    if (plan->kind == WINOGRAD_FORWARD && plan->node->moments)
        gather_moments(&r, &place, block);
    const Node *reader = lower_window_node(e->lowering);
    if (reader)
        hand_over_windows(&r, reader, &place, block);
    else
        hand_over(&r, &place, block);
    close_blocks(b, opened);
}

/* ---- All of it, group by group of result blocks ---- */

static void clear_products(WinogradEmission *e, Buffer *products) {
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    int64_t reals = plan->columns * plan->slab * plan->length;
    Expr *slab = winograd_open_slabs(e, LOOP_SERIAL);
    Expr *point = open_loop(b, LOOP_SERIAL, "point", plan->points);
    WinogradPlace place = {slab, point, integer(b, 0)};
    Expr *i = open_range(b, LOOP_SERIAL, "i", integer(b, 0), integer(b, reals), plan->length);
    Expr *at = plus(b, winograd_slab_offset(e, products, &place, plan->columns), i);
    store_at(b, products, 1, &at, call(b, TYPE_VECTOR, "VECTOR_ZERO", 0, NULL), false);
    close_blocks(b, 3);
}

/* What one part of the input blocks adds to the products of a group. The weights of the next part
 * come from memory meanwhile. */
static void add_part(WinogradEmission *e, Buffer *filters, const Scratch *scratch, Expr *group,
                     Expr *part) {
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    int64_t stride = winograd_filter_part_stride(plan), parts = plan->input_blocks / plan->part;
    Expr *offset = lower_slot_offset(e->lowering, scratch->filters, e->slot);
    Expr *first = times(b, part, integer(b, plan->part));
    Expr *number = plus(b, plus(b, times(b, group, integer(b, parts)), part), integer(b, 1));
    number = declare(b, "next", TYPE_INDEX, number);
    winograd_transform_filter_part(e, filters, group, first, scratch->filters, offset);
    Expr *point = open_loop(b, LOOP_SERIAL, "point", plan->points);
    Expr *slab = winograd_open_slabs(e, LOOP_SERIAL);
    Product product = {.slab = slab,
                       .point = point,
                       .group = group,
                       .filters = plus(b, offset, times(b, point, integer(b, stride))),
                       .first = first,
                       .blocks = plan->part,
                       .add = parts > 1,
                       .next_from = filters,
                       .next_part = number};
    multiply_slab(e, scratch, &product);
    close_blocks(b, 2);
}

/* Opens the loop over the groups of a slot, after the inputs that it reads have been made. Returns
 * how many loops it has opened. */
static int open_groups(WinogradEmission *e, const WinogradCut *cut, Expr **group) {
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    int64_t groups = plan->result_blocks / plan->columns;
    int64_t share = (groups + plan->filter_slots - 1) / plan->filter_slots;
    int opened = 1;
    if (plan->slots > 1) {
        winograd_cut_tiles(e, cut);
        *group = open_loop(b, LOOP_SERIAL, "group", groups);
        return opened;
    }
    if (plan->filter_slots > 1)
        e->kind = LOOP_SERIAL;
    e->slot = open_unless_single(b, LOOP_INDEPENDENT, "slot", plan->filter_slots, &opened);
    winograd_cut_tiles(e, cut);
    Expr *begin = times(b, e->slot, integer(b, share));
    Expr *end = plus(b, begin, integer(b, share));
    if (groups % plan->filter_slots != 0)
        end = minimum(b, end, integer(b, groups));
    *group = open_range(b, LOOP_SERIAL, "group", begin, end, 1);
    expect_trips(b, (double)share, false);
    return opened;
}

static void convolve_by_groups(WinogradEmission *e, Buffer *filters, const WinogradCut *cut,
                               const Scratch *scratch) {
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    int64_t parts = plan->input_blocks / plan->part;
    Expr *group;
    int opened = open_groups(e, cut, &group), inner = 0;
    if (parts > 1)
        clear_products(e, scratch->products);
    Expr *part = open_unless_single(b, LOOP_SERIAL, "part", parts, &inner);
    add_part(e, filters, scratch, group, part);
    close_blocks(b, inner);
    transform_back(e, scratch->products, times(b, group, integer(b, plan->columns)));
    close_blocks(b, opened);
}

static Scratch declare_scratch(const WinogradEmission *e) {
    const WinogradPlan *plan = e->plan;
    int slots = plan->part > 0 ? plan->filter_slots : plan->slots;
    Scratch scratch;
    scratch.filters = plan->part > 0           ? winograd_filter_parts_scratch(e)
                      : plan->filter_slots > 0 ? winograd_filter_rows_scratch(e)
                                               : winograd_filters_scratch(e);
    scratch.inputs = winograd_slab_scratch(e, "inputs", slots, plan->input_blocks);
    scratch.products = winograd_slab_scratch(e, "products", slots, product_blocks(plan));
    return scratch;
}

void winograd_emit_convolution(WinogradEmission *e) {
    const WinogradPlan *plan = e->plan;
    bool whole = plan->filter_slots == 0; /* all filters at once */
    e->matrices = winograd_matrices(plan->step, plan->taps, WINOGRAD_SCALE_FILTER);
    comment(e->b, "Winograd F(%dx%d, %dx%d)", plan->step, plan->step, plan->taps, plan->taps);
    Buffer *filters = winograd_filters(e);
    Scratch scratch = declare_scratch(e);
    if (whole && !plan->apart)
        winograd_transform_filters(e, filters, scratch.filters);
    winograd_open_slots(e);
    if (whole && plan->apart)
        winograd_transform_filters(e, filters, scratch.filters);
    winograd_open_portions(e);
    WinogradCut cut = {.tensor = plan->input,
                       .blocks = plan->input_blocks,
                       .matrix = &e->matrices.input,
                       .to = scratch.inputs};
    for (int axis = 0; axis < 2; axis++) {
        cut.origin[axis] = plan->origin[axis];
        cut.end[axis] = plan->origin[axis] + plan->covered[axis] + plan->taps - 1;
    }
    if (plan->part > 0) {
        convolve_by_groups(e, filters, &cut, &scratch);
    } else {
        winograd_cut_tiles(e, &cut);
        if (whole)
            multiply(e, &cut, &scratch);
        else
            multiply_by_rows(e, filters, &scratch);
        transform_back(e, scratch.products, integer(e->b, 0));
    }
    winograd_close_portions(e);
}

static bool windows_tile(Lowering *lowering, const Node *node, WinogradKind kind,
                         const Window *window) {
    WinogradPlan plan;
    return (node->op->flags & OP_CONVOLUTION) && window->rank == 2 &&
           winograd_tuned(lowering, node, kind, &plan) && plan.step % window->kernel[0] == 0 &&
           plan.step % window->kernel[1] == 0;
}

bool winograd_takes_windows(Lowering *lowering, const Node *node, const Window *window) {
    return node->role == NODE_FORWARD && windows_tile(lowering, node, WINOGRAD_FORWARD, window);
}

bool winograd_takes_window_gradient(Lowering *lowering, const Node *node, const Window *window) {
    return node->role == NODE_PARAMETER_GRADIENT &&
           windows_tile(lowering, node, WINOGRAD_WEIGHT_GRADIENT, window);
}

bool winograd_tile_numbers(Lowering *lowering, const Node *node, int64_t *numbers) {
    WinogradPlan plan;
    if (!winograd_tuned(lowering, node, WINOGRAD_FORWARD, &plan))
        return false;
    bool whole = plan.covered[0] % plan.step == 0 && plan.covered[1] % plan.step == 0;
    *numbers = whole ? (int64_t)plan.step * plan.step : 0;
    return true;
}

bool winograd_lower(Lowering *lowering, const Node *node, WinogradKind kind) {
    WinogradPlan plan;
    if (!winograd_tuned(lowering, node, kind, &plan))
        return false;
    WinogradEmission e = {.plan = &plan, .lowering = lowering, .b = lowering->builder};
    if (kind == WINOGRAD_WEIGHT_GRADIENT)
        winograd_emit_weight_gradient(&e);
    else
        winograd_emit_convolution(&e);
    return true;
}
