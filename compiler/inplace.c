#include "inplace.h"

#include <string.h>

/* Whether the node hands over each element of its result once, and reads nothing but at that
 * element once it has begun to hand over. What it reads itself is another matter: see is_free. */
static bool hands_over_elements(const Node *leader) {
    return node_is_elementwise(leader) || leader->layer->cost.macs > 0 ||
           (leader->op->flags & OP_MODE);
}

static bool touches(Arena *arena, const Node *node, const Tensor *storage) {
    return node_reads_storage(arena, node, storage) || node_writes_storage(arena, node, storage);
}

static bool reads_alike(const Tensor *read, const Tensor *storage) {
    return read == NULL || tensor_storage((Tensor *)read) != storage ||
           tensor_same_extents(read, storage);
}

/* An elementwise node reads the tensor at the element that it makes, if at all. */
static bool reads_by_element(const Node *node, const Tensor *storage) {
    bool alike = reads_alike(node->y, storage) && reads_alike(node->dy, storage);
    for (int i = 0; i < node->input_count; i++)
        alike = alike && reads_alike(node->x[i], storage);
    return alike;
}

static bool same_layout(const Tensor *a, const Tensor *b) {
    size_t rank = (size_t)a->rank * sizeof a->layout.before[0];
    return tensor_same_extents(a, b) && a->type == b->type &&
           a->layout.blocked_axis == b->layout.blocked_axis && a->layout.block == b->layout.block &&
           memcmp(a->layout.before, b->layout.before, rank) == 0 &&
           memcmp(a->layout.after, b->layout.after, rank) == 0;
}

static bool can_be_taken(const Tensor *storage) {
    return (storage->role == TENSOR_ACTIVATION || storage->role == TENSOR_GRADIENT) &&
           !storage->pinned;
}

/* Nothing after the group reads the tensor, and nothing within it but at the element at hand. */
static bool is_free(Arena *arena, const Group *group, const Tensor *storage) {
    const Node *leader = group->nodes[0], *last = group->nodes[group->count - 1];
    if (storage->last_reader > last->position ||
        (!node_is_elementwise(leader) && touches(arena, leader, storage)))
        return false;
    for (int i = 0; i < group->count; i++) {
        const Node *node = group->nodes[i];
        if (i > 0 || node_is_elementwise(node))
            if (!reads_by_element(node, storage))
                return false;
        if (node_result(node) && tensor_storage(node_result(node)) == storage)
            return false; /* it is made here */
    }
    return true;
}

static Tensor *find_place(Arena *arena, const Group *group, const Tensor *result) {
    for (int i = 0; i < group->count; i++) {
        const Node *node = group->nodes[i];
        int capacity = node_tensor_capacity(node);
        Tensor **reads = ARENA_ARRAY(arena, Tensor *, (size_t)capacity);
        int count = node_reads(node, reads, capacity);
        for (int k = 0; k < count; k++)
            if (can_be_taken(reads[k]) && same_layout(reads[k], result) &&
                is_free(arena, group, reads[k]))
                return reads[k];
    }
    return NULL;
}

static void place_result(Arena *arena, const Group *group) {
    const Node *last = group->nodes[group->count - 1];
    Tensor *result = node_result(last);
    if (result == NULL || last->accumulate || result->view_of || !can_be_taken(result) ||
        !hands_over_elements(group->nodes[0]))
        return;
    Tensor *place = find_place(arena, group, result);
    if (place == NULL)
        return;
    result->view_of = place;
    if (place->last_reader < result->last_reader)
        place->last_reader = result->last_reader;
}

void share_memory_in_place(Arena *arena, const GroupList *groups) {
    for (int i = 0; i < groups->count; i++)
        place_result(arena, groups->groups[i]);
}
