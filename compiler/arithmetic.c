#include "arithmetic.h"

#include "checked.h"
#include "evaluate.h"

#include <math.h>
#include <string.h>

static bool fail(Diagnostics *diagnostics, SourceRange where, const char *message) {
    diagnostic_error(diagnostics, where, "%s", message);
    return false;
}

static bool finish_number(Diagnostics *diagnostics, SourceRange where, double number,
                          Value *result) {
    *result = (Value){.kind = VALUE_NUMBER, .where = where, .as.number = number};
    return isfinite(number) || fail(diagnostics, where, "the result is not a finite number");
}

static bool finish_integer(Diagnostics *diagnostics, SourceRange where, bool fits, int64_t integer,
                           Value *result) {
    *result = (Value){.kind = VALUE_INTEGER, .where = where, .as.integer = integer};
    return fits || fail(diagnostics, where, "the result does not fit into 64 bits");
}

/* base^exponent by squaring; false if it does not fit. Needs exponent >= 0. */
static bool integer_power(int64_t base, int64_t exponent, int64_t *result) {
    *result = 1;
    while (exponent > 0) {
        if (exponent % 2 != 0 && !checked_multiply(*result, base, result)) {
            return false;
        }
        exponent /= 2;
        /* The square is not needed after the last bit, where it may not fit. */
        if (exponent > 0 && !checked_multiply(base, base, &base)) {
            return false;
        }
    }
    return true;
}

/* Exact where the division leaves no remainder, else a number. */
static bool divide(Diagnostics *diagnostics, SourceRange where, const Value *left,
                   const Value *right, Value *result) {
    if (value_as_number(right) == 0) {
        return fail(diagnostics, where, "division by zero");
    }
    bool integers = left->kind == VALUE_INTEGER && right->kind == VALUE_INTEGER;
    if (integers && right->as.integer == -1) {
        int64_t quotient = 0;
        bool fits = checked_subtract(0, left->as.integer, &quotient);
        return finish_integer(diagnostics, where, fits, quotient, result);
    }
    if (integers && left->as.integer % right->as.integer == 0) {
        return finish_integer(diagnostics, where, true, left->as.integer / right->as.integer,
                              result);
    }
    return finish_number(diagnostics, where, value_as_number(left) / value_as_number(right),
                         result);
}

/* The remainder has the sign of the divisor: -1 % 4 is 3. */
static bool remainder_of(Diagnostics *diagnostics, SourceRange where, const Value *left,
                         const Value *right, Value *result) {
    if (value_as_number(right) == 0) {
        return fail(diagnostics, where, "division by zero");
    }
    if (left->kind == VALUE_INTEGER && right->kind == VALUE_INTEGER) {
        int64_t divisor = right->as.integer;
        int64_t rest = divisor == -1 ? 0 : left->as.integer % divisor;
        if (rest != 0 && (rest < 0) != (divisor < 0)) {
            rest += divisor;
        }
        return finish_integer(diagnostics, where, true, rest, result);
    }
    double divisor = value_as_number(right);
    double rest = fmod(value_as_number(left), divisor);
    if (rest != 0 && (rest < 0) != (divisor < 0)) {
        rest += divisor;
    }
    return finish_number(diagnostics, where, rest, result);
}

/* Whether a comparison holds, given -1, 0 or 1 for less, equal or greater. */
static bool holds(Operator operation, int order) {
    switch (operation) {
    case OPERATOR_LESS:
        return order < 0;
    case OPERATOR_LESS_EQUAL:
        return order <= 0;
    case OPERATOR_GREATER:
        return order > 0;
    case OPERATOR_GREATER_EQUAL:
        return order >= 0;
    case OPERATOR_EQUAL:
        return order == 0;
    default:
        return order != 0;
    }
}

static int order_of(const Value *left, const Value *right) {
    if (left->kind == VALUE_INTEGER && right->kind == VALUE_INTEGER) {
        return (left->as.integer > right->as.integer) - (left->as.integer < right->as.integer);
    }
    double a = value_as_number(left), b = value_as_number(right);
    return (a > b) - (a < b);
}

static bool integer_operation(Diagnostics *diagnostics, const Expression *expression, int64_t left,
                              int64_t right, Value *result) {
    int64_t integer = 0;
    bool fits = true;
    switch (expression->operation) {
    case OPERATOR_ADD:
        fits = checked_add(left, right, &integer);
        break;
    case OPERATOR_SUBTRACT:
        fits = checked_subtract(left, right, &integer);
        break;
    case OPERATOR_MULTIPLY:
        fits = checked_multiply(left, right, &integer);
        break;
    case OPERATOR_POWER:
        fits = integer_power(left, right, &integer);
        break;
    default: /* OPERATOR_NEGATE */
        fits = checked_subtract(0, right, &integer);
        break;
    }
    return finish_integer(diagnostics, expression->where, fits, integer, result);
}

static bool number_operation(Diagnostics *diagnostics, const Expression *expression, double left,
                             double right, Value *result) {
    double number = 0;
    switch (expression->operation) {
    case OPERATOR_ADD:
        number = left + right;
        break;
    case OPERATOR_SUBTRACT:
        number = left - right;
        break;
    case OPERATOR_MULTIPLY:
        number = left * right;
        break;
    case OPERATOR_POWER:
        number = pow(left, right);
        break;
    default: /* OPERATOR_NEGATE */
        number = -right;
        break;
    }
    return finish_number(diagnostics, expression->where, number, result);
}

bool apply_operator(Diagnostics *diagnostics, const Expression *expression, const Value *left,
                    const Value *right, Value *result) {
    Operator operation = expression->operation;
    if (operation >= OPERATOR_LESS && operation <= OPERATOR_NOT_EQUAL) {
        bool truth = holds(operation, order_of(left, right));
        *result = (Value){.kind = VALUE_BOOLEAN, .where = expression->where, .as.boolean = truth};
        return true;
    }
    if (operation == OPERATOR_DIVIDE) {
        return divide(diagnostics, expression->where, left, right, result);
    }
    if (operation == OPERATOR_REMAINDER) {
        return remainder_of(diagnostics, expression->where, left, right, result);
    }
    bool integers = right->kind == VALUE_INTEGER &&
                    (operation == OPERATOR_NEGATE || left->kind == VALUE_INTEGER);
    /* 2^-1 is one half. */
    if (integers && !(operation == OPERATOR_POWER && right->as.integer < 0)) {
        return integer_operation(diagnostics, expression, left->as.integer, right->as.integer,
                                 result);
    }
    return number_operation(diagnostics, expression, value_as_number(left), value_as_number(right),
                            result);
}

static bool apply_min(Diagnostics *diagnostics, const Word *call, Value *result) {
    (void)diagnostics;
    for (int i = 0; i < call->argument_count; i++) {
        if (i == 0 || order_of(&call->arguments[i], result) < 0) {
            *result = call->arguments[i];
        }
    }
    return true;
}

static bool apply_max(Diagnostics *diagnostics, const Word *call, Value *result) {
    (void)diagnostics;
    for (int i = 0; i < call->argument_count; i++) {
        if (i == 0 || order_of(&call->arguments[i], result) > 0) {
            *result = call->arguments[i];
        }
    }
    return true;
}

/* floor, ceil and round give integers. */
static bool apply_rounding(Diagnostics *diagnostics, const Word *call, double rounded,
                           Value *result) {
    if (call->arguments[0].kind == VALUE_INTEGER) {
        *result = call->arguments[0];
        return true;
    }
    /* Doubles from -2^63 to below 2^63 convert. */
    bool fits = rounded >= -9223372036854775808.0 && rounded < 9223372036854775808.0;
    return finish_integer(diagnostics, call->where, fits, fits ? (int64_t)rounded : 0, result);
}

static bool apply_floor(Diagnostics *diagnostics, const Word *call, Value *result) {
    return apply_rounding(diagnostics, call, floor(value_as_number(&call->arguments[0])), result);
}

static bool apply_ceil(Diagnostics *diagnostics, const Word *call, Value *result) {
    return apply_rounding(diagnostics, call, ceil(value_as_number(&call->arguments[0])), result);
}

static bool apply_round(Diagnostics *diagnostics, const Word *call, Value *result) {
    return apply_rounding(diagnostics, call, round(value_as_number(&call->arguments[0])), result);
}

static bool apply_sqrt(Diagnostics *diagnostics, const Word *call, Value *result) {
    double argument = value_as_number(&call->arguments[0]);
    if (argument < 0) {
        return fail(diagnostics, call->where, "the square root of a negative number");
    }
    return finish_number(diagnostics, call->where, sqrt(argument), result);
}

static bool apply_log2(Diagnostics *diagnostics, const Word *call, Value *result) {
    double argument = value_as_number(&call->arguments[0]);
    if (argument <= 0) {
        return fail(diagnostics, call->where, "the logarithm of a number that is not positive");
    }
    return finish_number(diagnostics, call->where, log2(argument), result);
}

typedef struct Function {
    const char *name;
    bool (*apply)(Diagnostics *diagnostics, const Word *call, Value *result);
    bool any_count; /* one argument or more; else exactly one */
} Function;

static const Function functions[] = {
    {"min", apply_min, true},    {"max", apply_max, true},      {"floor", apply_floor, false},
    {"ceil", apply_ceil, false}, {"round", apply_round, false}, {"sqrt", apply_sqrt, false},
    {"log2", apply_log2, false},
};

static const Function *find_function(const char *name) {
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        if (strcmp(functions[i].name, name) == 0) {
            return &functions[i];
        }
    }
    return NULL;
}

bool is_function(const char *name) {
    return find_function(name) != NULL;
}

bool apply_function(Diagnostics *diagnostics, const Word *call, Value *result) {
    const Function *function = find_function(call->name);
    if (call->argument_count == 0 || (call->argument_count > 1 && !function->any_count)) {
        diagnostic_error(diagnostics, call->where, "'%s' takes %s, not %d", call->name,
                         function->any_count ? "one argument or more" : "one argument",
                         call->argument_count);
        return false;
    }
    bool done = function->apply(diagnostics, call, result);
    result->where = call->where;
    return done;
}
