#include "window.h"

#include "window_remedy.h"

#include <string.h>

int64_t window_span(const Window *window, int axis) {
    return window->dilation[axis] * (window->kernel[axis] - 1) + 1;
}

static int64_t padded_extent(const Window *window, int axis) {
    return window->input[axis] + window->pad_begin[axis] + window->pad_end[axis];
}

int64_t window_remainder(const Window *window, int axis) {
    return (padded_extent(window, axis) - window_span(window, axis)) % window->stride[axis];
}

WindowFit window_fit(const Window *window, int axis, Rounding rounding, int64_t *output) {
    int64_t stride = window->stride[axis];
    int64_t room = padded_extent(window, axis) - window_span(window, axis);
    if (room < 0) {
        return WINDOW_TOO_LARGE;
    }
    bool whole = room % stride == 0;
    if (rounding == ROUNDING_EXACT && !whole) {
        return WINDOW_LEAVES_REMAINDER;
    }
    int64_t count = room / stride + 1;
    if (rounding == ROUNDING_CEIL && !whole &&
        count * stride < window->input[axis] + window->pad_begin[axis]) {
        count++;
    }
    *output = count;
    return WINDOW_FITS;
}

void window_pad_same(Window *window, int axis) {
    int64_t input = window->input[axis], stride = window->stride[axis];
    int64_t output = (input - 1) / stride + 1;
    int64_t total = (output - 1) * stride + window_span(window, axis) - input;
    if (total < 0) {
        total = 0;
    }
    window->pad_begin[axis] = total / 2;
    window->pad_end[axis] = total - total / 2;
}

/* One past the last element that the last window covers, counted from the input's first. */
static int64_t windows_end(const Window *window, int axis) {
    return (window->output[axis] - 1) * window->stride[axis] + window_span(window, axis) -
           window->pad_begin[axis];
}

bool window_leaves_begin(const Window *window, int axis) {
    return window->pad_begin[axis] > 0;
}

bool window_leaves_end(const Window *window, int axis) {
    return windows_end(window, axis) > window->input[axis];
}

bool window_leaves_padding(const Window *window, int axis) {
    return windows_end(window, axis) > window->input[axis] + window->pad_end[axis];
}

int64_t window_taps(Counter *counter, const Window *window) {
    int64_t taps = 1;
    for (int axis = 0; axis < window->rank; axis++) {
        taps = count_times(counter, taps, window->kernel[axis]);
    }
    return taps;
}

Shape window_shape(const Window *window, int64_t channels) {
    Shape shape = {.rank = 1 + window->rank, .extent = {channels}};
    for (int axis = 0; axis < window->rank; axis++) {
        shape.extent[1 + axis] = window->output[axis];
    }
    return shape;
}

Window window_whole(const Shape *input) {
    Window window = {.rank = input->rank - 1};
    for (int axis = 0; axis < window.rank; axis++) {
        window.input[axis] = window.kernel[axis] = input->extent[1 + axis];
        window.output[axis] = window.stride[axis] = window.dilation[axis] = 1;
    }
    return window;
}

const char *window_axis_name(int rank, int axis) {
    static const char *const names[] = {"depth", "height", "width"};
    return rank == 1 ? "length" : names[3 - rank + axis];
}

/* Reads an integer for all axes or one extent for each. */
static bool read_extents(Inference *inference, Layer *layer, int attribute, int rank,
                         int64_t *extent) {
    const Value *value = &layer->attributes[attribute];
    if (value->kind != VALUE_DIMS) {
        for (int axis = 0; axis < rank; axis++) {
            extent[axis] = value->as.integer;
        }
        return true;
    }
    if (value->as.dims.rank != rank) {
        Diagnostic *diagnostic = infer_error(
            inference, layer, attribute,
            "%s: %s %s has %d extents, but the input %s has %d spatial %s", layer->name,
            layer->op->attributes[attribute].name, value_text(inference->arena, value),
            value->as.dims.rank, shape_text(inference->arena, &layer->inputs[0]->output), rank,
            rank == 1 ? "axis" : "axes");
        diagnostic_hint(diagnostic, "one integer stands for all axes");
        return false;
    }
    memcpy(extent, value->as.dims.extent, (size_t)rank * sizeof *extent);
    return true;
}

static bool is_same_padding(const Layer *layer, const WindowAttributes *attributes) {
    return attributes->pad >= 0 && layer->attributes[attributes->pad].kind == VALUE_WORD;
}

/* Padding before the first element only, so that no output sees an input behind it (A. van den Oord
 * et al., WaveNet, 2016, section 2.1). */
static bool pad_causally(Inference *inference, Layer *layer, const WindowAttributes *attributes,
                         Window *window) {
    if (window->rank != 1) {
        infer_error(inference, layer, attributes->causal,
                    "%s: causal=true needs an input with one spatial axis, but it is %s",
                    layer->name, shape_text(inference->arena, &layer->inputs[0]->output));
        return false;
    }
    if (is_same_padding(layer, attributes) || window->pad_begin[0] != 0) {
        infer_error(inference, layer, attributes->pad,
                    "%s: causal=true determines the padding; leave out pad", layer->name);
        return false;
    }
    window->pad_begin[0] = window_span(window, 0) - 1;
    return true;
}

static bool resolve_padding(Inference *inference, Layer *layer, const WindowAttributes *attributes,
                            Window *window) {
    if (is_same_padding(layer, attributes)) {
        for (int axis = 0; axis < window->rank; axis++) {
            window_pad_same(window, axis);
        }
    } else if (attributes->pad >= 0) {
        if (!read_extents(inference, layer, attributes->pad, window->rank, window->pad_begin)) {
            return false;
        }
        memcpy(window->pad_end, window->pad_begin, sizeof window->pad_end);
    }
    if (attributes->causal >= 0 && attribute_boolean(layer, attributes->causal)) {
        return pad_causally(inference, layer, attributes, window);
    }
    for (int axis = 0; attributes->pooling && axis < window->rank; axis++) {
        if (window->pad_begin[axis] > window->kernel[axis] / 2) {
            Diagnostic *diagnostic =
                infer_error(inference, layer, attributes->pad,
                            "%s: padding %lld is more than half of the kernel's %s %lld",
                            layer->name, (long long)window->pad_begin[axis],
                            window_axis_name(window->rank, axis), (long long)window->kernel[axis]);
            diagnostic_hint(diagnostic,
                            "a window would lie in the padding alone; pad is at most %lld",
                            (long long)(window->kernel[axis] / 2));
            return false;
        }
    }
    return true;
}

bool window_needs_space(Inference *inference, const Layer *layer) {
    Diagnostic *diagnostic = infer_error(
        inference, layer, -1, "%s needs an input with channels and space, but it is a vector of %s",
        layer->name, shape_text(inference->arena, &layer->inputs[0]->output));
    diagnostic_hint(diagnostic,
                    "RESHAPE gives a vector channels and space, e.g. RESHAPE(1x28x28) "
                    "for 784 numbers");
    return false;
}

/* Everything but the padding and the output. */
static bool read_window(Inference *inference, Layer *layer, const WindowAttributes *attributes,
                        Window *window) {
    const Shape *input = &layer->inputs[0]->output;
    if (input->rank < 2) {
        return window_needs_space(inference, layer);
    }
    *window = window_whole(input);
    if (!read_extents(inference, layer, attributes->kernel, window->rank, window->kernel)) {
        return false;
    }
    if (attribute_given(layer, attributes->stride)) {
        if (!read_extents(inference, layer, attributes->stride, window->rank, window->stride)) {
            return false;
        }
    } else if (attributes->pooling) {
        memcpy(window->stride, window->kernel, sizeof window->stride);
    }
    return attributes->dilation < 0 ||
           read_extents(inference, layer, attributes->dilation, window->rank, window->dilation);
}

static Rounding rounding_of(const Layer *layer, int attribute) {
    const char *choice = attribute_choice(layer, attribute);
    if (strcmp(choice, "floor") == 0) {
        return ROUNDING_FLOOR;
    }
    return strcmp(choice, "ceil") == 0 ? ROUNDING_CEIL : ROUNDING_EXACT;
}

bool window_resolve(Inference *inference, Layer *layer, const WindowAttributes *attributes) {
    Window window;
    if (!read_window(inference, layer, attributes, &window) ||
        !resolve_padding(inference, layer, attributes, &window)) {
        return false;
    }
    /* pad=same is ceil(W/S) by definition, whatever a stride larger than the kernel leaves out. */
    Rounding rounding =
        is_same_padding(layer, attributes) ? ROUNDING_FLOOR : rounding_of(layer, attributes->round);
    for (int axis = 0; axis < window.rank; axis++) {
        WindowFit fit = window_fit(&window, axis, rounding, &window.output[axis]);
        if (fit != WINDOW_FITS) {
            window_report(inference, layer, attributes, &window, axis, fit);
            return false;
        }
    }
    layer->window = window;
    return true;
}
