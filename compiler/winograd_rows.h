/* Weight gradients of convolutions whose vectors are examples (layout.h) by Winograd's minimal
 * filtering along rows: F(r, m) makes the r taps of a row from tiles of m elements of dy and
 * m + r - 1 of x with as many products as the latter, instead of r*m. */
#ifndef CNNC_WINOGRAD_ROWS_H
#define CNNC_WINOGRAD_ROWS_H

#include "lower.h"

/* Makes the loops of a convolution's weight gradient where that is estimated to be faster than the
 * direct ones. Returns whether it did; else nothing is emitted. */
bool winograd_rows_weight_gradient(Lowering *lowering, const Node *node);

#endif
