/* Messages for syntax errors: what was found, what could stand there, and what a user most likely
 * meant. The grammar only says which tokens it would have taken. */
#ifndef CNNC_SYNTAX_ERROR_H
#define CNNC_SYNTAX_ERROR_H

#include "parser.h"

/* Reports the unexpected token parser->token at `where`, unless the scanner has reported it; `name`
 * is what to call it. `expected` tells for each token code of parse.h whether it could stand there;
 * `choices` is "'a', 'b' or 'c'", or empty where these would be too many to help. */
void report_syntax_error(Parser *parser, SourceRange where, const char *name, const bool *expected,
                         const char *choices);

#endif
