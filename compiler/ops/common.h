/* What several layer kinds share: shape rules, cost, and small pieces of loops. */
#ifndef CNNC_OPS_COMMON_H
#define CNNC_OPS_COMMON_H

#include "lower.h"

/* Samples of a layer that keeps the shape: between parameters on an image and on a vector. */
#define SAMPLES_OF(layer)                                                                          \
    (const char *const[]) {                                                                        \
        "input 2x5x4 net = CONV(4,3x3) - " layer " - FC(3)",                                       \
            "input 6 net = FC(4) - " layer " - FC(3)", NULL                                        \
    }

/* OpDef.infer of a layer with one input whose output has the input's shape. */
bool infer_like_input(Inference *inference, Layer *layer, Shape *output);
/* OpDef.cost of a layer that computes: one flop per output element. */
void cost_one_per_output(Counter *counter, const Layer *layer, Cost *cost);

/* Opens loops of one kind over the spatial axes of a tensor, fills index[AXIS_SPACE...]; returns
 * how many were opened (0 for a vector). */
int open_space(Lowering *lowering, LoopKind kind, const Tensor *tensor, Expr **index);
/* The number of spatial positions of a tensor: 1 for a vector. */
int64_t space_elements(const Tensor *tensor);
/* The position of index[AXIS_SPACE...] among them, in C order. */
Expr *space_offset(Builder *b, const Tensor *tensor, Expr *const *index);

/* x itself where it is a variable, else a constant of that name set to x: for values used twice. */
Expr *named_value(Builder *b, const char *name, Expr *x);
/* 1/(1 + exp(-x)); exp may overflow to infinity, which gives the right 0. */
Expr *sigmoid_of(Builder *b, Expr *x);
/* The number of examples of the whole batch times `per_example`, as a double: no overflow at any
 * batch. */
Expr *batch_times(Lowering *lowering, int64_t per_example);

#endif
