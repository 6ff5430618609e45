/* The questions that --tune answers by measuring. Lowering asks one wherever it knows several ways
 * to make the same loops: which register tile a contraction gets, whether a convolution goes by
 * Winograd's algorithm and in which portions. A question is known by its signature, which names all
 * that its answers depend on, an answer by its name. Names come from files: who asks looks for the
 * answer of that name among those that the search makes, so a wrong name never makes a program.
 *
 * A program is made several times: once to collect the questions, once for every trial, once with
 * the answers that were best. Without --tune nothing is asked (LowerOptions.tuning is NULL). */
#ifndef CNNC_TUNING_H
#define CNNC_TUNING_H

#include "arena.h"

#include <stdbool.h>

struct Group;

#define MAX_ANSWERS 5
#define ANSWER_CAPACITY 160 /* bytes of a name with its end */

typedef struct Question {
    const char *signature;
    bool algorithm; /* one of its answers, ANSWER_DIRECT, leads to further questions */
    int answer_count;
    const char *answers[MAX_ANSWERS]; /* [0]: the model's choice */
    int trial;                        /* the answer for the program being made */
    const char *settled;              /* from the cache or measured; NULL: open */
    int cache_line;                   /* where `settled` was found; 0: not in the cache */
    struct Question *next;
} Question;

/* The convolution is left to the contraction core. */
#define ANSWER_DIRECT "direct"

/* A group whose lowering asked a question. */
typedef struct Asking {
    const struct Group *group;
    Question *question;
} Asking;

typedef struct Tuning {
    Arena *arena;
    bool collecting; /* questions about the algorithm are answered by ANSWER_DIRECT */
    Question *first, **end;
    int asking_count, asking_capacity;
    Asking *askings; /* while collecting */
    /* Looks for a settled answer: sets Question.settled and cache_line, or leaves them. */
    void (*look_up)(void *context, Question *question);
    /* The settled answer does not exist: the question has been opened again. */
    void (*refuse)(void *context, const Question *question, const char *answer);
    void *context;
} Tuning;

Tuning *tuning_create(Arena *arena);
/* The question with this signature, which the arena keeps. */
Question *tuning_ask(Tuning *tuning, const struct Group *group, const char *signature);
/* Adds an answer, the model's choice first, unless it is there or there are enough. */
void question_offer(Arena *arena, Question *question, const char *answer);
/* The name of what is to be made now; NULL: the model's choice, the only one there is. */
const char *tuning_answer(const Tuning *tuning, const Question *question);
/* To be called where a settled answer does not exist. */
void tuning_refuse(Tuning *tuning, Question *question);

#endif
