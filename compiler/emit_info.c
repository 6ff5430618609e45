/* The configuration macros and the NetworkInfo with the settings. */
#include "emit_internal.h"
#include "target.h"
#include "wrap.h"

#include <inttypes.h>
#include <stddef.h>

void emit_configuration(Emitter *emitter) {
    const EmitOptions *options = &emitter->input->options;
    Text *out = emitter->out;
    text_format(out, "#define NETWORK_PREFIX %s\n",
                library_prefix(emitter->arena, emitter->input->network));
    if (options->double_precision)
        text_add(out, "#define CNNC_DOUBLE\n");
    if (options->infer_only)
        text_add(out, "#define CNNC_INFER_ONLY\n");
    text_format(out, "#define VECTOR_LENGTH %d\n", options->vector_length);
    if (options->vector_length > 1)
        text_format(out, "#define VECTOR_BYTES %d\n",
                    options->vector_length * emitter->input->plan->options.real_size);
}

/* ---- Settings: one row for each field of settings.h ---- */

typedef enum FieldType {
    FIELD_INTEGER,
    FIELD_SEED,
    FIELD_NUMBER,
    FIELD_STRING,
    FIELD_ENUM
} FieldType;

typedef struct Field {
    const char *name;
    FieldType type;
    size_t offset;
    const char *const *words; /* FIELD_ENUM: the constants in their order */
} Field;

static const char *const loss_words[] = {"LOSS_CROSS_ENTROPY", "LOSS_MSE"};
static const char *const optimizer_words[] = {"OPTIMIZER_SGD", "OPTIMIZER_ADAM"};
static const char *const schedule_words[] = {"SCHEDULE_CONSTANT", "SCHEDULE_STEP",
                                             "SCHEDULE_PLATEAU"};
static const char *const format_words[] = {"DATA_SYNTHETIC", "DATA_IDX", "DATA_NPY"};

#define TRAIN(type, name)                                                                          \
    { #name, type, offsetof(TrainSettings, name), NULL }
#define TRAIN_ENUM(name, words)                                                                    \
    { #name, FIELD_ENUM, offsetof(TrainSettings, name), words }
static const Field train_fields[] = {
    TRAIN_ENUM(loss, loss_words),
    TRAIN(FIELD_NUMBER, label_smoothing),
    TRAIN_ENUM(optimizer, optimizer_words),
    TRAIN(FIELD_NUMBER, learning_rate),
    TRAIN(FIELD_NUMBER, momentum),
    TRAIN(FIELD_INTEGER, nesterov),
    TRAIN(FIELD_NUMBER, weight_decay),
    TRAIN(FIELD_NUMBER, beta1),
    TRAIN(FIELD_NUMBER, beta2),
    TRAIN(FIELD_NUMBER, epsilon),
    TRAIN_ENUM(schedule, schedule_words),
    TRAIN(FIELD_NUMBER, schedule_factor),
    TRAIN(FIELD_INTEGER, schedule_every),
    TRAIN(FIELD_INTEGER, schedule_patience),
    TRAIN(FIELD_INTEGER, warmup),
    TRAIN(FIELD_INTEGER, batch),
    TRAIN(FIELD_INTEGER, epochs),
    TRAIN(FIELD_SEED, seed),
    TRAIN(FIELD_NUMBER, validate),
    TRAIN(FIELD_NUMBER, head_weight),
};

#define DATA(type, name)                                                                           \
    { #name, type, offsetof(DataSettings, name), NULL }
#define DATA_ENUM(name, words)                                                                     \
    { #name, FIELD_ENUM, offsetof(DataSettings, name), words }
static const Field data_fields[] = {
    DATA_ENUM(format, format_words),     DATA(FIELD_STRING, path),
    DATA(FIELD_STRING, validation_path), DATA(FIELD_NUMBER, scale),
    DATA(FIELD_NUMBER, shift),           DATA(FIELD_INTEGER, synthetic_count),
};

static void emit_field(Text *out, const Field *field, const void *settings) {
    const void *value = (const char *)settings + field->offset;
    text_format(out, "            .%s = ", field->name);
    switch (field->type) {
    case FIELD_INTEGER:
        text_format(out, "%d", *(const int *)value);
        break;
    case FIELD_SEED:
        text_format(out, "%lluu", *(const unsigned long long *)value);
        break;
    case FIELD_NUMBER:
        text_add_double(out, *(const double *)value);
        break;
    case FIELD_STRING:
        text_add_quoted(out, *(const char *const *)value);
        break;
    case FIELD_ENUM:
        text_add(out, field->words[*(const unsigned *)value]);
        break;
    }
    text_add(out, ",\n");
}

static void emit_settings(Text *out, const char *name, const Field *fields, size_t count,
                          const void *settings) {
    text_format(out, "    .%s =\n        {\n", name);
    for (size_t i = 0; i < count; i++)
        emit_field(out, &fields[i], settings);
    text_add(out, "        },\n");
}

/* ---- The NetworkInfo ---- */

static void emit_string(Text *out, const char *name, const char *value) {
    text_format(out, "    .%s = ", name);
    text_add_quoted(out, value);
    text_add(out, ",\n");
}

static void emit_count(Text *out, const char *name, int64_t value) {
    text_format(out, "    .%s = %" PRId64 ",\n", name, value);
}

static void emit_shape(Text *out, const char *name, const Shape *shape) {
    text_format(out, "    .%s_rank = %d,\n    .%s_dims = {", name, shape->rank, name);
    for (int i = 0; i < shape->rank; i++)
        text_format(out, "%s%" PRId64, i > 0 ? ", " : "", shape->extent[i]);
    text_add(out, "},\n");
}

static int count_parameters(const Graph *graph) {
    int count = 0;
    for (int i = 0; i < graph->tensor_count; i++)
        count += graph->tensors[i]->role == TENSOR_PARAMETER;
    return count;
}

static void emit_sizes(Emitter *emitter) {
    const Graph *graph = emitter->input->graph;
    const Plan *plan = emitter->input->plan;
    bool label = graph->network->train.loss == LOSS_CROSS_ENTROPY;
    Text *out = emitter->out;
    int parameters = count_parameters(graph);
    emit_count(out, "layer_count", graph->network->layer_count);
    emit_count(out, "parameter_tensors", parameters);
    text_add(out, "    .layers = network_layers,\n");
    text_format(out, "    .parameters = %s,\n", parameters > 0 ? "network_parameters" : "NULL");
    emit_count(out, "parameter_size", graph->parameter_size);
    if (graph->prepared_size > 0)
        emit_count(out, "prepared_size", graph->prepared_size);
    emit_count(out, "trainable_size", graph->infer_only ? 0 : graph->trainable_size);
    emit_count(out, "arena_size", plan->arena_size);
    emit_count(out, "late_arena_size", plan->late_arena_size);
    emit_count(out, "input_offset", plan->input_offset);
    emit_count(out, "output_offset", plan->output_offset);
    emit_count(out, "input_gradient_offset", plan->input_gradient_offset);
    emit_count(out, "target_is_label", label);
    emit_count(out, "target_size", label ? graph->labels->elements : graph->targets->elements);
}

static void emit_functions(Emitter *emitter) {
    const Graph *graph = emitter->input->graph;
    for (int program = 0; program < PROGRAM_COUNT; program++)
        if (program_is_emitted(emitter, (ProgramId)program))
            text_format(emitter->out, "    .%s = %s,\n", graph->programs[program].name,
                        graph->programs[program].name);
}

void emit_info(Emitter *emitter) {
    const EmitInput *input = emitter->input;
    const Network *network = input->network;
    const Shape *in = &network->layers[0]->output, *result = &network->heads[0].layer->output;
    Text *out = emitter->out;
    text_add(out, "static const NetworkInfo network_info = {\n");
    emit_string(out, "name", network->name);
    emit_string(out, "version", input->options.version);
    emit_string(out, "options", input->options.options);
    emit_string(out, "target", input->options.target);
    emit_shape(out, "input", in);
    emit_shape(out, "output", result);
    emit_count(out, "input_size", input->graph->input->elements);
    emit_count(out, "output_size", input->graph->output->elements);
    emit_count(out, "max_batch", input->options.max_batch);
    if (input->plan->options.shards > 1) {
        emit_count(out, "shards", input->plan->options.shards);
        emit_count(out, "shard_block", input->plan->options.shard_block);
    }
    emit_count(out, "trainable", !input->options.infer_only);
    emit_sizes(emitter);
    emit_settings(out, "train", train_fields, sizeof train_fields / sizeof train_fields[0],
                  &network->train);
    emit_settings(out, "data", data_fields, sizeof data_fields / sizeof data_fields[0],
                  &network->data);
    emit_functions(emitter);
    text_add(out, "};\n");
}
