/* The kernels as functions, and the programs as lists of calls. */
#include "cprint.h"
#include "emit_internal.h"
#include "wrap.h"

#include <string.h>

#define LISTED_USERS 4 /* layers named in the comment of a function; more are counted */

/* ---- Kernels ---- */

/* "conv1-relu1 (line 4): 1x32x32 -> 6x28x28" */
static const char *user_text(const Emitter *emitter, const Group *group) {
    const Layer *first = group->nodes[0]->layer, *last = first;
    if (group->nodes[0]->role == NODE_FORWARD)
        last = group->nodes[group->count - 1]->layer;
    if (group->nodes[0]->role == NODE_PREPARE)
        last = group->nodes[0]->last_layer;
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

/* Those that are not there yet, and before them what they call. */
static void emit_subroutines(Emitter *emitter, const KernelUse *caller, NameTable *seen) {
    for (int i = 0; i < caller->subroutine_count; i++) {
        const Subroutine *subroutine = caller->subroutines[i];
        if (name_find(seen, subroutine->name) != NULL)
            continue;
        name_put(seen, subroutine->name, emitter);
        const KernelUse *use = kernel_use(emitter->arena, subroutine->kernel);
        emit_subroutines(emitter, use, seen);
        const char *head = arena_format(emitter->arena, "static %s void %s%s {",
                                        subroutine->copied ? "KERNEL_PART" : "KERNEL",
                                        subroutine->name, subroutine->parameters);
        wrap_comment(emitter->out, 0, subroutine->comment);
        wrap_line(emitter->out, 0, 2 * INDENT_WIDTH, head);
        print_kernel_body(emitter->out, subroutine->kernel, use, NULL, 1, KERNEL_INDENT);
        text_add(emitter->out, "}\n\n");
    }
}

void emit_kernels(Emitter *emitter) {
    const Kernels *kernels = emitter->input->kernels;
    NameTable *seen = name_table_create(emitter->arena);
    for (int i = 0; i < kernels->function_count; i++)
        emit_subroutines(emitter, kernels->functions[i]->steps[0]->use, seen);
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

/* ---- Calls ---- */

static CallArgument text_argument(const char *text) {
    return (CallArgument){.kind = ARGUMENT_TEXT, .name = text};
}

static CallArgument number_argument(Arena *arena, const char *what, int64_t number) {
    return (CallArgument){.kind = ARGUMENT_NUMBER,
                          .name = arena_format(arena, "%lld", (long long)number),
                          .label = arena_format(arena, "%s_%lld", what, (long long)number),
                          .value = number};
}

static bool has_shards(const Emitter *emitter) {
    return emitter->input->plan->options.shards > 1;
}

/* What all shards have together, from the shard's first example on. */
static CallArgument shared_argument(const Emitter *emitter, const char *array,
                                    const Tensor *tensor) {
    if (!has_shards(emitter))
        return text_argument(array);
    return text_argument(tensor->elements == 1
                             ? arena_format(emitter->arena, "%s + shard->first", array)
                             : arena_format(emitter->arena, "%s + (size_t)shard->first * %lld",
                                            array, (long long)tensor->elements));
}

static CallArgument whole_argument(const Emitter *emitter, const Placement *placement) {
    const char *array = arena_format(emitter->arena, "network->arena + %s",
                                     emitter->placement_names[placement->number]);
    CallArgument argument = shared_argument(emitter, array, placement->tensor);
    argument.named = &emitter->placement_named[placement->number];
    return argument;
}

/* Scratch memory belongs to one call and has no constant. */
static CallArgument arena_argument(const Emitter *emitter, const Buffer *buffer) {
    const Placement *placement = plan_find(emitter->input->plan, buffer);
    if (placement->whole && has_shards(emitter))
        return whole_argument(emitter, placement);
    int64_t offset = placement->offset / emitter->input->plan->options.real_size;
    CallArgument argument = {.kind = ARGUMENT_ARENA,
                             .type = buffer->type,
                             .label = placement_name(emitter->arena, placement),
                             .value = offset,
                             .placement = placement};
    if (placement->tensor == NULL) {
        argument.name = arena_format(emitter->arena, "%lld", (long long)offset);
        argument.remark =
            arena_format(emitter->arena, "%s %s", buffer->name, placement_dims(emitter, placement));
    } else {
        argument.name = emitter->placement_names[placement->number];
        argument.named = &emitter->placement_named[placement->number];
    }
    return argument;
}

static CallArgument parameter_argument(const Emitter *emitter, ArgumentKind kind,
                                       const Tensor *tensor) {
    size_t place = parameter_place(tensor);
    return (CallArgument){.kind = kind,
                          .name = emitter->parameter_names[place],
                          .label = tensor->name,
                          .named = &emitter->parameter_named[place],
                          .value = tensor->offset};
}

/* What lies beside a parameter in another array, at the same offset. */
static CallArgument beside_parameter(const Emitter *emitter, const Tensor *tensor,
                                     const char *array) {
    size_t place = parameter_place(tensor);
    CallArgument argument = text_argument(
        arena_format(emitter->arena, "%s + %s", array, emitter->parameter_names[place]));
    argument.named = &emitter->parameter_named[place];
    return argument;
}

static const char *state_array(const Emitter *emitter, const Tensor *tensor) {
    return tensor->state == 0
               ? "network->optimizer_state"
               : arena_format(emitter->arena,
                              "network->optimizer_state + %d * network->info->trainable_size",
                              tensor->state);
}

static CallArgument make_argument(const Emitter *emitter, const Buffer *buffer) {
    const Tensor *tensor = buffer->scratch ? NULL : tensor_storage(buffer->tensor);
    if (tensor == NULL)
        return arena_argument(emitter, buffer);
    switch (tensor->role) {
    case TENSOR_PARAMETER:
        return parameter_argument(emitter, ARGUMENT_PARAMETER, tensor);
    case TENSOR_PREPARED:
        return parameter_argument(emitter, ARGUMENT_PREPARED, tensor);
    case TENSOR_CONSTANT:
        return text_argument(tensor->layer != NULL ? emitter->connection_names[tensor->layer->index]
                                                   : "class_weights");
    case TENSOR_LABELS:
        return shared_argument(emitter, "network->labels", tensor);
    case TENSOR_TARGETS:
        return shared_argument(emitter, "network->targets", tensor);
    case TENSOR_LOSSES:
        return shared_argument(emitter, "network->losses", tensor);
    case TENSOR_KEPT_GRADIENT:
        return beside_parameter(emitter, tensor, "network->gradients");
    case TENSOR_SHARD_GRADIENT:
        return beside_parameter(emitter, tensor, "gradients");
    case TENSOR_OPTIMIZER_STATE:
        return beside_parameter(emitter, tensor, state_array(emitter, tensor));
    case TENSOR_OPTIMIZER_STEP:
        return text_argument("network->step.numbers");
    default:
        return arena_argument(emitter, buffer);
    }
}

static Call make_call(const Emitter *emitter, const Step *step) {
    const KernelUse *use = step->use;
    CallArgument *arguments =
        ARENA_ARRAY(emitter->arena, CallArgument,
                    (size_t)(use->argument_count + step->function->size_count + 8));
    int count = 0;
    arguments[count++] =
        number_argument(emitter->arena, "number", step->group->nodes[0]->layer->index);
    if (use->batch)
        arguments[count++] = text_argument("batch");
    if (use->whole_batch)
        arguments[count++] = text_argument("shard->whole_batch");
    if (use->first)
        arguments[count++] = text_argument("shard->first");
    if (use->random_key)
        arguments[count++] = text_argument("network->random_key");
    if (use->random_stream)
        arguments[count++] =
            number_argument(emitter->arena, "number", group_random_layer(step->group));
    if (use->random_layers)
        arguments[count++] = text_argument("network->random_layers");
    if (use->network)
        arguments[count++] = text_argument("network");
    for (int i = 0; i < step->function->size_count; i++)
        arguments[count++] = number_argument(emitter->arena, "size", step->sizes[i]);
    for (int i = 0; i < use->argument_count; i++)
        arguments[count++] = make_argument(emitter, use->arguments[i]);
    return (Call){step, count, arguments};
}

void make_calls(Emitter *emitter) {
    for (int program = 0; program < PROGRAM_COUNT; program++) {
        const StepList *steps = &emitter->input->kernels->programs[program];
        CallList *list = &emitter->calls[program];
        list->calls = ARENA_ARRAY(emitter->arena, Call, (size_t)steps->count + 1);
        list->call_count = steps->count;
        for (int i = 0; i < steps->count; i++)
            list->calls[i] = make_call(emitter, steps->steps[i]);
        find_parts(emitter->arena, list);
    }
}

/* The value of an argument: its name, what that grows to from round to round, or what the round's
 * row of the table says. */
static const char *argument_value_text(Arena *arena, const CallList *list, const Part *part,
                                       int call, int argument) {
    const CallArgument *first = &list->calls[part->first + call].arguments[argument];
    bool number = first->kind == ARGUMENT_NUMBER;
    int64_t step = 0;
    switch (argument_progress(list, part, call, argument)) {
    case PROGRESS_NONE:
        break;
    case PROGRESS_LINEAR:
        step = argument_value(list, part, call, argument, 1) - first->value;
        return arena_format(arena, "%s %c %s * %lld", first->name, step < 0 ? '-' : '+',
                            number ? "(int)i" : "i", (long long)(step < 0 ? -step : step));
    case PROGRESS_TABLE:
        return arena_format(arena, "%sat->%s", number ? "(int)" : "",
                            argument_column(list, part, call, argument)->name);
    }
    return first->name;
}

static const char *argument_text(Arena *arena, const CallList *list, const Part *part, int call,
                                 int argument) {
    static const char *const bases[] = {
        [ARGUMENT_TEXT] = "",
        [ARGUMENT_NUMBER] = "",
        [ARGUMENT_ARENA] = "arena + ",
        [ARGUMENT_PARAMETER] = "parameters + ",
        [ARGUMENT_PREPARED] = "prepared + ",
    };
    const CallArgument *first = &list->calls[part->first + call].arguments[argument];
    const char *text = arena_format(arena, "%s%s", bases[first->kind],
                                    argument_value_text(arena, list, part, call, argument));
    if (first->remark != NULL)
        text = arena_format(arena, "%s /* %s */", text, first->remark);
    if (first->kind != ARGUMENT_ARENA || first->type == TYPE_REAL)
        return text;
    return arena_format(arena, "(%s *)(%s)", element_type_name(first->type), text);
}

/* ---- Programs ---- */

const char *emit_timing_phase(NodeRole role) {
    static const char *const phases[] = {
        [NODE_FORWARD] = "TIMING_FORWARD",
        [NODE_LOSS] = "TIMING_FORWARD",
        [NODE_LOSS_GRADIENT] = "TIMING_DATA_GRADIENT",
        [NODE_PARAMETER_GRADIENT] = "TIMING_PARAMETER_GRADIENT",
        [NODE_DATA_GRADIENT] = "TIMING_DATA_GRADIENT",
        [NODE_PREPARE] = "TIMING_FORWARD",
        [NODE_UPDATE] = "TIMING_PARAMETER_GRADIENT",
    };
    return phases[role];
}

/* "weight gradient of conv1"; of several rounds, with the layers of the first and the last one. */
static const char *call_title(const Emitter *emitter, const CallList *list, const Part *part,
                              int call) {
    static const char *const titles[] = {
        [NODE_FORWARD] = "",
        [NODE_LOSS] = "loss of ",
        [NODE_LOSS_GRADIENT] = "loss and its gradient of ",
        [NODE_PARAMETER_GRADIENT] = "weight gradient of ",
        [NODE_DATA_GRADIENT] = "data gradient of ",
        [NODE_PREPARE] = "for ",
        [NODE_UPDATE] = "update of ",
    };
    const Group *first = list->calls[part->first + call].step->group;
    const char *what = first->nodes[0]->recomputed     ? "again: "
                       : first->nodes[0]->step != NULL ? "weight gradient and update of "
                                                       : titles[first->nodes[0]->role];
    const char *title =
        arena_format(emitter->arena, "%s%s", what, group_layers(emitter->arena, first));
    if (part->rounds == 1)
        return title;
    int last = part->first + (part->rounds - 1) * part->length + call;
    return arena_format(emitter->arena, "%s ... %s", title,
                        group_layers(emitter->arena, list->calls[last].step->group));
}

/* TIMED(network, LAYER, PHASE, function(arguments)); with the call on the same line or below. */
static void emit_call(Emitter *emitter, const CallList *list, const Part *part, int call) {
    static const char *const conditions[] = {
        [CONDITION_NONE] = NULL,
        [CONDITION_KEPT] = "if (network->gradients != NULL)",
        [CONDITION_NOT_KEPT] = "else",
    };
    const Call *first = &list->calls[part->first + call];
    const char *condition = conditions[first->step->group->nodes[0]->condition];
    const char *timed = arena_format(emitter->arena, "TIMED(network, %s, %s,",
                                     argument_text(emitter->arena, list, part, call, 0),
                                     emit_timing_phase(first->step->group->nodes[0]->role));
    Text line;
    text_init(&line, emitter->arena);
    text_format(&line, "%s(", first->step->function->name);
    for (int i = 1; i < first->argument_count; i++)
        text_format(&line, "%s%s", i > 1 ? ",\001" : "",
                    argument_text(emitter->arena, list, part, call, i));
    text_add(&line, "));");
    int indent = part->rounds > 1 ? 2 * INDENT_WIDTH : INDENT_WIDTH;
    wrap_comment(emitter->out, indent, call_title(emitter, list, part, call));
    if (condition != NULL) {
        wrap_line(emitter->out, indent, 0, condition);
        indent += INDENT_WIDTH;
    }
    if (strlen(timed) + 1 + line.length + (size_t)indent <= LINE_WIDTH) {
        wrap_line(emitter->out, indent, 0,
                  arena_format(emitter->arena, "%s %s", timed, line.bytes));
        return;
    }
    wrap_line(emitter->out, indent, 0, timed);
    wrap_line(emitter->out, indent + (int)strlen("TIMED("), INDENT_WIDTH, line.bytes);
}

/* ---- Rounds ---- */

/* struct backward_round_1, and backward_rounds_1 with a row for each round. */
static void emit_round_table(Emitter *emitter, const char *program, const CallList *list,
                             const Part *part) {
    Text *out = emitter->out;
    if (part->column_count == 0)
        return;
    wrap_comment(out, 0,
                 arena_format(emitter->arena,
                              "Where the %d rounds of calls in %s have their tensors in the arena; "
                              "the names are those of the first round.",
                              part->rounds, program));
    text_format(out, "struct %s_round_%d {\n", program, part->number);
    for (int i = 0; i < part->column_count; i++) {
        const RoundColumn *column = &part->columns[i];
        const CallArgument *argument =
            &list->calls[part->first + column->call].arguments[column->argument];
        text_format(out, "    size_t %s;", column->name);
        if (argument->placement != NULL)
            text_format(out, " /* %s */", placement_dims(emitter, argument->placement));
        text_add_character(out, '\n');
    }
    text_format(out, "};\nstatic const struct %s_round_%d %s_rounds_%d[%d] = {\n", program,
                part->number, program, part->number, part->rounds);
    Text row;
    text_init(&row, emitter->arena);
    for (int round = 0; round < part->rounds; round++) {
        text_clear(&row);
        for (int i = 0; i < part->column_count; i++)
            text_format(&row, "%s%lld", i == 0 ? "{" : ",\001",
                        (long long)argument_value(list, part, part->columns[i].call,
                                                  part->columns[i].argument, round));
        text_add(&row, "},");
        wrap_line(out, INDENT_WIDTH, INDENT_WIDTH / 4, row.bytes);
    }
    text_add(out, "};\n\n");
}

static void emit_round_tables(Emitter *emitter, const char *program, const CallList *list) {
    for (int i = 0; i < list->part_count; i++)
        if (list->parts[i].rounds > 1)
            emit_round_table(emitter, program, list, &list->parts[i]);
}

static void emit_part(Emitter *emitter, const char *program, const CallList *list,
                      const Part *part) {
    Text *out = emitter->out;
    if (part->rounds > 1) {
        text_format(out, "    for (size_t i = 0; i < %d; i++) {\n", part->rounds);
        if (part->column_count > 0)
            text_format(out, "        const struct %s_round_%d *at = &%s_rounds_%d[i];\n", program,
                        part->number, program, part->number);
    }
    for (int call = 0; call < part->length; call++)
        emit_call(emitter, list, part, call);
    if (part->rounds > 1)
        text_add(out, "    }\n");
}

/* What the calls of a program use of the network. */
typedef struct ProgramUse {
    bool batch, arena, parameters, parameters_written, prepared, gradients;
} ProgramUse;

static ProgramUse program_use(const Emitter *emitter, const StepList *list) {
    ProgramUse program = {0};
    for (int i = 0; i < list->count; i++) {
        const KernelUse *use = list->steps[i]->use;
        program.batch = program.batch || use->batch;
        for (int a = 0; a < use->argument_count; a++) {
            const Buffer *buffer = use->arguments[a];
            const Tensor *tensor = buffer->scratch ? NULL : tensor_storage(buffer->tensor);
            bool parameter = tensor != NULL && tensor->role == TENSOR_PARAMETER;
            bool prepared = tensor != NULL && tensor->role == TENSOR_PREPARED;
            bool elsewhere = tensor != NULL &&
                             (tensor->role == TENSOR_CONSTANT || tensor->role >= TENSOR_LABELS);
            program.parameters = program.parameters || parameter;
            program.parameters_written =
                program.parameters_written || (parameter && buffer->written);
            program.prepared = program.prepared || prepared;
            program.gradients =
                program.gradients || (tensor != NULL && tensor->role == TENSOR_SHARD_GRADIENT);
            if (!(parameter || prepared || elsewhere))
                program.arena = program.arena || !has_shards(emitter) ||
                                !plan_find(emitter->input->plan, buffer)->whole;
        }
    }
    return program;
}

/* The beginning of a program: its head, and locals for what its calls use. */
static void emit_program_head(const Emitter *emitter, const char *name, const ProgramUse *use,
                              bool preparing) {
    Text *out = emitter->out;
    bool shard = has_shards(emitter) && !preparing;
    text_format(out, "static void %s%s(Network *network%s) {\n", name, shard ? "_shard" : "",
                shard       ? ", const Shard *shard"
                : preparing ? ""
                            : ", int batch");
    if (shard && use->batch)
        text_add(out, "    const int batch = shard->batch;\n");
    if (use->parameters)
        text_format(out, "    %sreal *parameters = network->parameters;\n",
                    use->parameters_written ? "" : "const ");
    if (use->prepared)
        text_format(out, "    %sreal *prepared = network->prepared;\n", preparing ? "" : "const ");
    if (use->gradients)
        text_add(out, "    real *gradients = network_shard_gradients(network, shard->number);\n");
    if (use->arena)
        text_format(out, "    real *arena = network->arena%s;\n",
                    shard ? " + (size_t)shard->number * SHARD_SIZE" : "");
    if (!use->batch && !preparing)
        text_format(out, "    (void)%s;\n", shard ? "shard" : "batch");
}

/* All shards of a program, and after them what their gradients do. */
static void emit_shards(const Emitter *emitter, ProgramId program, const char *name) {
    Text *out = emitter->out;
    text_format(out,
                "static void %s(Network *network, int batch) {\n"
                "    network_run_shards(network, batch, %s_shard);\n",
                name, name);
    if (program == PROGRAM_BACKWARD)
        text_add(out, "    optimizer_update_shards(network, batch);\n");
    text_add(out, "}\n\n");
}

static void emit_program_function(Emitter *emitter, ProgramId program) {
    Text *out = emitter->out;
    const char *name = emitter->input->graph->programs[program].name;
    const CallList *list = &emitter->calls[program];
    const ProgramUse use = program_use(emitter, &emitter->input->kernels->programs[program]);
    emit_round_tables(emitter, name, list);
    emit_program_head(emitter, name, &use, program == PROGRAM_PREPARE);
    if (list->call_count == 0)
        text_add(out, "    (void)network;\n");
    text_add(out, list->call_count > 0 ? "\n" : "");
    for (int i = 0; i < list->part_count; i++)
        emit_part(emitter, name, list, &list->parts[i]);
    text_add(out, "}\n\n");
    if (has_shards(emitter) && program != PROGRAM_PREPARE)
        emit_shards(emitter, program, name);
}

bool program_is_emitted(const Emitter *emitter, ProgramId program) {
    if (program == PROGRAM_PREPARE)
        return emitter->calls[program].call_count > 0;
    return program < PROGRAM_FORWARD_TRAINING || !emitter->input->graph->infer_only;
}

void emit_programs(Emitter *emitter) {
    for (int program = 0; program < PROGRAM_COUNT; program++)
        if (program_is_emitted(emitter, (ProgramId)program))
            emit_program_function(emitter, (ProgramId)program);
}
