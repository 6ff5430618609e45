/* The network's constants: where tensors lie, what layers and parameters there are. */
#include "emit_internal.h"
#include "report.h"
#include "wrap.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define BYTES_PER_LINE 32

/* ---- Offsets ---- */

static const char *dims_text(Arena *arena, int64_t batch, int rank, const int64_t *extent) {
    Text text;
    text_init(&text, arena);
    if (batch > 0)
        text_format(&text, "[%" PRId64 "]", batch);
    for (int i = 0; i < rank; i++)
        text_format(&text, "[%" PRId64 "]", extent[i]);
    return text.bytes;
}

static void emit_define(Text *out, const char *name, int64_t value, const char *what) {
    text_format(out, "#define %s %" PRId64, name, value);
    if (*what != '\0')
        text_format(out, " /* %s */", what);
    text_add_character(out, '\n');
}

const char *placement_dims(const Emitter *emitter, const Placement *placement) {
    const PlanOptions *options = &emitter->input->plan->options;
    int batch = options->max_batch / (placement->whole ? 1 : options->shards);
    const Tensor *tensor = placement->tensor;
    const Buffer *scratch = placement->scratch;
    if (tensor != NULL)
        return dims_text(emitter->arena, tensor->per_example ? batch : 0, tensor->rank,
                         tensor->extent);
    return dims_text(emitter->arena, scratch->per_example ? batch : 0, 1, &scratch->scratch_size);
}

static void emit_arena_offsets(Emitter *emitter) {
    const Plan *plan = emitter->input->plan;
    wrap_comment(emitter->out, 0,
                 "Where tensors lie in Network.arena, in reals: evaluation and training use it in "
                 "turn, and tensors that are not needed at the same time share memory.");
    for (int i = 0; i < plan->placement_count; i++) {
        const Placement *placement = plan->placements[i];
        if (emitter->placement_named[placement->number])
            emit_define(emitter->out, emitter->placement_names[placement->number],
                        placement->offset / plan->options.real_size,
                        placement_dims(emitter, placement));
    }
    if (plan->slot_bytes > 0)
        emit_define(emitter->out, CALL_SLOT_SIZE, plan->slot_bytes / plan->options.real_size,
                    "from what a slot has for itself to the same of the next one");
    if (plan->options.shards > 1)
        emit_define(emitter->out, "SHARD_SIZE", plan->shard_bytes / plan->options.real_size,
                    "from what a shard of the batch has to the same of the next one");
    text_add_character(emitter->out, '\n');
}

static void emit_role_offsets(Emitter *emitter, TensorRole role, int64_t size,
                              const char *comment) {
    const Graph *graph = emitter->input->graph;
    if (size == 0)
        return;
    wrap_comment(emitter->out, 0, comment);
    for (int i = 0; i < graph->tensor_count; i++) {
        const Tensor *tensor = graph->tensors[i];
        if (tensor->role == role && emitter->parameter_named[parameter_place(tensor)])
            emit_define(emitter->out, emitter->parameter_names[parameter_place(tensor)],
                        tensor->offset, dims_text(emitter->arena, 0, tensor->rank, tensor->extent));
    }
    text_add_character(emitter->out, '\n');
}

static void emit_parameter_offsets(Emitter *emitter) {
    const Graph *graph = emitter->input->graph;
    emit_role_offsets(emitter, TENSOR_PARAMETER, graph->parameter_size,
                      "Where parameters lie in Network.parameters and their gradients in "
                      "Network.gradients, in reals.");
    emit_role_offsets(emitter, TENSOR_PREPARED, graph->prepared_size,
                      "Where what `prepare` makes of them lies in Network.prepared, in reals.");
}

/* ---- Constant tensors ---- */

static void emit_connections(Emitter *emitter, const Tensor *tensor, const char *name) {
    Text *out = emitter->out;
    text_format(out, "/* [filter][input channel]: 1 where %s has a connection. */\n",
                tensor->layer->name);
    text_format(out, "static const unsigned char %s[] = {", name);
    const unsigned char *bytes = tensor->constant;
    int64_t columns = tensor->extent[tensor->rank - 1];
    for (int64_t i = 0; i < tensor->elements; i++) {
        bool new_line = i % columns == 0 || i % columns % BYTES_PER_LINE == 0;
        text_format(out, "%s%d,", new_line ? "\n    " : " ", bytes[i]);
    }
    text_add(out, "\n};\n\n");
}

/* True where a call passes the weights of the classes. */
bool class_weights_used(const Kernels *kernels) {
    for (int program = 0; program < PROGRAM_COUNT; program++)
        for (int i = 0; i < kernels->programs[program].count; i++) {
            const KernelUse *use = kernels->programs[program].steps[i]->use;
            for (int a = 0; a < use->argument_count; a++) {
                const Tensor *tensor = use->arguments[a]->tensor;
                if (tensor != NULL && tensor->role == TENSOR_CONSTANT && tensor->type == TYPE_REAL)
                    return true;
            }
        }
    return false;
}

static void emit_class_weights(Emitter *emitter) {
    const Tensor *tensor = emitter->input->graph->class_weights;
    if (tensor == NULL || !class_weights_used(emitter->input->kernels))
        return;
    Text line;
    text_init(&line, emitter->arena);
    text_add(&line, "static const real class_weights[] = {");
    const double *weights = tensor->constant;
    for (int64_t i = 0; i < tensor->elements; i++) {
        text_add(&line, i > 0 ? ",\001(real)" : "(real)");
        text_add_double(&line, weights[i]);
    }
    text_add(&line, "};");
    text_add(emitter->out, "/* What each class counts in the loss. */\n");
    wrap_line(emitter->out, 0, INDENT_WIDTH, line.bytes);
    text_add_character(emitter->out, '\n');
}

static void emit_constants(Emitter *emitter) {
    const Graph *graph = emitter->input->graph;
    for (int i = 0; i < graph->network->layer_count; i++)
        if (graph->layer_tensors[i].connections != NULL)
            emit_connections(emitter, graph->layer_tensors[i].connections,
                             emitter->connection_names[i]);
    emit_class_weights(emitter);
}

/* ---- Tables ---- */

/* What the emitted program draws a parameter with, as far as that depends on its shape. */
static double initial_number(const ParameterSpec *spec) {
    switch (spec->initialiser.kind) {
    case INITIALISER_ZERO:
        return 0;
    case INITIALISER_HE:
        return sqrt(2.0 / (double)spec->fan_in);
    case INITIALISER_GLOROT:
        return sqrt(6.0 / ((double)spec->fan_in + (double)spec->fan_out));
    default:
        return spec->initialiser.a;
    }
}

static bool starts_constant(const ParameterSpec *spec) {
    return spec->initialiser.kind == INITIALISER_ZERO ||
           spec->initialiser.kind == INITIALISER_CONSTANT;
}

/* PER_CHANNEL("bn1.weight", 64, 9408, 1, 1.0), */
static void add_channel_row(Text *line, const Tensor *tensor, const ParameterSpec *spec) {
    text_add(line, "PER_CHANNEL(");
    text_add_quoted(line, tensor->name);
    text_format(line, ",\001%" PRId64 ",\001%" PRId64 ",\001%d,\001", spec->dims.extent[0],
                tensor->offset, spec->role != PARAMETER_RUNNING);
    text_add_double(line, initial_number(spec));
    text_add(line, "),");
}

static void add_parameter_row(Text *line, const Tensor *tensor, const ParameterSpec *spec,
                              const char *connections) {
    static const char *const kinds[] = {
        [INITIALISER_ZERO] = "INITIAL_CONSTANT",     [INITIALISER_CONSTANT] = "INITIAL_CONSTANT",
        [INITIALISER_GAUSSIAN] = "INITIAL_GAUSSIAN", [INITIALISER_UNIFORM] = "INITIAL_UNIFORM",
        [INITIALISER_HE] = "INITIAL_GAUSSIAN",       [INITIALISER_GLOROT] = "INITIAL_UNIFORM",
    };
    int64_t elements = 1;
    text_add_character(line, '{');
    text_add_quoted(line, tensor->name);
    text_format(line, ",\001%d,\001{", spec->dims.rank);
    for (int i = 0; i < spec->dims.rank; i++) {
        elements *= spec->dims.extent[i];
        text_format(line, "%s%" PRId64, i > 0 ? ", " : "", spec->dims.extent[i]);
    }
    text_format(line,
                "},\001%" PRId64 ",\001%" PRId64 ",\001%" PRId64 ",\001%" PRId64
                ",\001%d,\001%s,\001",
                tensor->layout.blocked_axis == 0 ? tensor->layout.block : 1,
                tensor->elements / tensor->extent[0], tensor->offset, elements,
                spec->role != PARAMETER_RUNNING, kinds[spec->initialiser.kind]);
    text_add_double(line, initial_number(spec));
    text_format(line, ",\001%s},", connections != NULL ? connections : "NULL");
}

static void emit_parameter_row(Emitter *emitter, const Tensor *tensor) {
    const ParameterSpec *spec = &tensor->layer->parameters[tensor->parameter];
    const char *connections =
        tensor->parameter == 0 ? emitter->connection_names[tensor->layer->index] : NULL;
    bool blocked = tensor->layout.blocked_axis == 0 && tensor->layout.block > 1;
    Text line;
    text_init(&line, emitter->arena);
    if (spec->dims.rank == 1 && starts_constant(spec) && connections == NULL && !blocked)
        add_channel_row(&line, tensor, spec);
    else
        add_parameter_row(&line, tensor, spec, connections);
    wrap_line(emitter->out, INDENT_WIDTH, INDENT_WIDTH, line.bytes);
}

static void emit_parameter_table(Emitter *emitter) {
    const Graph *graph = emitter->input->graph;
    if (graph->parameter_size == 0)
        return;
    text_add(emitter->out,
             "/* name, rank, dims, block, stored row, offset, size, trainable, initialiser and its "
             "number,\n * connections; PER_CHANNEL: name, size, offset, trainable, constant */\n"
             "static const ParameterInfo network_parameters[] = {\n");
    for (int i = 0; i < graph->tensor_count; i++)
        if (graph->tensors[i]->role == TENSOR_PARAMETER)
            emit_parameter_row(emitter, graph->tensors[i]);
    text_add(emitter->out, "};\n\n");
}

static void emit_layer_table(Emitter *emitter) {
    const Network *network = emitter->input->network;
    Text line;
    text_init(&line, emitter->arena);
    text_add(emitter->out,
             "/* name, kind, output, parameters, multiply-accumulates and FLOPs of "
             "one example */\n"
             "static const LayerInfo network_layers[] = {\n");
    for (int i = 0; i < network->layer_count; i++) {
        const Layer *layer = network->layers[i];
        ParameterTotals totals = layer_parameters(layer);
        text_clear(&line);
        text_add_character(&line, '{');
        text_add_quoted(&line, layer->name);
        text_add(&line, ",\001");
        text_add_quoted(&line, layer->op->name);
        text_add(&line, ",\001");
        text_add_quoted(&line, shape_text(emitter->arena, &layer->output));
        text_format(&line, ",\001%" PRId64 ",\001%" PRId64 ",\001%" PRId64 "},",
                    totals.weights + totals.biases, layer->cost.macs, layer->cost.flops);
        wrap_line(emitter->out, INDENT_WIDTH, INDENT_WIDTH, line.bytes);
    }
    text_add(emitter->out, "};\n\n");
}

void emit_tables(Emitter *emitter) {
    emit_arena_offsets(emitter);
    emit_parameter_offsets(emitter);
    emit_constants(emitter);
    emit_layer_table(emitter);
    emit_parameter_table(emitter);
}
