/* DWCONV: depthwise convolution, each channel with filters of its own (A. Howard et al.,
 * MobileNets, 2017, section 3.1): a convolution with as many groups as channels. Output channel
 * c*multiplier + m comes from input channel c. */
#include "convolution.h"

enum {
    DWCONV_KERNEL,
    DWCONV_MULTIPLIER,
    DWCONV_STRIDE,
    DWCONV_PAD,
    DWCONV_DILATION,
    DWCONV_BIAS,
    DWCONV_ROUND,
    DWCONV_INIT,
    DWCONV_BIAS_INIT,
    DWCONV_ATTRIBUTES
};

static const AttributeDef dwconv_attributes[DWCONV_ATTRIBUTES] = {
    {"kernel", ATTRIBUTE_EXTENTS, NULL, 1, WINDOW_EXTENT_MAX, NULL, "extents of a filter"},
    {"multiplier", ATTRIBUTE_INTEGER, "1", 1, COUNT_MAX, NULL, "filters for each input channel"},
    {"stride", ATTRIBUTE_EXTENTS, "1", 1, WINDOW_EXTENT_MAX, NULL, "step between windows"},
    {"pad", ATTRIBUTE_PADDING, "0", 0, WINDOW_EXTENT_MAX, NULL,
     "zeros on each side; same: as many as keep extents divided by the stride"},
    {"dilation", ATTRIBUTE_EXTENTS, "1", 1, WINDOW_EXTENT_MAX, NULL, "step between taps"},
    {"bias", ATTRIBUTE_BOOLEAN, "true", 0, 0, NULL, "a number added to each output channel"},
    {"round", ATTRIBUTE_CHOICE, "exact", 0, 0, ROUNDING_CHOICES,
     "what a remainder of the division by the stride does; exact: an error"},
    {"init", ATTRIBUTE_INITIALISER, "he", 0, 0, NULL, "initial weights"},
    {"bias_init", ATTRIBUTE_INITIALISER, "0", 0, 0, NULL, "initial bias"},
};

static const WindowAttributes dwconv_window = {.kernel = DWCONV_KERNEL,
                                               .stride = DWCONV_STRIDE,
                                               .pad = DWCONV_PAD,
                                               .dilation = DWCONV_DILATION,
                                               .round = DWCONV_ROUND,
                                               .causal = -1};

static int64_t channels_of(const Layer *layer) {
    return layer->inputs[0]->output.extent[0];
}

static bool dwconv_infer(Inference *inference, Layer *layer, Shape *output) {
    if (!window_resolve(inference, layer, &dwconv_window)) {
        return false;
    }
    int64_t filters = count_times(&inference->counter, channels_of(layer),
                                  attribute_integer(layer, DWCONV_MULTIPLIER));
    *output = window_shape(&layer->window, filters);
    return true;
}

static int dwconv_parameters(Counter *counter, const Layer *layer, ParameterSpec *specs) {
    int count = convolution_parameters(counter, layer, layer->output.extent[0], 1,
                                       attribute_boolean(layer, DWCONV_BIAS), specs);
    /* Each input reaches the filters of its own channel only. */
    specs[0].fan_out = count_times(counter, attribute_integer(layer, DWCONV_MULTIPLIER),
                                   window_taps(counter, &layer->window));
    specs[0].initialiser = attribute_initialiser(layer, DWCONV_INIT);
    specs[1].initialiser = attribute_initialiser(layer, DWCONV_BIAS_INIT);
    return count;
}

static void dwconv_cost(Counter *counter, const Layer *layer, Cost *cost) {
    cost->macs = count_times(counter, shape_elements(counter, &layer->output),
                             window_taps(counter, &layer->window));
    cost->flops = count_times(counter, 2, cost->macs);
}

static const char *const dwconv_samples[] = {
    "input 2x5x6 net = CONV(3, 2x2) - DWCONV(3x3, pad=1) - FC(3)",
    "input 3x6x7 net = CONV(3, 1x1) - DWCONV(3x3, multiplier=2, stride=2, round=floor) - FC(3)",
    "input 2x6x7 net = CONV(32, 2x2) - DWCONV(3x3, pad=1) - RELU - DWCONV(3x3, stride=2, pad=1, "
    "round=floor) - FC(3)",
    "input 3x9 net = CONV(2, 2) - DWCONV(3, dilation=2, bias=false) - FC(3)", NULL};

const OpDef op_dwconv = {.name = "DWCONV",
                         .summary = "depthwise convolution, each channel with its own filters",
                         .flags = OP_CONVOLUTION | OP_KEEPS_ZERO,
                         .attributes = dwconv_attributes,
                         .attribute_count = DWCONV_ATTRIBUTES,
                         .infer = dwconv_infer,
                         .parameters = dwconv_parameters,
                         .cost = dwconv_cost,
                         .lower_forward = convolution_forward,
                         .tile_numbers = convolution_tile_numbers,
                         .lower_parameter_gradient = convolution_parameter_gradient,
                         .lower_data_gradient = convolution_data_gradient,
                         .samples = dwconv_samples};
