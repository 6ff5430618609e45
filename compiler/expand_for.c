/* How far a `for` reaches. Its grammar lets it stand on one unit, but people read
 *     CONV(16*2^i) - RELU for i in 0..3
 * as a loop over both layers. So where units before it in the same chain use its variable, and the
 * name means nothing else there, the loop begins with the first of them. */
#include "expand_internal.h"

#include <string.h>

/* Names that have a meaning around a unit: parameters and variables of outer loops. */
typedef struct Bound {
    const NameList *names;
    const struct Bound *outer;
} Bound;

static bool list_has(const NameList *names, const char *name) {
    for (const Name *one = names->first; one != NULL; one = one->next) {
        if (strcmp(one->text, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool mentions_argument(Expander *expander, const ArgumentList *arguments, const char *name);

/* Whether `name` stands in the expression. Like all walks here it recurses no deeper than the tree,
 * whose depth is limited, and gives up once the expansion is too much work. */
static bool mentions(Expander *expander, const Expression *expression, const char *name) {
    if (expression == NULL || !expand_charge(expander, 1)) {
        return false;
    }
    if (expression->kind == EXPRESSION_NAME && strcmp(expression->name, name) == 0) {
        return true;
    }
    for (const Expression *item = expression->items.first; item != NULL; item = item->next) {
        if (mentions(expander, item, name)) {
            return true;
        }
    }
    return mentions(expander, expression->left, name) ||
           mentions(expander, expression->right, name) ||
           mentions_argument(expander, &expression->arguments, name);
}

static bool mentions_argument(Expander *expander, const ArgumentList *arguments, const char *name) {
    for (const Argument *argument = arguments->first; argument != NULL; argument = argument->next) {
        if (mentions(expander, argument->value, name)) {
            return true;
        }
    }
    return false;
}

static bool mentions_in_range(Expander *expander, const Range *range, const char *name) {
    for (const Expression *item = range->items.first; item != NULL; item = item->next) {
        if (mentions(expander, item, name)) {
            return true;
        }
    }
    return mentions(expander, range->low, name) || mentions(expander, range->high, name);
}

static bool unit_mentions(Expander *expander, const Unit *unit, const char *name) {
    if (!expand_charge(expander, 1)) {
        return false;
    }
    if (mentions(expander, unit->expression, name) ||
        mentions_argument(expander, &unit->arguments, name) ||
        (unit->range != NULL && mentions_in_range(expander, unit->range, name))) {
        return true;
    }
    if (list_has(&unit->names, name)) {
        return false;
    }
    for (const Unit *child = unit->children.first; child != NULL; child = child->next) {
        if (unit_mentions(expander, child, name)) {
            return true;
        }
    }
    return false;
}

static bool has_meaning(const Expander *expander, const Bound *bound, const char *name) {
    for (; bound != NULL; bound = bound->outer) {
        if (list_has(bound->names, name)) {
            return true;
        }
    }
    return name_find(expander->constants, name) != NULL;
}

/* The first unit of the chain before `loop` that uses one of its variables; NULL: none does. */
static Unit *first_user(Expander *expander, const Unit *chain, const Unit *loop,
                        const Bound *bound) {
    for (Unit *unit = chain->children.first; unit != loop && !expander->stopped;
         unit = unit->next) {
        for (const Name *name = loop->names.first; name != NULL; name = name->next) {
            if (!has_meaning(expander, bound, name->text) &&
                unit_mentions(expander, unit, name->text)) {
                return unit;
            }
        }
    }
    return NULL;
}

/* Moves the units from `first` up to `loop` into the loop. */
static void extend(Expander *expander, Unit *chain, Unit *first, Unit *loop) {
    Unit *before_first = NULL, *before_loop = first;
    for (Unit *unit = chain->children.first; unit != first; unit = unit->next) {
        before_first = unit;
    }
    while (before_loop->next != loop) {
        before_loop = before_loop->next;
    }
    before_loop->next = loop->children.first;
    UnitList body = {.first = first, .last = loop->children.last};
    SourceRange where = {first->where.begin, body.last->where.end};
    Unit *inner = ast_unit(expander->arena, UNIT_CHAIN, where, body);
    loop->children = (UnitList){.first = inner, .last = inner, .count = 1};
    loop->depth = inner->depth + 1;
    loop->where.begin = first->where.begin;
    if (before_first != NULL) {
        before_first->next = loop;
    } else {
        chain->children.first = loop;
    }
}

static void extend_within(Expander *expander, Unit *unit, const Bound *outer) {
    Bound own = {.names = &unit->names, .outer = outer};
    const Bound *bound = unit->kind == UNIT_FOR ? &own : outer;
    for (Unit *child = unit->children.first; child != NULL && !expander->stopped;
         child = child->next) {
        extend_within(expander, child, bound);
        Unit *first = NULL;
        if (unit->kind == UNIT_CHAIN && child->kind == UNIT_FOR) {
            first = first_user(expander, unit, child, outer);
        }
        if (first != NULL) {
            extend(expander, unit, first, child);
        }
        unit->depth = child->depth >= unit->depth ? child->depth + 1 : unit->depth;
    }
    if (unit->depth > AST_DEPTH_LIMIT && !expander->stopped) {
        expand_error(expander, unit->where, "nested more than %d levels deep", AST_DEPTH_LIMIT);
        expander->stopped = true;
    }
}

void for_extend(Expander *expander, Unit *chain, const NameList *parameters) {
    Bound bound = {.names = parameters};
    extend_within(expander, chain, &bound);
}
