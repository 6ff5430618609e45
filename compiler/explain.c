#include "explain.h"

#include "report.h"
#include "suggest.h"

#include <inttypes.h>
#include <string.h>

const Layer *explain_find(const Network *network, const char *name) {
    for (int i = 0; i < network->layer_count; i++) {
        const Layer *layer = network->layers[i];
        if (strcmp(layer->name, name) == 0 || (layer->label && strcmp(layer->label, name) == 0))
            return layer;
    }
    return NULL;
}

const char *explain_nearest(const Network *network, const char *name) {
    Suggestion suggestion = suggestion_for(name);
    for (int i = 0; i < network->layer_count; i++)
        suggestion_offer(&suggestion, network->layers[i]->name);
    return suggestion.best;
}

static void add_heading(Text *out, const Sources *sources, const Layer *layer) {
    Arena *arena = out->arena;
    const char *arguments = layer_arguments(arena, layer);
    SourcePlace place = source_place(sources, layer->where.begin);
    text_format(out, "%s: %s%s%s%s", layer->name, layer->op->name, *arguments ? "(" : "", arguments,
                *arguments ? ")" : "");
    if (place.file)
        text_format(out, ", %s:%d", place.file->path, place.line);
    text_format(out, "\n  %s\n\n", layer->op->summary);
    for (int i = 0; i < layer->input_count; i++)
        text_format(out, "input            %s, %s\n", layer->inputs[i]->name,
                    shape_text(arena, &layer->inputs[i]->output));
    text_format(out, "output           %s = %s numbers\n", shape_text(arena, &layer->output),
                count_text(arena, layer->elements));
}

/* The last step of the arithmetic: the division by the stride and what becomes of a remainder. */
static void add_division(Text *out, const Window *window, int axis, int64_t numerator) {
    int64_t stride = window->stride[axis];
    if (numerator % stride == 0) {
        text_format(out, " = %" PRId64 "/%" PRId64 " + 1", numerator, stride);
        return;
    }
    bool down = window->output[axis] == numerator / stride + 1;
    text_format(out, " = %s(%" PRId64 "/%" PRId64 ") + 1", down ? "floor" : "ceil", numerator,
                stride);
}

static void add_window(Text *out, const Window *window) {
    static const char *const axes[3][3] = {
        {"length", "", ""}, {"height", "width", ""}, {"depth", "height", "width"}};
    text_add(out, "\nextent           (W - D*(F-1) - 1 + P_begin + P_end)/S + 1\n");
    for (int i = 0; i < window->rank; i++) {
        int64_t numerator = window->input[i] - window->dilation[i] * (window->kernel[i] - 1) - 1 +
                            window->pad_begin[i] + window->pad_end[i];
        text_format(out,
                    "  %-14s W=%" PRId64 ", F=%" PRId64 ", S=%" PRId64 ", P=%" PRId64
                    " and %" PRId64 ", D=%" PRId64 "\n",
                    axes[window->rank - 1][i], window->input[i], window->kernel[i],
                    window->stride[i], window->pad_begin[i], window->pad_end[i],
                    window->dilation[i]);
        text_format(out,
                    "  %-14s (%" PRId64 " - %" PRId64 "*(%" PRId64 "-1) - 1 + %" PRId64
                    " + %" PRId64 ")/%" PRId64 " + 1",
                    "", window->input[i], window->dilation[i], window->kernel[i],
                    window->pad_begin[i], window->pad_end[i], window->stride[i]);
        add_division(out, window, i, numerator);
        text_format(out, " = %" PRId64 "\n", window->output[i]);
    }
}

static void add_parameter(Text *out, const Layer *layer, const ParameterSpec *spec) {
    int64_t elements = 1;
    text_format(out, "  %s.%s  ", layer->name, spec->name);
    for (int i = 0; i < spec->dims.rank; i++) {
        text_format(out, "%s%" PRId64, i ? "*" : "", spec->dims.extent[i]);
        elements *= spec->dims.extent[i]; /* shape inference knows that it fits */
    }
    text_format(out, " = %s", count_text(out->arena, elements));
    if (spec->count != elements)
        text_format(out, ", of which the connection table keeps %s",
                    count_text(out->arena, spec->count));
    text_add(out, spec->role == PARAMETER_RUNNING ? ", running statistics\n" : "\n");
}

static void add_parameters(Text *out, const Layer *layer) {
    ParameterTotals totals = layer_parameters(layer);
    text_format(out, "\nparameters       %s\n",
                count_text(out->arena, totals.weights + totals.biases));
    for (int i = 0; i < layer->parameter_count; i++)
        add_parameter(out, layer, &layer->parameters[i]);
}

/* Every weight is used once at each position of the output, if there are positions. */
static void add_cost(Text *out, const Layer *layer) {
    Arena *arena = out->arena;
    ParameterTotals totals = layer_parameters(layer);
    int64_t positions = 1;
    for (int i = 0; i < layer->window.rank; i++)
        positions *= layer->window.output[i];
    text_format(out, "cost             %s FLOPs for one example\n",
                count_text(arena, layer->cost.flops));
    if (layer->cost.macs == 0)
        return;
    text_format(out, "  %s multiply-accumulates", count_text(arena, layer->cost.macs));
    bool product =
        layer->cost.macs % positions == 0 && layer->cost.macs / positions == totals.weights;
    if (product)
        text_format(out, " = %s weights * %s positions", count_text(arena, totals.weights),
                    count_text(arena, positions));
    text_add(out, ", 2 FLOPs each\n");
}

static void add_extents(Text *out, const int64_t *extents, int count) {
    for (int i = 0; i < count; i++)
        text_format(out, "%s%" PRId64, i ? "x" : "", extents[i]);
}

void explain_layer(Text *out, const Network *network, const Sources *sources, const Layer *layer) {
    int axes = network->layers[0]->output.rank - 1;
    add_heading(out, sources, layer);
    if (layer->window.rank)
        add_window(out, &layer->window);
    add_parameters(out, layer);
    add_cost(out, layer);
    if (axes == 0)
        return;
    text_add(out, "receptive field  ");
    add_extents(out, layer->receptive_field, axes);
    text_add(out, " of the input, moving by ");
    add_extents(out, layer->jump, axes);
    text_add(out, "\n");
}
