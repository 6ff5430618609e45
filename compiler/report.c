#include "report.h"

#include "literal.h"
#include "recompute.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const ReportFormat report_formats[] = {
    {"text", report_text},   {"json", report_json}, {"csv", report_csv},
    {"md", report_markdown}, {"html", NULL},
};
const int report_format_count = (int)(sizeof report_formats / sizeof report_formats[0]);

ParameterTotals layer_parameters(const Layer *layer) {
    ParameterTotals totals = {0};
    int64_t *const sums[] = {[PARAMETER_WEIGHT] = &totals.weights,
                             [PARAMETER_BIAS] = &totals.biases,
                             [PARAMETER_RUNNING] = &totals.running};
    /* Each sum is part of a total of the network, which is known to fit. */
    for (int i = 0; i < layer->parameter_count; i++)
        *sums[layer->parameters[i].role] += layer->parameters[i].count;
    return totals;
}

int layer_line(const ReportInput *input, const Layer *layer) {
    return source_place(input->sources, layer->where.begin).line;
}

int network_layer_total(const Network *network) {
    return network->layer_count - 1;
}

void memory_parts(const Plan *plan, MemoryPart parts[MEMORY_PARTS]) {
    const MemoryPart all[MEMORY_PARTS] = {
        {"parameters", "parameters", plan->parameters},
        {"prepared", "prepared from them", plan->prepared},
        {"optimizer", "optimizer state", plan->optimizer},
        {"targets", "targets, losses", plan->targets},
        {"gradients", "gradients", plan->gradients},
        {"activations", "activations", plan->activations},
        {"scratch", "scratch", plan->scratch},
        {"peak_train", "peak in training", plan->peak_train},
        {"peak_infer", "peak in evaluation", plan->peak_infer},
    };
    memcpy(parts, all, sizeof all);
}

const char *recomputed_text(Arena *arena, const ReportInput *input) {
    const int64_t flops = recomputed_flops(input->graph);
    const int count = input->graph->recomputed_count;
    /* A step is a forward pass and two gradients. */
    double percent = 100 * (double)flops / (3 * (double)input->network->cost.flops);
    const char *share = percent < 0.05 ? "<0.1" : arena_format(arena, "%.1f", percent);
    return arena_format(arena, "%d layer%s, %sFLOP more for an example (%s %% of a step)", count,
                        count == 1 ? "" : "s", scaled_text(arena, flops), share);
}

const char *recomputed_names(Arena *arena, const Graph *graph, const char *separator) {
    Text names;
    text_init(&names, arena);
    for (int i = 0; i < graph->recomputed_count; i++)
        text_format(&names, "%s%s", i > 0 ? separator : "", graph->recomputed[i]->name);
    return names.bytes;
}

const char *count_text(Arena *arena, int64_t count) {
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRId64, count);
    char *text = ARENA_ARRAY(arena, char, (size_t)(length + length / 3 + 1));
    char *end = text;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0 && digits[i - 1] != '-')
            *end++ = ',';
        *end++ = digits[i];
    }
    return text;
}

/* Three significant digits and the largest unit that leaves at least 1. */
static const char *in_units(Arena *arena, int64_t count, double step, const char *const *units,
                            int unit_count) {
    double value = (double)count;
    int unit = 0;
    while (unit + 1 < unit_count && value >= (unit == 0 ? step : step - 0.5)) {
        value /= step;
        unit++;
    }
    if (unit == 0)
        return arena_format(arena, "%" PRId64 " %s", count, units[0]);
    int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    return arena_format(arena, "%.*f %s", decimals, value, units[unit]);
}

const char *scaled_text(Arena *arena, int64_t count) {
    static const char *const units[] = {"", "k", "M", "G", "T", "P", "E"};
    return in_units(arena, count, 1000, units, 7);
}

const char *bytes_text(Arena *arena, int64_t bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    return in_units(arena, bytes, 1024, units, 7);
}

static bool is_number(const Value *value) {
    return value->kind == VALUE_INTEGER || value->kind == VALUE_NUMBER;
}

static double as_number(const Value *value) {
    return value->kind == VALUE_INTEGER ? (double)value->as.integer : value->as.number;
}

static bool is_default(Arena *arena, const AttributeDef *attribute, const Value *value) {
    Value fallback = {.kind = VALUE_NONE};
    if (!attribute->fallback || !literal_read(arena, attribute->fallback, &fallback))
        return value->kind == VALUE_NONE;
    if (is_number(&fallback) && is_number(value))
        return as_number(&fallback) == as_number(value);
    if (value->kind == VALUE_NONE || fallback.kind == VALUE_NONE)
        return value->kind == fallback.kind;
    return strcmp(value_text(arena, value), value_text(arena, &fallback)) == 0;
}

const char *layer_arguments(Arena *arena, const Layer *layer) {
    enum { LONGEST = 40 };
    Text text;
    text_init(&text, arena);
    bool positional = true;
    for (int i = 0; i < layer->op->attribute_count; i++) {
        const AttributeDef *attribute = &layer->op->attributes[i];
        const Value *value = &layer->attributes[i];
        positional = positional && !attribute->fallback; /* required ones, as they are written */
        if (is_default(arena, attribute, value)) {
            positional = false;
            continue;
        }
        const char *written = value_text(arena, value);
        text_add(&text, text.length ? ", " : "");
        if (!positional)
            text_format(&text, "%s=", attribute->name);
        text_add(&text, strlen(written) > LONGEST ? "..." : written);
    }
    return text.bytes;
}

void report_summary(Text *out, const Network *network) {
    Arena *arena = out->arena;
    int layers = network_layer_total(network);
    text_format(out, "%s: %d layer%s, %s parameters, %sFLOP, %s -> %s\n", network->name, layers,
                layers == 1 ? "" : "s", count_text(arena, network->parameter_count),
                scaled_text(arena, network->cost.flops),
                shape_text(arena, &network->layers[0]->output),
                shape_text(arena, &network->heads[0].layer->output));
}
