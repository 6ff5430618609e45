/* Convolutions whose vectors are examples (layout.h), and their gradients, by Winograd's minimal
 * filtering along rows. F(m, r) makes m elements of a row of the result from m + r - 1 of x, for a
 * filter with r taps there, with as many products as the latter instead of m*r; the weight gradient
 * has F(r, m), r taps from tiles of m elements of dy and m + r - 1 of x. */
#ifndef CNNC_WINOGRAD_ROWS_H
#define CNNC_WINOGRAD_ROWS_H

#include "lower.h"

/* Each makes the loops where that is estimated to be faster than the direct ones. Returns whether
 * it did; else nothing is emitted. */
bool winograd_rows_map(Lowering *lowering, const Node *node, bool data_gradient);
bool winograd_rows_weight_gradient(Lowering *lowering, const Node *node);

/* Whether a convolution between these tensors, x and y or their gradients, has the form that all
 * this is for. */
bool winograd_rows_form(const Lowering *lowering, const Node *node, const Tensor *a,
                        const Tensor *b);

#endif
