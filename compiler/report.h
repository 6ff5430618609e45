/* The report: shapes, parameters, cost and memory of a network, in one of several formats. */
#ifndef CNNC_REPORT_H
#define CNNC_REPORT_H

#include "network.h"
#include "plan.h"
#include "text.h"

typedef struct ReportInput {
    const Network *network; /* after network_infer */
    const Graph *graph;     /* what is recomputed */
    const Plan *plan;       /* for the options.max_batch examples that it states */
    const Sources *sources; /* for line numbers */
} ReportInput;

typedef struct ReportFormat {
    const char *name;                                   /* as in --report=NAME */
    void (*write)(Text *out, const ReportInput *input); /* NULL: a format still to come */
} ReportFormat;

extern const ReportFormat report_formats[]; /* the first one is the default */
extern const int report_format_count;

void report_text(Text *out, const ReportInput *input);
void report_json(Text *out, const ReportInput *input);
void report_csv(Text *out, const ReportInput *input);
void report_markdown(Text *out, const ReportInput *input);

/* What the formats share. */

/* The trainable numbers of a layer by role, connection tables respected. */
typedef struct ParameterTotals {
    int64_t weights, biases, running;
} ParameterTotals;
ParameterTotals layer_parameters(const Layer *layer);
/* The line of the description where the layer stands. */
int layer_line(const ReportInput *input, const Layer *layer);
/* Layers without the INPUT row. */
int network_layer_total(const Network *network);

/* The parts of memory, in the order in which all formats list them. */
typedef struct MemoryPart {
    const char *key, *title;
    int64_t bytes;
} MemoryPart;
#define MEMORY_PARTS 9
void memory_parts(const Plan *plan, MemoryPart parts[MEMORY_PARTS]);

/* "3 layers, 1.20 MFLOP more for an example (0.1 % of a step)": what --mem makes the backward pass
 * run again; and the layers' names. */
const char *recomputed_text(Arena *arena, const ReportInput *input);
const char *recomputed_names(Arena *arena, const Graph *graph, const char *separator);

/* 1234567 as "1,234,567"; 1.41e9 as "1.41 G"; 3 * 2^20 as "3.00 MiB". */
const char *count_text(Arena *arena, int64_t count);
const char *scaled_text(Arena *arena, int64_t count);
const char *bytes_text(Arena *arena, int64_t bytes);
/* The arguments that differ from the defaults, as a user would write them:
 * "32, 3x3, pad=1"; "" if there are none. Long lists are cut. */
const char *layer_arguments(Arena *arena, const Layer *layer);
/* The one line that a plain check prints. */
void report_summary(Text *out, const Network *network);

#endif
