#include "convolution.h"

/* Dimensions of the contractions; -1: left out because its extent is 1. */
typedef struct Dimensions {
    int n, group, filter, channel, position[3], tap[3];
} Dimensions;

/* What the three contractions share. */
typedef struct Convolution {
    Contraction contraction;
    const Window *window;
    int64_t groups, filters, channels; /* the last two in each group */
    Dimensions at;
} Convolution;

static int add_dimension(Contraction *contraction, const char *letter, int64_t extent,
                         bool reduce) {
    contraction->dims[contraction->dim_count] = (ContractionDim){letter, extent, reduce};
    return contraction->dim_count++;
}

/* Groups, taps and what lies inside a group are left out where there is only one. */
static int add_unless_single(Contraction *contraction, const char *letter, int64_t extent,
                             bool reduce) {
    return extent == 1 ? -1 : add_dimension(contraction, letter, extent, reduce);
}

static const char *letter_of(const Window *window, int axis, char kind) {
    static const char *const outputs[] = {"od", "oh", "ow"}, *const inputs[] = {"id", "ih", "iw"},
                             *const taps[] = {"kd", "kh", "kw"};
    if (window->rank == 1) {
        return kind == 'o' ? "ol" : kind == 'i' ? "il" : "kl";
    }
    const char *const *letters = kind == 'o' ? outputs : kind == 'i' ? inputs : taps;
    return letters[3 - window->rank + axis];
}

static Convolution convolution_of(const Node *node, int64_t groups) {
    Convolution c = {.contraction = {.node = node},
                     .window = &node->layer->window,
                     .groups = groups,
                     .filters = node->y->extent[0] / groups,
                     .channels = node->x[0]->extent[0] / groups};
    return c;
}

static void add_positions(Convolution *c, bool reduce) {
    for (int i = 0; i < c->window->rank; i++) {
        c->at.position[i] = add_dimension(&c->contraction, letter_of(c->window, i, 'o'),
                                          c->window->output[i], reduce);
    }
}

static void add_taps(Convolution *c, bool reduce) {
    for (int i = 0; i < c->window->rank; i++) {
        c->at.tap[i] = add_unless_single(&c->contraction, letter_of(c->window, i, 'k'),
                                         c->window->kernel[i], reduce);
    }
}

static void add_group(Convolution *c) {
    c->at.group = add_unless_single(&c->contraction, "g", c->groups, false);
}

/* Where a group has one filter (or channel), the group stands for it. */
static void add_filter(Convolution *c, bool reduce) {
    c->at.filter = c->groups > 1 ? add_unless_single(&c->contraction, "oc", c->filters, reduce)
                                 : add_dimension(&c->contraction, "oc", c->filters, reduce);
}

static void add_channel(Convolution *c, bool reduce) {
    c->at.channel = c->groups > 1 ? add_unless_single(&c->contraction, "ic", c->channels, reduce)
                                  : add_dimension(&c->contraction, "ic", c->channels, reduce);
}

static void set(AxisMap *map, int dimension, int64_t coefficient) {
    if (dimension >= 0) {
        map->coefficient[dimension] = coefficient;
    }
}

static Operand example_operand(const Convolution *c, Tensor *tensor) {
    Operand operand = {.tensor = tensor};
    set(&operand.axis[AXIS_BATCH], c->at.n, 1);
    return operand;
}

/* x or dx, read or written at input positions that the caller maps. */
static Operand input_operand(const Convolution *c, Tensor *tensor) {
    Operand operand = example_operand(c, tensor);
    set(&operand.axis[AXIS_CHANNEL], c->at.group, c->channels);
    set(&operand.axis[AXIS_CHANNEL], c->at.channel, 1);
    return operand;
}

/* x under the taps of the windows: o*S + k*D - P. */
static Operand windowed_input(const Convolution *c, Tensor *tensor) {
    Operand operand = input_operand(c, tensor);
    for (int i = 0; i < c->window->rank; i++) {
        AxisMap *map = &operand.axis[AXIS_SPACE + i];
        set(map, c->at.position[i], c->window->stride[i]);
        set(map, c->at.tap[i], c->window->dilation[i]);
        map->constant = -c->window->pad_begin[i];
    }
    return operand;
}

/* y or dy; its positions are dimensions of the contraction unless the caller maps them. */
static Operand output_operand(const Convolution *c, Tensor *tensor) {
    Operand operand = example_operand(c, tensor);
    set(&operand.axis[AXIS_CHANNEL], c->at.group, c->filters);
    set(&operand.axis[AXIS_CHANNEL], c->at.filter, 1);
    return operand;
}

static void map_positions(const Convolution *c, Operand *operand) {
    for (int i = 0; i < c->window->rank; i++) {
        set(&operand->axis[AXIS_SPACE + i], c->at.position[i], 1);
    }
}

static Operand weight_operand(const Convolution *c, Tensor *tensor) {
    Operand operand = {.tensor = tensor};
    set(&operand.axis[0], c->at.group, c->filters);
    set(&operand.axis[0], c->at.filter, 1);
    set(&operand.axis[1], c->at.channel, 1);
    for (int i = 0; i < c->window->rank; i++) {
        set(&operand.axis[2 + i], c->at.tap[i], 1);
    }
    return operand;
}

void convolution_forward(Lowering *lowering, const Node *node, int64_t groups) {
    Convolution c = convolution_of(node, groups);
    c.at.n = add_dimension(&c.contraction, "n", 0, false);
    add_group(&c);
    add_filter(&c, false);
    add_positions(&c, false);
    add_channel(&c, true);
    add_taps(&c, true);
    c.contraction.a = windowed_input(&c, node->x[0]);
    c.contraction.b = weight_operand(&c, node->parameters[0]);
    c.contraction.result = output_operand(&c, node->y);
    map_positions(&c, &c.contraction.result);
    c.contraction.bias = node->parameters[1];
    c.contraction.to_result = true;
    lower_contraction(lowering, &c.contraction);
}

void convolution_parameter_gradient(Lowering *lowering, const Node *node, int64_t groups) {
    Convolution c = convolution_of(node, groups);
    add_group(&c);
    add_filter(&c, false);
    add_channel(&c, false);
    add_taps(&c, false);
    c.at.n = add_dimension(&c.contraction, "n", 0, true);
    add_positions(&c, true);
    c.contraction.a = output_operand(&c, node->dy);
    map_positions(&c, &c.contraction.a);
    c.contraction.b = windowed_input(&c, node->x[0]);
    c.contraction.result = weight_operand(&c, node->parameter_gradients[0]);
    c.contraction.connections = node->connections;
    lower_contraction(lowering, &c.contraction);
    if (node->parameter_gradients[1]) {
        lower_bias_gradient(lowering, node, node->parameter_gradients[1]);
    }
}

void convolution_data_gradient(Lowering *lowering, const Node *node, int64_t groups) {
    Convolution c = convolution_of(node, groups);
    c.at.n = add_dimension(&c.contraction, "n", 0, false);
    add_group(&c);
    add_channel(&c, false);
    for (int i = 0; i < c.window->rank; i++) {
        c.at.position[i] =
            add_dimension(&c.contraction, letter_of(c.window, i, 'i'), c.window->input[i], false);
    }
    add_filter(&c, true);
    add_taps(&c, true);
    c.contraction.a = output_operand(&c, node->dy);
    for (int i = 0; i < c.window->rank; i++) {
        AxisMap *map = &c.contraction.a.axis[AXIS_SPACE + i];
        set(map, c.at.position[i], 1);
        set(map, c.at.tap[i], -c.window->dilation[i]);
        map->constant = c.window->pad_begin[i];
        map->divisor = c.window->stride[i];
    }
    c.contraction.b = weight_operand(&c, node->parameters[0]);
    c.contraction.result = input_operand(&c, node->dx);
    map_positions(&c, &c.contraction.result);
    c.contraction.to_result = true;
    lower_contraction(lowering, &c.contraction);
}

int convolution_parameters(Counter *counter, const Layer *layer, int64_t filters, int64_t inputs,
                           bool bias, ParameterSpec *specs) {
    const Window *window = &layer->window;
    ParameterSpec *weight = &specs[0];
    *weight = (ParameterSpec){.name = "weight", .role = PARAMETER_WEIGHT};
    weight->dims.rank = 2 + window->rank;
    weight->dims.extent[0] = filters;
    weight->dims.extent[1] = inputs;
    for (int axis = 0; axis < window->rank; axis++) {
        weight->dims.extent[2 + axis] = window->kernel[axis];
    }
    weight->fan_in = count_times(counter, inputs, window_taps(counter, window));
    weight->count = count_times(counter, filters, weight->fan_in);
    weight->fan_out = count_times(counter, filters, window_taps(counter, window));
    if (bias) {
        specs[1] = (ParameterSpec){.name = "bias",
                                   .role = PARAMETER_BIAS,
                                   .dims = {1, {filters}},
                                   .count = filters,
                                   .fan_in = weight->fan_in,
                                   .fan_out = weight->fan_out};
    }
    return bias ? 2 : 1;
}

void lower_bias_gradient(Lowering *lowering, const Node *node, Tensor *bias_gradient) {
    static const char *const letters[4][3] = {{""}, {"ol"}, {"oh", "ow"}, {"od", "oh", "ow"}};
    Builder *b = lowering->builder;
    const Tensor *dy = node->dy;
    Expr *index[MAX_AXES];
    index[AXIS_CHANNEL] = open_loop(b, LOOP_INDEPENDENT, "oc", dy->extent[0]);
    Expr *sum = declare(b, "sum", lower_sum_type(lowering), number(b, 0));
    index[AXIS_BATCH] = open_batch(b, LOOP_REDUCTION);
    for (int axis = 1; axis < dy->rank; axis++) {
        index[AXIS_CHANNEL + axis] =
            open_loop(b, LOOP_REDUCTION, letters[dy->rank - 1][axis - 1], dy->extent[axis]);
    }
    local_add(b, sum, tensor_load(lowering, node->dy, index));
    close_blocks(b, dy->rank);
    tensor_store(lowering, bias_gradient, &index[AXIS_CHANNEL], sum);
    close_blocks(b, 1);
}
