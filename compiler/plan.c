#include "plan.h"
#include "checked.h"
#include "update.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- Pieces by tensor or scratch buffer ---- */

struct PlanIndex {
    size_t capacity; /* a power of two */
    const void **keys;
    Placement **items;
};

static size_t first_slot(const PlanIndex *index, const void *key) {
    uint64_t bits = (uint64_t)(uintptr_t)key * 0x9e3779b97f4a7c15u;
    return (size_t)(bits >> 32) & (index->capacity - 1);
}

static size_t find_slot(const PlanIndex *index, const void *key) {
    size_t slot = first_slot(index, key);
    while (index->keys[slot] != NULL && index->keys[slot] != key)
        slot = (slot + 1) & (index->capacity - 1);
    return slot;
}

/* Large enough for all arguments of all calls, so that it never fills up. */
static PlanIndex *create_index(Arena *arena, const Kernels *kernels) {
    size_t arguments = 8;
    for (int program = 0; program < PROGRAM_COUNT; program++)
        for (int i = 0; i < kernels->programs[program].count; i++)
            arguments += (size_t)kernels->programs[program].steps[i]->use->argument_count;
    PlanIndex *index = ARENA_NEW(arena, PlanIndex);
    index->capacity = 16;
    while (index->capacity < 2 * arguments)
        index->capacity *= 2;
    index->keys = ARENA_ARRAY(arena, const void *, index->capacity);
    index->items = ARENA_ARRAY(arena, Placement *, index->capacity);
    return index;
}

static const void *key_of(const Buffer *argument) {
    return argument->scratch ? (const void *)argument : tensor_storage(argument->tensor);
}

const Placement *plan_find(const Plan *plan, const Buffer *argument) {
    return plan->index->items[find_slot(plan->index, key_of(argument))];
}

/* ---- Sizes ---- */

int64_t element_bytes(ElementType type, int real_size) {
    switch (type) {
    case TYPE_DOUBLE:
        return 8;
    case TYPE_LABEL:
        return 4;
    case TYPE_BYTE:
        return 1;
    default:
        return real_size;
    }
}

/* Rounded up to the alignment; false where it cannot be counted. */
static bool piece_bytes(const PlanOptions *options, int64_t elements, int examples,
                        ElementType type, int64_t *bytes) {
    int64_t size = element_bytes(type, options->real_size);
    if (!checked_multiply(elements, size, &size) || !checked_multiply(size, examples, &size) ||
        !checked_add(size, PLAN_ALIGNMENT - 1, &size))
        return false;
    *bytes = size / PLAN_ALIGNMENT * PLAN_ALIGNMENT;
    return true;
}

/* ---- Pieces and their lives ---- */

typedef struct Planner {
    Plan *plan;
    bool fits;          /* everything so far can be counted */
    int64_t late_bytes; /* the end of the pieces that only backward_input touches */
} Planner;

static Placement *add_placement(Planner *planner, const void *key, int64_t elements, int examples,
                                ElementType type) {
    Plan *plan = planner->plan;
    Placement *placement = ARENA_NEW(plan->arena, Placement);
    placement->number = plan->placement_count;
    placement->offset = -1;
    planner->fits =
        planner->fits && piece_bytes(&plan->options, elements, examples, type, &placement->bytes);
    ARENA_GROW(plan->arena, plan->placements, plan->placement_count, plan->placement_capacity);
    plan->placements[plan->placement_count++] = placement;
    size_t slot = find_slot(plan->index, key);
    plan->index->keys[slot] = key;
    plan->index->items[slot] = placement;
    return placement;
}

static bool is_in_arena(const Tensor *tensor) {
    return tensor->role == TENSOR_INPUT || tensor->role == TENSOR_ACTIVATION ||
           tensor->role == TENSOR_SAVED || tensor->role == TENSOR_MOMENTS ||
           tensor->role == TENSOR_GRADIENT || tensor->role == TENSOR_PARAMETER_GRADIENT;
}

/* The examples that a piece holds. */
static int piece_examples(const Plan *plan, bool per_example, bool whole) {
    int examples = plan->options.max_batch / (whole ? 1 : plan->options.shards);
    return per_example ? examples : 1;
}

static Placement *tensor_placement(Planner *planner, Tensor *tensor, bool whole) {
    tensor = tensor_storage(tensor);
    Placement *placement = planner->plan->index->items[find_slot(planner->plan->index, tensor)];
    if (placement != NULL)
        return placement;
    int examples = piece_examples(planner->plan, tensor->per_example, whole);
    placement = add_placement(planner, tensor, tensor->storage, examples, tensor->type);
    placement->tensor = tensor;
    placement->whole = whole;
    return placement;
}

/* Alive in a sequence from its first step to its last. */
static void live_throughout(const Plan *plan, Placement *placement, Sequence sequence) {
    placement->in_sequence[sequence] = true;
    placement->first = 0;
    if (placement->last < plan->sequence_length[sequence])
        placement->last = plan->sequence_length[sequence];
}

/* Notes that a call passes this argument. */
static void touch(Planner *planner, const Step *step, const Buffer *argument) {
    if (!argument->scratch && !is_in_arena(tensor_storage(argument->tensor)))
        return;
    Placement *placement;
    if (argument->scratch) {
        placement = add_placement(planner, argument, argument->scratch_size,
                                  piece_examples(planner->plan, argument->per_example, false),
                                  argument->type);
        placement->scratch = argument;
        placement->by_slot = argument->by_slot;
    } else {
        placement = tensor_placement(planner, argument->tensor, false);
    }
    Sequence sequence = program_sequence(step->program);
    if (placement->step == NULL) {
        placement->step = step;
        placement->sequence = sequence;
        placement->late = step->program == PROGRAM_BACKWARD_INPUT;
        placement->read_first = !argument->written;
    }
    if (placement->fixed)
        return;
    if (placement->sequence != sequence) {
        live_throughout(planner->plan, placement, SEQUENCE_EVALUATION);
        live_throughout(planner->plan, placement, SEQUENCE_TRAINING);
        return;
    }
    if (!placement->in_sequence[sequence])
        placement->first = step->number;
    placement->in_sequence[sequence] = true;
    if (placement->last < step->number)
        placement->last = step->number;
}

static Placement *add_fixed(Planner *planner, Tensor *tensor, bool evaluation, bool training) {
    Placement *placement = tensor_placement(planner, tensor, true);
    placement->fixed = true;
    if (evaluation)
        live_throughout(planner->plan, placement, SEQUENCE_EVALUATION);
    if (training)
        live_throughout(planner->plan, placement, SEQUENCE_TRAINING);
    return placement;
}

static void find_lives(Planner *planner, const Graph *graph, const Kernels *kernels) {
    for (int program = 0; program < PROGRAM_COUNT; program++) {
        const StepList *list = &kernels->programs[program];
        for (int i = 0; i < list->count; i++)
            for (int a = 0; a < list->steps[i]->use->argument_count; a++)
                touch(planner, list->steps[i], list->steps[i]->use->arguments[a]);
    }
    if (graph->input_gradient == NULL)
        return;
    Placement *gradient = tensor_placement(planner, graph->input_gradient, false);
    gradient->in_sequence[SEQUENCE_TRAINING] = true;
    gradient->last = planner->plan->sequence_length[SEQUENCE_TRAINING];
}

/* ---- Placement ---- */

bool plan_alive_together(const Placement *a, const Placement *b) {
    bool same =
        (a->in_sequence[0] && b->in_sequence[0]) || (a->in_sequence[1] && b->in_sequence[1]);
    return same && a->first <= b->last && b->first <= a->last;
}

/* Larger first; of equal ones the one that comes earlier. */
static int compare_size(const void *a, const void *b) {
    const Placement *x = *(Placement *const *)a, *y = *(Placement *const *)b;
    if (x->late != y->late)
        return x->late ? 1 : -1;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return x->number - y->number;
}

/* The smallest gap between pieces alive at the same time; `placed` is sorted by offset. */
static int64_t find_gap(Placement *const *placed, int count, const Placement *piece) {
    int64_t best = -1, best_size = INT64_MAX, end = 0;
    for (int i = 0; i < count; i++) {
        const Placement *other = placed[i];
        if (!plan_alive_together(piece, other))
            continue;
        int64_t gap = other->offset - end;
        if (gap >= piece->bytes && gap < best_size) {
            best = end;
            best_size = gap;
        }
        if (end < other->offset + other->bytes)
            end = other->offset + other->bytes;
    }
    return best >= 0 ? best : end;
}

static void insert_by_offset(Placement **placed, int count, Placement *piece) {
    int at = count;
    while (at > 0 && placed[at - 1]->offset > piece->offset)
        at--;
    memmove(&placed[at + 1], &placed[at], (size_t)(count - at) * sizeof *placed);
    placed[at] = piece;
}

static void note_end(Planner *planner, const Placement *piece) {
    int64_t end = 0;
    planner->fits = planner->fits && checked_add(piece->offset, piece->bytes, &end);
    if (piece->late) {
        planner->late_bytes = end > planner->late_bytes ? end : planner->late_bytes;
        return;
    }
    for (int s = 0; s < SEQUENCE_COUNT; s++)
        if (piece->in_sequence[s] && planner->plan->sequence_bytes[s] < end)
            planner->plan->sequence_bytes[s] = end;
}

int64_t plan_fixed_end(const Plan *plan) {
    int64_t end = 0;
    for (int i = 0; i < plan->placement_count; i++) {
        const Placement *piece = plan->placements[i];
        if (piece->fixed && piece->offset + piece->bytes > end)
            end = piece->offset + piece->bytes;
    }
    return end;
}

/* The largest end of the first slot's pieces, which begin at 0: those of one kernel lie side by
 * side. */
static int64_t place_by_slot(Planner *planner, Placement **placed) {
    Plan *plan = planner->plan;
    int64_t bytes = 0;
    int done = 0;
    for (int i = 0; i < plan->placement_count && planner->fits; i++) {
        Placement *piece = plan->placements[i];
        int64_t end = 0;
        if (!piece->by_slot)
            continue;
        piece->offset = find_gap(placed, done, piece);
        insert_by_offset(placed, done++, piece);
        planner->fits = checked_add(piece->offset, piece->bytes, &end);
        bytes = end > bytes ? end : bytes;
    }
    return bytes;
}

/* The region of all slots, behind what is fixed. */
static void place_slots(Planner *planner, Placement **placed) {
    Plan *plan = planner->plan;
    int64_t begin = plan_fixed_end(plan);
    plan->slot_bytes = place_by_slot(planner, placed);
    if (plan->slot_bytes == 0)
        return;
    Placement *region =
        add_placement(planner, plan, plan->slot_bytes, plan->options.slots, TYPE_BYTE);
    region->fixed = true;
    region->offset = begin;
    for (int i = 0; i < plan->placement_count; i++) {
        Placement *piece = plan->placements[i];
        if (!piece->by_slot)
            continue;
        piece->offset += begin;
        for (int s = 0; s < SEQUENCE_COUNT; s++)
            if (piece->in_sequence[s])
                live_throughout(plan, region, s);
    }
}

static void place_all(Planner *planner) {
    Plan *plan = planner->plan;
    size_t count = (size_t)plan->placement_count;
    Placement **order = ARENA_ARRAY(plan->arena, Placement *, count + 2);
    Placement **placed = ARENA_ARRAY(plan->arena, Placement *, count + 2);
    int waiting = 0, done = 0;
    place_slots(planner, placed);
    for (int i = 0; i < plan->placement_count; i++) {
        Placement *piece = plan->placements[i];
        if (piece->fixed) {
            insert_by_offset(placed, done++, piece);
            note_end(planner, piece);
        } else if (!piece->apart && !piece->by_slot) {
            order[waiting++] = piece;
        }
    }
    qsort(order, (size_t)waiting, sizeof *order, compare_size);
    for (int i = 0; i < waiting && planner->fits; i++) {
        order[i]->offset = find_gap(placed, done, order[i]);
        insert_by_offset(placed, done++, order[i]);
        note_end(planner, order[i]);
    }
}

/* Input, then output; the outputs of both sequences lie in one place. */
static void place_fixed(Planner *planner, const Graph *graph) {
    bool training = !graph->infer_only;
    Placement *input = add_fixed(planner, graph->input, true, training);
    input->offset = 0;
    Tensor *outputs[] = {graph->output, graph->training_output};
    for (int i = 0; i < 1 + training; i++) {
        Placement *output = add_fixed(planner, outputs[i], i == 0, i == 1);
        if (output != input)
            output->offset = input->bytes;
    }
    if (planner->plan->options.shards > 1 && graph->input_gradient != NULL)
        tensor_placement(planner, graph->input_gradient, true)->apart = true;
}

/* ---- Shards ---- */

static bool add_shards(const Plan *plan, int64_t begin, int64_t bytes, int64_t *end) {
    return checked_multiply(bytes, plan->options.shards, end) && checked_add(begin, *end, end);
}

/* A copy of what is placed so far for each shard; behind them the input's gradient. */
static bool place_shards(Planner *planner, const Graph *graph) {
    Plan *plan = planner->plan;
    int64_t begin = plan_fixed_end(plan), end = planner->late_bytes;
    for (int s = 0; s < SEQUENCE_COUNT; s++) {
        end = plan->sequence_bytes[s] > end ? plan->sequence_bytes[s] : end;
        int64_t bytes = plan->sequence_bytes[s] > begin ? plan->sequence_bytes[s] - begin : 0;
        if (!add_shards(plan, begin, bytes, &plan->sequence_bytes[s]))
            return false;
    }
    plan->shard_bytes = end > begin ? end - begin : 0;
    if (!add_shards(plan, begin, plan->shard_bytes, &planner->late_bytes))
        return false;
    plan->arena_size = planner->late_bytes / plan->options.real_size;
    if (graph->input_gradient == NULL)
        return true;
    Placement *gradient = tensor_placement(planner, graph->input_gradient, true);
    gradient->offset = planner->late_bytes;
    gradient->late = true;
    return checked_add(planner->late_bytes, gradient->bytes, &planner->late_bytes);
}

/* ---- Totals ---- */

/* What a piece counts as. */
static int64_t *part_of(Plan *plan, const Placement *piece) {
    if (piece->tensor == NULL)
        return &plan->scratch;
    return piece->tensor->role == TENSOR_PARAMETER_GRADIENT ? &plan->gradients : &plan->activations;
}

/* The step that needs most: the change of the sum at every step, summed up. */
static int64_t peak_step(const Plan *plan, Sequence sequence) {
    size_t length = (size_t)plan->sequence_length[sequence] + 2;
    int64_t *change = ARENA_ARRAY(plan->arena, int64_t, length);
    for (int i = 0; i < plan->placement_count; i++) {
        const Placement *piece = plan->placements[i];
        if (!piece->in_sequence[sequence] || piece->late || piece->by_slot)
            continue;
        change[piece->first] += piece->bytes;
        if ((size_t)piece->last + 1 < length)
            change[piece->last + 1] -= piece->bytes;
    }
    int64_t now = 0, most = 0, peak = 0;
    for (size_t step = 0; step < length; step++) {
        now += change[step];
        if (now > most) {
            most = now;
            peak = (int64_t)step;
        }
    }
    return peak;
}

static void find_peak(Plan *plan, Sequence sequence) {
    int64_t step = peak_step(plan, sequence);
    for (int i = 0; i < plan->placement_count; i++) {
        const Placement *piece = plan->placements[i];
        if (piece->in_sequence[sequence] && !piece->late && !piece->by_slot &&
            piece->first <= step && step <= piece->last)
            *part_of(plan, piece) += piece->bytes * (piece->whole ? 1 : plan->options.shards);
    }
}

/* What a batch of labels or targets takes, and its losses; graphs made by hand have none. */
static bool count_targets(Plan *plan, const Graph *graph) {
    bool labels = graph->network->train.loss == LOSS_CROSS_ENTROPY;
    const Tensor *const tensors[] = {labels ? graph->labels : graph->targets, graph->losses};
    for (size_t i = 0; i < sizeof tensors / sizeof tensors[0]; i++) {
        int64_t bytes = 0;
        if (tensors[i] == NULL)
            continue;
        if (!piece_bytes(&plan->options, tensors[i]->elements, plan->options.max_batch,
                         tensors[i]->type, &bytes) ||
            !checked_add(plan->targets, bytes, &plan->targets))
            return false;
    }
    return true;
}

/* Gradients of the parameters that the shards have beside the arena. */
static bool count_shard_gradients(Plan *plan, const Graph *graph) {
    int64_t bytes = 0;
    return plan->options.shards == 1 || (piece_bytes(&plan->options, graph->trainable_size,
                                                     plan->options.shards, TYPE_REAL, &bytes) &&
                                         checked_add(plan->gradients, bytes, &plan->gradients));
}

static bool sum_up(Plan *plan, const Graph *graph) {
    int64_t size = plan->options.real_size, total = 0;
    if (!checked_multiply(graph->parameter_size, size, &plan->parameters) ||
        !checked_multiply(graph->prepared_size, size, &plan->prepared) ||
        !count_targets(plan, graph) || !checked_add(plan->parameters, plan->targets, &total) ||
        !checked_add(total, plan->prepared, &total) ||
        !checked_add(total, plan->sequence_bytes[SEQUENCE_EVALUATION], &plan->peak_infer))
        return false;
    find_peak(plan, graph->infer_only ? SEQUENCE_EVALUATION : SEQUENCE_TRAINING);
    if (graph->infer_only)
        return true;
    if (!checked_multiply(graph->trainable_size * size,
                          optimizer_state_count(&graph->network->train), &plan->optimizer) ||
        !count_shard_gradients(plan, graph) ||
        (plan->options.shards > 1 && !checked_add(total, plan->gradients, &total)) ||
        !checked_add(total, plan->optimizer, &total) ||
        !checked_add(total, plan->sequence_bytes[SEQUENCE_TRAINING], &total))
        return false;
    plan->peak_train = total;
    return true;
}

static void set_arena_size(Plan *plan, int64_t late_bytes) {
    int64_t size = plan->options.real_size, bytes = plan->arena_size * size;
    for (int i = 0; i < SEQUENCE_COUNT; i++)
        bytes = plan->sequence_bytes[i] > bytes ? plan->sequence_bytes[i] : bytes;
    plan->arena_size = bytes / size;
    plan->late_arena_size = (late_bytes > bytes ? late_bytes : bytes) / size;
}

static void set_offsets(Plan *plan, const Graph *graph) {
    int64_t size = plan->options.real_size;
    for (int i = 0; i < plan->placement_count; i++) {
        const Placement *piece = plan->placements[i];
        if (piece->tensor == NULL)
            continue;
        piece->tensor->offset = piece->offset / size;
        piece->tensor->first_use = piece->first;
        piece->tensor->last_use = piece->last;
    }
    plan->input_offset = graph->input->offset;
    plan->output_offset = tensor_storage(graph->output)->offset;
    if (graph->input_gradient != NULL)
        plan->input_gradient_offset = tensor_storage(graph->input_gradient)->offset;
}

/* ---- Errors ---- */

#define LISTED_PIECES 5

static void report_too_much(const Plan *plan, int64_t peak, Diagnostics *diagnostics) {
    SourceRange nowhere = {0, 0};
    Diagnostic *error = diagnostic_error(diagnostics, nowhere,
                                         "a batch of %d needs %" PRId64
                                         " bytes of memory, but --mem allows %" PRId64,
                                         plan->options.max_batch, peak, plan->options.memory_limit);
    diagnostic_note(error, nowhere,
                    "parameters %" PRId64 ", optimizer %" PRId64
                    ", activations and gradients %" PRId64 " bytes",
                    plan->parameters, plan->optimizer, peak - plan->parameters - plan->optimizer);
    Placement **order = ARENA_ARRAY(plan->arena, Placement *, (size_t)plan->placement_count + 1);
    memcpy(order, plan->placements, (size_t)plan->placement_count * sizeof *order);
    qsort(order, (size_t)plan->placement_count, sizeof *order, compare_size);
    for (int i = 0; i < LISTED_PIECES && i < plan->placement_count; i++) {
        const Layer *layer = order[i]->tensor != NULL ? order[i]->tensor->layer : NULL;
        diagnostic_note(error, layer != NULL ? layer->where : nowhere, "%s takes %" PRId64 " bytes",
                        placement_name(plan->arena, order[i]), order[i]->bytes);
    }
    if (plan->options.full_peak != 0)
        diagnostic_note(error, nowhere,
                        "recomputing in the backward pass what can be brings %" PRId64
                        " bytes down to %" PRId64,
                        plan->options.full_peak, plan->peak_train);
    diagnostic_hint(error, "a smaller --batch needs less");
}

static bool check_limit(const Plan *plan, Diagnostics *diagnostics) {
    int64_t peak = plan->peak_train > plan->peak_infer ? plan->peak_train : plan->peak_infer;
    if (plan->options.memory_limit == 0 || peak <= plan->options.memory_limit)
        return true;
    report_too_much(plan, peak, diagnostics);
    return false;
}

/* ---- The plan ---- */

Plan *plan_memory(Arena *arena, const Graph *graph, const Kernels *kernels,
                  const PlanOptions *options, Diagnostics *diagnostics) {
    Plan *plan = ARENA_NEW(arena, Plan);
    plan->arena = arena;
    plan->options = *options;
    plan->index = create_index(arena, kernels);
    memcpy(plan->sequence_length, kernels->sequence_length, sizeof plan->sequence_length);
    Planner planner = {plan, true, 0};
    place_fixed(&planner, graph);
    find_lives(&planner, graph, kernels);
    place_all(&planner);
    bool fits = planner.fits && (options->shards == 1 || place_shards(&planner, graph));
    if (!fits || !sum_up(plan, graph)) {
        Diagnostic *error = diagnostic_error(diagnostics, (SourceRange){0, 0},
                                             "the memory for a batch of %d is too large to count",
                                             options->max_batch);
        diagnostic_hint(error, "a smaller --batch or input needs less");
        return NULL;
    }
    set_arena_size(plan, planner.late_bytes);
    set_offsets(plan, graph);
    return check_limit(plan, diagnostics) ? plan : NULL;
}
