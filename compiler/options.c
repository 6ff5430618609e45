#include "options.h"

#include "suggest.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef struct Parse {
    Arena *arena;
    Options *options;
    const char *problem; /* set by the function that returns false */
    Text summary;
    int define_count, define_capacity, include_capacity, warning_capacity;
    Define *defines;
    const char **directories;
    WarningSwitch *warnings;
} Parse;

typedef enum OptionForm {
    FORM_PLAIN,    /* --infer */
    FORM_VALUE,    /* --target=avx2, --target avx2, -o FILE, -oFILE */
    FORM_OPTIONAL, /* --report, --report=json */
    FORM_ATTACHED  /* -O0, -fno-fuse, -Werror: one letter and what follows in the same word */
} OptionForm;

typedef struct OptionRow {
    const char *spelling;
    OptionForm form;
    const char *value;   /* its name in --help */
    const char *summary; /* NULL: an internal option that --help leaves out */
    /* `value` is NULL where none was given. */
    bool (*apply)(Parse *parse, const char *value);
    bool shapes_program; /* is part of Options.summary */
} OptionRow;

/* ---- Reading values ---- */

static bool fail(Parse *parse, const char *format, ...) PRINTF_LIKE(2, 3);
static bool fail(Parse *parse, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    parse->problem = arena_format_list(parse->arena, format, arguments);
    va_end(arguments);
    return false;
}

/* "; did you mean 'best'?" or nothing. */
static const char *did_you_mean(Parse *parse, const Suggestion *suggestion) {
    return suggestion->best ? arena_format(parse->arena, "; did you mean '%s'?", suggestion->best)
                            : "";
}

static bool read_count(Parse *parse, const char *name, const char *text, int maximum, int *result) {
    char *end = NULL;
    long value = isdigit((unsigned char)text[0]) ? strtol(text, &end, 10) : 0;
    if (!end || *end || value < 1 || value > maximum)
        return fail(parse, "%s needs a whole number from 1 to %d, not '%s'", name, maximum, text);
    *result = (int)value;
    return true;
}

/* "512M": a number and one of K, M, G, powers of 1024. */
static bool read_bytes(Parse *parse, const char *name, const char *text, int64_t *result) {
    static const char units[] = "KMG";
    char *end = NULL;
    double value = isdigit((unsigned char)text[0]) ? strtod(text, &end) : 0;
    if (end && end != text + strspn(text, "0123456789."))
        end = NULL; /* hexadecimal or with an exponent */
    if (end && *end) {
        const char *unit = strchr(units, toupper((unsigned char)*end));
        if (unit) {
            end++;
            for (const char *u = units; u <= unit; u++)
                value *= 1024;
        }
    }
    if (!end || *end || !(value >= 1 && value < 9e18))
        return fail(parse, "%s needs a number of bytes such as 4096, 512K, 100M or 2G, not '%s'",
                    name, text);
    *result = (int64_t)value;
    return true;
}

static bool is_name(const char *text, size_t length) {
    if (length == 0 || isdigit((unsigned char)text[0]))
        return false;
    for (size_t i = 0; i < length; i++) {
        if (!isalnum((unsigned char)text[i]) && text[i] != '_')
            return false;
    }
    return true;
}

/* ---- One function per option ---- */

static bool set_output(Parse *parse, const char *value) {
    parse->options->output_path = value;
    return true;
}

static bool set_header(Parse *parse, const char *value) {
    parse->options->header_path = value;
    return true;
}

static bool set_report_path(Parse *parse, const char *value) {
    parse->options->report_path = value;
    return true;
}

static bool set_report(Parse *parse, const char *value) {
    Suggestion suggestion = suggestion_for(value ? value : report_formats[0].name);
    for (int i = 0; i < report_format_count; i++) {
        const ReportFormat *format = &report_formats[i];
        suggestion_offer(&suggestion, format->name);
        if (strcmp(suggestion.name, format->name) != 0)
            continue;
        if (!format->write)
            return fail(parse, "--report=%s is not yet supported", format->name);
        parse->options->report = format;
        return true;
    }
    return fail(parse, "there is no report format '%s'%s", value, did_you_mean(parse, &suggestion));
}

static bool set_dot(Parse *parse, const char *value) {
    (void)value;
    parse->options->dot = true;
    return true;
}

static bool set_target(Parse *parse, const char *value) {
    parse->options->target = target_find(value);
    if (parse->options->target)
        return true;
    Suggestion suggestion = suggestion_for(value);
    suggestion_offer(&suggestion, "native");
    for (int i = 0; i < target_count; i++)
        suggestion_offer(&suggestion, target_table[i].name);
    return fail(parse, "there is no target '%s'%s", value, did_you_mean(parse, &suggestion));
}

static bool set_batch(Parse *parse, const char *value) {
    return read_count(parse, "--batch", value, 1000000, &parse->options->batch);
}

static bool set_threads(Parse *parse, const char *value) {
    return read_count(parse, "--threads", value, 4096, &parse->options->threads);
}

static bool set_infer(Parse *parse, const char *value) {
    (void)value;
    parse->options->infer_only = true;
    return true;
}

static bool set_double(Parse *parse, const char *value) {
    (void)value;
    parse->options->double_precision = true;
    return true;
}

static bool set_level(Parse *parse, const char *value) {
    if (strcmp(value, "0") == 0)
        parse->options->level = 0;
    else if (strcmp(value, "") == 0 || strcmp(value, "1") == 0)
        parse->options->level = 1;
    else
        return fail(parse, "there is no level -O%s: only -O0 and -O1", value);
    return true;
}

static const char *const pass_names[PASS_COUNT] = {
#define PASS(identifier, name, summary) name,
#include "passes.def"
#undef PASS
};

static bool set_pass(Parse *parse, const char *value) {
    bool enabled = strncmp(value, "no-", 3) != 0;
    const char *name = enabled ? value : value + 3;
    Suggestion suggestion = suggestion_for(name);
    for (int i = 0; i < PASS_COUNT; i++) {
        suggestion_offer(&suggestion, pass_names[i]);
        if (strcmp(name, pass_names[i]) != 0)
            continue;
        unsigned bit = 1u << i;
        parse->options->passes =
            enabled ? parse->options->passes | bit : parse->options->passes & ~bit;
        return true;
    }
    return fail(parse, "there is no pass '%s'%s", name, did_you_mean(parse, &suggestion));
}

static bool set_dump(Parse *parse, const char *value) {
    static const char *const others[] = {"graph", "loops", "plan"};
    Suggestion suggestion = suggestion_for(value);
    parse->options->dump = value;
    for (int i = 0; i < PASS_COUNT + (int)(sizeof others / sizeof others[0]); i++) {
        const char *name = i < PASS_COUNT ? pass_names[i] : others[i - PASS_COUNT];
        suggestion_offer(&suggestion, name);
        if (strcmp(value, name) == 0)
            return true;
    }
    return fail(parse, "there is nothing to dump after '%s'%s", value,
                did_you_mean(parse, &suggestion));
}

static bool set_memory(Parse *parse, const char *value) {
    return read_bytes(parse, "--mem", value, &parse->options->memory_limit);
}

static bool set_tune(Parse *parse, const char *value) {
    (void)value;
    parse->options->tune = true;
    return true;
}

static bool set_tune_path(Parse *parse, const char *value) {
    parse->options->tune_path = value;
    return true;
}

static bool add_define(Parse *parse, const char *value) {
    const char *equals = strchr(value, '=');
    size_t length = equals ? (size_t)(equals - value) : strlen(value);
    if (!is_name(value, length))
        return fail(parse, "-D needs NAME=VALUE, not '%s'", value);
    if (equals && !equals[1])
        return fail(parse, "-D%s has no value after the '='", value);
    ARENA_GROW(parse->arena, parse->defines, parse->define_count, parse->define_capacity);
    parse->defines[parse->define_count++] = (Define){
        .name = arena_copy(parse->arena, value, length), .value = equals ? equals + 1 : NULL};
    parse->options->expand.defines = parse->defines;
    parse->options->expand.define_count = parse->define_count;
    return true;
}

static bool add_include(Parse *parse, const char *value) {
    ExpandOptions *expand = &parse->options->expand;
    ARENA_GROW(parse->arena, parse->directories, expand->include_count, parse->include_capacity);
    parse->directories[expand->include_count++] = value;
    expand->include_directories = parse->directories;
    return true;
}

static bool add_warning(Parse *parse, const char *value) {
    static const char *const names[] = {
        "all",
#define WARNING(identifier, name, summary) name,
#include "warnings.def"
#undef WARNING
    };
    Options *options = parse->options;
    bool enabled = strncmp(value, "no-", 3) != 0;
    const char *name = enabled ? value : value + 3;
    if (strcmp(name, "error") == 0) {
        options->warnings_are_errors = enabled;
        return true;
    }
    Suggestion suggestion = suggestion_for(name);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        suggestion_offer(&suggestion, names[i]);
        if (strcmp(name, names[i]) != 0)
            continue;
        ARENA_GROW(parse->arena, parse->warnings, options->warning_count, parse->warning_capacity);
        parse->warnings[options->warning_count++] = (WarningSwitch){names[i], enabled};
        options->warnings = parse->warnings;
        return true;
    }
    return fail(parse, "there is no warning '%s'%s", name, did_you_mean(parse, &suggestion));
}

static bool set_color(Parse *parse, const char *value) {
    static const struct {
        const char *name;
        ColorMode mode;
    } modes[] = {{"auto", COLOR_AUTO}, {"always", COLOR_ALWAYS}, {"never", COLOR_NEVER}};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(value, modes[i].name) == 0) {
            parse->options->color = modes[i].mode;
            return true;
        }
    }
    return fail(parse, "--color is auto, always or never, not '%s'", value);
}

static bool set_list(Parse *parse, const char *value) {
    parse->options->list_layers = true;
    parse->options->list_name = value;
    return true;
}

static bool set_list_samples(Parse *parse, const char *value) {
    (void)value;
    parse->options->list_samples = true;
    return true;
}

static bool set_explain(Parse *parse, const char *value) {
    parse->options->explain = value;
    return true;
}

static bool set_version(Parse *parse, const char *value) {
    (void)value;
    parse->options->version = true;
    return true;
}

static bool set_help(Parse *parse, const char *value) {
    (void)value;
    parse->options->help = true;
    return true;
}

static const OptionRow option_rows[] = {
    {"-o", FORM_VALUE, "OUT.c", "write the C program", set_output, false},
    {"--header", FORM_VALUE, "OUT.h", "write the header of its library interface", set_header,
     false},
    {"--report", FORM_OPTIONAL, "FORMAT",
     "shapes, parameters, FLOPs and memory: text, json, csv or md", set_report, false},
    {"--report-file", FORM_VALUE, "FILE", "where the report goes instead of standard output",
     set_report_path, false},
    {"--dot", FORM_PLAIN, NULL, "the network as a Graphviz graph", set_dot, false},
    {"--target", FORM_VALUE, "NAME", "what the SIMD code is for (default native)", set_target,
     true},
    {"--batch", FORM_VALUE, "N", "largest batch (default: that of the train block)", set_batch,
     true},
    {"--threads", FORM_VALUE, "N", "threads that the schedule is planned for", set_threads, true},
    {"--infer", FORM_PLAIN, NULL, "forward only: no training code", set_infer, true},
    {"--double", FORM_PLAIN, NULL, "arithmetic in double precision", set_double, true},
    {"-O", FORM_ATTACHED, "0|1", "0: plain loop nests, the reference; 1: all passes (default)",
     set_level, true},
    {"-f", FORM_ATTACHED, "[no-]PASS", "switch a pass on or off", set_pass, true},
    {"--dump", FORM_VALUE, "WHAT", "print graph, loops, plan or what a pass made", set_dump, false},
    {"--mem", FORM_VALUE, "BYTES", "limit of the planned memory (suffixes K, M, G)", set_memory,
     true},
    {"--tune", FORM_PLAIN, NULL, "measure schedules on this machine and keep the fastest", set_tune,
     true},
    {"--tune-file", FORM_VALUE, "FILE", "where --tune keeps what it has measured", set_tune_path,
     false},
    {"-D", FORM_VALUE, "NAME=VALUE", "set a constant of the description (without =VALUE: to 1)",
     add_define, true},
    {"-I", FORM_VALUE, "DIR", "look for included files there, too", add_include, false},
    {"-W", FORM_ATTACHED, "[no-]NAME", "switch a warning; -Werror makes errors of warnings",
     add_warning, false},
    {"--color", FORM_VALUE, "WHEN", "colours in messages: auto, always or never", set_color, false},
    {"--list-layers", FORM_OPTIONAL, "NAME", "the kinds of layers, or one kind in full", set_list,
     false},
    {"--explain", FORM_VALUE, "LAYER", "the arithmetic of one layer of the file, or of a kind",
     set_explain, false},
    {"--list-samples", FORM_PLAIN, NULL, NULL, set_list_samples, false},
    {"--version", FORM_PLAIN, NULL, "print the version", set_version, false},
    {"--help", FORM_PLAIN, NULL, "print this text", set_help, false},
    {"-h", FORM_PLAIN, NULL, NULL, set_help, false},
};
enum { OPTION_ROWS = sizeof option_rows / sizeof option_rows[0] };

/* ---- The command line ---- */

static bool is_long(const char *word) {
    return word[0] == '-' && word[1] == '-';
}

/* The row that the word is for; *attached is what follows in the same word, or NULL. */
static const OptionRow *find_row(const char *word, const char **attached) {
    for (int i = 0; i < OPTION_ROWS; i++) {
        const OptionRow *row = &option_rows[i];
        size_t length = strlen(row->spelling);
        if (strncmp(word, row->spelling, length) != 0)
            continue;
        const char *rest = word + length;
        if (is_long(word) ? *rest && *rest != '=' : *rest && row->form == FORM_PLAIN)
            continue;
        if (is_long(word))
            *attached = *rest == '=' ? rest + 1 : NULL;
        else
            *attached = *rest || row->form == FORM_ATTACHED ? rest : NULL;
        return row;
    }
    return NULL;
}

static bool unknown_option(Parse *parse, const char *word) {
    const char *equals = strchr(word, '=');
    size_t length = equals ? (size_t)(equals - word) : strlen(word);
    Suggestion suggestion = suggestion_for(arena_copy(parse->arena, word, length));
    /* Every other letter is near to a single one. */
    for (int i = 0; i < OPTION_ROWS && length > 2; i++)
        suggestion_offer(&suggestion, option_rows[i].spelling);
    return fail(parse, "there is no option '%s'%s", suggestion.name,
                did_you_mean(parse, &suggestion));
}

static void remember(Parse *parse, const OptionRow *row, const char *value) {
    Text *summary = &parse->summary;
    text_format(summary, "%s%s", summary->length ? " " : "", row->spelling);
    if (value)
        text_format(summary, "%s%s", is_long(row->spelling) ? "=" : "", value);
}

/* Applies the option at argv[*index] and moves *index to the last word that it used. */
static bool parse_option(Parse *parse, int argc, char *const *argv, int *index) {
    const char *value = NULL;
    const OptionRow *row = find_row(argv[*index], &value);
    if (!row)
        return unknown_option(parse, argv[*index]);
    if (row->form == FORM_PLAIN && value)
        return fail(parse, "%s takes no value", row->spelling);
    if (row->form == FORM_VALUE && !value) {
        const char *attached = NULL;
        if (*index + 1 >= argc || find_row(argv[*index + 1], &attached))
            return fail(parse, "%s needs %s after it", row->spelling, row->value);
        value = argv[++*index];
    }
    if (value && !*value && row->form != FORM_ATTACHED)
        return fail(parse, "%s has an empty value", row->spelling);
    if (!row->apply(parse, value))
        return false;
    if (row->shapes_program)
        remember(parse, row, value);
    return true;
}

static bool set_input(Parse *parse, const char *path) {
    if (!*path)
        return fail(parse, "the name of the description is empty");
    if (parse->options->input_path)
        return fail(parse, "one description at a time: '%s' and '%s' were given",
                    parse->options->input_path, path);
    parse->options->input_path = path;
    return true;
}

static bool parse_words(Parse *parse, int argc, char *const *argv) {
    bool options_end = false;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        bool is_option = !options_end && word[0] == '-' && word[1];
        if (is_option && strcmp(word, "--") == 0) {
            options_end = true;
            continue;
        }
        if (is_option ? !parse_option(parse, argc, argv, &i) : !set_input(parse, word))
            return false;
    }
    return true;
}

static bool same_path(const char *a, const char *b) {
    return a && b && strcmp(a, b) == 0;
}

/* Programs are measured on this machine, and only schedules of vector code differ. */
static bool check_tune(Parse *parse) {
    const Options *options = parse->options;
    if (options->level == 0)
        return fail(parse, "--tune has nothing to choose at -O0");
    if (!target_runs_here(options->target))
        return fail(parse, "--tune measures on this machine, which does not run code for %s",
                    options->target->name);
    return true;
}

/* What no single option can know. */
static bool check_together(Parse *parse) {
    const Options *options = parse->options;
    if (options->help || options->version || options->list_layers || options->list_samples)
        return true;
    if (!options->input_path)
        return options->explain || fail(parse, "no description was given");
    if (options->report_path && !options->report)
        return fail(parse, "--report-file needs --report");
    if (options->tune_path && !options->tune)
        return fail(parse, "--tune-file needs --tune");
    if (options->tune && !check_tune(parse))
        return false;
    bool standard_output =
        options->dot || options->dump || options->explain ||
        (options->report && (!options->report_path || strcmp(options->report_path, "-") == 0));
    if (standard_output &&
        (same_path(options->output_path, "-") || same_path(options->header_path, "-")))
        return fail(parse, "standard output is already used: give a file instead of '-'");
    const char *const paths[] = {options->output_path, options->header_path, options->report_path,
                                 options->input_path};
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < i; j++) {
            bool input_too = i == 3;
            if (same_path(paths[i], paths[j]) && !(input_too && strcmp(paths[i], "-") == 0))
                return fail(parse, "'%s' would be overwritten", paths[i]);
        }
    }
    return true;
}

bool options_parse(Arena *arena, int argc, char *const *argv, Options *options,
                   const char **problem) {
    Parse parse = {.arena = arena, .options = options};
    *options = (Options){.target = target_find("native"),
                         .level = 1,
                         .passes = (1u << PASS_COUNT) - 1,
                         .color = COLOR_AUTO};
    text_init(&parse.summary, arena);
    bool good = parse_words(&parse, argc, argv) && check_together(&parse);
    options->summary = parse.summary.bytes;
    *problem = parse.problem;
    return good;
}

bool option_pass_enabled(const Options *options, Pass pass) {
    return options->level > 0 && (options->passes & (1u << pass)) != 0;
}

/* ---- Help ---- */

static const char *row_usage(Arena *arena, const OptionRow *row) {
    const char *value = row->value ? row->value : "";
    switch (row->form) {
    case FORM_OPTIONAL:
        return arena_format(arena, "%s[=%s]", row->spelling, value);
    case FORM_VALUE:
        return arena_format(arena, is_long(row->spelling) ? "%s=%s" : "%s %s", row->spelling,
                            value);
    default:
        return arena_format(arena, "%s%s", row->spelling, value);
    }
}

void options_help(Text *out) {
    text_add(out,
             "usage: cnnc [options] FILE.cnn\n"
             "Compiles the description of a convolutional network (- is standard input) to one\n"
             "C file that trains and runs it; without an output option it only checks it.\n\n");
    for (int i = 0; i < OPTION_ROWS; i++) {
        const OptionRow *row = &option_rows[i];
        if (row->summary)
            text_format(out, "  %-22s %s\n", row_usage(out->arena, row), row->summary);
    }
    text_add(out, "\nTargets: native");
    for (int i = 0; i < target_count; i++)
        text_format(out, ", %s (%s)", target_table[i].name, target_table[i].summary);
    text_add(out, "\nPasses:\n");
#define PASS(identifier, name, summary) text_format(out, "  %-22s %s\n", name, summary);
#include "passes.def"
#undef PASS
    text_add(out, "Warnings:\n");
#define WARNING(identifier, name, summary) text_format(out, "  %-22s %s\n", name, summary);
#include "warnings.def"
#undef WARNING
}
