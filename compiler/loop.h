/* The loop language: what ops are lowered to and what the C printer prints. Statements are built in
 * order through a Builder; expressions are values made by the functions below, which fold constants
 * and drop x*1, x+0 and the like. Index expressions are exact integers (TYPE_INDEX). */
#ifndef CNNC_LOOP_H
#define CNNC_LOOP_H

#include "arena.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum ElementType {
    TYPE_INDEX,   /* int in loops, size_t arithmetic where an offset needs it: see cprint.c */
    TYPE_BOOLEAN, /* result of a comparison */
    TYPE_REAL,    /* the program's number type */
    TYPE_DOUBLE,
    TYPE_LABEL,  /* int32_t */
    TYPE_BYTE,   /* unsigned char: connection tables */
    TYPE_VECTOR, /* VECTOR_LENGTH reals */
    TYPE_COUNT
} ElementType;

typedef enum UnaryOperator {
#define UNARY(identifier, spelling) UNARY_##identifier,
#define BINARY(identifier, spelling, precedence)
#include "operators.def"
#undef UNARY
#undef BINARY
    UNARY_COUNT
} UnaryOperator;

typedef enum BinaryOperator {
#define UNARY(identifier, spelling)
#define BINARY(identifier, spelling, precedence) BINARY_##identifier,
#include "operators.def"
#undef UNARY
#undef BINARY
    BINARY_COUNT
} BinaryOperator;

/* Memory that a kernel reads or writes: a pointer parameter, an array of the kernel's own, or a
 * pointer into one of these. */
typedef struct Buffer {
    const char *name; /* "x", "weight", "dy" in the kernel */
    ElementType type;
    bool written;   /* else the parameter is const */
    int local_rank; /* > 0: a local array with these constant extents */
    int64_t local_extent[4];
    struct Buffer *points_into; /* a local pointer, read only */
    bool scratch;         /* a parameter that the memory plan gives for the time of the call */
    int64_t scratch_size; /* elements; per example where per_example; of a slot where by_slot */
    int slots;            /* scratch of which each slot has a piece; 0: it has none */
    bool by_slot;         /* pieces lie SLOT_SIZE apart: plan.h */
    bool per_example;
    struct Tensor *tensor; /* what the call passes for it; NULL for scratch and locals */
} Buffer;

/* A loop index or a scalar local. */
typedef struct Variable {
    const char *name; /* made unique within a kernel */
    ElementType type;
    bool assigned; /* set again after its declaration: else printed const */
    int64_t end;   /* of the range of a loop index, from 0 at the lowest; 0: not known */
} Variable;

typedef enum ExprKind {
    EXPR_INTEGER,
    EXPR_NUMBER, /* a real constant */
    EXPR_VARIABLE,
    EXPR_LOAD,
    EXPR_UNARY,
    EXPR_BINARY,
    EXPR_SELECT, /* condition ? a : b */
    EXPR_CALL,   /* a function or macro of the runtime */
    EXPR_CONVERT /* to `type` */
} ExprKind;

#define MAX_CALL_ARGUMENTS 12

typedef struct Expr Expr;
struct Expr {
    ExprKind kind;
    ElementType type;
    int64_t integer; /* EXPR_BINARY: the block of blocked_index, else 0; EXPR_CALL: operations of a
                        function that stands for many, else 0 */
    double number;
    Variable *variable;
    Buffer *buffer;
    int operation;                       /* UnaryOperator or BinaryOperator */
    const char *function;                /* EXPR_CALL */
    const struct Subroutine *subroutine; /* EXPR_CALL of one (lower.h): loads stand for addresses */
    int argument_count; /* operands of any kind; a load has one per array axis (1 for parameters) */
    Expr *argument[MAX_CALL_ARGUMENTS];
};

typedef enum LoopKind {
    LOOP_SERIAL,      /* iterations in order */
    LOOP_INDEPENDENT, /* no iteration reads or writes what another writes */
    LOOP_REDUCTION    /* iterations only add to scalars declared outside (local_add) */
} LoopKind;

typedef enum StmtKind {
    STMT_FOR,
    STMT_STORE,
    STMT_DECLARE, /* a scalar local */
    STMT_ARRAY,   /* a local array */
    STMT_POINTER, /* buffer = buffer->points_into + value */
    STMT_ASSIGN,
    STMT_IF,
    STMT_CALL, /* a runtime function for its effect */
    STMT_COMMENT
} StmtKind;

typedef struct Block {
    struct Stmt *first, *last;
} Block;

#define MAX_SIMD_SUMS 4

typedef struct Stmt {
    StmtKind kind;
    struct Stmt *next;

    /* FOR: for (variable = begin; variable < end; variable += step) body */
    LoopKind loop;
    Variable *variable; /* also DECLARE, ASSIGN */
    Expr *begin, *end;
    int64_t step;
    double expected_trips; /* estimate where the bounds are not constant; 0: the batch over step */
    bool expected_per_example;
    bool parallel; /* set by schedule.c */
    int collapse;  /* that many perfectly nested loops share the threads; 0 and 1: only this */
    double parallel_work; /* operations per example or in all, for the threshold */
    bool parallel_work_per_example;
    bool simd;
    int simd_sum_count; /* of an innermost reduction: the scalars that it adds to */
    Variable *simd_sums[MAX_SIMD_SUMS];
    bool unroll;
    bool rolled; /* the C compiler must not unroll it: its body fills the registers */

    Block body;      /* FOR, IF */
    Block otherwise; /* IF */

    Buffer *buffer;  /* STORE, ARRAY */
    int index_count; /* STORE */
    Expr *index[4];  /* one offset for parameters, one per axis for local arrays */
    Expr *value;     /* STORE, DECLARE (NULL: uninitialised), ASSIGN, IF (condition), CALL */
    bool add;        /* STORE, ASSIGN: += */
    const char *comment;
} Stmt;

#define MAX_OPEN_BLOCKS 64

typedef struct Builder {
    Arena *arena;
    Block *block; /* where the next statement goes */
    Block *open[MAX_OPEN_BLOCKS];
    Stmt *open_stmt[MAX_OPEN_BLOCKS];
    int depth;
    /* Parameters of the kernel, TYPE_INDEX. Of a shard of the batch (shard.h) `batch` is the number
     * of its examples, `first` that of the first one within the whole batch. */
    Variable *batch, *whole_batch, *first;
    int open_names[MAX_OPEN_BLOCKS]; /* name_count when the block was opened */
    int name_count, name_capacity;
    const char **names; /* of locals in scope */
    int reserved_count, reserved_capacity;
    const char **reserved; /* of the kernel's parameters */
} Builder;

void builder_init(Builder *builder, Arena *arena, Block *block);
/* A name that no other variable or buffer of this kernel has: "ic", "ic2", ... */
const char *builder_name(Builder *builder, const char *wish);
/* The same for a parameter: taken for the whole kernel. */
const char *builder_reserve(Builder *builder, const char *wish);

/* Statements. open_* nest until close(builder, how many). */
Expr *open_loop(Builder *b, LoopKind kind, const char *letter, int64_t extent);
/* None where the extent is 1; counts it in *opened. */
Expr *open_unless_single(Builder *b, LoopKind kind, const char *letter, int64_t extent,
                         int *opened);
/* The same for a loop that the C compiler is to unroll: registers have no numbers at run time. */
Expr *open_unrolled(Builder *b, const char *letter, int64_t extent, int *opened);
Expr *open_batch(Builder *b, LoopKind kind); /* n = 0 .. batch-1 */
Expr *open_range(Builder *b, LoopKind kind, const char *letter, Expr *begin, Expr *end,
                 int64_t step);
void open_if(Builder *b, Expr *condition);
void open_else(Builder *b); /* of the if that was closed last */
/* Iterations of the loop just opened, for estimates of work: in all, or per example. */
void expect_trips(Builder *b, double trips, bool per_example);
void close_blocks(Builder *b, int count);
Expr *declare(Builder *b, const char *name, ElementType type, Expr *initial);
void assign(Builder *b, Expr *variable, Expr *value);
void local_add(Builder *b, Expr *variable, Expr *value); /* variable += value */
Buffer *declare_array(Builder *b, const char *name, ElementType type, int rank,
                      const int64_t *extent);
/* A pointer to an element: what is read near it then has a short constant offset. */
Buffer *declare_pointer(Builder *b, const char *name, Buffer *into, Expr *offset);
void store_at(Builder *b, Buffer *buffer, int index_count, Expr *const *index, Expr *value,
              bool add);
void call_statement(Builder *b, Expr *call);
void comment(Builder *b, const char *format, ...) PRINTF_LIKE(2, 3);

/* Expressions. Arithmetic of an index and a real converts the index. */
Expr *integer(Builder *b, int64_t value);
Expr *number(Builder *b, double value);
Expr *batch_size(Builder *b);
Expr *whole_batch_size(Builder *b);
Expr *shard_first(Builder *b);
Expr *load_at(Builder *b, Buffer *buffer, int index_count, Expr *const *index);
Expr *unary(Builder *b, UnaryOperator operation, Expr *x);
Expr *binary(Builder *b, BinaryOperator operation, Expr *x, Expr *y);
Expr *choose(Builder *b, Expr *condition, Expr *yes, Expr *no);
Expr *call(Builder *b, ElementType type, const char *function, int count, Expr *const *arguments);
Expr *convert(Builder *b, ElementType type, Expr *x);
/* The common ones by name. */
Expr *plus(Builder *b, Expr *x, Expr *y);
Expr *minus(Builder *b, Expr *x, Expr *y);
Expr *times(Builder *b, Expr *x, Expr *y);
Expr *scaled(Builder *b, Expr *x, int64_t factor); /* of an index */
Expr *over(Builder *b, Expr *x,
           Expr *y); /* reals divide; indices divide exactly or downwards (>= 0) */
Expr *remainder_of(Builder *b, Expr *x, Expr *y);
Expr *maximum(Builder *b, Expr *x, Expr *y); /* reals: y where x is not greater; NaN in x is lost */
Expr *minimum(Builder *b, Expr *x, Expr *y);
Expr *negated(Builder *b, Expr *x);
Expr *less(Builder *b, Expr *x, Expr *y);
Expr *less_equal(Builder *b, Expr *x, Expr *y);
Expr *greater(Builder *b, Expr *x, Expr *y);
Expr *greater_equal(Builder *b, Expr *x, Expr *y);
Expr *equal(Builder *b, Expr *x, Expr *y);
Expr *differs(Builder *b, Expr *x, Expr *y);
Expr *both(Builder *b, Expr *x, Expr *y); /* NULL stands for true */
Expr *either(Builder *b, Expr *x, Expr *y);
bool is_integer(const Expr *x, int64_t value);
/* block_number*block + lane with 0 <= lane < block, and its inverse: what blocked_index made, or a
 * constant, is taken apart without a division; 0 <= index < extent. */
Expr *blocked_index(Builder *b, Expr *block_number, Expr *lane, int64_t block);
void split_index(Builder *b, Expr *index, int64_t block, int64_t extent, Expr **block_number,
                 Expr **lane);

#endif
