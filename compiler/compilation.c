#include "compilation.h"
#include "fold.h"
#include "fuse_moments.h"
#include "fuse_window_gradients.h"
#include "fuse_windows.h"
#include "inplace.h"
#include "layout.h"
#include "pad.h"
#include "recompute.h"
#include "schedule.h"
#include "shard.h"
#include "simplify.h"
#include "update.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { DEFAULT_BATCH = 64 }; /* where neither the command line nor the train block says */

bool complain(Compilation *compilation, const char *format, ...) {
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

/* ---- From the graph to the plan ---- */

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
                          .second_level_cache = options->target->second_level_cache,
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

int whole_batch(const Compilation *compilation) {
    return compilation->lowering.max_batch * compilation->lowering.shards;
}

static bool plan(Compilation *compilation) {
    const Options *options = compilation->options;
    const PlanOptions plan_options = {
        .max_batch = whole_batch(compilation),
        .shards = compilation->lowering.shards,
        .shard_block = compilation->lowering.shard_block,
        .slots = lower_slots(&compilation->lowering),
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

bool make_program(Compilation *compilation) {
    bool good = true;
    for (size_t i = 0; good && i < sizeof planned / sizeof planned[0]; i++)
        good = planned[i](compilation);
    return good;
}

/* ---- What fits the memory ---- */

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

bool choose_recomputation(Compilation *compilation) {
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

bool fit_shards(Compilation *compilation) {
    const Options *options = compilation->options;
    if (compilation->lowering.shards == 1)
        return true; /* as the search for what to make again has found */
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
    return options->infer_only || choose_recomputation(compilation);
}
