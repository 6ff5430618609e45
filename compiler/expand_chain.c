/* Unrolling of chains. What is being expanded lies on a stack of tasks in the arena rather than on
 * that of C, so that no depth of defs can overflow it. */
#include "expand_internal.h"

#include <string.h>

/* Does the next part of a task; true when the task is done. It may push one task, which then runs
 * to its end before the step is called again. */
typedef bool Step(Expander *expander, Task *task);

struct Task {
    Task *below;
    Step *step;
    Unit *unit;
    const Scope *scope;
    Scope *opened; /* the def or round that it runs */
    bool started;
    const Unit *child;      /* of a chain or merge: the next one */
    Layer *input;           /* the tensor that entered */
    int first_layer;        /* of a label: the layers before it */
    int64_t number, last;   /* of a repeat: the round, or the value of the variable, and the last */
    const Expression *item; /* of a `for` over a list: the next one */
    Value *attributes;      /* of a merge */
    Layer **inputs;
    int input_count, input_capacity;
};

static Step step_chain, step_call, step_merge, step_definition, step_reference, step_if,
    step_repeat, step_for, step_optional, step_label;

static Step *const steps[] = {
    [UNIT_CHAIN] = step_chain,         [UNIT_CALL] = step_call,         [UNIT_IF] = step_if,
    [UNIT_REFERENCE] = step_reference, [UNIT_REPEAT] = step_repeat,     [UNIT_FOR] = step_for,
    [UNIT_LABEL] = step_label,         [UNIT_OPTIONAL] = step_optional,
};

static void push(Expander *expander, const Unit *unit, const Scope *scope) {
    Task *task = expander->spare;
    if (task != NULL) {
        expander->spare = task->below;
    } else {
        task = ARENA_NEW(expander->arena, Task);
    }
    /* Marking a failed unit is the only change that is made to the syntax tree. */
    *task = (Task){.below = expander->top,
                   .step = steps[unit->kind],
                   .unit = (Unit *)unit,
                   .scope = scope,
                   .input = expander->current};
    expander->top = task;
}

static void pop(Expander *expander) {
    Task *task = expander->top;
    if (task->opened != NULL) {
        task->opened->active = false;
    }
    expander->top = task->below;
    task->below = expander->spare;
    expander->spare = task;
}

/* Goes on with another unit in place of the task's own. */
static bool become(Expander *expander, Task *task, Unit *unit) {
    const Scope *scope = task->scope;
    Task *below = task->below;
    *task = (Task){.below = below,
                   .step = steps[unit->kind],
                   .unit = unit,
                   .scope = scope,
                   .input = expander->current};
    return false;
}

static Scope *open_scope(Expander *expander, Task *task) {
    if (task->opened != NULL) {
        task->opened->active = false;
    }
    Scope *scope = ARENA_NEW(expander->arena, Scope);
    *scope = (Scope){.parent = task->scope,
                     .lexical = task->scope,
                     .active = true,
                     .calls = task->scope->calls,
                     .defaults = task->scope->defaults,
                     .label_begin = expander->log_count};
    task->opened = scope;
    return scope;
}

Layer *expand_append(Expander *expander, const OpDef *op, SourceRange where, Value *attributes,
                     Layer **inputs, int input_count) {
    if (expander->layer_count == MAXIMUM_LAYERS ||
        input_count > MAXIMUM_INPUTS - expander->input_count) {
        diagnostic_hint(expand_error(expander, where,
                                     "the network has more than %d layers or %d connections",
                                     MAXIMUM_LAYERS, MAXIMUM_INPUTS),
                        EXPAND_HINT);
        expander->stopped = true;
        return NULL;
    }
    Layer *layer = ARENA_NEW(expander->arena, Layer);
    layer->op = op;
    layer->index = expander->layer_count;
    layer->where = where;
    layer->attributes = attributes;
    layer->inputs = inputs;
    layer->input_count = input_count;
    ARENA_GROW(expander->arena, expander->layers, expander->layer_count, expander->layer_capacity);
    expander->layers[expander->layer_count++] = layer;
    expander->input_count += input_count;
    expander->current = layer;
    expander->at_start = false;
    return layer;
}

static bool infer_unknown(Inference *inference, Layer *layer, Shape *output) {
    (void)inference;
    (void)layer;
    (void)output;
    return false;
}

/* Stands where an error left out a part of the network: its shape is not known, which silences the
 * checks of everything behind it and of nothing else. */
static const OpDef unknown_part = {.name = "UNKNOWN",
                                   .summary = "a part of the network that has errors",
                                   .flags = OP_INTERNAL,
                                   .infer = infer_unknown};

Layer *expand_unknown(Expander *expander, SourceRange where) {
    return expander->stopped ? NULL : expand_append(expander, &unknown_part, where, NULL, NULL, 0);
}

static bool step_chain(Expander *expander, Task *task) {
    if (!task->started) {
        task->started = true;
        task->child = task->unit->children.first;
    }
    const Unit *child = task->child;
    if (child == NULL) {
        return true;
    }
    task->child = child->next;
    push(expander, child, task->scope);
    return false;
}

/* The arguments of a layer with the defaults in force; NULL after an error. */
static Value *bind_layer(Expander *expander, const Task *task, const OpDef *op) {
    const Unit *unit = task->unit;
    Word arguments = {.name = unit->name, .where = unit->where};
    Binding binding = binding_create(expander->arena, op);
    if (!evaluate_arguments(&expander->evaluator, &unit->arguments, &arguments) ||
        !binding_set(&binding, &expander->evaluator, &arguments)) {
        return NULL;
    }
    binding_warn_products(&binding, &unit->arguments, expander->diagnostics);
    for (const Default *one = task->scope->defaults; one != NULL; one = one->previous) {
        if (!expand_charge(expander, 1)) {
            return NULL;
        }
        if (one->binding.op == op) {
            binding_merge(&binding, &one->binding);
            task->unit->failed = one->failed;
            break;
        }
    }
    if (task->unit->failed) {
        return NULL;
    }
    if (!binding_complete(&binding, expander->diagnostics, unit->where)) {
        return NULL;
    }
    return binding.values;
}

static bool call_layer(Expander *expander, Task *task, const OpDef *op) {
    const Unit *unit = task->unit;
    bool is_merge = (op->flags & OP_MERGE) != 0;
    if ((op->flags & OP_NOT_YET) != 0) {
        expand_error(expander, unit->name_where, "%s is not yet supported by this version of cnnc",
                     op->name);
        return true;
    }
    if (is_merge != unit->has_branches) {
        Diagnostic *error = expand_error(expander, unit->name_where,
                                         is_merge ? "%s is a merge and needs branches"
                                                  : "%s is not a merge: it takes no branches",
                                         op->name);
        if (is_merge) {
            diagnostic_hint(error, "write them in braces, as in %s{ID, CONV(64, 3x3, pad=1)}",
                            op->name);
        }
        return true;
    }
    task->attributes = bind_layer(expander, task, op);
    if (task->attributes == NULL) {
        return true;
    }
    if (is_merge) {
        task->child = unit->children.first;
        task->step = step_merge;
        return false;
    }
    Layer **inputs = ARENA_ARRAY(expander->arena, Layer *, 1);
    inputs[0] = expander->current;
    expand_append(expander, op, unit->where, task->attributes, inputs, 1);
    return true;
}

static void add_branch(Expander *expander, Task *task, Layer *layer) {
    ARENA_GROW(expander->arena, task->inputs, task->input_count, task->input_capacity);
    task->inputs[task->input_count++] = layer;
}

/* The branches of a merge one after another, then the merge itself. */
static bool step_merge(Expander *expander, Task *task) {
    if (task->started) {
        add_branch(expander, task, expander->current);
    }
    task->started = false;
    const Unit *branch = task->child;
    for (; branch != NULL && branch->kind == UNIT_REFERENCE && branch->all; branch = branch->next) {
        Layer **layers = NULL;
        int count = label_find_all(expander, branch, task->scope, &layers);
        for (int i = 0; i < count; i++) {
            add_branch(expander, task, layers[i]);
        }
        if (count == 0) {
            task->unit->failed = true;
            return true;
        }
    }
    if (branch != NULL) {
        task->child = branch->next;
        task->started = true;
        expander->current = task->input;
        expander->at_start = true;
        push(expander, branch, task->scope);
        return false;
    }
    const Unit *unit = task->unit;
    if (task->input_count < 2) {
        Diagnostic *error = expand_error(expander, unit->where, "%s has only one branch",
                                         op_find(unit->name)->name);
        diagnostic_hint(error, "ID is a branch that passes the tensor on as it is");
        return true;
    }
    expand_append(expander, op_find(unit->name), unit->where, task->attributes, task->inputs,
                  task->input_count);
    return true;
}

static bool call_definition(Expander *expander, Task *task, Definition *definition) {
    const Unit *unit = task->unit;
    const Statement *statement = definition->statement;
    if (definition->failed) {
        task->unit->failed = true;
        return true;
    }
    if (unit->has_branches) {
        expand_error(expander, unit->where, "'%s' is a def: it takes no branches", unit->name);
        return true;
    }
    if (task->scope->calls == MAXIMUM_CALLS) {
        Diagnostic *error =
            expand_error(expander, unit->where, "'%s' is called more than %d levels deep",
                         unit->name, MAXIMUM_CALLS);
        diagnostic_note(error, statement->name_where, "'%s' is defined here", unit->name);
        diagnostic_hint(error,
                        "a def that uses itself needs an `if` that ends it, such as "
                        "if (d == 0) (...) else (...)");
        expander->stopped = true;
        return true;
    }
    Value *values = scope_parameters(expander, unit, statement);
    if (values == NULL) {
        return true;
    }
    Scope *scope = open_scope(expander, task);
    scope->lexical = NULL;
    scope->calls++;
    scope->defaults = definition->defaults;
    scope->names = statement->parameters.first;
    scope->values = values;
    task->step = step_definition;
    push(expander, statement->chain, scope);
    return false;
}

static bool step_definition(Expander *expander, Task *task) {
    (void)expander;
    (void)task;
    return true;
}

static bool fail_unknown(Expander *expander, const Unit *unit) {
    if (expander->evaluator.find(expander, unit->name) != NULL) {
        expand_error(expander, unit->name_where, "'%s' is a value, not a layer or def", unit->name);
        return true;
    }
    Diagnostic *error =
        expand_error(expander, unit->name_where, "there is no layer or def '%s'", unit->name);
    if (name_find(expander->labels, unit->name) != NULL) {
        diagnostic_hint(error, "the labelled tensor is @%s", unit->name);
        return true;
    }
    Suggestion suggestion = suggestion_for(unit->name);
    for (int i = 0; i < op_count; i++) {
        if ((op_table[i]->flags & OP_INTERNAL) == 0) {
            suggestion_offer(&suggestion, op_table[i]->name);
            suggestion_offer_words(&suggestion, expander->arena, op_table[i]->aliases);
        }
    }
    for (int i = 0; diagnostic_is_shown(error) && i < name_count(expander->definitions); i++) {
        suggestion_offer(&suggestion, name_at(expander->definitions, i));
    }
    suggestion_hint(&suggestion, error);
    return true;
}

static bool step_call(Expander *expander, Task *task) {
    const Unit *unit = task->unit;
    Definition *definition = name_find(expander->definitions, unit->name);
    if (definition != NULL) {
        return call_definition(expander, task, definition);
    }
    const OpDef *op = op_find(unit->name);
    if (op != NULL && (op->flags & OP_INTERNAL) == 0) {
        return call_layer(expander, task, op);
    }
    return fail_unknown(expander, unit);
}

static bool step_reference(Expander *expander, Task *task) {
    const Unit *unit = task->unit;
    if (unit->all) {
        expand_error(expander, unit->where, "@%s[*] can only stand alone, as a branch of a merge",
                     unit->name);
        return true;
    }
    if (!expander->at_start) {
        Diagnostic *error = expand_error(
            expander, unit->where, "@%s would drop the tensor that comes before it", unit->name);
        diagnostic_hint(error,
                        "a labelled tensor can start a branch, as in ADD{ID, @%s}; to label a "
                        "tensor leave out the '-'",
                        unit->name);
        label_collect(expander, unit);
        return true;
    }
    Layer *layer = label_find(expander, unit);
    if (layer == NULL) {
        task->unit->failed = true;
        return true;
    }
    expander->current = layer;
    expander->at_start = false;
    return true;
}

static bool step_if(Expander *expander, Task *task) {
    bool truth;
    if (!evaluate_condition(&expander->evaluator, task->unit->expression, &truth)) {
        return true;
    }
    Unit *chosen = truth ? task->unit->then_part : task->unit->else_part;
    return chosen == NULL ? true : become(expander, task, chosen);
}

static bool step_optional(Expander *expander, Task *task) {
    if (!expander->kept[task->unit->option - 1]) {
        return true;
    }
    return become(expander, task, task->unit->children.first);
}

static bool step_repeat(Expander *expander, Task *task) {
    const Unit *unit = task->unit;
    if (!task->started) {
        task->started = true;
        if (!evaluate_integer(&expander->evaluator, unit->expression, "a repeat count",
                              &task->last)) {
            return true;
        }
        if (task->last < 0) {
            expand_error(expander, unit->name_where,
                         "a repeat count must not be negative; this is %lld",
                         (long long)task->last);
            return true;
        }
    }
    if (task->number == task->last) {
        return true;
    }
    task->number++;
    push(expander, unit->children.first, open_scope(expander, task));
    return false;
}

/* Sets the variables of a `for` over a list from its next item; false after an error. */
static bool read_item(Expander *expander, const Task *task, Value *values) {
    const Unit *unit = task->unit;
    Value item;
    if (!evaluate_value(&expander->evaluator, task->item, &item)) {
        return false;
    }
    bool is_tuple = task->item->kind == EXPRESSION_TUPLE;
    int count = is_tuple ? item.as.list.count : 1;
    if (count != unit->names.count) {
        Diagnostic *error = expand_error(
            expander, task->item->where, "%d value%s for %d variable%s", count,
            count == 1 ? "" : "s", unit->names.count, unit->names.count == 1 ? "" : "s");
        diagnostic_note(error, unit->names.first->where, "the variables are these");
        return false;
    }
    for (int i = 0; i < count; i++) {
        values[i] = is_tuple ? item.as.list.items[i] : item;
    }
    return true;
}

static bool start_for(Expander *expander, Task *task) {
    const Unit *unit = task->unit;
    const Range *range = unit->range;
    task->started = true;
    if (range->low == NULL) {
        task->item = range->items.first;
        return true;
    }
    if (unit->names.count != 1) {
        Diagnostic *error =
            expand_error(expander, range->where,
                         "a range gives one value, but there are %d variables", unit->names.count);
        diagnostic_hint(error, "a list gives several: [(1, 16), (2, 32)]");
        return false;
    }
    if (!evaluate_integer(&expander->evaluator, range->low, "the start of a range",
                          &task->number) ||
        !evaluate_integer(&expander->evaluator, range->high, "the end of a range", &task->last)) {
        return false;
    }
    /* A computed range may be empty: 1..n says so where n is 0. */
    bool is_written_out =
        range->low->kind == EXPRESSION_LITERAL && range->high->kind == EXPRESSION_LITERAL;
    if (task->number > task->last && is_written_out) {
        Diagnostic *warning = diagnostic_warning(expander->diagnostics, WARNING_RANGE, range->where,
                                                 "the range is empty: %lld > %lld",
                                                 (long long)task->number, (long long)task->last);
        diagnostic_hint(warning, "the smaller bound comes first; to count down use %lld - i",
                        (long long)task->number);
    }
    return true;
}

static bool step_for(Expander *expander, Task *task) {
    const Unit *unit = task->unit;
    if (!task->started && !start_for(expander, task)) {
        return true;
    }
    Value *values = ARENA_ARRAY(expander->arena, Value, (size_t)unit->names.count);
    if (unit->range->low != NULL) {
        if (task->number > task->last) {
            return true;
        }
        values[0] =
            (Value){.kind = VALUE_INTEGER, .where = unit->range->where, .as.integer = task->number};
        /* The number behind the last one may not exist. */
        if (task->number == task->last) {
            task->number = 0;
            task->last = -1;
        } else {
            task->number++;
        }
    } else if (task->item == NULL) {
        return true;
    } else {
        if (!read_item(expander, task, values)) {
            return true;
        }
        task->item = task->item->next;
    }
    Scope *scope = open_scope(expander, task);
    scope->names = unit->names.first;
    scope->values = values;
    push(expander, unit->children.first, scope);
    return false;
}

static bool step_label(Expander *expander, Task *task) {
    if (!task->started) {
        task->started = true;
        task->first_layer = expander->layer_count;
        push(expander, task->unit->children.first, task->scope);
        return false;
    }
    Layer *layer = expander->current;
    label_define(expander, task->unit, task->scope, layer, layer->index >= task->first_layer);
    return true;
}

Layer *expand_chain(Expander *expander, Unit *chain, Layer *input, const Scope *scope) {
    expander->current = input;
    expander->at_start = true;
    push(expander, chain, scope);
    while (expander->top != NULL) {
        Task *task = expander->top;
        if (!expand_charge(expander, 1)) {
            return NULL;
        }
        if (task->unit->failed && !task->started) {
            expand_unknown(expander, task->unit->where);
            pop(expander);
            continue;
        }
        expander->scope = task->scope;
        Unit *unit = task->unit;
        int errors = diagnostics_error_count(expander->diagnostics);
        bool was_failed = unit->failed;
        bool done = task->step(expander, task);
        if (diagnostics_error_count(expander->diagnostics) > errors) {
            expander->failed = true;
            unit->failed = true;
        }
        if (unit->failed && !was_failed) {
            expand_unknown(expander, unit->where);
        }
        if (done) {
            pop(expander);
        }
    }
    return expander->current;
}
