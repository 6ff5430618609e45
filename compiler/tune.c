#include "tune.h"

#include "runtime_text.h"
#include "tune_cache.h"
#include "tune_machine.h"
#include "tune_trials.h"
#include "workplace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUN_SECONDS "0.25" /* of each sequence in one run of a program */
#define MEASURING_PIECE "tune.c"
#define MAX_WORDS 64 /* of the C compiler's command line */

typedef struct TuneRun {
    const TuneTask *task;
    Tuning *tuning;
    TuneCache *cache;
    Workplace workplace;
    Trials *trials;
    int threads;
    const char **problem;
} TuneRun;

/* ---- The cache ---- */

static void look_up(void *context, Question *question) {
    const TuneRun *run = context;
    question->settled = tune_cache_find(run->cache, question->signature, &question->cache_line);
}

static void refuse(void *context, const Question *question, const char *answer) {
    const TuneRun *run = context;
    tune_cache_refuse(run->cache, question->cache_line, answer);
}

static bool load_cache(TuneRun *run) {
    const TuneTask *task = run->task;
    const char *path =
        task->cache_path != NULL ? task->cache_path : tune_cache_default_path(task->arena);
    if (path == NULL) {
        *run->problem =
            "--tune: neither HOME nor XDG_CACHE_HOME says where results are kept; "
            "name a file with --tune-file";
        return false;
    }
    const char *machine = arena_format(task->arena, "%s\t%s\t%s %s, %d thread%s", task->version,
                                       tune_processor(task->arena), task->target,
                                       task->double_precision ? "double" : "float", run->threads,
                                       run->threads == 1 ? "" : "s");
    run->cache = tune_cache_load(task->arena, path, machine, run->problem);
    return run->cache != NULL;
}

static bool save_cache(const TuneRun *run) {
    const Question **settled =
        ARENA_ARRAY(run->task->arena, const Question *, (size_t)run->trials->member_count);
    int count = 0;
    for (int i = 0; i < run->trials->member_count; i++)
        if (run->trials->members[i].question->settled != NULL)
            settled[count++] = run->trials->members[i].question;
    return tune_cache_save(run->cache, settled, count, run->problem);
}

/* ---- Programs ---- */

static const char *trial_path(const TuneRun *run, int trial, const char *ending) {
    return workplace_path(&run->workplace,
                          arena_format(run->task->arena, "trial%d%s", trial, ending));
}

/* The piece of the runtime without its includes, which stand in the program already. */
static void add_measuring(Text *program) {
    const char *line = "";
    for (size_t i = 0; i < runtime_text_count; i++)
        if (strcmp(runtime_texts[i].name, MEASURING_PIECE) == 0)
            line = runtime_texts[i].text;
    while (*line != '\0') {
        size_t length = strcspn(line, "\n");
        if (strncmp(line, "#include \"", strlen("#include \"")) != 0)
            text_add_bytes(program, line, length);
        text_add_character(program, '\n');
        line += length + (line[length] == '\n');
    }
    text_add(program,
             "int main(void) {\n    return tune_measure(&network_info, " RUN_SECONDS ");\n}\n");
}

static bool add_words(Arena *arena, const char *text, char **words, int *count) {
    for (text += strspn(text, " \t"); *text != '\0'; text += strspn(text, " \t")) {
        size_t length = strcspn(text, " \t");
        if (*count == MAX_WORDS - 1)
            return false;
        words[(*count)++] = arena_copy(arena, text, length);
        text += length;
    }
    words[*count] = NULL;
    return true;
}

static bool compile_trial(TuneRun *run, int trial) {
    Arena *arena = run->task->arena;
    char *words[MAX_WORDS];
    const char *compiler = getenv("CC"), *output;
    int count = 0;
    compiler = compiler != NULL && compiler[strspn(compiler, " \t")] != '\0' ? compiler : "cc";
    bool fits = add_words(arena, compiler, words, &count) &&
                add_words(arena, "-w -O3", words, &count) &&
                add_words(arena, run->task->compiler_flags, words, &count) &&
                add_words(arena, "-fopenmp -o", words, &count) && count < MAX_WORDS - 4;
    if (!fits) {
        *run->problem = "--tune: CC has too many words";
        return false;
    }
    words[count++] = (char *)trial_path(run, trial, "");
    words[count++] = (char *)trial_path(run, trial, ".c");
    words[count++] = "-lm";
    words[count] = NULL;
    if (workplace_run(&run->workplace, words, run->threads, &output, run->problem))
        return true;
    *run->problem = arena_format(arena,
                                 "--tune: the C compiler fails (the environment variable CC "
                                 "names another one):\n%s",
                                 *run->problem);
    return false;
}

static bool build_trial(TuneRun *run, int trial) {
    Text program;
    text_init(&program, run->task->arena);
    text_add(&program, "#define CNNC_NO_MAIN\n");
    trials_begin(run->trials, trial);
    if (run->task->make(run->task->context, &program) == NULL)
        return false;
    add_measuring(&program);
    fprintf(stderr, "cnnc: tuning: compiling program %d of %d\n", trial + 1,
            run->trials->trial_count);
    return workplace_write(&run->workplace, arena_format(run->task->arena, "trial%d.c", trial),
                           &program, run->problem) &&
           compile_trial(run, trial);
}

/* ---- Times ---- */

/* The lines that runtime/tune.h describes. */
static void record_lines(TuneRun *run, int trial, int round, const char *lines) {
    char sequence[16], layer[12], phase[40], seconds[40];
    for (const char *line = lines; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (sscanf(line, "%15s %11s %39s %39s", sequence, layer, phase, seconds) == 4)
            trials_record(run->trials,
                          strcmp(sequence, "training") == 0 ? SEQUENCE_TRAINING
                                                            : SEQUENCE_EVALUATION,
                          (int)strtol(layer, NULL, 10), phase, trial, round, strtod(seconds, NULL));
    }
}

static bool run_trial(TuneRun *run, int trial, int round) {
    char *words[] = {(char *)trial_path(run, trial, ""), NULL};
    const char *output;
    if (!workplace_run(&run->workplace, words, run->threads, &output, run->problem)) {
        *run->problem = arena_format(run->task->arena,
                                     "--tune: the program that measures fails:\n%s", *run->problem);
        return false;
    }
    record_lines(run, trial, round, output);
    return true;
}

/* The programs take turns, so that what else the machine does meets all of them. */
static bool measure_trials(TuneRun *run) {
    bool good = true;
    for (int trial = 0; good && trial < run->trials->trial_count; trial++)
        good = build_trial(run, trial);
    for (int round = 0; good && round < TUNE_ROUNDS; round++) {
        fprintf(stderr, "cnnc: tuning: measuring, round %d of %d\n", round + 1, TUNE_ROUNDS);
        for (int trial = 0; good && trial < run->trials->trial_count; trial++)
            good = run_trial(run, trial, round);
    }
    return good;
}

static bool measure(TuneRun *run) {
    if (!workplace_open(&run->workplace, run->task->arena, run->problem))
        return false;
    fprintf(stderr, "cnnc: tuning: %d kernels' schedules, %d programs, %d thread%s\n",
            run->trials->member_count, run->trials->trial_count, run->threads,
            run->threads == 1 ? "" : "s");
    bool good = measure_trials(run);
    workplace_close(&run->workplace);
    return good;
}

static void tell(const TrialsResult *result) {
    double saved = result->before > 0 ? 100 * (1 - result->after / result->before) : 0;
    fprintf(stderr,
            "cnnc: tuning: %d of %d schedules changed, which saves %.1f %% of these kernels' "
            "time\n",
            result->changed, result->families, saved);
}

/* What is open, into run->trials. */
static bool collect(TuneRun *run) {
    Tuning *tuning = run->tuning;
    tuning->look_up = look_up;
    tuning->refuse = refuse;
    tuning->context = run;
    tuning->collecting = true;
    const Kernels *kernels = run->task->make(run->task->context, NULL);
    tuning->collecting = false;
    tuning->look_up = NULL;
    tuning->refuse = NULL;
    if (kernels == NULL)
        return false;
    run->trials = trials_plan(run->task->arena, tuning, kernels);
    return true;
}

bool tune(const TuneTask *task, Tuning *tuning, const char **problem) {
    TuneRun run = {.task = task, .tuning = tuning, .problem = problem};
    run.threads = task->threads > 0 ? task->threads : tune_processors();
    if (!load_cache(&run) || !collect(&run))
        return false;
    if (run.trials->member_count == 0)
        return true;
    if (task->cache_path == NULL)
        tune_cache_make_directories(run.cache);
    if (!tune_cache_writable(run.cache, problem) || !measure(&run))
        return false;
    TrialsResult result = trials_settle(run.trials, tuning);
    tell(&result);
    return save_cache(&run);
}
