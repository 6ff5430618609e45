#include "kernel_use.h"

#include <string.h>

/* The statements that have an effect are found as a fixed point: an assignment has one if its
 * variable is read by a statement that has one. Every round adds at least one variable. */
typedef struct Search {
    Arena *arena;
    const Kernel *kernel;
    KernelUse *use;
    bool changed;
} Search;

static bool is_read(const KernelUse *use, const Variable *variable) {
    for (int i = 0; i < use->variable_count; i++)
        if (use->variables[i] == variable)
            return true;
    return false;
}

static void note_variable(Search *search, const Variable *variable) {
    KernelUse *use = search->use;
    const Builder *builder = &search->kernel->builder;
    if (variable == builder->batch || variable == builder->whole_batch ||
        variable == builder->first) {
        use->batch = use->batch || variable == builder->batch;
        use->whole_batch = use->whole_batch || variable == builder->whole_batch;
        use->first = use->first || variable == builder->first;
        return;
    }
    if (is_read(use, variable))
        return;
    ARENA_GROW(search->arena, use->variables, use->variable_count, use->variable_capacity);
    use->variables[use->variable_count++] = variable;
    search->changed = true;
}

static void note_buffer(Search *search, const Buffer *buffer) {
    KernelUse *use = search->use;
    for (int i = 0; i < use->buffer_count; i++)
        if (use->buffers[i] == buffer)
            return;
    ARENA_GROW(search->arena, use->buffers, use->buffer_count, use->buffer_capacity);
    use->buffers[use->buffer_count++] = buffer;
    search->changed = true;
}

static void note_subroutine(Search *search, const Subroutine *subroutine) {
    KernelUse *use = search->use;
    for (int i = 0; i < use->subroutine_count; i++)
        if (strcmp(use->subroutines[i]->name, subroutine->name) == 0)
            return;
    ARENA_GROW(search->arena, use->subroutines, use->subroutine_count, use->subroutine_capacity);
    use->subroutines[use->subroutine_count++] = subroutine;
}

static void note_expression(Search *search, const Expr *expr) {
    if (expr == NULL)
        return;
    if (expr->kind == EXPR_VARIABLE)
        note_variable(search, expr->variable);
    if (expr->kind == EXPR_LOAD)
        note_buffer(search, expr->buffer);
    if (expr->kind == EXPR_CALL && strcmp(expr->function, CALL_RANDOM_ACTIVE) == 0)
        search->use->random_layers = true;
    if (expr->kind == EXPR_CALL && strcmp(expr->function, CALL_RANDOM_UNIFORM) == 0)
        search->use->random_key = search->use->random_stream = true;
    if (expr->kind == EXPR_CALL && strcmp(expr->function, CALL_UPDATE) == 0)
        search->use->network = true;
    if (expr->subroutine != NULL)
        note_subroutine(search, expr->subroutine);
    for (int i = 0; i < expr->argument_count; i++)
        note_expression(search, expr->argument[i]);
}

static bool block_has_effect(const KernelUse *use, const Block *block) {
    for (const Stmt *stmt = block->first; stmt != NULL; stmt = stmt->next)
        if (statement_has_effect(use, stmt))
            return true;
    return false;
}

bool statement_has_effect(const KernelUse *use, const Stmt *stmt) {
    switch (stmt->kind) {
    case STMT_STORE:
    case STMT_CALL:
        return true;
    case STMT_DECLARE:
    case STMT_ASSIGN:
        return is_read(use, stmt->variable);
    case STMT_ARRAY:
    case STMT_POINTER:
        for (int i = 0; i < use->buffer_count; i++)
            if (use->buffers[i] == stmt->buffer)
                return true;
        return false;
    case STMT_FOR:
    case STMT_IF:
        return block_has_effect(use, &stmt->body) || block_has_effect(use, &stmt->otherwise);
    case STMT_COMMENT:
        break;
    }
    return false;
}

static void note_block(Search *search, const Block *block);

static void note_statement(Search *search, const Stmt *stmt) {
    if (!statement_has_effect(search->use, stmt))
        return;
    note_block(search, &stmt->body);
    note_block(search, &stmt->otherwise);
    note_expression(search, stmt->value);
    note_expression(search, stmt->begin);
    note_expression(search, stmt->end);
    for (int i = 0; i < stmt->index_count; i++)
        note_expression(search, stmt->index[i]);
    if (stmt->kind == STMT_STORE)
        note_buffer(search, stmt->buffer);
    if (stmt->kind == STMT_POINTER)
        note_buffer(search, stmt->buffer->points_into);
}

/* From the last statement to the first: what reads a variable mostly stands behind what sets it, so
 * that one round finds nearly everything. */
static void note_from(Search *search, const Stmt *stmt) {
    if (stmt->next != NULL)
        note_from(search, stmt->next);
    note_statement(search, stmt);
}

static void note_block(Search *search, const Block *block) {
    if (block->first != NULL)
        note_from(search, block->first);
}

KernelUse *kernel_use(Arena *arena, const Kernel *kernel) {
    KernelUse *use = ARENA_NEW(arena, KernelUse);
    Search search = {arena, kernel, use, true};
    while (search.changed) {
        search.changed = false;
        note_block(&search, &kernel->body);
    }
    use->arguments = ARENA_ARRAY(arena, Buffer *, (size_t)kernel->parameter_count);
    for (int p = 0; p < kernel->parameter_count; p++)
        for (int i = 0; i < use->buffer_count; i++)
            if (use->buffers[i] == kernel->parameters[p])
                use->arguments[use->argument_count++] = kernel->parameters[p];
    return use;
}
