#include "recompute.h"
#include "recompute_order.h"

#include <string.h>

typedef struct Rewriting {
    Graph *graph;
    const Recomputation *recomputation;
    /* By tensor number, of storages. */
    Tensor **replica;
    Tensor **views;   /* by number of a view: the view of the replica */
    Program *program; /* that nodes are added to */
} Rewriting;

static Tensor *copy_tensor(Graph *graph, const Tensor *tensor, const char *name) {
    Tensor *copy = graph_tensor(graph, tensor->role, tensor->layer, name, tensor->per_example,
                                tensor->rank, tensor->extent);
    copy->type = tensor->type;
    return copy;
}

/* What the backward pass reads in place of a tensor. */
static Tensor *replaced(Rewriting *r, Tensor *tensor) {
    if (tensor == NULL)
        return NULL;
    Tensor *storage = tensor_storage(tensor), *replica = r->replica[storage->number];
    if (replica == NULL || tensor == storage)
        return replica != NULL ? replica : tensor;
    Tensor **view = &r->views[tensor->number];
    if (*view == NULL || (*view)->view_of != replica) {
        *view = copy_tensor(r->graph, tensor, tensor->name);
        (*view)->view_of = replica;
    }
    return *view;
}

static void replace_inputs(Rewriting *r, Node *node) {
    for (int i = 0; i < node->input_count; i++)
        node->x[i] = replaced(r, node->x[i]);
}

static void add_node(Rewriting *r, Node *node) {
    Program *list = r->program;
    ARENA_GROW(r->graph->arena, list->nodes, list->count, list->capacity);
    list->nodes[list->count++] = node;
}

static void note_recomputed(Graph *graph, const Layer *layer) {
    /* At most one entry for each layer. */
    if (graph->recomputed == NULL)
        graph->recomputed =
            ARENA_ARRAY(graph->arena, const Layer *, (size_t)graph->network->layer_count);
    graph->recomputed[graph->recomputed_count++] = layer;
}

static void run_again(Rewriting *r, const Node *original, bool leads) {
    Graph *graph = r->graph;
    Tensor *made = tensor_storage(original->y);
    Node *node = ARENA_NEW(graph->arena, Node);
    *node = *original;
    node->recomputed = true;
    node->leads = leads;
    node->stored = true;
    node->x = ARENA_ARRAY(graph->arena, Tensor *, (size_t)node->input_count);
    memcpy(node->x, original->x, (size_t)node->input_count * sizeof *node->x);
    replace_inputs(r, node);
    Tensor *replica = copy_tensor(graph, made, arena_format(graph->arena, "%s_again", made->name));
    replica->original = made;
    r->replica[made->number] = replica;
    node->y = replica;
    add_node(r, node);
    note_recomputed(graph, node->layer);
}

static void run_segment(Rewriting *r, const Run *run) {
    for (int k = run->first; k <= run->last; k++)
        run_again(r, run->group->nodes[k].node, k == run->first);
    for (int k = run->first; k <= run->last; k++)
        if (!r->recomputation->wanted[run->group->nodes[k].made])
            r->replica[run->group->nodes[k].made] = NULL; /* only passed on within the group */
}

static void run_group(Rewriting *r, const Run *run) {
    for (int k = run->first; k <= run->last; k++) {
        Node *node = run->group->nodes[k].node;
        replace_inputs(r, node);
        node->y = replaced(r, node->y);
        add_node(r, node);
    }
}

static void rewrite_program(Rewriting *r, Program *program, const RunList *list) {
    program->nodes = NULL;
    program->count = program->capacity = 0;
    r->program = program;
    for (int i = 0; i < list->count; i++)
        if (list->runs[i].again)
            run_segment(r, &list->runs[i]);
        else
            run_group(r, &list->runs[i]);
}

void recompute_apply(Graph *graph, const bool *dropped, bool fused) {
    Arena *arena = graph->arena;
    size_t count = (size_t)graph->tensor_count;
    Recomputation *recomputation = recomputation_create(arena, graph, fused);
    recomputation_order(recomputation, dropped);
    Rewriting r = {.graph = graph,
                   .recomputation = recomputation,
                   .replica = ARENA_ARRAY(arena, Tensor *, count),
                   .views = ARENA_ARRAY(arena, Tensor *, count)};
    for (int p = PROGRAM_BACKWARD; p < PROGRAM_COUNT; p++)
        rewrite_program(&r, &graph->programs[p], &recomputation->programs[p]);
    graph_number_nodes(graph);
}

int64_t recomputed_flops(const Graph *graph) {
    int64_t flops = 0; /* no more than the network's, which are known to fit */
    for (int i = 0; i < graph->recomputed_count; i++)
        flops += graph->recomputed[i]->cost.flops;
    return flops;
}
