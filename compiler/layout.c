#include "layout.h"

#include <string.h>

typedef struct Assignment {
    Graph *graph;
    int64_t block;
    bool examples; /* blocks are of examples, not of channels */
    bool *dense;   /* by tensor number of the storage: has to stay in C order */
    bool *flat;    /* the same: read as one vector, or through a view of another shape */
} Assignment;

/* ---- Which tensors can be blocked ---- */

static void keep_dense(Assignment *a, Tensor *tensor) {
    if (tensor)
        a->dense[tensor_storage(tensor)->number] = true;
}

/* Groups of channels must consist of whole blocks, or of one channel each on both sides. */
static bool groups_fit(const Assignment *a, const Node *node) {
    const Tensor *weight = node->parameters[0];
    int64_t channels = weight->extent[1], groups = node->x[0]->extent[0] / channels;
    int64_t filters = weight->extent[0] / groups;
    return groups == 1 || (channels == 1 && filters == 1) ||
           (channels % a->block == 0 && filters % a->block == 0);
}

static void read_flat(Assignment *a, Tensor *tensor) {
    if (tensor)
        a->flat[tensor_storage(tensor)->number] = true;
}

static void find_flat_nodes(Assignment *a, const Node *node) {
    if (!(node->op->flags & OP_READS_FLAT))
        return;
    read_flat(a, node->x[0]);
    read_flat(a, node->dx);
}

static void find_flat_views(Assignment *a) {
    for (int i = 0; i < a->graph->tensor_count; i++)
        if (!tensor_same_extents(a->graph->tensors[i], tensor_storage(a->graph->tensors[i])))
            read_flat(a, a->graph->tensors[i]);
}

static bool is_flat(const Assignment *a, Tensor *tensor) {
    return tensor && a->flat[tensor_storage(tensor)->number];
}

/* Blocks of channels do not follow each other as the channels do. Blocks of examples leave the
 * elements of one in their order, but for the halo: maps that convolutions read or make have one.
 */
static bool keeps_flat(const Assignment *a, const Node *node) {
    return a->examples && !(node->op->flags & OP_CONVOLUTION);
}

#define CACHED_WEIGHTS (512 * 1024) /* bytes */

/* Layers whose loops over vectors put the examples of a block innermost. Those of a vector of
 * inputs read their weights for every block, so these have to stay in the cache. */
static bool fills_examples(const Node *node) {
    const Tensor *weight = node->parameters[0];
    if (node->op->flags & OP_READS_FLAT)
        return (double)weight->elements * sizeof(float) <= CACHED_WEIGHTS;
    return node_is_elementwise(node) ||
           (node->op->flags & (OP_VIEW | OP_EXAMPLE_LANES | OP_CONVOLUTION));
}

static void constrain(Assignment *a, const Node *node) {
    Tensor *const around[] = {node->x[0], node->y, node->dy, node->dx};
    bool split_groups = (node->op->flags & OP_CONVOLUTION) && !groups_fit(a, node);
    for (size_t i = 0; i < sizeof around / sizeof around[0]; i++) {
        bool vector = around[i] && (around[i]->rank == 1 || is_flat(a, around[i]));
        if (split_groups || (is_flat(a, around[i]) && !keeps_flat(a, node)) ||
            (vector && !fills_examples(node)))
            keep_dense(a, around[i]);
    }
    if (split_groups)
        keep_dense(a, node->parameters[0]);
}

static bool is_activation(const Tensor *tensor) {
    return tensor->role == TENSOR_ACTIVATION || tensor->role == TENSOR_GRADIENT;
}

/* An activation and its gradient are read together: where one is dense, so is the other. */
static void join_gradients(Assignment *a) {
    for (int i = 0; i < a->graph->network->layer_count; i++) {
        LayerTensors *tensors = &a->graph->layer_tensors[i];
        Tensor *output = tensors->output[1], *gradient = tensors->output_gradient;
        if (output == NULL || gradient == NULL)
            continue;
        if (a->dense[tensor_storage(output)->number] ||
            a->dense[tensor_storage(gradient)->number]) {
            keep_dense(a, output);
            keep_dense(a, gradient);
        }
    }
}

/* What is made again lies as the first time, so that the same kernels make it. */
static void join_replicas(Assignment *a) {
    for (int i = 0; i < a->graph->tensor_count; i++) {
        Tensor *tensor = a->graph->tensors[i];
        if (tensor->original == NULL)
            continue;
        if (a->dense[i])
            keep_dense(a, tensor->original);
        if (a->dense[tensor->original->number])
            keep_dense(a, tensor);
    }
}

static void find_dense(Assignment *a) {
    Graph *graph = a->graph;
    for (int i = 0; i < graph->tensor_count; i++) {
        Tensor *tensor = graph->tensors[i], *storage = tensor_storage(tensor);
        bool usable = is_activation(tensor) && tensor->per_example && !tensor->pinned;
        bool channels_fit = tensor->rank >= 2 && tensor->extent[0] % a->block == 0 &&
                            tensor_same_extents(tensor, storage);
        if (!usable || !(a->examples || channels_fit))
            keep_dense(a, tensor);
    }
    keep_dense(a, graph->input_gradient);
    join_replicas(a);
    join_gradients(a);
    join_replicas(a);
}

static void for_each_node(Assignment *a, void (*visit)(Assignment *a, const Node *node)) {
    for (int p = 0; p < PROGRAM_COUNT; p++)
        for (int i = 0; i < a->graph->programs[p].count; i++)
            visit(a, a->graph->programs[p].nodes[i]);
}

static void block_activations(Assignment *a) {
    for (int i = 0; i < a->graph->tensor_count; i++) {
        Tensor *tensor = a->graph->tensors[i];
        if (is_activation(tensor) && tensor->view_of == NULL && !a->dense[i])
            tensor->layout =
                (Layout){.blocked_axis = a->examples ? BATCH_AXIS : 0, .block = a->block};
    }
}

/* What the forward pass saves for each element of the output lies in blocks if output or input do.
 */
static void block_saved(Assignment *a, const Node *node) {
    (void)a;
    if (node->saved[0] == NULL)
        return;
    const Layout *layout = &tensor_storage(node->y)->layout;
    if (layout->blocked_axis == NOT_BLOCKED)
        layout = &tensor_storage(node->x[0])->layout;
    for (int i = 0; i < MAX_SAVED; i++)
        if (node->saved[i] && node->saved[i]->per_example)
            node->saved[i]->layout =
                (Layout){.blocked_axis = layout->blocked_axis, .block = layout->block};
}

/* ---- Weights ---- */

static void block_weights(Assignment *a) {
    for (int i = 0; i < a->graph->network->layer_count; i++) {
        LayerTensors *tensors = &a->graph->layer_tensors[i];
        Tensor *weight = tensors->parameters[0], *gradient = tensors->gradients[0];
        if (weight == NULL || tensors->connections || a->dense[weight->number] ||
            !(weight->layer->op->flags & OP_CONVOLUTION) || weight->extent[0] % a->block != 0)
            continue;
        weight->layout = (Layout){.blocked_axis = 0, .block = a->block};
        if (gradient)
            gradient->layout = weight->layout;
    }
}

/* ---- Examples in blocks ---- */

#define SMALL_BLOCK (512 * 1024) /* bytes: a tensor of one block that stays in a core's cache */

/* Layers whose loops put the examples of a block innermost. */
static bool works_on_examples(const Node *node) {
    bool maps = node->y && node->y->rank >= 2;
    if (!maps || node_is_elementwise(node) || node->op->flags & (OP_VIEW | OP_EXAMPLE_LANES))
        return true;
    return (node->op->flags & OP_CONVOLUTION) &&
           node->parameters[0]->extent[1] == node->x[0]->extent[0];
}

/* A small network whose channels do not fill vectors: examples do, if the batch consists of whole
 * blocks of them. */
bool layout_has_example_blocks(const Graph *graph, int vector_length, int max_batch) {
    bool odd = false;
    if (vector_length <= 1 || max_batch % vector_length != 0)
        return false;
    for (int p = 0; p < PROGRAM_COUNT; p++)
        for (int i = 0; i < graph->programs[p].count; i++) {
            const Node *node = graph->programs[p].nodes[i];
            if (!works_on_examples(node))
                return false;
            odd = odd ||
                  ((node->op->flags & OP_CONVOLUTION) && node->y->extent[0] % vector_length != 0);
        }
    for (int i = 0; i < graph->tensor_count; i++) {
        const Tensor *tensor = graph->tensors[i];
        double bytes = (double)tensor->elements * (double)vector_length * sizeof(float);
        if (is_activation(tensor) && bytes > SMALL_BLOCK)
            return false;
    }
    return odd;
}

/* ---- Halos ---- */

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* The tensor is read from index `minimum` to `maximum` along a spatial axis. */
static void need_range(Tensor *tensor, int axis, int64_t minimum, int64_t maximum) {
    Layout *layout = &tensor_storage(tensor)->layout;
    if (layout->blocked_axis == NOT_BLOCKED)
        return;
    layout->before[axis] = larger(layout->before[axis], -minimum);
    layout->after[axis] = larger(layout->after[axis], maximum - (tensor->extent[axis] - 1));
}

static int64_t floor_divide(int64_t a, int64_t b) {
    return a >= 0 ? a / b : -((-a + b - 1) / b);
}

#define CLIPPED_HALO 1      /* for tiles of two rows */
#define CLIPPED_TERMS 0.875 /* of all that the loops would have: more are not worth it */

/* Whether so many taps of the gradient's window lie outside of dy that its tiles leave them out
 * (contraction_clip.c): then they need a halo only for what other rows of theirs read. */
static bool leaves_out_taps(const Window *window, int axis) {
    int64_t inputs = window->input[axis], kernel = window->kernel[axis], terms = 0;
    if (window->stride[axis] != 1 || window->dilation[axis] != 1)
        return false;
    for (int64_t k = 0; k < kernel; k++) {
        int64_t first = larger(0, window->pad_begin[axis] - k);
        int64_t end = smaller(window->output[axis], inputs + window->pad_begin[axis] - k);
        terms += larger(0, end - first);
    }
    return (double)terms <= CLIPPED_TERMS * (double)(inputs * kernel);
}

static void need_gradient_halo(Assignment *a, const Node *node, int axis) {
    const Window *window = &node->layer->window;
    int64_t reach = (window->kernel[axis] - 1) * window->dilation[axis];
    int64_t pad = window->pad_begin[axis], stride = window->stride[axis];
    int64_t minimum = -floor_divide(reach - pad, stride);
    int64_t maximum = floor_divide(window->input[axis] - 1 + pad, stride);
    if (a->examples && leaves_out_taps(window, axis)) {
        minimum = larger(minimum, -CLIPPED_HALO);
        maximum = smaller(maximum, window->output[axis] - 1 + CLIPPED_HALO);
    }
    need_range(node->dy, 1 + axis, minimum, maximum);
}

/* Windows read x at o*S + k*D - P, the data gradient dy at (i + P - k*D)/S where that is whole. */
static void need_halo(Assignment *a, const Node *node) {
    const Window *window = &node->layer->window;
    if (!(node->op->flags & OP_CONVOLUTION))
        return;
    bool data_gradient = node->role == NODE_DATA_GRADIENT;
    if (data_gradient && tensor_storage(node->dx)->layout.blocked_axis == NOT_BLOCKED)
        return;
    for (int i = 0; i < window->rank; i++) {
        int64_t reach = (window->kernel[i] - 1) * window->dilation[i];
        int64_t pad = window->pad_begin[i], stride = window->stride[i];
        if (data_gradient)
            need_gradient_halo(a, node, i);
        else
            need_range(node->x[0], 1 + i, -pad, (window->output[i] - 1) * stride + reach - pad);
    }
}

/* The gradient of an elementwise layer behind a convolution gets the halo of the layer's output,
 * whose memory it can take then (inplace.c). */
static void take_halo(Assignment *a, const Node *node) {
    (void)a;
    if (node->role != NODE_DATA_GRADIENT || !node_is_elementwise(node) || node->y == NULL ||
        !(node->layer->inputs[0]->op->flags & OP_CONVOLUTION) ||
        !tensor_same_extents(node->y, node->dx))
        return;
    const Layout *y = &tensor_storage(node->y)->layout;
    if (y->blocked_axis == NOT_BLOCKED)
        return;
    for (int axis = 1; axis < node->dx->rank; axis++)
        need_range(node->dx, axis, -y->before[axis], node->dx->extent[axis] - 1 + y->after[axis]);
}

static void count_storage(Tensor *tensor) {
    tensor->storage = 1;
    for (int axis = 0; axis < tensor->rank; axis++)
        tensor->storage *=
            tensor->extent[axis] + tensor->layout.before[axis] + tensor->layout.after[axis];
}

void layout_assign(Graph *graph, int vector_length, int max_batch) {
    if (vector_length <= 1)
        return;
    size_t count = (size_t)graph->tensor_count;
    Assignment a = {
        .graph = graph,
        .block = vector_length,
        .dense = ARENA_ARRAY(graph->arena, bool, count),
        .flat = ARENA_ARRAY(graph->arena, bool, count),
    };
    memset(a.dense, 0, count);
    memset(a.flat, 0, count);
    a.examples = layout_has_example_blocks(graph, vector_length, max_batch);
    for_each_node(&a, find_flat_nodes);
    find_flat_views(&a);
    for_each_node(&a, constrain);
    if (!a.examples)
        block_weights(&a);
    find_dense(&a);
    block_activations(&a);
    for_each_node(&a, block_saved);
    for_each_node(&a, need_halo);
    for_each_node(&a, take_halo);
    for (int i = 0; i < graph->tensor_count; i++) {
        Tensor *tensor = graph->tensors[i];
        tensor->layout = tensor->view_of ? tensor_storage(tensor)->layout : tensor->layout;
        count_storage(tensor);
    }
}
