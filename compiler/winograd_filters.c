#include "winograd_emission.h"

/* Where filters come from: [result block][input channel][taps][taps][V], as the weights lie for the
 * forward pass. */
typedef struct FilterEmission {
    const WinogradEmission *e;
    Buffer *from;
    Expr *first; /* offset of the filter's first tap */
    Buffer *to;
    Expr *offset; /* where filters begin there */
    Expr *place;  /* of this filter's first point */
    int64_t point_stride;
} FilterEmission;

static int64_t channels_of(const WinogradPlan *plan) {
    return plan->input_blocks * plan->length;
}

static int64_t filter_taps(const WinogradPlan *plan) {
    return (int64_t)plan->taps * plan->taps;
}

static Expr *filter_tap(void *context, Expr *row, Expr *column) {
    const FilterEmission *f = context;
    Builder *b = f->e->b;
    Expr *tap = plus(b, scaled(b, row, f->e->plan->taps), column);
    Expr *offset = plus(b, f->first, scaled(b, tap, f->e->plan->length));
    return winograd_load_vector(b, f->from, 1, &offset);
}

int64_t winograd_filters_stride(const WinogradPlan *plan) {
    return winograd_point_stride(plan->result_blocks * channels_of(plan) * plan->length);
}

/* The offset of the first tap of filter [block][channel]. */
static Expr *tap_offset(const WinogradEmission *e, Expr *block, Expr *channel, int64_t channels) {
    Expr *number = plus(e->b, scaled(e->b, block, channels), channel);
    return scaled(e->b, number, filter_taps(e->plan) * e->plan->length);
}

/* For the data gradient: a copy of the weights with the taps in reverse order and with channels
 * instead of filters in the lanes. */
static Buffer *turned_filters(const WinogradEmission *e, Buffer *weights) {
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    int64_t length = plan->length, channels = channels_of(plan), results = plan->result_blocks;
    int64_t taps = filter_taps(plan);
    Buffer *turned =
        lower_scratch(e->lowering, "turned", false, results * channels * taps * length);
    Expr *result = open_loop(b, LOOP_INDEPENDENT, "result", results);
    Expr *input = open_loop(b, LOOP_INDEPENDENT, "input", plan->input_blocks);
    Expr *tap = open_loop(b, LOOP_SERIAL, "tap", taps);
    Expr *to = tap_offset(e, result, scaled(b, input, length), channels);
    Expr *from = tap_offset(e, input, scaled(b, result, length), results * length);
    Expr *mirrored = minus(b, integer(b, taps - 1), tap);
    VectorRows channel_rows = {turned, plus(b, to, scaled(b, tap, length)), taps * length};
    VectorRows filter_rows = {weights, plus(b, from, scaled(b, mirrored, length)), taps * length};
    lower_transpose(e->lowering, &channel_rows, &filter_rows);
    close_blocks(b, 3);
    return turned;
}

Buffer *winograd_filters(const WinogradEmission *e) {
    Buffer *weights = lower_buffer(e->lowering, e->plan->node->parameters[0]);
    return e->plan->kind == WINOGRAD_DATA_GRADIENT ? turned_filters(e, weights) : weights;
}

/* The points of filter [block][channel] in an array where filters lie as [channel][columns][V]:
 * `place` is the channel's number there. */
static void transform_filter(FilterEmission *f, Expr *block, Expr *channel, Expr *place, Expr *t) {
    const WinogradEmission *e = f->e;
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    f->first = declare(b, "from", TYPE_INDEX, tap_offset(e, block, channel, channels_of(plan)));
    place = plus(b, scaled(b, place, plan->columns), t);
    f->place = declare(b, "to", TYPE_INDEX, plus(b, f->offset, scaled(b, place, plan->length)));
    WinogradVectors taps = {load_at(b, f->from, 1, &f->first), plan->taps * plan->length,
                            plan->length};
    WinogradVectors points = {load_at(b, f->to, 1, &f->place), plan->extent * f->point_stride,
                              f->point_stride};
    winograd_transform(e, &e->matrices.filter, &taps, &points);
}

/* ---- All of them, once or for each slot ---- */

Buffer *winograd_filters_scratch(const WinogradEmission *e) {
    const WinogradPlan *plan = e->plan;
    return lower_slot_scratch(e->lowering, "filters", plan->apart ? plan->slots : 1,
                              plan->points * winograd_filters_stride(plan));
}

void winograd_transform_filters(const WinogradEmission *e, Buffer *filters, Buffer *to) {
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    int64_t channels = channels_of(plan), groups = plan->result_blocks / plan->columns;
    LoopKind kind = plan->apart ? LOOP_SERIAL : LOOP_INDEPENDENT;
    FilterEmission f = {.e = e, .from = filters, .to = to};
    f.offset = lower_slot_offset(e->lowering, to, e->slot);
    f.point_stride = winograd_filters_stride(plan);
    int opened = 1;
    Expr *group = open_unless_single(b, kind, "group", groups, &opened);
    Expr *t = open_unless_single(b, kind, "t", plan->columns, &opened);
    Expr *channel = open_loop(b, kind, "c", channels);
    Expr *block = plus(b, scaled(b, group, plan->columns), t);
    transform_filter(&f, block, channel, plus(b, scaled(b, group, channels), channel), t);
    close_blocks(b, opened);
}

/* ---- Parts: all points, some of the channels ---- */

int64_t winograd_filter_part_stride(const WinogradPlan *plan) {
    return winograd_point_stride(plan->part * plan->length * plan->columns * plan->length);
}

Buffer *winograd_filter_parts_scratch(const WinogradEmission *e) {
    int64_t size = e->plan->points * winograd_filter_part_stride(e->plan);
    return lower_slot_scratch(e->lowering, "filters", e->plan->filter_slots, size);
}

void winograd_transform_filter_part(const WinogradEmission *e, Buffer *filters, Expr *group,
                                    Expr *first, Buffer *to, Expr *offset) {
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    FilterEmission f = {.e = e,
                        .from = filters,
                        .to = to,
                        .offset = offset,
                        .point_stride = winograd_filter_part_stride(plan)};
    int opened = 1;
    Expr *t = open_unless_single(b, LOOP_SERIAL, "t", plan->columns, &opened);
    Expr *c = open_loop(b, LOOP_SERIAL, "c", plan->part * plan->length);
    Expr *block = plus(b, scaled(b, group, plan->columns), t);
    Expr *channel = plus(b, scaled(b, first, plan->length), c);
    transform_filter(&f, block, channel, c, t);
    close_blocks(b, opened);
}

void winograd_prefetch_filter_part(const WinogradEmission *e, Buffer *filters, Expr *number,
                                   Expr *share) {
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    int64_t parts = plan->input_blocks / plan->part, taps = filter_taps(plan);
    int64_t lines = (plan->length * taps + plan->points - 1) / plan->points;
    Expr *group = over(b, number, integer(b, parts));
    Expr *channel =
        scaled(b, remainder_of(b, number, integer(b, parts)), plan->part * plan->length);
    int opened = 1;
    Expr *t = open_unless_single(b, LOOP_SERIAL, "t", plan->columns, &opened);
    Expr *line = open_loop(b, LOOP_SERIAL, "line", lines);
    Expr *block = plus(b, scaled(b, group, plan->columns), t);
    Expr *offset = tap_offset(e, block, channel, channels_of(plan));
    line = plus(b, scaled(b, share, lines), line);
    offset = plus(b, offset, scaled(b, line, plan->length));
    Expr *vector = load_at(b, filters, 1, &offset); /* the macro takes an element's address */
    call_statement(b, call(b, TYPE_REAL, "VECTOR_PREFETCH_FAR", 1, &vector));
    close_blocks(b, opened);
}

/* ---- Rows of points, all channels ---- */

/* Coefficient `column` of the matrix' row whose number is known only when the program runs. */
static Expr *coefficient_of_row(Builder *b, const RationalMatrix *matrix, Expr *row, int column) {
    int last = matrix->rows - 1;
    Expr *value = number(b, rational_value(matrix->at[last][column]));
    for (int i = last - 1; i >= 0; i--)
        value = choose(b, equal(b, row, integer(b, i)),
                       number(b, rational_value(matrix->at[i][column])), value);
    return value;
}

Buffer *winograd_filter_rows_scratch(const WinogradEmission *e) {
    return lower_slot_scratch(e->lowering, "filters", e->plan->filter_slots,
                              winograd_filter_row_size(e->plan));
}

int64_t winograd_filter_row_size(const WinogradPlan *plan) {
    return plan->extent * channels_of(plan) * plan->columns * plan->length;
}

void winograd_transform_filter_row(const WinogradEmission *e, Buffer *filters, Expr *group,
                                   Expr *row, Buffer *to, Expr *offset) {
    const WinogradPlan *plan = e->plan;
    const RationalMatrix *matrix = &e->matrices.filter;
    Builder *b = e->b;
    int64_t channels = channels_of(plan);
    Expr *factor[WINOGRAD_MAX], *x[WINOGRAD_MAX], *y[WINOGRAD_MAX];
    for (int k = 0; k < plan->taps; k++)
        factor[k] = declare(b, "g", TYPE_REAL, coefficient_of_row(b, matrix, row, k));
    int opened = 1;
    Expr *t = open_unless_single(b, LOOP_SERIAL, "t", plan->columns, &opened);
    Expr *channel = open_loop(b, LOOP_SERIAL, "c", channels);
    Expr *result = plus(b, scaled(b, group, plan->columns), t);
    FilterEmission f = {.e = e, .from = filters};
    f.first = declare(b, "from", TYPE_INDEX, tap_offset(e, result, channel, channels));
    for (int column = 0; column < plan->taps; column++) {
        Expr *sum = NULL;
        for (int k = 0; k < plan->taps; k++) {
            Expr *product = times(b, factor[k], filter_tap(&f, integer(b, k), integer(b, column)));
            sum = sum ? plus(b, sum, product) : product;
        }
        x[column] = declare(b, "x", TYPE_VECTOR, sum);
    }
    winograd_emit_linear(b, matrix, x, y);
    Expr *place = plus(b, scaled(b, channel, plan->columns), t);
    place = declare(b, "to", TYPE_INDEX, plus(b, offset, scaled(b, place, plan->length)));
    for (int point = 0; point < plan->extent; point++) {
        int64_t stride = winograd_filter_row_size(plan) / plan->extent;
        Expr *at = plus(b, place, integer(b, point * stride));
        store_at(b, to, 1, &at, y[point], false);
    }
    close_blocks(b, opened);
}
