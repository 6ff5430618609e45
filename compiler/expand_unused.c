/* Constants, defs and labels that nothing names. What counts is the text, not what this compilation
 * expands of it: the other branch of an `if` may be for another -D. */
#include "expand_internal.h"

#include <string.h>

/* Names that mean a parameter or a variable of a loop here, not a constant. */
typedef struct Bound {
    const NameList *names;
    const struct Bound *outer;
} Bound;

typedef struct Search {
    Expander *expander;
    const Statement *statement; /* in which the search is */
    int64_t patience;           /* comparisons of names that are left: a warning may be missed */
} Search;

#define PATIENCE 10000000

/* All walks recurse no deeper than the syntax tree, whose depth is limited. */
static void search_expression(Search *search, const Expression *expression, const Bound *bound);

static bool is_bound(Search *search, const Bound *bound, const char *name) {
    for (; bound != NULL; bound = bound->outer) {
        for (const Name *one = bound->names->first; one != NULL; one = one->next) {
            if (search->patience == 0) {
                return false;
            }
            search->patience--;
            if (strcmp(one->text, name) == 0) {
                return true;
            }
        }
    }
    return false;
}

static void use_label(Search *search, const char *name) {
    Label *label = name_find(search->expander->labels, name);
    if (label != NULL) {
        label->used = true;
    }
}

static void use_constant(Search *search, const char *name, const Bound *bound) {
    Constant *constant = name_find(search->expander->constants, name);
    if (constant != NULL && !constant->used && !is_bound(search, bound, name)) {
        constant->used = true;
    }
}

static void search_arguments(Search *search, const ArgumentList *arguments, const Bound *bound) {
    for (const Argument *argument = arguments->first; argument != NULL; argument = argument->next) {
        search_expression(search, argument->value, bound);
    }
}

static void search_items(Search *search, const ExpressionList *items, const Bound *bound) {
    for (const Expression *item = items->first; item != NULL; item = item->next) {
        search_expression(search, item, bound);
    }
}

static void search_expression(Search *search, const Expression *expression, const Bound *bound) {
    if (expression == NULL) {
        return;
    }
    if (expression->kind == EXPRESSION_NAME) {
        use_constant(search, expression->name, bound);
    } else if (expression->kind == EXPRESSION_LITERAL && expression->literal.kind == VALUE_LABEL) {
        use_label(search, expression->literal.as.string);
    }
    search_arguments(search, &expression->arguments, bound);
    search_items(search, &expression->items, bound);
    search_expression(search, expression->left, bound);
    search_expression(search, expression->right, bound);
}

static void search_range(Search *search, const Range *range, const Bound *bound) {
    if (range != NULL) {
        search_expression(search, range->low, bound);
        search_expression(search, range->high, bound);
        search_items(search, &range->items, bound);
    }
}

static void search_unit(Search *search, const Unit *unit, const Bound *outer) {
    if (unit->kind == UNIT_CALL) {
        Definition *definition = name_find(search->expander->definitions, unit->name);
        if (definition != NULL && definition->statement != search->statement) {
            definition->used = true;
        }
    } else if (unit->kind == UNIT_REFERENCE) {
        use_label(search, unit->name);
    }
    search_arguments(search, &unit->arguments, outer);
    search_expression(search, unit->expression, outer);
    search_range(search, unit->range, outer);
    const Bound own = {.names = &unit->names, .outer = outer};
    for (const Unit *child = unit->children.first; child != NULL; child = child->next) {
        search_unit(search, child, unit->kind == UNIT_FOR ? &own : outer);
    }
}

static void search_statement(Search *search, const Statement *statement) {
    const Bound parameters = {.names = &statement->parameters};
    search->statement = statement;
    search_arguments(search, &statement->arguments, NULL);
    for (const Let *let = statement->lets.first; let != NULL; let = let->next) {
        search_expression(search, let->value, NULL);
        search_range(search, let->range, NULL);
    }
    if (statement->chain != NULL) {
        search_unit(search, statement->chain, &parameters);
    }
}

/* An included file may be a collection of which not everything is needed. */
static bool in_main_file(const Expander *expander, SourceRange where) {
    uint32_t begin = expander->file->begin;
    return where.begin >= begin && where.begin < begin + expander->file->length;
}

static void warn(Expander *expander, SourceRange where, const char *what, const char *name) {
    if (in_main_file(expander, where)) {
        const char *sign = strcmp(what, "label") == 0 ? "@" : "";
        diagnostic_warning(expander->diagnostics, WARNING_UNUSED, where,
                           "the %s '%s%s' is never used", what, sign, name);
    }
}

void warn_unused(Expander *expander, StatementList statements) {
    Search search = {.expander = expander, .patience = PATIENCE};
    for (const Statement *one = statements.first; one != NULL; one = one->next) {
        search_statement(&search, one);
    }
    for (int i = 0; i < name_count(expander->constants); i++) {
        const Constant *constant = name_item_at(expander->constants, i);
        if (!constant->used) {
            warn(expander, constant->where, "constant", constant->name);
        }
    }
    for (int i = 0; i < name_count(expander->definitions); i++) {
        const Definition *definition = name_item_at(expander->definitions, i);
        if (!definition->used) {
            warn(expander, definition->statement->name_where, "def", definition->statement->name);
        }
    }
    for (int i = 0; i < name_count(expander->labels); i++) {
        const Label *label = name_item_at(expander->labels, i);
        /* A label that names a layer is of use by that alone. */
        bool names_layer = label->instance_count == 1 && expander->log[label->last].made_layer;
        if (!label->used && !names_layer && label->instance_count > 0) {
            warn(expander, label->where, "label", label->name);
        }
    }
}
