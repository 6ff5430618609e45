/* Diagnostics: collected while compiling, printed in source order of their discovery as
 *   file:line:col: error: text
 *   <the source line>
 *      ^~~~~
 *   file:line:col: note: text
 *   hint: text
 * At most 20 errors are kept; further ones are counted. The same text at the same place is kept
 * once. */
#ifndef CNNC_DIAGNOSTIC_H
#define CNNC_DIAGNOSTIC_H

#include "source.h"

#include <stdio.h>

typedef struct Diagnostics Diagnostics;
typedef struct Diagnostic Diagnostic;

/* Each warning can be switched with -W<name> and -Wno-<name>: the table is warnings.def. */
typedef enum Warning {
#define WARNING(identifier, name, summary) WARNING_##identifier,
#include "warnings.def"
#undef WARNING
    WARNING_COUNT
} Warning;

typedef enum ColorMode { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER } ColorMode;

Diagnostics *diagnostics_create(Arena *arena, Sources *sources);
Arena *diagnostics_arena(Diagnostics *diagnostics);

/* Never returns NULL: notes and hints can be added to what comes back even past the limit. */
Diagnostic *diagnostic_error(Diagnostics *diagnostics, SourceRange where, const char *format, ...)
    PRINTF_LIKE(3, 4);
Diagnostic *diagnostic_warning(Diagnostics *diagnostics, Warning warning, SourceRange where,
                               const char *format, ...) PRINTF_LIKE(4, 5);
void diagnostic_note(Diagnostic *diagnostic, SourceRange where, const char *format, ...)
    PRINTF_LIKE(3, 4);
void diagnostic_hint(Diagnostic *diagnostic, const char *format, ...) PRINTF_LIKE(2, 3);

/* False for an error past the limit: what is looked up only for its notes and hints can be saved.
 */
bool diagnostic_is_shown(const Diagnostic *diagnostic);

/* Switches; diagnostics_set_warning answers false for an unknown name. "all" names every one. */
bool diagnostics_set_warning(Diagnostics *diagnostics, const char *name, bool enabled);
void diagnostics_warnings_are_errors(Diagnostics *diagnostics);

int diagnostics_error_count(const Diagnostics *diagnostics); /* includes those past the limit */
void diagnostics_print(const Diagnostics *diagnostics, FILE *stream, ColorMode color);

#endif
