#include "graph.h"

#include <string.h>

Tensor *graph_tensor(Graph *graph, TensorRole role, const Layer *layer, const char *name,
                     bool per_example, int rank, const int64_t *extent) {
    Tensor *tensor = ARENA_NEW(graph->arena, Tensor);
    tensor->name = name;
    tensor->role = role;
    tensor->type = TYPE_REAL;
    tensor->per_example = per_example;
    tensor->rank = rank;
    tensor->elements = 1;
    for (int i = 0; i < rank; i++) {
        tensor->extent[i] = extent[i];
        tensor->elements *= extent[i]; /* shape inference has checked the product */
    }
    tensor->storage = tensor->elements;
    tensor->layout.blocked_axis = NOT_BLOCKED;
    tensor->layer = layer;
    tensor->offset = -1;
    tensor->last_reader = tensor->first_use = tensor->last_use = -1;
    ARENA_GROW(graph->arena, graph->tensors, graph->tensor_count, graph->tensor_capacity);
    tensor->number = graph->tensor_count;
    graph->tensors[graph->tensor_count++] = tensor;
    return tensor;
}

Tensor *tensor_storage(Tensor *tensor) {
    while (tensor->view_of)
        tensor = tensor->view_of;
    return tensor;
}

Node *graph_node(Graph *graph, ProgramId program, NodeRole role, const OpDef *op,
                 const Layer *layer) {
    Program *list = &graph->programs[program];
    Node *node = ARENA_NEW(graph->arena, Node);
    node->role = role;
    node->op = op;
    node->layer = layer;
    node->training = program >= PROGRAM_FORWARD_TRAINING;
    node->stored = true;
    node->x = ARENA_NEW(graph->arena, Tensor *); /* none */
    ARENA_GROW(graph->arena, list->nodes, list->count, list->capacity);
    list->nodes[list->count++] = node;
    return node;
}

/* ---- Nodes ---- */

bool tensor_same_extents(const Tensor *a, const Tensor *b) {
    return a->rank == b->rank && a->per_example == b->per_example &&
           memcmp(a->extent, b->extent, (size_t)a->rank * sizeof a->extent[0]) == 0;
}

bool tensor_lies_flat(const Tensor *tensor) {
    bool flat = tensor->layout.blocked_axis < 0;
    for (int axis = 0; axis < tensor->rank; axis++)
        flat = flat && tensor->layout.before[axis] == 0 && tensor->layout.after[axis] == 0;
    return flat;
}

static bool runs_from_saved(const Node *node) {
    return node->recomputed && node->op->value_again;
}

bool node_is_elementwise(const Node *node) {
    const OpDef *op = node->op;
    if (node->role == NODE_FORWARD && runs_from_saved(node))
        return true;
    if (node->role == NODE_FORWARD)
        return op->value && !(node->training && (op->flags & OP_MODE));
    if (node->role == NODE_DATA_GRADIENT)
        return op->derivative && tensor_same_extents(node->x[node->input], node->y);
    return false;
}

Tensor *node_result(const Node *node) {
    switch (node->role) {
    case NODE_FORWARD:
        return node->y;
    case NODE_DATA_GRADIENT:
    case NODE_LOSS_GRADIENT:
        return node->dx;
    default:
        return NULL;
    }
}

typedef struct TensorList {
    Tensor **tensors;
    int count, capacity;
} TensorList;

static void list_add(TensorList *list, Tensor *tensor) {
    if (tensor == NULL || list->count == list->capacity)
        return;
    tensor = tensor_storage(tensor);
    for (int i = 0; i < list->count; i++)
        if (list->tensors[i] == tensor)
            return;
    list->tensors[list->count++] = tensor;
}

int node_tensor_capacity(const Node *node) {
    return node->input_count + 2 * MAX_PARAMETERS + MAX_PREPARED + MAX_SAVED + 16;
}

/* What the gradient of pooling is made of. */
static void add_window_reads(TensorList *list, const Node *pooling) {
    list_add(list, pooling->dy);
    list_add(list, pooling->saved[0]);
    list_add(list, pooling->through_positive ? pooling->y : NULL);
}

/* A data gradient reads x and y only where its op says so; the rest read what they are given. */
int node_reads(const Node *node, Tensor **tensors, int capacity) {
    TensorList list = {tensors, 0, capacity};
    bool gradient = node->role == NODE_DATA_GRADIENT;
    if (!gradient || (node->op->flags & OP_GRADIENT_READS_INPUT))
        for (int i = 0; i < node->input_count; i++)
            list_add(&list, node->x[i]);
    if (gradient && ((node->op->flags & OP_GRADIENT_READS_OUTPUT) || node->through_positive))
        list_add(&list, node->y);
    for (int i = 0; i < MAX_PARAMETERS; i++)
        list_add(&list, node->parameters[i]);
    for (int i = 0; i < MAX_PREPARED && node->role == NODE_FORWARD; i++)
        list_add(&list, node->prepared[i]);
    if (node->role != NODE_FORWARD || runs_from_saved(node))
        for (int i = 0; i < MAX_SAVED; i++)
            list_add(&list, node->saved[i]);
    list_add(&list, node->connections);
    if (node->op->flags & OP_READS_MOMENTS)
        list_add(&list, node->moments);
    if (node->dy_windows)
        add_window_reads(&list, node->dy_windows);
    else
        list_add(&list, node->dy);
    if (node->accumulate)
        list_add(&list, node->dx);
    for (int i = 0; i < MAX_PARAMETERS && node->role == NODE_UPDATE; i++)
        list_add(&list, node->parameter_gradients[i]);
    list_add(&list, node->target);
    list_add(&list, node->class_weights);
    return list.count;
}

int node_writes(const Node *node, Tensor **tensors, int capacity) {
    TensorList list = {tensors, 0, capacity};
    list_add(&list, node_result(node));
    if (node->role == NODE_FORWARD && !runs_from_saved(node))
        for (int i = 0; i < MAX_SAVED; i++)
            list_add(&list, node->saved[i]);
    for (int i = 0; i < MAX_PREPARED && node->role == NODE_PREPARE; i++)
        list_add(&list, node->prepared[i]);
    if (!(node->op->flags & OP_READS_MOMENTS))
        list_add(&list, node->moments);
    for (int i = 0; i < MAX_PARAMETERS; i++)
        list_add(&list, node->parameter_gradients[i]);
    list_add(&list, node->losses);
    list_add(&list, node->dy_windows ? node->dy : NULL);
    return list.count;
}

typedef int TensorLister(const Node *node, Tensor **tensors, int capacity);

static bool lists_storage(Arena *arena, const Node *node, TensorLister *list,
                          const Tensor *storage) {
    int capacity = node_tensor_capacity(node);
    Tensor **tensors = ARENA_ARRAY(arena, Tensor *, (size_t)capacity);
    int count = list(node, tensors, capacity);
    for (int i = 0; i < count; i++)
        if (tensors[i] == storage)
            return true;
    return false;
}

bool node_reads_storage(Arena *arena, const Node *node, const Tensor *storage) {
    return lists_storage(arena, node, node_reads, storage);
}

bool node_writes_storage(Arena *arena, const Node *node, const Tensor *storage) {
    return lists_storage(arena, node, node_writes, storage);
}

/* ---- Parameters ---- */

static const unsigned char *connection_bytes(Arena *arena, const Value *table, int64_t channels) {
    int64_t filters = table->as.list.count;
    unsigned char *bytes = ARENA_ARRAY(arena, unsigned char, (size_t)(filters * channels));
    for (int64_t f = 0; f < filters; f++) {
        const Value *inputs = &table->as.list.items[f];
        for (int i = 0; i < inputs->as.list.count; i++)
            bytes[f * channels + inputs->as.list.items[i].as.integer] = 1;
    }
    return bytes;
}

/* The connection table of a layer as a tensor of bytes [filters][channels]; NULL: it has none. */
static Tensor *connection_tensor(Graph *graph, const Layer *layer) {
    for (int i = 0; i < layer->op->attribute_count; i++) {
        if (layer->op->attributes[i].type != ATTRIBUTE_TABLE ||
            layer->attributes[i].kind != VALUE_LIST)
            continue;
        const int64_t *dims = layer->parameters[0].dims.extent;
        Tensor *tensor =
            graph_tensor(graph, TENSOR_CONSTANT, layer,
                         arena_format(graph->arena, "%s.connections", layer->name), false, 2, dims);
        tensor->type = TYPE_BYTE;
        tensor->constant = connection_bytes(graph->arena, &layer->attributes[i], dims[1]);
        return tensor;
    }
    return NULL;
}

static void make_parameters(Graph *graph, LayerTensors *tensors, const Layer *layer) {
    for (int p = 0; p < layer->parameter_count; p++) {
        const ParameterSpec *spec = &layer->parameters[p];
        const char *name = arena_format(graph->arena, "%s.%s", layer->name, spec->name);
        tensors->parameters[p] = graph_tensor(graph, TENSOR_PARAMETER, layer, name, false,
                                              spec->dims.rank, spec->dims.extent);
        tensors->parameters[p]->parameter = p;
        if (graph->infer_only || spec->role == PARAMETER_RUNNING)
            continue;
        tensors->gradients[p] = graph_tensor(graph, TENSOR_PARAMETER_GRADIENT, layer,
                                             arena_format(graph->arena, "d_%s", name), false,
                                             spec->dims.rank, spec->dims.extent);
        tensors->gradients[p]->parameter = p;
    }
    if (layer->parameter_count > 0)
        tensors->connections = connection_tensor(graph, layer);
}

bool tensor_fills_lines(const Tensor *tensor) {
    return tensor->elements % LINE_REALS == 0;
}

#define SINGLE (-1)

/* What parameters from which something is prepared lie side by side with: those of all layers with
 * this number. */
static int parameter_kind(const Tensor *parameter) {
    return parameter->layer->op->prepared[0] ? parameter->parameter : SINGLE;
}

/* Those of one role and kind that do or do not fill lines, in the order of the layers. */
static void place_some(Graph *graph, bool running, bool lines, int kind) {
    const Network *network = graph->network;
    LayerTensors *tensors = graph->layer_tensors;
    for (int i = 0; i < network->layer_count; i++) {
        const Layer *layer = network->layers[i];
        for (int p = 0; p < layer->parameter_count; p++) {
            Tensor *parameter = tensors[i].parameters[p];
            if ((layer->parameters[p].role == PARAMETER_RUNNING) != running ||
                tensor_fills_lines(parameter) != lines || parameter_kind(parameter) != kind)
                continue;
            parameter->offset = graph->parameter_size;
            graph->parameter_size += parameter->elements;
        }
    }
}

/* Trainable tensors first: they have a place in the optimizer's state as well. Among them first
 * those that fill whole lines, so that the vectors of all of these lie within lines: each that lies
 * across two would cost two reads. */
void graph_place_parameters(Graph *graph) {
    graph->parameter_size = 0;
    for (int running = 0; running < 2; running++) {
        for (int lines = 1; lines >= 0; lines--)
            for (int kind = SINGLE; kind < MAX_PARAMETERS; kind++)
                place_some(graph, running, lines, kind);
        if (!running)
            graph->trainable_size = graph->parameter_size;
    }
}

/* ---- Forward programs ---- */

static bool is_view(const Layer *layer, bool training) {
    return (layer->op->flags & OP_VIEW) || (!training && (layer->op->flags & OP_RANDOM));
}

static void fill_node(Node *node, const Layer *layer, const LayerTensors *tensors) {
    node->connections = tensors->connections;
    memcpy(node->parameters, tensors->parameters, sizeof node->parameters);
    memcpy(node->saved, tensors->saved, sizeof node->saved);
    node->y = tensors->output[node->training];
    node->input_count = layer->input_count;
}

Node *graph_layer_node(Graph *graph, ProgramId program, NodeRole role, const Layer *layer) {
    LayerTensors *tensors = &graph->layer_tensors[layer->index];
    Node *node = graph_node(graph, program, role, layer->op, layer);
    fill_node(node, layer, tensors);
    node->x = ARENA_ARRAY(graph->arena, Tensor *, (size_t)layer->input_count);
    for (int i = 0; i < layer->input_count; i++)
        node->x[i] = graph->layer_tensors[layer->inputs[i]->index].output[node->training];
    return node;
}

static void make_saved(Graph *graph, LayerTensors *tensors, const Layer *layer) {
    if (layer->op->saved == NULL)
        return;
    SavedSpec specs[MAX_SAVED];
    int count = layer->op->saved(layer, specs);
    for (int i = 0; i < count; i++) {
        const char *name = arena_format(graph->arena, "%s.saved%d", layer->name, i + 1);
        tensors->saved[i] = graph_tensor(graph, TENSOR_SAVED, layer, name, specs[i].per_example,
                                         specs[i].dims.rank, specs[i].dims.extent);
        tensors->saved[i]->type = specs[i].byte ? TYPE_BYTE : TYPE_REAL;
    }
}

static void add_layer(Graph *graph, ProgramId program, const Layer *layer) {
    bool training = program == PROGRAM_FORWARD_TRAINING;
    LayerTensors *tensors = &graph->layer_tensors[layer->index];
    Tensor *output = graph_tensor(graph, TENSOR_ACTIVATION, layer, layer->name, true,
                                  layer->output.rank, layer->output.extent);
    tensors->output[training] = output;
    if (is_view(layer, training)) {
        Tensor *input = graph->layer_tensors[layer->inputs[0]->index].output[training];
        /* The network's output is never the input itself: both are filled and read from outside. */
        bool is_output = layer == graph->network->heads[0].layer;
        if (!(is_output && tensor_storage(input)->role == TENSOR_INPUT)) {
            output->view_of = input;
            return;
        }
    }
    if (training)
        make_saved(graph, tensors, layer);
    graph_layer_node(graph, program, NODE_FORWARD, layer);
}

/* Marks the layers that the given one is computed from. */
static void mark_needed(const Network *network, const Layer *target, bool *needed) {
    needed[target->index] = true;
    for (int i = target->index; i > 0; i--) {
        const Layer *layer = network->layers[i];
        if (!needed[i])
            continue;
        for (int k = 0; k < layer->input_count; k++)
            needed[layer->inputs[k]->index] = true;
    }
}

static void build_forward(Graph *graph, ProgramId program, int head_count) {
    const Network *network = graph->network;
    bool *needed = ARENA_ARRAY(graph->arena, bool, (size_t)network->layer_count);
    for (int i = 0; i < head_count; i++)
        mark_needed(network, network->heads[i].layer, needed);
    for (int i = 1; i < network->layer_count; i++)
        if (needed[i])
            add_layer(graph, program, network->layers[i]);
}

/* ---- Loss ---- */

/* What the loss reads: for cross entropy the logits in front of a final (LOG)SOFTMAX, since
 * log(softmax(x)) is computed from x without loss of precision. */
static const Layer *loss_input(const Network *network, const Layer *head) {
    if (network->train.loss != LOSS_CROSS_ENTROPY)
        return head;
    bool softmax =
        strcmp(head->op->name, "SOFTMAX") == 0 || strcmp(head->op->name, "LOGSOFTMAX") == 0;
    return softmax ? head->inputs[0] : head;
}

Node *graph_loss_node(Graph *graph, ProgramId program, int head) {
    const Network *network = graph->network;
    bool gradient = program == PROGRAM_BACKWARD;
    bool training = program >= PROGRAM_FORWARD_TRAINING;
    const Layer *layer = loss_input(network, network->heads[head].layer);
    const OpDef *op =
        op_find(network->train.loss == LOSS_CROSS_ENTROPY ? "LOSS_CROSS_ENTROPY" : "LOSS_MSE");
    Node *node = graph_node(graph, program, gradient ? NODE_LOSS_GRADIENT : NODE_LOSS, op, layer);
    node->input_count = 1;
    node->x = ARENA_NEW(graph->arena, Tensor *);
    node->x[0] = graph->layer_tensors[layer->index].output[training];
    node->target = network->train.loss == LOSS_CROSS_ENTROPY ? graph->labels : graph->targets;
    node->losses = graph->losses;
    node->class_weights = graph->class_weights;
    node->loss_weight = head == 0 ? 1 : network->train.head_weight;
    node->label_smoothing = network->train.label_smoothing;
    node->add_loss = head > 0;
    return node;
}

static void make_loss_tensors(Graph *graph) {
    const Network *network = graph->network;
    const Shape *output = &network->heads[0].layer->output;
    int64_t positions = 1;
    for (int i = 1; i < output->rank; i++)
        positions *= output->extent[i];
    graph->labels = graph_tensor(graph, TENSOR_LABELS, NULL, "labels", true, 1, &positions);
    graph->labels->type = TYPE_LABEL;
    graph->targets =
        graph_tensor(graph, TENSOR_TARGETS, NULL, "targets", true, output->rank, output->extent);
    graph->losses = graph_tensor(graph, TENSOR_LOSSES, NULL, "losses", true, 0, NULL);
    graph->losses->type = TYPE_DOUBLE;
    if (network->class_weight_count > 0) {
        int64_t count = network->class_weight_count;
        graph->class_weights =
            graph_tensor(graph, TENSOR_CONSTANT, NULL, "class_weights", false, 1, &count);
        graph->class_weights->constant = network->class_weights;
    }
}

/* ---- Positions ---- */

void graph_number_nodes(Graph *graph) {
    int position = 0;
    for (int i = 0; i < graph->tensor_count; i++)
        graph->tensors[i]->last_reader = -1;
    for (int program = 0; program < PROGRAM_COUNT; program++) {
        if (program == PROGRAM_FORWARD_TRAINING)
            position = 0;
        const Program *list = &graph->programs[program];
        for (int i = 0; i < list->count; i++) {
            Node *node = list->nodes[i];
            node->position = position++;
            int capacity = node_tensor_capacity(node);
            Tensor **reads = ARENA_ARRAY(graph->arena, Tensor *, (size_t)capacity);
            int count = node_reads(node, reads, capacity);
            for (int k = 0; k < count; k++)
                reads[k]->last_reader = node->position;
        }
    }
}

Graph *graph_build(Arena *arena, const Network *network, bool infer_only) {
    static const char *const names[PROGRAM_COUNT] = {
        "prepare", "forward", "loss", "forward_training", "backward", "backward_input"};
    Graph *graph = ARENA_NEW(arena, Graph);
    graph->arena = arena;
    graph->network = network;
    graph->infer_only = infer_only;
    for (int i = 0; i < PROGRAM_COUNT; i++)
        graph->programs[i].name = names[i];
    graph->layer_tensors = ARENA_ARRAY(arena, LayerTensors, (size_t)network->layer_count);
    for (int i = 0; i < network->layer_count; i++)
        make_parameters(graph, &graph->layer_tensors[i], network->layers[i]);
    graph_place_parameters(graph);

    const Layer *input = network->layers[0], *head = network->heads[0].layer;
    graph->input = graph_tensor(graph, TENSOR_INPUT, input, "input", true, input->output.rank,
                                input->output.extent);
    graph->input->pinned = true;
    graph->layer_tensors[0].output[0] = graph->layer_tensors[0].output[1] = graph->input;
    make_loss_tensors(graph);
    build_forward(graph, PROGRAM_FORWARD, 1);
    graph_loss_node(graph, PROGRAM_LOSS, 0);
    graph->output = graph->layer_tensors[head->index].output[0];
    tensor_storage(graph->output)->pinned = true;
    if (!infer_only) {
        build_forward(graph, PROGRAM_FORWARD_TRAINING, network->head_count);
        graph->training_output = graph->layer_tensors[head->index].output[1];
        tensor_storage(graph->training_output)->pinned = true;
        graph_derive_gradients(graph);
    }
    graph_number_nodes(graph);
    return graph;
}
