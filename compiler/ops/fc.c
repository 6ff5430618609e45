/* FC: fully connected layer on the input flattened in C, H, W order,
 *   y[n, u] = bias[u] + sum over i of x[n, i] * weight[u, i]. */
#include "convolution.h"

enum { FC_UNITS, FC_BIAS, FC_DROPCONNECT, FC_INIT, FC_BIAS_INIT, FC_ATTRIBUTES };

static const AttributeDef fc_attributes[FC_ATTRIBUTES] = {
    {"units", ATTRIBUTE_INTEGER, NULL, 1, COUNT_MAX, NULL, "outputs"},
    {"bias", ATTRIBUTE_BOOLEAN, "true", 0, 0, NULL, "a number added to each output"},
    {"dropconnect", ATTRIBUTE_NUMBER, "0", 0, 1, NULL,
     "probability to drop a weight in training; not yet supported above 0"},
    {"init", ATTRIBUTE_INITIALISER, "he", 0, 0, NULL, "initial weights"},
    {"bias_init", ATTRIBUTE_INITIALISER, "0", 0, 0, NULL, "initial bias"},
};

static bool fc_infer(Inference *inference, Layer *layer, Shape *output) {
    if (attribute_number(layer, FC_DROPCONNECT) > 0) {
        infer_error(inference, layer, FC_DROPCONNECT,
                    "%s: dropconnect is not yet supported by this version of cnnc", layer->name);
        return false;
    }
    *output = (Shape){1, {attribute_integer(layer, FC_UNITS)}};
    return true;
}

static int fc_parameters(Counter *counter, const Layer *layer, ParameterSpec *specs) {
    int64_t units = layer->output.extent[0], inputs = layer->inputs[0]->elements;
    specs[0] = (ParameterSpec){.name = "weight",
                               .role = PARAMETER_WEIGHT,
                               .dims = {2, {units, inputs}},
                               .count = count_times(counter, units, inputs),
                               .initialiser = attribute_initialiser(layer, FC_INIT),
                               .fan_in = inputs,
                               .fan_out = units};
    specs[1] = (ParameterSpec){.name = "bias",
                               .role = PARAMETER_BIAS,
                               .dims = {1, {units}},
                               .count = units,
                               .initialiser = attribute_initialiser(layer, FC_BIAS_INIT),
                               .fan_in = inputs,
                               .fan_out = units};
    return attribute_boolean(layer, FC_BIAS) ? 2 : 1;
}

static void fc_cost(Counter *counter, const Layer *layer, Cost *cost) {
    cost->macs = count_times(counter, layer->output.extent[0], layer->inputs[0]->elements);
    cost->flops = count_times(counter, 2, cost->macs);
}

/* The input as the vector that the layer sees. */
static Tensor *flat_view(Lowering *lowering, Tensor *x) {
    if (x->rank == 1) {
        return x;
    }
    Tensor *view = ARENA_NEW(lowering->arena, Tensor);
    *view = *x;
    view->view_of = x;
    view->rank = 1;
    view->extent[0] = x->elements;
    return view;
}

/* An operand whose axes are the given dimensions, in order. */
static Operand plain_operand(Tensor *tensor, int first, int second) {
    Operand operand = {.tensor = tensor};
    operand.axis[0].coefficient[first] = 1;
    operand.axis[1].coefficient[second] = 1;
    return operand;
}

static void fc_forward(Lowering *lowering, const Node *node) {
    enum { N, UNIT, INPUT };
    Tensor *x = flat_view(lowering, node->x[0]);
    Contraction contraction = {
        .node = node,
        .dim_count = 3,
        .dims = {{"n", 0, false}, {"oc", node->y->extent[0], false}, {"ic", x->extent[0], true}},
        .a = plain_operand(x, N, INPUT),
        .b = plain_operand(node->parameters[0], UNIT, INPUT),
        .result = plain_operand(node->y, N, UNIT),
        .bias = node->parameters[1],
        .to_result = true};
    lower_contraction(lowering, &contraction);
}

static void fc_parameter_gradient(Lowering *lowering, const Node *node) {
    enum { UNIT, INPUT, N };
    Tensor *x = flat_view(lowering, node->x[0]);
    Contraction contraction = {
        .node = node,
        .dim_count = 3,
        .dims = {{"oc", node->dy->extent[0], false}, {"ic", x->extent[0], false}, {"n", 0, true}},
        .a = plain_operand(node->dy, N, UNIT),
        .b = plain_operand(x, N, INPUT),
        .result = plain_operand(node->step ? node->parameters[0] : node->parameter_gradients[0],
                                UNIT, INPUT),
        .step_numbers = lower_step_numbers(lowering, node)};
    lower_contraction(lowering, &contraction);
    if (node->parameter_gradients[1]) {
        lower_bias_gradient(lowering, node, node->parameter_gradients[1]);
    }
}

/* dx seen as the vector that the layer reads: vectors of it do not end with each row. */
static void flat_data_gradient(Lowering *lowering, const Node *node) {
    enum { N, INPUT, UNIT };
    Tensor *dx = flat_view(lowering, node->dx);
    Contraction contraction = {
        .node = node,
        .dim_count = 3,
        .dims = {{"n", 0, false}, {"ic", dx->extent[0], false}, {"oc", node->dy->extent[0], true}},
        .a = plain_operand(node->dy, N, UNIT),
        .b = plain_operand(node->parameters[0], UNIT, INPUT),
        .result = plain_operand(dx, N, INPUT),
        .accumulate = node->accumulate};
    lower_contraction(lowering, &contraction);
}

/* Whether what is fused behind depends on the place of an element in the tensor only through its
 * number: a parameter or an input of one number per channel would need the axes. */
static bool followers_are_flat(const Group *group) {
    for (int i = 1; i < group->count; i++) {
        const Node *node = group->nodes[i];
        if (node->parameters[0] != NULL)
            return false;
        for (int k = 0; k < node->input_count; k++)
            if (!tensor_same_extents(node->x[k], node->y))
                return false;
    }
    return true;
}

/* dx for followers: in C order the last axis alone runs through all elements. */
static void numbered_data_gradient(Lowering *lowering, const Node *node) {
    enum { N, INPUT, UNIT };
    Contraction contraction = {.node = node,
                               .dim_count = 3,
                               .dims = {{"n", 0, false},
                                        {"ic", node->dx->elements, false},
                                        {"oc", node->dy->extent[0], true}},
                               .a = plain_operand(node->dy, N, UNIT),
                               .b = plain_operand(node->parameters[0], UNIT, INPUT),
                               .result = {.tensor = node->dx},
                               .to_result = true};
    contraction.result.axis[AXIS_BATCH].coefficient[N] = 1;
    contraction.result.axis[node->dx->rank].coefficient[INPUT] = 1;
    lower_contraction(lowering, &contraction);
}

/* The result keeps the input's own axes, for what is fused behind; they are strides in the flat
 * axis of the weight. */
static void fc_data_gradient(Lowering *lowering, const Node *node) {
    if (lowering->group->count == 1) {
        flat_data_gradient(lowering, node);
        return;
    }
    if (followers_are_flat(lowering->group)) {
        numbered_data_gradient(lowering, node);
        return;
    }
    static const char *const letters[MAX_RANK][MAX_RANK] = {
        {"ic"}, {"ic", "il"}, {"ic", "ih", "iw"}, {"ic", "id", "ih", "iw"}};
    const Tensor *dx = node->dx;
    int unit = 1 + dx->rank;
    Contraction contraction = {.node = node,
                               .dim_count = unit + 1,
                               .a = plain_operand(node->dy, 0, unit),
                               .b = {.tensor = node->parameters[0]},
                               .result = {.tensor = node->dx},
                               .to_result = true};
    contraction.dims[0] = (ContractionDim){"n", 0, false};
    contraction.dims[unit] = (ContractionDim){"oc", node->dy->extent[0], true};
    contraction.b.axis[0].coefficient[unit] = 1;
    contraction.result.axis[AXIS_BATCH].coefficient[0] = 1;
    int64_t stride = 1;
    for (int axis = dx->rank - 1; axis >= 0; axis--) {
        int dim = 1 + axis;
        contraction.dims[dim] =
            (ContractionDim){letters[dx->rank - 1][axis], dx->extent[axis], false};
        contraction.b.axis[1].coefficient[dim] = stride;
        contraction.result.axis[AXIS_CHANNEL + axis].coefficient[dim] = 1;
        stride *= dx->extent[axis];
    }
    lower_contraction(lowering, &contraction);
}

static const char *const fc_samples[] = {
    "input 5 net = FC(4) - FC(3)",
    "input 2x3x4 net = CONV(2, 2x2) - FC(5, bias=false) - FC(3, init=glorot, bias_init=0.1)",
    "input 2x7 net = CONV(3, 2) - FC(4, init=gaussian(0.3)) - FC(3, init=uniform(0.5))", NULL};

const OpDef op_fc = {.name = "FC",
                     .summary = "fully connected layer; flattens its input",
                     .flags = OP_READS_FLAT | OP_UPDATES,
                     .attributes = fc_attributes,
                     .attribute_count = FC_ATTRIBUTES,
                     .infer = fc_infer,
                     .parameters = fc_parameters,
                     .cost = fc_cost,
                     .lower_forward = fc_forward,
                     .lower_parameter_gradient = fc_parameter_gradient,
                     .lower_data_gradient = fc_data_gradient,
                     .samples = fc_samples};
