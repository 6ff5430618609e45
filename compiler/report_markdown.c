/* The report for documents. */
#include "report_table.h"

static void add_memory(Text *out, const Plan *plan) {
    static const Column columns[] = {{"Memory", false}, {"Bytes", true}, {"", true}};
    MemoryPart parts[MEMORY_PARTS];
    memory_parts(plan, parts);
    Table table;
    table_init(&table, out->arena, columns, 3);
    for (int i = 0; i < MEMORY_PARTS; i++) {
        const char **cells = table_add_row(&table);
        cells[0] = parts[i].title;
        cells[1] = count_text(out->arena, parts[i].bytes);
        cells[2] = bytes_text(out->arena, parts[i].bytes);
    }
    text_format(out, "\nFor batches of %d in %s:\n\n", plan->options.max_batch,
                plan->options.real_size == 8 ? "float64" : "float32");
    table_print_markdown(out, &table);
}

void report_markdown(Text *out, const ReportInput *input) {
    const Network *network = input->network;
    Arena *arena = out->arena;
    text_format(out, "## %s: %s -> %s\n\n", network->name,
                shape_text(arena, &network->layers[0]->output),
                shape_text(arena, &network->heads[0].layer->output));
    Table table = layer_table(arena, input);
    table_print_markdown(out, &table);
    text_format(out,
                "\n%s weights, %s biases, %s running statistics; %sMAC, %sFLOP and %s activations "
                "for one example.\n",
                count_text(arena, network->weight_count), count_text(arena, network->bias_count),
                count_text(arena, network->running_count), scaled_text(arena, network->cost.macs),
                scaled_text(arena, network->cost.flops),
                count_text(arena, network->activation_count));
    add_memory(out, input->plan);
    if (input->graph->recomputed_count > 0)
        text_format(out, "\nRecomputed in the backward pass: %s; %s.\n",
                    recomputed_text(arena, input), recomputed_names(arena, input->graph, ", "));
}
