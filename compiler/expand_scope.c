#include "expand_internal.h"
#include "literal.h"

#include <string.h>

Diagnostic *expand_error(Expander *expander, SourceRange where, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const char *text = arena_format_list(expander->arena, format, arguments);
    va_end(arguments);
    expander->failed = true;
    return diagnostic_error(expander->diagnostics, where, "%s", text);
}

bool expand_charge(Expander *expander, int64_t work) {
    expander->work += work;
    if (expander->work > MAXIMUM_WORK && !expander->stopped) {
        expander->stopped = true;
        diagnostic_hint(expand_error(expander, expander->place,
                                     "expanding this takes more than %d steps", MAXIMUM_WORK),
                        EXPAND_HINT);
    }
    return !expander->stopped;
}

static bool charge(void *context, int64_t work) {
    return expand_charge(context, work);
}

/* There may be many variables, and each look at one is work. */
static const Value *find_variable(Expander *expander, const char *name) {
    for (const Scope *scope = expander->scope; scope != NULL; scope = scope->lexical) {
        int i = 0;
        for (const Name *variable = scope->names; variable != NULL; variable = variable->next) {
            if (strcmp(variable->text, name) == 0) {
                expander->work += i;
                return &scope->values[i];
            }
            i++;
        }
        expander->work += i;
    }
    return NULL;
}

static const Value *find(void *context, const char *name) {
    Expander *expander = context;
    const Value *variable = find_variable(expander, name);
    if (variable != NULL) {
        return variable;
    }
    const Constant *constant = name_find(expander->constants, name);
    return constant == NULL ? NULL : &constant->value;
}

static void offer(void *context, Suggestion *suggestion) {
    Expander *expander = context;
    for (const Scope *scope = expander->scope; scope != NULL; scope = scope->lexical) {
        for (const Name *variable = scope->names; variable != NULL; variable = variable->next) {
            suggestion_offer(suggestion, variable->text);
        }
    }
    for (int i = 0; i < name_count(expander->constants); i++) {
        suggestion_offer(suggestion, name_at(expander->constants, i));
    }
}

Evaluator scope_evaluator(Expander *expander) {
    return (Evaluator){.diagnostics = expander->diagnostics,
                       .find = find,
                       .offer = offer,
                       .charge = charge,
                       .context = expander};
}

/* The last -D of that name counts, as for a C compiler. */
static const Define *find_define(const Expander *expander, const char *name) {
    for (int i = expander->options->define_count - 1; i >= 0; i--) {
        if (strcmp(expander->options->defines[i].name, name) == 0) {
            return &expander->options->defines[i];
        }
    }
    return NULL;
}

static bool read_define(Expander *expander, const Define *define, SourceRange where, Value *value) {
    const char *text = define->value == NULL ? "1" : define->value;
    Constant *named = name_find(expander->constants, text);
    if (named != NULL) { /* "let small = 1, large = 2, size = small": -Dsize=large */
        named->used = true;
        *value = named->value;
        return true;
    }
    if (!literal_read(expander->arena, text, value) ||
        (!value_is_numeric(value) && value->kind != VALUE_BOOLEAN)) {
        expand_error(expander, where,
                     "-D%.200s=%.200s: the value must be a number, true or false, or the name "
                     "of a constant before it",
                     define->name, text);
        return false;
    }
    return true;
}

static bool equal_numbers(const Value *a, const Value *b) {
    if (a->kind == VALUE_INTEGER && b->kind == VALUE_INTEGER) {
        return a->as.integer == b->as.integer;
    }
    return value_is_numeric(a) && value_is_numeric(b) && value_as_number(a) == value_as_number(b);
}

/* Whether a constant's value lies in its range. Sets *valid to false after an error in the range.
 */
static bool in_range(Expander *expander, const Range *range, const Value *value, bool *valid) {
    Evaluator *evaluator = &expander->evaluator;
    Value low, high;
    if (range->low != NULL) {
        if (!evaluate_constant(evaluator, range->low, &low) ||
            !evaluate_constant(evaluator, range->high, &high)) {
            *valid = false;
            return false;
        }
        return value_is_numeric(value) && value_is_numeric(&low) && value_is_numeric(&high) &&
               value_as_number(value) >= value_as_number(&low) &&
               value_as_number(value) <= value_as_number(&high);
    }
    bool found = false;
    for (const Expression *item = range->items.first; item != NULL; item = item->next) {
        Value one;
        if (!evaluate_constant(evaluator, item, &one)) {
            *valid = false;
            return false;
        }
        found = found || equal_numbers(&one, value) ||
                (one.kind == VALUE_BOOLEAN && value->kind == VALUE_BOOLEAN &&
                 one.as.boolean == value->as.boolean);
    }
    return found;
}

static void check_range(Expander *expander, const Let *let, const Value *value,
                        const Define *define) {
    bool valid = true;
    if (let->range == NULL || in_range(expander, let->range, value, &valid)) {
        return;
    }
    expander->failed = true;
    if (!valid) {
        return;
    }
    const char *text = value_text(expander->arena, value);
    const char *range = source_text_of(expander->sources, let->range->where, expander->arena);
    if (define != NULL) {
        diagnostic_note(expand_error(expander, (SourceRange){0, 0},
                                     "-D%s=%s is outside the range of the constant, %.80s",
                                     let->name, text, range),
                        let->range->where, "the range is given here");
    } else {
        expand_error(expander, let->value->where, "%s is outside the range of '%s', %.80s", text,
                     let->name, range);
    }
}

/* Whether a name is free for a constant; reports where not. */
static bool is_free(Expander *expander, const Let *let) {
    const Constant *present = name_find(expander->constants, let->name);
    const Definition *definition = name_find(expander->definitions, let->name);
    if (present == NULL && definition == NULL) {
        return true;
    }
    SourceRange where = present != NULL ? present->where : definition->statement->name_where;
    diagnostic_note(expand_error(expander, let->name_where, "'%s' is already defined", let->name),
                    where, "it is defined here");
    return false;
}

static void define_constant(Expander *expander, const Let *let) {
    Constant *constant = ARENA_NEW(expander->arena, Constant);
    *constant = (Constant){.name = let->name,
                           .where = let->name_where,
                           .value = {.kind = VALUE_INTEGER, .as.integer = 1}};
    Value value;
    if (!is_free(expander, let)) {
        return;
    }
    if (evaluate_constant(&expander->evaluator, let->value, &value)) {
        constant->value = value;
        check_range(expander, let, &value, NULL);
    } else {
        expander->failed = expander->unsound = true;
    }
    const Define *define = find_define(expander, let->name);
    if (define != NULL && read_define(expander, define, (SourceRange){0, 0}, &value)) {
        bool is_switch = constant->value.kind == VALUE_BOOLEAN && value.kind == VALUE_INTEGER;
        if (is_switch && (value.as.integer == 0 || value.as.integer == 1)) {
            value = (Value){.kind = VALUE_BOOLEAN, .as.boolean = value.as.integer == 1};
        }
        check_range(expander, let, &value, define);
        constant->value = value;
    }
    name_put(expander->constants, let->name, constant);
}

void scope_let(Expander *expander, const Statement *statement) {
    for (const Let *let = statement->lets.first; let != NULL; let = let->next) {
        define_constant(expander, let);
    }
}

/* The number of a `?` point from its name: "opt12" is 12; 0 for another name. */
static int option_number(const char *name) {
    if (strncmp(name, "opt", 3) != 0 || name[3] < '1' || name[3] > '9') {
        return 0;
    }
    int number = 0;
    for (const char *digit = name + 3; *digit != '\0'; digit++) {
        if (*digit < '0' || *digit > '9' || number > 100000000) {
            return 0;
        }
        number = number * 10 + (*digit - '0');
    }
    return number;
}

static void apply_option(Expander *expander, const Define *define, int number) {
    Value value;
    if (!read_define(expander, define, (SourceRange){0, 0}, &value)) {
        return;
    }
    bool truth = value.kind == VALUE_BOOLEAN ? value.as.boolean : value.as.integer != 0;
    if (value.kind == VALUE_NUMBER ||
        (value.kind == VALUE_INTEGER && value.as.integer != 0 && value.as.integer != 1)) {
        expand_error(expander, (SourceRange){0, 0}, "-D%s=%.200s: an optional part is 0 or 1",
                     define->name, define->value);
        return;
    }
    expander->kept[number - 1] = truth;
}

static void fail_define(Expander *expander, const Define *define) {
    Diagnostic *error =
        expand_error(expander, (SourceRange){0, 0},
                     "-D%.200s names neither a constant nor an optional part", define->name);
    Suggestion suggestion = suggestion_for(define->name);
    for (int i = 0; diagnostic_is_shown(error) && i < name_count(expander->constants); i++) {
        suggestion_offer(&suggestion, name_at(expander->constants, i));
    }
    for (int i = 1; i <= expander->option_count && i <= 20; i++) {
        suggestion_offer(&suggestion, arena_format(expander->arena, "opt%d", i));
    }
    suggestion_hint(&suggestion, error);
}

void scope_apply_options(Expander *expander) {
    expander->kept = ARENA_ARRAY(expander->arena, bool, (size_t)expander->option_count);
    for (int i = 0; i < expander->option_count; i++) {
        expander->kept[i] = true;
    }
    for (int i = 0; i < name_count(expander->constants); i++) {
        const Constant *constant = name_item_at(expander->constants, i);
        int number = option_number(constant->name);
        if (number > 0 && number <= expander->option_count) {
            expand_error(expander, constant->where,
                         "'%s' is the name of the optional part number %d", constant->name, number);
        }
    }
    for (int i = 0; i < expander->options->define_count; i++) {
        const Define *define = &expander->options->defines[i];
        int number = option_number(define->name);
        if (number > 0 && number <= expander->option_count) {
            apply_option(expander, define, number);
        } else if (name_find(expander->constants, define->name) == NULL) {
            fail_define(expander, define);
        }
    }
}

/* Reports an error in a use of a def and shows what its parameters are. */
static Diagnostic *fail_call(Expander *expander, const Statement *definition, SourceRange where,
                             const char *format, ...) PRINTF_LIKE(4, 5);
static Diagnostic *fail_call(Expander *expander, const Statement *definition, SourceRange where,
                             const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const char *text = arena_format_list(expander->arena, format, arguments);
    va_end(arguments);
    Diagnostic *error = expand_error(expander, where, "%s", text);
    const char *names = "";
    for (const Name *name = definition->parameters.first; name != NULL && strlen(names) < 80;
         name = name->next) {
        names = arena_format(expander->arena, "%s%s%s", names, *names == '\0' ? "" : ", ",
                             name->next != NULL && strlen(names) > 60 ? "..." : name->text);
    }
    diagnostic_note(error, definition->name_where, "it is defined here as %s%s%s%s",
                    definition->name, *names == '\0' ? "" : "(", names, *names == '\0' ? "" : ")");
    return error;
}

/* The position of the parameter that argument `i` is for; -1 after an error. */
static int find_parameter(Expander *expander, const Statement *definition, const Word *arguments,
                          int i) {
    const char *name = arguments->argument_names[i];
    if (name == NULL) {
        if (i > 0 && arguments->argument_names[i - 1] != NULL) {
            expand_error(expander, arguments->argument_where[i],
                         "an argument without a name behind one with a name");
            return -1;
        }
        return i;
    }
    int index = 0;
    Suggestion suggestion = suggestion_for(name);
    for (const Name *parameter = definition->parameters.first; parameter != NULL;
         parameter = parameter->next) {
        if (strcmp(parameter->text, name) == 0) {
            return index;
        }
        suggestion_offer(&suggestion, parameter->text);
        index++;
    }
    suggestion_hint(&suggestion, fail_call(expander, definition, arguments->argument_where[i],
                                           "'%s' has no parameter '%s'", definition->name, name));
    return -1;
}

Value *scope_parameters(Expander *expander, const Unit *unit, const Statement *definition) {
    int count = definition->parameters.count;
    if (unit->arguments.count != count) {
        fail_call(expander, definition, unit->where, "'%s' takes %d argument%s, not %d", unit->name,
                  count, count == 1 ? "" : "s", unit->arguments.count);
        return NULL;
    }
    Word arguments = {.name = unit->name, .where = unit->where};
    if (!evaluate_arguments(&expander->evaluator, &unit->arguments, &arguments)) {
        return NULL;
    }
    Value *values = ARENA_ARRAY(expander->arena, Value, (size_t)count);
    bool *given = ARENA_ARRAY(expander->arena, bool, (size_t)count);
    for (int i = 0; i < count; i++) {
        int index = find_parameter(expander, definition, &arguments, i);
        if (index < 0) {
            return NULL;
        }
        if (given[index]) {
            expand_error(expander, arguments.argument_where[i], "this parameter is given twice");
            return NULL;
        }
        given[index] = true;
        values[index] = arguments.arguments[i];
    }
    return values;
}
