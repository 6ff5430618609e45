/* Inside of maximum pooling: a window's maximum while its loops are being made. */
#ifndef CNNC_OPS_MAXIMUM_H
#define CNNC_OPS_MAXIMUM_H

#include "channels.h"
#include "pooling.h"

typedef struct Maximum {
    Lowering *lowering;
    const Node *node;
    const Window *window;
    Channels channels;
    Expr *output[MAX_AXES]; /* the window's position */
    Expr *block_of_examples;
    int64_t example_lanes;  /* > 0: lanes are the examples of a block instead of its channels */
    Expr *lane;             /* set by open_lanes */
    Buffer *made;           /* the window's elements, lanes last; NULL: they are loaded from x */
    Buffer *dy_map, *y_map; /* of maximum_map_of; NULL: loaded from the tensor */
    bool placed;            /* it matters which element is the maximum */
} Maximum;

int maximum_last_axis(const Maximum *m);
/* Sets the maximum and opens the loops over examples, or blocks of them, and over blocks of
 * channels; `in_lanes`: lanes may be examples. Returns how many were opened. */
int maximum_open_blocks(Maximum *m, Lowering *lowering, const Node *node, bool placed,
                        bool in_lanes);
/* Whether an element of the window is outside of the input along an axis, for the first position
 * or for the last one. */
bool maximum_is_before_input(const Window *window, int axis, int64_t tap);
bool maximum_is_behind_input(const Window *window, int axis, int64_t tap);
/* The index of an element of the window, by its number in scan order. */
void maximum_tap_index(Maximum *m, int64_t tap, Expr **index);

/* How results go to memory by whole vectors, where nothing is fused behind (maximum_vectors.c). */

/* Makes all loops of the forward pass, vectors being windows of a row; false where that does not
 * apply. */
bool maximum_forward_by_rows(Lowering *lowering, const Node *node, bool placed);
/* Makes a vector of maxima at m->output, of all lanes, and stores it, in the map if there is one;
 * false where that does not apply. */
bool maximum_forward_by_lanes(Maximum *m, Buffer *map);
/* An array that collects the lanes of all windows, where they have to be turned into maps in C
 * order; NULL: they have not. To be called inside the loops over blocks. */
Buffer *maximum_declare_map(const Maximum *m);
void maximum_store_in_map(const Maximum *m, Buffer *map, Expr *value);
/* To be called behind the loops over windows. */
void maximum_turn_map(Maximum *m, Buffer *map);
/* For the gradient an array with the lanes of all windows, from a tensor of such maps; NULL: it has
 * none. To be called inside the loops over blocks. */
Buffer *maximum_map_of(Maximum *m, Tensor *tensor);
/* The number at m->output and m->lane. */
Expr *maximum_load_of_map(const Maximum *m, Buffer *map);

#endif
