#include "fuse.h"

/* The tensor through which an elementwise node continues what came before: an input that it maps
 * element by element, or the gradient that it passes on. What was made before must not be read in
 * any other shape: its other elements are not there yet. */
static bool continues_from(const Node *node, const Node *before) {
    Tensor *made = node_result(before);
    if (made == NULL || !node_is_elementwise(node))
        return false;
    const Tensor *result = node_result(node);
    if (!tensor_same_extents(made, result))
        return false;
    if (node->role == NODE_DATA_GRADIENT)
        return tensor_storage(node->dy) == tensor_storage(made) &&
               tensor_same_extents(node->dy, made);
    bool continues = false;
    for (int i = 0; i < node->input_count; i++) {
        if (tensor_storage(node->x[i]) != tensor_storage(made))
            continue;
        if (!tensor_same_extents(node->x[i], result))
            return false;
        continues = true;
    }
    return continues;
}

/* A node can have others fused behind it if it hands over each element once, finished. */
static bool can_lead(const Node *node) {
    return node->role == NODE_FORWARD || node->role == NODE_DATA_GRADIENT;
}

/* A node that writes its result as one vector hands over elements by number: those of what follows
 * and of what that reads must lie in that order, too. */
static bool leaves_order(const Node *leader, const Node *node) {
    if (leader->role != NODE_DATA_GRADIENT || !(leader->op->flags & OP_READS_FLAT))
        return false;
    bool flat = tensor_lies_flat(node_result(node)) && tensor_lies_flat(node->y);
    for (int i = 0; i < node->input_count; i++)
        flat = flat && tensor_lies_flat(node->x[i]);
    return !flat;
}

/* A node whose result is in C order may go through the batch example by example, and so leave out
 * what lies behind the batch in the last block of another tensor. */
static bool leaves_lanes(const Node *before, const Node *node) {
    return node_result(node)->layout.blocked_axis == BATCH_AXIS &&
           node_result(before)->layout.blocked_axis != BATCH_AXIS;
}

/* Whether a node of the group reads, perhaps in another order, what the node would overwrite: they
 * share memory where gradients do (simplify.c). */
static bool overwrites(Arena *arena, const Group *group, const Node *node) {
    const Tensor *result = tensor_storage(node_result(node));
    for (int i = 0; i < group->count; i++)
        if (node_reads_storage(arena, group->nodes[i], result))
            return true;
    return false;
}

static bool can_follow(Arena *arena, const Group *group, const Node *node) {
    const Node *last = group->nodes[group->count - 1];
    if (node->leads)
        return false;
    if ((node->op->flags & OP_RANDOM) && group_random_layer(group) >= 0)
        return false; /* one stream of random numbers for each kernel */
    return can_lead(group->nodes[0]) && continues_from(node, last) &&
           !leaves_order(group->nodes[0], node) && !leaves_lanes(last, node) &&
           !overwrites(arena, group, node);
}

static Group *new_group(Arena *arena, Node *node) {
    Group *group = ARENA_NEW(arena, Group);
    ARENA_GROW(arena, group->nodes, group->count, group->capacity);
    group->nodes[group->count++] = node;
    return group;
}

static void follow(Arena *arena, Group *group, Node *node) {
    Node *last = group->nodes[group->count - 1];
    const Tensor *made = tensor_storage(node_result(last));
    last->stored = made->pinned || made->last_reader > node->position;
    ARENA_GROW(arena, group->nodes, group->count, group->capacity);
    group->nodes[group->count++] = node;
}

static const Node *training_twin(const Program *training, const Node *node) {
    for (int i = 0; i < training->count; i++)
        if (training->nodes[i]->layer == node->layer)
            return training->nodes[i];
    return NULL;
}

void fuse_evaluation_as_training(Graph *graph) {
    const Program *evaluation = &graph->programs[PROGRAM_FORWARD];
    for (int i = 0; i < evaluation->count; i++) {
        Node *node = evaluation->nodes[i];
        if (!node_is_elementwise(node))
            continue;
        const Node *twin = training_twin(&graph->programs[PROGRAM_FORWARD_TRAINING], node);
        node->leads |= twin && !node_is_elementwise(twin);
    }
}

GroupList fuse_program(Arena *arena, const Program *program, bool enabled) {
    GroupList list = {0, ARENA_ARRAY(arena, Group *, (size_t)program->count + 1)};
    for (int i = 0; i < program->count; i++) {
        Node *node = program->nodes[i];
        if (enabled && i > 0 && can_follow(arena, list.groups[list.count - 1], node))
            follow(arena, list.groups[list.count - 1], node);
        else
            list.groups[list.count++] = new_group(arena, node);
    }
    return list;
}
