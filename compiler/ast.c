#include "ast.h"

static int larger(int a, int b) {
    return a > b ? a : b;
}

static Expression *new_expression(Arena *arena, ExpressionKind kind, SourceRange where) {
    Expression *expression = ARENA_NEW(arena, Expression);
    expression->kind = kind;
    expression->where = where;
    expression->depth = 1;
    return expression;
}

Expression *ast_literal(Arena *arena, Value literal) {
    Expression *expression = new_expression(arena, EXPRESSION_LITERAL, literal.where);
    expression->literal = literal;
    return expression;
}

Expression *ast_name(Arena *arena, SourceRange where, const char *name) {
    Expression *expression = new_expression(arena, EXPRESSION_NAME, where);
    expression->name = name;
    expression->name_where = where;
    return expression;
}

Expression *ast_call(Arena *arena, SourceRange where, Name name, ArgumentList arguments) {
    Expression *expression = new_expression(arena, EXPRESSION_CALL, where);
    expression->name = name.text;
    expression->name_where = name.where;
    expression->arguments = arguments;
    for (const Argument *argument = arguments.first; argument != NULL; argument = argument->next) {
        expression->depth = larger(expression->depth, argument->value->depth + 1);
    }
    return expression;
}

Expression *ast_list(Arena *arena, ExpressionKind kind, SourceRange where, ExpressionList items) {
    Expression *expression = new_expression(arena, kind, where);
    expression->items = items;
    for (const Expression *item = items.first; item != NULL; item = item->next) {
        expression->depth = larger(expression->depth, item->depth + 1);
    }
    return expression;
}

Expression *ast_operation(Arena *arena, Operator operation, SourceRange where, Expression *left,
                          Expression *right) {
    ExpressionKind kind = left == NULL ? EXPRESSION_UNARY : EXPRESSION_BINARY;
    Expression *expression = new_expression(arena, kind, where);
    expression->operation = operation;
    expression->left = left;
    expression->right = right;
    expression->depth = right->depth + 1;
    if (left != NULL) {
        expression->depth = larger(expression->depth, left->depth + 1);
    }
    return expression;
}

Unit *ast_unit(Arena *arena, UnitKind kind, SourceRange where, UnitList children) {
    Unit *unit = ARENA_NEW(arena, Unit);
    unit->kind = kind;
    unit->where = where;
    unit->name_where = where;
    unit->children = children;
    unit->depth = 1;
    for (const Unit *child = children.first; child != NULL; child = child->next) {
        unit->depth = larger(unit->depth, child->depth + 1);
    }
    return unit;
}

Unit *ast_postfix(Arena *arena, UnitKind kind, SourceRange where, Unit *child) {
    return ast_unit(arena, kind, where, (UnitList){.first = child, .last = child, .count = 1});
}

Statement *ast_statement(Arena *arena, StatementKind kind, SourceRange where) {
    Statement *statement = ARENA_NEW(arena, Statement);
    statement->kind = kind;
    statement->where = where;
    statement->name_where = where;
    return statement;
}
