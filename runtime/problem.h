/* What went wrong, for people: functions that can fail take a Problem, describe the failure in it
 * and return false (or NULL). */
#ifndef CNNC_PROBLEM_H
#define CNNC_PROBLEM_H

#include "api.h"

#define PROBLEM_CAPACITY 8192

typedef struct Problem {
    size_t length;
    int count, omitted; /* lines kept, and those that no longer fitted */
    char text[PROBLEM_CAPACITY];
} Problem;

RUNTIME_API void problem_clear(Problem *problem);
/* Adds one line. Always returns false, so that callers can return it. */
RUNTIME_API bool problem_add(Problem *problem, const char *format, ...) PRINTF_FORMAT(2, 3);
RUNTIME_API bool problem_out_of_memory(Problem *problem, const char *purpose);

#endif
