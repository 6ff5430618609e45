#include "layout.h"

/* How many of the elements from `first` on lie `block` apart: those up to the end of a row. */
static size_t layout_run(const Layout *layout, size_t first, size_t count) {
    if (layout->row == 0) {
        return count;
    }
    size_t left = layout->row - first % layout->row;
    return left < count ? left : count;
}

static size_t layout_stride(const Layout *layout) {
    return layout->row == 0 ? 1 : layout->block;
}

RUNTIME_API void layout_gather(const Layout *layout, const real *memory, size_t first, size_t count,
                               real *dense) {
    const size_t stride = layout_stride(layout);
    for (size_t run, done = 0; done < count; done += run) {
        const real *from = memory + layout_place(layout, first + done);
        run = layout_run(layout, first + done, count - done);
        for (size_t i = 0; i < run; i++) {
            dense[done + i] = from[i * stride];
        }
    }
}

RUNTIME_API void layout_scatter(const Layout *layout, const real *dense, size_t first, size_t count,
                                real *memory) {
    const size_t stride = layout_stride(layout);
    for (size_t run, done = 0; done < count; done += run) {
        real *to = memory + layout_place(layout, first + done);
        run = layout_run(layout, first + done, count - done);
        for (size_t i = 0; i < run; i++) {
            to[i * stride] = dense[done + i];
        }
    }
}
