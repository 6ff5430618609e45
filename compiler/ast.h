/* The syntax tree of one description. parse.y builds it, evaluate.c and the expansion read it; all
 * of it lives in the arena. No part is nested deeper than AST_DEPTH_LIMIT, so that walks may
 * recurse. */
#ifndef CNNC_AST_H
#define CNNC_AST_H

#include "value.h"

#define AST_DEPTH_LIMIT 1000

typedef enum Operator {
    OPERATOR_ADD,
    OPERATOR_SUBTRACT,
    OPERATOR_MULTIPLY,
    OPERATOR_DIVIDE,
    OPERATOR_REMAINDER,
    OPERATOR_POWER,
    OPERATOR_LESS,
    OPERATOR_LESS_EQUAL,
    OPERATOR_GREATER,
    OPERATOR_GREATER_EQUAL,
    OPERATOR_EQUAL,
    OPERATOR_NOT_EQUAL,
    OPERATOR_AND,
    OPERATOR_OR,
    OPERATOR_NEGATE, /* unary */
    OPERATOR_NOT     /* unary */
} Operator;

typedef enum ExpressionKind {
    EXPRESSION_LITERAL, /* integer, number, boolean, string, dims or label */
    EXPRESSION_NAME,    /* a constant, or a word */
    EXPRESSION_CALL,    /* max(a, b), or a word with arguments: gaussian(0.01) */
    EXPRESSION_LIST,    /* [a, b] */
    EXPRESSION_TUPLE,   /* (a, b): one item of the list of a `for` */
    EXPRESSION_UNARY,
    EXPRESSION_BINARY /* includes the `-` between words: told apart when evaluated */
} ExpressionKind;

typedef struct Expression Expression;

/* NAME = expression, or the expression alone. */
typedef struct Argument {
    const char *name;  /* NULL: positional */
    SourceRange where; /* with the name */
    SourceRange name_where;
    Expression *value;
    struct Argument *next;
} Argument;

typedef struct ArgumentList {
    Argument *first, *last;
    int count;
} ArgumentList;

typedef struct ExpressionList {
    Expression *first, *last;
    int count;
} ExpressionList;

struct Expression {
    ExpressionKind kind;
    Operator operation;
    SourceRange where;
    int depth;
    Value literal;
    const char *name;         /* NAME, CALL */
    SourceRange name_where;   /* NAME, CALL */
    ArgumentList arguments;   /* CALL */
    ExpressionList items;     /* LIST, TUPLE */
    Expression *left, *right; /* UNARY uses `right` */
    Expression *next;         /* in the list that it belongs to */
};

/* low..high, or a list of items. */
typedef struct Range {
    Expression *low, *high; /* both NULL for a list */
    ExpressionList items;
    SourceRange where;
} Range;

typedef enum UnitKind {
    UNIT_CHAIN,     /* children after one another */
    UNIT_CALL,      /* a layer, a merge or a def */
    UNIT_REFERENCE, /* @name, @name[*] */
    UNIT_IF,
    UNIT_REPEAT,   /* children * count */
    UNIT_FOR,      /* children for names in range */
    UNIT_OPTIONAL, /* children? */
    UNIT_LABEL     /* children @name */
} UnitKind;

typedef struct Unit Unit;

typedef struct UnitList {
    Unit *first, *last;
    int count;
} UnitList;

typedef struct Name {
    const char *text;
    SourceRange where;
    struct Name *next;
} Name;

typedef struct NameList {
    Name *first, *last;
    int count;
} NameList;

struct Unit {
    UnitKind kind;
    SourceRange where;
    int depth;
    bool failed;            /* an error was reported here: further instances are silent */
    const char *name;       /* CALL, REFERENCE, LABEL */
    SourceRange name_where; /* and the count of REPEAT, the `?` of OPTIONAL */
    bool has_arguments, has_branches;
    ArgumentList arguments;      /* CALL */
    UnitList children;           /* branches of a CALL, else what the postfix stands on */
    bool all;                    /* REFERENCE: @name[*] */
    Expression *expression;      /* count of REPEAT, condition of IF */
    Unit *then_part, *else_part; /* IF; else_part may be NULL */
    int option;                  /* OPTIONAL: its number, from 1 */
    NameList names;              /* FOR */
    Range *range;                /* FOR */
    Unit *next;                  /* in the list that it belongs to */
};

typedef struct Let {
    const char *name;
    SourceRange name_where;
    Expression *value;
    Range *range; /* NULL: any value */
    struct Let *next;
} Let;

typedef struct LetList {
    Let *first, *last;
} LetList;

typedef enum StatementKind {
    STATEMENT_INPUT,
    STATEMENT_LET,
    STATEMENT_DEFAULT,
    STATEMENT_DEF,
    STATEMENT_NET,
    STATEMENT_OUTPUT,
    STATEMENT_TRAIN,
    STATEMENT_DATA,
    STATEMENT_INCLUDE
} StatementKind;

typedef struct Statement {
    StatementKind kind;
    SourceRange where;
    const char *name; /* NULL where the statement has or needs none */
    SourceRange name_where;
    Expression *value;      /* INPUT: extents; INCLUDE: path */
    LetList lets;           /* LET */
    ArgumentList arguments; /* DEFAULT, TRAIN, DATA */
    NameList parameters;    /* DEF */
    Unit *chain;            /* DEF, NET, OUTPUT */
    struct Statement *next;
} Statement;

typedef struct StatementList {
    Statement *first, *last;
} StatementList;

/* Appends `item` to a list with `first` and `last`. */
#define LIST_APPEND(list, item)                                                                    \
    do {                                                                                           \
        if ((list)->last != NULL) {                                                                \
            (list)->last->next = (item);                                                           \
        } else {                                                                                   \
            (list)->first = (item);                                                                \
        }                                                                                          \
        (list)->last = (item);                                                                     \
    } while (0)

Expression *ast_literal(Arena *arena, Value literal);
Expression *ast_name(Arena *arena, SourceRange where, const char *name);
Expression *ast_call(Arena *arena, SourceRange where, Name name, ArgumentList arguments);
Expression *ast_list(Arena *arena, ExpressionKind kind, SourceRange where, ExpressionList items);
/* `left` is NULL for a unary operator. */
Expression *ast_operation(Arena *arena, Operator operation, SourceRange where, Expression *left,
                          Expression *right);

/* A unit with the given children; the caller fills in what else its kind has. */
Unit *ast_unit(Arena *arena, UnitKind kind, SourceRange where, UnitList children);
/* A unit that stands on one other one: REPEAT, FOR, OPTIONAL, LABEL. */
Unit *ast_postfix(Arena *arena, UnitKind kind, SourceRange where, Unit *child);
Statement *ast_statement(Arena *arena, StatementKind kind, SourceRange where);

#endif
