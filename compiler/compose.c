#include "compose.h"
#include "runtime_text.h"

#include <string.h>

#define MARKER_BEGIN "/* cnnc:begin "
#define MARKER_END "/* cnnc:end "
#define MARKER_CLOSE " */"
#define TRAINING_CONDITION "#ifndef CNNC_INFER_ONLY"
#define MAX_CONDITIONS 32 /* nested, over all pieces */
#define MAX_INCLUDES 32
#define MAX_SYSTEM_HEADERS 128

/* What was included when a condition began: its other branch starts from there again. */
typedef struct Condition {
    bool training; /* on CNNC_INFER_ONLY: decided here */
    bool *included;
    int system_count;
} Condition;

typedef struct Composer {
    const Composition *composition;
    Arena *arena;
    Text *out;
    const char *problem;
    const Region *inside; /* the region whose example text is being skipped */
    bool *filled;         /* by region */
    bool *included;       /* by position in runtime_texts */
    int system_count;     /* "#include <...>" lines so far */
    const char *system[MAX_SYSTEM_HEADERS];
    int condition_count;
    Condition conditions[MAX_CONDITIONS];
    bool skipping; /* inside a branch for training that is left out */
} Composer;

static void compose_text(Composer *composer, const char *text, int depth);

static void fail(Composer *composer, const char *format, const char *name) {
    if (composer->problem == NULL)
        composer->problem = arena_format(composer->arena, format, name);
}

/* ---- Lines ---- */

static size_t line_length(const char *line) {
    return strcspn(line, "\n");
}

static const char *next_line(const char *line) {
    line += line_length(line);
    return *line == '\n' ? line + 1 : line;
}

static bool starts_with(const char *line, size_t length, const char *prefix) {
    size_t prefix_length = strlen(prefix);
    return length >= prefix_length && memcmp(line, prefix, prefix_length) == 0;
}

/* ---- Regions ---- */

/* The name in a marker line, or NULL if it is none. */
static const char *marker_name(const Composer *composer, const char *line, size_t length,
                               const char *kind) {
    size_t before = strlen(kind), after = strlen(MARKER_CLOSE);
    if (!starts_with(line, length, kind) || length < before + after)
        return NULL;
    return arena_copy(composer->arena, line + before, length - before - after);
}

static void begin_region(Composer *composer, const char *name) {
    const Composition *composition = composer->composition;
    for (size_t i = 0; i < composition->region_count; i++) {
        const Region *region = &composition->regions[i];
        if (strcmp(region->name, name) != 0 || composer->inside != NULL || composer->filled[i])
            continue;
        composer->inside = region;
        composer->filled[i] = true;
        region->fill(composition->context);
        return;
    }
    fail(composer, "the runtime's region '%s' is not known or out of place", name);
}

static void end_region(Composer *composer, const char *name) {
    if (composer->inside == NULL || strcmp(composer->inside->name, name) != 0)
        fail(composer, "the runtime's region '%s' ends where it has not begun", name);
    composer->inside = NULL;
}

/* ---- Conditions ---- */

static void begin_condition(Composer *composer, bool training) {
    if (composer->condition_count == MAX_CONDITIONS) {
        fail(composer, "the runtime's conditions are nested too deeply%s", "");
        return;
    }
    Condition *condition = &composer->conditions[composer->condition_count++];
    condition->training = training;
    condition->included = ARENA_ARRAY(composer->arena, bool, runtime_text_count);
    memcpy(condition->included, composer->included, runtime_text_count * sizeof(bool));
    condition->system_count = composer->system_count;
    if (training)
        composer->skipping = true;
}

static Condition *innermost_condition(Composer *composer) {
    if (composer->condition_count > 0)
        return &composer->conditions[composer->condition_count - 1];
    fail(composer, "the runtime has an #else or #endif without #if%s", "");
    return NULL;
}

static bool other_branch(Composer *composer) {
    Condition *condition = innermost_condition(composer);
    if (condition == NULL)
        return false;
    if (condition->training)
        composer->skipping = !composer->skipping;
    memcpy(composer->included, condition->included, runtime_text_count * sizeof(bool));
    composer->system_count = condition->system_count;
    return condition->training;
}

/* A system header that only one branch includes may be needed again; a piece may not come twice. */
static bool end_condition(Composer *composer) {
    Condition *condition = innermost_condition(composer);
    if (condition == NULL)
        return false;
    composer->condition_count--;
    composer->system_count = condition->system_count;
    if (condition->training)
        composer->skipping = false;
    return condition->training;
}

/* True for a line of a condition that is decided here and does not appear. */
static bool follow_condition(Composer *composer, const char *line, size_t length) {
    if (starts_with(line, length, "#if")) {
        bool training = length == strlen(TRAINING_CONDITION) &&
                        starts_with(line, length, TRAINING_CONDITION) &&
                        composer->composition->without_training;
        begin_condition(composer, training);
        return training;
    }
    if (starts_with(line, length, "#else") || starts_with(line, length, "#elif"))
        return other_branch(composer);
    if (starts_with(line, length, "#endif"))
        return end_condition(composer);
    return false;
}

/* ---- Includes ---- */

/* #include "piece": its text, the first time. */
static void include_piece(Composer *composer, const char *name, int depth) {
    for (size_t i = 0; i < runtime_text_count; i++) {
        if (strcmp(runtime_texts[i].name, name) != 0)
            continue;
        if (!composer->included[i] && depth < MAX_INCLUDES) {
            composer->included[i] = true;
            compose_text(composer, runtime_texts[i].text, depth + 1);
        }
        return;
    }
    fail(composer, "the runtime has no piece '%s'", name);
}

static const char *quoted_name(Composer *composer, const char *line, size_t length) {
    const char *open = memchr(line, '"', length);
    size_t rest = open != NULL ? length - (size_t)(open + 1 - line) : 0;
    const char *close = rest > 0 ? memchr(open + 1, '"', rest) : NULL;
    if (close == NULL)
        return "";
    return arena_copy(composer->arena, open + 1, (size_t)(close - open - 1));
}

/* True where the same line stands in this branch, or before it, already. */
static bool repeats_system_header(Composer *composer, const char *line, size_t length) {
    if (!starts_with(line, length, "#include <"))
        return false;
    const char *copy = arena_copy(composer->arena, line, length);
    for (int i = 0; i < composer->system_count; i++)
        if (strcmp(composer->system[i], copy) == 0)
            return true;
    if (composer->system_count < MAX_SYSTEM_HEADERS)
        composer->system[composer->system_count++] = copy;
    return false;
}

/* A header's guard: the lines #ifndef X, #define X and the last #endif. NULL where there is none.
 */
typedef struct Guard {
    const char *open, *define, *close;
} Guard;

static Guard find_guard(const char *text) {
    const char *line = text;
    while (*line != '\0' && *line != '#')
        line = next_line(line);
    const char *define = next_line(line), *last = NULL;
    size_t length = line_length(line), define_length = line_length(define);
    size_t open_length = strlen("#ifndef ");
    bool guard = starts_with(line, length, "#ifndef ") && define_length == length &&
                 starts_with(define, define_length, "#define ") &&
                 memcmp(line + open_length, define + open_length, length - open_length) == 0;
    for (const char *c = define; guard && *c != '\0'; c = next_line(c))
        if (starts_with(c, line_length(c), "#endif"))
            last = c;
    return guard ? (Guard){line, define, last} : (Guard){NULL, NULL, NULL};
}

/* ---- Texts ---- */

static void keep_line(Composer *composer, const char *line, size_t length) {
    Text *out = composer->out;
    bool empty_before = out->length >= 2 && out->bytes[out->length - 1] == '\n' &&
                        out->bytes[out->length - 2] == '\n';
    if (repeats_system_header(composer, line, length) || (length == 0 && empty_before))
        return;
    text_add_bytes(out, line, length);
    text_add_character(out, '\n');
}

static void compose_line(Composer *composer, const char *line, size_t length, int depth) {
    const char *begin = marker_name(composer, line, length, MARKER_BEGIN);
    const char *end = marker_name(composer, line, length, MARKER_END);
    if (end != NULL)
        end_region(composer, end);
    else if (composer->inside != NULL)
        return;
    else if (follow_condition(composer, line, length) || composer->skipping)
        return;
    else if (begin != NULL)
        begin_region(composer, begin);
    else if (starts_with(line, length, "#include \""))
        include_piece(composer, quoted_name(composer, line, length), depth);
    else
        keep_line(composer, line, length);
}

static void compose_text(Composer *composer, const char *text, int depth) {
    Guard guard = find_guard(text);
    for (const char *line = text; *line != '\0'; line = next_line(line))
        if (line != guard.open && line != guard.define && line != guard.close)
            compose_line(composer, line, line_length(line), depth);
}

static void check_end(Composer *composer) {
    const Composition *composition = composer->composition;
    for (size_t i = 0; i < composition->region_count; i++)
        if (!composer->filled[i])
            fail(composer, "the runtime has no region '%s'", composition->regions[i].name);
    if (composer->inside != NULL)
        fail(composer, "the runtime's region '%s' does not end", composer->inside->name);
}

bool compose(Text *out, const Composition *composition, const char **problem) {
    Composer composer = {.composition = composition, .arena = out->arena, .out = out};
    composer.filled = ARENA_ARRAY(out->arena, bool, composition->region_count);
    composer.included = ARENA_ARRAY(out->arena, bool, runtime_text_count);
    const char *start = NULL;
    for (size_t i = 0; i < runtime_text_count; i++)
        if (strcmp(runtime_texts[i].name, composition->piece) == 0)
            start = strstr(runtime_texts[i].text, MARKER_BEGIN);
    if (start != NULL)
        compose_text(&composer, start, 0);
    else
        fail(&composer, "the runtime has no piece '%s' with regions", composition->piece);
    check_end(&composer);
    *problem = composer.problem;
    return composer.problem == NULL;
}
