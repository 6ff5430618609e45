/* Elementwise merges of branches: ADD, SUB, MUL and MAX. MUL also takes factors of one number per
 * channel (C or Cx1x1 against CxHxW: channel attention). */
#include "channels.h"
#include "common.h"

/* ---- Shapes ---- */

/* Lists the shape of every branch and what the differing axes suggest; takes_factors: one
 * number per channel would do as well. Returns false. */
static bool report_shapes(Inference *inference, Layer *layer, const Shape *expected,
                          bool takes_factors) {
    Diagnostic *error =
        infer_error(inference, layer, -1, "%s needs branches of equal shape", layer->op->name);
    bool channels = false, space = false, rank = false;
    for (int i = 0; i < layer->input_count; i++) {
        const Shape *shape = &layer->inputs[i]->output;
        bool differs = !shape_equal(shape, expected);
        diagnostic_note(error, layer->inputs[i]->where, "branch %d gives %s%s", i + 1,
                        shape_text(inference->arena, shape), differs ? ", which differs" : "");
        rank = rank || shape->rank != expected->rank;
        channels = channels || shape->extent[0] != expected->extent[0];
        for (int axis = 1; axis < shape->rank && axis < expected->rank; axis++)
            space = space || shape->extent[axis] != expected->extent[axis];
    }
    long long wanted = expected->extent[0];
    if (rank && channels && takes_factors)
        diagnostic_hint(error, "a factor of one number per channel has %lld, as in GAP - FC(%lld)",
                        wanted, wanted);
    else if (rank)
        diagnostic_hint(error, "FLATTEN, RESHAPE or GAP bring an image and a vector together");
    else if (space)
        diagnostic_hint(error,
                        "strides and paddings decide the extents in space: pad=same keeps "
                        "them, an equal stride in every branch shrinks them alike");
    else if (channels)
        diagnostic_hint(error, "a CONV(%lld, 1x1) at the end of a branch gives it %lld channels",
                        wanted, wanted);
    return false;
}

static bool merge_infer(Inference *inference, Layer *layer, Shape *output) {
    *output = layer->inputs[0]->output;
    for (int i = 1; i < layer->input_count; i++)
        if (!shape_equal(&layer->inputs[i]->output, output))
            return report_shapes(inference, layer, output, false);
    return true;
}

/* ---- ADD ---- */

static Expr *add_value(Lowering *lowering, const Node *node, Expr *const *x, Expr *const *index) {
    (void)index;
    Expr *sum = x[0];
    for (int i = 1; i < node->input_count; i++)
        sum = plus(lowering->builder, sum, x[i]);
    return sum;
}

static Expr *add_derivative(Lowering *lowering, const Node *node, int input, Expr *const *x,
                            Expr *y, Expr *dy, Expr *const *index) {
    (void)lowering;
    (void)node;
    (void)input;
    (void)x;
    (void)y;
    (void)index;
    return dy;
}

static const char *const add_samples[] = {
    "input 2x5x4 net = CONV(3,2x2) - ADD{ID, CONV(3,3x3,pad=1) - TANH} - FC(3)",
    "input 6 net = ADD{FC(4), FC(4) - SIGMOID, FC(4)} - FC(3)", NULL};

const OpDef op_add = {.name = "ADD",
                      .summary = "sum of the branches",
                      .flags = OP_MERGE | OP_PASSES_GRADIENT | OP_KEEPS_ZERO,
                      .infer = merge_infer,
                      .cost = cost_one_per_output,
                      .value = add_value,
                      .derivative = add_derivative,
                      .samples = add_samples};

/* ---- SUB: the first branch minus the others ---- */

static Expr *sub_value(Lowering *lowering, const Node *node, Expr *const *x, Expr *const *index) {
    (void)index;
    Expr *difference = x[0];
    for (int i = 1; i < node->input_count; i++)
        difference = minus(lowering->builder, difference, x[i]);
    return difference;
}

static Expr *sub_derivative(Lowering *lowering, const Node *node, int input, Expr *const *x,
                            Expr *y, Expr *dy, Expr *const *index) {
    (void)node;
    (void)x;
    (void)y;
    (void)index;
    return input == 0 ? dy : negated(lowering->builder, dy);
}

static const char *const sub_samples[] = {
    "input 2x5x4 net = CONV(3,2x2) - SUB{ID, CONV(3,3x3,pad=1)} - FC(3)",
    "input 6 net = SUB{FC(4) - TANH, FC(4), FC(4)} - FC(3)", NULL};

const OpDef op_sub = {.name = "SUB",
                      .summary = "first branch minus the others",
                      .flags = OP_MERGE,
                      .infer = merge_infer,
                      .cost = cost_one_per_output,
                      .value = sub_value,
                      .derivative = sub_derivative,
                      .samples = sub_samples};

/* ---- MUL ---- */

/* Whether `shape` is one number per channel of `output`. */
static bool is_per_channel(const Shape *shape, const Shape *output) {
    bool single = shape->extent[0] == output->extent[0];
    for (int axis = 1; axis < shape->rank; axis++)
        single = single && shape->extent[axis] == 1;
    return single && (shape->rank == 1 || shape->rank == output->rank);
}

/* The output has the shape of the largest branch. */
static bool mul_infer(Inference *inference, Layer *layer, Shape *output) {
    *output = layer->inputs[0]->output;
    for (int i = 1; i < layer->input_count; i++) {
        const Shape *shape = &layer->inputs[i]->output;
        if (is_per_channel(output, shape) && !is_per_channel(shape, output))
            *output = *shape;
        else if (shape->rank > output->rank && is_per_channel(output, shape))
            *output = *shape;
    }
    for (int i = 0; i < layer->input_count; i++) {
        const Shape *shape = &layer->inputs[i]->output;
        if (!shape_equal(shape, output) && !is_per_channel(shape, output))
            return report_shapes(inference, layer, output, true);
    }
    return true;
}

/* Factor i at an element of the output; `loaded` is it where the shapes agree, else NULL. */
static Expr *factor(Lowering *lowering, const Node *node, int i, Expr *loaded, Expr *const *index) {
    if (loaded)
        return loaded;
    Expr *zero = integer(lowering->builder, 0);
    Expr *at[MAX_AXES] = {index[AXIS_BATCH], index[AXIS_CHANNEL], zero, zero, zero};
    return tensor_load(lowering, node->x[i], at);
}

static Expr *mul_value(Lowering *lowering, const Node *node, Expr *const *x, Expr *const *index) {
    Expr *product = factor(lowering, node, 0, x[0], index);
    for (int i = 1; i < node->input_count; i++)
        product = times(lowering->builder, product, factor(lowering, node, i, x[i], index));
    return product;
}

/* dL/dx_input = dL/dy times the other factors. */
static Expr *mul_derivative(Lowering *lowering, const Node *node, int input, Expr *const *x,
                            Expr *y, Expr *dy, Expr *const *index) {
    (void)y;
    Expr *product = dy;
    for (int i = 0; i < node->input_count; i++)
        if (i != input)
            product = times(lowering->builder, product, factor(lowering, node, i, x[i], index));
    return product;
}

/* For a factor of one number per channel: the sum of the above over the space. */
static void factor_term(Lowering *lowering, const void *context, Expr *const *index, Expr **terms) {
    const Node *node = context;
    Expr **x = ARENA_ARRAY(lowering->arena, Expr *, (size_t)node->input_count);
    for (int i = 0; i < node->input_count; i++)
        if (node->x[i]->elements == node->y->elements)
            x[i] = tensor_load(lowering, node->x[i], index);
    Expr *dy = tensor_load(lowering, node->dy, index);
    terms[0] = mul_derivative(lowering, node, node->input, x, NULL, dy, index);
}

static void mul_lower_data_gradient(Lowering *lowering, const Node *node) {
    Builder *b = lowering->builder;
    Expr *zero = integer(b, 0), *index[MAX_AXES] = {NULL, NULL, zero, zero, zero};
    index[AXIS_BATCH] = open_batch(b, LOOP_INDEPENDENT);
    Channels channels = channels_open(lowering, node->y);
    ChannelSums sums = {.example = index[AXIS_BATCH],
                        .count = 1,
                        .names = {"sum"},
                        .term = factor_term,
                        .context = node};
    channel_sums(&channels, &sums);
    int opened = 1 + channels.opened + channels_open_lanes(&channels, &index[AXIS_CHANNEL]);
    Expr *sum = channel_get(&channels, &sums.value[0], index[AXIS_CHANNEL]);
    lower_result(lowering, node, index, convert(b, TYPE_REAL, sum));
    close_blocks(b, opened);
}

static const char *const mul_samples[] = {
    "input 2x5x4 net = MUL{CONV(3,3x3), CONV(3,3x3) - SIGMOID} - FC(3)",
    "input 2x5x4 net = CONV(3,2x2) - MUL{ID, GAP - CONV(3,1x1) - SIGMOID} - FC(3)",
    "input 2x6 net = CONV(3,2) - MUL{GAP - FC(3) - TANH, ID, CONV(3,3,pad=1)} - FC(3)",
    "input 2x5x4 net = CONV(16,2x2) - MUL{ID, GAP - CONV(16,1x1) - SIGMOID} - FC(3)",
    "input 5 net = MUL{FC(4), FC(4), FC(4)} - FC(3)",
    NULL};

const OpDef op_mul = {.name = "MUL",
                      .summary = "product of the branches; one of C or Cx1x1 scales channels",
                      .flags = OP_MERGE | OP_GRADIENT_READS_INPUT,
                      .infer = mul_infer,
                      .cost = cost_one_per_output,
                      .value = mul_value,
                      .derivative = mul_derivative,
                      .lower_data_gradient = mul_lower_data_gradient,
                      .samples = mul_samples};

/* ---- MAX ---- */

static Expr *max_value(Lowering *lowering, const Node *node, Expr *const *x, Expr *const *index) {
    (void)index;
    Expr *largest = x[0];
    for (int i = 1; i < node->input_count; i++)
        largest = maximum(lowering->builder, largest, x[i]);
    return largest;
}

/* Of equal branches the first gets all of the gradient (torch.maximum shares it evenly). */
static Expr *max_derivative(Lowering *lowering, const Node *node, int input, Expr *const *x,
                            Expr *y, Expr *dy, Expr *const *index) {
    (void)y;
    (void)index;
    Builder *b = lowering->builder;
    Expr *chosen = NULL;
    for (int i = 0; i < node->input_count; i++)
        if (i != input)
            chosen =
                both(b, chosen,
                     i < input ? greater(b, x[input], x[i]) : greater_equal(b, x[input], x[i]));
    return choose(b, chosen, dy, number(b, 0));
}

static const char *const max_samples[] = {
    "input 2x5x4 net = CONV(3,2x2) - MAX{ID, CONV(3,3x3,pad=1)} - FC(3)",
    "input 6 net = MAX{FC(4), FC(4), FC(4) - TANH} - FC(3)", NULL};

const OpDef op_max = {.name = "MAX",
                      .summary =
                          "largest of the branches; of equal ones the first has the gradient",
                      .flags = OP_MERGE | OP_GRADIENT_READS_INPUT,
                      .infer = merge_infer,
                      .value = max_value,
                      .derivative = max_derivative,
                      .samples = max_samples};
