#include "window_remedy.h"

/* How far from the given value remedies are looked for: what is further away is no remedy, and one
 * hostile description must not cost more than a few thousand divisions. */
#define SEARCH_DISTANCE 64
#define MAX_REMEDIES 2

typedef struct Remedies {
    int count;
    int64_t value[2 * MAX_REMEDIES];
} Remedies;

/* Sets an argument's value along `axis`, or along all axes where one integer stands for all. */
typedef void (*Change)(Window *window, int axis, int64_t value);

static void change_stride(Window *window, int axis, int64_t value) {
    window->stride[axis] = value;
}

static void change_pad(Window *window, int axis, int64_t value) {
    window->pad_begin[axis] = window->pad_end[axis] = value;
}

/* Whether the changed window fits exactly, along every axis that the change concerns. */
static bool fits_with(const Window *window, int axis, bool all_axes, Change change, int64_t value) {
    Window changed = *window;
    int64_t output;
    for (int i = 0; i < window->rank; i++) {
        if (all_axes || i == axis) {
            change(&changed, i, value);
            if (window_fit(&changed, i, ROUNDING_EXACT, &output) != WINDOW_FITS) {
                return false;
            }
        }
    }
    return true;
}

/* The nearest values below and above `given` within [minimum, maximum] that fit, in rising order.
 */
static Remedies search(const Window *window, int axis, bool all_axes, Change change, int64_t given,
                       int64_t minimum, int64_t maximum) {
    Remedies below = {0}, found = {0};
    for (int64_t value = given - 1; value >= minimum && value >= given - SEARCH_DISTANCE; value--) {
        if (below.count < MAX_REMEDIES && fits_with(window, axis, all_axes, change, value)) {
            below.value[below.count++] = value;
        }
    }
    while (below.count > 0) {
        found.value[found.count++] = below.value[--below.count];
    }
    int last = found.count + MAX_REMEDIES;
    for (int64_t value = given + 1; value <= maximum && value <= given + SEARCH_DISTANCE; value++) {
        if (found.count < last && fits_with(window, axis, all_axes, change, value)) {
            found.value[found.count++] = value;
        }
    }
    return found;
}

static const char *list_text(Arena *arena, const Remedies *remedies) {
    const char *text = "";
    for (int i = 0; i < remedies->count; i++) {
        const char *separator = i == 0 ? "" : i + 1 == remedies->count ? " or " : ", ";
        text = arena_format(arena, "%s%s%lld", text, separator, (long long)remedies->value[i]);
    }
    return text;
}

static const char *extents_text(Arena *arena, const int64_t *extent, int rank) {
    Shape shape = {.rank = rank};
    for (int axis = 0; axis < rank; axis++) {
        shape.extent[axis] = extent[axis];
    }
    return shape_text(arena, &shape);
}

/* "(224 + 2*1 - 11)" */
static const char *room_text(Arena *arena, const Window *window, int axis) {
    long long begin = window->pad_begin[axis], end = window->pad_end[axis];
    const char *padding = "";
    if (begin == end && begin > 0) {
        padding = arena_format(arena, " + 2*%lld", begin);
    } else if (begin > 0 || end > 0) {
        padding = arena_format(arena, " + %lld + %lld", begin, end);
    }
    const char *kernel = arena_format(arena, "%lld", (long long)window->kernel[axis]);
    if (window->dilation[axis] > 1) {
        kernel =
            arena_format(arena, "%lld*(%s - 1) - 1", (long long)window->dilation[axis], kernel);
    }
    return arena_format(arena, "(%lld%s - %s)", (long long)window->input[axis], padding, kernel);
}

static bool same_on_all_axes(const Layer *layer, int attribute) {
    return attribute >= 0 && layer->attributes[attribute].kind != VALUE_DIMS;
}

static bool is_causal(const Layer *layer, const WindowAttributes *attributes) {
    return attributes->causal >= 0 && attribute_boolean(layer, attributes->causal);
}

/* A padding as large as the window would only add windows of zeros. */
static int64_t largest_pad(const Window *window, int axis, const WindowAttributes *attributes) {
    return attributes->pooling ? window->kernel[axis] / 2 : window_span(window, axis) - 1;
}

static void hint_strides(Diagnostic *diagnostic, Arena *arena, const Layer *layer,
                         const WindowAttributes *attributes, const Window *window, int axis) {
    /* A stride beyond the window skips input: suggested only to who wrote one. */
    int64_t given = window->stride[axis], span = window_span(window, axis);
    int64_t largest = given > span ? 2 * given : span;
    Remedies strides = search(window, axis, same_on_all_axes(layer, attributes->stride),
                              change_stride, given, 1, largest);
    if (strides.count > 0) {
        diagnostic_hint(diagnostic, "stride=%s fits", list_text(arena, &strides));
    }
}

static void hint_pads(Diagnostic *diagnostic, Arena *arena, const Layer *layer,
                      const WindowAttributes *attributes, const Window *window, int axis) {
    if (is_causal(layer, attributes)) {
        return;
    }
    Remedies pads = search(window, axis, same_on_all_axes(layer, attributes->pad), change_pad,
                           window->pad_begin[axis], 0, largest_pad(window, axis, attributes));
    if (pads.count > 0) {
        diagnostic_hint(diagnostic, "pad=%s fits", list_text(arena, &pads));
    }
}

/* The sizes next to this one that leave no remainder; along all axes at once where they are alike.
 */
static void hint_sizes(Diagnostic *diagnostic, Arena *arena, const Window *window, int axis) {
    int64_t remainder = window_remainder(window, axis);
    int64_t larger = window->input[axis] + window->stride[axis] - remainder;
    int64_t smaller = window->input[axis] - remainder;
    bool alike = true;
    for (int i = 0; i < window->rank; i++) {
        alike = alike && window->input[i] == window->input[axis] &&
                window->stride[i] == window->stride[axis] &&
                window->pad_begin[i] == window->pad_begin[axis] &&
                window->pad_end[i] == window->pad_end[axis] &&
                window_span(window, i) == window_span(window, axis);
    }
    Remedies sizes = {0};
    if (smaller > 0) {
        sizes.value[sizes.count++] = smaller;
    }
    sizes.value[sizes.count++] = larger;
    if (!alike || window->rank == 1) {
        diagnostic_hint(diagnostic, "an input %s of %s fits", window_axis_name(window->rank, axis),
                        list_text(arena, &sizes));
        return;
    }
    const char *text = "";
    for (int i = 0; i < sizes.count; i++) {
        int64_t extent[3] = {sizes.value[i], sizes.value[i], sizes.value[i]};
        text = arena_format(arena, "%s%s%s", text, i == 0 ? "" : " or ",
                            extents_text(arena, extent, window->rank));
    }
    diagnostic_hint(diagnostic, "an input of %s fits", text);
}

/* What the roundings would make of the output. */
static void hint_rounding(Diagnostic *diagnostic, Arena *arena, const Window *window, int axis) {
    int64_t floor = 0, ceil = 0;
    window_fit(window, axis, ROUNDING_FLOOR, &floor);
    window_fit(window, axis, ROUNDING_CEIL, &ceil);
    const char *name = window_axis_name(window->rank, axis);
    const char *or_ceil =
        ceil == floor ? "" : arena_format(arena, ", round=ceil makes it %lld", (long long)ceil);
    diagnostic_hint(diagnostic, "round=floor makes the output's %s %lld%s, as other frameworks do",
                    name, (long long)floor, or_ceil);
}

static void report_remainder(Inference *inference, const Layer *layer,
                             const WindowAttributes *attributes, const Window *window, int axis) {
    Arena *arena = inference->arena;
    double quotient = (double)(window->input[axis] + window->pad_begin[axis] +
                               window->pad_end[axis] - window_span(window, axis)) /
                      (double)window->stride[axis];
    int64_t stride = window->stride[axis];
    Diagnostic *diagnostic = infer_error(
        inference, layer, attributes->stride,
        "%s: a %s kernel with stride %lld does not fit %s: %s/%lld + 1 = %.6g along the %s",
        layer->name, extents_text(arena, window->kernel, window->rank), (long long)stride,
        extents_text(arena, window->input, window->rank), room_text(arena, window, axis),
        (long long)stride, quotient + 1, window_axis_name(window->rank, axis));
    hint_strides(diagnostic, arena, layer, attributes, window, axis);
    hint_pads(diagnostic, arena, layer, attributes, window, axis);
    hint_sizes(diagnostic, arena, window, axis);
    hint_rounding(diagnostic, arena, window, axis);
}

/* The least padding that makes room for the kernel, exactly if one does. */
static void hint_least_pad(Diagnostic *diagnostic, Arena *arena, const Layer *layer,
                           const WindowAttributes *attributes, const Window *window, int axis) {
    int64_t largest = largest_pad(window, axis, attributes);
    int64_t least = (window_span(window, axis) - window->input[axis] + 1) / 2;
    if (is_causal(layer, attributes) || least > largest) {
        return;
    }
    Remedies pads = search(window, axis, same_on_all_axes(layer, attributes->pad), change_pad,
                           least - 1, least, largest);
    if (pads.count > 0) {
        pads.count = 1;
        diagnostic_hint(diagnostic, "pad=%s fits", list_text(arena, &pads));
    } else {
        diagnostic_hint(diagnostic, "pad=%lld with round=floor fits", (long long)least);
    }
}

static void report_too_large(Inference *inference, const Layer *layer,
                             const WindowAttributes *attributes, const Window *window, int axis) {
    Arena *arena = inference->arena;
    const char *name = window_axis_name(window->rank, axis);
    int64_t span = window_span(window, axis);
    int64_t padded = window->input[axis] + window->pad_begin[axis] + window->pad_end[axis];
    const char *dilated = window->dilation[axis] > 1
                              ? arena_format(arena, " (dilated to %lld)", (long long)span)
                              : "";
    const char *with_padding = padded > window->input[axis]
                                   ? arena_format(arena, " (%lld with padding)", (long long)padded)
                                   : "";
    Diagnostic *diagnostic = infer_error(
        inference, layer, attributes->kernel,
        "%s: a kernel %s of %lld%s is larger than the input's, %lld%s", layer->name, name,
        (long long)window->kernel[axis], dilated, (long long)window->input[axis], with_padding);
    hint_least_pad(diagnostic, arena, layer, attributes, window, axis);
    diagnostic_hint(diagnostic, "the kernel's %s can be at most %lld", name,
                    (long long)((padded - 1) / window->dilation[axis] + 1));
}

void window_report(Inference *inference, const Layer *layer, const WindowAttributes *attributes,
                   const Window *window, int axis, WindowFit fit) {
    if (fit == WINDOW_TOO_LARGE) {
        report_too_large(inference, layer, attributes, window, axis);
    } else {
        report_remainder(inference, layer, attributes, window, axis);
    }
}
