#include "dot.h"

#include "report.h"

/* What a layer does, as its op tells; the first row that fits gives the colour. */
static bool is_input(const Layer *layer) {
    return layer->input_count == 0;
}
static bool is_merge(const Layer *layer) {
    return (layer->op->flags & OP_MERGE) != 0;
}
static bool is_product(const Layer *layer) {
    return layer->cost.macs > 0;
}
static bool is_pool(const Layer *layer) {
    return layer->window.rank > 0;
}
static bool is_random(const Layer *layer) {
    return (layer->op->flags & OP_RANDOM) != 0;
}
static bool is_view(const Layer *layer) {
    return (layer->op->flags & OP_VIEW) != 0;
}
static bool is_activation(const Layer *layer) {
    return layer->op->value && !(layer->op->flags & OP_MODE);
}
static bool is_any(const Layer *layer) {
    (void)layer;
    return true;
}

static const struct {
    bool (*fits)(const Layer *layer);
    const char *color, *meaning;
} colors[] = {
    {is_input, "#d9d9d9", "input"},
    {is_merge, "#fdb462", "merge"},
    {is_product, "#80b1d3", "convolution or fully connected"},
    {is_pool, "#b3de69", "pooling"},
    {is_random, "#bebada", "random in training"},
    {is_view, "#f0f0f0", "other view of the same numbers"},
    {is_activation, "#ffffb3", "activation"},
    {is_any, "#fccde5", "normalisation and the rest"},
};
enum { COLORS = sizeof colors / sizeof colors[0] };

static const char *color_of(const Layer *layer) {
    int i = 0;
    while (!colors[i].fits(layer))
        i++;
    return colors[i].color;
}

/* The text of a string in double quotes. */
static void add_escaped(Text *out, const char *string) {
    for (const char *c = string; *c; c++) {
        if (*c == '"' || *c == '\\')
            text_add_character(out, '\\');
        text_add_character(out, *c);
    }
}

static bool is_output(const Network *network, const Layer *layer) {
    for (int i = 0; i < network->head_count; i++) {
        if (network->heads[i].layer == layer)
            return true;
    }
    return false;
}

static void add_node(Text *out, const Network *network, const Layer *layer) {
    Arena *arena = out->arena;
    const char *arguments = layer_arguments(arena, layer);
    ParameterTotals totals = layer_parameters(layer);
    text_format(out, "    \"%s\" [label=\"%s", layer->name, layer->name);
    if (!is_input(layer)) {
        text_format(out, "\\n%s", layer->op->name);
        if (*arguments) {
            text_add_character(out, '(');
            add_escaped(out, arguments);
            text_add_character(out, ')');
        }
    }
    text_format(out, "\\n%s", shape_text(arena, &layer->output));
    if (totals.weights + totals.biases)
        text_format(out, "\\n%s parameters", count_text(arena, totals.weights + totals.biases));
    text_format(out, "\", fillcolor=\"%s\"%s];\n", color_of(layer),
                is_output(network, layer) ? ", peripheries=2" : "");
}

void dot_write(Text *out, const Network *network) {
    text_add(out, "digraph \"");
    add_escaped(out, network->name);
    text_add(out,
             "\" {\n"
             "    node [shape=box, style=\"rounded,filled\", fontname=\"Helvetica\", "
             "fontsize=10];\n"
             "    edge [arrowsize=0.7];\n");
    for (int i = 0; i < COLORS; i++)
        text_format(out, "    // %s: %s\n", colors[i].color, colors[i].meaning);
    for (int i = 0; i < network->layer_count; i++)
        add_node(out, network, network->layers[i]);
    for (int i = 0; i < network->layer_count; i++) {
        const Layer *layer = network->layers[i];
        for (int j = 0; j < layer->input_count; j++)
            text_format(out, "    \"%s\" -> \"%s\";\n", layer->inputs[j]->name, layer->name);
    }
    text_add(out, "}\n");
}
