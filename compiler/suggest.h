/* "Did you mean": the nearest of some candidates to a misspelt name. */
#ifndef CNNC_SUGGEST_H
#define CNNC_SUGGEST_H

#include "diagnostic.h"

typedef struct Suggestion {
    const char *name; /* what was written */
    const char *best; /* the nearest candidate that is near enough; NULL: none so far */
    int distance;     /* of `best` */
} Suggestion;

/* The least number of insertions, deletions, replacements and exchanges of neighbours that makes
 * `b` of `a`, without regard to case (Damerau 1964; the variant that edits no part twice). Names
 * longer than 63 bytes are infinitely far: INT_MAX. */
int edit_distance(const char *a, const char *b);

Suggestion suggestion_for(const char *name);
/* The candidate must outlive the suggestion. */
void suggestion_offer(Suggestion *suggestion, const char *candidate);
/* Offers each of the words, which are separated by blanks. */
void suggestion_offer_words(Suggestion *suggestion, Arena *arena, const char *words);
/* Adds the hint "did you mean 'best'?" if there is one. */
void suggestion_hint(const Suggestion *suggestion, Diagnostic *diagnostic);

#endif
