#include "recompute_order.h"

#include <stdlib.h>
#include <string.h>

/* A group of the forward pass: it is run again as a whole up to the last node that is wanted. */
typedef struct Segment {
    int first, last; /* nodes to run again; last < 0: none */
    bool marked;     /* wanted by a group of the backward pass so far */
} Segment;

typedef struct Origin {
    int segment;  /* < 0: not made by a node of the forward pass */
    int position; /* in its group */
} Origin;

typedef struct GroupArray {
    int count;
    OrderGroup *groups;
} GroupArray;

typedef struct OrderWork {
    GroupArray groups[PROGRAM_COUNT]; /* those of the forward pass are the segments */
    Segment *segments;
    /* By tensor number, of storages. */
    Origin *origin;
    bool *read_backward;
    bool *can_be_remade;
    bool *kept; /* the backward pass can read it as it is */
    int marked_count;
    int *marked; /* segments, in no order */
} OrderWork;

/* ---- Groups ---- */

static Storages storages(Arena *arena, const Node *node,
                         int (*list)(const Node *node, Tensor **tensors, int capacity)) {
    int capacity = node_tensor_capacity(node);
    Tensor **tensors = ARENA_ARRAY(arena, Tensor *, (size_t)capacity);
    int count = list(node, tensors, capacity);
    int *numbers = ARENA_ARRAY(arena, int, (size_t)count + 1);
    for (int i = 0; i < count; i++)
        numbers[i] = tensors[i]->number;
    return (Storages){count, numbers};
}

static OrderNode order_node(Arena *arena, Node *node) {
    Tensor *result = node_result(node);
    OrderNode found = {.node = node, .made = result ? tensor_storage(result)->number : -1};
    found.reads = storages(arena, node, node_reads);
    found.writes = storages(arena, node, node_writes);
    if (node->role == NODE_FORWARD) {
        Node again = *node;
        again.recomputed = true;
        found.reads_again = storages(arena, &again, node_reads);
        found.writes_again = storages(arena, &again, node_writes);
    }
    return found;
}

static GroupArray order_groups(Arena *arena, const Program *program, bool fused) {
    GroupList list = fuse_program(arena, program, fused);
    GroupArray array = {list.count, ARENA_ARRAY(arena, OrderGroup, (size_t)list.count + 1)};
    for (int i = 0; i < list.count; i++) {
        const Group *group = list.groups[i];
        OrderNode *nodes = ARENA_ARRAY(arena, OrderNode, (size_t)group->count);
        for (int k = 0; k < group->count; k++)
            nodes[k] = order_node(arena, group->nodes[k]);
        array.groups[i] = (OrderGroup){group->count, nodes};
    }
    return array;
}

/* ---- What does not depend on the choice ---- */

/* Whether a forward node can run again without changing anything but its result: what it saves it
 * saves once more. */
static bool repeatable(const Node *node) {
    bool statistics = false;
    for (int p = 0; p < node->layer->parameter_count; p++)
        statistics = statistics || node->layer->parameters[p].role == PARAMETER_RUNNING;
    return !statistics || node->op->value_again != NULL;
}

/* A tensor can be remade if all nodes of the group up to its own can run again. */
static void find_origins(const Recomputation *r) {
    OrderWork *work = r->work;
    const GroupArray *forward = &work->groups[PROGRAM_FORWARD_TRAINING];
    for (int i = 0; i < r->graph->tensor_count; i++)
        work->origin[i].segment = -1;
    for (int i = 0; i < forward->count; i++) {
        bool good = true;
        for (int k = 0; k < forward->groups[i].count; k++) {
            const OrderNode *node = &forward->groups[i].nodes[k];
            good = good && repeatable(node->node);
            work->origin[node->made] = (Origin){i, k};
            work->can_be_remade[node->made] = good && !r->graph->tensors[node->made]->pinned;
        }
    }
}

static void find_backward_reads(const Recomputation *r) {
    OrderWork *work = r->work;
    for (int p = PROGRAM_BACKWARD; p < PROGRAM_COUNT; p++)
        for (int i = 0; i < work->groups[p].count; i++)
            for (int k = 0; k < work->groups[p].groups[i].count; k++) {
                const Storages *reads = &work->groups[p].groups[i].nodes[k].reads;
                for (int n = 0; n < reads->count; n++)
                    work->read_backward[reads->numbers[n]] = true;
            }
}

static Run whole_group(const OrderGroup *group) {
    return (Run){group, 0, group->count - 1, false};
}

Recomputation *recomputation_create(Arena *arena, Graph *graph, bool fused) {
    Recomputation *r = ARENA_NEW(arena, Recomputation);
    OrderWork *work = ARENA_NEW(arena, OrderWork);
    for (int p = PROGRAM_FORWARD_TRAINING; p < PROGRAM_COUNT; p++)
        work->groups[p] = order_groups(arena, &graph->programs[p], fused);
    size_t tensors = (size_t)graph->tensor_count;
    const GroupArray *forward = &work->groups[PROGRAM_FORWARD_TRAINING];
    size_t segments = (size_t)forward->count + 1;
    work->segments = ARENA_ARRAY(arena, Segment, segments);
    work->marked = ARENA_ARRAY(arena, int, segments);
    work->origin = ARENA_ARRAY(arena, Origin, tensors);
    work->read_backward = ARENA_ARRAY(arena, bool, tensors);
    work->can_be_remade = ARENA_ARRAY(arena, bool, tensors);
    work->kept = ARENA_ARRAY(arena, bool, tensors);
    *r = (Recomputation){.graph = graph, .wanted = ARENA_ARRAY(arena, bool, tensors), .work = work};
    for (int p = PROGRAM_FORWARD_TRAINING; p < PROGRAM_COUNT; p++)
        r->programs[p].runs = ARENA_ARRAY(arena, Run, (size_t)work->groups[p].count + segments);
    for (int i = 0; i < forward->count; i++)
        r->programs[PROGRAM_FORWARD_TRAINING].runs[i] = whole_group(&forward->groups[i]);
    r->programs[PROGRAM_FORWARD_TRAINING].count = forward->count;
    find_origins(r);
    find_backward_reads(r);
    return r;
}

/* ---- What is made again ---- */

/* Everything that the backward pass reads is kept, and what cannot be remade; then the rest of the
 * marked outputs is not. */
static void choose_kept(Recomputation *r, const bool *dropped) {
    OrderWork *work = r->work;
    for (int i = 0; i < r->graph->tensor_count; i++) {
        bool remade = work->can_be_remade[i] && work->read_backward[i] &&
                      dropped[r->graph->tensors[i]->layer->index];
        work->kept[i] = !remade && (work->read_backward[i] || !work->can_be_remade[i]);
        r->wanted[i] = remade;
    }
}

/* A group runs again from its first node: the C compiler may contract the multiplication of one
 * node with the addition of the next. Sums of products end in an addition; where the result of
 * one is kept, it is not computed again. */
static int first_to_run(const OrderWork *work, const OrderGroup *group, int last) {
    bool product_sum = group->nodes[0].node->layer->cost.macs > 0;
    return product_sum && last > 0 && work->kept[group->nodes[0].made];
}

static void want(Recomputation *r, const Storages *reads) {
    for (int i = 0; i < reads->count; i++) {
        int number = reads->numbers[i];
        r->wanted[number] = r->wanted[number] || !r->work->kept[number];
    }
}

/* From the last group to the first: what the wanted ones are made of is wanted, unless it is kept.
 */
static void choose_segments(Recomputation *r) {
    OrderWork *work = r->work;
    const GroupArray *forward = &work->groups[PROGRAM_FORWARD_TRAINING];
    for (int i = forward->count - 1; i >= 0; i--) {
        const OrderGroup *group = &forward->groups[i];
        Segment *segment = &work->segments[i];
        *segment = (Segment){.last = -1};
        for (int k = 0; k < group->count; k++)
            if (r->wanted[group->nodes[k].made])
                segment->last = k;
        segment->first = first_to_run(work, group, segment->last);
        /* Tensors within the segment are marked too, which changes nothing: it is done as a whole.
         */
        for (int k = segment->first; k <= segment->last; k++)
            want(r, &group->nodes[k].reads);
    }
}

/* ---- When ---- */

/* Marks the segments that make what is read. */
static void mark(Recomputation *r, const Storages *reads) {
    OrderWork *work = r->work;
    for (int i = 0; i < reads->count; i++) {
        int number = reads->numbers[i], index = work->origin[number].segment;
        if (!r->wanted[number] || work->segments[index].marked)
            continue;
        Segment *segment = &work->segments[index];
        segment->marked = true;
        work->marked[work->marked_count++] = index;
        for (int k = segment->first; k <= segment->last; k++)
            mark(r, &work->groups[PROGRAM_FORWARD_TRAINING].groups[index].nodes[k].reads);
    }
}

static int compare_numbers(const void *a, const void *b) {
    return *(const int *)a - *(const int *)b;
}

/* Nodes that will be one kernel stay together: what they read is made before the first of them. */
static void order_group(Recomputation *r, RunList *list, const OrderGroup *group) {
    OrderWork *work = r->work;
    work->marked_count = 0;
    for (int k = 0; k < group->count; k++)
        mark(r, &group->nodes[k].reads);
    if (work->marked_count > 1)
        qsort(work->marked, (size_t)work->marked_count, sizeof *work->marked, compare_numbers);
    for (int i = 0; i < work->marked_count; i++) {
        const Segment *segment = &work->segments[work->marked[i]];
        list->runs[list->count++] =
            (Run){&work->groups[PROGRAM_FORWARD_TRAINING].groups[work->marked[i]], segment->first,
                  segment->last, true};
    }
    list->runs[list->count++] = whole_group(group);
}

void recomputation_order(Recomputation *r, const bool *dropped) {
    choose_kept(r, dropped);
    choose_segments(r);
    for (int p = PROGRAM_BACKWARD; p < PROGRAM_COUNT; p++) {
        r->programs[p].count = 0;
        for (int i = 0; i < r->work->groups[p].count; i++)
            order_group(r, &r->programs[p], &r->work->groups[p].groups[i]);
    }
}
