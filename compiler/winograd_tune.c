/* Variants of Winograd's algorithm as answers for --tune. */
#include "group_key.h"
#include "tuning.h"
#include "winograd_plan.h"

#include <stdio.h>
#include <string.h>

#define HOPELESS 2.0 /* times the cycles of the best variant: not measured */

/* "winograd F(4x4) 6*4, slab 6, portion 12, slots 2, filter slots 0, part 0, together" */
static void name_plan(const WinogradPlan *plan, char *name) {
    snprintf(name, ANSWER_CAPACITY,
             "winograd F(%dx%d) %d*%d, slab %lld, portion %lld, slots %d, filter slots %d, part "
             "%lld, %s",
             plan->step, plan->step, plan->rows, plan->columns, (long long)plan->slab,
             (long long)plan->portion, plan->slots, plan->filter_slots, (long long)plan->part,
             plan->apart ? "apart" : "together");
}

typedef struct PlanByName {
    const char *name;
    bool found;
    WinogradPlan *plan;
} PlanByName;

static void compare_name(void *context, const WinogradPlan *plan) {
    PlanByName *wanted = context;
    char name[ANSWER_CAPACITY];
    if (wanted->found)
        return;
    name_plan(plan, name);
    wanted->found = strcmp(name, wanted->name) == 0;
    if (wanted->found)
        *wanted->plan = *plan;
}

/* ---- What is worth measuring ---- */

/* The best variant of each size of tile and way to share the work among threads. */
typedef enum WinogradSharing {
    SHARED_TILES,   /* each thread has its slot */
    SHARED_LOOPS,   /* threads share the loops of a portion */
    SHARED_FILTERS, /* so, and filters are transformed in parts */
    SHARED_GROUPS,  /* they share groups of result blocks */
    SHARING_COUNT
} WinogradSharing;
#define STEPS 2

typedef struct Shortlist {
    WinogradPlan best[STEPS * SHARING_COUNT]; /* cycles 0: none */
} Shortlist;

static void shortlist(void *context, const WinogradPlan *plan) {
    Shortlist *list = context;
    WinogradSharing sharing = plan->part > 0           ? SHARED_GROUPS
                              : plan->filter_slots > 0 ? SHARED_FILTERS
                              : plan->slots > 1        ? SHARED_TILES
                                                       : SHARED_LOOPS;
    WinogradPlan *best = &list->best[(plan->step > 2) * SHARING_COUNT + (int)sharing];
    if (best->cycles == 0 || plan->cycles < best->cycles)
        *best = *plan;
}

static WinogradPlan *take_best(Shortlist *list) {
    WinogradPlan *best = NULL;
    for (int i = 0; i < STEPS * SHARING_COUNT; i++) {
        WinogradPlan *plan = &list->best[i];
        if (plan->cycles != 0 && (best == NULL || plan->cycles < best->cycles))
            best = plan;
    }
    return best;
}

/* The model's choice first; ANSWER_DIRECT is always among the answers. */
static void offer_plans(Arena *arena, Question *question, Shortlist *list, double direct) {
    char name[ANSWER_CAPACITY];
    double cheapest = 0;
    for (WinogradPlan *plan = take_best(list); plan != NULL; plan = take_best(list)) {
        cheapest = cheapest == 0 ? plan->cycles : cheapest;
        if (plan->cycles > HOPELESS * cheapest)
            break;
        if (question->answer_count == 0 && cheapest >= direct)
            question_offer(arena, question, ANSWER_DIRECT);
        name_plan(plan, name);
        question_offer(arena, question, name);
        question_offer(arena, question, ANSWER_DIRECT);
        plan->cycles = 0;
    }
}

/* ---- The question ---- */

static const char *signature(const Lowering *lowering, const Node *node, WinogradKind kind) {
    static const char *const kinds[] = {[WINOGRAD_FORWARD] = "forward",
                                        [WINOGRAD_DATA_GRADIENT] = "data gradient",
                                        [WINOGRAD_WEIGHT_GRADIENT] = "weight gradient"};
    const Shape *input = &node->layer->inputs[0]->output, *output = &node->layer->output;
    const LowerOptions *options = lowering->options;
    const Window *window = &node->layer->window;
    const int64_t numbers[] = {options->vector_length, options->registers,   options->threads,
                               window->pad_begin[0],   window->pad_begin[1], window->kernel[0]};
    return arena_format(lowering->arena, "winograd %s %s to %s n=%d #%016llx", kinds[kind],
                        shape_text(lowering->arena, input), shape_text(lowering->arena, output),
                        options->max_batch,
                        (unsigned long long)hash_bytes((const char *)numbers, sizeof numbers));
}

bool winograd_tuned(const Lowering *lowering, const Node *node, WinogradKind kind,
                    WinogradPlan *plan) {
    Tuning *tuning = lowering->options->tuning;
    if (tuning == NULL)
        return winograd_choose(lowering, node, kind, plan);
    Shortlist list = {0};
    double direct;
    if (!winograd_each_plan(lowering, node, kind, &(WinogradVisitor){shortlist, &list}, &direct) ||
        take_best(&list) == NULL)
        return false;
    Question *question = tuning_ask(tuning, lowering->group, signature(lowering, node, kind));
    question->algorithm = true;
    for (;;) {
        if (question->settled == NULL && question->answer_count == 0)
            offer_plans(tuning->arena, question, &list, direct);
        const char *answer = tuning_answer(tuning, question);
        if (strcmp(answer, ANSWER_DIRECT) == 0)
            return false;
        PlanByName wanted = {.name = answer, .plan = plan};
        winograd_each_plan(lowering, node, kind, &(WinogradVisitor){compare_name, &wanted},
                           &direct);
        if (wanted.found || question->settled == NULL)
            return wanted.found;
        tuning_refuse(tuning, question);
    }
}
