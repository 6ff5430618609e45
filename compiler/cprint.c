#include "cprint.h"
#include "wrap.h"

#include <limits.h>
#include <math.h>
#include <string.h>

/* Operations below which a parallel loop costs more than it gains: waking the threads takes some
 * microseconds, in which one of them does about this much. */
#define PARALLEL_THRESHOLD 40000.0

/* Local arrays of at least as many reals start at a cache line: whole vectors are read from them. */
#define ALIGNED_ARRAY 16

/* C's precedence levels beyond those of the binary operators in operators.def. */
enum { PRECEDENCE_LOWEST, PRECEDENCE_CONDITIONAL = 3, PRECEDENCE_UNARY = 14, PRECEDENCE_POSTFIX };

typedef struct Printer {
    Text *out;
    Text line; /* the line being composed, with its breaks (wrap.h) */
    const KernelUse *use;
    int max_batch;
    int depth; /* of the expression being printed */
    bool wide; /* indices are ptrdiff_t */
} Printer;

static void print_expression(Printer *p, const Expr *expr, int least);

/* ---- Names ---- */

const char *element_type_name(ElementType type) {
    static const char *const names[TYPE_COUNT] = {
        [TYPE_INDEX] = "int",     [TYPE_BOOLEAN] = "bool",       [TYPE_REAL] = "real",
        [TYPE_DOUBLE] = "double", [TYPE_LABEL] = "int32_t",      [TYPE_BYTE] = "unsigned char",
        [TYPE_VECTOR] = "vector",
    };
    return names[type];
}

static const char *type_name(const Printer *p, ElementType type) {
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
    {"real_exp", "exp", NULL},         {"real_log", "log", NULL},
    {"real_log1p", "log1p", NULL},     {"real_sqrt", "sqrt", NULL},
    {"real_tanh", "tanh", NULL},       {"real_erf", "erf", NULL},
    {"real_abs", "fabs", NULL}, {"real_pow", "pow", NULL},
    {"real_max", "double_max", "index_max"}, {"real_min", "double_min", "index_min"},
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

static void print_break(Printer *p) {
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

static void print_special_call(Printer *p, const Expr *expr) {
    if (strcmp(expr->function, CALL_RANDOM_ACTIVE) == 0) {
        text_add(&p->line, "random_layers");
    } else if (strcmp(expr->function, CALL_RANDOM_UNIFORM) == 0) {
        text_add(&p->line, "random_uniform(random_key, random_stream, ");
        p->depth++;
        print_expression(p, expr->argument[0], PRECEDENCE_LOWEST);
        p->depth--;
        text_add_character(&p->line, ')');
    } else if (expr->argument_count == 0) {
        text_add(&p->line, expr->function); /* a constant of the runtime */
    } else {
        print_function(p, expr->function, expr->argument, expr->argument_count);
    }
}

/* An element of a parameter (one offset) or a local array (an index per axis). */
static void print_element(Printer *p, const Buffer *buffer, Expr *const *index, int count) {
    text_add(&p->line, buffer->name);
    p->depth++;
    for (int i = 0; i < count; i++) {
        text_add_character(&p->line, '[');
        print_expression(p, index[i], PRECEDENCE_LOWEST);
        text_add_character(&p->line, ']');
    }
    p->depth--;
}

/* The address of the same. */
static void print_address(Printer *p, const Buffer *buffer, Expr *const *index, int count) {
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
    print_expression(p, index[0], binary_spelling[BINARY_ADD].precedence);
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
    if (expr->operation >= BINARY_LESS && expr->operation <= BINARY_EQUAL)
        return binary_spelling[BINARY_ADD].precedence;
    if (expr->operation == BINARY_OR)
        return binary_spelling[BINARY_AND].precedence + 1;
    bool associative = expr->type == TYPE_INDEX && operand->kind == EXPR_BINARY &&
                       operand->operation == expr->operation &&
                       (expr->operation == BINARY_ADD || expr->operation == BINARY_MULTIPLY);
    bool logical = expr->operation == BINARY_AND && operand->kind == EXPR_BINARY &&
                   operand->operation == BINARY_AND;
    return side == 0 || associative || logical ? precedence : precedence + 1;
}

/* x + -3 is x - 3. */
static bool subtracts_constant(const Expr *expr) {
    return expr->operation == BINARY_ADD && is_negative_constant(expr->argument[1]);
}

static void print_binary(Printer *p, const Expr *expr) {
    const BinarySpelling *spelling = &binary_spelling[expr->operation];
    if (spelling->precedence == 0) {
        print_function(p, function_name(spelling->text, expr->type), expr->argument, 2);
        return;
    }
    const Expr *x = expr->argument[0], *y = expr->argument[1];
    bool product = expr->operation == BINARY_MULTIPLY || expr->operation == BINARY_DIVIDE;
    if (product && is_real_type(expr->type) && prints_as_integer(x) && prints_as_integer(y)) {
        text_format(&p->line, "(%s)", type_name(p, expr->type));
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
        text_add(&p->line, spelling->text);
        text_add_character(&p->line, ' ');
        print_expression(p, y, operand_precedence(expr, 1));
    }
    p->depth--;
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

/* Prints the expression, in parentheses where it binds less tightly than `least`. */
static void print_expression(Printer *p, const Expr *expr, int least) {
    bool parentheses = precedence_of(expr) < least;
    if (parentheses) {
        text_add_character(&p->line, '(');
        p->depth++;
    }
    switch (expr->kind) {
    case EXPR_INTEGER:
        text_format(&p->line, "%lld", (long long)expr->integer);
        break;
    case EXPR_NUMBER:
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
        text_format(&p->line, "(%s)", type_name(p, expr->type));
        print_expression(p, expr->argument[0], PRECEDENCE_UNARY);
        break;
    }
    if (parentheses) {
        p->depth--;
        text_add_character(&p->line, ')');
    }
}

/* ---- Loop hints ---- */

static bool constant_trips(const Stmt *loop, int64_t *trips) {
    if (loop->begin->kind != EXPR_INTEGER || loop->end->kind != EXPR_INTEGER)
        return false;
    *trips = (loop->end->integer - loop->begin->integer + loop->step - 1) / loop->step;
    return true;
}

/* The smallest batch at which the loop is worth several threads. */
static double parallel_batch(const Stmt *loop) {
    if (!loop->parallel_work_per_example)
        return loop->parallel_work >= PARALLEL_THRESHOLD ? 1 : INFINITY;
    return ceil(PARALLEL_THRESHOLD / loop->parallel_work);
}

static bool is_parallel(const Printer *p, const Stmt *loop) {
    return loop->parallel && parallel_batch(loop) <= p->max_batch;
}

/* The line above a loop; false if it needs none. */
static bool print_hint(Printer *p, const Stmt *loop) {
    int64_t trips;
    if (is_parallel(p, loop)) {
        double batch = parallel_batch(loop);
        bool collapse = loop->collapse > 1, always = batch <= 1;
        text_add(&p->line, collapse ? "PARALLEL_FOR_COLLAPSE" : "PARALLEL_FOR");
        if (collapse && always)
            text_format(&p->line, "(%d)", loop->collapse);
        else if (collapse)
            text_format(&p->line, "_IF(%d, batch >= %.0f)", loop->collapse, batch);
        else if (!always)
            text_format(&p->line, "_IF(batch >= %.0f)", batch);
    } else if (loop->simd && loop->simd_sum != NULL) {
        text_format(&p->line, "SIMD_SUM(%s)", loop->simd_sum->name);
    } else if (loop->simd) {
        text_add(&p->line, "SIMD");
    } else if (loop->unroll && constant_trips(loop, &trips) && trips > 1) {
        text_format(&p->line, "UNROLL(%lld)", (long long)trips);
    }
    return p->line.length > 0;
}

/* ---- Statements ---- */

static void print_block(Printer *p, const Block *block, int indent);

static void end_line(Printer *p, int indent, int deeper) {
    wrap_line(p->out, indent, deeper, p->line.bytes);
    text_clear(&p->line);
    p->depth = 0;
}

/* A body of one plain statement stands without braces, as do the ifs and loops around it. */
static bool needs_braces(Printer *p, const Block *block) {
    const Stmt *only = NULL;
    for (const Stmt *stmt = block->first; stmt != NULL; stmt = stmt->next) {
        if (!statement_has_effect(p->use, stmt) && stmt->kind != STMT_COMMENT)
            continue;
        if (only != NULL || stmt->kind == STMT_COMMENT)
            return true;
        only = stmt;
    }
    if (only == NULL || only->kind == STMT_DECLARE || only->kind == STMT_ARRAY ||
        only->otherwise.first != NULL)
        return true;
    bool hint = only->kind == STMT_FOR && print_hint(p, only);
    text_clear(&p->line);
    return hint;
}

static void print_for(Printer *p, const Stmt *loop, int indent) {
    if (print_hint(p, loop))
        end_line(p, indent, INDENT_WIDTH);
    const char *name = loop->variable->name;
    bool braces = needs_braces(p, &loop->body);
    text_format(&p->line, "for (%s %s = ", type_name(p, TYPE_INDEX), name);
    print_expression(p, loop->begin, PRECEDENCE_LOWEST);
    text_add_character(&p->line, ';');
    print_break(p);
    text_format(&p->line, "%s < ", name);
    print_expression(p, loop->end, binary_spelling[BINARY_ADD].precedence);
    text_add_character(&p->line, ';');
    print_break(p);
    if (loop->step == 1)
        text_format(&p->line, "%s++)", name);
    else
        text_format(&p->line, "%s += %lld)", name, (long long)loop->step);
    text_add(&p->line, braces ? " {" : "");
    end_line(p, indent, 2 * INDENT_WIDTH);
    print_block(p, &loop->body, indent + INDENT_WIDTH);
    if (braces)
        wrap_line(p->out, indent, 0, "}");
}

static void print_if(Printer *p, const Stmt *stmt, int indent) {
    bool otherwise = stmt->otherwise.first != NULL;
    bool braces = otherwise || needs_braces(p, &stmt->body);
    text_add(&p->line, "if (");
    print_expression(p, stmt->value, PRECEDENCE_LOWEST);
    text_add(&p->line, braces ? ") {" : ")");
    end_line(p, indent, 2 * INDENT_WIDTH);
    print_block(p, &stmt->body, indent + INDENT_WIDTH);
    if (otherwise) {
        wrap_line(p->out, indent, 0, "} else {");
        print_block(p, &stmt->otherwise, indent + INDENT_WIDTH);
    }
    if (braces)
        wrap_line(p->out, indent, 0, "}");
}

static void print_value(Printer *p, const Stmt *stmt) {
    text_add(&p->line, stmt->add ? " +=" : " =");
    print_break(p);
    p->depth++;
    print_expression(p, stmt->value, PRECEDENCE_LOWEST);
    text_add_character(&p->line, ';');
}

static void print_store(Printer *p, const Stmt *stmt) {
    if (stmt->value->type != TYPE_VECTOR || stmt->buffer->type == TYPE_VECTOR) {
        print_element(p, stmt->buffer, stmt->index, stmt->index_count);
        print_value(p, stmt);
        return;
    }
    text_add(&p->line, "VECTOR_STORE(");
    print_address(p, stmt->buffer, stmt->index, stmt->index_count);
    text_add_character(&p->line, ',');
    print_break(p);
    if (stmt->add) {
        text_add(&p->line, "VECTOR_LOAD(");
        print_address(p, stmt->buffer, stmt->index, stmt->index_count);
        text_add(&p->line, ") + ");
    }
    p->depth++;
    print_expression(p, stmt->value,
                     stmt->add ? binary_spelling[BINARY_ADD].precedence + 1 : PRECEDENCE_LOWEST);
    text_add(&p->line, ");");
}

static void print_declaration(Printer *p, const Stmt *stmt) {
    bool constant = stmt->value != NULL && !stmt->variable->assigned;
    text_format(&p->line, "%s%s %s", constant ? "const " : "",
                type_name(p, stmt->variable->type), stmt->variable->name);
    if (stmt->value != NULL)
        print_value(p, stmt);
    else
        text_add_character(&p->line, ';');
}

static void print_array(Printer *p, const Buffer *buffer) {
    int64_t elements = 1;
    for (int i = 0; i < buffer->local_rank; i++)
        elements *= buffer->local_extent[i];
    bool aligned = buffer->type == TYPE_REAL && elements >= ALIGNED_ARRAY;
    text_format(&p->line, "%s%s %s", aligned ? "ALIGNED(64) " : "", type_name(p, buffer->type),
                buffer->name);
    for (int i = 0; i < buffer->local_rank; i++)
        text_format(&p->line, "[%lld]", (long long)buffer->local_extent[i]);
    text_add_character(&p->line, ';');
}

static void print_simple(Printer *p, const Stmt *stmt) {
    switch (stmt->kind) {
    case STMT_STORE:
        print_store(p, stmt);
        break;
    case STMT_DECLARE:
        print_declaration(p, stmt);
        break;
    case STMT_ARRAY:
        print_array(p, stmt->buffer);
        break;
    case STMT_ASSIGN:
        text_add(&p->line, stmt->variable->name);
        print_value(p, stmt);
        break;
    case STMT_CALL:
        print_expression(p, stmt->value, PRECEDENCE_LOWEST);
        text_add_character(&p->line, ';');
        break;
    case STMT_FOR:
    case STMT_IF:
    case STMT_COMMENT:
        break;
    }
}

static void print_block(Printer *p, const Block *block, int indent) {
    for (const Stmt *stmt = block->first; stmt != NULL; stmt = stmt->next) {
        if (stmt->kind == STMT_COMMENT) {
            wrap_comment(p->out, indent, stmt->comment);
        } else if (!statement_has_effect(p->use, stmt)) {
            continue;
        } else if (stmt->kind == STMT_FOR) {
            print_for(p, stmt, indent);
        } else if (stmt->kind == STMT_IF) {
            print_if(p, stmt, indent);
        } else {
            print_simple(p, stmt);
            end_line(p, indent, INDENT_WIDTH);
        }
    }
}

/* ---- Functions ---- */

static bool exceeds_int(const Buffer *buffer, int max_batch) {
    int64_t elements = buffer->scratch ? buffer->scratch_size : buffer->tensor->elements;
    return elements > INT_MAX / (buffer->per_example ? max_batch : 1);
}

static Printer make_printer(Text *out, const KernelUse *use, int max_batch) {
    Printer printer = {.out = out, .use = use, .max_batch = max_batch};
    text_init(&printer.line, out->arena);
    for (int i = 0; i < use->argument_count; i++)
        printer.wide = printer.wide || exceeds_int(use->arguments[i], max_batch);
    return printer;
}

static void print_parameters(Printer *p) {
    const KernelUse *use = p->use;
    const char *separator = "";
    const struct {
        bool used;
        const char *type, *name;
    } extra[] = {
        {use->batch, type_name(p, TYPE_INDEX), "batch"},
        {use->random_key, "uint64_t", "random_key"},
        {use->random_stream, "uint32_t", "random_stream"},
        {use->random_layers, "int", "random_layers"},
    };
    text_add_character(&p->line, '(');
    for (size_t i = 0; i < sizeof extra / sizeof extra[0]; i++) {
        if (!extra[i].used)
            continue;
        text_format(&p->line, "%s%s %s", separator, extra[i].type, extra[i].name);
        separator = ",\001";
    }
    for (int i = 0; i < use->argument_count; i++) {
        const Buffer *buffer = use->arguments[i];
        text_format(&p->line, "%s%s%s *RESTRICT %s", separator, buffer->written ? "" : "const ",
                    type_name(p, buffer->type), buffer->name);
        separator = ",\001";
    }
    text_add(&p->line, *separator == '\0' ? "void)" : ")");
}

void print_kernel_parameters(Text *out, const KernelUse *use, int max_batch) {
    Printer printer = make_printer(out, use, max_batch);
    print_parameters(&printer);
    text_add(out, printer.line.bytes);
}

void print_kernel_body(Text *out, const Kernel *kernel, const KernelUse *use, int max_batch,
                       int indent) {
    Printer printer = make_printer(out, use, max_batch);
    print_block(&printer, &kernel->body, indent);
}

void print_call(Text *out, int indent, const char *first, const char *const *arguments, int count,
                const char *last) {
    Text line;
    text_init(&line, out->arena);
    text_add(&line, first);
    for (int i = 0; i < count; i++) {
        text_add(&line, i > 0 ? ",\001" : "");
        text_add(&line, arguments[i]);
    }
    text_add(&line, last);
    wrap_line(out, indent, INDENT_WIDTH, line.bytes);
}
