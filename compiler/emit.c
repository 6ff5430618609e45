#include "compose.h"
#include "emit_internal.h"

#include <ctype.h>
#include <string.h>

/* ---- Names of constants ---- */

/* "TRAINING_" + "relu1" as TRAINING_RELU1, with a number where that is taken: labels
 * differ in case, constants do not. */
static const char *constant_name(Emitter *emitter, const char *prefix, const char *string) {
    Text name;
    text_init(&name, emitter->arena);
    text_add(&name, prefix);
    for (const char *c = string; *c != '\0'; c++)
        text_add_character(&name,
                           isalnum((unsigned char)*c) ? (char)toupper((unsigned char)*c) : '_');
    const char *free_name = name.bytes;
    for (int number = 2; name_find(emitter->taken, free_name) != NULL; number++)
        free_name = arena_format(emitter->arena, "%s_%d", name.bytes, number);
    name_put(emitter->taken, free_name, emitter);
    return free_name;
}

static const char *placement_constant(Emitter *emitter, const Placement *placement) {
    bool both = placement->in_sequence[0] && placement->in_sequence[1];
    const char *prefix = both                                        ? "SHARED_"
                         : placement->in_sequence[SEQUENCE_TRAINING] ? "TRAINING_"
                                                                     : "EVALUATION_";
    return constant_name(emitter, prefix, placement->tensor->name);
}

size_t parameter_place(const Tensor *tensor) {
    int before = tensor->role == TENSOR_PREPARED ? MAX_PARAMETERS : 0;
    return (size_t)(tensor->layer->index * LAYER_PLACES + before + tensor->parameter);
}

static void name_parameters(Emitter *emitter) {
    const Graph *graph = emitter->input->graph;
    size_t layers = (size_t)graph->network->layer_count;
    emitter->parameter_names = ARENA_ARRAY(emitter->arena, const char *, layers *LAYER_PLACES);
    emitter->parameter_named = ARENA_ARRAY(emitter->arena, bool, layers *LAYER_PLACES);
    emitter->connection_names = ARENA_ARRAY(emitter->arena, const char *, layers);
    for (int i = 0; i < graph->tensor_count; i++) {
        const Tensor *tensor = graph->tensors[i];
        if (tensor->role == TENSOR_PARAMETER || tensor->role == TENSOR_PREPARED)
            emitter->parameter_names[parameter_place(tensor)] =
                constant_name(emitter, "", tensor->name);
    }
    for (size_t i = 0; i < layers; i++)
        if (graph->layer_tensors[i].connections != NULL)
            emitter->connection_names[i] =
                arena_format(emitter->arena, "connections_%s", graph->network->layers[i]->name);
}

void emitter_init(Emitter *emitter, const EmitInput *input, Text *out) {
    const Plan *plan = input->plan;
    *emitter = (Emitter){.input = input, .arena = out->arena, .out = out};
    emitter->taken = name_table_create(emitter->arena);
    size_t placements = (size_t)plan->placement_count + 1;
    emitter->placement_names = ARENA_ARRAY(emitter->arena, const char *, placements);
    emitter->placement_named = ARENA_ARRAY(emitter->arena, bool, placements);
    for (int i = 0; i < plan->placement_count; i++)
        if (plan->placements[i]->tensor != NULL)
            emitter->placement_names[i] = placement_constant(emitter, plan->placements[i]);
    name_parameters(emitter);
    make_calls(emitter);
}

int emit_line_of(const Emitter *emitter, const Layer *layer) {
    return source_place(emitter->input->sources, layer->where.begin).line;
}

const char *layer_input_text(Arena *arena, const Layer *layer) {
    Text text;
    text_init(&text, arena);
    for (int i = 0; i < layer->input_count; i++) {
        text_add(&text, i > 0 ? " + " : "");
        text_add(&text, shape_text(arena, &layer->inputs[i]->output));
    }
    return text.bytes;
}

/* ---- Files ---- */

#define SKELETON "skeleton.c"

#define FILL(part)                                                                                 \
    static void fill_##part(void *emitter) {                                                       \
        emit_##part(emitter);                                                                      \
    }
FILL(configuration)
FILL(tables)
FILL(kernels)
FILL(programs)
FILL(info)

static const Region regions[] = {
    {"configuration", fill_configuration}, {"network", fill_tables}, {"kernels", fill_kernels},
    {"programs", fill_programs},           {"info", fill_info},
};

bool emit_program(Text *out, const EmitInput *input, const char **problem) {
    Emitter emitter;
    emitter_init(&emitter, input, out);
    emit_header_comment(&emitter);
    const Composition composition = {
        .piece = SKELETON,
        .regions = regions,
        .region_count = sizeof regions / sizeof regions[0],
        .context = &emitter,
        .without_training = input->options.infer_only,
    };
    return compose(out, &composition, problem);
}
