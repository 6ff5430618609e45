#include "evaluate.h"

#include "arithmetic.h"

#include <math.h>
#include <string.h>

static bool fail_unknown(Evaluator *evaluator, SourceRange where, const char *name) {
    Diagnostic *error = diagnostic_error(evaluator->diagnostics, where, "unknown name '%s'", name);
    if (!diagnostic_is_shown(error)) {
        return false;
    }
    Suggestion suggestion = suggestion_for(name);
    evaluator->offer(evaluator->context, &suggestion);
    if (suggestion.best != NULL) {
        suggestion_hint(&suggestion, error);
    } else {
        diagnostic_hint(error, "a constant is defined before its use: let %s = 3", name);
    }
    return false;
}

bool value_is_numeric(const Value *value) {
    return value->kind == VALUE_INTEGER || value->kind == VALUE_NUMBER;
}

double value_as_number(const Value *value) {
    return value->kind == VALUE_INTEGER ? (double)value->as.integer : value->as.number;
}

bool value_to_integer(Value *value) {
    if (value->kind == VALUE_INTEGER) {
        return true;
    }
    /* Above 2^53 a double no longer tells neighbouring integers apart. */
    if (value->kind != VALUE_NUMBER || fabs(value->as.number) > 9007199254740992.0 ||
        floor(value->as.number) != value->as.number) {
        return false;
    }
    value->as.integer = (int64_t)value->as.number;
    value->kind = VALUE_INTEGER;
    return true;
}

/* Checks that a value is usable in arithmetic. */
static bool require_numeric(Evaluator *evaluator, const Value *value) {
    if (value_is_numeric(value)) {
        return true;
    }
    Arena *arena = diagnostics_arena(evaluator->diagnostics);
    if (value->kind == VALUE_WORD) {
        return fail_unknown(evaluator, value->as.word->where, value->as.word->name);
    }
    diagnostic_error(evaluator->diagnostics, value->where, "a number is needed here, not %.80s",
                     value_text(arena, value));
    return false;
}

static bool condition_of(Evaluator *evaluator, const Value *value, bool *truth) {
    if (value->kind == VALUE_BOOLEAN) {
        *truth = value->as.boolean;
        return true;
    }
    if (value->kind == VALUE_INTEGER) {
        *truth = value->as.integer != 0;
        return true;
    }
    if (value->kind == VALUE_WORD) {
        return fail_unknown(evaluator, value->as.word->where, value->as.word->name);
    }
    diagnostic_error(evaluator->diagnostics, value->where,
                     "a condition is needed here (true or false), not %.80s",
                     value_text(diagnostics_arena(evaluator->diagnostics), value));
    return false;
}

bool evaluate_condition(Evaluator *evaluator, const Expression *expression, bool *truth) {
    Value value;
    return evaluate_value(evaluator, expression, &value) && condition_of(evaluator, &value, truth);
}

/* and, or: the right side counts only where the left one does not decide. */
static bool evaluate_logic(Evaluator *evaluator, const Expression *expression, Value *value) {
    bool truth;
    if (!evaluate_condition(evaluator, expression->left, &truth)) {
        return false;
    }
    if (truth == (expression->operation == OPERATOR_AND) &&
        !evaluate_condition(evaluator, expression->right, &truth)) {
        return false;
    }
    *value = (Value){.kind = VALUE_BOOLEAN, .where = expression->where, .as.boolean = truth};
    return true;
}

/* Whether `expression` is a word, or a chain that starts with one, rather than arithmetic. */
static bool starts_with_word(Evaluator *evaluator, const Expression *expression) {
    while (expression->kind == EXPRESSION_BINARY && expression->operation == OPERATOR_SUBTRACT) {
        expression = expression->left;
    }
    if (expression->kind == EXPRESSION_NAME) {
        return evaluator->find(evaluator->context, expression->name) == NULL;
    }
    return expression->kind == EXPRESSION_CALL && !is_function(expression->name);
}

bool evaluate_arguments(Evaluator *evaluator, const ArgumentList *list, Word *word) {
    Arena *arena = diagnostics_arena(evaluator->diagnostics);
    size_t count = (size_t)list->count;
    word->argument_count = list->count;
    if (!evaluator->charge(evaluator->context, list->count)) {
        return false;
    }
    word->argument_names = ARENA_ARRAY(arena, const char *, count);
    word->arguments = ARENA_ARRAY(arena, Value, count);
    word->argument_where = ARENA_ARRAY(arena, SourceRange, count);
    int i = 0;
    for (const Argument *argument = list->first; argument != NULL; argument = argument->next) {
        word->argument_names[i] = argument->name;
        word->argument_where[i] = argument->where;
        if (!evaluate_value(evaluator, argument->value, &word->arguments[i])) {
            return false;
        }
        i++;
    }
    return true;
}

static Word *evaluate_word(Evaluator *evaluator, const Expression *expression) {
    if (expression->kind != EXPRESSION_NAME && expression->kind != EXPRESSION_CALL) {
        diagnostic_error(evaluator->diagnostics, expression->where,
                         "only words, such as flip or shift(2), can follow a word in a chain");
        return NULL;
    }
    Word *word = ARENA_NEW(diagnostics_arena(evaluator->diagnostics), Word);
    word->name = expression->name;
    word->where = expression->where;
    return evaluate_arguments(evaluator, &expression->arguments, word) ? word : NULL;
}

/* a - b - c is nested to the left, so that it is read from its end. */
static bool evaluate_words(Evaluator *evaluator, const Expression *expression, Value *value) {
    Word *following = NULL;
    *value = (Value){.kind = VALUE_WORD, .where = expression->where};
    for (;;) {
        bool is_chain = expression->kind == EXPRESSION_BINARY;
        Word *word = evaluate_word(evaluator, is_chain ? expression->right : expression);
        if (word == NULL) {
            return false;
        }
        word->next = following;
        following = word;
        if (!is_chain) {
            value->as.word = word;
            return true;
        }
        expression = expression->left;
    }
}

static bool evaluate_list(Evaluator *evaluator, const Expression *expression, Value *value) {
    Arena *arena = diagnostics_arena(evaluator->diagnostics);
    *value = (Value){.kind = VALUE_LIST, .where = expression->where};
    value->as.list.count = expression->items.count;
    if (!evaluator->charge(evaluator->context, expression->items.count)) {
        return false;
    }
    value->as.list.items = ARENA_ARRAY(arena, Value, (size_t)expression->items.count);
    int i = 0;
    for (const Expression *item = expression->items.first; item != NULL; item = item->next) {
        if (!evaluate_value(evaluator, item, &value->as.list.items[i++])) {
            return false;
        }
    }
    return true;
}

static bool evaluate_operation(Evaluator *evaluator, const Expression *expression, Value *value) {
    if (expression->operation == OPERATOR_AND || expression->operation == OPERATOR_OR) {
        return evaluate_logic(evaluator, expression, value);
    }
    if (expression->operation == OPERATOR_NOT) {
        bool truth;
        if (!evaluate_condition(evaluator, expression->right, &truth)) {
            return false;
        }
        *value = (Value){.kind = VALUE_BOOLEAN, .where = expression->where, .as.boolean = !truth};
        return true;
    }
    Value left = {.kind = VALUE_INTEGER}, right;
    if (expression->left != NULL && !evaluate_value(evaluator, expression->left, &left)) {
        return false;
    }
    if (!evaluate_value(evaluator, expression->right, &right)) {
        return false;
    }
    bool is_comparison =
        expression->operation == OPERATOR_EQUAL || expression->operation == OPERATOR_NOT_EQUAL;
    bool are_booleans = left.kind == VALUE_BOOLEAN && right.kind == VALUE_BOOLEAN;
    if (is_comparison && are_booleans) {
        bool equal = left.as.boolean == right.as.boolean;
        *value = (Value){.kind = VALUE_BOOLEAN,
                         .where = expression->where,
                         .as.boolean = equal == (expression->operation == OPERATOR_EQUAL)};
        return true;
    }
    if (!require_numeric(evaluator, &left) || !require_numeric(evaluator, &right)) {
        return false;
    }
    return apply_operator(evaluator->diagnostics, expression, &left, &right, value);
}

static bool evaluate_function(Evaluator *evaluator, const Expression *expression, Value *value) {
    Word call = {.name = expression->name, .where = expression->where};
    if (!evaluate_arguments(evaluator, &expression->arguments, &call)) {
        return false;
    }
    for (int i = 0; i < call.argument_count; i++) {
        if (call.argument_names[i] != NULL) {
            diagnostic_error(evaluator->diagnostics, call.argument_where[i],
                             "'%s' takes no named arguments", call.name);
            return false;
        }
        if (!require_numeric(evaluator, &call.arguments[i])) {
            return false;
        }
    }
    return apply_function(evaluator->diagnostics, &call, value);
}

bool evaluate_value(Evaluator *evaluator, const Expression *expression, Value *value) {
    if (!evaluator->charge(evaluator->context, 1)) {
        return false;
    }
    if (starts_with_word(evaluator, expression)) {
        return evaluate_words(evaluator, expression, value);
    }
    switch (expression->kind) {
    case EXPRESSION_LITERAL:
        *value = expression->literal;
        return true;
    case EXPRESSION_NAME:
        *value = *evaluator->find(evaluator->context, expression->name);
        value->where = expression->where;
        return true;
    case EXPRESSION_CALL:
        return evaluate_function(evaluator, expression, value);
    case EXPRESSION_LIST:
    case EXPRESSION_TUPLE:
        return evaluate_list(evaluator, expression, value);
    case EXPRESSION_UNARY:
    case EXPRESSION_BINARY:
        break;
    }
    return evaluate_operation(evaluator, expression, value);
}

bool evaluate_constant(Evaluator *evaluator, const Expression *expression, Value *value) {
    if (!evaluate_value(evaluator, expression, value)) {
        return false;
    }
    if (value->kind == VALUE_WORD) {
        return fail_unknown(evaluator, value->as.word->where, value->as.word->name);
    }
    if (value->kind != VALUE_BOOLEAN && !value_is_numeric(value)) {
        diagnostic_error(evaluator->diagnostics, value->where,
                         "a constant is a number, true or false, not %.80s",
                         value_text(diagnostics_arena(evaluator->diagnostics), value));
        return false;
    }
    return true;
}

bool evaluate_integer(Evaluator *evaluator, const Expression *expression, const char *what,
                      int64_t *integer) {
    Value value;
    if (!evaluate_value(evaluator, expression, &value)) {
        return false;
    }
    if (value.kind == VALUE_WORD) {
        return fail_unknown(evaluator, value.as.word->where, value.as.word->name);
    }
    if (!value_to_integer(&value)) {
        diagnostic_error(evaluator->diagnostics, expression->where,
                         "%s must be an integer, not %.80s", what,
                         value_text(diagnostics_arena(evaluator->diagnostics), &value));
        return false;
    }
    *integer = value.as.integer;
    return true;
}
