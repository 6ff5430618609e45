#include "fold.h"

#include <string.h>

/* ---- What is prepared of each layer ---- */

static void make_prepared(Graph *graph, Node *node) {
    const Layer *layer = node->layer;
    for (int i = 0; i < MAX_PREPARED && node->op->prepared[i]; i++) {
        const char *name = arena_format(graph->arena, "%s.%s", layer->name, node->op->prepared[i]);
        node->prepared[i] =
            graph_tensor(graph, TENSOR_PREPARED, layer, name, false, 1, &node->y->extent[0]);
        node->prepared[i]->parameter = i;
    }
}

static void add_layers(const Graph *graph, bool lines, Node **nodes, int *count) {
    const Program *forward = &graph->programs[PROGRAM_FORWARD];
    for (int i = 0; i < forward->count; i++) {
        const Tensor *prepared = forward->nodes[i]->prepared[0];
        if (prepared && tensor_fills_lines(prepared) == lines)
            nodes[(*count)++] = forward->nodes[i];
    }
}

static void place_prepared(Graph *graph, Node *const *nodes, int count) {
    for (int kind = 0; kind < MAX_PREPARED; kind++) {
        graph->prepared_size = (graph->prepared_size + LINE_REALS - 1) / LINE_REALS * LINE_REALS;
        for (int i = 0; i < count; i++) {
            Tensor *tensor = nodes[i]->prepared[kind];
            if (tensor == NULL)
                continue;
            tensor->offset = graph->prepared_size;
            graph->prepared_size += tensor->elements;
        }
    }
}

/* ---- Runs of layers that are prepared at once ---- */

static bool same_arguments(Arena *arena, const Layer *a, const Layer *b) {
    for (int i = 0; i < a->op->attribute_count; i++)
        if (strcmp(value_text(arena, &a->attributes[i]), value_text(arena, &b->attributes[i])) != 0)
            return false;
    return true;
}

static bool lies_behind(const Tensor *before, int64_t elements, const Tensor *tensor) {
    return tensor == NULL || tensor->offset == before->offset + elements;
}

/* Whether all that the node reads and makes lies right behind what the run does. */
static bool continues(Arena *arena, const Node *run, const Node *node) {
    bool behind = run->op == node->op && same_arguments(arena, run->layer, node->layer);
    for (int i = 0; behind && i < MAX_PARAMETERS; i++)
        behind = lies_behind(run->parameters[i], run->channels, node->parameters[i]);
    for (int i = 0; behind && i < MAX_PREPARED; i++)
        behind = lies_behind(run->prepared[i], run->channels, node->prepared[i]);
    return behind;
}

static Node *begin_run(Graph *graph, const Node *node) {
    Node *run = graph_node(graph, PROGRAM_PREPARE, NODE_PREPARE, node->op, node->layer);
    memcpy(run->parameters, node->parameters, sizeof run->parameters);
    memcpy(run->prepared, node->prepared, sizeof run->prepared);
    return run;
}

/* Parameters lie in the same order: kind by kind, first those that fill lines (graph.c). */
void fold_parameters(Graph *graph) {
    const Program *forward = &graph->programs[PROGRAM_FORWARD];
    Node **nodes = ARENA_ARRAY(graph->arena, Node *, (size_t)forward->count + 1), *run = NULL;
    int count = 0;
    for (int i = 0; i < forward->count; i++)
        make_prepared(graph, forward->nodes[i]);
    add_layers(graph, true, nodes, &count);
    add_layers(graph, false, nodes, &count);
    place_prepared(graph, nodes, count);
    for (int i = 0; i < count; i++) {
        if (run == NULL || !continues(graph->arena, run, nodes[i]))
            run = begin_run(graph, nodes[i]);
        run->channels += nodes[i]->prepared[0]->elements;
        run->last_layer = nodes[i]->layer;
    }
    graph_number_nodes(graph);
}
