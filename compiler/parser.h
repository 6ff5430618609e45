/* From source text to the syntax tree: the scanner (lex.l) and the grammar (parse.y). */
#ifndef CNNC_PARSER_H
#define CNNC_PARSER_H

#include "ast.h"
#include "diagnostic.h"

#define MAXIMUM_NAME 200 /* bytes of a name */

/* State of one parse, shared by scanner and grammar. */
typedef struct Parser {
    Arena *arena;
    Sources *sources;
    Diagnostics *diagnostics;
    const SourceFile *file;
    uint32_t position; /* of the next token */
    int *option_count; /* points `?` so far, in all files */
    StatementList statements;

    /* Brackets that are open where the scanner stands, to name the one that was not closed. */
    struct OpenBracket {
        char character;
        uint32_t position;
    } * brackets;
    int bracket_count, bracket_capacity;
    struct OpenBracket unclosed; /* at the last token; character 0: none */
    bool unopened;               /* the last token closes a bracket that was never opened */
    bool reported;               /* the last token, or what was left out before it, is an error */
    bool skipping;               /* from a syntax error to the next statement */
    bool in_block;               /* the statement is one of settings */
    int token, previous;         /* codes of the last token and of the one before it */
} Parser;

/* Parses a file; errors are reported, and what could be read comes back. `option_count` is the
 * number of `?` points in the files read before and is increased. */
StatementList parse_file(Sources *sources, Diagnostics *diagnostics, const SourceFile *file,
                         int *option_count);

/* Between scanner and grammar: a scanner over the text of parser->file. */
void *scanner_create(Parser *parser);
void scanner_free(void *scanner);

#endif
