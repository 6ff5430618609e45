/* What the kernels of winograd.c and winograd_gradient.c are made of: loops over portions of tiles,
 * transforms of tiles, and the register tile of the matrix products. */
#ifndef CNNC_WINOGRAD_EMISSION_H
#define CNNC_WINOGRAD_EMISSION_H

#include "winograd_plan.h"

typedef struct WinogradEmission {
    const WinogradPlan *plan;
    Lowering *lowering;
    Builder *b;
    WinogradMatrices matrices;
    LoopKind kind;       /* of the loops within a portion */
    bool single_portion; /* all slabs, or those of a slot, whatever the batch */
    Expr *total;         /* tiles of the batch */
    Expr *total_slabs;
    Expr *slot;  /* 0 where there is one */
    Expr *end;   /* of the slot's slabs */
    Expr *first; /* slab of the current portion */
    Expr *slabs; /* how many it has; none where that is negative */
} WinogradEmission;

Expr *winograd_load_vector(Builder *b, Buffer *buffer, int index_count, Expr *const *index);

/* The loop over slots, if any, then that over portions; they set the fields above. The last
 * function closes both. */
void winograd_open_slots(WinogradEmission *e);
void winograd_open_portions(WinogradEmission *e);
void winograd_close_portions(WinogradEmission *e);
/* One loop over the slabs of the portion: the number within the portion. */
Expr *winograd_open_slabs(WinogradEmission *e, LoopKind kind);
/* One over the tiles of a slab; `all`: those past the end of the batch, too. */
Expr *winograd_open_tiles(WinogradEmission *e, Expr *slab, bool all);
/* A place in scratch: the slab is a number within the portion. */
typedef struct WinogradPlace {
    Expr *slab, *point, *block;
} WinogradPlace;
/* Its offset in scratch with `blocks` blocks of channels, in the slot's piece where slots have one.
 */
Expr *winograd_slab_offset(const WinogradEmission *e, const Buffer *slabs,
                           const WinogradPlace *place, int64_t blocks);
/* How far apart points lie of which each has `reals`. */
int64_t winograd_point_stride(int64_t reals);
/* Scratch for a portion in each of so many slots, with `blocks` blocks of channels. */
Buffer *winograd_slab_scratch(const WinogradEmission *e, const char *name, int slots,
                              int64_t blocks);

/* Where a tile lies. */
typedef struct TilePlace {
    Expr *number;           /* among all tiles of the batch */
    Expr *n, *row, *column; /* of its first element in the result */
} TilePlace;
TilePlace winograd_tile_place(WinogradEmission *e, Expr *slab, Expr *i);
/* That of a tile some way behind, so that its lines can be asked for; the last one is the end. */
TilePlace winograd_tile_ahead(WinogradEmission *e, const TilePlace *current);

/* y = matrix * x as straight-line code. */
void winograd_emit_linear(Builder *b, const RationalMatrix *matrix, Expr *const *x, Expr **y);

/* A tile of vectors: the first one as a load of its first element, and how far apart rows and
 * columns lie, in reals. */
typedef struct WinogradVectors {
    Expr *first;
    int64_t row, column;
} WinogradVectors;
/* to = matrix * X * matrix^T for the tile X that lies in `from`; the matrix is one of e's
 * (winograd_function.c). */
void winograd_transform(const WinogradEmission *e, const RationalMatrix *matrix,
                        const WinogradVectors *from, const WinogradVectors *to);

/* Of the tiles of the last slab that the batch lacks. */
typedef enum MissingTiles {
    TILES_LEFT_OUT,
    TILES_REPEATED, /* the last tile instead: what it is multiplied by is 0 */
    TILES_ZERO
} MissingTiles;

/* Transforms of tiles cut from a tensor. */
typedef struct WinogradCut {
    Tensor *tensor;
    int64_t blocks;
    const RationalMatrix *matrix;
    int64_t origin[2]; /* of the first tile */
    int64_t end[2];    /* elements from here on count as zeros */
    Buffer *to;        /* winograd_slab_scratch */
    MissingTiles missing;
    Buffer *sums; /* each slab's of the elements, [slab of the batch][channel]; NULL: not wanted */
} WinogradCut;
void winograd_cut_tiles(WinogradEmission *e, const WinogradCut *cut);
/* Makes the windows of Node.dy_windows that are a tile of dy (winograd_windows.c). */
void winograd_make_windows(WinogradEmission *e, const WinogradCut *cut, const TilePlace *place,
                           Expr *block);

/* While tiles are multiplied memory rests: each of `units` register tiles asks for its share of
 * what some tiles of the next portion need. */
typedef struct WinogradShare {
    Expr *unit;
    int64_t units;
    Expr *first;   /* slab of the first of these tiles */
    int64_t slabs; /* how many */
} WinogradShare;
/* Whether there is such a time, and the tensor so large that it comes from memory. */
bool winograd_asks_ahead(const WinogradEmission *e, const Tensor *tensor);
/* One loop over the share, in `blocks` blocks of channels; `block` is the tile's. */
TilePlace winograd_open_share(WinogradEmission *e, const WinogradShare *share, int64_t blocks,
                              Expr **block);
/* Asks for what winograd_cut_tiles will read of the tile. */
void winograd_prefetch_cut(WinogradEmission *e, const WinogradCut *cut, const TilePlace *place,
                           Expr *block);

/* sum[row][column] += set(scalars[row]) * vectors[column]. */
typedef struct WinogradTerms {
    Buffer *scalars, *vectors;
    Expr *scalar, *vector; /* offsets of the first ones */
    int64_t scalar_stride, vector_stride;
} WinogradTerms;
Buffer *winograd_declare_sums(const WinogradEmission *e);
/* The loop over its terms, two at a time where registers are few: the index. Adds to *opened. */
Expr *winograd_open_terms(const WinogradEmission *e, const char *letter, int64_t count,
                          int *opened);
void winograd_add_terms(const WinogradEmission *e, Buffer *sums, const WinogradTerms *terms);
/* Stores the sums at offset + row*row_stride + column*column_stride, or adds them. */
void winograd_store_sums(const WinogradEmission *e, Buffer *sums, Buffer *to, Expr *offset,
                         int64_t row_stride, int64_t column_stride, bool add);

/* Filters as [result block][input channel][taps][taps][V]: the weights, or for the data gradient a
 * copy.
 */
Buffer *winograd_filters(const WinogradEmission *e);
/* All of them transformed: [point][result block / columns][input channel][columns][V], points
 * winograd_filters_stride apart; by all threads before slots are opened, or by each slot from its
 * offset on. */
int64_t winograd_filters_stride(const WinogradPlan *plan);
Buffer *winograd_filters_scratch(const WinogradEmission *e);
void winograd_transform_filters(const WinogradEmission *e, Buffer *filters, Buffer *to);
/* Those of one group of result blocks at one row of points: [point of the row][input channel]
 * [columns][V], from `offset` on in an array that has one such piece for each of the plan's
 * filter_slots. */
int64_t winograd_filter_row_size(const WinogradPlan *plan);
Buffer *winograd_filter_rows_scratch(const WinogradEmission *e);
void winograd_transform_filter_row(const WinogradEmission *e, Buffer *filters, Expr *group,
                                   Expr *row, Buffer *to, Expr *offset);

/* Those of one group of result blocks for the plan's part of the input blocks, from block `first`
 * on: [point][input channel][columns][V], points winograd_filter_part_stride apart, from `offset`
 * on in an array with one such piece for each of the plan's filter_slots. */
int64_t winograd_filter_part_stride(const WinogradPlan *plan);
Buffer *winograd_filter_parts_scratch(const WinogradEmission *e);
void winograd_transform_filter_part(const WinogradEmission *e, Buffer *filters, Expr *group,
                                    Expr *first, Buffer *to, Expr *offset);
/* Asks for one of points * part equal shares of what part `number` reads, counted over all
 * groups. */
void winograd_prefetch_filter_part(const WinogradEmission *e, Buffer *filters, Expr *number,
                                   Expr *share);

void winograd_emit_convolution(WinogradEmission *e);
void winograd_emit_weight_gradient(WinogradEmission *e);

#endif
