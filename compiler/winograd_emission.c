#include "winograd_emission.h"

#define TILES_AHEAD 3 /* as many hide the way to memory */

/* ---- Small pieces ---- */

Expr *winograd_load_vector(Builder *b, Buffer *buffer, int index_count, Expr *const *index) {
    Expr *load = load_at(b, buffer, index_count, index);
    load->type = TYPE_VECTOR;
    return load;
}

static Expr *divided_up(Builder *b, Expr *x, int64_t divisor) {
    return over(b, plus(b, x, integer(b, divisor - 1)), integer(b, divisor));
}

/* ---- Portions ---- */

/* Slabs of the largest batch, or a slot's share of them. */
static int64_t largest_share(const WinogradEmission *e) {
    int64_t tiles = e->plan->image_tiles * e->lowering->options->max_batch;
    int64_t slabs = (tiles + e->plan->slab - 1) / e->plan->slab;
    return (slabs + e->plan->slots - 1) / e->plan->slots;
}

void winograd_open_slots(WinogradEmission *e) {
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    e->slot = e->first = integer(b, 0);
    e->kind = plan->slots > 1 ? LOOP_SERIAL : LOOP_INDEPENDENT;
    e->single_portion = plan->portion >= largest_share(e);
    e->total = declare(b, "tiles", TYPE_INDEX, scaled(b, batch_size(b), plan->image_tiles));
    e->total_slabs = declare(b, "slabs", TYPE_INDEX, divided_up(b, e->total, plan->slab));
    e->end = e->total_slabs;
    if (plan->slots == 1)
        return;
    Expr *share = declare(b, "share", TYPE_INDEX, divided_up(b, e->end, plan->slots));
    e->slot = open_loop(b, LOOP_INDEPENDENT, "slot", plan->slots);
    e->first = declare(b, "begin", TYPE_INDEX, times(b, e->slot, share));
    e->end = declare(b, "end", TYPE_INDEX, minimum(b, plus(b, e->first, share), e->end));
}

void winograd_open_portions(WinogradEmission *e) {
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    if (e->single_portion) {
        e->slabs =
            plan->slots > 1 ? declare(b, "count", TYPE_INDEX, minus(b, e->end, e->first)) : e->end;
        return;
    }
    e->first = open_range(b, LOOP_SERIAL, "first", e->first, e->end, plan->portion);
    int64_t portion_tiles = plan->slab * plan->portion * plan->slots;
    expect_trips(b, (double)plan->image_tiles / (double)portion_tiles, true);
    Expr *left = minus(b, e->end, e->first);
    e->slabs = declare(b, "count", TYPE_INDEX, minimum(b, left, integer(b, plan->portion)));
}

void winograd_close_portions(WinogradEmission *e) {
    close_blocks(e->b, (e->plan->slots > 1) + !e->single_portion);
}

Expr *winograd_open_slabs(WinogradEmission *e, LoopKind kind) {
    Expr *slab = open_range(e->b, kind, "slab", integer(e->b, 0), e->slabs, 1);
    expect_trips(e->b, (double)e->plan->portion, false);
    return slab;
}

/* The vectors of a transformed tile are as far apart as points: an odd number of lines of the
 * cache, for at a multiple of a power of two they would all fall into a few of its sets. */
int64_t winograd_point_stride(int64_t reals) {
    int64_t lines = (reals + LINE_REALS - 1) / LINE_REALS;
    return (lines | 1) * LINE_REALS;
}

static int64_t slab_point_stride(const WinogradEmission *e, int64_t blocks) {
    return winograd_point_stride(blocks * e->plan->slab * e->plan->length);
}

static int64_t slab_size(const WinogradEmission *e, int64_t blocks) {
    return e->plan->points * slab_point_stride(e, blocks);
}

Expr *winograd_slab_offset(const WinogradEmission *e, const Buffer *slabs,
                           const WinogradPlace *place, int64_t blocks) {
    Builder *b = e->b;
    Expr *offset = scaled(b, place->slab, slab_size(e, blocks));
    offset = plus(b, lower_slot_offset(e->lowering, slabs, e->slot), offset);
    offset = plus(b, offset, scaled(b, place->point, slab_point_stride(e, blocks)));
    return plus(b, offset, scaled(b, place->block, e->plan->slab * e->plan->length));
}

Buffer *winograd_slab_scratch(const WinogradEmission *e, const char *name, int slots,
                              int64_t blocks) {
    return lower_slot_scratch(e->lowering, name, slots, e->plan->portion * slab_size(e, blocks));
}

/* Where it lies; `once`: each number is read once and needs no variable. */
static TilePlace place_of_tile(WinogradEmission *e, Expr *number, bool once) {
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    TilePlace place = {.number = declare(b, "tile", TYPE_INDEX, number)};
    Expr *rest = remainder_of(b, place.number, integer(b, plan->image_tiles));
    Expr *across = integer(b, plan->tiles[1]);
    place.n = over(b, place.number, integer(b, plan->image_tiles));
    place.row = scaled(b, over(b, rest, across), plan->step);
    place.column = scaled(b, remainder_of(b, place.number, across), plan->step);
    if (once)
        return place;
    place.n = declare(b, "n", TYPE_INDEX, place.n);
    place.row = declare(b, "h", TYPE_INDEX, place.row);
    place.column = declare(b, "w", TYPE_INDEX, place.column);
    return place;
}

static Expr *number_of_tile(WinogradEmission *e, Expr *slab, Expr *i) {
    return plus(e->b, scaled(e->b, plus(e->b, e->first, slab), e->plan->slab), i);
}

TilePlace winograd_tile_place(WinogradEmission *e, Expr *slab, Expr *i) {
    return place_of_tile(e, number_of_tile(e, slab, i), false);
}

TilePlace winograd_tile_ahead(WinogradEmission *e, const TilePlace *current) {
    Builder *b = e->b;
    Expr *last = minus(b, e->total, integer(b, 1));
    return place_of_tile(e, minimum(b, plus(b, current->number, integer(b, TILES_AHEAD)), last),
                         true);
}

/* ---- Tiles of a tensor ---- */

typedef struct CutEmission {
    WinogradEmission *e;
    const WinogradCut *cut;
    Expr *from;     /* offset of the tile's first element in the tensor */
    Buffer *border; /* copy of the tile, where tiles may leave the image */
    Expr *to;       /* offset of the tile's first point in the scratch */
} CutEmission;

static int64_t row_extent(const Tensor *tensor) {
    return tensor->extent[2] + tensor->layout.before[2] + tensor->layout.after[2];
}

static int64_t column_extent(const Tensor *tensor) {
    return tensor->extent[1] + tensor->layout.before[1] + tensor->layout.after[1];
}

static Expr *tensor_vector(const CutEmission *c, Expr *row, Expr *column) {
    Builder *b = c->e->b;
    Tensor *tensor = c->cut->tensor;
    Expr *place = plus(b, scaled(b, row, row_extent(tensor)), column);
    Expr *offset = plus(b, c->from, scaled(b, place, c->e->plan->length));
    return winograd_load_vector(b, lower_buffer(c->e->lowering, tensor), 1, &offset);
}

static void border_place(const CutEmission *c, Expr *row, Expr *column, Expr **place) {
    Builder *b = c->e->b;
    place[0] = plus(b, scaled(b, row, c->cut->matrix->columns), column);
    place[1] = integer(b, 0);
}

/* Whether tiles leave what counts of the tensor, or the batch. */
static bool has_border(const CutEmission *c) {
    const WinogradPlan *plan = c->e->plan;
    bool partial = c->cut->missing == TILES_ZERO && plan->image_tiles % plan->slab != 0;
    for (int axis = 0; axis < 2; axis++)
        partial = partial || plan->covered[axis] % plan->step != 0;
    return partial;
}

/* A copy of the tile with zeros for what it does not have. */
static void fill_border(CutEmission *c, const TilePlace *place) {
    const WinogradPlan *plan = c->e->plan;
    const WinogradCut *cut = c->cut;
    Builder *b = c->e->b;
    Expr *const at[2] = {place->row, place->column};
    int64_t extent[2] = {(int64_t)cut->matrix->columns * cut->matrix->columns, plan->length};
    c->border = declare_array(b, "border", TYPE_REAL, 2, extent);
    Expr *index[2], *to[2], *exists = NULL;
    index[0] = open_loop(b, LOOP_SERIAL, "i", cut->matrix->columns);
    index[1] = open_loop(b, LOOP_SERIAL, "j", cut->matrix->columns);
    if (cut->missing == TILES_ZERO && plan->image_tiles % plan->slab != 0)
        exists = less(b, place->number, c->e->total);
    for (int axis = 0; axis < 2; axis++)
        if (plan->covered[axis] % plan->step != 0)
            exists = both(b, exists,
                          less(b, plus(b, at[axis], index[axis]),
                               integer(b, cut->end[axis] - cut->origin[axis])));
    border_place(c, index[0], index[1], to);
    open_if(b, exists);
    store_at(b, c->border, 2, to, tensor_vector(c, index[0], index[1]), false);
    close_blocks(b, 1);
    open_else(b);
    store_at(b, c->border, 2, to, call(b, TYPE_VECTOR, "VECTOR_ZERO", 0, NULL), false);
    close_blocks(b, 3);
}

/* The offset of the tile's first element. */
static Expr *cut_offset(const CutEmission *c, const TilePlace *place, Expr *block) {
    const Tensor *tensor = c->cut->tensor;
    const Layout *layout = &tensor->layout;
    Builder *b = c->e->b;
    Expr *row = plus(b, place->row, integer(b, c->cut->origin[0] + layout->before[1]));
    Expr *column = plus(b, place->column, integer(b, c->cut->origin[1] + layout->before[2]));
    Expr *offset = plus(b, scaled(b, place->n, c->cut->blocks), block);
    offset = plus(b, scaled(b, offset, column_extent(tensor)), row);
    offset = plus(b, scaled(b, offset, row_extent(tensor)), column);
    return scaled(b, offset, c->e->plan->length);
}

/* What the tile has and those before it have not: as many rows and columns as tiles are apart, or
 * all rows. */
static void prefetch_lines(CutEmission *c, int64_t rows) {
    Builder *b = c->e->b;
    int64_t extent = c->cut->matrix->columns, step = c->e->plan->step;
    Expr *row = open_loop(b, LOOP_SERIAL, "i", rows);
    Expr *column = open_loop(b, LOOP_SERIAL, "j", step);
    Expr *vector = tensor_vector(c, plus(b, row, integer(b, extent - rows)),
                                 plus(b, column, integer(b, extent - step)));
    vector->type = TYPE_REAL; /* the macro takes an element's address */
    call_statement(b, call(b, TYPE_REAL, "VECTOR_PREFETCH", 1, &vector));
    close_blocks(b, 2);
}

/* Transforms wait for memory. */
static void prefetch_tile(CutEmission *c, const TilePlace *current, Expr *block) {
    Builder *b = c->e->b;
    TilePlace place = winograd_tile_ahead(c->e, current);
    CutEmission ahead = *c;
    ahead.from = declare(b, "ahead", TYPE_INDEX, cut_offset(c, &place, block));
    prefetch_lines(&ahead, c->cut->matrix->columns);
}

bool winograd_asks_ahead(const WinogradEmission *e, const Tensor *tensor) {
    return e->plan->slots > 1 && lower_is_large(e->lowering, tensor);
}

TilePlace winograd_open_share(WinogradEmission *e, const WinogradShare *share, int64_t blocks,
                              Expr **block) {
    Builder *b = e->b;
    Expr *pieces = integer(b, share->slabs * e->plan->slab * blocks);
    Expr *units = integer(b, share->units), *next = plus(b, share->unit, integer(b, 1));
    Expr *piece = open_range(b, LOOP_SERIAL, "piece", over(b, times(b, share->unit, pieces), units),
                             over(b, times(b, next, pieces), units), 1);
    expect_trips(b, (double)pieces->integer / (double)share->units, false);
    *block = remainder_of(b, piece, integer(b, blocks));
    Expr *tile =
        plus(b, scaled(b, share->first, e->plan->slab), over(b, piece, integer(b, blocks)));
    return place_of_tile(e, minimum(b, tile, minus(b, e->total, integer(b, 1))), true);
}

void winograd_prefetch_cut(WinogradEmission *e, const WinogradCut *cut, const TilePlace *place,
                           Expr *block) {
    Builder *b = e->b;
    CutEmission ahead = {.e = e, .cut = cut};
    ahead.from = declare(b, "ahead", TYPE_INDEX, cut_offset(&ahead, place, block));
    prefetch_lines(&ahead, e->plan->step);
}

/* The sum of all that a tile has. */
static void add_tile(const CutEmission *c, Expr *sum) {
    Builder *b = c->e->b;
    int64_t extent = c->cut->matrix->columns;
    Expr *column = open_loop(b, LOOP_SERIAL, "j", extent), *column_sum = NULL, *place[2];
    for (int row = 0; row < extent; row++) {
        border_place(c, integer(b, row), column, place);
        Expr *vector = c->border ? winograd_load_vector(b, c->border, 2, place)
                                 : tensor_vector(c, integer(b, row), column);
        column_sum = column_sum ? plus(b, column_sum, vector) : vector;
    }
    local_add(b, sum, column_sum);
    close_blocks(b, 1);
}

/* `sum`: a variable that the tile's vectors are added to, or NULL. */
static void cut_tile(CutEmission *c, const TilePlace *place, Expr *sum) {
    WinogradEmission *e = c->e;
    Builder *b = e->b;
    const RationalMatrix *matrix = c->cut->matrix;
    bool border = has_border(c);
    if (border)
        fill_border(c, place);
    if (sum)
        add_tile(c, sum);
    int64_t length = e->plan->length, point = slab_point_stride(e, c->cut->blocks);
    WinogradVectors from = {.row = row_extent(c->cut->tensor) * length, .column = length};
    WinogradVectors to = {.row = e->plan->extent * point, .column = point};
    Expr *origin[2] = {integer(b, 0), integer(b, 0)};
    if (border)
        from.row = matrix->columns * length;
    from.first = border ? load_at(b, c->border, 2, origin)
                        : load_at(b, lower_buffer(e->lowering, c->cut->tensor), 1, &c->from);
    to.first = load_at(b, c->cut->to, 1, &c->to);
    winograd_transform(e, matrix, &from, &to);
}

/* The tiles of a slab that the batch has. */
static Expr *slab_end(const WinogradEmission *e, Expr *slab, bool all) {
    Builder *b = e->b;
    Expr *end = integer(b, e->plan->slab);
    if (all || e->plan->image_tiles % e->plan->slab == 0)
        return end;
    Expr *first = scaled(b, plus(b, e->first, slab), e->plan->slab);
    return minimum(b, minus(b, e->total, first), end);
}

static Expr *open_tiles(WinogradEmission *e, LoopKind kind, Expr *slab, bool all) {
    Expr *i = open_range(e->b, kind, "i", integer(e->b, 0), slab_end(e, slab, all), 1);
    expect_trips(e->b, (double)e->plan->slab, false);
    return i;
}

Expr *winograd_open_tiles(WinogradEmission *e, Expr *slab, bool all) {
    return open_tiles(e, e->kind, slab, all);
}

static void store_sum(const CutEmission *c, Expr *slab, Expr *block, Expr *sum) {
    Builder *b = c->e->b;
    Expr *place = scaled(b, plus(b, c->e->first, slab), c->cut->blocks);
    place = scaled(b, plus(b, place, block), c->e->plan->length);
    store_at(b, c->cut->sums, 1, &place, sum, false);
}

void winograd_cut_tiles(WinogradEmission *e, const WinogradCut *cut) {
    Builder *b = e->b;
    const WinogradPlan *plan = e->plan;
    CutEmission c = {.e = e, .cut = cut};
    Expr *slab = winograd_open_slabs(e, e->kind);
    Expr *block = open_loop(b, e->kind, "block", cut->blocks);
    Expr *sum = NULL;
    if (cut->sums)
        sum = declare(b, "sum", TYPE_VECTOR, call(b, TYPE_VECTOR, "VECTOR_ZERO", 0, NULL));
    Expr *i = open_tiles(e, sum ? LOOP_SERIAL : e->kind, slab, cut->missing != TILES_LEFT_OUT);
    Expr *number = number_of_tile(e, slab, i);
    if (cut->missing == TILES_REPEATED && plan->image_tiles % plan->slab != 0)
        number = minimum(b, number, minus(b, e->total, integer(b, 1)));
    TilePlace place = place_of_tile(e, number, false);
    c.from = declare(b, "from", TYPE_INDEX, cut_offset(&c, &place, block));
    WinogradPlace to = {slab, integer(b, 0), block};
    c.to = declare(
        b, "to", TYPE_INDEX,
        plus(b, winograd_slab_offset(e, cut->to, &to, cut->blocks), scaled(b, i, plan->length)));
    prefetch_tile(&c, &place, block);
    if (plan->node->dy_windows && cut->tensor == plan->node->dy)
        winograd_make_windows(e, cut, &place, block);
    cut_tile(&c, &place, sum);
    close_blocks(b, 1);
    if (sum)
        store_sum(&c, slab, block, sum);
    close_blocks(b, 2);
}

/* ---- Matrix products ---- */

Buffer *winograd_declare_sums(const WinogradEmission *e) {
    Builder *b = e->b;
    int64_t extent[2] = {e->plan->rows, e->plan->columns};
    Buffer *sums = declare_array(b, "sum", TYPE_VECTOR, 2, extent);
    Expr *place[2];
    int opened = 0;
    place[0] = open_unrolled(b, "u", extent[0], &opened);
    place[1] = open_unrolled(b, "t", extent[1], &opened);
    store_at(b, sums, 2, place, call(b, TYPE_VECTOR, "VECTOR_ZERO", 0, NULL), false);
    close_blocks(b, opened);
    return sums;
}

/* Where a target has few registers: whether the vectors of a step and so many scalars find room
 * beside the sums. */
static bool has_room(const WinogradEmission *e, int scalars) {
    const WinogradPlan *plan = e->plan;
    return lower_has_few_registers(e->lowering->options) &&
           (plan->rows + 1) * plan->columns + scalars <= e->lowering->options->registers;
}

Expr *winograd_open_terms(const WinogradEmission *e, const char *letter, int64_t count,
                          int *opened) {
    Builder *b = e->b;
    int64_t step = count % 2 == 0 && has_room(e, 2) ? 2 : 1;
    Expr *index = open_range(b, LOOP_SERIAL, letter, integer(b, 0), integer(b, count), step);
    b->open_stmt[b->depth - 1]->rolled = true;
    ++*opened;
    return step == 1 ? index : plus(b, index, open_unrolled(b, "half", step, opened));
}

void winograd_add_terms(const WinogradEmission *e, Buffer *sums, const WinogradTerms *terms) {
    Builder *b = e->b;
    int64_t columns = e->plan->columns;
    Buffer *held = declare_array(b, "held", TYPE_VECTOR, 1, &columns);
    int opened = 0;
    Expr *t = open_unrolled(b, "t", columns, &opened);
    Expr *offset = plus(b, terms->vector, scaled(b, t, terms->vector_stride));
    store_at(b, held, 1, &t, winograd_load_vector(b, terms->vectors, 1, &offset), false);
    Expr *value = load_at(b, held, 1, &t);
    if (has_room(e, 1))
        call_statement(b, call(b, TYPE_VECTOR, "VECTOR_HOLD", 1, &value));
    close_blocks(b, opened);
    opened = 0;
    Expr *u = open_unrolled(b, "u", e->plan->rows, &opened);
    offset = plus(b, terms->scalar, scaled(b, u, terms->scalar_stride));
    Expr *scalar = load_at(b, terms->scalars, 1, &offset);
    scalar = declare(b, "scalar", TYPE_VECTOR, call(b, TYPE_VECTOR, "VECTOR_SET", 1, &scalar));
    t = open_unrolled(b, "t", columns, &opened);
    Expr *place[2] = {u, t};
    store_at(b, sums, 2, place, times(b, scalar, load_at(b, held, 1, &t)), true);
    close_blocks(b, opened);
}

void winograd_store_sums(const WinogradEmission *e, Buffer *sums, Buffer *to, Expr *offset,
                         int64_t row_stride, int64_t column_stride, bool add) {
    Builder *b = e->b;
    Expr *place[2];
    int opened = 0;
    place[0] = open_unrolled(b, "u", e->plan->rows, &opened);
    place[1] = open_unrolled(b, "t", e->plan->columns, &opened);
    Expr *at = plus(b, offset, scaled(b, place[0], row_stride));
    at = plus(b, at, scaled(b, place[1], column_stride));
    store_at(b, to, 1, &at, load_at(b, sums, 2, place), add);
    close_blocks(b, opened);
}
