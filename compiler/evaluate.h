/* The values of expressions: arithmetic on 64-bit integers and doubles, never a wrong number. An
 * integer result that leaves 64 bits, a division by zero and a number that is not finite are
 * errors. */
#ifndef CNNC_EVALUATE_H
#define CNNC_EVALUATE_H

#include "ast.h"
#include "suggest.h"

/* Where names get their values from. */
typedef struct Evaluator {
    Diagnostics *diagnostics;
    /* The value of a constant, parameter or variable; NULL: there is none of that name. */
    const Value *(*find)(void *context, const char *name);
    void (*offer)(void *context, Suggestion *suggestion); /* offers all names that are known */
    bool (*charge)(void *context, int64_t work); /* false, after an error: the work is too much */
    void *context;
} Evaluator;

/* All return false after reporting an error. A name without a value is a word. */
bool evaluate_value(Evaluator *evaluator, const Expression *expression, Value *value);
/* The value as an integer; a number that is one is taken, 2.5 is an error. `what` names it in the
 * message: "a repeat count". */
bool evaluate_integer(Evaluator *evaluator, const Expression *expression, const char *what,
                      int64_t *integer);
/* An integer, a number or a boolean: a name without a value is an error. */
bool evaluate_constant(Evaluator *evaluator, const Expression *expression, Value *value);
/* true or false; an integer is true unless it is 0. */
bool evaluate_condition(Evaluator *evaluator, const Expression *expression, bool *truth);
/* Arguments as those of a word without a name. */
bool evaluate_arguments(Evaluator *evaluator, const ArgumentList *list, Word *word);

/* Changes a number that is an integer into one; false where the value is none. */
bool value_to_integer(Value *value);
bool value_is_numeric(const Value *value);  /* integer or number */
double value_as_number(const Value *value); /* of a numeric value */

#endif
