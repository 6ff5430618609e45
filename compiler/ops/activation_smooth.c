/* Activations from exponentials, differentiated by their output where that loses no precision. */
#include "activation.h"

/* ---- SIGMOID: s' = s(1 - s) ---- */

static Expr *sigmoid_y(Builder *b, const Layer *layer, Expr *x) {
    (void)layer;
    return sigmoid_of(b, x);
}

static Expr *sigmoid_dx(Builder *b, const Layer *layer, Expr *y, Expr *dy) {
    (void)layer;
    return times(b, dy, times(b, y, minus(b, number(b, 1), y)));
}

ACTIVATION(sigmoid, OP_GRADIENT_READS_OUTPUT, .name = "SIGMOID",
           .summary = "logistic function: 1/(1 + exp(-x))", .samples = SAMPLES_OF("SIGMOID"));

/* ---- TANH: t' = 1 - t^2 ---- */

static Expr *tanh_y(Builder *b, const Layer *layer, Expr *x) {
    (void)layer;
    return unary(b, UNARY_TANH, x);
}

static Expr *tanh_dx(Builder *b, const Layer *layer, Expr *y, Expr *dy) {
    (void)layer;
    return times(b, dy, minus(b, number(b, 1), times(b, y, y)));
}

ACTIVATION(tanh, OP_GRADIENT_READS_OUTPUT | OP_KEEPS_ZERO, .name = "TANH",
           .summary = "hyperbolic tangent", .samples = SAMPLES_OF("TANH"));

/* ---- ELU: x, or alpha(exp(x) - 1) where x < 0 (Clevert et al. 2016, eq. 15); there y' = y +
 * alpha. SELU is the same times lambda, with constants that keep mean 0 and variance 1 (Klambauer
 * et al. 2017, eq. 14) ---- */

#define SELU_ALPHA 1.6732632423543772848
#define SELU_LAMBDA 1.0507009873554804934

static Expr *exponential_unit(Builder *b, double lambda, double alpha, Expr *x) {
    x = named_value(b, "t", x);
    Expr *decay = minus(b, unary(b, UNARY_EXP, x), number(b, 1));
    return choose(b, greater(b, x, number(b, 0)), times(b, number(b, lambda), x),
                  times(b, number(b, lambda * alpha), decay));
}

static Expr *exponential_unit_gradient(Builder *b, double lambda, double alpha, Expr *y, Expr *dy) {
    return choose(b, greater(b, y, number(b, 0)), times(b, number(b, lambda), dy),
                  times(b, plus(b, y, number(b, lambda * alpha)), dy));
}

enum { ELU_ALPHA, ELU_ATTRIBUTES };

static const AttributeDef elu_attributes[ELU_ATTRIBUTES] = {
    {"alpha", ATTRIBUTE_NUMBER, "1", 0, 1000, NULL, "minus the limit for negative inputs"}};

static Expr *elu_y(Builder *b, const Layer *layer, Expr *x) {
    return exponential_unit(b, 1, attribute_number(layer, ELU_ALPHA), x);
}

static Expr *elu_dx(Builder *b, const Layer *layer, Expr *y, Expr *dy) {
    return exponential_unit_gradient(b, 1, attribute_number(layer, ELU_ALPHA), y, dy);
}

ACTIVATION(elu, OP_GRADIENT_READS_OUTPUT, .name = "ELU",
           .summary = "exponential linear unit: x, or alpha*(exp(x) - 1) where x is negative",
           .attributes = elu_attributes, .attribute_count = ELU_ATTRIBUTES,
           .samples = SAMPLES_OF("ELU - FC(4) - ELU(0.7)"));

static Expr *selu_y(Builder *b, const Layer *layer, Expr *x) {
    (void)layer;
    return exponential_unit(b, SELU_LAMBDA, SELU_ALPHA, x);
}

static Expr *selu_dx(Builder *b, const Layer *layer, Expr *y, Expr *dy) {
    (void)layer;
    return exponential_unit_gradient(b, SELU_LAMBDA, SELU_ALPHA, y, dy);
}

ACTIVATION(selu, OP_GRADIENT_READS_OUTPUT, .name = "SELU",
           .summary = "ELU scaled so that activations keep mean 0 and variance 1",
           .samples = SAMPLES_OF("SELU"));

/* ---- GELU: x*P(x), P the normal distribution function, exactly (Hendrycks and Gimpel 2016) ----
 */

#define SQRT_HALF 0.70710678118654752440
#define INVERSE_SQRT_2PI 0.39894228040143267794

static Expr *normal_distribution(Builder *b, Expr *x) {
    Expr *erf = unary(b, UNARY_ERF, times(b, x, number(b, SQRT_HALF)));
    return times(b, number(b, 0.5), plus(b, number(b, 1), erf));
}

static Expr *gelu_y(Builder *b, const Layer *layer, Expr *x) {
    (void)layer;
    x = named_value(b, "t", x);
    return times(b, x, normal_distribution(b, x));
}

/* P(x) + x*p(x), p the normal density. */
static Expr *gelu_dx(Builder *b, const Layer *layer, Expr *x, Expr *dy) {
    (void)layer;
    x = named_value(b, "t", x);
    Expr *exponent = times(b, number(b, -0.5), times(b, x, x));
    Expr *density = times(b, number(b, INVERSE_SQRT_2PI), unary(b, UNARY_EXP, exponent));
    return times(b, dy, plus(b, normal_distribution(b, x), times(b, x, density)));
}

ACTIVATION(gelu, OP_GRADIENT_READS_INPUT | OP_KEEPS_ZERO, .name = "GELU",
           .summary = "x times the normal distribution function of x (the exact form, with erf)",
           .samples = SAMPLES_OF("GELU"));

/* ---- SILU: x*s(x) with the sigmoid s (Elfwing et al. 2018, eq. 6); the derivative is eq. 7 ----
 */

static Expr *silu_y(Builder *b, const Layer *layer, Expr *x) {
    (void)layer;
    x = named_value(b, "t", x);
    return times(b, x, sigmoid_of(b, x));
}

static Expr *silu_dx(Builder *b, const Layer *layer, Expr *x, Expr *dy) {
    (void)layer;
    x = named_value(b, "t", x);
    Expr *s = declare(b, "s", x->type, sigmoid_of(b, x));
    Expr *rest = plus(b, number(b, 1), times(b, x, minus(b, number(b, 1), s)));
    return times(b, dy, times(b, s, rest));
}

ACTIVATION(silu, OP_GRADIENT_READS_INPUT | OP_KEEPS_ZERO, .name = "SILU", .aliases = "SWISH",
           .summary = "x*SIGMOID(x)", .samples = SAMPLES_OF("SILU"));

/* ---- SOFTPLUS: log(1 + exp(x)), written as max(0, x) + log(1 + exp(-|x|)), which cannot overflow.
 * Its derivative is the sigmoid of the input; from the output, 1 - exp(-y) would cancel ---- */

static Expr *softplus_y(Builder *b, const Layer *layer, Expr *x) {
    (void)layer;
    x = named_value(b, "t", x);
    Expr *tail = unary(b, UNARY_EXP, negated(b, unary(b, UNARY_ABSOLUTE, x)));
    return plus(b, maximum(b, number(b, 0), x), unary(b, UNARY_LOG1P, tail));
}

static Expr *softplus_dx(Builder *b, const Layer *layer, Expr *x, Expr *dy) {
    (void)layer;
    return times(b, dy, sigmoid_of(b, x));
}

ACTIVATION(softplus, OP_GRADIENT_READS_INPUT, .name = "SOFTPLUS",
           .summary = "smooth rectifier: log(1 + exp(x))", .samples = SAMPLES_OF("SOFTPLUS"));
