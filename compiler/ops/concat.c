/* CONCAT: the channels of the branches one after another. Their spatial extents must agree; with
 * crop=center larger branches are cut to the smallest extent of each axis, from both sides, the odd
 * pixel at the end. */
#include "channels.h"
#include "common.h"

#include <string.h>

enum { CONCAT_CROP, CONCAT_ATTRIBUTES };

static const AttributeDef concat_attributes[CONCAT_ATTRIBUTES] = {
    {"crop", ATTRIBUTE_CHOICE, "none", 0, 0, "none center", "center: crop larger branches"}};

static const char *const concat_samples[] = {
    "input 2x5x4 net = CONCAT{CONV(2,3x3,pad=1), CONV(3,1x1) - TANH, ID} - CONV(2,2x2) - FC(3)",
    "input 2x7x8 net = CONV(2,1x1) - CONCAT(crop=center){ID, CONV(3,3x4)} - RELU - FC(3)",
    "input 2x5x4 net = CONCAT{CONV(16,3x3,pad=1), CONV(32,1x1) - RELU} - CONCAT(crop=center){ID, "
    "CONV(16,3x3)} - FC(3)",
    "input 2x4x4 net = CONCAT{CONV(8,3x3,pad=1), CONV(24,1x1) - RELU} - CONV(16,1x1) - FC(3)",
    "input 5 net = CONCAT{FC(4), FC(2) - TANH} - FC(3)",
    NULL};

static bool is_cropping(const Layer *layer) {
    return strcmp(attribute_choice(layer, CONCAT_CROP), "center") == 0;
}

/* ---- Shapes ---- */

/* Rank and, unless branches are cropped, space equal to that of the first branch. */
static bool agrees(const Shape *shape, const Shape *first, bool cropping) {
    size_t size = (size_t)(first->rank - 1) * sizeof first->extent[0];
    return shape->rank == first->rank &&
           (cropping || memcmp(shape->extent + 1, first->extent + 1, size) == 0);
}

static void report_shapes(Inference *inference, const Layer *layer) {
    const Shape *first = &layer->inputs[0]->output;
    Diagnostic *error =
        infer_error(inference, layer, -1, "CONCAT needs branches that agree in space");
    bool ranks_agree = true;
    for (int i = 0; i < layer->input_count; i++) {
        const Shape *shape = &layer->inputs[i]->output;
        bool same = agrees(shape, first, is_cropping(layer));
        diagnostic_note(error, layer->inputs[i]->where, "branch %d gives %s%s", i + 1,
                        shape_text(inference->arena, shape),
                        same ? "" : ", which differs from branch 1");
        ranks_agree = ranks_agree && shape->rank == first->rank;
    }
    if (ranks_agree)
        diagnostic_hint(error,
                        "CONCAT(crop=center) crops the larger branches; pad=same or equal "
                        "strides in the branches make them agree");
    else
        diagnostic_hint(error, "FLATTEN in every branch joins images and vectors");
}

static bool concat_infer(Inference *inference, Layer *layer, Shape *output) {
    *output = layer->inputs[0]->output;
    for (int i = 1; i < layer->input_count; i++) {
        const Shape *shape = &layer->inputs[i]->output;
        if (!agrees(shape, &layer->inputs[0]->output, is_cropping(layer))) {
            report_shapes(inference, layer);
            return false;
        }
        output->extent[0] = count_plus(&inference->counter, output->extent[0], shape->extent[0]);
        for (int axis = 1; axis < shape->rank; axis++)
            if (shape->extent[axis] < output->extent[axis])
                output->extent[axis] = shape->extent[axis];
    }
    return true;
}

/* ---- Loops ---- */

/* Elements cut off before those of the output along an axis of the tensor (0: channels). */
static int64_t margin(const Tensor *x, const Tensor *y, int axis) {
    return axis == 0 ? 0 : (x->extent[axis] - y->extent[axis]) / 2;
}

/* The first channel of a branch in the output. */
static int64_t first_channel(const Node *node, int input) {
    int64_t channel = 0;
    for (int i = 0; i < input; i++)
        channel += node->x[i]->extent[0];
    return channel;
}

static void lower_branch(Lowering *lowering, const Node *node, int input, Expr *n) {
    Builder *b = lowering->builder;
    Tensor *x = node->x[input], *y = node->y;
    Expr *index[MAX_AXES] = {n}, *source[MAX_AXES] = {n};
    Channels channels = channels_open(lowering, x);
    int opened = channels.opened + open_space(lowering, LOOP_INDEPENDENT, y, index);
    opened += channels_open_lanes(&channels, &index[AXIS_CHANNEL]);
    for (int axis = 0; axis < y->rank; axis++)
        source[AXIS_CHANNEL + axis] =
            plus(b, index[AXIS_CHANNEL + axis], integer(b, margin(x, y, axis)));
    Expr *value = tensor_load(lowering, x, source);
    index[AXIS_CHANNEL] = plus(b, index[AXIS_CHANNEL], integer(b, first_channel(node, input)));
    lower_result(lowering, node, index, value);
    close_blocks(b, opened);
}

static void concat_lower_forward(Lowering *lowering, const Node *node) {
    Expr *n = open_batch(lowering->builder, LOOP_INDEPENDENT);
    for (int i = 0; i < node->input_count; i++)
        lower_branch(lowering, node, i, n);
    close_blocks(lowering->builder, 1);
}

/* dx is the branch's part of dy, 0 where the branch was cropped. */
static void concat_lower_data_gradient(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    Tensor *dx = node->dx, *dy = node->dy;
    Expr *index[MAX_AXES], *source[MAX_AXES], *inside = NULL;
    int opened = open_tensor(lowering, dx, index);
    source[AXIS_BATCH] = index[AXIS_BATCH];
    source[AXIS_CHANNEL] =
        plus(b, index[AXIS_CHANNEL], integer(b, first_channel(node, node->input)));
    for (int axis = 1; axis < dx->rank; axis++) {
        Expr *at = index[AXIS_CHANNEL + axis];
        Expr *cut = integer(b, margin(dx, dy, axis));
        source[AXIS_CHANNEL + axis] = minus(b, at, cut);
        if (dx->extent[axis] == dy->extent[axis])
            continue;
        if (!is_integer(cut, 0))
            inside = both(b, inside, greater_equal(b, at, cut));
        inside = both(b, inside, less(b, at, plus(b, cut, integer(b, dy->extent[axis]))));
    }
    lower_result(lowering, node, index,
                 choose(b, inside, tensor_load(lowering, dy, source), number(b, 0)));
    close_blocks(b, opened);
}

const OpDef op_concat = {.name = "CONCAT",
                         .summary = "channels of all branches, one after another",
                         .flags = OP_MERGE,
                         .attributes = concat_attributes,
                         .attribute_count = CONCAT_ATTRIBUTES,
                         .infer = concat_infer,
                         .lower_forward = concat_lower_forward,
                         .lower_data_gradient = concat_lower_data_gradient,
                         .samples = concat_samples};
