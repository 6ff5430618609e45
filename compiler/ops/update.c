/* A step of the optimizer on the parameters of a layer, from their gradients. The runtime knows
 * how.
 */
#include "kernel_use.h"
#include "lower.h"

static void update_parameter(Lowering *lowering, Tensor *parameter, Tensor *gradient) {
    Builder *b = lowering->builder;
    Buffer *to = lower_buffer(lowering, parameter), *from = lower_buffer(lowering, gradient);
    Expr *zero = integer(b, 0);
    Expr *arguments[] = {load_at(b, to, 1, &zero), load_at(b, from, 1, &zero),
                         integer(b, parameter->elements)};
    to->written = true;
    call_statement(b, call(b, TYPE_REAL, CALL_UPDATE, 3, arguments));
}

static void update_lower(Lowering *lowering, const Node *node) {
    for (int p = 0; p < MAX_PARAMETERS; p++)
        if (node->parameters[p] != NULL)
            update_parameter(lowering, node->parameters[p], node->parameter_gradients[p]);
}

const OpDef op_update = {.name = "UPDATE",
                         .summary = "step of the optimizer",
                         .flags = OP_INTERNAL,
                         .lower_forward = update_lower};
