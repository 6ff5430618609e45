/* Lines of C no wider than 100 columns. */
#ifndef CNNC_WRAP_H
#define CNNC_WRAP_H

#include "text.h"

#define LINE_WIDTH 100
#define INDENT_WIDTH 4
#define KERNEL_INDENT 2 /* in the bodies of kernels, which nest deeply */

/* In a line that is being composed these bytes stand for a blank at which the line may be broken;
 * among those that would do, the outermost (lowest) is taken. */
#define WRAP_OUTERMOST 1
#define WRAP_INNERMOST 8

/* Adds the line at an indent with a newline behind it; continued lines are indented by `deeper`. */
void wrap_line(Text *out, int indent, int deeper, const char *line);

/* A comment on lines of its own, wrapped between words; newlines stay. Whatever would end the
 * comment or make a compiler complain about it is taken apart. */
void wrap_comment(Text *out, int indent, const char *string);
/* The same treatment for text inside a comment, line by line as it is, each behind `prefix`. */
void wrap_verbatim(Text *out, const char *prefix, const char *string);
/* Text that is safe inside a comment. */
const char *comment_safe(Arena *arena, const char *string);

#endif
