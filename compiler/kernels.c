#include "kernels.h"
#include "cprint.h"
#include "names.h"
#include "wrap.h"

#include <ctype.h>
#include <string.h>

#define LONGEST_NAME 72 /* of what a group computes; what is cut is told apart by numbers */

Sequence program_sequence(ProgramId program) {
    return program < PROGRAM_FORWARD_TRAINING ? SEQUENCE_EVALUATION : SEQUENCE_TRAINING;
}

Kernels *kernels_create(Arena *arena, const Network *network, int max_batch) {
    Kernels *kernels = ARENA_NEW(arena, Kernels);
    kernels->arena = arena;
    kernels->max_batch = max_batch;
    kernels->layers = layer_keys_create(arena, network);
    return kernels;
}

/* Looks for a step with an equal group; if there is none, this one is the first. */
static void find_equal(Kernels *kernels, Step *step) {
    Step **bucket = &kernels->first_steps[step->key->hash % STEP_BUCKETS];
    for (Step *first = *bucket; first != NULL; first = first->next)
        if (group_keys_equal(first->key, step->key)) {
            step->same_as = first;
            step->kernel = first->kernel;
            return;
        }
    step->next = *bucket;
    *bucket = step;
}

Step *kernels_add_step(Kernels *kernels, ProgramId program, const Group *group) {
    Step *step = ARENA_NEW(kernels->arena, Step);
    step->group = group;
    step->key = group_key(kernels->arena, kernels->layers, group);
    step->program = program;
    step->number = kernels->sequence_length[program_sequence(program)]++;
    find_equal(kernels, step);
    StepList *list = &kernels->programs[program];
    ARENA_GROW(kernels->arena, list->steps, list->count, list->capacity);
    list->steps[list->count++] = step;
    return step;
}

void step_set_kernel(Kernels *kernels, Step *step, Kernel *kernel) {
    step->kernel = kernel;
    kernel->name = group_name(kernels->arena, step->group);
}

/* ---- Names ---- */

static void add_lower_case(Text *name, const char *string) {
    for (; *string != '\0'; string++)
        text_add_character(name, (char)tolower((unsigned char)*string));
}

static void add_extents(Text *name, int rank, const int64_t *extent) {
    for (int i = 0; i < rank; i++)
        text_format(name, "%s%lld", i > 0 ? "x" : "", (long long)extent[i]);
}

static bool all_are(const int64_t *values, int count, int64_t value) {
    for (int i = 0; i < count; i++)
        if (values[i] != value)
            return false;
    return true;
}

/* "conv5x5", "conv3x3_stride2x1", "relu" */
static void add_kind(Text *name, const Node *node) {
    add_lower_case(name, node->op->name);
    const Window *window = &node->layer->window;
    bool loss = node->role == NODE_LOSS || node->role == NODE_LOSS_GRADIENT;
    if (loss || window->rank == 0)
        return;
    add_extents(name, window->rank, window->kernel);
    if (all_are(window->stride, window->rank, 1))
        return;
    text_add(name, "_stride");
    bool equal = all_are(window->stride, window->rank, window->stride[0]);
    add_extents(name, equal ? 1 : window->rank, window->stride);
}

/* The shape that the name of a node ends with: that of the layer's output. */
static void add_output_shape(Text *name, const Node *node) {
    const Shape *shape = &node->layer->output;
    text_add_character(name, '_');
    add_extents(name, shape->rank, shape->extent);
}

static const char *role_suffix(NodeRole role) {
    static const char *const suffixes[] = {
        [NODE_FORWARD] = "",
        [NODE_LOSS] = "",
        [NODE_LOSS_GRADIENT] = "_gradient",
        [NODE_PARAMETER_GRADIENT] = "_weight_gradient",
        [NODE_DATA_GRADIENT] = "_data_gradient",
        [NODE_PREPARE] = "_prepare",
        [NODE_UPDATE] = "_update",
    };
    return suffixes[role];
}

/* "update_432_16": the sizes of what is updated. */
static const char *update_name(Arena *arena, const Node *node) {
    Text name;
    text_init(&name, arena);
    text_add(&name, "update");
    for (int p = 0; p < MAX_PARAMETERS; p++)
        if (node->parameters[p] != NULL)
            text_format(&name, "_%lld", (long long)node->parameters[p]->elements);
    return name.bytes;
}

static const char *name_group(Arena *arena, const Group *group, bool shapes) {
    Text name;
    text_init(&name, arena);
    const Node *first = group->nodes[0], *last = group->nodes[group->count - 1];
    if (first->role == NODE_UPDATE)
        return shapes ? update_name(arena, first) : "update";
    add_kind(&name, first);
    if (first->role == NODE_FORWARD) {
        for (int i = 1; i < group->count; i++) {
            text_add_character(&name, '_');
            add_kind(&name, group->nodes[i]);
        }
        if (shapes)
            add_output_shape(&name, last);
    } else {
        if (shapes && first->role != NODE_PREPARE)
            add_output_shape(&name, first);
        text_add(&name, role_suffix(first->role));
        text_add(&name, first->step != NULL ? "_and_update" : "");
        if (first->dy_windows) {
            text_add(&name, "_with_");
            add_kind(&name, first->dy_windows);
        }
        for (int i = 1; i < group->count; i++) {
            text_add(&name, i == 1 ? "_through_" : "_");
            add_kind(&name, group->nodes[i]);
        }
    }
    if (name.length > LONGEST_NAME)
        name.bytes[LONGEST_NAME] = '\0';
    return name.bytes;
}

const char *group_name(Arena *arena, const Group *group) {
    return name_group(arena, group, true);
}

const char *group_layers(Arena *arena, const Group *group) {
    Text names;
    text_init(&names, arena);
    for (int i = 0; i < group->count; i++) {
        const Node *node = group->nodes[i];
        bool forward = node->role == NODE_FORWARD;
        text_add(&names, i == 0 ? "" : forward ? "-" : ", ");
        text_add(&names, node->layer->name);
        if (node->role == NODE_PREPARE && node->last_layer != node->layer)
            text_format(&names, " ... %s", node->last_layer->name);
        if (node->dy_windows)
            text_format(&names, " with data gradient of %s", node->dy_windows->layer->name);
    }
    return names.bytes;
}

/* Whether <math.h> has a function of this name. */
static bool is_library_name(const char *name) {
    return strcmp(name, "tanh") == 0;
}

/* A free name: what the group computes, then with more about it, then with a number. */
static const char *function_name(Arena *arena, const NameTable *taken, const Group *group,
                                 bool any_size) {
    const char *name = name_group(arena, group, !any_size);
    if (is_library_name(name))
        name = arena_format(arena, "%s_layer", name);
    if (name_find(taken, name) == NULL)
        return name;
    const Node *node = group->nodes[0];
    if (node->role == NODE_FORWARD && node->training) {
        name = arena_format(arena, "%s_training", name);
        if (name_find(taken, name) == NULL)
            return name;
    }
    if (node->layer->input_count == 1 && node->role != NODE_PREPARE && !any_size) {
        const Shape *input = &node->layer->inputs[0]->output;
        Text longer;
        text_init(&longer, arena);
        text_format(&longer, "%s_from_", name);
        add_extents(&longer, input->rank, input->extent);
        name = longer.bytes;
    }
    const char *numbered = name;
    for (int number = 2; name_find(taken, numbered) != NULL; number++)
        numbered = arena_format(arena, "%s_%d", name, number);
    return numbered;
}

/* ---- Sharing ---- */

typedef struct Sharing {
    Kernels *kernels;
    NameTable *names;     /* functions by name */
    NameTable *anonymous; /* and by their anonymous text */
} Sharing;

static void print_function(const Kernels *kernels, const Step *step, KernelSizes *sizes,
                           Text *text) {
    text_clear(text);
    print_kernel_parameters(text, step->use, sizes, kernels->max_batch);
    text_add_character(text, '\n');
    print_kernel_body(text, step->kernel, step->use, sizes, kernels->max_batch, KERNEL_INDENT);
}

/* Under names of parameters that tell nothing of the tensors: one gradient is `dy` in one group and
 * `x` in another, which reads it as what a sum of layers passes through. Nor does it tell sizes;
 * they are returned. */
static KernelSizes print_anonymous(const Kernels *kernels, const Step *step, Text *text) {
    KernelSizes sizes = {0};
    const KernelUse *use = step->use;
    const char **names = ARENA_ARRAY(kernels->arena, const char *, (size_t)use->argument_count);
    for (int i = 0; i < use->argument_count; i++) {
        names[i] = use->arguments[i]->name;
        use->arguments[i]->name = arena_format(kernels->arena, "parameter%d", i);
    }
    print_function(kernels, step, &sizes, text);
    for (int i = 0; i < use->argument_count; i++)
        use->arguments[i]->name = names[i];
    return sizes;
}

static Function *add_function(Sharing *sharing, const KernelSizes *sizes, const Text *text) {
    Kernels *kernels = sharing->kernels;
    Function *function = ARENA_NEW(kernels->arena, Function);
    function->sizes = *sizes;
    name_put(sharing->anonymous, arena_copy(kernels->arena, text->bytes, text->length), function);
    ARENA_GROW(kernels->arena, kernels->functions, kernels->function_count,
               kernels->function_capacity);
    kernels->functions[kernels->function_count++] = function;
    return function;
}

static void use_function(Kernels *kernels, Step *step, Function *function) {
    ARENA_GROW(kernels->arena, function->steps, function->step_count, function->step_capacity);
    function->steps[function->step_count++] = step;
    step->function = function;
}

/* What a call of an equal group passes: its own tensors, and scratch memory of its own. */
static KernelUse *counterpart_use(Arena *arena, const Step *step) {
    const Step *first = step->same_as;
    KernelUse *use = ARENA_NEW(arena, KernelUse);
    *use = *first->use;
    use->arguments = ARENA_ARRAY(arena, Buffer *, (size_t)use->argument_count);
    for (int i = 0; i < use->argument_count; i++) {
        Buffer *argument = ARENA_NEW(arena, Buffer);
        *argument = *first->use->arguments[i];
        if (argument->tensor != NULL)
            argument->tensor = group_key_counterpart(first->key, step->key, argument->tensor);
        use->arguments[i] = argument;
    }
    return use;
}

static void share_step(Sharing *sharing, Step *step, Text *text) {
    Kernels *kernels = sharing->kernels;
    if (step->same_as != NULL) {
        step->use = counterpart_use(kernels->arena, step);
        step->sizes = step->same_as->sizes;
        use_function(kernels, step, step->same_as->function);
        return;
    }
    step->use = kernel_use(kernels->arena, step->kernel);
    KernelSizes sizes = print_anonymous(kernels, step, text);
    step->sizes = sizes.values;
    Function *function = name_find(sharing->anonymous, text->bytes);
    if (function == NULL)
        function = add_function(sharing, &sizes, text);
    use_function(kernels, step, function);
}

static bool is_same_everywhere(const Function *function, int size) {
    for (int i = 0; i < function->step_count; i++)
        if (function->steps[i]->sizes[size] != function->sizes.values[size])
            return false;
    return true;
}

/* The first of the sizes that this one is equal to in all steps. */
static int first_equal(const Function *function, int size) {
    for (int first = 0, i; first < size; first++) {
        for (i = 0; i < function->step_count; i++)
            if (function->steps[i]->sizes[first] != function->steps[i]->sizes[size])
                break;
        if (i == function->step_count)
            return first;
    }
    return size;
}

/* Names the sizes that are not the same in all steps, those that are equal alike, and leaves to the
 * steps one of each name. */
static void settle_sizes(Arena *arena, Function *function) {
    KernelSizes *sizes = &function->sizes;
    int *chosen = ARENA_ARRAY(arena, int, (size_t)sizes->count + 1);
    sizes->names = ARENA_ARRAY(arena, const char *, (size_t)sizes->count + 1);
    for (int i = 0; i < sizes->count; i++) {
        int equal = is_same_everywhere(function, i) ? i : first_equal(function, i);
        if (equal < i) {
            sizes->names[i] = sizes->names[equal];
        } else if (!is_same_everywhere(function, i)) {
            sizes->names[i] = builder_reserve(&function->steps[0]->kernel->builder, "size");
            chosen[function->size_count++] = i;
        }
    }
    for (int i = 0; i < function->step_count; i++) {
        Step *step = function->steps[i];
        int64_t *passed = ARENA_ARRAY(arena, int64_t, (size_t)function->size_count + 1);
        for (int j = 0; j < function->size_count; j++)
            passed[j] = step->sizes[chosen[j]];
        step->sizes = passed;
    }
}

static void finish_function(Sharing *sharing, Function *function, Text *text) {
    Kernels *kernels = sharing->kernels;
    const Step *first = function->steps[0];
    settle_sizes(kernels->arena, function);
    print_function(kernels, first, &function->sizes, text);
    const char *printed = arena_copy(kernels->arena, text->bytes, text->length);
    size_t parameters = strcspn(printed, "\n");
    function->parameters = arena_copy(kernels->arena, printed, parameters);
    function->body = printed + parameters + 1;
    function->name =
        function_name(kernels->arena, sharing->names, first->group, function->size_count > 0);
    name_put(sharing->names, function->name, function);
    for (int i = 0; i < function->step_count; i++)
        function->steps[i]->kernel->name = function->name;
}

void kernels_share(Kernels *kernels) {
    Sharing sharing = {kernels, name_table_create(kernels->arena),
                       name_table_create(kernels->arena)};
    Text text;
    text_init(&text, kernels->arena);
    for (int program = 0; program < PROGRAM_COUNT; program++)
        for (int i = 0; i < kernels->programs[program].count; i++)
            share_step(&sharing, kernels->programs[program].steps[i], &text);
    for (int i = 0; i < kernels->function_count; i++)
        finish_function(&sharing, kernels->functions[i], &text);
}
