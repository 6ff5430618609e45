/* INPUT: the first layer of every network, made from the `input` statement. */
#include "../network.h"

enum { INPUT_SHAPE, INPUT_ATTRIBUTES };

static const AttributeDef input_attributes[INPUT_ATTRIBUTES] = {
    {"shape", ATTRIBUTE_DIMS, NULL, 1, COUNT_MAX, NULL,
     "channels and up to three spatial extents, or the length of a vector"},
};

static bool input_infer(Inference *inference, Layer *layer, Shape *output) {
    const Value *shape = &layer->attributes[INPUT_SHAPE];
    if (shape->kind == VALUE_INTEGER) {
        *output = (Shape){1, {shape->as.integer}};
        return true;
    }
    const Dims *dims = &shape->as.dims;
    if (dims->rank > MAX_RANK) {
        infer_error(inference, layer, INPUT_SHAPE,
                    "an input has channels and up to three spatial extents, not %d extents",
                    dims->rank);
        return false;
    }
    output->rank = dims->rank;
    for (int axis = 0; axis < dims->rank; axis++) {
        output->extent[axis] = dims->extent[axis];
    }
    return true;
}

const OpDef op_input = {.name = "INPUT",
                        .summary = "the examples that enter the network",
                        .flags = OP_INTERNAL,
                        .attributes = input_attributes,
                        .attribute_count = INPUT_ATTRIBUTES,
                        .infer = input_infer};
