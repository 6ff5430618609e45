/* GLU, gated linear unit: the first half of the channels times the sigmoid of the second half
 * (Dauphin et al. 2017, eq. 1): y[c] = x[c]*s(x[C + c]) with C channels of output. */
#include "common.h"

static const char *const glu_samples[] = {"input 2x5x4 net = CONV(6,3x3) - GLU - FC(3)",
                                          "input 5 net = FC(8) - GLU - FC(3)", NULL};

static bool glu_infer(Inference *inference, Layer *layer, Shape *output) {
    const Shape *input = &layer->inputs[0]->output;
    if (input->extent[0] % 2 != 0) {
        Diagnostic *error = infer_error(
            inference, layer, -1, "GLU halves the channels, but its input %s has an odd number",
            shape_text(inference->arena, input));
        diagnostic_hint(error, "give the layer before it %lld or %lld channels",
                        (long long)input->extent[0] - 1, (long long)input->extent[0] + 1);
        return false;
    }
    *output = *input;
    output->extent[0] /= 2;
    return true;
}

/* index[AXIS_CHANNEL] moved to the half of the gates. */
static void gate_index(Builder *b, const Node *node, Expr *const *index, Expr **gate) {
    for (int i = 0; i <= node->y->rank; i++)
        gate[i] = index[i];
    gate[AXIS_CHANNEL] = plus(b, index[AXIS_CHANNEL], integer(b, node->y->extent[0]));
}

static void glu_lower_forward(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    Expr *index[MAX_AXES], *gate[MAX_AXES];
    int opened = open_tensor(lowering, node->y, index);
    gate_index(b, node, index, gate);
    Expr *open = sigmoid_of(b, tensor_load(lowering, node->x[0], gate));
    lower_result(lowering, node, index, times(b, tensor_load(lowering, node->x[0], index), open));
    close_blocks(b, opened);
}

static void glu_lower_data_gradient(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    Expr *index[MAX_AXES], *gate[MAX_AXES];
    int opened = open_tensor(lowering, node->dy, index);
    gate_index(b, node, index, gate);
    Expr *open =
        declare(b, "gate", TYPE_REAL, sigmoid_of(b, tensor_load(lowering, node->x[0], gate)));
    Expr *passed = times(b, tensor_load(lowering, node->dy, index), open);
    passed = declare(b, "passed", TYPE_REAL, passed);
    lower_result(lowering, node, index, passed);
    Expr *slope = times(b, tensor_load(lowering, node->x[0], index), minus(b, number(b, 1), open));
    lower_result(lowering, node, gate, times(b, passed, slope));
    close_blocks(b, opened);
}

const OpDef op_glu = {.name = "GLU",
                      .summary =
                          "gated linear unit: half of the channels times the sigmoid of the other",
                      .flags = OP_GRADIENT_READS_INPUT,
                      .infer = glu_infer,
                      .cost = cost_one_per_output,
                      .lower_forward = glu_lower_forward,
                      .lower_data_gradient = glu_lower_data_gradient,
                      .samples = glu_samples};
