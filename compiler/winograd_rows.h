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

/* ---- What they share (winograd_rows_cut.c) ---- */

/* For estimates: cycles of a transformed vector at a point; multiply-adds take longer than at the
 * peak; and by what factor filtering has to be faster. */
#define ROWS_CYCLES_PER_POINT 3.0
#define ROWS_EFFICIENCY 0.9
#define ROWS_GAIN 1.1
#define ROWS_LEAST_SUMS 8 /* of a register tile: fewer wait for their own additions */

/* Vectors of the tensor are examples. */
bool winograd_rows_in_lanes(const Lowering *lowering, const Tensor *tensor);

/* Whether a convolution has the form that all this is for: stride 1, 3 or 5 columns, `to` in lanes
 * and `from`, too, unless it is x in C order, whose rows are turned then. */
bool winograd_rows_form(const Lowering *lowering, const Node *node, const Tensor *from,
                        const Tensor *to);

/* Tiles cut from rows of a tensor and transformed. What lies left and right of the tensor and its
 * halo is 0. */
typedef struct RowsCut {
    Lowering *lowering;
    Tensor *tensor;
    const RationalMatrix *matrix; /* its columns are the elements of a tile, its rows the points */
    int step;                     /* columns from one tile to the next */
    int64_t tiles;                /* of a row */
    int64_t first;                /* column of the first tile */
    int64_t rows, pad;            /* how many, from row -pad on, which tensor or halo have */
    Buffer *to; /* [block of examples][point][channel][row][tile][V], points a stride apart */
} RowsCut;
int64_t winograd_rows_stride(const RowsCut *cut);
/* All rows of a block of examples, whose result goes to block `to_block`; loops over channels and
 * rows are of this kind. */
void winograd_rows_cut(const RowsCut *cut, LoopKind kind, Expr *block, Expr *to_block);

#endif
