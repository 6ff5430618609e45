/* CONV: convolution (cross-correlation) with a bank of filters, in one to three dimensions; y is
 * given in convolution.h. A connection table makes each filter see only some channels (Y. LeCun et
 * al., Gradient-based learning applied to document recognition, 1998, table I). */
#include "convolution.h"

#include <stdlib.h>

enum {
    CONV_FILTERS,
    CONV_KERNEL,
    CONV_STRIDE,
    CONV_PAD,
    CONV_DILATION,
    CONV_GROUPS,
    CONV_BIAS,
    CONV_ROUND,
    CONV_INIT,
    CONV_BIAS_INIT,
    CONV_TABLE,
    CONV_CAUSAL,
    CONV_ATTRIBUTES
};

static const AttributeDef conv_attributes[CONV_ATTRIBUTES] = {
    {"filters", ATTRIBUTE_INTEGER, NULL, 1, COUNT_MAX, NULL, "output channels"},
    {"kernel", ATTRIBUTE_EXTENTS, NULL, 1, WINDOW_EXTENT_MAX, NULL, "extents of a filter"},
    {"stride", ATTRIBUTE_EXTENTS, "1", 1, WINDOW_EXTENT_MAX, NULL, "step between windows"},
    {"pad", ATTRIBUTE_PADDING, "0", 0, WINDOW_EXTENT_MAX, NULL,
     "zeros on each side; same: as many as keep extents divided by the stride"},
    {"dilation", ATTRIBUTE_EXTENTS, "1", 1, WINDOW_EXTENT_MAX, NULL, "step between taps"},
    {"groups", ATTRIBUTE_INTEGER, "1", 1, COUNT_MAX, NULL,
     "parts of the channels that do not see each other"},
    {"bias", ATTRIBUTE_BOOLEAN, "true", 0, 0, NULL, "a number added to each output channel"},
    {"round", ATTRIBUTE_CHOICE, "exact", 0, 0, ROUNDING_CHOICES,
     "what a remainder of the division by the stride does; exact: an error"},
    {"init", ATTRIBUTE_INITIALISER, "he", 0, 0, NULL, "initial weights"},
    {"bias_init", ATTRIBUTE_INITIALISER, "0", 0, 0, NULL, "initial bias"},
    {"table", ATTRIBUTE_TABLE, "", 0, 0, NULL,
     "for each filter the list of the input channels that it sees, from 0"},
    {"causal", ATTRIBUTE_BOOLEAN, "false", 0, 0, NULL,
     "pad before the first element only, so that no output depends on later input (1-D)"},
};

static const WindowAttributes conv_window = {.kernel = CONV_KERNEL,
                                             .stride = CONV_STRIDE,
                                             .pad = CONV_PAD,
                                             .dilation = CONV_DILATION,
                                             .round = CONV_ROUND,
                                             .causal = CONV_CAUSAL};

static int64_t channels_of(const Layer *layer) {
    return layer->inputs[0]->output.extent[0];
}

static int64_t greatest_common_divisor(int64_t a, int64_t b) {
    while (b != 0) {
        int64_t remainder = a % b;
        a = b;
        b = remainder;
    }
    return a;
}

static bool check_groups(Inference *inference, const Layer *layer) {
    int64_t groups = attribute_integer(layer, CONV_GROUPS);
    int64_t filters = attribute_integer(layer, CONV_FILTERS), channels = channels_of(layer);
    if (channels % groups == 0 && filters % groups == 0) {
        return true;
    }
    Diagnostic *diagnostic =
        infer_error(inference, layer, CONV_GROUPS,
                    "%s: %lld groups do not divide %lld input channels and %lld filters",
                    layer->name, (long long)groups, (long long)channels, (long long)filters);
    int64_t divisor = greatest_common_divisor(channels, filters);
    diagnostic_hint(diagnostic,
                    divisor == 1 ? "only groups=%lld divides both" : "groups must divide %lld",
                    (long long)divisor);
    return false;
}

static int compare_integers(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* One filter's list: not empty, channels that exist, none twice. */
static bool check_connections(Inference *inference, const Layer *layer, int filter,
                              const Value *list) {
    int count = list->as.list.count;
    if (count == 0) {
        infer_error(inference, layer, CONV_TABLE, "%s: the table gives filter %d no input channel",
                    layer->name, filter);
        return false;
    }
    int64_t *sorted = ARENA_ARRAY(inference->arena, int64_t, (size_t)count);
    for (int i = 0; i < count; i++) {
        sorted[i] = list->as.list.items[i].as.integer;
    }
    qsort(sorted, (size_t)count, sizeof *sorted, compare_integers);
    int64_t last = channels_of(layer) - 1;
    if (sorted[0] < 0 || sorted[count - 1] > last) {
        infer_error(inference, layer, CONV_TABLE,
                    "%s: the table gives filter %d input channel %lld, but channels are 0 to %lld",
                    layer->name, filter, (long long)(sorted[0] < 0 ? sorted[0] : sorted[count - 1]),
                    (long long)last);
        return false;
    }
    for (int i = 1; i < count; i++) {
        if (sorted[i] == sorted[i - 1]) {
            infer_error(inference, layer, CONV_TABLE,
                        "%s: the table gives filter %d input channel %lld twice", layer->name,
                        filter, (long long)sorted[i]);
            return false;
        }
    }
    return true;
}

static bool check_table(Inference *inference, const Layer *layer) {
    if (!attribute_given(layer, CONV_TABLE)) {
        return true;
    }
    const Value *table = &layer->attributes[CONV_TABLE];
    if (attribute_integer(layer, CONV_GROUPS) != 1) {
        infer_error(inference, layer, CONV_TABLE, "%s: a connection table needs groups=1",
                    layer->name);
        return false;
    }
    if (table->as.list.count != attribute_integer(layer, CONV_FILTERS)) {
        infer_error(inference, layer, CONV_TABLE, "%s: the table has %d lists for %lld filters",
                    layer->name, table->as.list.count,
                    (long long)attribute_integer(layer, CONV_FILTERS));
        return false;
    }
    for (int filter = 0; filter < table->as.list.count; filter++) {
        if (!check_connections(inference, layer, filter, &table->as.list.items[filter])) {
            return false;
        }
    }
    return true;
}

/* Pairs of a filter and an input channel that are connected. */
static int64_t connections_of(Counter *counter, const Layer *layer) {
    int64_t filters = attribute_integer(layer, CONV_FILTERS);
    if (!attribute_given(layer, CONV_TABLE)) {
        return count_times(counter, filters,
                           channels_of(layer) / attribute_integer(layer, CONV_GROUPS));
    }
    const Value *table = &layer->attributes[CONV_TABLE];
    int64_t connections = 0;
    for (int filter = 0; filter < table->as.list.count; filter++) {
        connections += table->as.list.items[filter].as.list.count;
    }
    return connections;
}

static bool conv_infer(Inference *inference, Layer *layer, Shape *output) {
    if (!window_resolve(inference, layer, &conv_window) || !check_groups(inference, layer) ||
        !check_table(inference, layer)) {
        return false;
    }
    *output = window_shape(&layer->window, attribute_integer(layer, CONV_FILTERS));
    return true;
}

static int conv_parameters(Counter *counter, const Layer *layer, ParameterSpec *specs) {
    int64_t filters = attribute_integer(layer, CONV_FILTERS);
    int64_t inputs = channels_of(layer) / attribute_integer(layer, CONV_GROUPS);
    int count = convolution_parameters(counter, layer, filters, inputs,
                                       attribute_boolean(layer, CONV_BIAS), specs);
    specs[0].initialiser = attribute_initialiser(layer, CONV_INIT);
    specs[1].initialiser = attribute_initialiser(layer, CONV_BIAS_INIT);
    if (attribute_given(layer, CONV_TABLE)) {
        /* The means over filters and over channels, rounded up. */
        int64_t connections = connections_of(counter, layer);
        int64_t taps = window_taps(counter, &layer->window);
        specs[0].count = count_times(counter, connections, taps);
        specs[0].fan_in = count_times(counter, (connections - 1) / filters + 1, taps);
        specs[0].fan_out = count_times(counter, (connections - 1) / inputs + 1, taps);
        specs[1].fan_in = specs[0].fan_in;
        specs[1].fan_out = specs[0].fan_out;
    }
    return count;
}

static void conv_cost(Counter *counter, const Layer *layer, Cost *cost) {
    int64_t weights =
        count_times(counter, connections_of(counter, layer), window_taps(counter, &layer->window));
    Shape positions = {.rank = layer->window.rank};
    for (int axis = 0; axis < positions.rank; axis++) {
        positions.extent[axis] = layer->window.output[axis];
    }
    cost->macs = count_times(counter, weights, shape_elements(counter, &positions));
    cost->flops = count_times(counter, 2, cost->macs);
}

static const char *const conv_samples[] = {
    "input 2x5x6 net = CONV(3, 3x3, pad=1) - CONV(4, 3x2) - FC(3)",
    "input 3x7x8 net = CONV(4, 3x2, stride=2x3, pad=1x0) - CONV(3, 2x1, round=floor) - FC(3)",
    "input 2x9x8 net = CONV(4, 3x3, dilation=2x1, pad=same, stride=2) - CONV(2, 1x1) - FC(3)",
    "input 4x6x5 net = CONV(6, 3x3, groups=2, bias=false) - CONV(4, 2x2, groups=2, pad=1) - FC(3)",
    "input 2x6x6 net = CONV(3, 3x3, stride=2, round=ceil) - CONV(2, 2x2, pad=2) - FC(3)",
    "input 1x5x5 net = CONV(3, 2x2) - CONV(4, 3x3, table=[[0,1],[1,2],[0,2],[0,1,2]]) - FC(3)",
    "input 3x11 net = CONV(4, 3, dilation=2, causal=true) - CONV(2, 4, stride=3, round=floor) - "
    "FC(3)",
    "input 2x4x5x6 net = CONV(3, 2x3x3, pad=1) - CONV(2, 3, stride=1x1x2, round=floor) - FC(3)",
    "input 3x7x6 net = CONV(32, 3x3, pad=1) - RELU - CONV(16, 3x3, stride=2, pad=1, round=floor) - "
    "FC(3)",
    "input 2x7x29 net = CONV(3, 3x3, pad=1) - RELU - ADD{CONV(3, 1x1), CONV(3, 1x3, pad=0x1)} - "
    "FC(3)",
    "input 2x6x7 net = CONV(32, 1x1) - CONV(32, 3x3, groups=2, pad=1) - CONV(16, 3x3, dilation=2, "
    "pad=2) - FC(3)",
    "input 3x6x5 net = CONV(16, 2x2) - CONV(24, 1x1, stride=2, round=floor) - CONV(16, 2x2) - "
    "FC(3)",
    NULL};

const OpDef op_conv = {.name = "CONV",
                       .summary = "convolution with learned filters",
                       .flags = OP_CONVOLUTION | OP_KEEPS_ZERO,
                       .attributes = conv_attributes,
                       .attribute_count = CONV_ATTRIBUTES,
                       .infer = conv_infer,
                       .parameters = conv_parameters,
                       .cost = conv_cost,
                       .lower_forward = convolution_forward,
                       .tile_numbers = convolution_tile_numbers,
                       .lower_parameter_gradient = convolution_parameter_gradient,
                       .lower_data_gradient = convolution_data_gradient,
                       .samples = conv_samples};
