/* The kernels as functions, and the programs as lists of calls. */
#include "cprint.h"
#include "emit_internal.h"
#include "wrap.h"

#include <string.h>

#define LISTED_USERS 8 /* layers named in the comment of a function; more are counted */

/* ---- Kernels ---- */

/* "conv1-relu1 (line 4): 1x32x32 -> 6x28x28" */
static const char *user_text(const Emitter *emitter, const Group *group) {
    const Layer *first = group->nodes[0]->layer, *last = first;
    if (group->nodes[0]->role == NODE_FORWARD)
        last = group->nodes[group->count - 1]->layer;
    return arena_format(emitter->arena, "%s (line %d): %s -> %s",
                        group_layers(emitter->arena, group), emit_line_of(emitter, first),
                        layer_input_text(emitter->arena, first),
                        shape_text(emitter->arena, &last->output));
}

/* The layers that use a function, evaluation and training once; then what it does. */
static void emit_function_comment(Emitter *emitter, const Function *function) {
    Text comment;
    text_init(&comment, emitter->arena);
    NameTable *seen = name_table_create(emitter->arena);
    for (int i = 0; i < function->step_count; i++) {
        const char *layers = group_layers(emitter->arena, function->steps[i]->group);
        if (name_find(seen, layers) != NULL)
            continue;
        name_put(seen, layers, emitter);
        if (name_count(seen) <= LISTED_USERS)
            text_format(&comment, "%s%s", comment.length > 0 ? "\n" : "",
                        user_text(emitter, function->steps[i]->group));
    }
    if (name_count(seen) > LISTED_USERS)
        text_format(&comment, "\nand %d more", name_count(seen) - LISTED_USERS);
    wrap_comment(emitter->out, 0, comment.bytes);
}

void emit_kernels(Emitter *emitter) {
    const Kernels *kernels = emitter->input->kernels;
    for (int i = 0; i < kernels->function_count; i++) {
        const Function *function = kernels->functions[i];
        emit_function_comment(emitter, function);
        const char *head = arena_format(emitter->arena, "static KERNEL void %s%s {", function->name,
                                        function->parameters);
        wrap_line(emitter->out, 0, 2 * INDENT_WIDTH, head);
        text_add(emitter->out, function->body);
        text_add(emitter->out, "}\n\n");
    }
}

/* ---- Arguments ---- */

static const char *arena_argument(const Emitter *emitter, const Buffer *buffer) {
    const Placement *placement = plan_find(emitter->input->plan, buffer);
    const char *name = emitter->placement_names[placement->number];
    if (buffer->type == TYPE_REAL)
        return arena_format(emitter->arena, "arena + %s", name);
    return arena_format(emitter->arena, "(%s *)(arena + %s)", element_type_name(buffer->type),
                        name);
}

static const char *argument_text(const Emitter *emitter, const Buffer *buffer) {
    const Tensor *tensor = buffer->scratch ? NULL : tensor_storage(buffer->tensor);
    if (tensor == NULL)
        return arena_argument(emitter, buffer);
    switch (tensor->role) {
    case TENSOR_PARAMETER:
        return arena_format(emitter->arena, "parameters + %s", parameter_constant(emitter, tensor));
    case TENSOR_PARAMETER_GRADIENT:
        return arena_format(emitter->arena, "gradients + %s", parameter_constant(emitter, tensor));
    case TENSOR_CONSTANT:
        return tensor->layer != NULL ? emitter->connection_names[tensor->layer->index]
                                     : "class_weights";
    case TENSOR_LABELS:
        return "network->labels";
    case TENSOR_TARGETS:
        return "network->targets";
    case TENSOR_LOSSES:
        return "network->losses";
    default:
        return arena_argument(emitter, buffer);
    }
}

/* ---- Programs ---- */

static const char *timing_phase(NodeRole role) {
    static const char *const phases[] = {
        [NODE_FORWARD] = "TIMING_FORWARD",
        [NODE_LOSS] = "TIMING_FORWARD",
        [NODE_LOSS_GRADIENT] = "TIMING_DATA_GRADIENT",
        [NODE_PARAMETER_GRADIENT] = "TIMING_PARAMETER_GRADIENT",
        [NODE_DATA_GRADIENT] = "TIMING_DATA_GRADIENT",
    };
    return phases[role];
}

static const char *step_title(const Emitter *emitter, const Group *group) {
    static const char *const titles[] = {
        [NODE_FORWARD] = "",
        [NODE_LOSS] = "loss of ",
        [NODE_LOSS_GRADIENT] = "loss and its gradient of ",
        [NODE_PARAMETER_GRADIENT] = "weight gradient of ",
        [NODE_DATA_GRADIENT] = "data gradient of ",
    };
    return arena_format(emitter->arena, "%s%s", titles[group->nodes[0]->role],
                        group_layers(emitter->arena, group));
}

/* The call on the line of the macro around it, or below that. */
static void emit_call(Emitter *emitter, const char *timed, const char *function,
                      const char *const *arguments, int count) {
    Text line;
    text_init(&line, emitter->arena);
    text_format(&line, "%s(", function);
    for (int i = 0; i < count; i++)
        text_format(&line, "%s%s", i > 0 ? ",\001" : "", arguments[i]);
    text_add(&line, "));");
    int indent = INDENT_WIDTH;
    if (strlen(timed) + 1 + line.length + INDENT_WIDTH <= LINE_WIDTH) {
        wrap_line(emitter->out, indent, 0,
                  arena_format(emitter->arena, "%s %s", timed, line.bytes));
        return;
    }
    wrap_line(emitter->out, indent, 0, timed);
    wrap_line(emitter->out, indent + (int)strlen("TIMED("), INDENT_WIDTH, line.bytes);
}

/* TIMED(network, LAYER, PHASE, function(arguments)); */
static void emit_step(Emitter *emitter, const Step *step) {
    const KernelUse *use = step->use;
    const Node *node = step->group->nodes[0];
    const char **arguments =
        ARENA_ARRAY(emitter->arena, const char *, (size_t)use->argument_count + 4);
    int count = 0;
    if (use->batch)
        arguments[count++] = "batch";
    if (use->random_key)
        arguments[count++] = "network->random_key";
    if (use->random_stream)
        arguments[count++] = arena_format(emitter->arena, "%d", group_random_layer(step->group));
    if (use->random_layers)
        arguments[count++] = "network->random_layers";
    for (int i = 0; i < use->argument_count; i++)
        arguments[count++] = argument_text(emitter, use->arguments[i]);
    wrap_comment(emitter->out, INDENT_WIDTH, step_title(emitter, step->group));
    const char *timed = arena_format(emitter->arena, "TIMED(network, %d, %s,", node->layer->index,
                                     timing_phase(node->role));
    emit_call(emitter, timed, step->function->name, arguments, count);
}

/* What the calls of a program use of the network. */
typedef struct ProgramUse {
    bool batch, arena, parameters, parameters_written, gradients;
} ProgramUse;

static ProgramUse program_use(const StepList *list) {
    ProgramUse program = {false, false, false, false, false};
    for (int i = 0; i < list->count; i++) {
        const KernelUse *use = list->steps[i]->use;
        program.batch = program.batch || use->batch;
        for (int a = 0; a < use->argument_count; a++) {
            const Buffer *buffer = use->arguments[a];
            const Tensor *tensor = buffer->scratch ? NULL : tensor_storage(buffer->tensor);
            bool parameter = tensor != NULL && tensor->role == TENSOR_PARAMETER;
            bool gradient = tensor != NULL && tensor->role == TENSOR_PARAMETER_GRADIENT;
            bool elsewhere = tensor != NULL &&
                             (tensor->role == TENSOR_CONSTANT || tensor->role >= TENSOR_LABELS);
            program.parameters = program.parameters || parameter;
            program.parameters_written =
                program.parameters_written || (parameter && buffer->written);
            program.gradients = program.gradients || gradient;
            program.arena = program.arena || !(parameter || gradient || elsewhere);
        }
    }
    return program;
}

static void emit_program_function(Emitter *emitter, const char *name, const StepList *list) {
    Text *out = emitter->out;
    ProgramUse use = program_use(list);
    text_format(out, "static void %s(Network *network, int batch) {\n", name);
    if (use.parameters)
        text_format(out, "    %sreal *parameters = network->parameters;\n",
                    use.parameters_written ? "" : "const ");
    if (use.gradients)
        text_add(out, "    real *gradients = network->gradients;\n");
    if (use.arena)
        text_add(out, "    real *arena = network->arena;\n");
    if (list->count == 0)
        text_add(out, "    (void)network;\n");
    if (!use.batch)
        text_add(out, "    (void)batch;\n");
    for (int i = 0; i < list->count; i++) {
        text_add(out, i == 0 ? "\n" : "");
        emit_step(emitter, list->steps[i]);
    }
    text_add(out, "}\n\n");
}

void emit_programs(Emitter *emitter) {
    const Graph *graph = emitter->input->graph;
    int count = graph->infer_only ? PROGRAM_FORWARD_TRAINING : PROGRAM_COUNT;
    for (int program = 0; program < count; program++)
        emit_program_function(emitter, graph->programs[program].name,
                              &emitter->input->kernels->programs[program]);
}
