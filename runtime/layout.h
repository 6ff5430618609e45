/* The order of a tensor's numbers in memory. Files, random numbers and the library's users count
 * elements in C order of the extents, the dense order. Kernels may want the first axis in blocks,
 * innermost: a tensor [A][rest] then lies as [A/block][rest][block]. */
#ifndef CNNC_RUNTIME_LAYOUT_H
#define CNNC_RUNTIME_LAYOUT_H

#include "real.h"

typedef struct Layout {
    size_t block; /* divides A; 0 or 1: dense */
    size_t row;   /* elements per index of the first axis; not read where dense */
} Layout;

/* Where the element of this number in dense order lies. */
RUNTIME_INLINE size_t layout_place(const Layout *layout, size_t element) {
    if (layout->block <= 1) {
        return element;
    }
    size_t row = element / layout->row, column = element % layout->row;
    return (row / layout->block * layout->row + column) * layout->block + row % layout->block;
}

/* Copy elements first..first+count-1 of the dense order out of a tensor and into it. */
RUNTIME_API void layout_gather(const Layout *layout, const real *memory, size_t first, size_t count,
                               real *dense);
RUNTIME_API void layout_scatter(const Layout *layout, const real *dense, size_t first, size_t count,
                                real *memory);

#endif
