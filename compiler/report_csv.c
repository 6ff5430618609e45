/* One row per layer with the keys of the JSON report, as RFC 4180 wants it but with plain line
 * ends; no field can hold a comma or a quote. Extents are joined by x, input names by blanks. */
#include "report.h"

#include <inttypes.h>

static void add_receptive_field(Text *out, const ReportInput *input, const Layer *layer) {
    text_add_character(out, ',');
    int axes = input->network->layers[0]->output.rank - 1;
    for (int i = 0; i < axes; i++)
        text_format(out, "%s%" PRId64, i ? "x" : "", layer->receptive_field[i]);
}

void report_csv(Text *out, const ReportInput *input) {
    const Network *network = input->network;
    text_add(out,
             "name,kind,line,inputs,output,params,weights,biases,buffers,macs,flops,"
             "activations,receptive_field\n");
    for (int i = 1; i < network->layer_count; i++) {
        const Layer *layer = network->layers[i];
        ParameterTotals totals = layer_parameters(layer);
        text_format(out, "%s,%s,%d,", layer->name, layer->op->name, layer_line(input, layer));
        for (int j = 0; j < layer->input_count; j++)
            text_format(out, "%s%s", j ? " " : "", layer->inputs[j]->name);
        text_format(
            out,
            ",%s,%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64,
            shape_text(out->arena, &layer->output), totals.weights + totals.biases, totals.weights,
            totals.biases, totals.running, layer->cost.macs, layer->cost.flops, layer->elements);
        add_receptive_field(out, input, layer);
        text_add_character(out, '\n');
    }
}
