/* The error for a window that does not fit its input, with the remedies computed. */
#ifndef CNNC_WINDOW_REMEDY_H
#define CNNC_WINDOW_REMEDY_H

#include "window.h"

/* Reports why `window` does not fit along `axis` and which strides, paddings, kernels, input sizes
 * and roundings would; `fit` is not WINDOW_FITS. */
void window_report(Inference *inference, const Layer *layer, const WindowAttributes *attributes,
                   const Window *window, int axis, WindowFit fit);

#endif
