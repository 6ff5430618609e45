/* Activations made of straight pieces, differentiated by their output where it tells the piece. At
 * a kink the gradient is that of the flat piece. The constant stands first in maximum and minimum:
 * a NaN then passes through instead of vanishing. */
#include "activation.h"

/* The gradient passes where `inside`, else it is 0. */
static Expr *pass_where(Builder *b, Expr *inside, Expr *dy) {
    return choose(b, inside, dy, number(b, 0));
}

/* ---- RELU: max(0, x) ---- */

static Expr *relu_y(Builder *b, const Layer *layer, Expr *x) {
    (void)layer;
    return maximum(b, number(b, 0), x);
}

static Expr *relu_dx(Builder *b, const Layer *layer, Expr *y, Expr *dy) {
    (void)layer;
    return pass_where(b, greater(b, y, number(b, 0)), dy);
}

ACTIVATION(relu, OP_GRADIENT_READS_OUTPUT | OP_POSITIVE_PART | OP_KEEPS_ZERO, .name = "RELU",
           .summary = "rectifier: max(0, x)", .samples = SAMPLES_OF("RELU"));

/* ---- RELU6: min(max(0, x), 6) ---- */

static Expr *between(Builder *b, double low, double high, Expr *x) {
    return minimum(b, number(b, high), maximum(b, number(b, low), x));
}

static Expr *pass_between(Builder *b, double low, double high, Expr *y, Expr *dy) {
    Expr *inside = both(b, greater(b, y, number(b, low)), less(b, y, number(b, high)));
    return pass_where(b, inside, dy);
}

static Expr *relu6_y(Builder *b, const Layer *layer, Expr *x) {
    (void)layer;
    return between(b, 0, 6, x);
}

static Expr *relu6_dx(Builder *b, const Layer *layer, Expr *y, Expr *dy) {
    (void)layer;
    return pass_between(b, 0, 6, y, dy);
}

ACTIVATION(relu6, OP_GRADIENT_READS_OUTPUT | OP_KEEPS_ZERO, .name = "RELU6",
           .summary = "rectifier with a ceiling: min(max(0, x), 6)",
           .samples = SAMPLES_OF("RELU6"));

/* ---- CLIP: min(max(lo, x), hi) ---- */

enum { CLIP_LOW, CLIP_HIGH, CLIP_ATTRIBUTES };

static const AttributeDef clip_attributes[CLIP_ATTRIBUTES] = {
    {"lo", ATTRIBUTE_NUMBER, NULL, 0, 0, NULL, "smallest value"},
    {"hi", ATTRIBUTE_NUMBER, NULL, 0, 0, NULL, "largest value"}};

static bool clip_infer(Inference *inference, Layer *layer, Shape *output) {
    double low = attribute_number(layer, CLIP_LOW), high = attribute_number(layer, CLIP_HIGH);
    if (!(low < high)) {
        diagnostic_hint(infer_error(inference, layer, CLIP_HIGH,
                                    "hi = %g is not above lo = %g: the output would be constant",
                                    high, low),
                        "the smaller bound comes first: CLIP(lo, hi)");
        return false;
    }
    return infer_like_input(inference, layer, output);
}

static Expr *clip_value(Lowering *lowering, const Node *node, Expr *const *x, Expr *const *index) {
    (void)index;
    const Layer *layer = node->layer;
    return between(lowering->builder, attribute_number(layer, CLIP_LOW),
                   attribute_number(layer, CLIP_HIGH), x[0]);
}

static Expr *clip_derivative(Lowering *lowering, const Node *node, int input, Expr *const *x,
                             Expr *y, Expr *dy, Expr *const *index) {
    (void)input;
    (void)x;
    (void)index;
    const Layer *layer = node->layer;
    return pass_between(lowering->builder, attribute_number(layer, CLIP_LOW),
                        attribute_number(layer, CLIP_HIGH), y, dy);
}

const OpDef op_clip = {.name = "CLIP",
                       .summary = "limits to a range: min(max(lo, x), hi)",
                       .flags = OP_GRADIENT_READS_OUTPUT,
                       .attributes = clip_attributes,
                       .attribute_count = CLIP_ATTRIBUTES,
                       .infer = clip_infer,
                       .cost = cost_one_per_output,
                       .value = clip_value,
                       .derivative = clip_derivative,
                       .samples = SAMPLES_OF("CLIP(-0.4, hi=0.7)")};

/* ---- LEAKY: x, or slope*x where x < 0 (Maas et al. 2013); the slope is not negative, so that the
 * output keeps the sign of the input ---- */

enum { LEAKY_SLOPE, LEAKY_ATTRIBUTES };

static const AttributeDef leaky_attributes[LEAKY_ATTRIBUTES] = {
    {"slope", ATTRIBUTE_NUMBER, "0.01", 0, 1000, NULL, "factor of negative inputs"}};

static Expr *leaky_y(Builder *b, const Layer *layer, Expr *x) {
    Expr *scaled = times(b, number(b, attribute_number(layer, LEAKY_SLOPE)), x);
    return choose(b, greater(b, x, number(b, 0)), x, scaled);
}

static Expr *leaky_dx(Builder *b, const Layer *layer, Expr *y, Expr *dy) {
    Expr *scaled = times(b, number(b, attribute_number(layer, LEAKY_SLOPE)), dy);
    return choose(b, greater(b, y, number(b, 0)), dy, scaled);
}

ACTIVATION(leaky, OP_GRADIENT_READS_OUTPUT | OP_KEEPS_ZERO, .name = "LEAKY", .aliases = "LEAKYRELU",
           .summary = "leaky rectifier: x, or slope*x where x is negative",
           .attributes = leaky_attributes, .attribute_count = LEAKY_ATTRIBUTES,
           .samples = SAMPLES_OF("LEAKY - FC(4) - LEAKY(0.2)"));

/* ---- HARDSIGMOID: min(max(0, x + 3), 6)/6 (Howard et al. 2019, section 5.2) ---- */

static Expr *hardsigmoid_y(Builder *b, const Layer *layer, Expr *x) {
    (void)layer;
    Expr *shifted = between(b, 0, 6, plus(b, x, number(b, 3)));
    return over(b, shifted, number(b, 6));
}

static Expr *hardsigmoid_dx(Builder *b, const Layer *layer, Expr *y, Expr *dy) {
    (void)layer;
    return pass_between(b, 0, 1, y, over(b, dy, number(b, 6)));
}

ACTIVATION(hardsigmoid, OP_GRADIENT_READS_OUTPUT, .name = "HARDSIGMOID",
           .summary = "straight pieces like the sigmoid: min(max(0, x + 3), 6)/6",
           .samples = SAMPLES_OF("HARDSIGMOID"));

/* ---- HARDSWISH: x*HARDSIGMOID(x) (Howard et al. 2019, section 5.2) ---- */

static Expr *hardswish_y(Builder *b, const Layer *layer, Expr *x) {
    x = named_value(b, "t", x);
    return times(b, x, hardsigmoid_y(b, layer, x));
}

/* 0 up to -3, 1 from 3 on, (2x + 3)/6 between. */
static Expr *hardswish_dx(Builder *b, const Layer *layer, Expr *x, Expr *dy) {
    (void)layer;
    x = named_value(b, "t", x);
    Expr *slope = plus(b, over(b, x, number(b, 3)), number(b, 0.5));
    Expr *below = choose(b, less(b, x, number(b, 3)), times(b, slope, dy), dy);
    return choose(b, greater(b, x, number(b, -3)), below, number(b, 0));
}

ACTIVATION(hardswish, OP_GRADIENT_READS_INPUT | OP_KEEPS_ZERO, .name = "HARDSWISH",
           .summary = "x*HARDSIGMOID(x)", .samples = SAMPLES_OF("HARDSWISH"));
