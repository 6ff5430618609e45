#include "channels.h"

#define MOST_LANES 64           /* of a vector, whose channels lie side by side anyway */
#define LONGEST_PARTIAL_SUM 512 /* terms of an image that are added in the number type */

/* ---- Blocks and lanes ---- */

static int64_t lane_count(const Lowering *lowering, const Tensor *tensor) {
    if (tensor->layout.blocked_axis == 0)
        return tensor->layout.block;
    if (tensor->rank > 1 || lowering->options->vector_length == 1)
        return 1;
    int64_t lanes = tensor->extent[0] < MOST_LANES ? tensor->extent[0] : MOST_LANES;
    while (tensor->extent[0] % lanes != 0)
        lanes--;
    return lanes;
}

Channels channels_open(Lowering *lowering, const Tensor *tensor) {
    Channels channels = {.lowering = lowering, .tensor = tensor};
    channels.lanes = lane_count(lowering, tensor);
    channels.block =
        open_unless_single(lowering->builder, LOOP_INDEPENDENT, channels.lanes > 1 ? "cb" : "c",
                           tensor->extent[0] / channels.lanes, &channels.opened);
    return channels;
}

void channels_close(const Channels *channels) {
    close_blocks(channels->lowering->builder, channels->opened);
}

int channels_open_lanes(const Channels *channels, Expr **channel) {
    Builder *b = channels->lowering->builder;
    if (channels->lanes == 1) {
        *channel = channels->block;
        return 0;
    }
    Expr *lane = open_loop(b, LOOP_INDEPENDENT, "lane", channels->lanes);
    *channel = blocked_index(b, channels->block, lane, channels->lanes);
    return 1;
}

/* Loops over the axes from `first` of the index up to `end`, but the channels. */
static int open_axes(const Channels *channels, LoopKind kind, int first, int end, Expr **index) {
    Builder *b = channels->lowering->builder;
    const Tensor *tensor = channels->tensor;
    int opened = 0;
    if (first == AXIS_BATCH && end > AXIS_BATCH) {
        index[AXIS_BATCH] = open_batch(b, kind);
        opened++;
    }
    for (int axis = first > AXIS_SPACE ? first : AXIS_SPACE; axis < end; axis++)
        index[axis] = open_unless_single(b, kind, axis_letters(tensor->rank)[axis - 1],
                                         tensor->extent[axis - 1], &opened);
    return opened;
}

int channels_open_elements(const Channels *channels, Expr **index) {
    int opened =
        open_axes(channels, LOOP_INDEPENDENT, AXIS_BATCH, channels->tensor->rank + 1, index);
    return opened + channels_open_lanes(channels, &index[AXIS_CHANNEL]);
}

/* ---- Numbers per channel ---- */

ChannelValue channel_value(const Channels *channels, const char *name, ElementType type) {
    ChannelValue value = {.name = name, .type = type};
    if (channels->lanes > 1)
        value.array = declare_array(channels->lowering->builder, name, type, 1, &channels->lanes);
    return value;
}

static Expr *lane_of(const Channels *channels, Expr *channel) {
    Expr *block, *lane;
    split_index(channels->lowering->builder, channel, channels->lanes, channels->tensor->extent[0],
                &block, &lane);
    return lane;
}

void channel_set(const Channels *channels, ChannelValue *value, Expr *channel, Expr *number) {
    Builder *b = channels->lowering->builder;
    if (channels->lanes == 1) {
        value->scalar = declare(b, value->name, value->type, number);
        return;
    }
    Expr *lane = lane_of(channels, channel);
    store_at(b, value->array, 1, &lane, number, false);
}

Expr *channel_get(const Channels *channels, const ChannelValue *value, Expr *channel) {
    if (channels->lanes == 1)
        return value->scalar;
    Expr *lane = lane_of(channels, channel);
    return load_at(channels->lowering->builder, value->array, 1, &lane);
}

void channel_update(const Channels *channels, const ChannelValue *value, Expr *channel,
                    Expr *number) {
    Builder *b = channels->lowering->builder;
    Expr *lane = lane_of(channels, channel);
    if (channels->lanes == 1)
        assign(b, value->scalar, number);
    else
        store_at(b, value->array, 1, &lane, number, false);
}

void channel_add(const Channels *channels, const ChannelValue *value, Expr *channel, Expr *number) {
    Builder *b = channels->lowering->builder;
    Expr *lane = lane_of(channels, channel);
    if (channels->lanes == 1)
        local_add(b, value->scalar, number);
    else
        store_at(b, value->array, 1, &lane, number, true);
}

static void zero_all(const Channels *channels, int count, ChannelValue *values) {
    Builder *b = channels->lowering->builder;
    Expr *channel;
    int opened = channels_open_lanes(channels, &channel);
    for (int i = 0; i < count; i++)
        channel_set(channels, &values[i], channel, number(b, 0));
    close_blocks(b, opened);
}

ChannelValue channel_zero(const Channels *channels, const char *name, ElementType type) {
    ChannelValue value = channel_value(channels, name, type);
    zero_all(channels, 1, &value);
    return value;
}

/* ---- Sums ---- */

static void declare_sums(const Channels *channels, int count, const char *const *names,
                         ElementType type, ChannelValue *sums) {
    for (int i = 0; i < count; i++)
        sums[i] = channel_value(channels, names[i], type);
    zero_all(channels, count, sums);
}

static void add_terms(const Channels *channels, const ChannelSums *sums, Expr **index,
                      const ChannelValue *value) {
    Expr *terms[MAX_CHANNEL_SUMS];
    int opened = channels_open_lanes(channels, &index[AXIS_CHANNEL]);
    sums->term(channels->lowering, sums->context, index, terms);
    for (int i = 0; i < sums->count; i++)
        channel_add(channels, &value[i], index[AXIS_CHANNEL], terms[i]);
    close_blocks(channels->lowering->builder, opened);
}

/* Positions along the axes from `axis` of the index to the last one. */
static int64_t last_terms(const Tensor *tensor, int axis) {
    int64_t terms = 1;
    for (int i = axis; i <= tensor->rank; i++)
        terms *= tensor->extent[i - 1];
    return terms;
}

/* The first axis of the index whose loop is inside a partial sum: at least the last one. */
static int first_partial_axis(const Tensor *tensor) {
    if (tensor->rank == 1)
        return AXIS_BATCH;
    int axis = AXIS_SPACE;
    while (axis < tensor->rank && last_terms(tensor, axis) > LONGEST_PARTIAL_SUM)
        axis++;
    return axis;
}

void channel_sums(const Channels *channels, ChannelSums *sums) {
    Lowering *lowering = channels->lowering;
    Builder *b = lowering->builder;
    int first = sums->example ? AXIS_SPACE : AXIS_BATCH;
    int inner = first_partial_axis(channels->tensor);
    bool partial = lower_sum_type(lowering) != TYPE_DOUBLE && inner >= first &&
                   (inner == AXIS_BATCH || last_terms(channels->tensor, inner) > 1);
    Expr *index[MAX_AXES] = {sums->example};
    declare_sums(channels, sums->count, sums->names, TYPE_DOUBLE, sums->value);
    LoopKind kind = channels->lanes > 1 ? LOOP_SERIAL : LOOP_REDUCTION;
    inner = partial ? inner : first;
    int outer = open_axes(channels, kind, first, inner, index);
    ChannelValue part[MAX_CHANNEL_SUMS];
    const char *names[MAX_CHANNEL_SUMS];
    for (int i = 0; i < sums->count; i++)
        names[i] = arena_format(lowering->arena, "part_%s", sums->names[i]);
    if (partial)
        declare_sums(channels, sums->count, names, TYPE_REAL, part);
    int opened = open_axes(channels, kind, inner, channels->tensor->rank + 1, index);
    add_terms(channels, sums, index, partial ? part : sums->value);
    close_blocks(b, opened);
    if (partial) {
        opened = channels_open_lanes(channels, &index[AXIS_CHANNEL]);
        for (int i = 0; i < sums->count; i++)
            channel_add(channels, &sums->value[i], index[AXIS_CHANNEL],
                        channel_get(channels, &part[i], index[AXIS_CHANNEL]));
        close_blocks(b, opened);
    }
    close_blocks(b, outer);
}
