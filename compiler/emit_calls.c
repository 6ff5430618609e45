#include "emit_calls.h"
#include "names.h"
#include "text.h"

#include <ctype.h>
#include <string.h>

#define LONGEST_ROUND 256 /* calls */
#define FEWEST_ROUNDS 3
#define WORTH_A_LOOP 16 /* calls that it saves */

/* ---- Rounds ---- */

static bool same_call(const Call *a, const Call *b) {
    if (a->step->function != b->step->function || a->argument_count != b->argument_count ||
        a->step->group->nodes[0]->role != b->step->group->nodes[0]->role ||
        a->step->group->nodes[0]->condition != b->step->group->nodes[0]->condition)
        return false;
    for (int i = 0; i < a->argument_count; i++) {
        const CallArgument *x = &a->arguments[i], *y = &b->arguments[i];
        if (x->kind != y->kind || (x->kind == ARGUMENT_TEXT && strcmp(x->name, y->name) != 0))
            return false;
    }
    return true;
}

static int calls_saved(const Part *part) {
    return (part->rounds - 1) * part->length;
}

/* The longest run of rounds of the given length among the calls from `begin` to `end`. */
static Part longest_run(const Call *calls, int begin, int end, int length) {
    Part best = {.first = begin, .length = length, .rounds = 1};
    int equal = 0; /* calls before i that are as the one a round later */
    for (int i = begin; i + length < end; i++) {
        equal = same_call(&calls[i], &calls[i + length]) ? equal + 1 : 0;
        int rounds = equal / length + 1;
        if (rounds > best.rounds) {
            best.rounds = rounds;
            best.first = i + 1 - equal;
        }
    }
    return best;
}

static Part most_saving_run(const Call *calls, int begin, int end) {
    Part best = {.first = begin, .length = 1, .rounds = 1};
    for (int length = 1; length <= LONGEST_ROUND && length * FEWEST_ROUNDS <= end - begin;
         length++) {
        Part run = longest_run(calls, begin, end, length);
        if (run.rounds >= FEWEST_ROUNDS && calls_saved(&run) > calls_saved(&best))
            best = run;
    }
    return best;
}

static void add_part(Arena *arena, CallList *list, Part part) {
    ARENA_GROW(arena, list->parts, list->part_count, list->part_capacity);
    list->parts[list->part_count++] = part;
}

static void divide(Arena *arena, CallList *list, int begin, int end) {
    if (begin == end)
        return;
    Part run = most_saving_run(list->calls, begin, end);
    if (calls_saved(&run) < WORTH_A_LOOP) {
        add_part(arena, list, (Part){.first = begin, .length = end - begin, .rounds = 1});
        return;
    }
    divide(arena, list, begin, run.first);
    add_part(arena, list, run);
    divide(arena, list, run.first + run.rounds * run.length, end);
}

/* ---- Values ---- */

int64_t argument_value(const CallList *list, const Part *part, int call, int argument, int round) {
    return list->calls[part->first + round * part->length + call].arguments[argument].value;
}

Progress argument_progress(const CallList *list, const Part *part, int call, int argument) {
    int64_t before = argument_value(list, part, call, argument, 0), step = 0;
    for (int round = 1; round < part->rounds; round++) {
        int64_t value = argument_value(list, part, call, argument, round);
        if (round > 1 && value - before != step)
            return PROGRESS_TABLE;
        step = value - before;
        before = value;
    }
    return step == 0 ? PROGRESS_NONE : PROGRESS_LINEAR;
}

const RoundColumn *argument_column(const CallList *list, const Part *part, int call, int argument) {
    for (int i = 0; i < part->column_count; i++) {
        const RoundColumn *column = &part->columns[i];
        int round = 0;
        while (round < part->rounds &&
               argument_value(list, part, call, argument, round) ==
                   argument_value(list, part, column->call, column->argument, round))
            round++;
        if (round == part->rounds)
            return column;
    }
    return NULL;
}

/* The label as a name for a member, in small letters. "tensor_" goes before what could be a word of
 * C, which has no digits, or begins with a digit. */
static const char *column_name(Arena *arena, NameTable *taken, const char *label) {
    bool plain = strpbrk(label, "0123456789") != NULL && !isdigit((unsigned char)*label);
    Text name;
    text_init(&name, arena);
    text_add(&name, plain ? "" : "tensor_");
    for (const char *c = label; *c != '\0'; c++)
        text_add_character(&name,
                           isalnum((unsigned char)*c) ? (char)tolower((unsigned char)*c) : '_');
    const char *free_name = name.bytes;
    for (int number = 2; name_find(taken, free_name) != NULL; number++)
        free_name = arena_format(arena, "%s_%d", name.bytes, number);
    name_put(taken, free_name, taken);
    return free_name;
}

static void add_columns(Arena *arena, const CallList *list, Part *part) {
    NameTable *taken = name_table_create(arena);
    for (int call = 0; call < part->length; call++) {
        const Call *first = &list->calls[part->first + call];
        for (int argument = 0; argument < first->argument_count; argument++) {
            if (argument_progress(list, part, call, argument) != PROGRESS_TABLE ||
                argument_column(list, part, call, argument) != NULL)
                continue;
            const char *name = column_name(arena, taken, first->arguments[argument].label);
            ARENA_GROW(arena, part->columns, part->column_count, part->column_capacity);
            part->columns[part->column_count++] = (RoundColumn){call, argument, name};
        }
    }
}

static void set_named(const CallList *list, const Part *part) {
    for (int call = 0; call < part->length; call++) {
        const Call *first = &list->calls[part->first + call];
        for (int argument = 0; argument < first->argument_count; argument++)
            if (first->arguments[argument].named != NULL &&
                argument_progress(list, part, call, argument) != PROGRESS_TABLE)
                *first->arguments[argument].named = true;
    }
}

void find_parts(Arena *arena, CallList *list) {
    divide(arena, list, 0, list->call_count);
    int number = 0;
    for (int i = 0; i < list->part_count; i++) {
        Part *part = &list->parts[i];
        if (part->rounds > 1) {
            part->number = ++number;
            add_columns(arena, list, part);
        }
        set_named(list, part);
    }
}
