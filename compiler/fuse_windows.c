#include "fuse_windows.h"
#include "ops/pooling.h"
#include "winograd.h"

/* Whether the group's result is read by this node alone, and in windows that tile it. */
static bool reads_all(const Group *group, const Node *reader) {
    const Node *last = group->nodes[group->count - 1];
    if (reader->role != NODE_FORWARD || reader->op->lower_window == NULL || reader->leads ||
        last->role != NODE_FORWARD || node_is_elementwise(reader))
        return false;
    const Tensor *made = tensor_storage(last->y);
    return reader->x[0] == last->y && made == last->y && !made->pinned &&
           made->last_reader <= reader->position && made->layout.blocked_axis == 0 &&
           pooling_tiles_input(&reader->layer->window) &&
           pooling_taps(&reader->layer->window) <= POOLING_UNROLLED;
}

static bool can_join(Arena *arena, const Graph *graph, const Group *group, const Group *next,
                     const LowerOptions *options) {
    const Node *reader = next->nodes[0];
    Lowering lowering = {.arena = arena, .group = group, .options = options, .graph = graph};
    return reads_all(group, reader) &&
           (group_random_layer(group) < 0 || group_random_layer(next) < 0) &&
           winograd_takes_windows(&lowering, group->nodes[0], &reader->layer->window);
}

void fuse_windows(Arena *arena, const Graph *graph, GroupList *list, const LowerOptions *options) {
    int count = 0;
    for (int i = 0; i < list->count; i++) {
        Group *next = list->groups[i], *group = count > 0 ? list->groups[count - 1] : NULL;
        if (group == NULL || !can_join(arena, graph, group, next, options)) {
            list->groups[count++] = next;
            continue;
        }
        group->nodes[group->count - 1]->stored = false;
        for (int k = 0; k < next->count; k++) {
            ARENA_GROW(arena, group->nodes, group->count, group->capacity);
            group->nodes[group->count++] = next->nodes[k];
        }
    }
    list->count = count;
}
