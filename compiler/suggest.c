#include "suggest.h"

#include <ctype.h>
#include <limits.h>
#include <string.h>

#define LONGEST 63

static int smaller(int a, int b) {
    return a < b ? a : b;
}

int edit_distance(const char *a, const char *b) {
    size_t rows = strlen(a), columns = strlen(b);
    if (rows > LONGEST || columns > LONGEST) {
        return INT_MAX;
    }
    int distance[LONGEST + 1][LONGEST + 1];
    for (size_t i = 0; i <= rows; i++) {
        for (size_t j = 0; j <= columns; j++) {
            if (i == 0 || j == 0) {
                distance[i][j] = (int)(i + j);
                continue;
            }
            int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);
            int best = distance[i - 1][j - 1] + (x != y);
            best = smaller(best, distance[i - 1][j] + 1);
            best = smaller(best, distance[i][j - 1] + 1);
            if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
                y == tolower((unsigned char)a[i - 2])) {
                best = smaller(best, distance[i - 2][j - 2] + 1);
            }
            distance[i][j] = best;
        }
    }
    return distance[rows][columns];
}

Suggestion suggestion_for(const char *name) {
    /* One edit in three letters is still a misspelling; more is another word. */
    int length = (int)strnlen(name, LONGEST + 1);
    return (Suggestion){.name = name, .distance = (length + 2) / 3 + 1};
}

void suggestion_offer(Suggestion *suggestion, const char *candidate) {
    int distance = edit_distance(suggestion->name, candidate);
    /* A single letter that has to be replaced has nothing in common with the name. */
    bool related = distance < (int)strlen(candidate) || distance < (int)strlen(suggestion->name);
    if (distance < suggestion->distance && related) {
        suggestion->distance = distance;
        suggestion->best = candidate;
    }
}

void suggestion_offer_words(Suggestion *suggestion, Arena *arena, const char *words) {
    while (words != NULL && *words != '\0') {
        size_t length = strcspn(words, " ");
        if (length > 0) {
            suggestion_offer(suggestion, arena_copy(arena, words, length));
        }
        words += length + strspn(words + length, " ");
    }
}

void suggestion_hint(const Suggestion *suggestion, Diagnostic *diagnostic) {
    if (suggestion->best != NULL) {
        diagnostic_hint(diagnostic, "did you mean '%s'?", suggestion->best);
    }
}
