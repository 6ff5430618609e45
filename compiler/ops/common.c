#include "common.h"

bool infer_like_input(Inference *inference, Layer *layer, Shape *output) {
    (void)inference;
    *output = layer->inputs[0]->output;
    return true;
}

void cost_one_per_output(Counter *counter, const Layer *layer, Cost *cost) {
    cost->flops = shape_elements(counter, &layer->output);
}

int open_space(Lowering *lowering, LoopKind kind, const Tensor *tensor, Expr **index) {
    const char *const *letters = axis_letters(tensor->rank);
    for (int axis = 1; axis < tensor->rank; axis++)
        index[AXIS_CHANNEL + axis] =
            open_loop(lowering->builder, kind, letters[axis], tensor->extent[axis]);
    return tensor->rank - 1;
}

int64_t space_elements(const Tensor *tensor) {
    return tensor->elements / tensor->extent[0];
}

Expr *space_offset(Builder *b, const Tensor *tensor, Expr *const *index) {
    Expr *offset = integer(b, 0);
    for (int axis = 1; axis < tensor->rank; axis++)
        offset =
            plus(b, times(b, offset, integer(b, tensor->extent[axis])), index[AXIS_CHANNEL + axis]);
    return offset;
}

Expr *named_value(Builder *b, const char *name, Expr *x) {
    return x->kind == EXPR_VARIABLE ? x : declare(b, name, x->type, x);
}

Expr *sigmoid_of(Builder *b, Expr *x) {
    return over(b, number(b, 1), plus(b, number(b, 1), unary(b, UNARY_EXP, negated(b, x))));
}

Expr *batch_times(Lowering *lowering, int64_t per_example) {
    Builder *b = lowering->builder;
    Expr *count = convert(b, TYPE_DOUBLE, lower_whole_batch(lowering));
    return times(b, count, number(b, (double)per_example));
}
