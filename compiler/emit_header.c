/* The comment at the top of the emitted file: what it is, from what it was made, what is in it. */
#include "emit_internal.h"
#include "report.h"
#include "wrap.h"

#include <inttypes.h>
#include <string.h>

/* ---- The table of layers ---- */

#define COLUMNS 6
#define MOST_ROWS 100 /* of layers; network_layers has them all */

typedef struct Row {
    const char *cells[COLUMNS];
} Row;

static const char *number_text(Arena *arena, int64_t value) {
    return arena_format(arena, "%" PRId64, value);
}

static Row layer_row(const Emitter *emitter, const Layer *layer) {
    Arena *arena = emitter->arena;
    ParameterTotals totals = layer_parameters(layer);
    return (Row){{layer->name, layer->op->name, shape_text(arena, &layer->output),
                  number_text(arena, totals.weights + totals.biases),
                  number_text(arena, layer->cost.flops),
                  number_text(arena, emit_line_of(emitter, layer))}};
}

static void add_row(Text *text, const Row *row, const int *widths) {
    for (int i = 0; i < COLUMNS; i++) {
        bool left = i < 3; /* words to the left, numbers to the right */
        int blanks = widths[i] - (int)strlen(row->cells[i]);
        text_add(text, i > 0 ? "  " : "");
        text_add_repeated(text, ' ', left ? 0 : blanks);
        text_add(text, row->cells[i]);
        text_add_repeated(text, ' ', left ? blanks : 0);
    }
    text_add_character(text, '\n');
}

static void emit_layer_rows(const Emitter *emitter) {
    const Network *network = emitter->input->network;
    Arena *arena = emitter->arena;
    int count = network->layer_count + 2, widths[COLUMNS] = {0};
    Row *rows = ARENA_ARRAY(arena, Row, (size_t)count);
    rows[0] = (Row){{"layer", "kind", "output", "parameters", "FLOPs", "line"}};
    for (int i = 0; i < network->layer_count; i++)
        rows[i + 1] = layer_row(emitter, network->layers[i]);
    rows[count - 1] = (Row){{"total", "", "", number_text(arena, network->parameter_count),
                             number_text(arena, network->cost.flops), ""}};
    for (int i = 0; i < count; i++)
        for (int c = 0; c < COLUMNS; c++)
            if (widths[c] < (int)strlen(rows[i].cells[c]))
                widths[c] = (int)strlen(rows[i].cells[c]);
    Text table;
    text_init(&table, arena);
    for (int i = 0; i < count; i++)
        add_row(&table, &rows[i], widths);
    wrap_verbatim(emitter->out, " *     ", table.bytes);
}

/* ---- The memory plan ---- */

static void emit_memory(const Emitter *emitter) {
    const Plan *plan = emitter->input->plan;
    const struct {
        const char *what;
        int64_t bytes;
    } rows[] = {
        {"parameters", plan->parameters},
        {"prepared from them", plan->prepared},
        {"optimizer", plan->optimizer},
        {"targets, losses", plan->targets},
        {"arena in evaluation", plan->sequence_bytes[SEQUENCE_EVALUATION]},
        {"arena in training", plan->sequence_bytes[SEQUENCE_TRAINING]},
        {"peak of evaluation", plan->peak_infer},
        {"peak of training", plan->peak_train},
    };
    text_format(emitter->out, " *\n * Memory for a batch of %d, in bytes:\n *\n",
                plan->options.max_batch);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].bytes > 0)
            text_format(emitter->out, " *     %-20s %14" PRId64 "\n", rows[i].what, rows[i].bytes);
}

/* ---- The whole comment ---- */

void emit_header_comment(Emitter *emitter) {
    const EmitOptions *options = &emitter->input->options;
    const Network *network = emitter->input->network;
    Text *out = emitter->out;
    const char *name = comment_safe(emitter->arena, network->name);
    text_format(out, "/* The network %s as one C program, written by cnnc %s.\n *\n", name,
                options->version);
    text_format(out, " * Options: %s%sfor %s, batches of up to %d, %s.\n",
                options->options != NULL ? comment_safe(emitter->arena, options->options) : "",
                options->options != NULL && *options->options != '\0' ? "; " : "", options->target,
                options->max_batch,
                options->infer_only ? "inference only" : "training and inference");
    text_add(out,
             " * Build: cc -O3 -march=native -fopenmp FILE.c -o NAME -lm\n"
             " * Use: ./NAME help\n"
             " *\n"
             " * The description:\n"
             " *\n");
    wrap_verbatim(out, " *     ", network->source);
    if (network->layer_count <= MOST_ROWS) {
        text_add(out, " *\n * The layers, for one example:\n *\n");
        emit_layer_rows(emitter);
    } else {
        text_format(out,
                    " *\n * %d layers, listed in network_layers: %" PRId64 " parameters, %" PRId64
                    " FLOPs for one example.\n",
                    network->layer_count, network->parameter_count, network->cost.flops);
    }
    emit_memory(emitter);
    text_add(out, " */\n");
}
