/* Activations of one number: y = f(x), dL/dx = f'(x) dL/dy. */
#ifndef CNNC_OPS_ACTIVATION_H
#define CNNC_OPS_ACTIVATION_H

#include "common.h"

/* Defines op_<identifier> from two functions:
 *   Expr *<identifier>_y(Builder *b, const Layer *layer, Expr *x)             the value,
 *   Expr *<identifier>_dx(Builder *b, const Layer *layer, Expr *v, Expr *dy)  the gradient,
 * where v is x for reads with OP_GRADIENT_READS_INPUT and y with OP_GRADIENT_READS_OUTPUT: an
 * activation that is differentiated by its output lets go of its input. The further arguments are
 * initialisers of the OpDef: name, summary, samples, attributes. */
#define ACTIVATION(identifier, reads, ...)                                                         \
    static Expr *identifier##_value(Lowering *lowering, const Node *node, Expr *const *x,          \
                                    Expr *const *index) {                                          \
        (void)index;                                                                               \
        return identifier##_y(lowering->builder, node->layer, x[0]);                               \
    }                                                                                              \
    static Expr *identifier##_derivative(Lowering *lowering, const Node *node, int input,          \
                                         Expr *const *x, Expr *y, Expr *dy, Expr *const *index) {  \
        (void)input;                                                                               \
        (void)index;                                                                               \
        Expr *v = ((reads)&OP_GRADIENT_READS_INPUT) ? x[0] : y;                                    \
        return identifier##_dx(lowering->builder, node->layer, v, dy);                             \
    }                                                                                              \
    const OpDef op_##identifier = {.flags = (reads),                                               \
                                   .infer = infer_like_input,                                      \
                                   .cost = cost_one_per_output,                                    \
                                   .value = identifier##_value,                                    \
                                   .derivative = identifier##_derivative,                          \
                                   __VA_ARGS__}

#endif
