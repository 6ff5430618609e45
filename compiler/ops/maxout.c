/* MAXOUT: the maximum over groups of k consecutive channels, y[c] = max_j x[c*k + j], j < k
 * (Goodfellow et al. 2013). Of equal channels the first gets the gradient. */
#include "common.h"

enum { MAXOUT_PIECES, MAXOUT_ATTRIBUTES };

static const AttributeDef maxout_attributes[MAXOUT_ATTRIBUTES] = {
    {"k", ATTRIBUTE_INTEGER, NULL, 1, 1e6, NULL, "channels that each output is the maximum of"}};

static const char *const maxout_samples[] = {"input 2x5x4 net = CONV(6,3x3) - MAXOUT(3) - FC(3)",
                                             "input 5 net = FC(8) - MAXOUT(2) - FC(3)", NULL};

static bool maxout_infer(Inference *inference, Layer *layer, Shape *output) {
    const Shape *input = &layer->inputs[0]->output;
    int64_t channels = input->extent[0], pieces = attribute_integer(layer, MAXOUT_PIECES);
    if (channels % pieces != 0) {
        Diagnostic *error = infer_error(
            inference, layer, MAXOUT_PIECES,
            "MAXOUT(%lld) cannot group the %lld channels of its input %s", (long long)pieces,
            (long long)channels, shape_text(inference->arena, input));
        diagnostic_hint(error, "give the layer before it %lld channels",
                        (long long)((channels + pieces - 1) / pieces * pieces));
        return false;
    }
    *output = *input;
    output->extent[0] = channels / pieces;
    return true;
}

/* index with channel c*k + j. */
static Expr *piece_load(Lowering *lowering, const Node *node, Expr *const *index, Expr *j,
                        Expr **piece) {
    Builder *b = lowering->builder;
    for (int i = 0; i <= node->y->rank; i++)
        piece[i] = index[i];
    Expr *pieces = integer(b, attribute_integer(node->layer, MAXOUT_PIECES));
    piece[AXIS_CHANNEL] = plus(b, times(b, index[AXIS_CHANNEL], pieces), j);
    return tensor_load(lowering, node->x[0], piece);
}

static void maxout_lower_forward(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    Expr *index[MAX_AXES], *piece[MAX_AXES];
    Expr *pieces = integer(b, attribute_integer(node->layer, MAXOUT_PIECES));
    int opened = open_tensor(lowering, node->y, index);
    Expr *best =
        declare(b, "best", TYPE_REAL, piece_load(lowering, node, index, integer(b, 0), piece));
    Expr *j = open_range(b, LOOP_SERIAL, "j", integer(b, 1), pieces, 1);
    assign(b, best, maximum(b, best, piece_load(lowering, node, index, j, piece)));
    close_blocks(b, 1);
    lower_result(lowering, node, index, best);
    close_blocks(b, opened);
}

static void maxout_lower_data_gradient(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    Expr *index[MAX_AXES], *piece[MAX_AXES];
    Expr *pieces = integer(b, attribute_integer(node->layer, MAXOUT_PIECES));
    int opened = open_tensor(lowering, node->dy, index);
    Expr *best = declare(b, "best", TYPE_INDEX, integer(b, 0));
    Expr *j = open_range(b, LOOP_SERIAL, "j", integer(b, 1), pieces, 1);
    Expr *candidate = piece_load(lowering, node, index, j, piece);
    open_if(b, greater(b, candidate, piece_load(lowering, node, index, best, piece)));
    assign(b, best, j);
    close_blocks(b, 2);
    Expr *dy = declare(b, "gradient", TYPE_REAL, tensor_load(lowering, node->dy, index));
    j = open_range(b, LOOP_INDEPENDENT, "j", integer(b, 0), pieces, 1);
    piece_load(lowering, node, index, j, piece);
    lower_result(lowering, node, piece, choose(b, equal(b, j, best), dy, number(b, 0)));
    close_blocks(b, opened + 1);
}

const OpDef op_maxout = {.name = "MAXOUT",
                         .summary = "maximum over groups of k consecutive channels",
                         .flags = OP_GRADIENT_READS_INPUT,
                         .attributes = maxout_attributes,
                         .attribute_count = MAXOUT_ATTRIBUTES,
                         .infer = maxout_infer,
                         .lower_forward = maxout_lower_forward,
                         .lower_data_gradient = maxout_lower_data_gradient,
                         .samples = maxout_samples};
