/* Which answers are measured together. Questions that share a kernel, or a layer's phase, which is
 * what has a time, form a family: a trial gives all its members an answer, and the family as a
 * whole gets the answers of its fastest trial. Families do not touch each other, so one program can
 * hold a trial of each. */
#ifndef CNNC_TUNE_TRIALS_H
#define CNNC_TUNE_TRIALS_H

#include "kernels.h"
#include "tuning.h"

#define MAX_TRIALS 6
#define TUNE_ROUNDS 3

/* A layer's phase in one sequence: what a program tells the time of. */
typedef struct TuneSlot {
    Sequence sequence;
    int layer;
    const char *phase;
    int member;                              /* a question asked there */
    double seconds[MAX_TRIALS][TUNE_ROUNDS]; /* 0: not measured */
} TuneSlot;

typedef struct TuneMember {
    Question *question;
    int family;
} TuneMember;

typedef struct Trials {
    Arena *arena;
    int member_count, member_capacity;
    TuneMember *members; /* open questions with more than one answer, asked in kernels that run */
    int slot_count, slot_capacity;
    TuneSlot *slots;
    int trial_count; /* the most that a family has; trial 0: the model's choices */
} Trials;

/* From what `tuning` has collected while `kernels` were made. */
Trials *trials_plan(Arena *arena, const Tuning *tuning, const Kernels *kernels);
/* Sets the answers for the program of this trial. */
void trials_begin(const Trials *trials, int trial);
/* Takes one time; false where there is no such slot, which is no error. */
bool trials_record(Trials *trials, Sequence sequence, int layer, const char *phase, int trial,
                   int round, double seconds);
/* Seconds of a run in the families together, with the model's choices and with the best. */
typedef struct TrialsResult {
    int families, changed;
    double before, after;
} TrialsResult;
/* Settles all members. The model's choice stays unless another is faster in every round and by more
 * than the noise of measuring. */
TrialsResult trials_settle(const Trials *trials, const Tuning *tuning);

#endif
