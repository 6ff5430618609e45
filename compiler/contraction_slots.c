/* Slots: where the results of a sum in parts are too few to give every thread a share of them, the
 * parts are dealt out instead; so are blocks of examples, whose numbers lie in the cache of the
 * core that made them. */
#include "contraction_emission.h"

int64_t contraction_slot_size(const ContractionPlan *plan) {
    int64_t lanes = plan->tile.sums_lanes_last ? plan->lowering->options->vector_length : 1;
    return plan->result.operand->tensor->storage * lanes;
}

/* Parts of the whole sum. */
static Expr *count_parts(const Emission *e) {
    Expr *parts = integer(e->b, 1);
    for (int i = 0; i < e->first_inner; i++)
        parts = times(e->b, parts, plan_dim_end(e->plan, e->reduced[i]));
    return parts;
}

/* Those of a slot, for estimates: in all or for each example. */
static double slot_trips(const Emission *e, bool *per_example) {
    double trips = 1.0 / e->plan->tile.slots;
    *per_example = false;
    for (int i = 0; i < e->first_inner; i++) {
        const PlanDim *dim = &e->plan->dims[e->reduced[i]];
        *per_example = *per_example || dim->batch;
        trips *= dim->batch ? 1 / (double)dim->scale : (double)dim->extent;
    }
    return trips;
}

void contraction_open_slots(Emission *e) {
    Builder *b = e->b;
    int slots = e->plan->tile.slots;
    Expr *parts = declare(b, "parts", TYPE_INDEX, count_parts(e));
    e->slot = open_loop(b, LOOP_INDEPENDENT, "slot", slots);
    Expr *next = plus(b, e->slot, integer(b, 1));
    e->slot_begin = over(b, times(b, e->slot, parts), integer(b, slots));
    e->slot_end = over(b, times(b, next, parts), integer(b, slots));
}

static bool is_single(const Emission *e, int i) {
    const PlanDim *dim = &e->plan->dims[e->reduced[i]];
    return dim->extent == 1 && !dim->batch;
}

/* One loop over the numbers of the parts, which give the indices of their dimensions. */
int contraction_open_slot_parts(Emission *e) {
    Builder *b = e->b;
    bool per_example;
    double trips = slot_trips(e, &per_example);
    Expr *number = open_range(b, LOOP_SERIAL, "part", e->slot_begin, e->slot_end, 1);
    expect_trips(b, trips, per_example);
    int outermost = 0;
    while (outermost < e->first_inner - 1 && is_single(e, outermost))
        outermost++;
    for (int i = e->first_inner - 1; i >= 0; i--) {
        int d = e->reduced[i];
        Expr *end = plan_dim_end(e->plan, d);
        e->dims[d] = integer(b, 0);
        if (i < outermost || is_single(e, i))
            continue;
        Expr *index = i > outermost ? remainder_of(b, number, end) : number;
        e->dims[d] = declare(b, e->plan->dims[d].letter, TYPE_INDEX, index);
        number = over(b, number, end);
    }
    return 1;
}

Expr *contraction_slots_total(Emission *e, const char *name, Expr *offset) {
    Builder *b = e->b;
    Buffer *sums = e->plan->result.buffer;
    Expr *first = load_at(b, sums, 1, &offset);
    first->type = TYPE_VECTOR;
    Expr *total = declare(b, name, TYPE_VECTOR, first);
    if (e->plan->tile.slots <= 1)
        return total;
    Expr *slot =
        open_range(b, LOOP_SERIAL, "slot", integer(b, 1), integer(b, e->plan->tile.slots), 1);
    Expr *at = plus(b, times(b, slot, integer(b, contraction_slot_size(e->plan))), offset);
    Expr *sum = load_at(b, sums, 1, &at);
    sum->type = TYPE_VECTOR;
    local_add(b, total, sum);
    close_blocks(b, 1);
    return total;
}

void contraction_close_slots(Emission *e) {
    Builder *b = e->b;
    const Tensor *tensor = e->plan->result.operand->tensor;
    close_blocks(b, 1);
    e->slot = NULL;
    if (e->plan->tile.sums_lanes_last)
        return;
    Expr *i =
        open_range(b, LOOP_INDEPENDENT, "i", integer(b, 0), integer(b, tensor->storage), e->length);
    Expr *total = contraction_slots_total(e, "total", i);
    store_at(b, lower_buffer(e->plan->lowering, (Tensor *)tensor), 1, &i, total,
             e->plan->contraction->accumulate);
    close_blocks(b, 1);
}
