/* Shapes, parameters and cost of every layer, in one pass over the network. */
#include "network.h"

#include <string.h>

/* How many layers of the chain that led to an error are shown. */
#define CHAIN_LENGTH 6

/* ---- Errors ---- */

/* "... -> conv1 96x55x55 -> relu1 96x55x55 -> pool1", along first inputs. */
static const char *chain_text(Arena *arena, const Layer *layer) {
    const Layer *before[CHAIN_LENGTH];
    int count = 0;
    const Layer *from = layer;
    while (count < CHAIN_LENGTH && from->input_count > 0) {
        from = from->inputs[0];
        before[count++] = from;
    }
    const char *text = from->input_count > 0 ? "... -> " : "";
    while (count > 0) {
        const Layer *shown = before[--count];
        const char *shape = shape_text(arena, &shown->output);
        text = shown->input_count > 0 ? arena_format(arena, "%s%s %s -> ", text, shown->name, shape)
                                      : arena_format(arena, "%s%s -> ", text, shape);
    }
    return arena_format(arena, "%s%s", text, layer->name);
}

Diagnostic *infer_error(Inference *inference, const Layer *layer, int attribute, const char *format,
                        ...) {
    SourceRange where = layer->where;
    if (attribute >= 0 && layer->attributes[attribute].where.begin != 0) {
        where = layer->attributes[attribute].where;
    }
    va_list arguments;
    va_start(arguments, format);
    const char *text = arena_format_list(inference->arena, format, arguments);
    va_end(arguments);
    Diagnostic *diagnostic = diagnostic_error(inference->diagnostics, where, "%s", text);
    if (layer->input_count > 0) {
        diagnostic_note(diagnostic, layer->inputs[0]->where, "%s",
                        chain_text(inference->arena, layer));
    }
    return diagnostic;
}

/* Reports the overflow of a count and clears it. */
static bool check_count(Inference *inference, const Layer *layer, const char *what) {
    bool overflow = inference->counter.overflow;
    inference->counter.overflow = false;
    if (overflow) {
        infer_error(inference, layer, -1, "%s has more than 2^63 %s", layer->name, what);
    }
    return !overflow;
}

/* ---- Receptive fields ---- */

/* All of the input: what everything after a fully connected layer sees. */
static void see_everything(const Shape *input, Layer *layer) {
    for (int axis = 0; axis + 1 < input->rank; axis++) {
        layer->receptive_field[axis] = layer->jump[axis] = input->extent[1 + axis];
    }
}

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* What the inputs see, together. */
static void see_what_inputs_see(const Shape *input, Layer *layer) {
    for (int axis = 0; axis + 1 < input->rank; axis++) {
        layer->receptive_field[axis] = layer->jump[axis] = 1;
        for (int i = 0; i < layer->input_count; i++) {
            const Layer *from = layer->inputs[i];
            layer->receptive_field[axis] =
                larger(layer->receptive_field[axis], from->receptive_field[axis]);
            layer->jump[axis] = larger(layer->jump[axis], from->jump[axis]);
        }
    }
}

/* Whether the layer keeps the positions of its first input, or has only one to keep. A merge does:
 * at most it crops the larger branches. */
static bool keeps_positions(const Layer *layer) {
    if (layer->input_count == 0 || (layer->op->flags & OP_MERGE)) {
        return true;
    }
    const Layer *from = layer->inputs[0];
    size_t space = (size_t)(from->output.rank - 1) * sizeof from->output.extent[0];
    return from->elements == from->output.extent[0] ||
           (layer->output.rank == from->output.rank &&
            memcmp(layer->output.extent + 1, from->output.extent + 1, space) == 0);
}

/* r = r' + (span - 1)*j', j = S*j' for a window on what has receptive field r' and jump j' (A.
 * Araujo et al., Computing receptive fields of convolutional neural networks, 2019, section 2.1).
 * Both saturate at the extent of the network's input. */
static void set_receptive_field(const Shape *input, Layer *layer) {
    const Window *window = &layer->window;
    if (window->rank != input->rank - 1 && (window->rank > 0 || !keeps_positions(layer))) {
        see_everything(input, layer);
        return;
    }
    see_what_inputs_see(input, layer);
    for (int axis = 0; axis < window->rank; axis++) {
        Counter saturating = {false};
        int64_t jump = layer->jump[axis], extent = input->extent[1 + axis];
        int64_t span = window->dilation[axis] * (window->kernel[axis] - 1);
        int64_t field = count_plus(&saturating, layer->receptive_field[axis],
                                   count_times(&saturating, span, jump));
        jump = count_times(&saturating, jump, window->stride[axis]);
        layer->receptive_field[axis] = field < extent ? field : extent;
        layer->jump[axis] = jump < extent ? jump : extent;
    }
}

/* ---- One layer ---- */

static bool inputs_are_valid(const Layer *layer) {
    for (int i = 0; i < layer->input_count; i++) {
        if (!layer->inputs[i]->valid) {
            return false;
        }
    }
    return true;
}

/* Elements and bytes of the output. */
static bool measure_output(Inference *inference, Layer *layer) {
    Counter *counter = &inference->counter;
    layer->elements = shape_elements(counter, &layer->output);
    if (!check_count(inference, layer, "output elements")) {
        return false;
    }
    count_times(counter, layer->elements, (int64_t)sizeof(double));
    return check_count(inference, layer, "bytes of output");
}

static bool measure_parameters(Inference *inference, Layer *layer) {
    Counter *counter = &inference->counter;
    if (layer->op->parameters == NULL) {
        return true;
    }
    layer->parameter_count = layer->op->parameters(counter, layer, layer->parameters);
    if (!check_count(inference, layer, "parameters")) {
        return false;
    }
    for (int i = 0; i < layer->parameter_count; i++) {
        int64_t bytes = (int64_t)sizeof(double);
        const Dims *dims = &layer->parameters[i].dims;
        for (int axis = 0; axis < dims->rank; axis++) {
            bytes = count_times(counter, bytes, dims->extent[axis]);
        }
    }
    return check_count(inference, layer, "bytes of parameters");
}

static bool infer_layer(Inference *inference, const Shape *input, Layer *layer) {
    if (!layer->op->infer(inference, layer, &layer->output) ||
        !check_count(inference, layer, "output elements") || !measure_output(inference, layer) ||
        !measure_parameters(inference, layer)) {
        return false;
    }
    if (layer->op->cost) {
        layer->op->cost(&inference->counter, layer, &layer->cost);
    }
    set_receptive_field(input, layer);
    return check_count(inference, layer, "operations");
}

/* Adds the layer to the network's totals; false where they overflow. */
static bool add_to_totals(Inference *inference, Network *network, const Layer *layer) {
    Counter *counter = &inference->counter;
    for (int i = 0; i < layer->parameter_count; i++) {
        const ParameterSpec *spec = &layer->parameters[i];
        int64_t *total = spec->role == PARAMETER_WEIGHT ? &network->weight_count
                         : spec->role == PARAMETER_BIAS ? &network->bias_count
                                                        : &network->running_count;
        *total = count_plus(counter, *total, spec->count);
    }
    network->parameter_count = count_plus(counter, network->weight_count, network->bias_count);
    network->cost.macs = count_plus(counter, network->cost.macs, layer->cost.macs);
    network->cost.flops = count_plus(counter, network->cost.flops, layer->cost.flops);
    if (layer->input_count > 0) {
        network->activation_count = count_plus(counter, network->activation_count, layer->elements);
    }
    return !counter->overflow;
}

/* ---- Settings ---- */

/* All heads learn from the same labels or targets. */
static bool check_heads(Inference *inference, const Network *network) {
    const Layer *main = network->heads[0].layer;
    bool fine = true;
    for (int i = 1; i < network->head_count; i++) {
        const Head *head = &network->heads[i];
        const Layer *layer = head->layer;
        if (layer->valid && main->valid &&
            (layer->elements != main->elements ||
             layer->output.extent[0] != main->output.extent[0])) {
            Diagnostic *error =
                infer_error(inference, layer, -1, "output %s is %s, but the network's output is %s",
                            head->name, shape_text(inference->arena, &layer->output),
                            shape_text(inference->arena, &main->output));
            diagnostic_hint(error,
                            "all outputs learn from the same data: give each of them as "
                            "many channels and positions");
            fine = false;
        }
    }
    return fine;
}

/* Activations whose values are no scores: cross-entropy normalises scores itself. */
static bool ends_in_bounded_activation(const Layer *layer) {
    static const char *const names[] = {"RELU", "RELU6",       "SIGMOID",
                                        "TANH", "HARDSIGMOID", "SOFTPLUS"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(layer->op->name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void warn_about_loss(Inference *inference, const Network *network, const Layer *output) {
    if (network->train_where.begin == 0) {
        return;
    }
    Diagnostics *diagnostics = inference->diagnostics;
    if (output->output.extent[0] == 1) {
        diagnostic_warning(diagnostics, WARNING_LOSS, network->train_where,
                           "cross_entropy of an output with one class is always 0");
    } else if (ends_in_bounded_activation(output)) {
        Diagnostic *diagnostic = diagnostic_warning(
            diagnostics, WARNING_LOSS, output->where,
            "cross_entropy takes SOFTMAX or plain scores, but the network ends in %s",
            output->op->name);
        diagnostic_hint(diagnostic, "leave out %s or put an FC or CONV behind it",
                        output->op->name);
    }
}

static bool check_loss(Inference *inference, const Network *network) {
    const Layer *output = network->heads[0].layer;
    if (!output->valid || network->train.loss != LOSS_CROSS_ENTROPY) {
        return true;
    }
    int64_t classes = output->output.extent[0];
    if (network->class_weight_count > 0 && network->class_weight_count != classes) {
        diagnostic_error(inference->diagnostics, network->class_weights_where,
                         "the loss has %d class weights, but the output %s has %lld classes",
                         network->class_weight_count, shape_text(inference->arena, &output->output),
                         (long long)classes);
        return false;
    }
    warn_about_loss(inference, network, output);
    return true;
}

bool network_infer(Network *network, Diagnostics *diagnostics) {
    Inference inference = {.diagnostics = diagnostics, .arena = diagnostics_arena(diagnostics)};
    bool fine = true, countable = true;
    for (int i = 0; i < network->layer_count; i++) {
        Layer *layer = network->layers[i];
        if (!inputs_are_valid(layer)) {
            fine = false;
            continue;
        }
        layer->valid = infer_layer(&inference, &network->layers[0]->output, layer);
        fine = fine && layer->valid;
        if (layer->valid && countable && !add_to_totals(&inference, network, layer)) {
            inference.counter.overflow = false;
            infer_error(&inference, layer, -1,
                        "from here on the network as a whole has more than 2^63 parameters, "
                        "operations or activations");
            fine = countable = false;
        }
    }
    fine = check_heads(&inference, network) && fine;
    return check_loss(&inference, network) && fine;
}
