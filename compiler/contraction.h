/* Inside of the contraction core: operands with flat offsets, and the choice of a tile for them.
 *
 * Three forms of register tile cover all contractions:
 *   BROADCAST  a vector runs along an outer dimension of one operand (contiguous there, or packed
 *              so that it is), the other operand's scalars are broadcast:
 *              sum[u][t] += set(scalar[u]) * vector[t]
 *   DOT        a vector runs along a reduced dimension, contiguous in both operands; the lanes are
 *              summed at the end: sum[u][t] += vector_a[u] * vector_b[t]
 *   LANES      a vector runs along an outer dimension of both operands (the channels of a depthwise
 *              convolution): as DOT, but each lane is a result
 * Which form, dimension and tile size is a matter of estimated cycles: see contraction_schedule.c.
 */
#ifndef CNNC_CONTRACTION_H
#define CNNC_CONTRACTION_H

#include "lower.h"

/* A loop of the plan: a dimension of the contraction or a part of one, where a layout or the
 * schedule splits it. The index of dimension `origin` is the sum of scale*index over its parts. */
#define MAX_PLAN_DIMS (2 * MAX_CONTRACTION_DIMS)
typedef struct PlanDim {
    const char *letter;
    int64_t extent; /* the batch as its largest value */
    bool batch, reduce;
    int origin;
    int64_t scale;
    bool share;   /* Tile.in_parts: runs outside the parts */
    bool in_part; /* Tile.in_parts: a reduced dimension within a part */
    bool lanes;   /* the part within the blocks of a layout: innermost */
} PlanDim;

/* An operand, or the result, as a flat array: element offset = base + sum of coefficient[d]*index
 * of plan dimension d. */
typedef struct Side {
    const Operand *operand;
    Buffer *buffer; /* made by contraction_vector.c */
    int64_t base;
    int64_t coefficient[MAX_PLAN_DIMS];
    bool guarded;  /* reads padding: has to be copied into a padded buffer first */
    bool packable; /* each of its elements belongs to one combination of its dimensions */
} Side;

typedef enum TileForm { TILE_NONE, TILE_BROADCAST, TILE_DOT, TILE_LANES } TileForm;

typedef struct Tile {
    TileForm form;
    int vector_side; /* 0: a, 1: b. BROADCAST: the side that is read in vectors; DOT: the side whose
                        rows are padded with zeros up to whole vectors where the extent asks for it
                      */
    int vector_dim;
    bool pack;      /* vector side is copied so that vector_dim is contiguous */
    int row_dim;    /* tiled by `rows`; -1: none */
    int column_dim; /* tiled by `columns`; -1: none, or BROADCAST: consecutive vectors along
                       vector_dim. Else BROADCAST has a vector_dim of exactly one vector. */
    int line_dim; /* -1: none. Else the rows are `lines` of this dimension times `rows` of row_dim,
                     all of it: small images, whose single rows would use a weight too few times */
    int rows, lines;
    int columns;
    bool panel;    /* the vectors of a share of vector_dim are copied side by side when it begins */
    int chains;    /* > 1: the sum of one result runs in so many, which are added up at the end */
    int chain_dim; /* once the plan's vector_dim is split for them: the part that tells them apart
                    */
    /* The sum is taken in parts, each of a few hundred terms, which are added up in the result's
     * memory: loops over the parts go outside those over most of the results, so that operands of
     * a part stay in the cache. Weight gradients. */
    bool in_parts;
    bool sums_lanes_last; /* in_parts, DOT: a result is a vector until all parts are added up */
    int slots; /* > 1: in_parts; the parts are dealt out to so many slots, each with sums of its
                  own, which are added up in their order: the results are too few for the threads,
                  or every block of examples is to be read by one thread */
    bool stored_directly; /* sums go from registers to the result, which nothing follows */
    double cycles;        /* estimate for the largest batch */
} Tile;

typedef struct ContractionPlan {
    const Contraction *contraction;
    Lowering *lowering;
    int64_t example_lanes; /* > 1: an operand or the result has examples in such blocks: so have
                              the copies of those that have not */
    bool turned;           /* no layout has such blocks, only the copies: vectors run along them */
    int dim_count;
    PlanDim dims[MAX_PLAN_DIMS];
    Side side[2], result;
    Tile tile;
} ContractionPlan;

/* Makes the plan's dims those of the contraction, split where a layout has blocks; false where a
 * blocked axis is indexed in a way that does not split (then only plain loops will do). */
bool contraction_split_blocks(ContractionPlan *plan);
/* Splits dimension d into itself, of extent/factor, and a part of extent `factor` behind it.
 * Returns the index of that part. The factor divides the extent. To be called before sides. */
int contraction_split(ContractionPlan *plan, int d, int64_t factor);
/* Reals from the sums of one of the tile's slots to those of the next. */
int64_t contraction_slot_size(const ContractionPlan *plan);
/* Where the loop over a plan's dimension ends. */
Expr *plan_dim_end(const ContractionPlan *plan, int d);
/* Opens it; counts it in *opened unless its extent is 1. */
Expr *plan_dim_open(const ContractionPlan *plan, LoopKind kind, int d, int *opened);
/* The index of every dimension of the contraction from those of the plan's. */
void contraction_origins(ContractionPlan *plan, Expr *const *dims, Expr **origins);

#define FAR 1024 /* reals: a page */

/* Longest chain of additions to one accumulator: longer sums go through the tile's memory, which
 * keeps the rounding error of long sums small (pairwise in spirit: Higham 1993). */
#define LONGEST_CHAIN 8192

/* Range of an axis map's numerator, and whether it can leave the axis or fall between elements. */
typedef struct AxisRange {
    int64_t minimum, maximum;
    bool guarded;
} AxisRange;
AxisRange axis_range(const ContractionPlan *plan, const AxisMap *map, int64_t extent);
/* Extent of an operand's axis: the batch first where the tensor is per example. */
int64_t operand_axis_extent(const ContractionPlan *plan, const Operand *operand, int axis);
int operand_axis_count(const Operand *operand);

/* An operand's axis as it lies in memory: the tensor's own, or that of a padded copy, whose index
 * is element*divisor - shift. */
typedef struct AxisLayout {
    int64_t extent, divisor, shift;
    int64_t first, end; /* elements of the tensor that the copy holds */
    int64_t block;      /* > 1: the axis' elements lie in blocks of so many, innermost */
} AxisLayout;
/* The layout of all axes of an array in C order, or in the tensor's own layout; `padded`: of the
 * copy with zeros where the contraction reads padding or falls between elements, its rows at least
 * `row_extent` long. */
void contraction_layout(const ContractionPlan *plan, const Operand *operand, bool padded,
                        int64_t row_extent, AxisLayout *axes);
/* Sets base and coefficients of a side from the layout of its axes. */
void contraction_place(const ContractionPlan *plan, Side *side, const AxisLayout *axes);
/* Fills side[] and result: where an operand needs a padded copy, coefficients are those of the
 * copy. */
void contraction_sides(ContractionPlan *plan);
/* Is shown every tile that applies, with its estimate. */
typedef struct TileVisitor {
    void (*visit)(void *context, const ContractionPlan *plan, const Tile *tile);
    void *context;
} TileVisitor;
void contraction_each_tile(const ContractionPlan *plan, const TileVisitor *visitor);
/* The blocks that a tiled dimension falls into: whole ones, and of another size what remains. A
 * rest of less than half a block, whose few sums would wait for each other, is shared evenly with
 * the last whole block where that comes out in `unit`s (0: never). Of a batch, what remains goes
 * one by one. */
typedef struct Blocks {
    int64_t count[2], size[2];
} Blocks;
Blocks contraction_blocks(const ContractionPlan *plan, int d, int64_t block, int64_t unit);
/* Those of the vector dimension, in elements: packed copies lie in whole blocks. */
Blocks contraction_vector_blocks(const ContractionPlan *plan, const Tile *tile);
/* Whether what the contraction reads along an axis lies in the tensor or in its halo, and so needs
 * no guard; or, where lanes are examples and the halo is narrow, whether tiles have to leave out
 * what lies behind it. */
bool contraction_within_halo(const ContractionPlan *plan, const Operand *operand, int axis);
bool contraction_must_clip(const ContractionPlan *plan, const Operand *operand, int axis);
/* Whether there is such an axis. */
bool contraction_clips_always(const ContractionPlan *plan);
/* Whether the tile's blocks then read no further than the halo. */
bool contraction_stays_in_halo(const ContractionPlan *plan, const Tile *tile);
/* The part of all terms that is left without those that are padding for a whole block of the tile
 * (contraction_clip.c). */
double contraction_clipped_share(const ContractionPlan *plan, const Tile *tile);
/* Sets what follows from the rest of a tile: in_parts, stored_directly. */
void contraction_complete_tile(const ContractionPlan *plan, Tile *tile);
/* The cheapest tile; form TILE_NONE where no vector form applies. */
Tile contraction_choose_tile(const ContractionPlan *plan);
/* The tile that --tune asks for; without it the plan's (contraction_tune.c). */
Tile contraction_tuned_tile(const ContractionPlan *plan);
/* The dimension other than its vector_dim, of at least one vector, whose lanes, a whole vector, are
 * side by side in a packed side: -1 where there is none. */
int contraction_transposed_dim(const ContractionPlan *plan, const Tile *tile);
/* Whether the vectors, weights, come from beyond the first-level cache for every tile again. */
bool contraction_streams_vectors(const ContractionPlan *plan, const Tile *tile);
/* Whether the vector side's rows lie pages apart, as those of a fully connected layer's weights do
 * for its data gradient. */
bool contraction_reads_far(const ContractionPlan *plan, const Tile *tile);
/* Terms, or steps, of one part: enough that adding it to memory does not count, few enough that
 * what they read stays in the first-level cache. */
#define PART_TERMS 256
#define FAR_TERMS 32 /* rows that lie pages apart: each is a stream of its own */
/* Tile.in_parts: splits the reduced dimensions and marks those within a part; other tiles may get
 * shares of the results. Returns whether it split any: then sides are to be made anew. */
bool contraction_split_parts(ContractionPlan *plan);
/* Splits vector_dim for the tile's chains; returns whether there are any: then sides are to be made
 * anew. */
bool contraction_split_chains(ContractionPlan *plan);
/* Makes the plan with its tile; false where only plain loops will do. */
bool contraction_plan(Lowering *lowering, const Contraction *contraction, ContractionPlan *plan);
/* Emits the loops of the chosen tile. */
void contraction_emit_tiled(ContractionPlan *plan);
/* Whether these loops make Contraction.channel_sums, too. */
bool contraction_sums_channels(const ContractionPlan *plan);

/* sum of coefficient*dim + constant for one axis; dims holds the index of every dimension. */
Expr *axis_expression(Builder *b, const AxisMap *map, int dim_count, Expr *const *dims);
/* Hands one finished sum to the node (bias, connections, fused nodes); `dims` as the plan's. */
void contraction_finish(ContractionPlan *plan, Expr *const *dims, Expr *sum);

#endif
