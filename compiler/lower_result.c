/* Where the values of a node go: to its tensor, or on to the nodes that are fused with it. */
#include "lower.h"

#include <assert.h>

static int position_in_group(const Group *group, const Node *node) {
    for (int i = 0; i < group->count; i++)
        if (group->nodes[i] == node)
            return i;
    return -1;
}

/* x[i] as the fused value where it continues the group, loaded where the shapes agree, else NULL.
 */
static Expr *input_value(Lowering *lowering, const Node *node, int i, Expr *const *index,
                         const Tensor *fused, Expr *value) {
    if (fused && tensor_storage(node->x[i]) == fused && tensor_same_extents(node->x[i], node->y))
        return value;
    return tensor_same_extents(node->x[i], node->y) ? tensor_load(lowering, node->x[i], index)
                                                    : NULL;
}

/* One element of an elementwise node; `value` is that of `fused` (NULL: everything is loaded). */
static Expr *element_value(Lowering *lowering, const Node *node, Expr *const *index,
                           const Tensor *fused, Expr *value) {
    Expr **x = ARENA_ARRAY(lowering->arena, Expr *, (size_t)node->input_count);
    unsigned flags = node->op->flags;
    bool forward = node->role == NODE_FORWARD;
    if (forward || (flags & OP_GRADIENT_READS_INPUT))
        for (int i = 0; i < node->input_count; i++)
            x[i] = input_value(lowering, node, i, index, fused, value);
    if (forward)
        return (node->recomputed && node->op->value_again
                    ? node->op->value_again
                    : node->op->value)(lowering, node, x, index);
    Expr *y = NULL, *dy = value;
    if (flags & OP_GRADIENT_READS_OUTPUT)
        y = tensor_load(lowering, node->y, index);
    if (fused == NULL || tensor_storage(node->dy) != fused)
        dy = tensor_load(lowering, node->dy, index);
    return node->op->derivative(lowering, node, node->input, x, y, dy, index);
}

/* A name for a value that is used again: loads and variables are short enough as they are. */
static Expr *named(Lowering *lowering, const Node *node, Expr *value) {
    if (value->kind == EXPR_VARIABLE || value->kind == EXPR_INTEGER || value->kind == EXPR_NUMBER)
        return value;
    Arena *arena = lowering->arena;
    const char *kind = lower_case(arena, node->op->name);
    const char *name = node->role == NODE_FORWARD ? arena_format(arena, "%s_value", kind)
                                                  : arena_format(arena, "d_%s", kind);
    return declare(lowering->builder, name, TYPE_REAL, value);
}

/* What the node behind this one in the group makes of an element, which is stored if anybody else
 * reads it. */
static Expr *pass_on(Lowering *lowering, const Node *node, const Node *next, Expr *const *index,
                     Expr *value) {
    Tensor *result = node_result(node);
    value = named(lowering, node, value);
    if (node->stored)
        tensor_store(lowering, result, index, value);
    return element_value(lowering, next, index, tensor_storage(result), value);
}

const Node *lower_window_node(const Lowering *lowering) {
    for (int i = 1; i < lowering->group->count; i++)
        if (!node_is_elementwise(lowering->group->nodes[i]))
            return lowering->group->nodes[i];
    return NULL;
}

Expr *lower_window_element(Lowering *lowering, const Node *node, Expr *const *index, Expr *value) {
    const Group *group = lowering->group;
    for (int i = position_in_group(group, node); node_is_elementwise(group->nodes[i + 1]); i++)
        value = pass_on(lowering, group->nodes[i], group->nodes[i + 1], index, value);
    return value;
}

void lower_result(Lowering *lowering, const Node *node, Expr *const *index, Expr *value) {
    Tensor *result = node_result(node);
    int position = position_in_group(lowering->group, node);
    bool last = position == lowering->group->count - 1;
    if (last && node->accumulate) {
        tensor_add(lowering, result, index, value);
        return;
    }
    if (node->accumulate)
        value = plus(lowering->builder, tensor_load(lowering, result, index), value);
    if (last) {
        tensor_store(lowering, result, index, value);
        return;
    }
    const Node *next = lowering->group->nodes[position + 1];
    lower_result(lowering, next, index, pass_on(lowering, node, next, index, value));
}

void lower_elementwise(Lowering *lowering, const Node *node) {
    Expr *index[MAX_AXES];
    assert(node_result(node)->per_example);
    int opened = open_tensor(lowering, node_result(node), index);
    lower_result(lowering, node, index, element_value(lowering, node, index, NULL, NULL));
    close_blocks(lowering->builder, opened);
}

/* A view whose tensors cannot share memory: the network's output taken straight from the input. */
static void add_tensor(Tensor *tensor, Tensor **tensors, int *count, int capacity) {
    for (int i = 0; i < *count; i++)
        if (tensors[i] == tensor)
            return;
    if (*count < capacity)
        tensors[(*count)++] = tensor;
}

bool lower_result_repeats(Lowering *lowering, const Node *node) {
    const Group *group = lowering->group;
    int first = position_in_group(group, node);
    for (int i = first; i < group->count; i++) {
        const Tensor *result = tensor_storage(node_result(group->nodes[i]));
        if (group->nodes[i]->accumulate)
            return false;
        /* The node behind reads it as the value that is handed on; any other would read memory. */
        for (int k = first + 1; k < group->count; k++)
            if (k != i + 1 && node_reads_storage(lowering->arena, group->nodes[k], result))
                return false;
    }
    return true;
}

int lower_result_tensors(Lowering *lowering, const Node *node, Tensor **tensors, int capacity) {
    const Group *group = lowering->group;
    int count = 0;
    const Tensor *passed = NULL;
    for (int i = position_in_group(group, node); i < group->count; i++) {
        node = group->nodes[i];
        if (passed && !node_is_elementwise(node))
            break;
        Tensor *result = tensor_storage(node_result(node));
        int reads = passed ? node_tensor_capacity(node) : 0;
        Tensor **read = ARENA_ARRAY(lowering->arena, Tensor *, (size_t)reads);
        reads = passed ? node_reads(node, read, reads) : 0;
        for (int k = 0; k < reads; k++)
            if (read[k] != passed && tensor_same_extents(read[k], result))
                add_tensor(read[k], tensors, &count, capacity);
        if (node->stored || node->accumulate || i == group->count - 1)
            add_tensor(result, tensors, &count, capacity);
        passed = result;
    }
    return count;
}

/* ---- How far away they lie ---- */

bool lower_is_written(const Lowering *lowering, const Tensor *tensor) {
    for (int i = 0; i < lowering->group->count; i++)
        if (node_writes_storage(lowering->arena, lowering->group->nodes[i], tensor))
            return true;
    return false;
}

bool lower_exceeds(const Lowering *lowering, const Tensor *tensor, double bytes) {
    return tensor->per_example &&
           (double)tensor->storage * lowering->options->max_batch * sizeof(float) > bytes;
}

bool lower_is_large(const Lowering *lowering, const Tensor *tensor) {
    return lower_exceeds(lowering, tensor, lowering->options->second_level_cache);
}

#define LEAST_SHARED (32 << 10) /* bytes; smaller maps are not worth asking for */

bool lower_is_far(const Lowering *lowering, const Tensor *tensor) {
    bool shared = lower_threads(lowering->options) > lowering->options->max_batch;
    return lower_is_large(lowering, tensor) ||
           (shared && lower_exceeds(lowering, tensor, LEAST_SHARED));
}
