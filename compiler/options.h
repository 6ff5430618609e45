/* The command line of cnnc. */
#ifndef CNNC_OPTIONS_H
#define CNNC_OPTIONS_H

#include "diagnostic.h"
#include "expand.h"
#include "report.h"
#include "target.h"
#include "text.h"

typedef enum Pass {
#define PASS(identifier, name, summary) PASS_##identifier,
#include "passes.def"
#undef PASS
    PASS_COUNT
} Pass;

/* -W<name> or -Wno-<name>; applied in the order of the command line. */
typedef struct WarningSwitch {
    const char *name;
    bool enabled;
} WarningSwitch;

typedef struct Options {
    const char *input_path; /* "-" is standard input; NULL: none was given */

    /* What to write; NULL or false: not wanted. Paths may be "-". */
    const char *output_path, *header_path, *report_path;
    const ReportFormat *report;
    bool dot;
    const char *dump; /* "graph", "loops", "plan" or the name of a pass */

    /* What the program is for. */
    const Target *target;
    int batch;   /* 0: that of the train block */
    int threads; /* 0: not said */
    bool infer_only, double_precision;
    int level;            /* 0: the plain reference, 1: everything */
    unsigned passes;      /* one bit per Pass; ask option_pass_enabled */
    int64_t memory_limit; /* bytes; 0: none */
    bool tune;
    const char *tune_path; /* NULL: the default place */
    const char *summary; /* the options of this section as they were given, for the emitted file */

    /* How the description is read. */
    ExpandOptions expand;
    int warning_count;
    const WarningSwitch *warnings;
    bool warnings_are_errors;
    ColorMode color;

    /* What to say instead of compiling. */
    bool help, version, list_layers, list_samples;
    const char *list_name; /* --list-layers=NAME */
    const char *explain;   /* --explain=LAYER */
} Options;

/* False after wrong usage: *problem is then a message, with "; did you mean ...?" where something
 * is near. Strings point into argv, which must outlive the options. */
bool options_parse(Arena *arena, int argc, char *const *argv, Options *options,
                   const char **problem);

bool option_pass_enabled(const Options *options, Pass pass);

/* The text of --help. */
void options_help(Text *out);

#endif
