/* DROPOUT: each element is 0 with probability p, the others are divided by 1 - p, so that
 * expectations stay (inverted scaling; Srivastava et al. 2014). The identity in evaluation, and in
 * training where random layers are switched off. */
#include "common.h"

enum { DROPOUT_P, DROPOUT_ATTRIBUTES };

static const AttributeDef dropout_attributes[DROPOUT_ATTRIBUTES] = {
    {"p", ATTRIBUTE_NUMBER, "0.5", 0, 1, NULL, "probability to drop an element"}};

static const char *const dropout_samples[] = {
    "input 2x5x4 net = CONV(4,3x3) - DROPOUT(0.3) - FC(3)",
    "input 6 net = FC(8) - RELU - DROPOUT - FC(3)", NULL};

static bool dropout_infer(Inference *inference, Layer *layer, Shape *output) {
    if (!(attribute_number(layer, DROPOUT_P) < 1)) {
        diagnostic_hint(infer_error(inference, layer, DROPOUT_P,
                                    "p = 1 drops everything: nothing is left to train"),
                        "p is the probability to drop an element; 0.5 is usual");
        return false;
    }
    return infer_like_input(inference, layer, output);
}

/* The mask of the element applied to a value: x forward, dy backward. The factor is computed
 * without branches, of which C compilers make vectors. */
static Expr *masked(Lowering *lowering, const Node *node, Expr *const *index, Expr *value) {
    Builder *b = lowering->builder;
    double p = attribute_number(node->layer, DROPOUT_P);
    Expr *active = lower_random_active(lowering, node);
    Expr *dropped_below = choose(b, active, number(b, p), number(b, 0));
    Expr *scale = choose(b, active, number(b, 1 / (1 - p)), number(b, 1));
    Expr *kept = greater_equal(b, lower_random(lowering, node, index), dropped_below);
    return times(b, value, choose(b, kept, scale, number(b, 0)));
}

static Expr *dropout_value(Lowering *lowering, const Node *node, Expr *const *x,
                           Expr *const *index) {
    return masked(lowering, node, index, x[0]);
}

static Expr *dropout_derivative(Lowering *lowering, const Node *node, int input, Expr *const *x,
                                Expr *y, Expr *dy, Expr *const *index) {
    (void)input;
    (void)x;
    (void)y;
    return masked(lowering, node, index, dy);
}

const OpDef op_dropout = {.name = "DROPOUT",
                          .summary = "drops elements at random in training",
                          .flags = OP_RANDOM,
                          .attributes = dropout_attributes,
                          .attribute_count = DROPOUT_ATTRIBUTES,
                          .infer = dropout_infer,
                          .value = dropout_value,
                          .derivative = dropout_derivative,
                          .samples = dropout_samples};
