/* Reverse-mode differentiation of the training graph: one parameter gradient and, per input, one
 * data gradient node for each layer, from the losses back to the first layer (Griewank and Walther
 * 2008, chapter 3). A tensor that several layers read gets their contributions added in turn. */
#include "graph.h"

#include <string.h>

/* The gradient of a layer's output; that of a view is a view of its input's gradient, so that views
 * need no code in either direction. */
static Tensor *output_gradient(Graph *graph, const Layer *layer) {
    LayerTensors *tensors = &graph->layer_tensors[layer->index];
    if (tensors->output_gradient)
        return tensors->output_gradient;
    Tensor *output = tensors->output[1];
    tensors->output_gradient =
        graph_tensor(graph, TENSOR_GRADIENT, layer, arena_format(graph->arena, "d_%s", layer->name),
                     true, output->rank, output->extent);
    if (output->view_of)
        tensors->output_gradient->view_of = output_gradient(graph, layer->inputs[0]);
    return tensors->output_gradient;
}

typedef struct Derivation {
    Graph *graph;
    bool *depends;      /* by layer: computed from parameters, so its gradient is always wanted */
    bool *has_gradient; /* by layer of the storage: something has contributed */
} Derivation;

static const Layer *storage_layer(const Derivation *d, const Layer *layer) {
    return tensor_storage(d->graph->layer_tensors[layer->index].output[1])->layer;
}

/* Records one more contribution to the gradient of a layer's output; true if others came before. */
static bool contribute(Derivation *d, const Layer *layer) {
    bool *has_gradient = &d->has_gradient[storage_layer(d, layer)->index];
    bool before = *has_gradient;
    *has_gradient = true;
    return before;
}

/* Whether one node makes the gradients of the parameters and of the input. */
static bool gradients_together(const Derivation *d, const Layer *layer) {
    return (layer->op->flags & OP_GRADIENTS_TOGETHER) && d->depends[layer->inputs[0]->index];
}

static bool is_trainable(const Derivation *d, const Layer *layer) {
    bool trainable = false;
    for (int p = 0; p < layer->parameter_count; p++)
        trainable = trainable || d->graph->layer_tensors[layer->index].gradients[p];
    return trainable;
}

static void add_data_gradients(Derivation *d, const Layer *layer) {
    Graph *graph = d->graph;
    for (int i = 0; i < layer->input_count; i++) {
        const Layer *input = layer->inputs[i];
        ProgramId program = d->depends[input->index] ? PROGRAM_BACKWARD : PROGRAM_BACKWARD_INPUT;
        Node *node = graph_layer_node(graph, program, NODE_DATA_GRADIENT, layer);
        node->input = i;
        node->dy = output_gradient(graph, layer);
        node->dx = output_gradient(graph, input);
        node->accumulate = contribute(d, input);
        if (gradients_together(d, layer))
            memcpy(node->parameter_gradients, graph->layer_tensors[layer->index].gradients,
                   sizeof node->parameter_gradients);
    }
}

static void add_parameter_gradient(Derivation *d, const Layer *layer) {
    LayerTensors *tensors = &d->graph->layer_tensors[layer->index];
    if (!is_trainable(d, layer) || gradients_together(d, layer))
        return;
    Node *node = graph_layer_node(d->graph, PROGRAM_BACKWARD, NODE_PARAMETER_GRADIENT, layer);
    node->dy = output_gradient(d->graph, layer);
    for (int p = 0; p < layer->parameter_count; p++)
        node->parameter_gradients[p] = tensors->gradients[p];
}

/* The parameters of a layer change once all that reads them and their gradients has run: with the
 * next layer that has any, so that what is fused behind the data gradient stays next to it. */
static void add_updates(Derivation *d, const Layer *layer) {
    const LayerTensors *tensors = &d->graph->layer_tensors[layer->index];
    Node *node = graph_node(d->graph, PROGRAM_BACKWARD, NODE_UPDATE, op_find("UPDATE"), layer);
    for (int p = 0; p < layer->parameter_count; p++) {
        if (tensors->gradients[p] == NULL)
            continue;
        node->parameters[p] = tensors->parameters[p];
        node->parameter_gradients[p] = tensors->gradients[p];
    }
}

static void add_losses(Derivation *d) {
    const Network *network = d->graph->network;
    for (int i = 0; i < network->head_count; i++) {
        Node *node = graph_loss_node(d->graph, PROGRAM_BACKWARD, i);
        node->dx = output_gradient(d->graph, node->layer);
        node->accumulate = contribute(d, node->layer);
    }
}

void graph_derive_gradients(Graph *graph) {
    const Network *network = graph->network;
    size_t count = (size_t)network->layer_count;
    Derivation d = {graph, ARENA_ARRAY(graph->arena, bool, count),
                    ARENA_ARRAY(graph->arena, bool, count)};
    for (int i = 1; i < network->layer_count; i++) {
        const Layer *layer = network->layers[i];
        d.depends[i] = layer->parameter_count > 0;
        for (int k = 0; k < layer->input_count; k++)
            d.depends[i] = d.depends[i] || d.depends[layer->inputs[k]->index];
    }
    const Layer *waiting = NULL; /* for its updates */
    add_losses(&d);
    for (int i = network->layer_count - 1; i > 0; i--) {
        const Layer *layer = network->layers[i];
        Tensor *output = graph->layer_tensors[i].output[1];
        if (output == NULL || output->view_of || !d.has_gradient[i])
            continue;
        if (is_trainable(&d, layer)) {
            if (waiting)
                add_updates(&d, waiting);
            waiting = layer;
        }
        add_parameter_gradient(&d, layer);
        add_data_gradients(&d, layer);
    }
    if (waiting)
        add_updates(&d, waiting);
    if (d.has_gradient[0])
        graph->input_gradient = output_gradient(graph, network->layers[0]);
}
