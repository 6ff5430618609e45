#include "problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PROBLEM_RESERVE 64 /* room for "... and N more" */

RUNTIME_API void problem_clear(Problem *problem) {
    memset(problem, 0, offsetof(Problem, text) + 1);
}

RUNTIME_API bool problem_add(Problem *problem, const char *format, ...) {
    char line[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);

    size_t length = strlen(line), separator = problem->length > 0;
    char *end = problem->text + problem->length;
    if (problem->omitted == 0 &&
        problem->length + separator + length + PROBLEM_RESERVE < PROBLEM_CAPACITY) {
        snprintf(end, PROBLEM_CAPACITY - problem->length, "%s%s", separator ? "\n" : "", line);
        problem->length += separator + length;
        problem->count++;
        return false;
    }
    /* The line with the number of further problems is replaced each time. */
    problem->omitted++;
    snprintf(end, PROBLEM_RESERVE, "\n... and %d more", problem->omitted);
    return false;
}

RUNTIME_API bool problem_out_of_memory(Problem *problem, const char *purpose) {
    return problem_add(problem, "out of memory for %s", purpose);
}
