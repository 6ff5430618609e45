#include "pooling.h"

static const WindowAttributes pooling_window = {.kernel = POOL_KERNEL,
                                                .stride = POOL_STRIDE,
                                                .pad = POOL_PAD,
                                                .dilation = -1,
                                                .round = POOL_ROUND,
                                                .causal = -1,
                                                .pooling = true};

bool pooling_infer(Inference *inference, Layer *layer, Shape *output) {
    if (!window_resolve(inference, layer, &pooling_window)) {
        return false;
    }
    *output = window_shape(&layer->window, layer->inputs[0]->output.extent[0]);
    return true;
}

bool global_pooling_infer(Inference *inference, Layer *layer, Shape *output) {
    const Shape *input = &layer->inputs[0]->output;
    if (input->rank < 2) {
        return window_needs_space(inference, layer);
    }
    layer->window = window_whole(input);
    *output = window_shape(&layer->window, input->extent[0]);
    return true;
}

/* "h" of height, for names such as h_begin. */
static const char *axis_letter(const Window *window, int axis) {
    static const char *const letters[] = {"d", "h", "w"};
    return window->rank == 1 ? "l" : letters[3 - window->rank + axis];
}

static const char *named(Lowering *lowering, const char *letter, const char *what) {
    return arena_format(lowering->arena, "%s_%s", letter, what);
}

static Expr *lesser(Builder *b, Expr *x, Expr *y) {
    return choose(b, less(b, x, y), x, y);
}

/* Every index expression stays non-negative, so that it may be of an unsigned type. */
ClippedWindow pooling_clip(Lowering *lowering, const Window *window, Expr *const *index) {
    Builder *b = lowering->builder;
    ClippedWindow clipped = {.window = window};
    for (int axis = 0; axis < window->rank; axis++) {
        const char *letter = axis_letter(window, axis);
        Expr *output = window->output[axis] == 1 ? integer(b, 0) : index[AXIS_SPACE + axis];
        Expr *step = times(b, output, integer(b, window->stride[axis]));
        Expr *begin = step, *pad = integer(b, window->pad_begin[axis]);
        if (window_leaves_begin(window, axis)) {
            begin = choose(b, less(b, step, pad), integer(b, 0), minus(b, step, pad));
            begin = declare(b, named(lowering, letter, "begin"), TYPE_INDEX, begin);
            clipped.clipped[axis] = true;
        }
        Expr *end = plus(b, step, integer(b, window->kernel[axis] - window->pad_begin[axis]));
        if (window_leaves_end(window, axis)) {
            end = lesser(b, end, integer(b, window->input[axis]));
            clipped.clipped[axis] = true;
        }
        if (clipped.clipped[axis]) {
            end = declare(b, named(lowering, letter, "end"), TYPE_INDEX, end);
        }
        clipped.begin[axis] = begin;
        clipped.end[axis] = end;
    }
    return clipped;
}

int pooling_open_window(Lowering *lowering, const ClippedWindow *clipped, LoopKind kind,
                        Expr **tap) {
    static const char *const inputs[] = {"id", "ih", "iw"}, *const taps[] = {"kd", "kh", "kw"};
    Builder *b = lowering->builder;
    const Window *window = clipped->window;
    for (int axis = 0; axis < window->rank; axis++) {
        int name = 3 - window->rank + axis;
        if (clipped->clipped[axis]) {
            tap[AXIS_SPACE + axis] = open_range(b, kind, window->rank == 1 ? "il" : inputs[name],
                                                clipped->begin[axis], clipped->end[axis], 1);
        } else {
            Expr *k =
                open_loop(b, kind, window->rank == 1 ? "kl" : taps[name], window->kernel[axis]);
            tap[AXIS_SPACE + axis] = plus(b, clipped->begin[axis], k);
        }
    }
    return window->rank;
}

const Tensor *pooling_layout(const Tensor *input, const Tensor *output) {
    return input->layout.blocked_axis == 0 ? input : output;
}

const char *pooling_letter(const Window *window, int axis) {
    static const char *const letters[] = {"od", "oh", "ow"};
    return window->rank == 1 ? "ol" : letters[3 - window->rank + axis];
}

int pooling_open_outputs(Lowering *lowering, const Window *window, int first, int behind,
                         Expr **index) {
    int opened = 0;
    for (int axis = first; axis < behind; axis++)
        index[AXIS_SPACE + axis] =
            open_unless_single(lowering->builder, LOOP_INDEPENDENT, pooling_letter(window, axis),
                               window->output[axis], &opened);
    return opened;
}

/* With i = input + pad the windows o with o*stride <= i < o*stride + kernel. */
int pooling_open_covering(Lowering *lowering, const Window *window, int behind, LoopKind kind,
                          Expr *const *input, Expr **output) {
    Builder *b = lowering->builder;
    for (int axis = 0; axis < behind; axis++) {
        const char *letter = pooling_letter(window, axis);
        int64_t pad = window->pad_begin[axis], kernel = window->kernel[axis];
        Expr *stride = integer(b, window->stride[axis]);
        Expr *place = plus(b, input[AXIS_SPACE + axis], integer(b, pad));
        Expr *behind = plus(b, over(b, minus(b, place, integer(b, kernel)), stride), integer(b, 1));
        Expr *before = less(b, place, integer(b, kernel));
        Expr *begin = choose(b, before, integer(b, 0), behind);
        Expr *end = plus(b, over(b, place, stride), integer(b, 1));
        begin = declare(b, named(lowering, letter, "begin"), TYPE_INDEX, begin);
        end = declare(b, named(lowering, letter, "end"), TYPE_INDEX,
                      lesser(b, end, integer(b, window->output[axis])));
        output[AXIS_SPACE + axis] = open_range(b, kind, letter, begin, end, 1);
    }
    return behind;
}

bool pooling_tiles_input(const Window *window) {
    for (int axis = 0; axis < window->rank; axis++) {
        bool apart = window->stride[axis] == window->kernel[axis] || window->output[axis] == 1;
        if (!apart || window->pad_begin[axis] != 0 ||
            window->output[axis] * window->kernel[axis] != window->input[axis])
            return false;
    }
    return true;
}

int64_t pooling_taps(const Window *window) {
    int64_t taps = 1;
    for (int axis = 0; axis < window->rank; axis++)
        taps *= window->kernel[axis];
    return taps;
}

void pooling_tap(const Window *window, int64_t tap, int64_t *at) {
    for (int axis = window->rank - 1; axis >= 0; axis--) {
        at[axis] = tap % window->kernel[axis];
        tap /= window->kernel[axis];
    }
}
