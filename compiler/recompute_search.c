/* What to drop. First, one by one, whatever saves most memory for the operations that it costs, as
 * long as each lowers the peak. That ends where the groups that run again live as large as what is
 * kept; then whole stretches are dropped between tensors that alone connect what lies before them
 * with what comes after (Chen et al. 2016, algorithm 3: a stretch ends at the first such tensor
 * after `budget` numbers have been passed; the best of several budgets is taken). In the end what
 * there is room for is kept after all.
 *
 * Without a limit only what is cheap is dropped: what takes as long as memory needs to move its
 * numbers. */
#include "recompute.h"
#include "recompute_order.h"
#include "simplify.h"

#include <stdlib.h>
#include <string.h>

typedef struct Candidate {
    int layer;
    int64_t saved; /* numbers */
    int64_t cost;  /* operations and numbers moved, to make it once */
    bool cheap;
} Candidate;

typedef struct Estimate Estimate;

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
    Estimate *estimate;
    int64_t peak; /* estimated, with what is dropped */
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
    int first, last; /* runs of the training sequence; first < 0: not in memory */
} Life;

/* Of the forward and the backward pass. What is made again is a storage of its own, with a number
 * behind those of the graph's tensors. */
struct Estimate {
    Recomputation *recomputation;
    int storage_count; /* of the graph */
    int64_t *numbers;  /* by storage of the graph: in the arena; 0: it lies elsewhere */
    bool *made_again;  /* by storage of the graph: its readers from here on read the replica */
    /* By storage. */
    int *last_reader; /* node, counted in the order of execution; -1: none */
    Life *lives;
    int length;
    int64_t *change; /* by run: of the numbers in memory */
    int64_t moved;   /* see moved_again */
};

static bool in_arena(const Tensor *tensor) {
    return tensor->role == TENSOR_ACTIVATION || tensor->role == TENSOR_SAVED ||
           tensor->role == TENSOR_GRADIENT;
}

static int64_t tensor_numbers(const RecomputeSearch *search, const Tensor *tensor) {
    return tensor->elements * (tensor->per_example ? search->max_batch : 1);
}

static int storage_now(const Estimate *e, int number) {
    return e->made_again[number] ? e->storage_count + number : number;
}

static int64_t numbers_of(const Estimate *e, int storage) {
    return e->numbers[storage % e->storage_count];
}

static const Storages *reads_of(const Run *run, int k) {
    const OrderNode *node = &run->group->nodes[k];
    return run->again ? &node->reads_again : &node->reads;
}

static int result_now(const Estimate *e, const Run *run, int k) {
    int made = run->group->nodes[k].made;
    return made < 0 ? made : storage_now(e, made);
}

/* Replicas are there from the first node of their run on, and after it if somebody wants them. */
static void begin_run(Estimate *e, const Run *run) {
    for (int k = run->first; run->again && k <= run->last; k++)
        e->made_again[run->group->nodes[k].made] = true;
}

static void end_run(Estimate *e, const Run *run) {
    for (int k = run->first; run->again && k <= run->last; k++) {
        int made = run->group->nodes[k].made;
        e->made_again[made] = e->recomputation->wanted[made];
    }
}

static void visit_runs(Estimate *e, ProgramId last,
                       void (*visit)(Estimate *e, const Run *run, int *position)) {
    int position = 0;
    memset(e->made_again, 0, (size_t)e->storage_count * sizeof *e->made_again);
    for (ProgramId p = PROGRAM_FORWARD_TRAINING; p <= last; p++)
        for (int i = 0; i < e->recomputation->programs[p].count; i++) {
            const Run *run = &e->recomputation->programs[p].runs[i];
            begin_run(e, run);
            visit(e, run, &position);
            end_run(e, run);
        }
}

static void note_readers(Estimate *e, const Run *run, int *position) {
    for (int k = run->first; k <= run->last; k++, ++*position) {
        const Storages *reads = reads_of(run, k);
        for (int i = 0; i < reads->count; i++)
            e->last_reader[storage_now(e, reads->numbers[i])] = *position;
    }
}

static void touch(Estimate *e, int storage) {
    Life *life = &e->lives[storage];
    life->first = life->first < 0 ? e->length : life->first;
    life->last = e->length;
}

/* Whether the result is in memory: somebody past the next node of the run reads it. */
static bool is_stored(const Estimate *e, const Run *run, int k, int position) {
    int made = run->group->nodes[k].made;
    return k == run->last || e->recomputation->graph->tensors[made]->pinned ||
           e->last_reader[storage_now(e, made)] > position + 1;
}

static void note_lives(Estimate *e, const Run *run, int *position) {
    for (int k = run->first; k <= run->last; k++, ++*position) {
        const OrderNode *node = &run->group->nodes[k];
        const Storages *reads = reads_of(run, k);
        int before = k > run->first ? result_now(e, run, k - 1) : -1;
        for (int i = 0; i < reads->count; i++)
            if (storage_now(e, reads->numbers[i]) != before)
                touch(e, storage_now(e, reads->numbers[i]));
        const Storages *writes = run->again ? &node->writes_again : &node->writes;
        for (int i = 0; i < writes->count && is_stored(e, run, k, *position); i++)
            touch(e, storage_now(e, writes->numbers[i]));
    }
    e->length++;
}

/* The lives of all storages in the forward and the backward pass. */
static void find_lives(Estimate *e) {
    e->length = 0;
    for (int i = 0; i < 2 * e->storage_count; i++) {
        e->last_reader[i] = -1;
        e->lives[i] = (Life){-1, -1};
    }
    visit_runs(e, PROGRAM_BACKWARD_INPUT, note_readers);
    visit_runs(e, PROGRAM_BACKWARD, note_lives);
}

static int64_t run_scratch(const RecomputeSearch *search, const Run *run) {
    const Node *leader = run->group->nodes[run->first].node;
    return search->scratch[leader->role][leader->layer->index];
}

static int64_t peak_of(const RecomputeSearch *search) {
    Estimate *e = search->estimate;
    memset(e->change, 0, (size_t)(e->length + 1) * sizeof *e->change);
    for (int i = 0; i < 2 * e->storage_count; i++) {
        if (e->lives[i].first < 0)
            continue;
        e->change[e->lives[i].first] += numbers_of(e, i);
        e->change[e->lives[i].last + 1] -= numbers_of(e, i);
    }
    int64_t now = 0, peak = 0;
    int position = 0;
    for (ProgramId p = PROGRAM_FORWARD_TRAINING; p <= PROGRAM_BACKWARD; p++)
        for (int i = 0; i < e->recomputation->programs[p].count; i++) {
            int64_t scratch = run_scratch(search, &e->recomputation->programs[p].runs[i]);
            now += e->change[position++];
            peak = now + scratch > peak ? now + scratch : peak;
        }
    return peak;
}

/* Only reads, writes and a few operations on the way. */
static bool is_cheap(const Node *node) {
    return node->op->value_again || (node->op->flags & (OP_POSITIVE_PART | OP_PASSES_GRADIENT));
}

/* Numbers of activations that a run reads and writes; NOT_CHEAP if there is more to it. */
static int64_t moved_by(const Estimate *e, const Run *run, int position) {
    int64_t moved = 0;
    for (int k = run->first; k <= run->last; k++, position++) {
        if (!is_cheap(run->group->nodes[k].node))
            return NOT_CHEAP;
        const Storages *reads = reads_of(run, k);
        int before = k > run->first ? result_now(e, run, k - 1) : -1;
        for (int i = 0; i < reads->count; i++) {
            int storage = storage_now(e, reads->numbers[i]);
            moved += storage != before ? numbers_of(e, storage) : 0;
        }
        if (is_stored(e, run, k, position))
            moved += numbers_of(e, result_now(e, run, k));
    }
    return moved;
}

static void add_moved(Estimate *e, const Run *run, int *position) {
    int64_t moved = run->again && e->moved != NOT_CHEAP ? moved_by(e, run, *position) : 0;
    if (moved == NOT_CHEAP)
        e->moved = NOT_CHEAP;
    else if (moved > 0)
        e->moved += moved <= CACHED_NUMBERS ? moved / CACHED_DISCOUNT : moved;
    *position += run->last - run->first + 1;
}

typedef struct Outcome {
    int64_t peak, moved; /* numbers */
} Outcome;

/* What all groups that run again cost, in numbers moved through memory. What is made again is read
 * next, and so is what it was made of: where the caches hold both, little of it is moved twice. */
static int64_t moved_again(Estimate *e) {
    e->moved = 0;
    visit_runs(e, PROGRAM_BACKWARD, add_moved);
    return e->moved;
}

static int64_t estimate(const RecomputeSearch *search, const bool *dropped) {
    recomputation_order(search->estimate->recomputation, dropped);
    find_lives(search->estimate);
    return peak_of(search);
}

static Outcome outcome_of(const RecomputeSearch *search, const bool *dropped) {
    int64_t peak = estimate(search, dropped);
    return (Outcome){peak, moved_again(search->estimate)};
}

static Estimate *estimate_create(const RecomputeSearch *search) {
    Arena *arena = search->arena;
    Graph *graph = graph_build(arena, search->network, false);
    if (search->simplified)
        simplify_graph(graph);
    Estimate *e = ARENA_NEW(arena, Estimate);
    size_t storages = (size_t)graph->tensor_count;
    *e = (Estimate){.recomputation = recomputation_create(arena, graph, search->fused),
                    .storage_count = graph->tensor_count,
                    .numbers = ARENA_ARRAY(arena, int64_t, storages),
                    .made_again = ARENA_ARRAY(arena, bool, storages),
                    .last_reader = ARENA_ARRAY(arena, int, 2 * storages),
                    .lives = ARENA_ARRAY(arena, Life, 2 * storages)};
    for (size_t i = 0; i < storages; i++)
        if (in_arena(graph->tensors[i]))
            e->numbers[i] = tensor_numbers(search, graph->tensors[i]);
    size_t forward = (size_t)e->recomputation->programs[PROGRAM_FORWARD_TRAINING].count;
    size_t backward = (size_t)graph->programs[PROGRAM_BACKWARD].count;
    e->change = ARENA_ARRAY(arena, int64_t, 2 * forward + backward + 1);
    return e;
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
static int64_t cost_of(const RecomputeSearch *search, const OrderGroup *group, int position,
                       int forward_length) {
    int64_t cost = 0;
    for (int k = 0; k <= position; k++) {
        const Node *node = group->nodes[k].node;
        bool kept =
            k < position && search->estimate->lives[group->nodes[k].made].last >= forward_length;
        if (!(kept && node->layer->cost.macs > 0))
            cost += (node->layer->cost.flops + node->y->elements) * search->max_batch;
    }
    return cost;
}

static void add_candidates(RecomputeSearch *search, const OrderGroup *group, int forward_length) {
    bool cheap = true;
    for (int k = 0; k < group->count; k++) {
        const Tensor *made = tensor_storage(group->nodes[k].node->y);
        cheap = cheap && is_cheap(group->nodes[k].node);
        if (made->pinned || search->estimate->lives[made->number].last < forward_length)
            continue;
        search->candidates[search->candidate_count++] =
            (Candidate){made->layer->index, tensor_numbers(search, made),
                        cost_of(search, group, k, forward_length),
                        cheap && tensor_numbers(search, made) >= LEAST_NUMBERS};
    }
}

/* Marks the layers whose output is, at some place of the forward pass, all that later nodes read
 * of what came before. */
static void find_connections(RecomputeSearch *search) {
    const Recomputation *recomputation = search->estimate->recomputation;
    const RunList *forward = &recomputation->programs[PROGRAM_FORWARD_TRAINING];
    int *last = ARENA_ARRAY(search->arena, int, (size_t)search->estimate->storage_count);
    for (int i = 0; i < forward->count; i++)
        for (int k = 0; k < forward->runs[i].group->count; k++) {
            const Node *node = forward->runs[i].group->nodes[k].node;
            for (int x = 0; x < node->input_count; x++)
                last[tensor_storage(node->x[x])->number] = i;
        }
    int crossing = 0; /* tensors made so far that later groups read */
    int *ends = ARENA_ARRAY(search->arena, int, (size_t)forward->count + 1);
    for (int i = 0; i < forward->count; i++) {
        const OrderGroup *group = forward->runs[i].group;
        crossing -= ends[i];
        for (int k = 0; k < group->count; k++) {
            int made = group->nodes[k].made;
            crossing += last[made] > i;
            ends[last[made]] += last[made] > i;
        }
        int result = group->nodes[group->count - 1].made;
        search->connects[recomputation->graph->tensors[result]->layer->index] =
            crossing == 1 && last[result] > i;
    }
}

static void note_scratch(RecomputeSearch *search, const Step *step) {
    const Node *leader = step->group->nodes[0];
    int64_t total = 0;
    for (int i = 0; i < step->use->argument_count; i++) {
        const Buffer *buffer = step->use->arguments[i];
        if (buffer->scratch)
            total += buffer->scratch_size * (buffer->per_example ? search->max_batch
                                             : buffer->by_slot   ? buffer->slots
                                                                 : 1);
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
    search->estimate = estimate_create(search);
    search->peak = estimate(search, search->dropped);
    const RunList *forward = &search->estimate->recomputation->programs[PROGRAM_FORWARD_TRAINING];
    for (int i = 0; i < forward->count; i++)
        add_candidates(search, forward->runs[i].group, forward->count);
    find_connections(search);
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
