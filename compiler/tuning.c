#include "tuning.h"

#include <string.h>

Tuning *tuning_create(Arena *arena) {
    Tuning *tuning = ARENA_NEW(arena, Tuning);
    tuning->arena = arena;
    tuning->end = &tuning->first;
    return tuning;
}

static Question *find(const Tuning *tuning, const char *signature) {
    Question *question = tuning->first;
    while (question != NULL && strcmp(question->signature, signature) != 0)
        question = question->next;
    return question;
}

Question *tuning_ask(Tuning *tuning, const struct Group *group, const char *signature) {
    Question *question = find(tuning, signature);
    if (question == NULL) {
        question = ARENA_NEW(tuning->arena, Question);
        question->signature = signature;
        *tuning->end = question;
        tuning->end = &question->next;
        if (tuning->look_up != NULL)
            tuning->look_up(tuning->context, question);
    }
    if (tuning->collecting) {
        ARENA_GROW(tuning->arena, tuning->askings, tuning->asking_count, tuning->asking_capacity);
        tuning->askings[tuning->asking_count++] = (Asking){group, question};
    }
    return question;
}

void question_offer(Arena *arena, Question *question, const char *answer) {
    for (int i = 0; i < question->answer_count; i++)
        if (strcmp(question->answers[i], answer) == 0)
            return;
    if (question->answer_count < MAX_ANSWERS)
        question->answers[question->answer_count++] = arena_copy(arena, answer, strlen(answer));
}

const char *tuning_answer(const Tuning *tuning, const Question *question) {
    if (question->settled != NULL)
        return question->settled;
    if (tuning->collecting && question->algorithm)
        return ANSWER_DIRECT;
    return question->trial < question->answer_count ? question->answers[question->trial] : NULL;
}

void tuning_refuse(Tuning *tuning, Question *question) {
    const char *answer = question->settled;
    question->settled = NULL;
    if (tuning->refuse != NULL)
        tuning->refuse(tuning->context, question, answer);
}
