/* Time of the forward pass and of a training step, medians of several runs after a warm-up, and of
 * each layer, the least of several runs. The peak that they are held against is measured in a short
 * window behind each run and is the highest of these. So layers and peak are both what the machine
 * can do while nothing else has a share of it: whatever else runs there only takes time away, and
 * it takes more from a kernel, which shares its caches, than from the registers of the peak. */
#include "command.h"
#include "file.h"
#include "initialise.h"
#include "machine.h"
#include "optimizer.h"
#include "parallel.h"
#include "platform.h"
#include "rng.h"

#include <stdlib.h>
#include <string.h>

#define BENCH_MIN_RUNS 5
#define BENCH_MAX_RUNS 200
#define BENCH_SECONDS 1.0       /* of runs, if there can be more than the least */
#define BENCH_RUN_SECONDS 0.002 /* a run repeats the work until it takes this long */

typedef struct Samples {
    double *values;
    int count, capacity;
    bool failed; /* no memory for one of them */
} Samples;

typedef struct Bench {
    Network *network;
    TrainSettings settings;
    int batch;
    uint64_t steps;
    long peak_repeats;
    Samples peaks; /* of the windows */
} Bench;

typedef struct BenchResult {
    double forward_ms, train_ms, forward_gflops, train_gflops, peak_gflops, bandwidth_gbs;
    double flops;      /* of one forward pass of the batch */
    double peak_bytes; /* before the layers and the bandwidth were measured */
} BenchResult;

static void bench_forward(Bench *bench) {
    network_forward(bench->network, bench->batch);
}

static void bench_train_step(Bench *bench) {
    Network *network = bench->network;
    network->random_key = random_key(0, RANDOM_BENCHMARK, bench->steps);
    optimizer_begin_step(network, &bench->settings, 0, ++bench->steps);
    network_train(network, bench->batch);
}

static void samples_add(Samples *samples, double value) {
    if (samples->count == samples->capacity) {
        const int larger = samples->capacity == 0 ? BENCH_MIN_RUNS : 2 * samples->capacity;
        double *values = realloc(samples->values, (size_t)larger * sizeof *values);
        if (values == NULL) {
            samples->failed = true;
            return;
        }
        samples->values = values;
        samples->capacity = larger;
    }
    samples->values[samples->count++] = value;
}

static void samples_clear(Samples *samples) {
    free(samples->values);
    *samples = (Samples){.failed = samples->failed};
}

static int samples_compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* 0 if there are none. */
static double samples_largest(const Samples *samples) {
    double largest = 0;
    for (int i = 0; i < samples->count; i++) {
        largest = samples->values[i] > largest ? samples->values[i] : largest;
    }
    return largest;
}

/* 0 if there are none; they end in order. */
static double samples_median(Samples *samples) {
    const int half = samples->count / 2;
    if (samples->count == 0) {
        return 0;
    }
    qsort(samples->values, (size_t)samples->count, sizeof samples->values[0], samples_compare);
    return samples->count % 2 != 0 ? samples->values[half]
                                   : (samples->values[half - 1] + samples->values[half]) / 2;
}

static double bench_time(Bench *bench, void (*work)(Bench *bench), long repeats) {
    double begin = clock_seconds();
    for (long i = 0; i < repeats; i++) {
        work(bench);
    }
    return (clock_seconds() - begin) / (double)repeats;
}

static void bench_peak(Bench *bench) {
    samples_add(&bench->peaks, machine_peak_gflops(bench->peak_repeats));
}

/* Seconds of one call, the median of the runs. */
static double bench_median(Bench *bench, void (*work)(Bench *bench), Problem *problem) {
    Samples times = {0};
    double total = 0;
    long repeats = 1;
    bench_time(bench, work, 1); /* brings memory and caches in */
    while (bench_time(bench, work, repeats) * (double)repeats < BENCH_RUN_SECONDS &&
           repeats < 1L << 20) {
        repeats *= 2;
    }
    for (int run = 0; run < BENCH_MIN_RUNS || (run < BENCH_MAX_RUNS && total < BENCH_SECONDS);
         run++) {
        double seconds = bench_time(bench, work, repeats);
        samples_add(&times, seconds);
        bench_peak(bench);
        total += seconds * (double)repeats;
    }
    if (times.failed) {
        problem_out_of_memory(problem, "the runs' times");
    }
    double median = samples_median(&times);
    samples_clear(&times);
    return median;
}

static void bench_keep_least(Timing *least, const Timing *timing, int layers, bool first) {
    for (int i = 0; i < layers; i++) {
        for (int phase = 0; phase < TIMING_PHASES; phase++) {
            double seconds = timing[i].seconds[phase], *kept = &least[i].seconds[phase];
            *kept = first || seconds < *kept ? seconds : *kept;
        }
    }
}

/* The least seconds per call of each layer and phase. */
static void bench_layers(Bench *bench, Timing *least, Problem *problem) {
    const NetworkInfo *info = bench->network->info;
    void (*const work)(Bench * bench) = info->trainable ? bench_train_step : bench_forward;
    const size_t size = ((size_t)info->layer_count + 1) * sizeof(Timing);
    Timing *timing = malloc(size);
    if (timing == NULL) {
        problem_out_of_memory(problem, "the layers' times");
        return;
    }
    bench->network->timing = timing;
    double begin = clock_seconds();
    for (int run = 0;
         run < BENCH_MIN_RUNS || (run < BENCH_MAX_RUNS && clock_seconds() - begin < BENCH_SECONDS);
         run++) {
        memset(timing, 0, size);
        work(bench);
        bench_keep_least(least, timing, info->layer_count, run == 0);
        bench_peak(bench);
    }
    bench->network->timing = NULL;
    free(timing);
}

static void bench_fill(Bench *bench, const Options *options) {
    Network *network = bench->network;
    const NetworkInfo *info = network->info;
    const uint64_t seed = command_seed(info, options);
    const uint64_t key = random_key(seed, RANDOM_BENCHMARK, 0);
    real *input = network->arena + info->input_offset;
    if (!option_given(options, OPTION_WEIGHTS)) {
        initialise_parameters(network, seed);
    }
    for (size_t i = 0; i < (size_t)bench->batch * info->input_size; i++) {
        input[i] = (real)random_gaussian(key, 0, i);
    }
    for (size_t i = 0; i < (size_t)bench->batch * info->target_size; i++) {
        if (info->target_is_label) {
            network->labels[i] = (int32_t)(random_bits(key, 1, i) % network_classes(info));
        } else {
            network->targets[i] = (real)random_gaussian(key, 1, i);
        }
    }
}

static void bench_run(Bench *bench, BenchResult *result, Timing *timing, Problem *problem) {
    const NetworkInfo *info = bench->network->info;
    double macs = 0;
    for (int i = 0; i < info->layer_count; i++) {
        macs += info->layers[i].macs;
    }
    result->flops = 2 * macs * bench->batch;
    bench->peak_repeats = machine_peak_repeats();
    double forward = bench_median(bench, bench_forward, problem);
    result->forward_ms = 1e3 * forward;
    result->forward_gflops = result->flops / forward / 1e9;
    if (info->trainable) {
        double step = bench_median(bench, bench_train_step, problem);
        result->train_ms = 1e3 * step;
        /* Forward, gradient of the data and gradient of the weights cost the same. */
        result->train_gflops = 3 * result->flops / step / 1e9;
    }
    result->peak_bytes = peak_memory_bytes();
    if (timing != NULL) {
        bench_layers(bench, timing, problem);
    }
    if (bench->peaks.failed) {
        problem_out_of_memory(problem, "the measurement of the peak");
    }
    result->peak_gflops = samples_largest(&bench->peaks);
    samples_clear(&bench->peaks);
    result->bandwidth_gbs = machine_bandwidth_gbs(problem);
}

static const char *const bench_phase_names[TIMING_PHASES] = {"forward", "data_gradient",
                                                             "weight_gradient"};

/* Useful operations over what the peak would do in the time; 0 where nothing was measured. */
static double bench_share(const Bench *bench, const BenchResult *result, const LayerInfo *layer,
                          double seconds) {
    double flops = 2 * layer->macs * bench->batch;
    return seconds > 0 && result->peak_gflops > 0 ? flops / seconds / 1e9 / result->peak_gflops : 0;
}

static void bench_print_json(const Bench *bench, const BenchResult *result, const Timing *timing,
                             Text *text) {
    const NetworkInfo *info = bench->network->info;
    text_add(text, "{\"network\":");
    text_add_json_string(text, info->name);
    text_add(text,
             ",\"batch\":%d,\"threads\":%d,\"forward_ms\":%.6g,\"train_ms\":%.6g,"
             "\"forward_gflops\":%.6g,\"train_gflops\":%.6g,\"peak_gflops\":%.6g,"
             "\"bandwidth_gbs\":%.6g,\"peak_bytes\":%.0f",
             bench->batch, parallel_threads(), result->forward_ms, result->train_ms,
             result->forward_gflops, result->train_gflops, result->peak_gflops,
             result->bandwidth_gbs, result->peak_bytes);
    for (int i = 0; timing != NULL && i < info->layer_count; i++) {
        text_add(text, "%s{\"name\":", i > 0 ? "," : ",\"layers\":[");
        text_add_json_string(text, info->layers[i].name);
        for (int phase = 0; phase < TIMING_PHASES; phase++) {
            text_add(text, ",\"%s_ms\":%.6g", bench_phase_names[phase],
                     1e3 * timing[i].seconds[phase]);
        }
        for (int phase = 0; phase < TIMING_PHASES; phase++) {
            text_add(text, ",\"%s_share\":%.4g", bench_phase_names[phase],
                     bench_share(bench, result, &info->layers[i], timing[i].seconds[phase]));
        }
        text_add(text, "}%s", i + 1 == info->layer_count ? "]" : "");
    }
    text_add(text, "}\n");
}

static void bench_print_text(const Bench *bench, const BenchResult *result, const Timing *timing,
                             Text *text) {
    const NetworkInfo *info = bench->network->info;
    const double percent = result->peak_gflops > 0 ? 100 / result->peak_gflops : 0;
    text_add(text, "%s, batch %d, %d thread%s\n", info->name, bench->batch, parallel_threads(),
             parallel_threads() == 1 ? "" : "s");
    text_add(text, "forward     %10.4f ms  %8.1f GFLOP/s  %5.1f %% of the peak\n",
             result->forward_ms, result->forward_gflops, percent * result->forward_gflops);
    if (info->trainable) {
        text_add(text, "train step  %10.4f ms  %8.1f GFLOP/s  %5.1f %% of the peak\n",
                 result->train_ms, result->train_gflops, percent * result->train_gflops);
    }
    text_add(text, "machine     peak %.1f GFLOP/s, bandwidth %.1f GB/s, memory used %.1f MB\n",
             result->peak_gflops, result->bandwidth_gbs, result->peak_bytes / 1e6);
    if (timing != NULL) {
        text_add(text, "\n%-16s %12s %7s %12s %7s %12s %7s\n", "layer", "forward ms", "share",
                 "data grad ms", "share", "weights ms", "share");
    }
    for (int i = 0; timing != NULL && i < info->layer_count; i++) {
        text_add(text, "%-16s", info->layers[i].name);
        for (int phase = 0; phase < TIMING_PHASES; phase++) {
            double seconds = timing[i].seconds[phase];
            text_add(text, " %12.4f %7.3f", 1e3 * seconds,
                     bench_share(bench, result, &info->layers[i], seconds));
        }
        text_add(text, "\n");
    }
}

RUNTIME_API ExitStatus command_bench(const NetworkInfo *info, const Options *options,
                                     Problem *problem) {
    unsigned long long batch =
        option_integer(options, OPTION_BENCH_BATCH, (unsigned long long)info->max_batch);
    if (batch > (unsigned long long)info->max_batch) {
        problem_add(problem, "--batch: this program was compiled for batches of at most %d",
                    info->max_batch);
        return EXIT_STATUS_USAGE;
    }
    Bench bench = {.network = command_create_network(info, options, problem),
                   .settings = info->train,
                   .batch = (int)batch};
    Timing *timing = NULL;
    Text text = {0};
    bool good =
        bench.network != NULL &&
        (!info->trainable || optimizer_create_state(bench.network, &bench.settings, problem));
    if (good && option_given(options, OPTION_LAYERS)) {
        timing = calloc((size_t)info->layer_count + 1, sizeof *timing);
        good = timing != NULL || problem_out_of_memory(problem, "the layers' times");
    }
    if (good) {
        BenchResult result = {0};
        bench_fill(&bench, options);
        bench_run(&bench, &result, timing, problem);
        if (option_given(options, OPTION_JSON)) {
            bench_print_json(&bench, &result, timing, &text);
        } else {
            bench_print_text(&bench, &result, timing, &text);
        }
        good = !text.failed && problem->count == 0;
        printf("%s", good ? text.data : "");
    }
    text_free(&text);
    free(timing);
    network_free(bench.network);
    return good ? EXIT_STATUS_DONE : EXIT_STATUS_FAILED;
}
