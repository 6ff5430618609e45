/* Convolutions whose vectors are examples (layout.h), and their gradients, by Winograd's minimal
 * filtering along rows. F(m, r) makes m elements of a row of the result from m + r - 1 of x, for a
 * filter with r taps there, with as many products as the latter instead of m*r; the weight gradient
 * has F(r, m), r taps from tiles of m elements of dy and m + r - 1 of x. */
#ifndef CNNC_WINOGRAD_ROWS_H
#define CNNC_WINOGRAD_ROWS_H

#include "lower.h"
#include "winograd_transform.h"

/* Each makes the loops where that is estimated to be faster than the direct ones. Returns whether
 * it did; else nothing is emitted. */
bool winograd_rows_map(Lowering *lowering, const Node *node, bool data_gradient);
bool winograd_rows_weight_gradient(Lowering *lowering, const Node *node);

/* ---- What they share ---- */

/* Whether a convolution has the form that all this is for: stride 1, 3 or 5 columns, `to` in lanes
 * and `from`, too, unless it is x in C order, whose rows are turned then. */
bool winograd_rows_form(const Lowering *lowering, const Node *node, const Tensor *from,
                        const Tensor *to);

/* How a row of y or dy is cut: `points` is step + taps - 1. The last tile may have less than a
 * step.
 */
typedef struct RowsTiles {
    int step, points;
    int64_t count;
} RowsTiles;

/* What the choice of tiles rests on. */
typedef struct RowsWork {
    int64_t width, taps; /* of a row of y or dy; of a filter along it */
    double products;     /* for each product along a row: of channels, filters, rows and taps of
                            the other axis */
    double transformed;  /* rows that go to the points or come back */
    bool (*fits)(void *plan, const RowsTiles *tiles); /* has a register tile for it; NULL: each */
    void *plan;
} RowsWork;

/* Sets the tiles that are estimated to be the fastest. Returns whether they are worth it. */
bool winograd_rows_choose(const Lowering *lowering, const RowsWork *work, RowsTiles *tiles);

#define ROWS_LEAST_SUMS 8 /* of a register tile: fewer wait for their own additions */

/* Tiles cut from rows of a tensor and transformed. What lies left and right of the tensor and its
 * halo is 0. */
typedef struct RowsCut {
    Lowering *lowering;
    Tensor *tensor;
    const RationalMatrix *matrix; /* its columns are the elements of a tile, its rows the points */
    RowsTiles tiles;              /* of a row */
    int64_t first;                /* column of the first tile */
    int64_t rows, pad;            /* how many, from row -pad on, which tensor or halo have */
    Buffer *to; /* [block of examples][point][channel][row][tile][V], points a stride apart */
} RowsCut;
int64_t winograd_rows_stride(const RowsCut *cut);
/* All rows of a block of examples, whose result goes to block `to_block`; loops over channels and
 * rows are of this kind. */
void winograd_rows_cut(const RowsCut *cut, LoopKind kind, Expr *block, Expr *to_block);

#endif
