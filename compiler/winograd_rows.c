#include "winograd_rows.h"
#include "winograd_emission.h"

/* Bytes of a row in lanes: threads have little more in some libraries. */
#define MOST_STACK (64 << 10)
/* Cycles of a transformed vector at a point; multiply-adds take longer than at the peak. */
#define CYCLES_PER_POINT 3.0
#define EFFICIENCY 0.9
#define GAIN 1.1 /* at the least */

/* Vectors of the tensor are examples. */
static bool in_lanes(const Lowering *lowering, const Tensor *tensor) {
    return tensor->layout.blocked_axis == BATCH_AXIS &&
           tensor->layout.block == lowering->options->vector_length;
}

bool winograd_rows_form(const Lowering *lowering, const Node *node, const Tensor *from,
                        const Tensor *to) {
    const LowerOptions *options = lowering->options;
    const Window *window = &node->layer->window;
    bool turns = from->layout.blocked_axis == NOT_BLOCKED && from == node->x[0];
    if (options->level == 0 || !options->winograd || options->vector_length == 1 ||
        !(turns || in_lanes(lowering, from)) || !in_lanes(lowering, to) || window->rank != 2 ||
        node->connections || node->parameters[0]->extent[1] != node->x[0]->extent[0])
        return false;
    for (int axis = 0; axis < 2; axis++)
        if (window->stride[axis] != 1 || window->dilation[axis] != 1)
            return false;
    int64_t width = from->extent[2] > to->extent[2] ? from->extent[2] : to->extent[2];
    if (width * options->vector_length * (int64_t)sizeof(double) > MOST_STACK)
        return false;
    /* Tiles that reach past a row are written out one by one: a few at either end. */
    if (window->pad_begin[1] >= window->kernel[1] || window->pad_end[1] >= window->kernel[1])
        return false;
    return window->kernel[1] == 3 || window->kernel[1] == 5;
}

bool winograd_rows_choose(const Lowering *lowering, const RowsWork *work, RowsTiles *tiles) {
    double rate = lowering->options->vector_rate * EFFICIENCY;
    double least = work->products * (double)(work->width * work->taps) / rate / GAIN;
    bool found = false;
    for (int step = 2; step + work->taps - 1 <= WINOGRAD_MAX; step += 2) {
        RowsTiles choice = {.step = step,
                            .points = step + (int)work->taps - 1,
                            .count = (work->width + step - 1) / step};
        double points = (double)(choice.count * choice.points);
        double cycles =
            work->products * points / rate + work->transformed * points * CYCLES_PER_POINT;
        if (cycles >= least || (work->fits && !work->fits(work->plan, &choice)))
            continue;
        least = cycles;
        *tiles = choice;
        found = true;
    }
    return found;
}

int64_t winograd_rows_stride(const RowsCut *cut) {
    int64_t vectors = cut->tensor->extent[0] * cut->rows * cut->tiles.count;
    return winograd_point_stride(vectors * cut->lowering->options->vector_length);
}

/* ---- Rows that are not in lanes ---- */

/* Columns begin..end-1 of a row of all examples of a block, one by one. */
static void turn_elements(const RowsCut *cut, Expr *const *place, Buffer *to, Expr *begin,
                          Expr *end) {
    Builder *b = cut->lowering->builder;
    int length = cut->lowering->options->vector_length;
    Expr *column = open_range(b, LOOP_SERIAL, "w", begin, end, 1);
    Expr *lane = open_loop(b, LOOP_INDEPENDENT, "lane", length);
    Expr *index[MAX_AXES] = {blocked_index(b, place[0], lane, length), place[1], place[2], column};
    Expr *at = plus(b, scaled(b, column, length), lane);
    store_at(b, to, 1, &at, tensor_load(cut->lowering, cut->tensor, index), false);
    close_blocks(b, 2);
}

/* The row as [column][V], turned by whole vectors where the batch fills the block. */
static Buffer *turn_row(const RowsCut *cut, Expr *const *place) {
    Builder *b = cut->lowering->builder;
    int64_t length = cut->lowering->options->vector_length, width = cut->tensor->extent[2];
    int64_t size = width * length, whole = width / length * length;
    Buffer *to = declare_array(b, "turned", TYPE_REAL, 1, &size);
    if (whole > 0) {
        Expr *column =
            open_range(b, LOOP_SERIAL, "w", integer(b, 0), integer(b, whole), (int)length);
        Expr *first = scaled(b, place[0], length);
        open_if(b, less_equal(b, plus(b, first, integer(b, length)), batch_size(b)));
        Expr *index[MAX_AXES] = {first, place[1], place[2], column};
        Expr *from = tensor_load(cut->lowering, cut->tensor, index);
        lower_transpose(cut->lowering, &(VectorRows){to, scaled(b, column, length), length},
                        &(VectorRows){from->buffer, from->argument[0], cut->tensor->elements});
        close_blocks(b, 1);
        open_else(b);
        turn_elements(cut, place, to, column, plus(b, column, integer(b, length)));
        close_blocks(b, 2);
    }
    if (whole < width)
        turn_elements(cut, place, to, integer(b, whole), integer(b, width));
    return to;
}

/* ---- Tiles ---- */

/* Column i of a tile. */
static int64_t column_of(const RowsCut *cut, int64_t tile, int i) {
    return tile * cut->tiles.step + cut->first + i;
}

/* Whether the tensor has the column, or a halo there. */
static bool has_column(const RowsCut *cut, int64_t column) {
    const Layout *layout = &cut->tensor->layout;
    return column >= -layout->before[2] && column < cut->tensor->extent[2] + layout->after[2];
}

static bool is_whole(const RowsCut *cut, int64_t tile) {
    return has_column(cut, column_of(cut, tile, 0)) &&
           has_column(cut, column_of(cut, tile, cut->matrix->columns - 1));
}

/* A row of a block of examples; the tile; the block among those of the result. */
typedef struct RowPlace {
    Expr *row[3], *cut_row; /* block, channel and row of the tensor, and number of the row */
    Expr *tile, *to_block;
    Buffer *turned; /* the row in lanes; NULL: it lies so */
} RowPlace;

static Expr *load_column(const RowsCut *cut, const RowPlace *place, int i) {
    Builder *b = cut->lowering->builder;
    int length = cut->lowering->options->vector_length;
    Expr *column = plus(b, scaled(b, place->tile, cut->tiles.step), integer(b, i + cut->first));
    Expr *load;
    if (place->turned) {
        Expr *at = scaled(b, column, length);
        load = load_at(b, place->turned, 1, &at);
    } else {
        Expr *index[MAX_AXES] = {blocked_index(b, place->row[0], integer(b, 0), length),
                                 place->row[1], place->row[2], column};
        load = tensor_load(cut->lowering, cut->tensor, index);
    }
    load->type = TYPE_VECTOR;
    return load;
}

/* One tile, whose number is `fixed` unless that is negative: elements that the tensor lacks are 0.
 */
static void cut_tile(const RowsCut *cut, const RowPlace *place, int64_t fixed) {
    Builder *b = cut->lowering->builder;
    Expr *x[WINOGRAD_MAX], *y[WINOGRAD_MAX];
    int length = cut->lowering->options->vector_length, points = cut->tiles.points;
    for (int i = 0; i < cut->matrix->columns; i++) {
        bool lacks = fixed >= 0 && !has_column(cut, column_of(cut, fixed, i));
        Expr *value =
            lacks ? call(b, TYPE_VECTOR, "VECTOR_ZERO", 0, NULL) : load_column(cut, place, i);
        x[i] = declare(b, "x", TYPE_VECTOR, value);
    }
    winograd_emit_linear(b, cut->matrix, x, y);
    Expr *to = plus(b, scaled(b, place->row[1], cut->rows), place->cut_row);
    to = scaled(b, plus(b, scaled(b, to, cut->tiles.count), place->tile), length);
    for (int point = 0; point < points; point++) {
        Expr *from = plus(b, scaled(b, place->to_block, points), integer(b, point));
        Expr *at = plus(b, scaled(b, from, winograd_rows_stride(cut)), to);
        store_at(b, cut->to, 1, &at, y[point], false);
    }
}

/* Those at the ends of a row that reach past the tensor by themselves. */
static void cut_row(const RowsCut *cut, RowPlace *place) {
    Builder *b = cut->lowering->builder;
    int64_t length = cut->lowering->options->vector_length;
    for (int64_t tile = 0, end; tile < cut->tiles.count; tile = end) {
        end = tile + 1;
        if (!is_whole(cut, tile)) {
            place->tile = integer(b, tile);
            cut_tile(cut, place, tile);
            continue;
        }
        while (end < cut->tiles.count && is_whole(cut, end))
            end++;
        place->tile = open_range(b, LOOP_SERIAL, "tile", integer(b, tile), integer(b, end), 1);
        expect_trips(b, (double)((end - tile) * length), false); /* the work is that of lanes */
        cut_tile(cut, place, -1);
        close_blocks(b, 1);
    }
}

void winograd_rows_cut(const RowsCut *cut, LoopKind kind, Expr *block, Expr *to_block) {
    Builder *b = cut->lowering->builder;
    RowPlace place = {.row = {block}, .to_block = to_block};
    place.row[1] = open_loop(b, kind, "c", cut->tensor->extent[0]);
    place.cut_row = open_loop(b, kind, "h", cut->rows);
    place.row[2] = minus(b, place.cut_row, integer(b, cut->pad));
    if (!in_lanes(cut->lowering, cut->tensor))
        place.turned = turn_row(cut, place.row);
    cut_row(cut, &place);
    close_blocks(b, 2);
}
