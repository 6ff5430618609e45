/* Operators and functions on integers and numbers. An integer result that leaves 64 bits, a
 * division by zero and a number that is not finite are errors. */
#ifndef CNNC_ARITHMETIC_H
#define CNNC_ARITHMETIC_H

#include "ast.h"
#include "diagnostic.h"

/* Applies the arithmetic or comparing operator of `expression` (not and, or, not) to numeric
 * values; `left` is not read for a unary one. False after reporting an error. */
bool apply_operator(Diagnostics *diagnostics, const Expression *expression, const Value *left,
                    const Value *right, Value *result);

/* min max floor ceil round sqrt log2. */
bool is_function(const char *name);
/* Applies the function that `call` names to its arguments, which are numeric. */
bool apply_function(Diagnostics *diagnostics, const Word *call, Value *result);

#endif
