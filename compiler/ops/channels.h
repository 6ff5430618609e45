/* Loops for ops that reduce over examples and space, channel by channel. Where a tensor's layout
 * keeps blocks of channels innermost, what a dense tensor does for one channel is done for the
 * lanes of a block at once: the loop over them is the innermost one of every part. */
#ifndef CNNC_OPS_CHANNELS_H
#define CNNC_OPS_CHANNELS_H

#include "lower.h"

typedef struct Channels {
    Lowering *lowering;
    const Tensor *tensor; /* per example: its layout and extents are those of the loops */
    int64_t lanes;        /* channels in a block; 1: no blocks */
    Expr *block;          /* which block; without blocks which channel */
    int opened;           /* loops over them */
} Channels;

/* Opens the loop over the blocks of channels; channels_close ends it. */
Channels channels_open(Lowering *lowering, const Tensor *tensor);
void channels_close(const Channels *channels);
/* Opens the loop over the channels of the block and sets *channel; returns how many were opened. */
int channels_open_lanes(const Channels *channels, Expr **channel);
/* Opens loops over all numbers of the block of channels and fills index; returns how many. */
int channels_open_elements(const Channels *channels, Expr **index);

/* A number for each channel of the block. */
typedef struct ChannelValue {
    const char *name;
    ElementType type;
    Buffer *array; /* NULL without blocks */
    Expr *scalar;
} ChannelValue;
/* To be called outside of the lanes. */
ChannelValue channel_value(const Channels *channels, const char *name, ElementType type);
/* The same, set to 0. */
ChannelValue channel_zero(const Channels *channels, const char *name, ElementType type);
/* Sets it for the first time, sets it anew, adds to it; gives it. `channel` is what
 * channels_open_lanes set. */
void channel_set(const Channels *channels, ChannelValue *value, Expr *channel, Expr *number);
void channel_update(const Channels *channels, const ChannelValue *value, Expr *channel,
                    Expr *number);
void channel_add(const Channels *channels, const ChannelValue *value, Expr *channel, Expr *number);
Expr *channel_get(const Channels *channels, const ChannelValue *value, Expr *channel);

#define MAX_CHANNEL_SUMS 2

/* Sums over all examples, or of one, and all positions of the terms that `term` gives for one
 * element: value[i] is the sum of terms[i]. Terms of a row, or of a small image, are added in the
 * number type, these sums in double precision: the error does not grow with the number of examples.
 * At level 0 all is double. */
typedef struct ChannelSums {
    Expr *example; /* NULL: all */
    int count;
    const char *names[MAX_CHANNEL_SUMS];
    void (*term)(Lowering *lowering, const void *context, Expr *const *index, Expr **terms);
    const void *context;
    ChannelValue value[MAX_CHANNEL_SUMS];
} ChannelSums;
void channel_sums(const Channels *channels, ChannelSums *sums);

#endif
