/* What contraction_operands.c, contraction_sums.c and contraction_vector.c share: a contraction
 * while its loops are being made. */
#ifndef CNNC_CONTRACTION_EMISSION_H
#define CNNC_CONTRACTION_EMISSION_H

#include "contraction.h"

/* Of a reduced dimension, what a tile needs of it. */
typedef struct Range {
    Expr *begin, *end; /* NULL: all of it */
    double trips;      /* on average over the tiles */
} Range;

typedef struct Emission {
    ContractionPlan *plan;
    Builder *b;
    int length;                /* reals in a vector */
    Expr *dims[MAX_PLAN_DIMS]; /* index of every dimension at this point */
    int outer_count, outer[MAX_PLAN_DIMS];
    int reduced_count, reduced[MAX_PLAN_DIMS];
    int first_inner; /* reduced dims from here on run inside the tile */
    int first_part;  /* outer dims from here on run inside the loops over the parts of the sum */
    Range clipped[MAX_PLAN_DIMS];       /* of the tile being emitted */
    bool clearing;                      /* in_parts: what is emitted sets the results to zero */
    Expr *slot, *slot_begin, *slot_end; /* with slots: the number of one, and its parts */
    Buffer *channel_sums;               /* those of the share at this point; or NULL */
    int rows, lines, columns,
        lanes;   /* of the block being emitted; BROADCAST: lanes of vector_dim */
    int spacing; /* BROADCAST: from one of its vectors to the next; less than a vector where these
                    overlap, see contraction_vector.c */
} Emission;

/* Lists the reduced or the other dimensions: parts behind what they are parts of, lanes of blocks
 * last. Returns how many. */
int contraction_list_dims(const ContractionPlan *plan, bool reduce, int *list);
/* Whether all the vectors that are read again for every position, the weights, stay in the
 * second-level cache. */
bool contraction_keeps_vectors(const ContractionPlan *plan);
/* Fills e->outer. */
void contraction_order_outer(Emission *e);
/* The reduced dims from which on one accumulator can take all the additions. */
int contraction_first_inner(const Emission *e);
/* Shares of the results go outside the parts of the sum; returns how many loops that are. */
int contraction_move_shares(Emission *e);

/* The offset of an element of a side at the indices of e->dims. */
Expr *side_offset(const Emission *e, const Side *side);
/* Sets the buffers of the sides; makes padded and packed copies where the tile needs them. */
void prepare_sides(Emission *e);

/* Tile.panel: copies the vectors of the share at this point. */
void make_panel(Emission *e);

/* Lets a tiled dimension stand for block + index while `index` runs. */
Expr *shift_dim(Emission *e, int d, Expr *index);
void restore_dim(Emission *e, int d, Expr *block);
/* Vector number `column` of a side: along the vector dimension, or in the next blocks. */
Expr *load_vector(Emission *e, const Side *side, Expr *column);

/* Loops over the rows of the tile, of all its lines: their number. contraction_close_rows lets the
 * dimensions stand for the block again. */
typedef struct Rows {
    Expr *line_block, *row_block;
} Rows;
Expr *contraction_open_rows(Emission *e, bool unrolled, Rows *rows, int *opened);
void contraction_close_rows(Emission *e, const Rows *rows);

/* The loops of a tile's sums (contraction_sums.c): those over e->reduced[from, to); returns how
 * many were opened. */
int contraction_open_reduced(Emission *e, int from, int to);
/* The sums over e->reduced[from...) in registers; returns their array. */
Buffer *contraction_emit_sums(Emission *e, int from);
/* Sets vectors of sums, or the tile's memory, to zero. */
void contraction_clear(Emission *e, Buffer *buffer, int64_t columns, bool unroll);

/* The loop over the slots of a sum, within it that over a slot's parts (returns how many loops it
 * opens), and behind it what adds all slots up in the result; not where lanes are summed up first
 * (contraction_slots.c). */
void contraction_open_slots(Emission *e);
int contraction_open_slot_parts(Emission *e);
void contraction_close_slots(Emission *e);
/* A new variable: the sum over all slots of the vectors at an offset. */
Expr *contraction_slots_total(Emission *e, const char *name, Expr *offset);

/* Contraction.channel_sums, if the plan makes them: in front of the loops over the parts, within
 * them, and behind them (contraction_channel_sums.c). */
void contraction_open_channel_sums(Emission *e);
void contraction_add_channels(Emission *e);
void contraction_close_channel_sums(Emission *e);

/* The moments of the finished tile to the node's (contraction_moments.c), if it has any. */
void contraction_emit_moments(Emission *e, Buffer *tile);

/* Leaves out terms that are padding for the whole tile: fills e->clipped (contraction_clip.c). */
void contraction_clip(Emission *e);

/* What the steps of a tile's innermost loop ask the caches for (contraction_prefetch.c). */
typedef struct Prefetch {
    Side from; /* a pointer; in each step what lies at its index of the innermost loop, */
    int count; /* and so often that at a distance from it */
    int64_t distance;
    bool far;    /* needed so late that the second-level cache is the place */
    bool lines;  /* of all rows of a tile: the first steps ask for one each */
    bool write;  /* to be written there */
    bool halves; /* two steps ask for the same line */
} Prefetch;
typedef struct Prefetches {
    int count;
    Prefetch list[2 + MAX_NEAR_TENSORS];
} Prefetches;
/* Declares the pointers in front of the innermost loop over e->reduced[from...). */
Prefetches contraction_point_ahead(Emission *e, int from);
/* Asks for those with `halves`, or without. */
void contraction_prefetch(Emission *e, const Prefetches *prefetches, bool halves);
/* Asks for weights of the next block of channels, inside the loops over e->reduced[0, last). */
void contraction_prefetch_block(Emission *e, int last);

#endif
