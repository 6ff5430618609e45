#include "cprint_internal.h"

#include <limits.h>
#include <math.h>
#include <string.h>

/* ---- Names ---- */

const char *element_type_name(ElementType type) {
    static const char *const names[TYPE_COUNT] = {
        [TYPE_INDEX] = "int",     [TYPE_BOOLEAN] = "bool",  [TYPE_REAL] = "real",
        [TYPE_DOUBLE] = "double", [TYPE_LABEL] = "int32_t", [TYPE_BYTE] = "unsigned char",
        [TYPE_VECTOR] = "vector",
    };
    return names[type];
}

const char *printer_type_name(const Printer *p, ElementType type) {
    return type == TYPE_INDEX && p->wide ? "ptrdiff_t" : element_type_name(type);
}

static const char *const unary_spelling[] = {
#define UNARY(identifier, spelling) spelling,
#define BINARY(identifier, spelling, precedence)
#include "operators.def"
#undef UNARY
#undef BINARY
};

typedef struct BinarySpelling {
    const char *text;
    int precedence; /* 0: a function */
} BinarySpelling;

static const BinarySpelling binary_spelling[] = {
#define UNARY(identifier, spelling)
#define BINARY(identifier, spelling, precedence) {spelling, precedence},
#include "operators.def"
#undef UNARY
#undef BINARY
};

/* The runtime has each function for reals; what they are called for the other types. */
typedef struct FunctionName {
    const char *real_name, *double_name, *index_name;
} FunctionName;

static const FunctionName function_names[] = {
    {"real_exp", "exp", NULL},
    {"real_log", "log", NULL},
    {"real_log1p", "log1p", NULL},
    {"real_sqrt", "sqrt", NULL},
    {"real_tanh", "tanh", NULL},
    {"real_erf", "erf", NULL},
    {"real_abs", "fabs", NULL},
    {"real_pow", "pow", NULL},
    {"real_max", "double_max", "index_max"},
    {"real_min", "double_min", "index_min"},
};

static const char *function_name(const char *name, ElementType type) {
    for (size_t i = 0; i < sizeof function_names / sizeof function_names[0]; i++) {
        const FunctionName *entry = &function_names[i];
        if (strcmp(entry->real_name, name) != 0)
            continue;
        if (type == TYPE_DOUBLE)
            return entry->double_name;
        if (type == TYPE_INDEX && entry->index_name != NULL)
            return entry->index_name;
    }
    return name;
}

/* ---- Numbers ---- */

/* Whole numbers that C converts to any real type exactly are printed without a type. */
static bool is_plain_number(double value) {
    return value == floor(value) && fabs(value) <= 1 << 24 && !(value == 0 && signbit(value));
}

/* True where C would compute the expression with integers although its type is real. */
static bool prints_as_integer(const Expr *expr) {
    switch (expr->kind) {
    case EXPR_NUMBER:
        return is_plain_number(expr->number);
    case EXPR_SELECT:
        return prints_as_integer(expr->argument[1]) && prints_as_integer(expr->argument[2]);
    case EXPR_UNARY:
        return expr->operation == UNARY_NEGATE && prints_as_integer(expr->argument[0]);
    case EXPR_BINARY:
        return binary_spelling[expr->operation].precedence != 0 &&
               prints_as_integer(expr->argument[0]) && prints_as_integer(expr->argument[1]);
    default:
        return expr->type == TYPE_INDEX || expr->type == TYPE_BOOLEAN;
    }
}

static bool is_real_type(ElementType type) {
    return type == TYPE_REAL || type == TYPE_DOUBLE;
}

static void print_number(Printer *p, double value, ElementType type) {
    if (is_plain_number(value)) {
        text_format(&p->line, "%.0f", value);
        return;
    }
    if (type != TYPE_DOUBLE && isfinite(value))
        text_add(&p->line, "(real)");
    text_add_double(&p->line, value);
}

/* Prints a number that may be a size; behind `cast` if a name stands for it. */
static void print_size(Printer *p, int64_t value, const char *cast) {
    KernelSizes *sizes = p->sizes;
    if (sizes == NULL || p->fixed > 0 || value < 0 || value > INT_MAX) {
        text_format(&p->line, "%lld", (long long)value);
        return;
    }
    int number = p->sizes_printed++;
    if (sizes->names == NULL) {
        ARENA_GROW(p->line.arena, sizes->values, sizes->count, sizes->capacity);
        sizes->values[sizes->count++] = value;
        text_add_character(&p->line, SIZE_PLACEHOLDER);
    } else if (sizes->names[number] != NULL) {
        text_format(&p->line, "%s%s", cast, sizes->names[number]);
    } else {
        text_format(&p->line, "%lld", (long long)value);
    }
}

/* ---- Expressions ---- */

static bool is_negative_constant(const Expr *expr) {
    return (expr->kind == EXPR_INTEGER && expr->integer < 0) ||
           (expr->kind == EXPR_NUMBER && expr->number < 0);
}

static int precedence_of(const Expr *expr) {
    switch (expr->kind) {
    case EXPR_INTEGER:
        return expr->integer < 0 ? PRECEDENCE_UNARY : PRECEDENCE_POSTFIX;
    case EXPR_NUMBER:
        return expr->number >= 0 && is_plain_number(expr->number) ? PRECEDENCE_POSTFIX
                                                                  : PRECEDENCE_UNARY;
    case EXPR_UNARY: {
        const char *spelling = unary_spelling[expr->operation];
        return strlen(spelling) == 1 ? PRECEDENCE_UNARY : PRECEDENCE_POSTFIX;
    }
    case EXPR_BINARY: {
        int precedence = binary_spelling[expr->operation].precedence;
        return precedence != 0 ? precedence : PRECEDENCE_POSTFIX;
    }
    case EXPR_SELECT:
        return PRECEDENCE_CONDITIONAL;
    case EXPR_CONVERT:
        return PRECEDENCE_UNARY;
    default:
        return PRECEDENCE_POSTFIX;
    }
}

void print_break(Printer *p) {
    int depth = WRAP_OUTERMOST + p->depth;
    text_add_character(&p->line, (char)(depth < WRAP_INNERMOST ? depth : WRAP_INNERMOST));
}

/* name(argument, ...) */
static void print_function(Printer *p, const char *name, Expr *const *arguments, int count) {
    text_add(&p->line, name);
    text_add_character(&p->line, '(');
    p->depth++;
    for (int i = 0; i < count; i++) {
        if (i > 0) {
            text_add_character(&p->line, ',');
            print_break(p);
        }
        print_expression(p, arguments[i], PRECEDENCE_LOWEST);
    }
    p->depth--;
    text_add_character(&p->line, ')');
}

/* name(address, number, ...) */
static void print_subroutine_call(Printer *p, const Expr *expr) {
    text_format(&p->line, "%s(", expr->function);
    p->depth++;
    for (int i = 0; i < expr->argument_count; i++) {
        const Expr *argument = expr->argument[i];
        if (i > 0) {
            text_add_character(&p->line, ',');
            print_break(p);
        }
        if (argument->kind == EXPR_LOAD)
            print_address(p, argument->buffer, argument->argument, argument->argument_count);
        else
            print_expression(p, argument, PRECEDENCE_LOWEST);
    }
    p->depth--;
    text_add_character(&p->line, ')');
}

static void print_special_call(Printer *p, const Expr *expr) {
    if (strcmp(expr->function, CALL_RANDOM_ACTIVE) == 0) {
        text_add(&p->line, "random_layers");
    } else if (strcmp(expr->function, CALL_RANDOM_UNIFORM) == 0) {
        text_add(&p->line, "random_uniform(random_key, random_stream, ");
        p->depth++;
        print_expression(p, expr->argument[0], PRECEDENCE_LOWEST);
        p->depth--;
        text_add_character(&p->line, ')');
    } else if (strcmp(expr->function, CALL_UPDATE) == 0) {
        text_format(&p->line, "optimizer_update(network, %s, %s, ", expr->argument[0]->buffer->name,
                    expr->argument[1]->buffer->name);
        print_size(p, expr->argument[2]->integer, "(size_t)");
        text_add_character(&p->line, ')');
    } else if (expr->subroutine != NULL) {
        print_subroutine_call(p, expr);
    } else if (expr->argument_count == 0) {
        text_add(&p->line, expr->function); /* a constant of the runtime */
    } else {
        bool rows = strcmp(expr->function, "VECTOR_SET") == 0;
        p->fixed += rows;
        print_function(p, expr->function, expr->argument, expr->argument_count);
        p->fixed -= rows;
    }
}

void print_element(Printer *p, const Buffer *buffer, Expr *const *index, int count) {
    text_add(&p->line, buffer->name);
    p->depth++;
    p->fixed += buffer->local_rank > 0;
    for (int i = 0; i < count; i++) {
        text_add_character(&p->line, '[');
        print_expression(p, index[i], PRECEDENCE_LOWEST);
        text_add_character(&p->line, ']');
    }
    p->fixed -= buffer->local_rank > 0;
    p->depth--;
}

void print_address(Printer *p, const Buffer *buffer, Expr *const *index, int count) {
    if (buffer->local_rank > 0) {
        text_add_character(&p->line, '&');
        print_element(p, buffer, index, count);
        return;
    }
    text_add(&p->line, buffer->name);
    if (index[0]->kind == EXPR_INTEGER && index[0]->integer == 0)
        return;
    p->depth++;
    print_break(p);
    p->depth--;
    text_add(&p->line, "+ ");
    print_expression(p, index[0], PRECEDENCE_SUM);
}

static void print_load(Printer *p, const Expr *expr) {
    if (expr->type == TYPE_VECTOR && expr->buffer->type != TYPE_VECTOR) {
        text_add(&p->line, "VECTOR_LOAD(");
        print_address(p, expr->buffer, expr->argument, expr->argument_count);
        text_add_character(&p->line, ')');
    } else {
        print_element(p, expr->buffer, expr->argument, expr->argument_count);
    }
}

static void print_unary(Printer *p, const Expr *expr) {
    const char *spelling = unary_spelling[expr->operation];
    if (strlen(spelling) > 1) {
        print_function(p, function_name(spelling, expr->type), expr->argument, 1);
        return;
    }
    text_add(&p->line, spelling);
    bool twice = expr->argument[0]->kind == EXPR_UNARY || is_negative_constant(expr->argument[0]);
    print_expression(p, expr->argument[0], PRECEDENCE_UNARY + twice);
}

/* The precedence that an operand must have to stand without parentheses. Exact integer sums and
 * products need none on the right; compilers ask for them where && meets || or comparisons meet. */
static int operand_precedence(const Expr *expr, int side) {
    int precedence = binary_spelling[expr->operation].precedence;
    const Expr *operand = expr->argument[side];
    if (expr->operation >= BINARY_LESS && expr->operation <= BINARY_NOT_EQUAL)
        return PRECEDENCE_SUM;
    if (expr->operation == BINARY_OR)
        return binary_spelling[BINARY_AND].precedence + 1;
    bool sum = expr->operation == BINARY_ADD && operand->operation <= BINARY_SUBTRACT;
    bool product = expr->operation == BINARY_MULTIPLY && operand->operation == BINARY_MULTIPLY;
    bool associative = expr->type == TYPE_INDEX && operand->kind == EXPR_BINARY && (sum || product);
    bool logical = expr->operation == BINARY_AND && operand->kind == EXPR_BINARY &&
                   operand->operation == BINARY_AND;
    return side == 0 || associative || logical ? precedence : precedence + 1;
}

/* x + -3 is x - 3. */
static bool subtracts_constant(const Expr *expr) {
    return expr->operation == BINARY_ADD && is_negative_constant(expr->argument[1]);
}

static bool mentions_rows(const Printer *p, const Expr *expr) {
    for (const Rows *rows = p->rows; rows != NULL; rows = rows->outer)
        if (expr->kind == EXPR_VARIABLE && expr->variable == rows->index)
            return true;
    for (int i = 0; i < expr->argument_count; i++)
        if (mentions_rows(p, expr->argument[i]))
            return true;
    return false;
}

/* Divisions by constants are multiplications. */
static bool has_fixed_numbers(const Printer *p, const Expr *expr) {
    if (expr->type != TYPE_INDEX)
        return false;
    return expr->operation == BINARY_DIVIDE || expr->operation == BINARY_REMAINDER ||
           (expr->operation == BINARY_MULTIPLY && mentions_rows(p, expr));
}

static void print_infix(Printer *p, const Expr *expr) {
    const Expr *x = expr->argument[0], *y = expr->argument[1];
    bool product = expr->operation == BINARY_MULTIPLY || expr->operation == BINARY_DIVIDE;
    if (product && is_real_type(expr->type) && prints_as_integer(x) && prints_as_integer(y)) {
        text_format(&p->line, "(%s)", printer_type_name(p, expr->type));
        print_expression(p, x, PRECEDENCE_UNARY);
    } else {
        print_expression(p, x, operand_precedence(expr, 0));
    }
    p->depth++;
    print_break(p);
    if (subtracts_constant(expr)) {
        text_add(&p->line, "- ");
        Expr positive = *y;
        positive.integer = -y->integer;
        positive.number = -y->number;
        print_expression(p, &positive, operand_precedence(expr, 1));
    } else {
        text_add(&p->line, binary_spelling[expr->operation].text);
        text_add_character(&p->line, ' ');
        print_expression(p, y, operand_precedence(expr, 1));
    }
    p->depth--;
}

static void print_binary(Printer *p, const Expr *expr) {
    const BinarySpelling *spelling = &binary_spelling[expr->operation];
    if (spelling->precedence == 0) {
        print_function(p, function_name(spelling->text, expr->type), expr->argument, 2);
        return;
    }
    bool fixed = p->sizes != NULL && has_fixed_numbers(p, expr);
    p->fixed += fixed;
    print_infix(p, expr);
    p->fixed -= fixed;
}

static void print_select(Printer *p, const Expr *expr) {
    print_expression(p, expr->argument[0], PRECEDENCE_CONDITIONAL + 1);
    print_break(p);
    text_add(&p->line, "? ");
    p->depth++;
    print_expression(p, expr->argument[1], PRECEDENCE_CONDITIONAL + 1);
    p->depth--;
    print_break(p);
    text_add(&p->line, ": ");
    print_expression(p, expr->argument[2], PRECEDENCE_CONDITIONAL);
}

void print_expression(Printer *p, const Expr *expr, int least) {
    bool parentheses = precedence_of(expr) < least;
    if (parentheses) {
        text_add_character(&p->line, '(');
        p->depth++;
    }
    switch (expr->kind) {
    case EXPR_INTEGER:
        print_size(p, expr->integer, "");
        break;
    case EXPR_NUMBER:
        if (expr->type == TYPE_DOUBLE && is_plain_number(expr->number))
            print_size(p, (int64_t)expr->number, "");
        else
            print_number(p, expr->number, expr->type);
        break;
    case EXPR_VARIABLE:
        text_add(&p->line, expr->variable->name);
        break;
    case EXPR_LOAD:
        print_load(p, expr);
        break;
    case EXPR_UNARY:
        print_unary(p, expr);
        break;
    case EXPR_BINARY:
        print_binary(p, expr);
        break;
    case EXPR_SELECT:
        print_select(p, expr);
        break;
    case EXPR_CALL:
        print_special_call(p, expr);
        break;
    case EXPR_CONVERT:
        text_format(&p->line, "(%s)", printer_type_name(p, expr->type));
        print_expression(p, expr->argument[0], PRECEDENCE_UNARY);
        break;
    }
    if (parentheses) {
        p->depth--;
        text_add_character(&p->line, ')');
    }
}

void print_fixed(Printer *p, const Expr *expr, int least) {
    p->fixed++;
    print_expression(p, expr, least);
    p->fixed--;
}
