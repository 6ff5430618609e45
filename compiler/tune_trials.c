#include "tune_trials.h"

#include "emit.h"

#include <string.h>

/* What another answer has to save, of the time of the model's choice, to be taken. */
#define MARGIN 0.03

/* ---- Families ---- */

static int member_of(Trials *trials, Question *question) {
    for (int i = 0; i < trials->member_count; i++)
        if (trials->members[i].question == question)
            return i;
    int member = trials->member_count;
    ARENA_GROW(trials->arena, trials->members, member, trials->member_capacity);
    trials->members[member] = (TuneMember){question, member};
    trials->member_count++;
    return member;
}

static void join(Trials *trials, int a, int b) {
    int from = trials->members[a].family, to = trials->members[b].family;
    for (int i = 0; i < trials->member_count; i++)
        if (trials->members[i].family == from)
            trials->members[i].family = to;
}

static TuneSlot *find_slot(const Trials *trials, Sequence sequence, int layer, const char *phase) {
    for (int i = 0; i < trials->slot_count; i++) {
        TuneSlot *slot = &trials->slots[i];
        if (slot->sequence == sequence && slot->layer == layer && strcmp(slot->phase, phase) == 0)
            return slot;
    }
    return NULL;
}

static void add_question(Trials *trials, const Step *step, Question *question) {
    const Node *node = step->group->nodes[0];
    Sequence sequence = program_sequence(step->program);
    const char *phase = emit_timing_phase(node->role);
    int member = member_of(trials, question);
    TuneSlot *slot = find_slot(trials, sequence, node->layer->index, phase);
    if (slot != NULL) {
        join(trials, member, slot->member);
        return;
    }
    ARENA_GROW(trials->arena, trials->slots, trials->slot_count, trials->slot_capacity);
    trials->slots[trials->slot_count++] = (TuneSlot){
        .sequence = sequence, .layer = node->layer->index, .phase = phase, .member = member};
}

static void add_step(Trials *trials, const Tuning *tuning, const Step *step) {
    const Group *lowered = step->same_as != NULL ? step->same_as->group : step->group;
    for (int i = 0; i < tuning->asking_count; i++) {
        Question *question = tuning->askings[i].question;
        if (tuning->askings[i].group == lowered && question->settled == NULL &&
            question->answer_count > 1)
            add_question(trials, step, question);
    }
}

/* How many answers the questions of a family have: of the kind whether Winograd's algorithm is
 * used, and of the others. */
typedef struct FamilySize {
    int algorithms, tiles;
} FamilySize;

static FamilySize family_size(const Trials *trials, int family) {
    FamilySize size = {0, 0};
    for (int i = 0; i < trials->member_count; i++) {
        const TuneMember *member = &trials->members[i];
        int *most = member->question->algorithm ? &size.algorithms : &size.tiles;
        if (member->family == family && member->question->answer_count > *most)
            *most = member->question->answer_count;
    }
    return size;
}

/* First the algorithms with the model's tiles, then the other tiles with direct loops. */
static int family_trials(const FamilySize *size) {
    int trials = size->algorithms + size->tiles;
    if (size->algorithms > 0 && size->tiles > 0)
        trials--;
    return trials < MAX_TRIALS ? trials : MAX_TRIALS;
}

static int direct_answer(const Question *question) {
    for (int i = 0; i < question->answer_count; i++)
        if (strcmp(question->answers[i], ANSWER_DIRECT) == 0)
            return i;
    return 0;
}

static int answer_in_trial(const Question *question, const FamilySize *size, int trial) {
    if (question->algorithm)
        return trial < size->algorithms && trial < question->answer_count ? trial
                                                                          : direct_answer(question);
    if (size->algorithms > 0)
        trial = trial < size->algorithms ? 0 : trial - size->algorithms + 1;
    return trial < question->answer_count ? trial : 0;
}

Trials *trials_plan(Arena *arena, const Tuning *tuning, const Kernels *kernels) {
    static const ProgramId measured[] = {PROGRAM_FORWARD, PROGRAM_FORWARD_TRAINING,
                                         PROGRAM_BACKWARD};
    Trials *trials = ARENA_NEW(arena, Trials);
    trials->arena = arena;
    for (size_t p = 0; p < sizeof measured / sizeof measured[0]; p++) {
        const StepList *steps = &kernels->programs[measured[p]];
        for (int i = 0; i < steps->count; i++)
            add_step(trials, tuning, steps->steps[i]);
    }
    for (int i = 0; i < trials->member_count; i++) {
        FamilySize size = family_size(trials, trials->members[i].family);
        int count = family_trials(&size);
        if (count > trials->trial_count)
            trials->trial_count = count;
    }
    return trials;
}

void trials_begin(const Trials *trials, int trial) {
    for (int i = 0; i < trials->member_count; i++) {
        const TuneMember *member = &trials->members[i];
        FamilySize size = family_size(trials, member->family);
        int own = trial < family_trials(&size) ? trial : 0;
        member->question->trial = answer_in_trial(member->question, &size, own);
    }
}

/* ---- Times ---- */

bool trials_record(Trials *trials, Sequence sequence, int layer, const char *phase, int trial,
                   int round, double seconds) {
    TuneSlot *slot = find_slot(trials, sequence, layer, phase);
    if (slot == NULL || trial >= MAX_TRIALS || round >= TUNE_ROUNDS || !(seconds > 0))
        return false;
    slot->seconds[trial][round] = seconds;
    return true;
}

/* Of all slots of the family; 0 where one was not measured. */
static double family_seconds(const Trials *trials, int family, int trial, int round) {
    double sum = 0;
    for (int i = 0; i < trials->slot_count; i++) {
        const TuneSlot *slot = &trials->slots[i];
        if (trials->members[slot->member].family != family)
            continue;
        if (slot->seconds[trial][round] == 0)
            return 0;
        sum += slot->seconds[trial][round];
    }
    return sum;
}

/* The time of the best round; 0 where the trial is not faster than the model's choice in every one,
 * which chance would rarely give. */
static double trial_seconds(const Trials *trials, int family, int trial) {
    double best = 0;
    for (int round = 0; round < TUNE_ROUNDS; round++) {
        double own = family_seconds(trials, family, trial, round);
        double model = family_seconds(trials, family, 0, round);
        if (own == 0 || model == 0 || (trial > 0 && own >= model))
            return 0;
        if (best == 0 || own < best)
            best = own;
    }
    return best;
}

static int fastest_trial(const Trials *trials, int family, int count, TrialsResult *result) {
    double model = trial_seconds(trials, family, 0), best = model * (1 - MARGIN), after = model;
    int fastest = 0;
    for (int trial = 1; trial < count; trial++) {
        double seconds = trial_seconds(trials, family, trial);
        if (seconds == 0 || seconds >= best)
            continue;
        best = after = seconds;
        fastest = trial;
    }
    result->families++;
    result->changed += fastest > 0;
    result->before += model;
    result->after += after;
    return fastest;
}

/* ---- Answers ---- */

/* The group goes by Winograd's algorithm: it does not ask its further question again. */
static bool is_shadowed(const Tuning *tuning, const Asking *asking) {
    for (int i = 0; i < tuning->asking_count; i++) {
        const Asking *other = &tuning->askings[i];
        if (other->group == asking->group && other->question->algorithm &&
            other->question->settled != NULL &&
            strcmp(other->question->settled, ANSWER_DIRECT) != 0)
            return true;
    }
    return false;
}

static bool is_asked(const Tuning *tuning, const Question *question) {
    for (int i = 0; i < tuning->asking_count; i++)
        if (tuning->askings[i].question == question && !is_shadowed(tuning, &tuning->askings[i]))
            return true;
    return false;
}

static void settle_kind(const Trials *trials, const Tuning *tuning, bool algorithm) {
    for (int i = 0; i < trials->member_count; i++) {
        Question *question = trials->members[i].question;
        if (question->algorithm == algorithm && (algorithm || is_asked(tuning, question)))
            question->settled = question->answers[question->trial];
    }
}

TrialsResult trials_settle(const Trials *trials, const Tuning *tuning) {
    TrialsResult result = {0, 0, 0, 0};
    for (int family = 0; family < trials->member_count; family++) {
        FamilySize size = family_size(trials, family);
        if (size.algorithms + size.tiles == 0) /* joined to another one */
            continue;
        int fastest = fastest_trial(trials, family, family_trials(&size), &result);
        for (int i = 0; i < trials->member_count; i++) {
            const TuneMember *member = &trials->members[i];
            if (member->family == family)
                member->question->trial = answer_in_trial(member->question, &size, fastest);
        }
    }
    settle_kind(trials, tuning, true);
    settle_kind(trials, tuning, false);
    return result;
}
