#include "recompute.h"
#include "fuse.h"

#include <string.h>

/* ---- What is to be made again ---- */

/* A group of the forward pass: it is run again as a whole up to the last node that is wanted. */
typedef struct Segment {
    const Group *group;
    int first, last; /* nodes to run again; last < 0: none */
    bool marked;     /* wanted by the node of the backward pass at hand */
    bool done;
} Segment;

typedef struct Origin {
    Segment *segment; /* NULL: not made by a node of the forward pass */
    int position;     /* in its group */
} Origin;

typedef struct Rewriting {
    Graph *graph;
    bool fused;
    int segment_count;
    Segment *segments; /* in the order of the forward pass */
    /* By tensor number, of storages. */
    Origin *origin;
    bool *kept;   /* the backward pass can read it as it is */
    bool *wanted; /* it has to be made again */
    Tensor **replica;
    Tensor **views;   /* by number of a view: the view of the replica */
    Program *program; /* that nodes are added to */
} Rewriting;

/* Whether a forward node can run again without changing anything but its result: what it saves it
 * saves once more. */
static bool repeatable(const Node *node) {
    bool statistics = false;
    for (int p = 0; p < node->layer->parameter_count; p++)
        statistics = statistics || node->layer->parameters[p].role == PARAMETER_RUNNING;
    return !statistics || node->op->value_again != NULL;
}

static void find_origins(Rewriting *r) {
    Graph *graph = r->graph;
    GroupList groups =
        fuse_program(graph->arena, &graph->programs[PROGRAM_FORWARD_TRAINING], r->fused);
    r->segment_count = groups.count;
    r->segments = ARENA_ARRAY(graph->arena, Segment, (size_t)groups.count + 1);
    for (int i = 0; i < groups.count; i++) {
        Segment *segment = &r->segments[i];
        *segment = (Segment){.group = groups.groups[i], .last = -1};
        for (int k = 0; k < segment->group->count; k++)
            r->origin[tensor_storage(segment->group->nodes[k]->y)->number] = (Origin){segment, k};
    }
}

/* All nodes of the group up to the tensor's own can run again. */
static bool can_be_remade(const Rewriting *r, const Tensor *tensor) {
    Origin origin = r->origin[tensor->number];
    bool good = origin.segment != NULL && !tensor->pinned;
    for (int k = 0; good && k <= origin.position; k++)
        good = repeatable(origin.segment->group->nodes[k]);
    return good;
}

static void for_reads(Rewriting *r, const Node *node, void (*visit)(Rewriting *r, Tensor *read)) {
    int capacity = node_tensor_capacity(node);
    Tensor **reads = ARENA_ARRAY(r->graph->arena, Tensor *, (size_t)capacity);
    int count = node_reads(node, reads, capacity);
    for (int i = 0; i < count; i++)
        visit(r, reads[i]);
}

static void keep(Rewriting *r, Tensor *read) {
    r->kept[read->number] = true;
}

static void want(Rewriting *r, Tensor *read) {
    r->wanted[read->number] = r->wanted[read->number] || !r->kept[read->number];
}

/* Everything that the backward pass reads is kept, and what cannot be remade; then the rest of the
 * marked outputs is not. */
static void choose_kept(Rewriting *r, const bool *dropped) {
    Graph *graph = r->graph;
    for (int p = PROGRAM_BACKWARD; p < PROGRAM_COUNT; p++)
        for (int i = 0; i < graph->programs[p].count; i++)
            for_reads(r, graph->programs[p].nodes[i], keep);
    for (int i = 0; i < graph->tensor_count; i++) {
        const Tensor *tensor = graph->tensors[i];
        if (!can_be_remade(r, tensor)) {
            r->kept[i] = true;
        } else if (r->kept[i] && dropped[tensor->layer->index]) {
            r->kept[i] = false;
            r->wanted[i] = true;
        }
    }
}

/* A group runs again from its first node: the C compiler may contract the multiplication of one
 * node with the addition of the next. Sums of products end in an addition; where the result of
 * one is kept, it is not computed again. */
static int first_to_run(const Rewriting *r, const Segment *segment) {
    const Node *leader = segment->group->nodes[0];
    bool product_sum = leader->layer->cost.macs > 0;
    return product_sum && segment->last > 0 && r->kept[tensor_storage(leader->y)->number];
}

/* From the last group to the first: what the wanted ones are made of is wanted, unless it is kept.
 */
static void choose_segments(Rewriting *r) {
    for (int i = r->segment_count - 1; i >= 0; i--) {
        Segment *segment = &r->segments[i];
        for (int k = 0; k < segment->group->count; k++)
            if (r->wanted[tensor_storage(segment->group->nodes[k]->y)->number])
                segment->last = k;
        segment->first = first_to_run(r, segment);
        /* Tensors within the segment are marked too, which changes nothing: it is done as a whole.
         */
        for (int k = segment->first; k <= segment->last; k++)
            for_reads(r, segment->group->nodes[k], want);
    }
}

/* ---- The new backward pass ---- */

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

static void run_segment(Rewriting *r, Segment *segment) {
    segment->done = true;
    for (int k = segment->first; k <= segment->last; k++)
        run_again(r, segment->group->nodes[k], k == segment->first);
    for (int k = segment->first; k <= segment->last; k++) {
        int made = tensor_storage(segment->group->nodes[k]->y)->number;
        if (!r->wanted[made])
            r->replica[made] = NULL; /* it was only passed on within the group */
    }
}

/* Marks the segments that the tensor is to be made by. */
static void mark(Rewriting *r, Tensor *read) {
    Segment *segment = r->origin[read->number].segment;
    if (!r->wanted[read->number] || segment->marked)
        return;
    segment->marked = true;
    for (int k = segment->first; k <= segment->last; k++)
        for_reads(r, segment->group->nodes[k], mark);
}

static void rewrite_group(Rewriting *r, const Group *group) {
    for (int i = 0; i < group->count; i++)
        for_reads(r, group->nodes[i], mark);
    for (int i = 0; i < r->segment_count; i++)
        if (r->segments[i].marked && !r->segments[i].done)
            run_segment(r, &r->segments[i]);
    for (int i = 0; i < group->count; i++) {
        Node *node = group->nodes[i];
        replace_inputs(r, node);
        node->y = replaced(r, node->y);
        add_node(r, node);
    }
}

/* Nodes that will be one kernel stay together: what they read is made before the first of them. */
static void rewrite_program(Rewriting *r, Program *program) {
    GroupList groups = fuse_program(r->graph->arena, program, r->fused);
    program->nodes = NULL;
    program->count = program->capacity = 0;
    r->program = program;
    for (int i = 0; i < groups.count; i++)
        rewrite_group(r, groups.groups[i]);
}

void recompute_apply(Graph *graph, const bool *dropped, bool fused) {
    Arena *arena = graph->arena;
    size_t count = (size_t)graph->tensor_count;
    Rewriting r = {.graph = graph,
                   .fused = fused,
                   .origin = ARENA_ARRAY(arena, Origin, count),
                   .kept = ARENA_ARRAY(arena, bool, count),
                   .wanted = ARENA_ARRAY(arena, bool, count),
                   .replica = ARENA_ARRAY(arena, Tensor *, count),
                   .views = ARENA_ARRAY(arena, Tensor *, count)};
    find_origins(&r);
    choose_kept(&r, dropped);
    choose_segments(&r);
    for (int p = PROGRAM_BACKWARD; p < PROGRAM_COUNT; p++)
        rewrite_program(&r, &graph->programs[p]);
    graph_number_nodes(graph);
}

int64_t recomputed_flops(const Graph *graph) {
    int64_t flops = 0; /* no more than the network's, which are known to fit */
    for (int i = 0; i < graph->recomputed_count; i++)
        flops += graph->recomputed[i]->cost.flops;
    return flops;
}
