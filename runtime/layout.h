/* The order of a tensor's numbers in memory. Files, random numbers and the library's users count
 * elements in C order of the extents, the dense order. Kernels may want the first axis in blocks,
 * innermost: a tensor [A][rest] then lies as [A/block][rest][block], the last block perhaps not
 * full. They may also want more of the second axis, which is 0 then: what lies between two rows is
 * longer than they are. */
#ifndef CNNC_RUNTIME_LAYOUT_H
#define CNNC_RUNTIME_LAYOUT_H

#include "real.h"

typedef struct Layout {
    size_t block;      /* at least 1 */
    size_t row;        /* elements per index of the first axis; 0: dense, the others are not read */
    size_t stored_row; /* the same in memory, at least as many */
} Layout;

/* Where the element of this number in dense order lies. */
RUNTIME_INLINE size_t layout_place(const Layout *layout, size_t element) {
    if (layout->row == 0) {
        return element;
    }
    size_t row = element / layout->row, column = element % layout->row;
    return (row / layout->block * layout->stored_row + column) * layout->block +
           row % layout->block;
}

/* Copy elements first..first+count-1 of the dense order out of a tensor and into it. */
RUNTIME_API void layout_gather(const Layout *layout, const real *memory, size_t first, size_t count,
                               real *dense);
RUNTIME_API void layout_scatter(const Layout *layout, const real *dense, size_t first, size_t count,
                                real *memory);

#endif
