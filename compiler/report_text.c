/* The report for people. */
#include "report_table.h"
#include "wrap.h"

static void add_totals(Text *out, const Network *network) {
    Arena *arena = out->arena;
    text_format(out, "\nparameters   %s: %s weights, %s biases\n",
                count_text(arena, network->parameter_count),
                count_text(arena, network->weight_count), count_text(arena, network->bias_count));
    if (network->running_count)
        text_format(out, "statistics   %s running means and variances\n",
                    count_text(arena, network->running_count));
    text_format(out, "cost         %sMAC, %sFLOP for one example\n",
                scaled_text(arena, network->cost.macs), scaled_text(arena, network->cost.flops));
    text_format(out, "activations  %s numbers for one example\n",
                count_text(arena, network->activation_count));
    for (int i = 1; i < network->head_count; i++)
        text_format(out, "output       %s: %s, %s\n", network->heads[i].name,
                    network->heads[i].layer->name,
                    shape_text(arena, &network->heads[i].layer->output));
}

static void add_memory(Text *out, const Plan *plan) {
    MemoryPart parts[MEMORY_PARTS];
    memory_parts(plan, parts);
    text_format(out, "\nmemory for %d example%s at a time, %s\n", plan->options.max_batch,
                plan->options.max_batch == 1 ? "" : "s",
                plan->options.real_size == 8 ? "float64" : "float32");
    for (int i = 0; i < MEMORY_PARTS; i++) {
        if (parts[i].bytes)
            text_format(out, "  %-18s  %10s\n", parts[i].title,
                        bytes_text(out->arena, parts[i].bytes));
    }
}

static void add_recomputed(Text *out, const ReportInput *input) {
    if (input->graph->recomputed_count == 0)
        return;
    text_format(out, "\nrecomputed in the backward pass: %s\ninstead of a peak of %s\n",
                recomputed_text(out->arena, input),
                bytes_text(out->arena, input->plan->options.full_peak));
    wrap_line(out, 2, 0, recomputed_names(out->arena, input->graph, ",\001"));
}

void report_text(Text *out, const ReportInput *input) {
    const Network *network = input->network;
    text_format(out, "%s: %s -> %s\n\n", network->name,
                shape_text(out->arena, &network->layers[0]->output),
                shape_text(out->arena, &network->heads[0].layer->output));
    Table table = layer_table(out->arena, input);
    table_print_text(out, &table, table.row_count - 1);
    add_totals(out, network);
    add_memory(out, input->plan);
    add_recomputed(out, input);
}
