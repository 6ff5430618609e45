#include "diagnostic.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAXIMUM_SHOWN 20  /* errors, and as many warnings */
#define MAXIMUM_WIDTH 100 /* characters of a source line that are shown */
#define CONTEXT_BEFORE 40 /* characters kept in front of the place in a line that is cut */

typedef enum Severity { SEVERITY_ERROR, SEVERITY_WARNING, SEVERITY_NOTE, SEVERITY_HINT } Severity;

/* Name and colour (an ANSI escape sequence) of each severity. */
static const struct {
    const char *name, *color;
} severities[] = {
    [SEVERITY_ERROR] = {"error", "\033[1;31m"},
    [SEVERITY_WARNING] = {"warning", "\033[1;35m"},
    [SEVERITY_NOTE] = {"note", "\033[1;36m"},
    [SEVERITY_HINT] = {"hint", "\033[1;32m"},
};

static const struct {
    const char *name, *summary;
} warnings[WARNING_COUNT] = {
#define WARNING(identifier, name, summary) [WARNING_##identifier] = {name, summary},
#include "warnings.def"
#undef WARNING
};

/* An error or warning, or one of the notes and hints behind it. */
struct Diagnostic {
    Diagnostics *owner;
    Severity severity;
    SourceRange where;
    const char *text;
    const char *flag; /* "-Wunused" of a warning, else NULL */
    Diagnostic *first_extra, *last_extra, *next;
};

struct Diagnostics {
    Arena *arena;
    Sources *sources;
    Diagnostic *first, *last;
    int error_count, warning_count; /* all that were reported, repeated ones too */
    int shown_errors, shown_warnings;
    int repeated_errors, repeated_warnings; /* shown once, not each time */
    bool disabled[WARNING_COUNT];
    bool warnings_are_errors;
    Diagnostic discarded; /* stands for all that are not shown: it keeps nothing */
};

Diagnostics *diagnostics_create(Arena *arena, Sources *sources) {
    Diagnostics *diagnostics = ARENA_NEW(arena, Diagnostics);
    diagnostics->arena = arena;
    diagnostics->sources = sources;
    diagnostics->discarded.owner = diagnostics;
    return diagnostics;
}

Arena *diagnostics_arena(Diagnostics *diagnostics) {
    return diagnostics->arena;
}

static Diagnostic *new_diagnostic(Diagnostics *owner, Severity severity, SourceRange where,
                                  const char *format, va_list arguments) {
    Diagnostic *diagnostic = ARENA_NEW(owner->arena, Diagnostic);
    diagnostic->owner = owner;
    diagnostic->severity = severity;
    diagnostic->where = where;
    diagnostic->text = arena_format_list(owner->arena, format, arguments);
    return diagnostic;
}

static void append(Diagnostics *diagnostics, Diagnostic *diagnostic) {
    if (diagnostics->last != NULL) {
        diagnostics->last->next = diagnostic;
    } else {
        diagnostics->first = diagnostic;
    }
    diagnostics->last = diagnostic;
}

static bool is_repeated(const Diagnostics *diagnostics, const Diagnostic *diagnostic) {
    for (const Diagnostic *one = diagnostics->first; one != NULL; one = one->next) {
        if (one->severity == diagnostic->severity && one->where.begin == diagnostic->where.begin &&
            one->where.end == diagnostic->where.end && strcmp(one->text, diagnostic->text) == 0) {
            return true;
        }
    }
    return false;
}

/* Counts an error or warning and keeps it, unless there are enough or it is there already: a part
 * of the description that is expanded many times is wrong once. */
static Diagnostic *report(Diagnostics *diagnostics, Severity severity, SourceRange where,
                          const char *format, va_list arguments) {
    bool is_error = severity == SEVERITY_ERROR;
    int *count = is_error ? &diagnostics->error_count : &diagnostics->warning_count;
    int *shown = is_error ? &diagnostics->shown_errors : &diagnostics->shown_warnings;
    int *repeated = is_error ? &diagnostics->repeated_errors : &diagnostics->repeated_warnings;
    if (*count == INT32_MAX) {
        return &diagnostics->discarded;
    }
    ++*count;
    if (*shown == MAXIMUM_SHOWN) {
        return &diagnostics->discarded;
    }
    Diagnostic *diagnostic = new_diagnostic(diagnostics, severity, where, format, arguments);
    if (is_repeated(diagnostics, diagnostic)) {
        ++*repeated;
        return &diagnostics->discarded;
    }
    ++*shown;
    append(diagnostics, diagnostic);
    return diagnostic;
}

Diagnostic *diagnostic_error(Diagnostics *diagnostics, SourceRange where, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    Diagnostic *error = report(diagnostics, SEVERITY_ERROR, where, format, arguments);
    va_end(arguments);
    return error;
}

Diagnostic *diagnostic_warning(Diagnostics *diagnostics, Warning warning, SourceRange where,
                               const char *format, ...) {
    if (diagnostics->disabled[warning]) {
        return &diagnostics->discarded;
    }
    bool is_error = diagnostics->warnings_are_errors;
    va_list arguments;
    va_start(arguments, format);
    Diagnostic *diagnostic =
        report(diagnostics, is_error ? SEVERITY_ERROR : SEVERITY_WARNING, where, format, arguments);
    va_end(arguments);
    if (diagnostic_is_shown(diagnostic)) {
        diagnostic->flag = arena_format(diagnostics->arena, "-W%s%s", is_error ? "error=" : "",
                                        warnings[warning].name);
    }
    return diagnostic;
}

static void add_extra(Diagnostic *diagnostic, Severity severity, SourceRange where,
                      const char *format, va_list arguments) {
    if (!diagnostic_is_shown(diagnostic)) {
        return;
    }
    Diagnostic *extra = new_diagnostic(diagnostic->owner, severity, where, format, arguments);
    if (diagnostic->last_extra != NULL) {
        diagnostic->last_extra->next = extra;
    } else {
        diagnostic->first_extra = extra;
    }
    diagnostic->last_extra = extra;
}

void diagnostic_note(Diagnostic *diagnostic, SourceRange where, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    add_extra(diagnostic, SEVERITY_NOTE, where, format, arguments);
    va_end(arguments);
}

void diagnostic_hint(Diagnostic *diagnostic, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    add_extra(diagnostic, SEVERITY_HINT, (SourceRange){0, 0}, format, arguments);
    va_end(arguments);
}

bool diagnostic_is_shown(const Diagnostic *diagnostic) {
    return diagnostic != &diagnostic->owner->discarded;
}

bool diagnostics_set_warning(Diagnostics *diagnostics, const char *name, bool enabled) {
    bool found = false;
    for (int i = 0; i < WARNING_COUNT; i++) {
        if (strcmp(name, "all") == 0 || strcmp(name, warnings[i].name) == 0) {
            diagnostics->disabled[i] = !enabled;
            found = true;
        }
    }
    return found;
}

void diagnostics_warnings_are_errors(Diagnostics *diagnostics) {
    diagnostics->warnings_are_errors = true;
}

int diagnostics_error_count(const Diagnostics *diagnostics) {
    return diagnostics->error_count;
}

/* The length in bytes of the character at `text`; a byte that starts none is a character. Lines end
 * before a zero byte or newline, so that looking ahead stays inside. */
static int character_bytes(const char *text) {
    unsigned char first = (unsigned char)text[0];
    int wanted = first < 0xC2 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 1;
    for (int i = 1; i < wanted; i++) {
        if (((unsigned char)text[i] & 0xC0) != 0x80) {
            return 1;
        }
    }
    return wanted;
}

/* Writes one character of a source line; what a terminal could misread becomes a question mark. */
static void print_character(FILE *stream, const char *text, int bytes) {
    unsigned char first = (unsigned char)text[0];
    bool plain = bytes == 1 && first < 0x7F && (first >= ' ' || first == '\t');
    /* U+0080..U+009F are control characters too. */
    bool control = bytes == 2 && first == 0xC2 && (unsigned char)text[1] < 0xA0;
    if (plain || (bytes > 1 && !control)) {
        fwrite(text, 1, (size_t)bytes, stream);
    } else {
        fputc('?', stream);
    }
}

/* The part of a line that is shown: bytes [begin, end), whole characters. */
typedef struct Window {
    int begin, end;
} Window;

static Window visible_part(const SourcePlace *place) {
    Window window = {0, 0};
    int column = 1, start = 1;
    if (place->column > MAXIMUM_WIDTH - CONTEXT_BEFORE / 2) {
        start = place->column - CONTEXT_BEFORE;
    }
    for (int i = 0; i < place->line_length; column++) {
        int bytes = character_bytes(place->line_text + i);
        if (column < start) {
            window.begin = i + bytes;
        }
        if (column < start + MAXIMUM_WIDTH) {
            window.end = i + bytes;
        }
        i += bytes;
    }
    return window;
}

/* The source line and the caret below it. */
static void print_line(FILE *stream, const SourcePlace *place, uint32_t range_length,
                       const char *color) {
    Window window = visible_part(place);
    const char *text = place->line_text;
    const char *before = window.begin > 0 ? "..." : "";
    fputs(before, stream);
    for (int i = window.begin; i < window.end;) {
        int bytes = character_bytes(text + i);
        print_character(stream, text + i, bytes);
        i += bytes;
    }
    fputs(window.end < place->line_length ? "...\n" : "\n", stream);
    fprintf(stream, "%*s", (int)strlen(before), "");
    for (int i = window.begin; i < place->byte_in_line && i < window.end;) {
        fputc(text[i] == '\t' ? '\t' : ' ', stream);
        i += character_bytes(text + i);
    }
    fprintf(stream, "%s^", color);
    int end = window.end;
    if (range_length < (uint32_t)(end > place->byte_in_line ? end - place->byte_in_line : 0)) {
        end = place->byte_in_line + (int)range_length;
    }
    for (int i = place->byte_in_line; i < end;) {
        if (i > place->byte_in_line) {
            fputc('~', stream);
        }
        i += character_bytes(text + i);
    }
    fputs(*color != '\0' ? "\033[0m\n" : "\n", stream);
}

static void print_one(const Diagnostics *diagnostics, const Diagnostic *diagnostic, FILE *stream,
                      bool colored) {
    const char *color = colored ? severities[diagnostic->severity].color : "";
    const char *bold = colored ? "\033[1m" : "", *plain = colored ? "\033[0m" : "";
    SourcePlace place = source_place(diagnostics->sources, diagnostic->where.begin);
    if (place.file != NULL) {
        fprintf(stream, "%s%s:%d:%d:%s ", bold, place.file->path, place.line, place.column, plain);
    } else if (diagnostic->severity <= SEVERITY_WARNING) {
        fprintf(stream, "%scnnc:%s ", bold, plain);
    }
    fprintf(stream, "%s%s:%s %s", color, severities[diagnostic->severity].name, plain,
            diagnostic->text);
    if (diagnostic->flag != NULL) {
        fprintf(stream, " [%s]", diagnostic->flag);
    }
    fputc('\n', stream);
    if (place.file != NULL && place.line_length > 0) {
        print_line(stream, &place, diagnostic->where.end - diagnostic->where.begin, color);
    }
}

/* The chain of include statements that led to the file of a message. */
static void print_includes(const Diagnostics *diagnostics, SourceRange where, FILE *stream,
                           bool colored) {
    for (;;) {
        SourcePlace place = source_place(diagnostics->sources, where.begin);
        if (place.file == NULL || place.file->included_from.begin == 0) {
            return;
        }
        where = place.file->included_from;
        Diagnostic note = {.severity = SEVERITY_NOTE, .where = where, .text = "included from here"};
        print_one(diagnostics, &note, stream, colored);
    }
}

static bool wants_color(FILE *stream, ColorMode mode) {
    if (mode != COLOR_AUTO) {
        return mode == COLOR_ALWAYS;
    }
    const char *terminal = getenv("TERM"), *no_color = getenv("NO_COLOR");
    return isatty(fileno(stream)) && terminal != NULL && strcmp(terminal, "dumb") != 0 &&
           (no_color == NULL || *no_color == '\0');
}

static void print_rest(FILE *stream, int count, const char *noun) {
    if (count > 0) {
        fprintf(stream, "%d further %s%s not shown\n", count, noun, count == 1 ? " is" : "s are");
    }
}

void diagnostics_print(const Diagnostics *diagnostics, FILE *stream, ColorMode color) {
    bool colored = wants_color(stream, color);
    for (const Diagnostic *one = diagnostics->first; one != NULL; one = one->next) {
        print_one(diagnostics, one, stream, colored);
        for (const Diagnostic *extra = one->first_extra; extra != NULL; extra = extra->next) {
            print_one(diagnostics, extra, stream, colored);
        }
        print_includes(diagnostics, one->where, stream, colored);
    }
    print_rest(stream,
               diagnostics->error_count - diagnostics->shown_errors - diagnostics->repeated_errors,
               "error");
    print_rest(stream,
               diagnostics->warning_count - diagnostics->shown_warnings -
                   diagnostics->repeated_warnings,
               "warning");
}
