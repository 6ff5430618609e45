#include "fuse_moments.h"

/* Of a tile: with fewer its moments, two numbers that are written and read again, cost more than
 * reading the map once more. */
#define LEAST_NUMBERS 12

/* Whether the group makes a map for this node, and nothing but that. */
static bool makes_input(const Group *group, const Node *reader) {
    const Node *maker = group->nodes[0];
    return group->count == 1 && maker->op->tile_numbers != NULL && maker->role == NODE_FORWARD &&
           reader->role == NODE_FORWARD && (reader->op->flags & OP_READS_MOMENTS) &&
           !reader->recomputed && reader->x[0] == maker->y && maker->y->layout.blocked_axis == 0;
}

static Tensor *make_moments(Graph *graph, const Node *maker, int64_t tiles) {
    const Tensor *map = maker->y;
    const int64_t extent[] = {map->extent[0], tiles, 2};
    const char *name = arena_format(graph->arena, "%s.moments", maker->layer->name);
    Tensor *moments = graph_tensor(graph, TENSOR_MOMENTS, maker->layer, name, true, 3, extent);
    moments->layout = (Layout){.blocked_axis = 0, .block = map->layout.block};
    return moments;
}

static void try_pair(Arena *arena, Graph *graph, const Group *group, Node *reader,
                     const LowerOptions *options) {
    Node *maker = group->nodes[0];
    Lowering lowering = {.arena = arena, .group = group, .options = options, .graph = graph};
    if (!makes_input(group, reader))
        return;
    int64_t positions = maker->y->elements / maker->y->extent[0];
    int64_t numbers = maker->op->tile_numbers(&lowering, maker);
    if (numbers < LEAST_NUMBERS)
        return;
    maker->moments = reader->moments = make_moments(graph, maker, positions / numbers);
    maker->moments->last_reader = reader->position;
}

void fuse_moments(Arena *arena, Graph *graph, const GroupList *list, const LowerOptions *options) {
    for (int i = 1; i < list->count; i++)
        try_pair(arena, graph, list->groups[i - 1], list->groups[i]->nodes[0], options);
}
