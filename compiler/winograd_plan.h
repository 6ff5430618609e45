/* What a convolution by Winograd's algorithm works on, and in which portions.
 *
 * The image is cut into tiles. Per tile and channel block the transform of the input has `points`
 * vectors; at each point a matrix product over the channels follows, and the transform back. In
 * memory `slab` tiles lie side by side:
 *
 *   forward, data gradient   filters  [point][result block / columns][input channel][columns][V]
 *                            inputs   [slab][point][input block][tile][V]
 *                            products [slab][point][result block][tile][V]; with `part` those of
 *                            a group alone
 *   weight gradient          inputs   [slab][point][x block][tile][V]
 *                            taps     [slab][point][dy block][tile][V]
 *                            sums     [point][dy block / columns][x channel][columns][V]
 *
 * Points lie an odd number of cache lines apart (winograd_point_stride).
 *
 * Slabs are worked on in portions of `portion` slabs, whose scratch stays in the cache. With
 * `slots` > 1 each of that many equal parts of the tiles has its own scratch, and threads share the
 * slots; with one slot the threads share the loops within a portion. Filters that are too many for
 * the cache are then not transformed all at once: for each row of points and group of result blocks
 * that is done when they are multiplied, in `filter_slots` parts for the threads to share. Or,
 * where there are so few tiles that all their inputs stay in the cache, filters, which are then
 * read but once, are transformed for `part` input blocks at a time: threads share the groups of
 * result blocks, and each slot makes all inputs for itself, or, with `slots` > 1, they share the
 * tiles, and each makes all filters. Such copies cost less than what one core makes for another,
 * whose lines come late and are late to be written again; so that with `slots` > 1 and all filters
 * at once these are made by each slot, too, where that is done soon (`apart`). */
#ifndef CNNC_WINOGRAD_PLAN_H
#define CNNC_WINOGRAD_PLAN_H

#include "winograd.h"
#include "winograd_transform.h"

typedef struct WinogradPlan {
    WinogradKind kind;
    const Node *node;
    int length;     /* reals in a vector */
    Tensor *input;  /* x, or dy for the data gradient: what tiles of `extent` are cut from */
    Tensor *result; /* y or dx; for the weight gradient dy, whose tiles are the filters */
    int64_t input_blocks, result_blocks;

    int taps;           /* of a filter along each axis */
    int step;           /* tiles are this far apart: what they cover of the result */
    int extent;         /* of a tile of the input, step + taps - 1 */
    int points;         /* extent * extent */
    int64_t origin[2];  /* index of the first tile's first element in the input; may be < 0 */
    int64_t covered[2]; /* extents of the result */
    int64_t tiles[2];   /* along both axes */
    int64_t image_tiles;

    int rows, columns; /* register tile of the products: rows of vectors */
    int64_t slab;      /* tiles; forward: also the rows */
    int64_t portion;   /* slabs */
    int slots;
    int filter_slots; /* > 0: filters are transformed in parts, that many at a time */
    int64_t part;     /* > 0: which have this many input blocks, at all points */
    bool apart;       /* each slot makes all that it reads; always where part > 0 */
    double cycles;    /* estimate for the largest batch, all threads together */
} WinogradPlan;

/* Is shown every variant, with its estimate. */
typedef struct WinogradVisitor {
    void (*visit)(void *context, const WinogradPlan *plan);
    void *context;
} WinogradVisitor;
/* False: the algorithm cannot be used. Else *direct is the estimate for a direct convolution. */
bool winograd_each_plan(const Lowering *lowering, const Node *node, WinogradKind kind,
                        const WinogradVisitor *visitor, double *direct);
/* Fills the plan with the fastest variant. Returns whether the algorithm can be used and is
 * estimated to be faster than a direct convolution. */
bool winograd_choose(const Lowering *lowering, const Node *node, WinogradKind kind,
                     WinogradPlan *plan);
/* As --tune asks for; the same without it (winograd_tune.c). */
bool winograd_tuned(const Lowering *lowering, const Node *node, WinogradKind kind,
                    WinogradPlan *plan);

#endif
