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

Expr *pooling_maximum(Lowering *lowering, const Window *window, Tensor *x, Expr *const *index,
                      Expr **place) {
    Builder *b = lowering->builder;
    ClippedWindow clipped = pooling_clip(lowering, window, index);
    Expr *tap[MAX_AXES] = {index[AXIS_BATCH], index[AXIS_CHANNEL]};
    for (int axis = 0; axis < window->rank; axis++) {
        tap[AXIS_SPACE + axis] = clipped.begin[axis];
        if (place) {
            place[AXIS_SPACE + axis] =
                declare(b, named(lowering, axis_letter(window, axis), "best"), TYPE_INDEX,
                        clipped.begin[axis]);
        }
    }
    Expr *best = declare(b, "best", TYPE_REAL, tensor_load(lowering, x, tap));
    int opened = pooling_open_window(lowering, &clipped, LOOP_SERIAL, tap);
    Expr *value = declare(b, "value", TYPE_REAL, tensor_load(lowering, x, tap));
    /* The second condition holds for NaN alone. */
    Expr *better =
        binary(b, BINARY_OR, greater(b, value, best), unary(b, UNARY_NOT, equal(b, value, value)));
    if (place) {
        open_if(b, better);
        assign(b, best, value);
        for (int axis = 0; axis < window->rank; axis++) {
            assign(b, place[AXIS_SPACE + axis], tap[AXIS_SPACE + axis]);
        }
        close_blocks(b, 1);
    } else {
        assign(b, best, choose(b, better, value, best));
    }
    close_blocks(b, opened);
    return best;
}

int pooling_open_outputs(Lowering *lowering, const Node *node, Expr **index) {
    static const char *const letters[] = {"od", "oh", "ow"};
    Builder *b = lowering->builder;
    const Window *window = &node->layer->window;
    index[AXIS_BATCH] = open_batch(b, LOOP_INDEPENDENT);
    index[AXIS_CHANNEL] = open_loop(b, LOOP_INDEPENDENT, "c", node->dy->extent[0]);
    for (int axis = 0; axis < window->rank; axis++) {
        const char *letter = window->rank == 1 ? "ol" : letters[3 - window->rank + axis];
        index[AXIS_SPACE + axis] = open_loop(b, LOOP_SERIAL, letter, window->output[axis]);
    }
    return AXIS_SPACE + window->rank;
}

void maximum_pooling_forward(Lowering *lowering, const Node *node) {
    Expr *index[MAX_AXES];
    int opened = open_tensor(lowering, node->y, index);
    Expr *best = pooling_maximum(lowering, &node->layer->window, node->x[0], index, NULL);
    lower_result(lowering, node, index, best);
    close_blocks(lowering->builder, opened);
}

void maximum_pooling_data_gradient(Lowering *lowering, const Node *node) {
    lower_clear_result(lowering, node);
    Expr *index[MAX_AXES], *place[MAX_AXES] = {NULL};
    int opened = pooling_open_outputs(lowering, node, index);
    place[AXIS_BATCH] = index[AXIS_BATCH];
    place[AXIS_CHANNEL] = index[AXIS_CHANNEL];
    pooling_maximum(lowering, &node->layer->window, node->x[0], index, place);
    tensor_add(lowering, node->dx, place, tensor_load(lowering, node->dy, index));
    close_blocks(lowering->builder, opened);
}
