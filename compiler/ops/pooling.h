/* What the pooling layers share: attributes, shapes, loops over a window clipped to its input. */
#ifndef CNNC_OPS_POOLING_H
#define CNNC_OPS_POOLING_H

#include "../lower.h"
#include "../window.h"

/* The first attributes of every pooling layer with a window. */
enum { POOL_KERNEL, POOL_STRIDE, POOL_PAD, POOL_ROUND, POOL_ATTRIBUTES };

#define POOLING_ATTRIBUTES                                                                         \
    {"kernel", ATTRIBUTE_EXTENTS, NULL, 1, WINDOW_EXTENT_MAX, NULL, "extents of a window"},        \
        {"stride",                                                                                 \
         ATTRIBUTE_EXTENTS,                                                                        \
         "",                                                                                       \
         1,                                                                                        \
         WINDOW_EXTENT_MAX,                                                                        \
         NULL,                                                                                     \
         "step between windows; the kernel's extents if not given"},                               \
        {"pad",                                                                                    \
         ATTRIBUTE_PADDING,                                                                        \
         "0",                                                                                      \
         0,                                                                                        \
         WINDOW_EXTENT_MAX,                                                                        \
         NULL,                                                                                     \
         "padding on each side, at most half of the kernel; same: as much as keeps extents "       \
         "divided by the stride"},                                                                 \
    {                                                                                              \
        "round", ATTRIBUTE_CHOICE, "exact", 0, 0, ROUNDING_CHOICES,                                \
            "what a remainder of the division by the stride does; exact: an error"                 \
    }

bool pooling_infer(Inference *inference, Layer *layer, Shape *output);
/* One window that covers all of the input: C x 1 x 1. */
bool global_pooling_infer(Inference *inference, Layer *layer, Shape *output);

/* For the window's output element `index` ([n,] c, o...), declares where it begins and ends in the
 * input along each axis, clipped to the input. */
typedef struct ClippedWindow {
    const Window *window;
    Expr *begin[3], *end[3]; /* elements of the input */
    bool clipped[3];         /* the length is not the kernel's everywhere */
} ClippedWindow;
ClippedWindow pooling_clip(Lowering *lowering, const Window *window, Expr *const *index);

/* Opens loops over the elements of a clipped window and fills the spatial entries of `tap`, an
 * index of the input; the others have to be there. Returns how many were opened. */
int pooling_open_window(Lowering *lowering, const ClippedWindow *clipped, LoopKind kind,
                        Expr **tap);

/* Of input and output the one whose layout the loops follow: blocks of channels in either. */
const Tensor *pooling_layout(const Tensor *input, const Tensor *output);

/* The letter of the loop over the windows' positions along an axis. */
const char *pooling_letter(const Window *window, int axis);
/* Opens independent loops over the windows' positions and fills the spatial entries of `index`, of
 * the axes from `first` to before `behind`; returns how many were opened. */
int pooling_open_outputs(Lowering *lowering, const Window *window, int first, int behind,
                         Expr **index);

/* Opens loops over the windows that contain the element `input` of the input and fills the spatial
 * entries of `output`, of the axes before `behind`. Returns how many were opened. */
int pooling_open_covering(Lowering *lowering, const Window *window, int behind, LoopKind kind,
                          Expr *const *input, Expr **output);

/* Whether each element of the input is in exactly one window, and no window leaves the input. */
bool pooling_tiles_input(const Window *window);

/* Elements of a window, counted in scan order. Those of at most POOLING_UNROLLED are written out
 * one after another. */
#define POOLING_UNROLLED 16
int64_t pooling_taps(const Window *window);
/* Where element `tap` is in its window, along each axis. */
void pooling_tap(const Window *window, int64_t tap, int64_t *at);

/* Maximum pooling over layer->window (maximum.c): forward, and the gradient, which goes to the
 * first maximum of each window in scan order. The training forward pass of layers with the `saved`
 * below saves which element that is. */
int maximum_pooling_saved(const Layer *layer, SavedSpec *specs);
void maximum_pooling_forward(Lowering *lowering, const Node *node);
void maximum_pooling_window(Lowering *lowering, const Node *node, Expr *const *output, Expr *block,
                            const WindowElements *elements);
void maximum_pooling_data_gradient(Lowering *lowering, const Node *node);
void maximum_pooling_window_gradient(Lowering *lowering, const Node *node, Expr *const *output,
                                     Expr *block);

#endif
