#include "recompute.h"
#include "report.h"

#include <inttypes.h>

/* Bytes that are no part of well-formed UTF-8 cannot come here: the scanner refuses them. */
static void add_string(Text *out, const char *string) {
    text_add_character(out, '"');
    for (const char *c = string; *c; c++) {
        if (*c == '"' || *c == '\\')
            text_format(out, "\\%c", *c);
        else if ((unsigned char)*c < ' ')
            text_format(out, "\\u%04x", (unsigned)*c);
        else
            text_add_character(out, *c);
    }
    text_add_character(out, '"');
}

static void add_numbers(Text *out, const int64_t *numbers, int count) {
    text_add_character(out, '[');
    for (int i = 0; i < count; i++)
        text_format(out, "%s%" PRId64, i ? "," : "", numbers[i]);
    text_add_character(out, ']');
}

static void add_shape(Text *out, const Shape *shape) {
    add_numbers(out, shape->extent, shape->rank);
}

static void add_inputs(Text *out, const Layer *layer) {
    text_add_character(out, '[');
    for (int i = 0; i < layer->input_count; i++) {
        text_add(out, i ? "," : "");
        add_string(out, layer->inputs[i]->name);
    }
    text_add_character(out, ']');
}

static void add_counts(Text *out, int64_t weights, int64_t biases, int64_t buffers, Cost cost,
                       int64_t activations) {
    text_format(out,
                "\"params\":%" PRId64 ",\"weights\":%" PRId64 ",\"biases\":%" PRId64
                ",\"buffers\":%" PRId64 ",\"macs\":%" PRId64 ",\"flops\":%" PRId64
                ",\"activations\":%" PRId64,
                weights + biases, weights, biases, buffers, cost.macs, cost.flops, activations);
}

static void add_layer(Text *out, const ReportInput *input, const Layer *layer) {
    int axes = input->network->layers[0]->output.rank - 1;
    ParameterTotals totals = layer_parameters(layer);
    text_add(out, "{\"name\":");
    add_string(out, layer->name);
    text_add(out, ",\"kind\":");
    add_string(out, layer->op->name);
    text_format(out, ",\"line\":%d,\"inputs\":", layer_line(input, layer));
    add_inputs(out, layer);
    text_add(out, ",\"output\":");
    add_shape(out, &layer->output);
    text_add_character(out, ',');
    add_counts(out, totals.weights, totals.biases, totals.running, layer->cost, layer->elements);
    text_add(out, ",\"receptive_field\":");
    add_numbers(out, layer->receptive_field, axes);
    text_add_character(out, '}');
}

static void add_recomputed(Text *out, const Graph *graph) {
    text_add(out, ",\"recomputed\":[");
    for (int i = 0; i < graph->recomputed_count; i++) {
        text_add(out, i > 0 ? "," : "");
        add_string(out, graph->recomputed[i]->name);
    }
    text_format(out, "],\"recomputed_flops\":%" PRId64, recomputed_flops(graph));
}

void report_json(Text *out, const ReportInput *input) {
    const Network *network = input->network;
    text_add(out, "{\"network\":");
    add_string(out, network->name);
    text_add(out, ",\n \"input\":");
    add_shape(out, &network->layers[0]->output);
    text_add(out, ",\n \"output\":");
    add_shape(out, &network->heads[0].layer->output);
    text_add(out, ",\n \"layers\":[");
    for (int i = 1; i < network->layer_count; i++) {
        text_add(out, i > 1 ? ",\n  " : "\n  ");
        add_layer(out, input, network->layers[i]);
    }
    text_format(out, "],\n \"totals\":{\"layers\":%d,", network_layer_total(network));
    add_counts(out, network->weight_count, network->bias_count, network->running_count,
               network->cost, network->activation_count);
    text_format(out, "},\n \"memory\":{\"batch\":%d", input->plan->options.max_batch);
    MemoryPart parts[MEMORY_PARTS];
    memory_parts(input->plan, parts);
    for (int i = 0; i < MEMORY_PARTS; i++)
        text_format(out, ",\"%s\":%" PRId64, parts[i].key, parts[i].bytes);
    add_recomputed(out, input->graph);
    text_add(out, "}}\n");
}
