/* What the printers of statements (cprint.c) and expressions (cprint_expression.c) share. */
#ifndef CNNC_CPRINT_INTERNAL_H
#define CNNC_CPRINT_INTERNAL_H

#include "cprint.h"
#include "wrap.h"

/* C's precedence levels beyond those of the binary operators in operators.def. */
enum {
    PRECEDENCE_LOWEST,
    PRECEDENCE_CONDITIONAL = 3,
    PRECEDENCE_SUM = 12,
    PRECEDENCE_UNARY = 14,
    PRECEDENCE_POSTFIX
};

/* The index of an unrolled loop of many rounds around what is being printed. */
typedef struct Rows {
    const Variable *index;
    const struct Rows *outer;
} Rows;

typedef struct Printer {
    Text *out;
    Text line; /* the line being composed, with its breaks (wrap.h) */
    const KernelUse *use;
    int max_batch;
    int depth; /* of the expression being printed */
    bool wide; /* indices are ptrdiff_t */
    KernelSizes *sizes;
    int sizes_printed;
    int fixed;        /* > 0: numbers are not sizes here */
    const Rows *rows; /* a register for each: with distances that are not constant they would need
                         as many index registers */
} Printer;

const char *printer_type_name(const Printer *p, ElementType type);
/* A blank at which the line may be broken. */
void print_break(Printer *p);
/* Prints the expression, in parentheses where it binds less tightly than `least`. */
void print_expression(Printer *p, const Expr *expr, int least);
/* The same where the C compiler shall know all numbers. */
void print_fixed(Printer *p, const Expr *expr, int least);
/* An element of a parameter (one offset) or of a local array (an index per axis), and its address.
 */
void print_element(Printer *p, const Buffer *buffer, Expr *const *index, int count);
void print_address(Printer *p, const Buffer *buffer, Expr *const *index, int count);

#endif
