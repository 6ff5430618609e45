#include "update.h"

#include <string.h>

#define LARGEST_BATCH 256 /* beyond, the gradient's sums are made in parts */

int optimizer_state_count(const TrainSettings *train) {
    switch (train->optimizer) {
    case OPTIMIZER_SGD:
        return train->momentum != 0;
    case OPTIMIZER_ADAM:
        return 2;
    }
    return 0;
}

static void add_node(Graph *graph, Program *list, Node *node) {
    ARENA_GROW(graph->arena, list->nodes, list->count, list->capacity);
    list->nodes[list->count++] = node;
}

static Node *gradient_node(const Program *list, const Node *update) {
    for (int i = 0; i < list->count && list->nodes[i] != update; i++)
        if (list->nodes[i]->role == NODE_PARAMETER_GRADIENT &&
            list->nodes[i]->layer == update->layer)
            return list->nodes[i];
    return NULL;
}

static bool is_fused(const Node *node) {
    return node->role == NODE_UPDATE && (node->layer->op->flags & OP_UPDATES) &&
           node->parameters[0] != NULL;
}

/* A tensor of the weight's shape that belongs to it. */
static Tensor *beside_weight(Graph *graph, TensorRole role, const Tensor *weight,
                             const char *prefix) {
    Tensor *tensor = graph_tensor(graph, role, weight->layer,
                                  arena_format(graph->arena, "%s%s", prefix, weight->name), false,
                                  weight->rank, weight->extent);
    tensor->parameter = weight->parameter;
    return tensor;
}

static Node *kept_gradient(Graph *graph, const Node *gradient, const Tensor *weight) {
    Node *node = ARENA_NEW(graph->arena, Node);
    *node = *gradient;
    node->condition = CONDITION_KEPT;
    node->parameter_gradients[0] = beside_weight(graph, TENSOR_KEPT_GRADIENT, weight, "d_");
    return node;
}

static Node *updating_gradient(Graph *graph, const Node *gradient, const Tensor *weight,
                               Tensor *step) {
    Node *node = ARENA_NEW(graph->arena, Node);
    *node = *gradient;
    node->condition = CONDITION_NOT_KEPT;
    node->parameter_gradients[0] = NULL;
    node->step = step;
    for (int i = 0; i < optimizer_state_count(&graph->network->train); i++) {
        node->states[i] = beside_weight(graph, TENSOR_OPTIMIZER_STATE, weight, "state_of_");
        node->states[i]->state = i;
    }
    return node;
}

/* The gradient moves behind everything that reads the weight; the other parameters of the layer
 * are updated as before. */
static void replace_update(Graph *graph, Program *list, Node *update, const Node *gradient,
                           Tensor *step) {
    const Tensor *weight = update->parameters[0];
    add_node(graph, list, kept_gradient(graph, gradient, weight));
    add_node(graph, list, updating_gradient(graph, gradient, weight, step));
    update->parameters[0] = update->parameter_gradients[0] = NULL;
    for (int p = 1; p < MAX_PARAMETERS; p++)
        if (update->parameters[p] != NULL) {
            add_node(graph, list, update);
            return;
        }
}

void fuse_updates(Graph *graph, int max_batch) {
    const int64_t numbers = OPTIMIZER_NUMBERS;
    Program *list = &graph->programs[PROGRAM_BACKWARD];
    const Program before = *list;
    if (max_batch > LARGEST_BATCH)
        return;
    Tensor *step = graph_tensor(graph, TENSOR_OPTIMIZER_STEP, NULL, "step", false, 1, &numbers);
    Node **moved = ARENA_ARRAY(graph->arena, Node *, (size_t)before.count + 1);
    for (int i = 0; i < before.count; i++)
        if (is_fused(before.nodes[i]))
            moved[i] = gradient_node(&before, before.nodes[i]);
    *list = (Program){.name = before.name};
    for (int i = 0; i < before.count; i++) {
        Node *node = before.nodes[i];
        bool leaves = false;
        for (int k = i + 1; k < before.count; k++)
            leaves = leaves || moved[k] == node;
        if (moved[i] != NULL)
            replace_update(graph, list, node, moved[i], step);
        else if (!leaves)
            add_node(graph, list, node);
    }
    graph_number_nodes(graph);
}
