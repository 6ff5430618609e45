/* Layers that give the same numbers another shape or none of their own: they cost nothing and need
 * no code, since a view shares the memory of what it views. */
#include "common.h"

static const char *const flatten_samples[] = {"input 2x3x4 net = CONV(3,2x2) - FLATTEN - FC(3)",
                                              "input 2x5 net = CONV(2,3) - FLATTEN - RELU - FC(3)",
                                              NULL};

static bool flatten_infer(Inference *inference, Layer *layer, Shape *output) {
    output->rank = 1;
    output->extent[0] = shape_elements(&inference->counter, &layer->inputs[0]->output);
    return true;
}

const OpDef op_flatten = {.name = "FLATTEN",
                          .summary = "all elements as one vector, in the order C, H, W",
                          .flags = OP_VIEW,
                          .infer = flatten_infer,
                          .samples = flatten_samples};

enum { RESHAPE_DIMS, RESHAPE_ATTRIBUTES };

static const AttributeDef reshape_attributes[RESHAPE_ATTRIBUTES] = {
    {"dims", ATTRIBUTE_DIMS, NULL, 0, 0, NULL, "the new shape, channels first"}};

static const char *const reshape_samples[] = {
    "input 8 net = FC(12) - RESHAPE(3x2x2) - CONV(2,2x2) - FC(3)",
    "input 4x3x2 net = CONV(4,1x1) - RESHAPE(2x12) - RELU - FC(2)", NULL};

static bool reshape_infer(Inference *inference, Layer *layer, Shape *output) {
    const Dims *dims = &layer->attributes[RESHAPE_DIMS].as.dims;
    const Shape *input = &layer->inputs[0]->output;
    if (dims->rank > MAX_RANK) {
        infer_error(inference, layer, RESHAPE_DIMS,
                    "a tensor has channels and at most three spatial extents, not %d extents",
                    dims->rank);
        return false;
    }
    output->rank = dims->rank;
    for (int i = 0; i < dims->rank; i++) {
        output->extent[i] = dims->extent[i];
        if (dims->extent[i] < 1) {
            infer_error(inference, layer, RESHAPE_DIMS, "each extent must be at least 1");
            return false;
        }
    }
    Counter counter = {false};
    int64_t before = shape_elements(&counter, input), after = shape_elements(&counter, output);
    if (counter.overflow || before != after) {
        Diagnostic *error = infer_error(
            inference, layer, RESHAPE_DIMS, "%s has %s%lld elements, but the input %s has %lld",
            shape_text(inference->arena, output), counter.overflow ? "more than " : "",
            (long long)after, shape_text(inference->arena, input), (long long)before);
        diagnostic_hint(error,
                        "RESHAPE keeps every element: the products of the extents are equal");
        return false;
    }
    return true;
}

const OpDef op_reshape = {.name = "RESHAPE",
                          .summary = "the same elements in another shape",
                          .flags = OP_VIEW,
                          .attributes = reshape_attributes,
                          .attribute_count = RESHAPE_ATTRIBUTES,
                          .infer = reshape_infer,
                          .samples = reshape_samples};

static const char *const id_samples[] = {
    "input 2x4x3 net = CONV(3,2x2) - ID - FC(3)",
    "input 2x4x3 net = CONV(2,1x1) - ADD{ID, CONV(2,1x1)} - FC(3)", NULL};

const OpDef op_id = {.name = "ID",
                     .aliases = "IDENTITY",
                     .summary = "the input itself: the shortcut of a residual block",
                     .flags = OP_VIEW | OP_KEEPS_ZERO,
                     .infer = infer_like_input,
                     .samples = id_samples};
