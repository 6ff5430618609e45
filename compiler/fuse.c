#include "fuse.h"

#include <string.h>

/* The tensor through which an elementwise node continues what came before: the input it maps, or
 * the gradient it passes on. */
static bool continues_from(const Node *node, const Node *before) {
    Tensor *made = node_result(before);
    if (made == NULL || !node_is_elementwise(node))
        return false;
    const Tensor *result = node_result(node);
    bool same_shape =
        made->rank == result->rank &&
        memcmp(made->extent, result->extent, (size_t)made->rank * sizeof made->extent[0]) == 0;
    if (!same_shape)
        return false;
    if (node->role == NODE_DATA_GRADIENT)
        return tensor_storage(node->dy) == tensor_storage(made);
    for (int i = 0; i < node->input_count; i++)
        if (tensor_storage(node->x[i]) == tensor_storage(made))
            return true;
    return false;
}

/* A node can have others fused behind it if it hands over each element once, finished. */
static bool can_lead(const Node *node) {
    if (node->role == NODE_FORWARD)
        return true;
    return node->role == NODE_DATA_GRADIENT && !(node->op->flags & OP_SCATTERS);
}

/* A view writes through another shape than the next node may index with: extents are compared, so
 * equal extents and equal storage are enough. The data gradients that read what the group has not
 * stored (x or y made inside) cannot occur: those tensors come from the forward programs. */
static bool can_follow(const Group *group, const Node *node) {
    const Node *last = group->nodes[group->count - 1];
    return can_lead(group->nodes[0]) && continues_from(node, last);
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

GroupList fuse_program(Arena *arena, const Program *program, bool enabled) {
    GroupList list = {0, ARENA_ARRAY(arena, Group *, (size_t)program->count + 1)};
    for (int i = 0; i < program->count; i++) {
        Node *node = program->nodes[i];
        if (enabled && i > 0 && can_follow(list.groups[list.count - 1], node))
            follow(arena, list.groups[list.count - 1], node);
        else
            list.groups[list.count++] = new_group(arena, node);
    }
    return list;
}
