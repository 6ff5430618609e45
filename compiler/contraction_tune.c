/* Register tiles as answers for --tune: their names, and which of them are worth measuring. */
#include "contraction.h"
#include "group_key.h"
#include "tuning.h"

#include <stdio.h>
#include <string.h>

#define SIMILAR_ROWS 1.3 /* tiles with fewer rows more are alike */
#define HOPELESS 3.0     /* times the cycles of the best tile: not measured */

/* ---- Names ---- */

static const char *letter(const ContractionPlan *plan, int d) {
    return d >= 0 ? plan->dims[d].letter : "-";
}

/* "broadcast b:oc_lane, oh*2, ow*7, oc_block*2": the operand that is read in vectors and the
 * dimension that they run along, the lines, the rows, the columns. */
static void name_tile(const ContractionPlan *plan, const Tile *tile, char *name) {
    static const char *const forms[] = {[TILE_NONE] = "none",
                                        [TILE_BROADCAST] = "broadcast",
                                        [TILE_DOT] = "dot",
                                        [TILE_LANES] = "lanes"};
    snprintf(name, ANSWER_CAPACITY, "%s %c:%s, %s*%d, %s*%d, %s*%d", forms[tile->form],
             tile->vector_side == 0 ? 'a' : 'b', letter(plan, tile->vector_dim),
             letter(plan, tile->line_dim), tile->lines, letter(plan, tile->row_dim), tile->rows,
             letter(plan, tile->column_dim), tile->columns);
}

typedef struct TileByName {
    const char *name;
    Tile tile;
} TileByName;

static void compare_name(void *context, const ContractionPlan *plan, const Tile *tile) {
    TileByName *wanted = context;
    char name[ANSWER_CAPACITY];
    if (wanted->tile.form != TILE_NONE)
        return;
    name_tile(plan, tile, name);
    if (strcmp(name, wanted->name) == 0)
        wanted->tile = *tile;
}

/* Form TILE_NONE where there is no such tile. */
static Tile tile_by_name(const ContractionPlan *plan, const char *name) {
    TileByName wanted = {.name = name, .tile = {.form = TILE_NONE}};
    contraction_each_tile(plan, &(TileVisitor){compare_name, &wanted});
    contraction_complete_tile(plan, &wanted.tile);
    return wanted.tile;
}

/* ---- Signatures ---- */

static void add_number(Text *text, int64_t number) {
    text_add_bytes(text, (const char *)&number, sizeof number);
}

static void add_side(Text *text, const ContractionPlan *plan, const Side *side) {
    const Tensor *tensor = side->operand->tensor;
    add_number(text, side->guarded);
    add_number(text, side->packable);
    add_number(text, tensor->elements);
    add_number(text, tensor->layout.blocked_axis);
    add_number(text, tensor->extent[tensor->rank - 1]);
    for (int d = 0; d < plan->dim_count; d++)
        add_number(text, side->coefficient[d]);
}

/* A hash of all that the search looks at. */
static uint64_t plan_hash(const ContractionPlan *plan) {
    const LowerOptions *options = plan->lowering->options;
    const Contraction *c = plan->contraction;
    Text text;
    text_init(&text, plan->lowering->arena);
    const int64_t numbers[] = {options->vector_length,  options->registers,    options->threads,
                               plan->example_lanes,     c->to_result,          c->accumulate,
                               c->step_numbers != NULL, c->connections != NULL};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        add_number(&text, numbers[i]);
    for (int d = 0; d < plan->dim_count; d++) {
        const PlanDim *dim = &plan->dims[d];
        const int64_t of_dim[] = {dim->extent, dim->batch, dim->reduce,
                                  dim->origin, dim->scale, dim->lanes};
        for (size_t i = 0; i < sizeof of_dim / sizeof of_dim[0]; i++)
            add_number(&text, of_dim[i]);
    }
    add_side(&text, plan, &plan->side[0]);
    add_side(&text, plan, &plan->side[1]);
    add_side(&text, plan, &plan->result);
    return hash_bytes(text.bytes, text.length);
}

/* "contraction n=8 oc_block=4 oh=56 oc_lane=16 sum ic=64 kh=3 kw=3 #0123456789abcdef" */
static const char *signature(const ContractionPlan *plan) {
    Text text;
    text_init(&text, plan->lowering->arena);
    text_add(&text, "contraction");
    for (int reduced = 0; reduced < 2; reduced++) {
        text_add(&text, reduced ? " sum" : "");
        for (int d = 0; d < plan->dim_count; d++)
            if (plan->dims[d].reduce == (bool)reduced)
                text_format(&text, " %s=%lld", plan->dims[d].letter,
                            (long long)plan->dims[d].extent);
    }
    text_format(&text, " #%016llx", (unsigned long long)plan_hash(plan));
    return text.bytes;
}

/* ---- What is worth measuring ---- */

/* The best tiles that are not alike, by estimate. */
typedef struct Shortlist {
    int count;
    Tile tiles[MAX_ANSWERS];
} Shortlist;

static bool alike(const Tile *a, const Tile *b) {
    double rows = (double)a->rows / b->rows;
    return a->form == b->form && a->vector_side == b->vector_side &&
           a->vector_dim == b->vector_dim && a->lines == b->lines &&
           (a->lines == 1 || a->line_dim == b->line_dim) && a->columns == b->columns &&
           (a->columns == 1 || a->column_dim == b->column_dim) &&
           ((a->rows == 1 && b->rows == 1) || a->row_dim == b->row_dim) && rows < SIMILAR_ROWS &&
           rows * SIMILAR_ROWS > 1;
}

static void insert(Shortlist *list, const Tile *tile) {
    int place = list->count < MAX_ANSWERS ? list->count++ : MAX_ANSWERS - 1;
    for (; place > 0 && list->tiles[place - 1].cycles > tile->cycles; place--)
        list->tiles[place] = list->tiles[place - 1];
    list->tiles[place] = *tile;
}

static void shortlist(void *context, const ContractionPlan *plan, const Tile *tile) {
    Shortlist *list = context;
    (void)plan;
    bool full = list->count == MAX_ANSWERS;
    if (full && list->tiles[MAX_ANSWERS - 1].cycles <= tile->cycles)
        return;
    int kept = 0;
    for (int i = 0; i < list->count; i++)
        if (alike(&list->tiles[i], tile) && list->tiles[i].cycles <= tile->cycles)
            return;
    for (int i = 0; i < list->count; i++)
        if (!alike(&list->tiles[i], tile))
            list->tiles[kept++] = list->tiles[i];
    list->count = kept;
    insert(list, tile);
}

static void offer_tiles(const ContractionPlan *plan, Question *question) {
    Shortlist list = {0};
    char name[ANSWER_CAPACITY];
    contraction_each_tile(plan, &(TileVisitor){shortlist, &list});
    for (int i = 0; i < list.count; i++)
        if (list.tiles[i].cycles < HOPELESS * list.tiles[0].cycles) {
            name_tile(plan, &list.tiles[i], name);
            question_offer(plan->lowering->options->tuning->arena, question, name);
        }
}

Tile contraction_tuned_tile(const ContractionPlan *plan) {
    Tuning *tuning = plan->lowering->options->tuning;
    if (tuning == NULL)
        return plan->tile;
    Question *question = tuning_ask(tuning, plan->lowering->group, signature(plan));
    if (question->settled != NULL) {
        Tile tile = tile_by_name(plan, question->settled);
        if (tile.form != TILE_NONE)
            return tile;
        tuning_refuse(tuning, question);
    }
    if (question->answer_count == 0)
        offer_tiles(plan, question);
    const char *answer = tuning_answer(tuning, question);
    return answer != NULL ? tile_by_name(plan, answer) : plan->tile;
}
