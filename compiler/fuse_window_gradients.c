#include "fuse_window_gradients.h"
#include "ops/pooling.h"
#include "winograd.h"

static bool is_blocked(const Tensor *tensor) {
    return tensor->layout.blocked_axis == 0 && tensor->layout.block > 1;
}

/* Whether the group is the gradient of pooling alone, in windows that tile what it makes. */
static bool is_candidate(const Group *group) {
    const Node *node = group->nodes[0];
    if (group->count != 1 || node->role != NODE_DATA_GRADIENT || node->accumulate ||
        node->op->lower_window_gradient == NULL || node->saved[0] == NULL)
        return false;
    const Window *window = &node->layer->window;
    return node->dx->view_of == NULL && is_blocked(node->dx) && is_blocked(node->dy) &&
           is_blocked(node->y) && is_blocked(node->saved[0]) && window->rank == 2 &&
           pooling_tiles_input(window) && pooling_taps(window) <= POOLING_UNROLLED;
}

static bool reads(Arena *arena, const Group *group, Tensor *tensor) {
    for (int k = 0; k < group->count; k++)
        if (node_reads_storage(arena, group->nodes[k], tensor_storage(tensor)))
            return true;
    return false;
}

static bool writes(Arena *arena, const Group *group, Tensor *tensor) {
    for (int k = 0; k < group->count; k++)
        if (node_writes_storage(arena, group->nodes[k], tensor_storage(tensor)))
            return true;
    return false;
}

/* The first of the groups from `begin` on that reads what the pooling makes; -1 if there is none,
 * or one before it writes what that is made of: gradients share memory, and later ones add to it.
 */
static int first_reader(Arena *arena, const GroupList *list, int begin, const Node *pooling) {
    for (int i = begin; i < list->count; i++) {
        const Group *group = list->groups[i];
        if (reads(arena, group, pooling->dx))
            return i;
        if (writes(arena, group, pooling->dy) || writes(arena, group, pooling->y) ||
            writes(arena, group, pooling->saved[0]))
            return -1;
    }
    return -1;
}

static bool can_make(const Group *group, const Node *pooling, Lowering lowering) {
    const Node *node = group->nodes[0];
    lowering.group = group;
    return node->dy && tensor_storage(node->dy) == pooling->dx &&
           tensor_same_extents(node->dy, pooling->dx) &&
           winograd_takes_window_gradient(&lowering, node, &pooling->layer->window);
}

static void read_until(Tensor *tensor, int position) {
    Tensor *storage = tensor_storage(tensor);
    if (storage->last_reader < position)
        storage->last_reader = position;
}

static void make_in_passing(Node *node, const Node *pooling) {
    node->dy_windows = pooling;
    read_until(pooling->dy, node->position);
    read_until(pooling->y, node->position);
    read_until(pooling->saved[0], node->position);
}

void fuse_window_gradients(Arena *arena, const Graph *graph, GroupList *list,
                           const LowerOptions *options) {
    const Lowering lowering = {.arena = arena, .options = options, .graph = graph};
    GroupList kept = {0, ARENA_ARRAY(arena, Group *, (size_t)list->count + 1)};
    for (int i = 0; i < list->count; i++) {
        Group *group = list->groups[i];
        const Node *pooling = group->nodes[0];
        int reader = is_candidate(group) ? first_reader(arena, list, i + 1, pooling) : -1;
        if (reader >= 0 && can_make(list->groups[reader], pooling, lowering))
            make_in_passing(list->groups[reader]->nodes[0], pooling);
        else
            kept.groups[kept.count++] = group;
    }
    *list = kept;
}
