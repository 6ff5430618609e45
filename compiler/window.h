/* Sliding windows: from the arguments kernel, stride, pad, dilation and round to extents.
 *
 * Along one axis, with input extent W, kernel F, dilation D, stride S and padding P (V. Dumoulin
 * and F. Visin, A guide to convolution arithmetic for deep learning, 2016, relationship 6): span =
 * D*(F - 1) + 1 output = (W + P_begin + P_end - span)/S + 1 Extents are in elements of the axis;
 * axes count from the first spatial one. */
#ifndef CNNC_WINDOW_H
#define CNNC_WINDOW_H

#include "network.h"

/* What becomes of a remainder in the division above. */
typedef enum Rounding {
    ROUNDING_EXACT, /* it is an error */
    ROUNDING_FLOOR, /* the end of the input is left out */
    ROUNDING_CEIL   /* one more window, if it starts inside the input or the padding before it */
} Rounding;

typedef enum WindowFit {
    WINDOW_FITS,
    WINDOW_LEAVES_REMAINDER,
    WINDOW_TOO_LARGE /* the span exceeds the padded input */
} WindowFit;

/* The choices of an attribute `round`, in the order of Rounding. */
#define ROUNDING_CHOICES "exact floor ceil"

/* Bounds of every attribute of a window; they keep index arithmetic far from overflow. */
#define WINDOW_EXTENT_MAX 1000000

/* Where a kind keeps its window's arguments in its attribute table; -1: the kind has none. */
typedef struct WindowAttributes {
    int kernel, stride, pad, dilation, round, causal;
    bool pooling; /* the stride defaults to the kernel; padding is at most half of the kernel */
} WindowAttributes;

/* Sets layer->window from the arguments and the first input. False after an error, which then names
 * the remedies. The input must have channels and one to three spatial axes. */
bool window_resolve(Inference *inference, Layer *layer, const WindowAttributes *attributes);

/* Reports that the first input is a vector; returns false. */
bool window_needs_space(Inference *inference, const Layer *layer);

/* The shape of `channels` over the window's output extents. */
Shape window_shape(const Window *window, int64_t channels);

/* The window of a layer that sees all of its input at once (global pooling). */
Window window_whole(const Shape *input);

/* The steps of window_resolve that are plain arithmetic. `window` needs input, kernel, stride,
 * dilation and padding along the axis; *output is set only where the window fits. */
int64_t window_span(const Window *window, int axis);
int64_t window_remainder(const Window *window, int axis);
WindowFit window_fit(const Window *window, int axis, Rounding rounding, int64_t *output);
/* pad=same: output = ceil(W/S), the odd pixel at the end. */
void window_pad_same(Window *window, int axis);

/* Whether some window along the axis reaches before or behind the input. */
bool window_leaves_begin(const Window *window, int axis);
bool window_leaves_end(const Window *window, int axis);
/* Whether some window along the axis reaches behind the padding as well (ROUNDING_CEIL). */
bool window_leaves_padding(const Window *window, int axis);

/* The number of taps of the kernel: the product of its extents. */
int64_t window_taps(Counter *counter, const Window *window);

/* The name of a spatial axis for messages: "height". */
const char *window_axis_name(int rank, int axis);

#endif
