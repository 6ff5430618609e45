/* What to drop. First, one by one, whatever saves most memory for the operations that it costs, as
 * long as each lowers the peak. That ends where the groups that run again live as large as what is
 * kept; then whole stretches are dropped between tensors that alone connect what lies before them
 * with what comes after (Chen et al. 2016, algorithm 3: a stretch ends at the first such tensor
 * after `budget` numbers have been passed; the best of several budgets is taken). In the end what
 * there is room for is kept after all.
 *
 * Without a limit only what is cheap is dropped: what takes as long as memory needs to move its
 * numbers. */
#include "fuse.h"
#include "recompute.h"
#include "simplify.h"

#include <stdlib.h>
#include <string.h>

typedef struct Candidate {
    int layer;
    int64_t saved; /* numbers */
    int64_t cost;  /* operations and numbers moved, to make it once */
    bool cheap;
} Candidate;

struct RecomputeSearch {
    Arena *arena;
    const Network *network;
    int64_t max_batch;
    bool simplified, fused; /* what happens to the graph of the program */
    int candidate_count;
    Candidate *candidates; /* the cheapest for each number saved first */
    bool *connects; /* by layer: its output alone connects what is before with what is after */
    bool *dropped;  /* by layer */
    int64_t *scratch[NODE_ROLE_COUNT]; /* by layer: numbers, for kernels that a node of it leads */
    int64_t peak;                      /* estimated, with what is dropped */
    bool exhausted;
};

/* What is dropped without a limit. */
#define LEAST_NUMBERS (128 * 1024)       /* of a tensor: a call is not free */
#define CACHED_NUMBERS (4 * 1024 * 1024) /* a group's, that the caches hold */
#define CACHED_DISCOUNT 4
#define OPERATIONS_PER_NUMBER 16 /* that take as long as moving a number */
#define CHEAP_SHARE 0.003        /* of the time of a training step */
#define NOT_CHEAP INT64_MAX
#define LEAST_PRICE 0.5 /* numbers moved for each that the peak is less */
#define HIGHEST_PRICE 4

/* ---- The estimate ---- */

typedef struct Life {
    int first, last; /* groups of the training sequence; first < 0: not in memory */
} Life;

typedef struct Estimate {
    Graph *graph;
    Life *lives; /* by tensor number */
    int length;
    int64_t *scratch; /* by group */
} Estimate;

static void touch(Estimate *e, const Tensor *tensor) {
    Life *life = &e->lives[tensor->number];
    life->first = life->first < 0 ? e->length : life->first;
    life->last = e->length;
}

/* A result that is only passed on within the group is not in memory. */
static void add_group(const RecomputeSearch *search, Estimate *e, const Group *group) {
    const Node *leader = group->nodes[0];
    e->scratch[e->length] = search->scratch[leader->role][leader->layer->index];
    for (int i = 0; i < group->count; i++) {
        const Node *node = group->nodes[i];
        int capacity = node_tensor_capacity(node);
        Tensor **tensors = ARENA_ARRAY(e->graph->arena, Tensor *, (size_t)capacity);
        const Tensor *before = i > 0 ? tensor_storage(node_result(group->nodes[i - 1])) : NULL;
        int count = node_reads(node, tensors, capacity);
        for (int k = 0; k < count; k++)
            if (tensors[k] != before)
                touch(e, tensors[k]);
        count = node_writes(node, tensors, capacity);
        for (int k = 0; k < count; k++)
            if (node->stored || i == group->count - 1)
                touch(e, tensors[k]);
    }
    e->length++;
}

static bool in_arena(const Tensor *tensor) {
    return tensor->role == TENSOR_ACTIVATION || tensor->role == TENSOR_SAVED ||
           tensor->role == TENSOR_GRADIENT;
}

static int64_t tensor_numbers(const RecomputeSearch *search, const Tensor *tensor) {
    return tensor->elements * (tensor->per_example ? search->max_batch : 1);
}

static int64_t peak_of(const RecomputeSearch *search, const Estimate *e) {
    int64_t *change = ARENA_ARRAY(e->graph->arena, int64_t, (size_t)e->length + 1);
    for (int i = 0; i < e->graph->tensor_count; i++) {
        const Tensor *tensor = e->graph->tensors[i];
        if (e->lives[i].first < 0 || !in_arena(tensor))
            continue;
        change[e->lives[i].first] += tensor_numbers(search, tensor);
        change[e->lives[i].last + 1] -= tensor_numbers(search, tensor);
    }
    int64_t now = 0, peak = 0;
    for (int i = 0; i < e->length; i++) {
        now += change[i];
        peak = now + e->scratch[i] > peak ? now + e->scratch[i] : peak;
    }
    return peak;
}

/* The lives of all tensors in the forward and the backward pass; in `graph`, a new one. */
static Estimate lives_of(const RecomputeSearch *search, Graph *graph) {
    size_t count = (size_t)graph->tensor_count;
    size_t groups_at_most = (size_t)graph->programs[PROGRAM_FORWARD_TRAINING].count +
                            (size_t)graph->programs[PROGRAM_BACKWARD].count;
    Estimate e = {graph, ARENA_ARRAY(graph->arena, Life, count), 0,
                  ARENA_ARRAY(graph->arena, int64_t, groups_at_most + 1)};
    for (size_t i = 0; i < count; i++)
        e.lives[i].first = -1;
    for (int p = PROGRAM_FORWARD_TRAINING; p <= PROGRAM_BACKWARD; p++) {
        GroupList groups = fuse_program(graph->arena, &graph->programs[p], search->fused);
        for (int i = 0; i < groups.count; i++)
            add_group(search, &e, groups.groups[i]);
    }
    return e;
}

/* Only reads, writes and a few operations on the way. */
static bool is_cheap(const Node *node) {
    return node->op->value_again || (node->op->flags & (OP_POSITIVE_PART | OP_PASSES_GRADIENT));
}

/* Numbers of activations that a group reads and writes; NOT_CHEAP if there is more to it. */
static int64_t moved_by(const RecomputeSearch *search, Arena *arena, const Group *group) {
    int64_t moved = 0;
    for (int i = 0; i < group->count; i++) {
        const Node *node = group->nodes[i];
        if (!is_cheap(node))
            return NOT_CHEAP;
        int capacity = node_tensor_capacity(node);
        Tensor **reads = ARENA_ARRAY(arena, Tensor *, (size_t)capacity);
        int count = node_reads(node, reads, capacity);
        const Tensor *before = i > 0 ? tensor_storage(node_result(group->nodes[i - 1])) : NULL;
        for (int k = 0; k < count; k++)
            moved +=
                reads[k] != before && in_arena(reads[k]) ? tensor_numbers(search, reads[k]) : 0;
        if (node->stored || i == group->count - 1)
            moved += tensor_numbers(search, node_result(node));
    }
    return moved;
}

/* What all groups that run again cost, in numbers moved through memory. What is made again is read
 * next, and so is what it was made of: where the caches hold both, little of it is moved twice. */
static int64_t moved_again(const RecomputeSearch *search, Graph *graph) {
    GroupList groups =
        fuse_program(graph->arena, &graph->programs[PROGRAM_BACKWARD], search->fused);
    int64_t total = 0;
    for (int i = 0; i < groups.count; i++) {
        if (!groups.groups[i]->nodes[0]->recomputed)
            continue;
        int64_t moved = moved_by(search, graph->arena, groups.groups[i]);
        if (moved == NOT_CHEAP)
            return NOT_CHEAP;
        total += moved <= CACHED_NUMBERS ? moved / CACHED_DISCOUNT : moved;
    }
    return total;
}

typedef struct Outcome {
    int64_t peak, moved; /* numbers */
} Outcome;

static Graph *training_graph(const RecomputeSearch *search, Arena *arena) {
    Graph *graph = graph_build(arena, search->network, false);
    if (search->simplified)
        simplify_graph(graph);
    return graph;
}

static Outcome outcome_of(const RecomputeSearch *search, const bool *dropped) {
    Arena *arena = arena_create();
    Graph *graph = training_graph(search, arena);
    recompute_apply(graph, dropped, search->fused);
    Estimate e = lives_of(search, graph);
    Outcome outcome = {peak_of(search, &e), moved_again(search, graph)};
    arena_free(arena);
    return outcome;
}

static int64_t estimate(const RecomputeSearch *search, const bool *dropped) {
    return outcome_of(search, dropped).peak;
}

/* ---- Candidates ---- */

static int compare_candidates(const void *a, const void *b) {
    const Candidate *x = a, *y = b;
    double left = (double)x->saved * (double)y->cost, right = (double)y->saved * (double)x->cost;
    if (left != right)
        return left > right ? -1 : 1;
    return x->layer - y->layer;
}

/* What making the result of node `position` takes where all that is kept today stays: the nodes of
 * its group up to it, but no sum of products whose result is kept. */
static int64_t cost_of(const RecomputeSearch *search, const Group *group, int position,
                       const Life *lives, int forward_length) {
    int64_t cost = 0;
    for (int k = 0; k <= position; k++) {
        const Node *node = group->nodes[k];
        bool kept = k < position && lives[tensor_storage(node->y)->number].last >= forward_length;
        if (!(kept && node->layer->cost.macs > 0))
            cost += (node->layer->cost.flops + node->y->elements) * search->max_batch;
    }
    return cost;
}

static void add_candidates(RecomputeSearch *search, const Group *group, const Life *lives,
                           int forward_length) {
    bool cheap = true;
    for (int k = 0; k < group->count; k++) {
        const Tensor *made = tensor_storage(group->nodes[k]->y);
        cheap = cheap && is_cheap(group->nodes[k]);
        if (made->pinned || lives[made->number].last < forward_length)
            continue;
        search->candidates[search->candidate_count++] =
            (Candidate){made->layer->index, tensor_numbers(search, made),
                        cost_of(search, group, k, lives, forward_length),
                        cheap && tensor_numbers(search, made) >= LEAST_NUMBERS};
    }
}

/* Marks the layers whose output is, at some place of the forward pass, all that later nodes read
 * of what came before. */
static void find_connections(RecomputeSearch *search, const Graph *graph, GroupList groups) {
    int *last = ARENA_ARRAY(graph->arena, int, (size_t)graph->tensor_count);
    for (int i = 0; i < groups.count; i++)
        for (int k = 0; k < groups.groups[i]->count; k++) {
            const Node *node = groups.groups[i]->nodes[k];
            for (int x = 0; x < node->input_count; x++)
                last[tensor_storage(node->x[x])->number] = i;
        }
    int crossing = 0; /* tensors made so far that later groups read */
    int *ends = ARENA_ARRAY(graph->arena, int, (size_t)groups.count + 1);
    for (int i = 0; i < groups.count; i++) {
        const Group *group = groups.groups[i];
        crossing -= ends[i];
        for (int k = 0; k < group->count; k++) {
            const Tensor *made = tensor_storage(group->nodes[k]->y);
            crossing += last[made->number] > i;
            ends[last[made->number]] += last[made->number] > i;
        }
        const Tensor *result = tensor_storage(group->nodes[group->count - 1]->y);
        search->connects[result->layer->index] = crossing == 1 && last[result->number] > i;
    }
}

static void note_scratch(RecomputeSearch *search, const Step *step) {
    const Node *leader = step->group->nodes[0];
    int64_t total = 0;
    for (int i = 0; i < step->use->argument_count; i++) {
        const Buffer *buffer = step->use->arguments[i];
        if (buffer->scratch)
            total += buffer->scratch_size * (buffer->per_example ? search->max_batch : 1);
    }
    int64_t *most = &search->scratch[leader->role][leader->layer->index];
    *most = total > *most ? total : *most;
}

static void find_scratch(RecomputeSearch *search, const Kernels *kernels) {
    for (int role = 0; role < NODE_ROLE_COUNT; role++)
        search->scratch[role] =
            ARENA_ARRAY(search->arena, int64_t, (size_t)search->network->layer_count);
    for (int p = PROGRAM_FORWARD_TRAINING; p <= PROGRAM_BACKWARD; p++)
        for (int i = 0; i < kernels->programs[p].count; i++)
            note_scratch(search, kernels->programs[p].steps[i]);
}

RecomputeSearch *recompute_search(Arena *arena, const Network *network, const Kernels *kernels,
                                  bool simplified, bool fused) {
    RecomputeSearch *search = ARENA_NEW(arena, RecomputeSearch);
    size_t count = (size_t)network->layer_count;
    *search = (RecomputeSearch){.arena = arena,
                                .network = network,
                                .max_batch = kernels->max_batch,
                                .simplified = simplified,
                                .fused = fused,
                                .candidates = ARENA_ARRAY(arena, Candidate, count),
                                .connects = ARENA_ARRAY(arena, bool, count),
                                .dropped = ARENA_ARRAY(arena, bool, count)};
    find_scratch(search, kernels);
    Arena *aside = arena_create();
    Graph *graph = training_graph(search, aside);
    Estimate e = lives_of(search, graph);
    GroupList groups = fuse_program(aside, &graph->programs[PROGRAM_FORWARD_TRAINING], fused);
    for (int i = 0; i < groups.count; i++)
        add_candidates(search, groups.groups[i], e.lives, groups.count);
    find_connections(search, graph, groups);
    search->peak = peak_of(search, &e);
    arena_free(aside);
    qsort(search->candidates, (size_t)search->candidate_count, sizeof *search->candidates,
          compare_candidates);
    return search;
}

/* ---- Dropping ---- */

/* Marks or unmarks a layer, if the peak is then at most `limit`. */
static bool try_mark(RecomputeSearch *search, int layer, bool dropped, int64_t limit) {
    search->dropped[layer] = dropped;
    int64_t peak = estimate(search, search->dropped);
    if (peak > limit) {
        search->dropped[layer] = !dropped;
        return false;
    }
    search->peak = peak;
    return true;
}

typedef struct CheapDrops {
    RecomputeSearch *search;
    int64_t moved, budget;
} CheapDrops;

/* Drops a layer for at most `price` numbers moved for each that the peak is less. */
static bool drop_for(CheapDrops *drops, int layer, double price) {
    RecomputeSearch *search = drops->search;
    search->dropped[layer] = true;
    Outcome outcome = outcome_of(search, search->dropped);
    int64_t saved = search->peak - outcome.peak, added = outcome.moved - drops->moved;
    if (outcome.moved > drops->budget || saved <= 0 || (double)added > price * (double)saved) {
        search->dropped[layer] = false;
        return false;
    }
    search->peak = outcome.peak;
    drops->moved = outcome.moved;
    return true;
}

static void drop_all_for(CheapDrops *drops, double price) {
    const RecomputeSearch *search = drops->search;
    bool changed = true;
    while (changed) {
        changed = false;
        for (int i = 0; i < search->candidate_count; i++) {
            const Candidate *candidate = &search->candidates[i];
            if (candidate->cheap && !search->dropped[candidate->layer] &&
                drop_for(drops, candidate->layer, price))
                changed = true;
        }
    }
}

const bool *recompute_cheaply(RecomputeSearch *search) {
    const double flops = 3 * (double)search->network->cost.flops * (double)search->max_batch;
    const int64_t before = search->peak;
    CheapDrops drops = {search, 0, (int64_t)(flops * CHEAP_SHARE / OPERATIONS_PER_NUMBER)};
    double price = LEAST_PRICE;
    while (price <= HIGHEST_PRICE) {
        drop_all_for(&drops, price);
        price *= 2;
    }
    return search->peak < before ? search->dropped : NULL;
}

/* The best for its cost first, again and again until none lowers the peak. */
static void drop_singly(RecomputeSearch *search, int64_t goal) {
    bool changed = true;
    while (changed && search->peak > goal) {
        changed = false;
        for (int i = 0; i < search->candidate_count && search->peak > goal; i++) {
            int layer = search->candidates[i].layer;
            if (!search->dropped[layer] && try_mark(search, layer, true, search->peak - 1))
                changed = true;
        }
    }
}

static int64_t total_saved(const RecomputeSearch *search) {
    int64_t total = 0;
    for (int i = 0; i < search->candidate_count; i++)
        total += search->candidates[i].saved;
    return total;
}

/* Drops everything but a connecting tensor after every `budget` numbers. */
static void mark_stretches(const RecomputeSearch *search, const int64_t *saved, int64_t budget,
                           bool *dropped) {
    int64_t passed = 0;
    for (int i = 0; i < search->network->layer_count; i++) {
        passed += saved[i];
        dropped[i] = saved[i] > 0 && !(search->connects[i] && passed > budget);
        passed = dropped[i] || saved[i] == 0 ? passed : 0;
    }
}

static void drop_stretches(RecomputeSearch *search, int64_t goal) {
    enum { BUDGETS = 40, SHRINK = 7 }; /* each budget is a seventh less than the one before */
    size_t count = (size_t)search->network->layer_count;
    bool *marks = ARENA_ARRAY(search->arena, bool, count);
    int64_t *saved = ARENA_ARRAY(search->arena, int64_t, count);
    for (int i = 0; i < search->candidate_count; i++)
        saved[search->candidates[i].layer] = search->candidates[i].saved;
    int64_t budget = total_saved(search);
    for (int i = 0; i < BUDGETS && search->peak > goal; i++, budget -= budget / SHRINK) {
        mark_stretches(search, saved, budget, marks);
        int64_t peak = estimate(search, marks);
        if (peak < search->peak) {
            search->peak = peak;
            memcpy(search->dropped, marks, count * sizeof *marks);
        }
    }
}

/* What costs most for its size first. */
static void keep_what_fits(RecomputeSearch *search, int64_t goal) {
    int64_t limit = search->peak > goal ? search->peak : goal;
    for (int i = search->candidate_count - 1; i >= 0; i--) {
        int layer = search->candidates[i].layer;
        if (search->dropped[layer])
            try_mark(search, layer, false, limit);
    }
}

const bool *recompute_shrink(RecomputeSearch *search, int64_t excess) {
    int64_t before = search->peak, goal = search->peak - excess;
    if (search->exhausted)
        return NULL;
    drop_singly(search, goal);
    if (search->peak > goal) {
        drop_stretches(search, goal);
        drop_singly(search, goal);
        search->exhausted = search->peak > goal;
        keep_what_fits(search, goal);
    }
    return search->peak < before ? search->dropped : NULL;
}
