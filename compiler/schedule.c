#include "schedule.h"

#define MAX_COLLAPSE 4

/* ---- Work: an estimate of operations, as a polynomial fixed + per_example * batch ---- */

typedef struct Work {
    double fixed, per_example;
} Work;

/* Indices and what is decided by them alone count nothing. */
static bool is_of_indices(const Expr *expr) {
    if (expr->type != TYPE_BOOLEAN || expr->argument_count == 0)
        return expr->type == TYPE_INDEX;
    for (int i = 0; i < expr->argument_count; i++)
        if (!is_of_indices(expr->argument[i]))
            return false;
    return true;
}

static double expression_work(const Expr *expr) {
    double work = expr->kind == EXPR_BINARY || expr->kind == EXPR_UNARY || expr->kind == EXPR_CALL;
    if (expr->kind == EXPR_LOAD)
        return 1;
    if (expr->kind == EXPR_CALL)
        work += (double)expr->integer;
    for (int i = 0; i < expr->argument_count; i++)
        work += expression_work(expr->argument[i]);
    return is_of_indices(expr) ? 0 : work;
}

static bool mentions(const Expr *expr, const Variable *variable) {
    if (expr == NULL)
        return false;
    if (expr->kind == EXPR_VARIABLE)
        return expr->variable == variable;
    for (int i = 0; i < expr->argument_count; i++)
        if (mentions(expr->argument[i], variable))
            return true;
    return false;
}

/* Iterations of a loop: a number, or the batch over the step (the part that a remainder loop does
 * is not worth a distinction). */
static bool constant_trips(const Stmt *loop, double *trips) {
    *trips = 1;
    if (loop->begin->kind != EXPR_INTEGER || loop->end->kind != EXPR_INTEGER)
        return false;
    *trips = (double)(loop->end->integer - loop->begin->integer) / (double)loop->step;
    return true;
}

/* Examples for each iteration of a loop over the batch or over blocks of it. */
static double examples_per_trip(const Stmt *loop) {
    const Expr *end = loop->end;
    bool blocks = end->kind == EXPR_BINARY && end->operation == BINARY_DIVIDE &&
                  end->argument[1]->kind == EXPR_INTEGER;
    return (double)loop->step * (blocks ? (double)end->argument[1]->integer : 1);
}

static Work loop_work(const Stmt *loop, Work body, const Builder *builder) {
    double trips;
    bool fixed = constant_trips(loop, &trips), expected = loop->expected_trips > 0;
    if (expected) {
        trips = loop->expected_trips;
        fixed = !loop->expected_per_example;
    } else if (!fixed) {
        trips = 1 / examples_per_trip(loop);
    }
    if (fixed)
        return (Work){body.fixed * trips, body.per_example * trips};
    bool batch = expected || mentions(loop->end, builder->batch);
    return batch ? (Work){0, body.per_example + body.fixed * trips} : body;
}

static Work block_work(const Block *block, const Builder *builder) {
    Work sum = {0, 0};
    for (const Stmt *stmt = block->first; stmt; stmt = stmt->next) {
        Work work = {stmt->value ? expression_work(stmt->value) : 0, 0};
        if (stmt->kind == STMT_STORE || stmt->kind == STMT_ASSIGN)
            work.fixed += 1;
        Work body = block_work(&stmt->body, builder), other = block_work(&stmt->otherwise, builder);
        work.fixed += body.fixed + other.fixed;
        work.per_example += body.per_example + other.per_example;
        if (stmt->kind == STMT_FOR)
            work = loop_work(stmt, work, builder);
        sum.fixed += work.fixed;
        sum.per_example += work.per_example;
    }
    return sum;
}

/* ---- Threads ---- */

/* The loop that is the whole body of `inner`, with bounds that do not depend on the loops from
 * `outer` to it; NULL: none. */
static Stmt *perfectly_nested(const Stmt *outer, const Stmt *inner) {
    Stmt *next = inner->body.first;
    if (next == NULL || next->next || next->kind != STMT_FOR || next->loop != LOOP_INDEPENDENT)
        return NULL;
    for (const Stmt *loop = outer; loop != next; loop = loop->body.first)
        if (mentions(next->begin, loop->variable) || mentions(next->end, loop->variable))
            return NULL;
    return next;
}

static bool calls_subroutine(const Stmt *stmt) {
    return stmt->kind == STMT_CALL && stmt->value->subroutine != NULL;
}

static bool contains_loop(const Block *block) {
    for (const Stmt *stmt = block->first; stmt; stmt = stmt->next)
        if (stmt->kind == STMT_FOR || stmt->kind == STMT_ARRAY || calls_subroutine(stmt) ||
            contains_loop(&stmt->body) || contains_loop(&stmt->otherwise))
            return true;
    return false;
}

#define LARGE_PART 16384 /* operations: a microsecond, beside which the indices cost nothing */

/* Shares just enough of the outer loops that every thread gets several parts, and further ones as
 * long as these parts are large: however long the outer loops are, so that layers of several sizes
 * have one kernel. The innermost loop is left alone: it is for vectors. */
static int choose_collapse(const Stmt *loop, const Builder *builder, int threads) {
    double trips, parts = constant_trips(loop, &trips) ? trips : 1;
    int collapse = 1;
    const Stmt *inner = loop;
    while (collapse < MAX_COLLAPSE) {
        inner = perfectly_nested(loop, inner);
        if (inner == NULL || inner->unroll || !contains_loop(&inner->body))
            break;
        if (parts >= 16.0 * threads && block_work(&inner->body, builder).fixed < LARGE_PART)
            break;
        if (constant_trips(inner, &trips))
            parts *= trips;
        collapse++;
    }
    return collapse;
}

static void parallel_block(Block *block, const Builder *builder, const LowerOptions *options) {
    for (Stmt *stmt = block->first; stmt; stmt = stmt->next) {
        double trips;
        if (stmt->kind != STMT_FOR)
            continue;
        bool single = constant_trips(stmt, &trips) && trips <= 1;
        if (stmt->loop != LOOP_INDEPENDENT || single) {
            parallel_block(&stmt->body, builder, options);
            continue;
        }
        Block alone = {stmt, stmt};
        Stmt *next = stmt->next;
        stmt->next = NULL;
        Work work = block_work(&alone, builder);
        stmt->next = next;
        stmt->parallel = true;
        stmt->collapse = choose_collapse(stmt, builder, lower_threads(options));
        stmt->parallel_work_per_example = work.per_example > 0;
        stmt->parallel_work = work.per_example > 0 ? work.per_example : work.fixed;
    }
}

void schedule_parallel(Kernel *kernel, const LowerOptions *options) {
    parallel_block(&kernel->body, &kernel->builder, options);
}

/* ---- Vectors ---- */

static bool is_vector_code(const Block *block) {
    for (const Stmt *stmt = block->first; stmt; stmt = stmt->next)
        if ((stmt->value && stmt->value->type == TYPE_VECTOR) || is_vector_code(&stmt->body))
            return true;
    return false;
}

static bool declares(const Block *block, const Variable *variable) {
    for (const Stmt *stmt = block->first; stmt; stmt = stmt->next)
        if ((stmt->kind == STMT_DECLARE && stmt->variable == variable) ||
            declares(&stmt->body, variable))
            return true;
    return false;
}

/* The scalars that a block adds to, and nothing else that it assigns from outside; false where it
 * does more. */
static bool find_sums(const Block *block, Stmt *loop) {
    for (const Stmt *stmt = block->first; stmt; stmt = stmt->next) {
        if (stmt->kind == STMT_STORE || (stmt->kind == STMT_ASSIGN && !stmt->add))
            return false;
        int known = 0;
        while (known < loop->simd_sum_count && loop->simd_sums[known] != stmt->variable)
            known++;
        bool more = stmt->kind == STMT_ASSIGN && known == loop->simd_sum_count;
        if (more && (known == MAX_SIMD_SUMS || declares(&loop->body, stmt->variable)))
            return false;
        if (more)
            loop->simd_sums[loop->simd_sum_count++] = stmt->variable;
        if (!find_sums(&stmt->body, loop) || !find_sums(&stmt->otherwise, loop))
            return false;
    }
    return true;
}

static void simd_block(Block *block) {
    for (Stmt *stmt = block->first; stmt; stmt = stmt->next) {
        if (stmt->kind != STMT_FOR || contains_loop(&stmt->body)) {
            simd_block(&stmt->body);
            simd_block(&stmt->otherwise);
            continue;
        }
        if (stmt->parallel || stmt->unroll || is_vector_code(&stmt->body))
            continue;
        if (stmt->loop == LOOP_INDEPENDENT) {
            stmt->simd = true;
        } else if (stmt->loop == LOOP_REDUCTION) {
            stmt->simd = find_sums(&stmt->body, stmt) && stmt->simd_sum_count > 0;
        }
    }
}

void schedule_simd(Kernel *kernel) {
    simd_block(&kernel->body);
}
