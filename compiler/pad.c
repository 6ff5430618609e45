#include "pad.h"
#include "layout.h"

#include <string.h>

/* Vectors have to be so full: emptier ones cost more than the loops for odd channels. */
#define LEAST_FILLED 0.7

typedef struct Padding {
    Graph *graph;
    int64_t vector_length;
    bool *padded; /* by index of the layer: the channels of what it makes */
} Padding;

static int64_t whole_vectors(const Padding *padding, int64_t channels) {
    int64_t length = padding->vector_length;
    return (channels + length - 1) / length * length;
}

static bool is_convolution(const Layer *layer) {
    return (layer->op->flags & OP_CONVOLUTION) != 0;
}

/* A filter of one channel for each channel: what it makes has the channels of what it reads. */
static bool is_depthwise(const Padding *padding, const Layer *layer) {
    const Tensor *weight = padding->graph->layer_tensors[layer->index].parameters[0];
    int64_t channels = layer->inputs[0]->output.extent[0];
    return weight->extent[1] == 1 && channels > 1 && weight->extent[0] == channels &&
           layer->output.extent[0] == channels;
}

/* A convolution whose filters read all channels, so that it may have other ones than its input. */
static bool mixes_channels(const Padding *padding, const Layer *layer) {
    const LayerTensors *tensors = &padding->graph->layer_tensors[layer->index];
    return is_convolution(layer) && tensors->connections == NULL &&
           tensors->parameters[0]->extent[1] == layer->inputs[0]->output.extent[0];
}

/* A fully connected layer behind a number for each channel. */
static bool reads_channels(const Layer *layer) {
    return (layer->op->flags & OP_READS_FLAT) &&
           layer->inputs[0]->elements == layer->inputs[0]->output.extent[0];
}

/* Channels of its output are those of its inputs, and zeros stay zeros. */
static bool keeps_channels(const Padding *padding, const Layer *layer) {
    bool same = (layer->op->flags & OP_KEEPS_ZERO) != 0;
    if (is_convolution(layer))
        return is_depthwise(padding, layer);
    for (int i = 0; i < layer->input_count; i++)
        same = same && layer->inputs[i]->output.rank == layer->output.rank &&
               layer->inputs[i]->output.extent[0] == layer->output.extent[0];
    return same;
}

static bool fills_vectors(const Padding *padding, const Layer *layer) {
    int64_t channels = layer->output.extent[0], whole = whole_vectors(padding, channels);
    return (double)channels >= LEAST_FILLED * (double)whole && channels < whole;
}

/* Who reads the layer is asked later. */
static void find_candidates(Padding *padding) {
    const Network *network = padding->graph->network;
    for (int i = 1; i < network->layer_count; i++) {
        const Layer *layer = network->layers[i];
        padding->padded[i] = fills_vectors(padding, layer) &&
                             (mixes_channels(padding, layer) || keeps_channels(padding, layer));
    }
    for (int i = 0; i < network->head_count; i++)
        padding->padded[network->heads[i].layer->index] = false;
}

/* Where one tensor of a layer that keeps channels has none to spare, no other has. */
static bool drop(Padding *padding, const Layer *layer) {
    bool *padded = padding->padded, changed = false;
    bool keeps = keeps_channels(padding, layer), all = padded[layer->index];
    if (mixes_channels(padding, layer) || reads_channels(layer))
        return false;
    for (int k = 0; k < layer->input_count; k++)
        all = all && padded[layer->inputs[k]->index];
    for (int k = 0; k < layer->input_count; k++) {
        bool *input = &padded[layer->inputs[k]->index];
        changed = changed || (*input && !(keeps && all));
        *input = *input && keeps && all;
    }
    changed = changed || (padded[layer->index] && !all);
    padded[layer->index] = padded[layer->index] && all;
    return changed;
}

static void settle(Padding *padding) {
    const Network *network = padding->graph->network;
    bool changed = true;
    while (changed) {
        changed = false;
        for (int i = 1; i < network->layer_count; i++)
            changed = drop(padding, network->layers[i]) || changed;
    }
}

static void widen(const Padding *padding, Tensor *tensor, int axis) {
    int64_t channels = tensor->extent[axis];
    tensor->extent[axis] = whole_vectors(padding, channels);
    tensor->elements = tensor->elements / channels * tensor->extent[axis];
    tensor->storage = tensor->elements;
}

/* Weights have the filters along their first axis, and what they read along the second. */
static void widen_parameter(const Padding *padding, Tensor *tensor) {
    const Layer *layer = tensor->layer;
    bool weight = tensor->rank > 1, depthwise = is_convolution(layer) && tensor->extent[1] == 1;
    if (padding->padded[layer->index] && tensor->extent[0] == layer->output.extent[0])
        widen(padding, tensor, 0);
    if (weight && !depthwise && padding->padded[layer->inputs[0]->index])
        widen(padding, tensor, 1);
}

static void widen_tensors(const Padding *padding) {
    for (int i = 0; i < padding->graph->tensor_count; i++) {
        Tensor *tensor = padding->graph->tensors[i];
        switch (tensor->role) {
        case TENSOR_PARAMETER:
        case TENSOR_PARAMETER_GRADIENT:
            widen_parameter(padding, tensor);
            break;
        case TENSOR_ACTIVATION:
        case TENSOR_GRADIENT:
        case TENSOR_SAVED:
            if (padding->padded[tensor->layer->index])
                widen(padding, tensor, 0);
            break;
        default:
            break;
        }
    }
}

void pad_channels(Graph *graph, int vector_length, int max_batch) {
    size_t count = (size_t)graph->network->layer_count;
    Padding padding = {.graph = graph,
                       .vector_length = vector_length,
                       .padded = ARENA_ARRAY(graph->arena, bool, count)};
    if (vector_length <= 1 || layout_has_example_blocks(graph, vector_length, max_batch))
        return;
    memset(padding.padded, 0, count * sizeof *padding.padded);
    find_candidates(&padding);
    settle(&padding);
    widen_tensors(&padding);
    graph_place_parameters(graph);
}
