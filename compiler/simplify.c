#include "simplify.h"

#include <limits.h>

/* ---- Who reads and writes what, in the rest of the backward pass ---- */

/* Positions of nodes behind a given one: of those that read a storage the last, -1 if there is
 * none; of those that write it the first, INT_MAX if there is none. */
typedef struct Later {
    int last_read, first_write;
} Later;

static bool is_listed(Tensor *const *list, int count, const Tensor *storage) {
    for (int i = 0; i < count; i++)
        if (list[i] == storage)
            return true;
    return false;
}

typedef struct Simplification {
    Graph *graph;
    int capacity; /* enough for any node */
    Tensor **list;
} Simplification;

typedef struct Use {
    bool read, written;
} Use;

static Use use_of(const Simplification *s, const Node *node, const Tensor *storage) {
    Use use = {.read = is_listed(s->list, node_reads(node, s->list, s->capacity), storage)};
    use.written = is_listed(s->list, node_writes(node, s->list, s->capacity), storage);
    return use;
}

static Later later_use(const Simplification *s, int position, const Tensor *storage) {
    Later later = {-1, INT_MAX};
    for (int program = PROGRAM_BACKWARD; program <= PROGRAM_BACKWARD_INPUT; program++)
        for (int i = 0; i < s->graph->programs[program].count; i++) {
            const Node *node = s->graph->programs[program].nodes[i];
            if (node->position <= position)
                continue;
            Use use = use_of(s, node, storage);
            if (use.read)
                later.last_read = node->position;
            if (use.written && later.first_write == INT_MAX)
                later.first_write = node->position;
        }
    return later;
}

/* ---- Gradients that are passed on ---- */

/* What is added to either gradient must come after the other has been read for the last time. */
static bool can_share(const Simplification *s, const Node *node) {
    if (node->role != NODE_DATA_GRADIENT || !(node->op->flags & OP_PASSES_GRADIENT) ||
        node->accumulate)
        return false;
    const Tensor *from = tensor_storage(node->dy), *to = tensor_storage(node->dx);
    if (from == to || from->pinned || to->pinned || !tensor_same_extents(from, to))
        return false;
    Later source = later_use(s, node->position, from);
    Later result = later_use(s, node->position, to);
    return source.last_read < result.first_write && result.last_read < source.first_write;
}

/* ---- Derivatives that a selection takes over ---- */

/* The only node that reads the storage behind `node`, if it is the derivative of a RELU there. */
static Node *derivative_behind(const Simplification *s, const Node *node, const Tensor *storage) {
    Node *found = NULL;
    for (int program = PROGRAM_BACKWARD; program <= PROGRAM_BACKWARD_INPUT; program++)
        for (int i = 0; i < s->graph->programs[program].count; i++) {
            Node *other = s->graph->programs[program].nodes[i];
            Use use = use_of(s, other, storage);
            if (other == node || !(use.read || use.written))
                continue;
            bool derivative = other->role == NODE_DATA_GRADIENT &&
                              (other->op->flags & OP_POSITIVE_PART) && !use.written &&
                              tensor_storage(other->dy) == storage;
            if (found || !derivative)
                return NULL;
            found = other;
        }
    return found;
}

/* Whether the derivative can be made where the selection is: nothing between them adds to its
 * result. */
static bool can_move(const Simplification *s, const Node *derivative, const Node *selection) {
    for (int i = 0; i < s->graph->programs[PROGRAM_BACKWARD].count; i++) {
        const Node *node = s->graph->programs[PROGRAM_BACKWARD].nodes[i];
        bool between =
            node->position > selection->position && node->position < derivative->position;
        Use use = use_of(s, node, tensor_storage(derivative->dx));
        if (between && (use.read || use.written))
            return false;
    }
    return true;
}

/* The derivative that the node can take over; NULL: none. */
static Node *derivative_for(const Simplification *s, const Node *node) {
    if (node->role != NODE_DATA_GRADIENT || !(node->op->flags & OP_SELECTS) || node->accumulate ||
        node->through_positive)
        return NULL;
    const Tensor *made = tensor_storage(node->dx);
    Node *derivative = made->pinned ? NULL : derivative_behind(s, node, made);
    bool same = derivative && tensor_same_extents(derivative->dy, node->dx) &&
                tensor_same_extents(derivative->dx, node->dx);
    return same && can_move(s, derivative, node) ? derivative : NULL;
}

/* ---- The pass ---- */

static void remove_node(Program *program, const Node *node) {
    int kept = 0;
    for (int i = 0; i < program->count; i++)
        if (program->nodes[i] != node)
            program->nodes[kept++] = program->nodes[i];
    program->count = kept;
}

static void take_over(Program *program, Node *node, const Node *derivative) {
    node->dx = derivative->dx;
    node->accumulate = derivative->accumulate;
    node->through_positive = true;
    remove_node(program, derivative);
}

static Simplification start(Graph *graph) {
    Simplification s = {.graph = graph};
    for (int program = PROGRAM_BACKWARD; program <= PROGRAM_BACKWARD_INPUT; program++)
        for (int i = 0; i < graph->programs[program].count; i++) {
            int capacity = node_tensor_capacity(graph->programs[program].nodes[i]);
            s.capacity = capacity > s.capacity ? capacity : s.capacity;
        }
    s.list = ARENA_ARRAY(graph->arena, Tensor *, (size_t)s.capacity + 1);
    return s;
}

void simplify_graph(Graph *graph) {
    Simplification s = start(graph);
    Program *backward = &graph->programs[PROGRAM_BACKWARD];
    for (int i = 0; i < backward->count; i++) {
        Node *node = backward->nodes[i], *derivative = derivative_for(&s, node);
        if (derivative)
            take_over(backward, node, derivative);
    }
    for (int i = 0; i < backward->count; i++) {
        Node *node = backward->nodes[i];
        if (can_share(&s, node)) {
            tensor_storage(node->dx)->view_of = tensor_storage(node->dy);
            remove_node(backward, node);
            i--;
        }
    }
    graph_number_nodes(graph);
}
