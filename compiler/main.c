/* cnnc: from the description of a network to one C file. The table `phases` is the way of the data.
 */
#include "compilation.h"
#include "dot.h"
#include "emit.h"
#include "expand.h"
#include "explain.h"
#include "list.h"
#include "options.h"
#include "output.h"
#include "tune.h"

#include <stdio.h>
#include <string.h>

#ifndef CNNC_VERSION
#error "the version comes from the Makefile: -DCNNC_VERSION='\"1.2.3\"'"
#endif

/* ---- The phases ---- */

static bool read_description(Compilation *compilation) {
    const Options *options = compilation->options;
    const char *problem = NULL;
    SourceFile *file = source_load(compilation->sources, options->input_path, &problem);
    if (!file)
        return complain(compilation, "%s: %s", options->input_path, problem);
    compilation->network =
        expand_file(compilation->sources, compilation->diagnostics, file, &options->expand);
    return compilation->network != NULL;
}

static bool infer_shapes(Compilation *compilation) {
    Network *network = compilation->network;
    int largest = compilation->options->batch;
    if (largest && network->train.batch > largest)
        network->train.batch = largest; /* --batch=N leaves no room for more in training either */
    /* A description with errors comes this far, so that one run reports those of the shapes too. */
    return network_infer(network, compilation->diagnostics) &&
           diagnostics_error_count(compilation->diagnostics) == 0;
}

static bool write_explanation(Compilation *compilation) {
    const Network *network = compilation->network;
    const char *name = compilation->options->explain;
    Text *out = outputs_open(compilation->outputs, "-");
    const Layer *layer = explain_find(network, name);
    const OpDef *op = layer ? NULL : op_find(name);
    if (layer) {
        explain_layer(out, network, compilation->sources, layer);
        return true;
    }
    if (op) {
        list_kind(out, op);
        return true;
    }
    const char *nearest = explain_nearest(network, name);
    return complain(compilation, "%s has no layer '%s'%s%s%s", network->name, name,
                    nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
}

static bool write_dot(Compilation *compilation) {
    dot_write(outputs_open(compilation->outputs, "-"), compilation->network);
    return true;
}

static bool write_report(Compilation *compilation) {
    const Options *options = compilation->options;
    const ReportInput input = {.network = compilation->network,
                               .graph = compilation->graph,
                               .plan = compilation->plan,
                               .sources = compilation->sources};
    const char *path = options->report_path ? options->report_path : "-";
    options->report->write(outputs_open(compilation->outputs, path), &input);
    return true;
}

static EmitInput emit_input(const Compilation *compilation) {
    const Options *options = compilation->options;
    return (EmitInput){.network = compilation->network,
                       .graph = compilation->graph,
                       .kernels = compilation->kernels,
                       .plan = compilation->plan,
                       .sources = compilation->sources,
                       .options = {.version = CNNC_VERSION,
                                   .options = options->summary,
                                   .target = options->target->name,
                                   .vector_length = compilation->lowering.vector_length,
                                   .max_batch = whole_batch(compilation),
                                   .threads = options->threads,
                                   .double_precision = options->double_precision,
                                   .infer_only = options->infer_only}};
}

static const Kernels *make_measured(void *context, Text *out) {
    Compilation *compilation = context;
    const char *problem = NULL;
    if (!make_program(compilation))
        return NULL;
    const EmitInput input = emit_input(compilation);
    if (out == NULL || emit_program(out, &input, &problem))
        return compilation->kernels;
    complain(compilation, "internal error: %s", problem);
    return NULL;
}

static bool tune_schedules(Compilation *compilation) {
    const Options *options = compilation->options;
    const char *problem = NULL;
    bool native = options->target == target_find("native");
    const TuneTask task = {.arena = compilation->arena,
                           .cache_path = options->tune_path,
                           .version = CNNC_VERSION,
                           .target = options->target->name,
                           .compiler_flags =
                               native ? "-march=native" : options->target->compiler_flags,
                           .double_precision = options->double_precision,
                           .threads = options->threads,
                           .make = make_measured,
                           .context = compilation};
    compilation->tuning = tuning_create(compilation->arena);
    compilation->trial = true;
    bool good = tune(&task, compilation->tuning, &problem);
    compilation->trial = false;
    return good || (problem != NULL && complain(compilation, "%s", problem));
}

static bool write_program(Compilation *compilation) {
    const Options *options = compilation->options;
    const char *problem = NULL;
    const EmitInput input = emit_input(compilation);
    if (options->output_path &&
        !emit_program(outputs_open(compilation->outputs, options->output_path), &input, &problem))
        return complain(compilation, "internal error: %s", problem);
    if (options->header_path &&
        !emit_library_header(outputs_open(compilation->outputs, options->header_path), &input,
                             &problem))
        return complain(compilation, "internal error: %s", problem);
    return true;
}

static bool write_summary(Compilation *compilation) {
    report_summary(outputs_open(compilation->outputs, "-"), compilation->network);
    return true;
}

/* ---- The table of contents ---- */

static bool always(const Options *options) {
    (void)options;
    return true;
}
static bool explanation_wanted(const Options *options) {
    return options->explain != NULL;
}
static bool dot_wanted(const Options *options) {
    return options->dot;
}
static bool report_wanted(const Options *options) {
    return options->report != NULL;
}
static bool program_wanted(const Options *options) {
    return options->output_path || options->header_path;
}
static bool kernels_wanted(const Options *options) {
    return program_wanted(options) || report_wanted(options) || options->dump ||
           options->memory_limit;
}

static bool recomputation_wanted(const Options *options) {
    return kernels_wanted(options) && !options->infer_only &&
           (options->memory_limit || option_pass_enabled(options, PASS_RECOMPUTE));
}
static bool memory_is_limited(const Options *options) {
    return options->memory_limit != 0;
}
static bool tuning_wanted(const Options *options) {
    return options->tune && kernels_wanted(options);
}
static bool only_check(const Options *options) {
    return !program_wanted(options) && !report_wanted(options) && !options->dump && !options->dot &&
           !options->explain;
}

static const struct {
    bool (*run)(
        Compilation *compilation); /* false: stop; the reason is in the diagnostics or said */
    bool (*wanted)(const Options *options);
} phases[] = {
    {read_description, always},
    {infer_shapes, always},
    {write_explanation, explanation_wanted},
    {tune_schedules, tuning_wanted},
    {choose_recomputation, recomputation_wanted},
    {fit_shards, memory_is_limited},
    {make_program, kernels_wanted},
    {write_report, report_wanted},
    {write_dot, dot_wanted},
    {write_program, program_wanted},
    {write_summary, only_check},
};

/* ---- Everything around them ---- */

static bool commit(Compilation *compilation) {
    const char *path = NULL, *problem = NULL;
    return outputs_commit(compilation->outputs, &path, &problem) ||
           complain(compilation, "cannot write %s: %s", path, problem);
}

static bool keeps_input(Compilation *compilation) {
    const Options *options = compilation->options;
    const char *const paths[] = {options->output_path, options->header_path, options->report_path};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        if (paths[i] && output_is_file(paths[i], options->input_path))
            return complain(compilation, "%s: is the description itself", paths[i]);
    }
    return true;
}

static void switch_warnings(const Options *options, Diagnostics *diagnostics) {
    for (int i = 0; i < options->warning_count; i++)
        diagnostics_set_warning(diagnostics, options->warnings[i].name,
                                options->warnings[i].enabled);
    if (options->warnings_are_errors)
        diagnostics_warnings_are_errors(diagnostics);
}

static int compile(Arena *arena, const Options *options) {
    Sources *sources = sources_create(arena);
    Compilation compilation = {.arena = arena,
                               .options = options,
                               .sources = sources,
                               .diagnostics = diagnostics_create(arena, sources),
                               .outputs = outputs_create(arena),
                               .status = STATUS_DESCRIPTION};
    switch_warnings(options, compilation.diagnostics);
    bool good = keeps_input(&compilation);
    for (size_t i = 0; good && i < sizeof phases / sizeof phases[0]; i++) {
        if (phases[i].wanted(options))
            good = phases[i].run(&compilation);
    }
    diagnostics_print(compilation.diagnostics, stderr, options->color);
    good = good && commit(&compilation);
    if (good && (fflush(stdout) != 0 || ferror(stdout)))
        good = complain(&compilation, "cannot write standard output");
    return good ? STATUS_FINE : compilation.status;
}

/* Texts that need no description; false with a message in *problem where there is none. */
static bool inform(Text *out, const Options *options, const char **problem) {
    if (options->help)
        options_help(out);
    else if (options->version)
        text_add(out, "cnnc " CNNC_VERSION "\n");
    else if (options->list_samples)
        list_samples(out);
    else if (options->list_layers && !options->list_name)
        list_kinds(out);
    else
        return list_named_kind(out, options->list_layers ? options->list_name : options->explain,
                               problem);
    return true;
}

static int run(Arena *arena, int argc, char *const *argv) {
    Options options;
    const char *problem = NULL, *path = NULL;
    if (!options_parse(arena, argc, argv, &options, &problem)) {
        fprintf(stderr, "cnnc: error: %s\ncnnc --help lists the options\n", problem);
        return STATUS_USAGE;
    }
    bool information = options.help || options.version || options.list_samples ||
                       options.list_layers || !options.input_path;
    if (!information)
        return compile(arena, &options);
    Outputs *outputs = outputs_create(arena);
    if (inform(outputs_open(outputs, "-"), &options, &problem) &&
        outputs_commit(outputs, &path, &problem))
        return STATUS_FINE;
    fprintf(stderr, "cnnc: error: %s%s%s\n", path ? path : "", path ? ": " : "", problem);
    return STATUS_USAGE;
}

int main(int argc, char **argv) {
    Arena *arena = arena_create();
    int status = run(arena, argc, argv);
    arena_free(arena);
    return status;
}
