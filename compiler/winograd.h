/* Convolutions with 3x3 or 5x5 kernels, stride and dilation 1 and one group by Winograd's minimal
 * filtering, F(4x4, 3x3), F(2x2, 3x3) or F(2x2, 5x5), and their gradients: the data gradient is a
 * convolution with the filters turned around and transposed, the weight gradient one of x with
 * tiles of dy as filters, F(3x3, 4x4), F(3x3, 2x2) or F(5x5, 2x2). Each needs blocked channels on
 * both sides (layout.h). */
#ifndef CNNC_WINOGRAD_H
#define CNNC_WINOGRAD_H

#include "lower.h"

typedef enum WinogradKind {
    WINOGRAD_FORWARD,
    WINOGRAD_DATA_GRADIENT,
    WINOGRAD_WEIGHT_GRADIENT
} WinogradKind;

/* Makes the loops of a convolution node where the estimate says that they are faster than direct
 * ones; those of the weight gradient make the bias's, too. Returns whether it did; else nothing is
 * emitted. */
bool winograd_lower(Lowering *lowering, const Node *node, WinogradKind kind);

/* Whether it does so for a forward node, in tiles that windows tile, each of which could then go to
 * a node that reads them (lower_window_node). */
bool winograd_takes_windows(Lowering *lowering, const Node *node, const Window *window);

/* Whether it does so for a weight gradient, in tiles of dy that windows tile, so that it could make
 * these in passing (Node.dy_windows). */
bool winograd_takes_window_gradient(Lowering *lowering, const Node *node, const Window *window);

/* Whether it does so for a forward node; then sets OpDef.tile_numbers. */
bool winograd_tile_numbers(Lowering *lowering, const Node *node, int64_t *numbers);

#endif
