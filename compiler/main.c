/* cnnc: from the description of a network to one C file. The table `phases` is the way of the data.
 */
#include "cprint.h"
#include "dot.h"
#include "emit.h"
#include "expand.h"
#include "explain.h"
#include "fold.h"
#include "fuse.h"
#include "fuse_moments.h"
#include "fuse_window_gradients.h"
#include "fuse_windows.h"
#include "inplace.h"
#include "layout.h"
#include "list.h"
#include "options.h"
#include "output.h"
#include "pad.h"
#include "recompute.h"
#include "schedule.h"
#include "shard.h"
#include "simplify.h"
#include "tune.h"
#include "update.h"

#include <stdio.h>
#include <string.h>

#ifndef CNNC_VERSION
#error "the version comes from the Makefile: -DCNNC_VERSION='\"1.2.3\"'"
#endif

enum { STATUS_FINE = 0, STATUS_DESCRIPTION = 1, STATUS_USAGE = 2 };
enum { DEFAULT_BATCH = 64 }; /* where neither the command line nor the train block says */

typedef struct Compilation {
    Arena *arena;
    const Options *options;
    Sources *sources;
    Diagnostics *diagnostics;
    Network *network;
    Graph *graph;
    GroupList groups[PROGRAM_COUNT];
    LowerOptions lowering;
    Kernels *kernels;
    Plan *plan;
    const bool *dropped; /* by layer: outputs that the backward pass makes again; NULL: none */
    int64_t full_peak;   /* bytes that training would need without that; 0: nothing is dropped */
    bool uncut;          /* shards would take too much memory: the batch stays whole */
    bool trial;          /* this run only asks how much memory it takes, or is measured */
    Tuning *tuning;      /* NULL: schedules are not measured */
    Outputs *outputs;
    int status; /* where a phase fails for another reason than the description */
} Compilation;

/* For problems that have no place in a description. Returns false. */
static bool complain(Compilation *compilation, const char *format, ...) PRINTF_LIKE(2, 3);
static bool complain(Compilation *compilation, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "cnnc: error: %s\n", arena_format_list(compilation->arena, format, arguments));
    va_end(arguments);
    compilation->status = STATUS_USAGE;
    return false;
}

static bool dump_wanted(const Compilation *compilation, const char *what) {
    return !compilation->trial && compilation->options->dump &&
           strcmp(compilation->options->dump, what) == 0;
}

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

static LowerOptions lower_options(const Compilation *compilation) {
    const Options *options = compilation->options;
    bool vectors = option_pass_enabled(options, PASS_VECTORISE);
    size_t number_bytes = options->double_precision ? sizeof(double) : sizeof(float);
    int batch = options->batch ? options->batch : compilation->network->train.batch;
    return (LowerOptions){.level = options->level,
                          .vector_length =
                              vectors ? target_vector_length(options->target, number_bytes) : 1,
                          .registers = options->target->vector_registers,
                          .vector_rate = options->target->vector_rate,
                          .winograd = option_pass_enabled(options, PASS_WINOGRAD),
                          .threads = options->threads,
                          .max_batch = batch ? batch : DEFAULT_BATCH,
                          .shards = 1,
                          .tuning = compilation->tuning};
}

/* Each shard is a program for one thread and its part of the batch. */
static void cut_into_shards(Compilation *compilation) {
    const Options *options = compilation->options;
    LowerOptions *lowering = &compilation->lowering;
    if (!option_pass_enabled(options, PASS_SHARD) || !option_pass_enabled(options, PASS_LAYOUT) ||
        !option_pass_enabled(options, PASS_PARALLELISE) || compilation->uncut)
        return;
    lowering->shards = shard_count(compilation->graph, lowering, &lowering->shard_block);
    if (lowering->shards == 1)
        return;
    lowering->max_batch /= lowering->shards;
    lowering->threads = 1;
    shard_gradients(compilation->graph);
}

static bool build_graph(Compilation *compilation) {
    compilation->graph =
        graph_build(compilation->arena, compilation->network, compilation->options->infer_only);
    compilation->lowering = lower_options(compilation);
    if (option_pass_enabled(compilation->options, PASS_PAD) &&
        option_pass_enabled(compilation->options, PASS_LAYOUT))
        pad_channels(compilation->graph, compilation->lowering.vector_length,
                     compilation->lowering.max_batch);
    if (option_pass_enabled(compilation->options, PASS_SIMPLIFY))
        simplify_graph(compilation->graph);
    if (option_pass_enabled(compilation->options, PASS_FOLD))
        fold_parameters(compilation->graph);
    if (compilation->dropped)
        recompute_apply(compilation->graph, compilation->dropped,
                        option_pass_enabled(compilation->options, PASS_FUSE));
    cut_into_shards(compilation);
    if (compilation->lowering.shards == 1 && option_pass_enabled(compilation->options, PASS_UPDATE))
        fuse_updates(compilation->graph, compilation->lowering.max_batch);
    if (option_pass_enabled(compilation->options, PASS_LAYOUT))
        layout_assign(compilation->graph, compilation->lowering.vector_length,
                      compilation->lowering.max_batch);
    if (!graph_verify(compilation->graph, stderr))
        return complain(compilation, "internal error: the graph is not consistent");
    if (dump_wanted(compilation, "graph"))
        graph_dump(compilation->graph, stdout);
    return true;
}

static void dump_groups(const Compilation *compilation) {
    for (int i = 0; i < PROGRAM_COUNT; i++) {
        const GroupList *list = &compilation->groups[i];
        if (list->count)
            printf("%s\n", compilation->graph->programs[i].name);
        for (int j = 0; j < list->count; j++)
            printf("    %s\n", group_layers(compilation->arena, list->groups[j]));
    }
}

/* What one kernel of training makes for another; evaluation runs the same convolutions. */
static void fuse_training(Compilation *compilation) {
    Arena *arena = compilation->arena;
    Graph *graph = compilation->graph;
    GroupList *groups = compilation->groups;
    fuse_window_gradients(arena, graph, &groups[PROGRAM_BACKWARD], &compilation->lowering);
    fuse_moments(arena, graph, &groups[PROGRAM_FORWARD], &compilation->lowering);
    fuse_moments(arena, graph, &groups[PROGRAM_FORWARD_TRAINING], &compilation->lowering);
}

static bool fuse(Compilation *compilation) {
    bool enabled = option_pass_enabled(compilation->options, PASS_FUSE);
    bool measured = compilation->trial && compilation->tuning; /* layer by layer */
    if (enabled)
        fuse_evaluation_as_training(compilation->graph);
    for (int i = 0; i < PROGRAM_COUNT; i++) {
        compilation->groups[i] =
            fuse_program(compilation->arena, &compilation->graph->programs[i], enabled);
        if (enabled && !measured)
            fuse_windows(compilation->arena, compilation->graph, &compilation->groups[i],
                         &compilation->lowering);
    }
    if (enabled && !measured && !compilation->options->infer_only)
        fuse_training(compilation);
    if (dump_wanted(compilation, "fuse"))
        dump_groups(compilation);
    return true;
}

static bool share_in_place(Compilation *compilation) {
    if (option_pass_enabled(compilation->options, PASS_INPLACE))
        for (int i = 0; i < PROGRAM_COUNT; i++)
            share_memory_in_place(compilation->arena, &compilation->groups[i]);
    return true;
}

static bool lower(Compilation *compilation) {
    compilation->kernels =
        kernels_create(compilation->arena, compilation->network, compilation->lowering.max_batch);
    for (int i = 0; i < PROGRAM_COUNT; i++) {
        const GroupList *list = &compilation->groups[i];
        for (int j = 0; j < list->count; j++) {
            Step *step = kernels_add_step(compilation->kernels, (ProgramId)i, list->groups[j]);
            if (!step->same_as)
                step_set_kernel(compilation->kernels, step,
                                lower_group(compilation->arena, compilation->graph, list->groups[j],
                                            &compilation->lowering));
        }
    }
    return true;
}

static void for_each_kernel(const Compilation *compilation,
                            void (*visit)(const Compilation *compilation, Kernel *kernel)) {
    for (int i = 0; i < PROGRAM_COUNT; i++) {
        const StepList *list = &compilation->kernels->programs[i];
        for (int j = 0; j < list->count; j++)
            if (!list->steps[j]->same_as)
                visit(compilation, list->steps[j]->kernel);
    }
}

static void dump_kernel(const Compilation *compilation, Kernel *kernel) {
    Text text;
    text_init(&text, compilation->arena);
    print_kernel_body(&text, kernel, kernel_use(compilation->arena, kernel), NULL,
                      compilation->lowering.max_batch, 0);
    printf("/* %s */\n%s\n", kernel->name, text.bytes);
}

static void vectorise_kernel(const Compilation *compilation, Kernel *kernel) {
    (void)compilation;
    schedule_simd(kernel);
}

static void parallelise_kernel(const Compilation *compilation, Kernel *kernel) {
    schedule_parallel(kernel, &compilation->lowering);
}

static bool vectorise(Compilation *compilation) {
    if (option_pass_enabled(compilation->options, PASS_VECTORISE))
        for_each_kernel(compilation, vectorise_kernel);
    if (dump_wanted(compilation, "vectorise"))
        for_each_kernel(compilation, dump_kernel);
    return true;
}

static bool parallelise(Compilation *compilation) {
    if (compilation->lowering.shards == 1 &&
        option_pass_enabled(compilation->options, PASS_PARALLELISE))
        for_each_kernel(compilation, parallelise_kernel);
    if (dump_wanted(compilation, "parallelise") || dump_wanted(compilation, "loops"))
        for_each_kernel(compilation, dump_kernel);
    return true;
}

static bool share_kernels(Compilation *compilation) {
    kernels_share(compilation->kernels);
    return true;
}

static int whole_batch(const Compilation *compilation) {
    return compilation->lowering.max_batch * compilation->lowering.shards;
}

static bool plan(Compilation *compilation) {
    const Options *options = compilation->options;
    const PlanOptions plan_options = {
        .max_batch = whole_batch(compilation),
        .shards = compilation->lowering.shards,
        .shard_block = compilation->lowering.shard_block,
        .real_size = options->double_precision ? (int)sizeof(double) : (int)sizeof(float),
        .memory_limit = compilation->trial ? 0 : options->memory_limit,
        .full_peak = compilation->full_peak};
    compilation->plan = plan_memory(compilation->arena, compilation->graph, compilation->kernels,
                                    &plan_options, compilation->diagnostics);
    if (!compilation->plan)
        return false;
    if (!plan_verify(compilation->plan, stderr))
        return complain(compilation, "internal error: the memory plan is not consistent");
    if (dump_wanted(compilation, "plan"))
        plan_dump(compilation->plan, stdout);
    return true;
}

/* From the graph to the memory plan, in this order. */
static bool (*const planned[])(Compilation *compilation) = {
    build_graph, fuse, share_in_place, lower, vectorise, parallelise, share_kernels, plan};

static bool make_program(Compilation *compilation) {
    bool good = true;
    for (size_t i = 0; good && i < sizeof planned / sizeof planned[0]; i++)
        good = planned[i](compilation);
    return good;
}

static bool try_dropping(Compilation *compilation, const bool *dropped, bool *best,
                         int64_t *best_peak) {
    compilation->dropped = dropped;
    if (!make_program(compilation))
        return false;
    if (compilation->plan->peak_train < *best_peak) {
        *best_peak = compilation->plan->peak_train;
        memcpy(best, dropped, (size_t)compilation->network->layer_count * sizeof *best);
    }
    return true;
}

static bool drop_until_fits(Compilation *compilation, RecomputeSearch *search, bool *best,
                            int64_t *best_peak) {
    const int64_t limit = compilation->options->memory_limit;
    bool good = true;
    while (good && compilation->plan->peak_train > limit) {
        int64_t excess = compilation->plan->peak_train - limit;
        const bool *dropped =
            recompute_shrink(search, excess / compilation->plan->options.real_size + 1);
        if (!dropped)
            break;
        good = try_dropping(compilation, dropped, best, best_peak);
    }
    return good;
}

/* What the backward pass makes again: what is cheap and, as long as training needs more than --mem
 * allows, more. What cannot be reached is reported when the program is then made. */
static bool choose_recomputation(Compilation *compilation) {
    const Options *options = compilation->options;
    compilation->trial = true;
    bool good = make_program(compilation);
    if (good) {
        const Plan *full = compilation->plan;
        const bool limited = options->memory_limit && full->peak_infer <= options->memory_limit;
        int64_t peak = full->peak_train;
        bool *best =
            ARENA_ARRAY(compilation->arena, bool, (size_t)compilation->network->layer_count);
        RecomputeSearch *search = recompute_search(
            compilation->arena, compilation->network, compilation->kernels,
            option_pass_enabled(options, PASS_SIMPLIFY), option_pass_enabled(options, PASS_FUSE));
        const bool *cheap =
            option_pass_enabled(options, PASS_RECOMPUTE) ? recompute_cheaply(search) : NULL;
        good = cheap == NULL || try_dropping(compilation, cheap, best, &peak);
        good = good && (!limited || drop_until_fits(compilation, search, best, &peak));
        compilation->dropped = peak < full->peak_train ? best : NULL;
        compilation->full_peak = peak < full->peak_train ? full->peak_train : 0;
    }
    compilation->trial = false;
    return good;
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

/* Shards have gradients and scratch of their own: the batch stays whole where --mem does not allow
 * these. */
static bool fit_shards(Compilation *compilation) {
    const Options *options = compilation->options;
    compilation->trial = true;
    bool good = make_program(compilation);
    compilation->trial = false;
    if (!good || compilation->lowering.shards == 1 ||
        (compilation->plan->peak_infer <= options->memory_limit &&
         compilation->plan->peak_train <= options->memory_limit))
        return good;
    compilation->uncut = true;
    compilation->dropped = NULL;
    compilation->full_peak = 0;
    return !recomputation_wanted(options) || choose_recomputation(compilation);
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
