#include "loop.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static Variable *make_parameter(Builder *builder, const char *name) {
    Variable *variable = ARENA_NEW(builder->arena, Variable);
    variable->name = builder_reserve(builder, name);
    variable->type = TYPE_INDEX;
    return variable;
}

void builder_init(Builder *builder, Arena *arena, Block *block) {
    memset(builder, 0, sizeof *builder);
    builder->arena = arena;
    builder->block = block;
    builder->batch = make_parameter(builder, "batch");
    builder->whole_batch = make_parameter(builder, "whole_batch");
    builder->first = make_parameter(builder, "first_example");
}

static bool name_taken(const Builder *b, const char *name) {
    for (int i = 0; i < b->name_count; i++)
        if (strcmp(b->names[i], name) == 0)
            return true;
    for (int i = 0; i < b->reserved_count; i++)
        if (strcmp(b->reserved[i], name) == 0)
            return true;
    return false;
}

static const char *free_name(Builder *b, const char *wish) {
    const char *name = wish;
    for (int number = 2; name_taken(b, name); number++)
        name = arena_format(b->arena, "%s%d", wish, number);
    return name;
}

const char *builder_name(Builder *b, const char *wish) {
    const char *name = free_name(b, wish);
    ARENA_GROW(b->arena, b->names, b->name_count, b->name_capacity);
    b->names[b->name_count++] = name;
    return name;
}

const char *builder_reserve(Builder *b, const char *wish) {
    const char *name = free_name(b, wish);
    ARENA_GROW(b->arena, b->reserved, b->reserved_count, b->reserved_capacity);
    b->reserved[b->reserved_count++] = name;
    return name;
}

/* ---- Statements ---- */

static Expr *widen(Builder *b, ElementType type, Expr *x);

static Stmt *append(Builder *b, StmtKind kind) {
    Stmt *stmt = ARENA_NEW(b->arena, Stmt);
    stmt->kind = kind;
    if (b->block->last)
        b->block->last->next = stmt;
    else
        b->block->first = stmt;
    b->block->last = stmt;
    return stmt;
}

static void open_block(Builder *b, Stmt *stmt) {
    assert(b->depth < MAX_OPEN_BLOCKS);
    b->open[b->depth] = b->block;
    b->open_stmt[b->depth] = stmt;
    b->open_names[b->depth] = b->name_count;
    b->depth++;
    b->block = &stmt->body;
}

void close_blocks(Builder *b, int count) {
    assert(count <= b->depth);
    while (count-- > 0) {
        b->depth--;
        b->block = b->open[b->depth];
        b->name_count = b->open_names[b->depth];
    }
}

static Variable *new_variable(Builder *b, const char *name, ElementType type) {
    Variable *variable = ARENA_NEW(b->arena, Variable);
    variable->name = builder_name(b, name);
    variable->type = type;
    return variable;
}

static Expr *new_expr(Builder *b, ExprKind kind, ElementType type) {
    Expr *expr = ARENA_NEW(b->arena, Expr);
    expr->kind = kind;
    expr->type = type;
    return expr;
}

static Expr *variable_expr(Builder *b, Variable *variable) {
    Expr *expr = new_expr(b, EXPR_VARIABLE, variable->type);
    expr->variable = variable;
    return expr;
}

Expr *open_range(Builder *b, LoopKind kind, const char *letter, Expr *begin, Expr *end,
                 int64_t step) {
    Stmt *loop = append(b, STMT_FOR);
    loop->loop = kind;
    loop->begin = begin;
    loop->end = end;
    loop->step = step;
    open_block(b, loop); /* first, so that the name's scope ends with the loop */
    loop->variable = new_variable(b, letter, TYPE_INDEX);
    if (begin->kind == EXPR_INTEGER && begin->integer >= 0 && end->kind == EXPR_INTEGER)
        loop->variable->end = end->integer;
    return variable_expr(b, loop->variable);
}

Expr *open_loop(Builder *b, LoopKind kind, const char *letter, int64_t extent) {
    return open_range(b, kind, letter, integer(b, 0), integer(b, extent), 1);
}

Expr *open_unless_single(Builder *b, LoopKind kind, const char *letter, int64_t extent,
                         int *opened) {
    if (extent == 1)
        return integer(b, 0);
    ++*opened;
    return open_loop(b, kind, letter, extent);
}

Expr *open_unrolled(Builder *b, const char *letter, int64_t extent, int *opened) {
    Expr *index = open_unless_single(b, LOOP_SERIAL, letter, extent, opened);
    if (extent != 1)
        b->open_stmt[b->depth - 1]->unroll = true;
    return index;
}

Expr *open_batch(Builder *b, LoopKind kind) {
    return open_range(b, kind, "n", integer(b, 0), batch_size(b), 1);
}

void open_if(Builder *b, Expr *condition) {
    Stmt *stmt = append(b, STMT_IF);
    stmt->value = condition;
    open_block(b, stmt);
}

void open_else(Builder *b) {
    Stmt *stmt = b->block->last;
    assert(stmt && stmt->kind == STMT_IF);
    open_block(b, stmt);
    b->block = &stmt->otherwise;
}

void expect_trips(Builder *b, double trips, bool per_example) {
    Stmt *loop = b->open_stmt[b->depth - 1];
    loop->expected_trips = trips;
    loop->expected_per_example = per_example;
}

Expr *declare(Builder *b, const char *name, ElementType type, Expr *initial) {
    Stmt *stmt = append(b, STMT_DECLARE);
    stmt->variable = new_variable(b, name, type);
    stmt->variable->assigned = initial == NULL;
    stmt->value = initial ? widen(b, type, initial) : NULL;
    return variable_expr(b, stmt->variable);
}

static void assign_statement(Builder *b, Expr *variable, Expr *value, bool add) {
    assert(variable->kind == EXPR_VARIABLE);
    Stmt *stmt = append(b, STMT_ASSIGN);
    stmt->variable = variable->variable;
    stmt->variable->assigned = true;
    stmt->value = widen(b, variable->type, value);
    stmt->add = add;
}

void assign(Builder *b, Expr *variable, Expr *value) {
    assign_statement(b, variable, value, false);
}

void local_add(Builder *b, Expr *variable, Expr *value) {
    assign_statement(b, variable, value, true);
}

Buffer *declare_array(Builder *b, const char *name, ElementType type, int rank,
                      const int64_t *extent) {
    Stmt *stmt = append(b, STMT_ARRAY);
    Buffer *buffer = ARENA_NEW(b->arena, Buffer);
    buffer->name = builder_name(b, name);
    buffer->type = type;
    buffer->written = true;
    buffer->local_rank = rank;
    memcpy(buffer->local_extent, extent, (size_t)rank * sizeof *extent);
    stmt->buffer = buffer;
    return buffer;
}

Buffer *declare_pointer(Builder *b, const char *name, Buffer *into, Expr *offset) {
    Stmt *stmt = append(b, STMT_POINTER);
    Buffer *buffer = ARENA_NEW(b->arena, Buffer);
    buffer->name = builder_name(b, name);
    buffer->type = into->type;
    buffer->points_into = into;
    stmt->buffer = buffer;
    stmt->value = offset;
    return buffer;
}

void store_at(Builder *b, Buffer *buffer, int index_count, Expr *const *index, Expr *value,
              bool add) {
    Stmt *stmt = append(b, STMT_STORE);
    stmt->buffer = buffer;
    buffer->written = true;
    stmt->index_count = index_count;
    memcpy(stmt->index, index, (size_t)index_count * sizeof *index);
    bool vector = value->type == TYPE_VECTOR;
    stmt->value = vector ? value : widen(b, buffer->type, value);
    stmt->add = add;
}

void call_statement(Builder *b, Expr *call) {
    append(b, STMT_CALL)->value = call;
}

void comment(Builder *b, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    append(b, STMT_COMMENT)->comment = arena_format_list(b->arena, format, arguments);
    va_end(arguments);
}

/* ---- Expressions ---- */

Expr *integer(Builder *b, int64_t value) {
    Expr *expr = new_expr(b, EXPR_INTEGER, TYPE_INDEX);
    expr->integer = value;
    return expr;
}

Expr *number(Builder *b, double value) {
    Expr *expr = new_expr(b, EXPR_NUMBER, TYPE_REAL);
    expr->number = value;
    return expr;
}

Expr *batch_size(Builder *b) {
    return variable_expr(b, b->batch);
}

Expr *whole_batch_size(Builder *b) {
    return variable_expr(b, b->whole_batch);
}

Expr *shard_first(Builder *b) {
    return variable_expr(b, b->first);
}

bool is_integer(const Expr *x, int64_t value) {
    return x->kind == EXPR_INTEGER && x->integer == value;
}

Expr *load_at(Builder *b, Buffer *buffer, int index_count, Expr *const *index) {
    Expr *expr = new_expr(b, EXPR_LOAD, buffer->type);
    expr->buffer = buffer;
    expr->argument_count = index_count;
    memcpy(expr->argument, index, (size_t)index_count * sizeof *index);
    return expr;
}

Expr *unary(Builder *b, UnaryOperator operation, Expr *x) {
    if (operation == UNARY_NEGATE && x->kind == EXPR_INTEGER)
        return integer(b, -x->integer);
    if (operation == UNARY_NEGATE && x->kind == EXPR_NUMBER)
        return number(b, -x->number);
    Expr *expr = new_expr(b, EXPR_UNARY, x->type);
    expr->operation = operation;
    expr->argument_count = 1;
    expr->argument[0] = x;
    return expr;
}

static bool is_comparison(BinaryOperator operation) {
    return operation >= BINARY_LESS && operation <= BINARY_OR;
}

/* Index arithmetic on two constants; false where it has no value here. */
static bool fold(BinaryOperator operation, int64_t x, int64_t y, int64_t *result) {
    switch (operation) {
    case BINARY_ADD:
        *result = x + y;
        return true;
    case BINARY_SUBTRACT:
        *result = x - y;
        return true;
    case BINARY_MULTIPLY:
        *result = x * y;
        return true;
    case BINARY_DIVIDE:
        *result = y ? x / y : 0;
        return y != 0;
    case BINARY_REMAINDER:
        *result = y ? x % y : 0;
        return y != 0;
    case BINARY_MAXIMUM:
        *result = x > y ? x : y;
        return true;
    case BINARY_MINIMUM:
        *result = x < y ? x : y;
        return true;
    default:
        return false;
    }
}

static bool is_zero(const Expr *x) {
    return is_integer(x, 0) || (x->kind == EXPR_NUMBER && x->number == 0);
}

static bool is_one(const Expr *x) {
    return is_integer(x, 1) || (x->kind == EXPR_NUMBER && x->number == 1);
}

/* A blocked index moved by whole blocks stays one. NULL: it is not that. */
static Expr *move_blocks(Builder *b, Expr *x, const Expr *y) {
    int64_t block = x->kind == EXPR_BINARY ? x->integer : 0;
    if (block == 0 || y->kind != EXPR_INTEGER || y->integer % block != 0)
        return NULL;
    Expr *number, *lane;
    split_index(b, x, block, 0, &number, &lane);
    return blocked_index(b, plus(b, number, integer(b, y->integer / block)), lane, block);
}

/* (x + c1) +- c2 becomes x + c for indices. Returns NULL where that form is not there. */
static Expr *join_constants(Builder *b, BinaryOperator operation, Expr *x, Expr *y) {
    if (x->kind != EXPR_BINARY || x->type != TYPE_INDEX || y->kind != EXPR_INTEGER)
        return NULL;
    Expr *constant = x->argument[1];
    bool adds = x->operation == BINARY_ADD, subtracts = x->operation == BINARY_SUBTRACT;
    if (constant->kind != EXPR_INTEGER || !(adds || subtracts))
        return NULL;
    int64_t sum = (adds ? constant->integer : -constant->integer) +
                  (operation == BINARY_ADD ? y->integer : -y->integer);
    if (sum < 0)
        return minus(b, x->argument[0], integer(b, -sum));
    return plus(b, x->argument[0], integer(b, sum));
}

/* Rules that leave out an operation; reals keep x*0 (it may be NaN). NULL: none applies. */
static Expr *simplify(Builder *b, BinaryOperator operation, Expr *x, Expr *y) {
    int64_t value;
    if (x->kind == EXPR_INTEGER && y->kind == EXPR_INTEGER &&
        fold(operation, x->integer, y->integer, &value))
        return integer(b, value);
    bool index = x->type == TYPE_INDEX && y->type == TYPE_INDEX;
    switch (operation) {
    case BINARY_ADD:
        if (is_zero(x))
            return y;
        if (is_zero(y))
            return x;
        if (index && move_blocks(b, x, y))
            return move_blocks(b, x, y);
        if (index && y->kind == EXPR_INTEGER && y->integer < 0)
            return minus(b, x, integer(b, -y->integer));
        return join_constants(b, operation, x, y);
    case BINARY_SUBTRACT:
        if (is_zero(y))
            return x;
        if (index && y->kind == EXPR_INTEGER && y->integer < 0)
            return plus(b, x, integer(b, -y->integer));
        return join_constants(b, operation, x, y);
    case BINARY_MULTIPLY:
        if (is_one(x))
            return y;
        if (is_one(y))
            return x;
        if (index && (is_zero(x) || is_zero(y)))
            return integer(b, 0);
        return NULL;
    case BINARY_DIVIDE:
        return is_one(y) ? x : NULL;
    case BINARY_REMAINDER:
        return is_one(y) ? integer(b, 0) : NULL;
    default:
        return NULL;
    }
}

static ElementType common_type(const Expr *x, const Expr *y) {
    if (x->type == TYPE_VECTOR || y->type == TYPE_VECTOR)
        return TYPE_VECTOR;
    if (x->type == TYPE_DOUBLE || y->type == TYPE_DOUBLE)
        return TYPE_DOUBLE;
    if (x->type == TYPE_REAL || y->type == TYPE_REAL)
        return TYPE_REAL;
    return TYPE_INDEX;
}

Expr *binary(Builder *b, BinaryOperator operation, Expr *x, Expr *y) {
    bool logical = operation == BINARY_AND || operation == BINARY_OR;
    ElementType type = common_type(x, y);
    if (!logical) {
        x = widen(b, type, x);
        y = widen(b, type, y);
    }
    Expr *simple = simplify(b, operation, x, y);
    if (simple)
        return simple;
    Expr *expr = new_expr(b, EXPR_BINARY, is_comparison(operation) ? TYPE_BOOLEAN : type);
    expr->operation = operation;
    expr->argument_count = 2;
    expr->argument[0] = x;
    expr->argument[1] = y;
    return expr;
}

Expr *choose(Builder *b, Expr *condition, Expr *yes, Expr *no) {
    if (condition == NULL)
        return yes;
    ElementType type = common_type(yes, no);
    Expr *expr = new_expr(b, EXPR_SELECT, type);
    expr->argument_count = 3;
    expr->argument[0] = condition;
    expr->argument[1] = widen(b, type, yes);
    expr->argument[2] = widen(b, type, no);
    return expr;
}

Expr *call(Builder *b, ElementType type, const char *function, int count, Expr *const *arguments) {
    Expr *expr = new_expr(b, EXPR_CALL, type);
    expr->function = function;
    expr->argument_count = count;
    assert(count <= MAX_CALL_ARGUMENTS);
    if (count > 0)
        memcpy(expr->argument, arguments, (size_t)count * sizeof *arguments);
    return expr;
}

Expr *convert(Builder *b, ElementType type, Expr *x) {
    if (x->type == type || type == TYPE_VECTOR || x->type == TYPE_VECTOR)
        return x;
    bool to_real = type == TYPE_REAL || type == TYPE_DOUBLE;
    if (x->kind == EXPR_INTEGER && to_real)
        x = number(b, (double)x->integer);
    if (x->kind == EXPR_NUMBER && to_real) {
        Expr *same = number(b, x->number);
        same->type = type;
        return same;
    }
    Expr *expr = new_expr(b, EXPR_CONVERT, type);
    expr->argument_count = 1;
    expr->argument[0] = x;
    return expr;
}

/* As convert, but what C widens by itself stays as it is. */
static Expr *widen(Builder *b, ElementType type, Expr *x) {
    if (x->type == TYPE_REAL && type == TYPE_DOUBLE && x->kind != EXPR_NUMBER)
        return x;
    if (type == TYPE_INDEX && (x->type == TYPE_LABEL || x->type == TYPE_BYTE))
        return x;
    return convert(b, type, x);
}

Expr *plus(Builder *b, Expr *x, Expr *y) {
    return binary(b, BINARY_ADD, x, y);
}

Expr *minus(Builder *b, Expr *x, Expr *y) {
    return binary(b, BINARY_SUBTRACT, x, y);
}

Expr *times(Builder *b, Expr *x, Expr *y) {
    return binary(b, BINARY_MULTIPLY, x, y);
}

Expr *scaled(Builder *b, Expr *x, int64_t factor) {
    return times(b, x, integer(b, factor));
}

Expr *over(Builder *b, Expr *x, Expr *y) {
    return binary(b, BINARY_DIVIDE, x, y);
}

Expr *remainder_of(Builder *b, Expr *x, Expr *y) {
    return binary(b, BINARY_REMAINDER, x, y);
}

Expr *maximum(Builder *b, Expr *x, Expr *y) {
    return binary(b, BINARY_MAXIMUM, x, y);
}

Expr *minimum(Builder *b, Expr *x, Expr *y) {
    return binary(b, BINARY_MINIMUM, x, y);
}

Expr *negated(Builder *b, Expr *x) {
    return unary(b, UNARY_NEGATE, x);
}

Expr *less(Builder *b, Expr *x, Expr *y) {
    return binary(b, BINARY_LESS, x, y);
}

Expr *less_equal(Builder *b, Expr *x, Expr *y) {
    return binary(b, BINARY_LESS_EQUAL, x, y);
}

Expr *greater(Builder *b, Expr *x, Expr *y) {
    return binary(b, BINARY_GREATER, x, y);
}

Expr *greater_equal(Builder *b, Expr *x, Expr *y) {
    return binary(b, BINARY_GREATER_EQUAL, x, y);
}

Expr *equal(Builder *b, Expr *x, Expr *y) {
    return binary(b, BINARY_EQUAL, x, y);
}

Expr *differs(Builder *b, Expr *x, Expr *y) {
    return binary(b, BINARY_NOT_EQUAL, x, y);
}

Expr *either(Builder *b, Expr *x, Expr *y) {
    return binary(b, BINARY_OR, x, y);
}

Expr *both(Builder *b, Expr *x, Expr *y) {
    if (x == NULL)
        return y;
    return y ? binary(b, BINARY_AND, x, y) : x;
}

Expr *blocked_index(Builder *b, Expr *block_number, Expr *lane, int64_t block) {
    Expr *first = times(b, block_number, integer(b, block));
    Expr *index = plus(b, first, lane);
    if (index->kind == EXPR_BINARY && index->argument[0] == first && index->argument[1] == lane)
        index->integer = block;
    return index;
}

/* The end of the range 0, 1, ... that an index lies in; 0: not known. */
static int64_t end_of_range(const Expr *index) {
    if (index->kind == EXPR_INTEGER)
        return index->integer + 1;
    return index->kind == EXPR_VARIABLE ? index->variable->end : 0;
}

/* A lane, or a lane behind whole blocks. */
static bool is_lane_of_known_block(const Expr *index, int64_t block) {
    bool sum = index->kind == EXPR_BINARY && index->operation == BINARY_ADD &&
               index->argument[1]->kind == EXPR_INTEGER;
    const Expr *lane = sum ? index->argument[0] : index;
    int64_t end = end_of_range(lane);
    return end > 0 && end <= block && (!sum || index->argument[1]->integer % block == 0);
}

void split_index(Builder *b, Expr *index, int64_t block, int64_t extent, Expr **block_number,
                 Expr **lane) {
    if (extent == block) {
        *block_number = integer(b, 0);
        *lane = index;
        return;
    }
    if (index->kind == EXPR_BINARY && index->integer == block) {
        *block_number = over(b, index->argument[0], integer(b, block));
        *lane = index->argument[1];
        if (index->argument[0]->kind == EXPR_BINARY &&
            index->argument[0]->operation == BINARY_MULTIPLY)
            *block_number = index->argument[0]->argument[0];
        return;
    }
    if (index->kind == EXPR_BINARY && index->operation == BINARY_MULTIPLY &&
        is_integer(index->argument[1], block)) {
        *block_number = index->argument[0];
        *lane = integer(b, 0);
        return;
    }
    if (is_lane_of_known_block(index, block)) {
        bool first = index->kind != EXPR_BINARY;
        *block_number = integer(b, first ? 0 : index->argument[1]->integer / block);
        *lane = first ? index : index->argument[0];
        return;
    }
    *block_number = over(b, index, integer(b, block));
    *lane = remainder_of(b, index, integer(b, block));
}
