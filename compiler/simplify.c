#include "simplify.h"

#include <limits.h>

/* ---- Who reads and writes what, in the rest of the backward pass ---- */

/* A node that may read or write a storage: whether it still does is asked anew each time, since the
 * pass changes nodes. */
typedef struct User {
    Node *node;
    struct User *next;
} User;

typedef struct Simplification {
    Graph *graph;
    User **users;  /* by number of the storage; may name one node several times */
    bool *removed; /* by position of the node */
    int capacity;  /* enough for any node */
    Tensor **list;
} Simplification;

static bool is_listed(Tensor *const *list, int count, const Tensor *storage) {
    for (int i = 0; i < count; i++)
        if (list[i] == storage)
            return true;
    return false;
}

typedef struct Use {
    bool read, written;
} Use;

static Use use_of(const Simplification *s, const Node *node, const Tensor *storage) {
    if (s->removed[node->position])
        return (Use){false, false};
    Use use = {.read = is_listed(s->list, node_reads(node, s->list, s->capacity), storage)};
    use.written = is_listed(s->list, node_writes(node, s->list, s->capacity), storage);
    return use;
}

static void add_user(Simplification *s, const Tensor *storage, Node *node) {
    User *user = ARENA_NEW(s->graph->arena, User);
    *user = (User){node, s->users[storage->number]};
    s->users[storage->number] = user;
}

static void add_uses(Simplification *s, Node *node) {
    int count = node_reads(node, s->list, s->capacity);
    for (int i = 0; i < count; i++)
        add_user(s, s->list[i], node);
    count = node_writes(node, s->list, s->capacity);
    for (int i = 0; i < count; i++)
        add_user(s, s->list[i], node);
}

/* Positions of nodes behind a given one: of those that read a storage the last, -1 if there is
 * none; of those that write it the first, INT_MAX if there is none. */
typedef struct Later {
    int last_read, first_write;
} Later;

static Later later_use(const Simplification *s, int position, const Tensor *storage) {
    Later later = {-1, INT_MAX};
    for (const User *user = s->users[storage->number]; user; user = user->next) {
        int other = user->node->position;
        if (other <= position)
            continue;
        Use use = use_of(s, user->node, storage);
        if (use.read && other > later.last_read)
            later.last_read = other;
        if (use.written && other < later.first_write)
            later.first_write = other;
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
    for (const User *user = s->users[storage->number]; user; user = user->next) {
        Node *other = user->node;
        Use use = use_of(s, other, storage);
        if (other == node || other == found || !(use.read || use.written))
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
    const Tensor *result = tensor_storage(derivative->dx);
    for (const User *user = s->users[result->number]; user; user = user->next) {
        int other = user->node->position;
        Use use = use_of(s, user->node, result);
        if (other > selection->position && other < derivative->position &&
            (use.read || use.written))
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

static void take_over(Simplification *s, Node *node, const Node *derivative) {
    s->removed[derivative->position] = true;
    node->dx = derivative->dx;
    node->accumulate = derivative->accumulate;
    node->through_positive = true;
    add_uses(s, node);
}

/* The result of the node is its gradient: one storage from now on. */
static void share(Simplification *s, const Node *node) {
    Tensor *from = tensor_storage(node->dy), *to = tensor_storage(node->dx);
    s->removed[node->position] = true;
    for (const User *user = s->users[to->number]; user; user = user->next)
        add_user(s, from, user->node);
    to->view_of = from;
}

static void drop_removed(const Simplification *s, Program *program) {
    int kept = 0;
    for (int i = 0; i < program->count; i++)
        if (!s->removed[program->nodes[i]->position])
            program->nodes[kept++] = program->nodes[i];
    program->count = kept;
}

static Simplification start(Graph *graph) {
    Simplification s = {
        .graph = graph,
        .users = ARENA_ARRAY(graph->arena, User *, (size_t)graph->tensor_count + 1),
    };
    int nodes = 0;
    for (int program = PROGRAM_FORWARD_TRAINING; program < PROGRAM_COUNT; program++)
        for (int i = 0; i < graph->programs[program].count; i++, nodes++) {
            int capacity = node_tensor_capacity(graph->programs[program].nodes[i]);
            s.capacity = capacity > s.capacity ? capacity : s.capacity;
        }
    s.removed = ARENA_ARRAY(graph->arena, bool, (size_t)nodes + 1);
    s.list = ARENA_ARRAY(graph->arena, Tensor *, (size_t)s.capacity + 1);
    for (int program = PROGRAM_BACKWARD; program <= PROGRAM_BACKWARD_INPUT; program++)
        for (int i = 0; i < graph->programs[program].count; i++)
            add_uses(&s, graph->programs[program].nodes[i]);
    return s;
}

void simplify_graph(Graph *graph) {
    Simplification s = start(graph);
    Program *backward = &graph->programs[PROGRAM_BACKWARD];
    for (int i = 0; i < backward->count; i++) {
        Node *node = backward->nodes[i];
        const Node *derivative = s.removed[node->position] ? NULL : derivative_for(&s, node);
        if (derivative)
            take_over(&s, node, derivative);
    }
    drop_removed(&s, backward);
    for (int i = 0; i < backward->count; i++)
        if (can_share(&s, backward->nodes[i]))
            share(&s, backward->nodes[i]);
    drop_removed(&s, backward);
    graph_number_nodes(graph);
}
