#include "lower.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

/* ---- Buffers: the kernel's parameters ---- */

const char *lower_case(Arena *arena, const char *text) {
    char *copy = arena_copy(arena, text, strlen(text));
    for (char *c = copy; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return copy;
}

/* Names say what a tensor is to the kernel, not which layer it belongs to, so that kernels of equal
 * layers come out equal. */
static const char *buffer_name(const Lowering *lowering, const Tensor *tensor) {
    const Group *group = lowering->group;
    const Tensor *last = node_result(group->nodes[group->count - 1]);
    switch (tensor->role) {
    case TENSOR_INPUT:
    case TENSOR_ACTIVATION:
        for (int i = 0; i < group->count; i++) {
            const Node *node = group->nodes[i];
            bool made_here = node->role == NODE_FORWARD && tensor_storage(node->y) == tensor;
            if (made_here && node->y != last)
                return arena_format(lowering->arena, "%s_y",
                                    lower_case(lowering->arena, node->op->name));
            if (made_here ||
                (node->role != NODE_FORWARD && node->y && tensor_storage(node->y) == tensor))
                return "y";
        }
        return "x";
    case TENSOR_GRADIENT:
        return last && tensor_storage((Tensor *)last) == tensor ? "dx" : "dy";
    case TENSOR_PARAMETER:
        return tensor->layer->parameters[tensor->parameter].name;
    case TENSOR_PREPARED:
        return tensor->layer->op->prepared[tensor->parameter];
    case TENSOR_OPTIMIZER_STATE:
        return "state";
    case TENSOR_OPTIMIZER_STEP:
        return "step";
    case TENSOR_PARAMETER_GRADIENT:
    case TENSOR_KEPT_GRADIENT:
    case TENSOR_SHARD_GRADIENT:
        return arena_format(lowering->arena, "d%s",
                            tensor->layer->parameters[tensor->parameter].name);
    case TENSOR_CONSTANT:
        return tensor->type == TYPE_BYTE ? "connections" : "class_weights";
    case TENSOR_SAVED:
        return "saved";
    case TENSOR_MOMENTS:
        return "moments";
    case TENSOR_LABELS:
        return "labels";
    case TENSOR_TARGETS:
        return "targets";
    default:
        return "losses";
    }
}

static Buffer *add_parameter(Lowering *lowering, const char *wish) {
    Kernel *kernel = lowering->kernel;
    Buffer *buffer = ARENA_NEW(lowering->arena, Buffer);
    buffer->name = builder_reserve(lowering->builder, wish);
    ARENA_GROW(lowering->arena, kernel->parameters, kernel->parameter_count,
               kernel->parameter_capacity);
    kernel->parameters[kernel->parameter_count++] = buffer;
    return buffer;
}

Buffer *lower_buffer(Lowering *lowering, Tensor *tensor) {
    Kernel *kernel = lowering->kernel;
    tensor = tensor_storage(tensor);
    for (int i = 0; i < kernel->parameter_count; i++)
        if (kernel->parameters[i]->tensor == tensor)
            return kernel->parameters[i];
    Buffer *buffer = add_parameter(lowering, buffer_name(lowering, tensor));
    buffer->type = tensor->type;
    buffer->tensor = tensor;
    buffer->per_example = tensor->per_example;
    return buffer;
}

Buffer *lower_scratch(Lowering *lowering, const char *name, bool per_example, int64_t elements) {
    Buffer *buffer = add_parameter(lowering, name);
    buffer->type = TYPE_REAL;
    buffer->scratch = true;
    buffer->scratch_size = elements;
    buffer->per_example = per_example;
    return buffer;
}

#define MOST_BY_SLOT 512 /* slots of the size of a few caches: offsets stay small numbers */

Buffer *lower_slot_scratch(Lowering *lowering, const char *name, int slots, int64_t elements) {
    const LowerOptions *options = lowering->options;
    bool stays = (double)elements * sizeof(float) <= options->second_level_cache;
    bool by_slot = slots > 1 && slots <= lower_slots(options) && slots <= MOST_BY_SLOT && stays;
    Buffer *buffer = lower_scratch(lowering, name, false, by_slot ? elements : slots * elements);
    buffer->slots = slots;
    buffer->by_slot = by_slot;
    return buffer;
}

Expr *lower_slot_offset(const Lowering *lowering, const Buffer *scratch, Expr *slot) {
    Builder *b = lowering->builder;
    if (scratch->slots <= 1)
        return integer(b, 0);
    Expr *size = scratch->by_slot ? call(b, TYPE_INDEX, CALL_SLOT_SIZE, 0, NULL)
                                  : integer(b, scratch->scratch_size / scratch->slots);
    return times(b, slot, size);
}

/* ---- Elements ---- */

/* The element's number in C order, in Horner's form: ((n*C + c)*H + h)*W + w. */
static Expr *element_number(Lowering *lowering, const Tensor *tensor, Expr *const *index) {
    Builder *b = lowering->builder;
    Expr *offset = integer(b, 0);
    int axis = 0;
    if (tensor->per_example)
        offset = index[axis++];
    for (int i = 0; i < tensor->rank; i++)
        offset = plus(b, times(b, offset, integer(b, tensor->extent[i])), index[axis++]);
    return offset;
}

/* Where the element lies: as element_number, but with the layout's halo and blocks. */
static Expr *tensor_offset(Lowering *lowering, const Tensor *tensor, Expr *const *index) {
    Builder *b = lowering->builder;
    const Layout *layout = &tensor->layout;
    Expr *offset = integer(b, 0), *lane = NULL;
    if (tensor->per_example)
        offset = *index++;
    if (layout->blocked_axis == BATCH_AXIS)
        split_index(b, offset, layout->block, lowering->options->max_batch, &offset, &lane);
    for (int i = 0; i < tensor->rank; i++) {
        int64_t extent = tensor->extent[i] + layout->before[i] + layout->after[i];
        Expr *place = plus(b, index[i], integer(b, layout->before[i]));
        if (i == layout->blocked_axis) {
            split_index(b, index[i], layout->block, extent, &place, &lane);
            extent /= layout->block;
        }
        offset = plus(b, times(b, offset, integer(b, extent)), place);
    }
    if (lane)
        offset = plus(b, times(b, offset, integer(b, layout->block)), lane);
    return offset;
}

/* Whether the example is a lane of a block while the tensor holds whole examples: then the last
 * block may have lanes behind the batch. They count as zero, which makes them harmless wherever
 * sums run over all lanes. */
static bool may_leave_batch(const Tensor *tensor, Expr *const *index) {
    return tensor->per_example && tensor->layout.blocked_axis != BATCH_AXIS &&
           index[AXIS_BATCH]->kind == EXPR_BINARY && index[AXIS_BATCH]->integer > 1;
}

Expr *tensor_load(Lowering *lowering, Tensor *tensor, Expr *const *index) {
    Builder *b = lowering->builder;
    Expr *offset = tensor_offset(lowering, tensor, index);
    Expr *value = load_at(b, lower_buffer(lowering, tensor), 1, &offset);
    if (may_leave_batch(tensor, index))
        value = choose(b, less(b, index[AXIS_BATCH], batch_size(b)), value, number(b, 0));
    return value;
}

void tensor_store(Lowering *lowering, Tensor *tensor, Expr *const *index, Expr *value) {
    Expr *offset = tensor_offset(lowering, tensor, index);
    store_at(lowering->builder, lower_buffer(lowering, tensor), 1, &offset, value, false);
}

void tensor_add(Lowering *lowering, Tensor *tensor, Expr *const *index, Expr *value) {
    Expr *offset = tensor_offset(lowering, tensor, index);
    store_at(lowering->builder, lower_buffer(lowering, tensor), 1, &offset, value, true);
}

const char *const *axis_letters(int rank) {
    static const char *const letters[MAX_DIMS + 1][MAX_DIMS] = {
        {""}, {"c"}, {"c", "l"}, {"c", "h", "w"}, {"c", "d", "h", "w"}, {"o", "c", "d", "h", "w"}};
    return letters[rank];
}

Expr *example_blocks(Builder *b, int64_t block) {
    return over(b, plus(b, batch_size(b), integer(b, block - 1)), integer(b, block));
}

Expr *open_examples(Lowering *lowering, LoopKind kind, const Tensor *tensor) {
    Builder *b = lowering->builder;
    if (tensor->layout.blocked_axis != BATCH_AXIS)
        return open_batch(b, kind);
    return open_range(b, kind, "nb", integer(b, 0), example_blocks(b, tensor->layout.block), 1);
}

int open_tensor(Lowering *lowering, const Tensor *tensor, Expr **index) {
    Builder *b = lowering->builder;
    const Layout *layout = &tensor->layout;
    int opened = tensor->per_example;
    Expr **example = index;
    if (tensor->per_example)
        *index++ = open_examples(lowering, LOOP_INDEPENDENT, tensor);
    for (int i = 0; i < tensor->rank; i++) {
        const char *letter = axis_letters(tensor->rank)[i];
        bool blocked = i == layout->blocked_axis;
        int64_t extent = blocked ? tensor->extent[i] / layout->block : tensor->extent[i];
        if (blocked)
            letter = arena_format(lowering->arena, "%sb", letter);
        index[i] = open_unless_single(b, LOOP_INDEPENDENT, letter, extent, &opened);
    }
    if (layout->blocked_axis != NOT_BLOCKED) {
        Expr *lane = open_unless_single(b, LOOP_INDEPENDENT, "lane", layout->block, &opened);
        Expr **blocked =
            layout->blocked_axis == BATCH_AXIS ? example : &index[layout->blocked_axis];
        *blocked = blocked_index(b, *blocked, lane, layout->block);
    }
    return opened;
}

/* ---- Halos ---- */

static int64_t whole_extent(const Tensor *tensor, int axis) {
    int64_t extent = tensor->extent[axis];
    if (axis == tensor->layout.blocked_axis)
        extent /= tensor->layout.block;
    return tensor->layout.before[axis] + extent + tensor->layout.after[axis];
}

/* `count` zeros from `first` on. */
static void store_zeros(Lowering *lowering, Tensor *tensor, Expr *first, int64_t count) {
    Builder *b = lowering->builder;
    if (count == 0)
        return;
    Expr *offset = plus(b, first, open_loop(b, LOOP_INDEPENDENT, "i", count));
    store_at(b, lower_buffer(lowering, tensor), 1, &offset, number(b, 0), false);
    close_blocks(b, 1);
}

/* The halo along this axis and the later ones of what lies from `first` on; an element of the axis
 * and all behind it take `size` numbers. */
static void clear_axis(Lowering *lowering, Tensor *tensor, int axis, Expr *first, int64_t size) {
    Builder *b = lowering->builder;
    int64_t before = tensor->layout.before[axis], extent = tensor->extent[axis];
    bool inner = false;
    for (int i = axis + 1; i < tensor->rank; i++)
        inner = inner || tensor->layout.before[i] > 0 || tensor->layout.after[i] > 0;
    store_zeros(lowering, tensor, first, before * size);
    if (inner) {
        int opened = 0;
        Expr *i = open_unless_single(b, LOOP_INDEPENDENT, axis_letters(tensor->rank)[axis], extent,
                                     &opened);
        Expr *element = plus(b, first, times(b, plus(b, i, integer(b, before)), integer(b, size)));
        clear_axis(lowering, tensor, axis + 1, element, size / whole_extent(tensor, axis + 1));
        close_blocks(b, opened);
    }
    store_zeros(lowering, tensor, plus(b, first, integer(b, (before + extent) * size)),
                tensor->layout.after[axis] * size);
}

/* Memory is shared over time, so whoever makes a tensor makes its halo, too. */
static void clear_halo(Lowering *lowering, Tensor *tensor) {
    Builder *b = lowering->builder;
    int64_t size = tensor->layout.block;
    bool any = false;
    for (int axis = 1; axis < tensor->rank; axis++) {
        any = any || tensor->layout.before[axis] > 0 || tensor->layout.after[axis] > 0;
        size *= whole_extent(tensor, axis);
    }
    if (!any)
        return;
    int opened = 1;
    Expr *example = open_examples(lowering, LOOP_INDEPENDENT, tensor);
    Expr *channel = open_unless_single(b, LOOP_INDEPENDENT, axis_letters(tensor->rank)[0],
                                       whole_extent(tensor, 0), &opened);
    Expr *map = plus(b, times(b, example, integer(b, whole_extent(tensor, 0))), channel);
    clear_axis(lowering, tensor, 1, times(b, map, integer(b, size)),
               size / whole_extent(tensor, 1));
    close_blocks(b, opened);
}

/* Whether the node's result takes the memory of what the group has read: that has its halo. */
static bool is_in_place(const Lowering *lowering, int position) {
    Node *const *nodes = lowering->group->nodes;
    const Tensor *storage = tensor_storage(node_result(nodes[position]));
    for (int i = 0; i <= position; i++)
        if (node_reads_storage(lowering->arena, nodes[i], storage))
            return true;
    return false;
}

static void clear_halos(Lowering *lowering) {
    const Group *group = lowering->group;
    for (int i = 0; i < group->count; i++) {
        const Node *node = group->nodes[i];
        Tensor *result = node_result(node);
        bool kept = i == group->count - 1 || node->stored;
        if (result && kept && !node->accumulate && !is_in_place(lowering, i))
            clear_halo(lowering, tensor_storage(result));
        if (node->dy_windows)
            clear_halo(lowering, tensor_storage(node->dy));
    }
}

ElementType lower_sum_type(const Lowering *lowering) {
    return lowering->options->level == 0 ? TYPE_DOUBLE : TYPE_REAL;
}

/* ---- Random numbers ---- */

int group_random_layer(const Group *group) {
    for (int i = 0; i < group->count; i++)
        if (group->nodes[i]->op->flags & OP_RANDOM)
            return group->nodes[i]->layer->index;
    return -1;
}

Expr *lower_random_active(Lowering *lowering, const Node *node) {
    (void)node;
    lowering->kernel->uses_random = true;
    return call(lowering->builder, TYPE_BOOLEAN, "RANDOM_ACTIVE", 0, NULL);
}

Expr *lower_random(Lowering *lowering, const Node *node, Expr *const *index) {
    lowering->kernel->uses_random = true;
    Expr *within[MAX_AXES];
    memcpy(within, index, (size_t)(node->y->rank + 1) * sizeof *within);
    if (lowering->options->shards > 1)
        within[AXIS_BATCH] =
            plus(lowering->builder, shard_first(lowering->builder), within[AXIS_BATCH]);
    Expr *element = element_number(lowering, node->y, within);
    return call(lowering->builder, TYPE_REAL, "RANDOM_UNIFORM", 1, &element);
}

/* ---- Lanes ---- */

#define VECTORS_PER_SUM 4 /* operations on vectors that it costs */

Expr *lower_lane_sum(Lowering *lowering, Expr *vector) {
    Expr *sum = call(lowering->builder, TYPE_REAL, "VECTOR_SUM", 1, &vector);
    sum->integer = (int64_t)VECTORS_PER_SUM * lowering->options->vector_length;
    return sum;
}

#define TRANSPOSE_WORK 4 /* operations that take as long as it takes for each element */

void lower_transpose(Lowering *lowering, const VectorRows *to, const VectorRows *from) {
    Builder *b = lowering->builder;
    int64_t length = lowering->options->vector_length;
    Expr *arguments[4] = {load_at(b, to->buffer, 1, &to->first), integer(b, to->step),
                          load_at(b, from->buffer, 1, &from->first), integer(b, from->step)};
    Expr *transpose = call(b, TYPE_VECTOR, "VECTOR_TRANSPOSE", 4, arguments);
    transpose->integer = TRANSPOSE_WORK * length * length;
    call_statement(b, transpose);
    to->buffer->written = true;
}

#define MOMENTS_WORK 4 /* operations for a number */

/* Adds to the means what the sums do not have yet. */
static void add_bias(Lowering *lowering, const Node *node, Expr *const *index) {
    Builder *b = lowering->builder;
    int64_t length = node->moments->layout.block;
    Expr *block, *lane;
    split_index(b, index[AXIS_CHANNEL], length, node->moments->extent[0], &block, &lane);
    lane = open_loop(b, LOOP_INDEPENDENT, "lane", length);
    Expr *channel = blocked_index(b, block, lane, length);
    Expr *place[] = {index[AXIS_BATCH], channel, index[AXIS_SPACE], integer(b, 0)};
    tensor_add(lowering, node->moments, place,
               tensor_load(lowering, node->parameters[1], &channel));
    close_blocks(b, 1);
}

void lower_moments(Lowering *lowering, const Node *node, Expr *const *index,
                   const TileVectors *vectors) {
    Builder *b = lowering->builder;
    Expr *place[] = {index[AXIS_BATCH], index[AXIS_CHANNEL], index[AXIS_SPACE], integer(b, 0)};
    Expr *arguments[] = {tensor_load(lowering, node->moments, place), vectors->first,
                         integer(b, vectors->count), integer(b, vectors->step)};
    Expr *gather = call(b, TYPE_VECTOR, "VECTOR_MOMENTS", 4, arguments);
    gather->integer = MOMENTS_WORK * vectors->count * node->moments->layout.block;
    call_statement(b, gather);
    lower_buffer(lowering, node->moments)->written = true;
    if (node->parameters[1])
        add_bias(lowering, node, place);
}

/* ---- Nodes ---- */

static void lower_copy(Lowering *lowering, Tensor *from, Tensor *to) {
    Builder *b = lowering->builder;
    Expr *n = open_batch(b, LOOP_INDEPENDENT);
    Expr *i = open_loop(b, LOOP_INDEPENDENT, "i", to->elements);
    Expr *offset = plus(b, times(b, n, integer(b, to->elements)), i);
    Expr *value = load_at(b, lower_buffer(lowering, from), 1, &offset);
    store_at(b, lower_buffer(lowering, to), 1, &offset, value, false);
    close_blocks(b, 2);
}

static void lower_node(Lowering *lowering, const Node *node) {
    const OpDef *op = node->op;
    bool view = (op->flags & OP_VIEW) || ((op->flags & OP_RANDOM) && !node->training);
    if (view && node->role == NODE_FORWARD)
        lower_copy(lowering, node->x[0], node->y);
    else if (view)
        lower_copy(lowering, node->dy, node->dx);
    else if (node_is_elementwise(node))
        lower_elementwise(lowering, node);
    else if (node->role == NODE_FORWARD || node->role == NODE_LOSS || node->role == NODE_UPDATE)
        op->lower_forward(lowering, node);
    else if (node->role == NODE_PREPARE)
        op->lower_prepare(lowering, node);
    else if (node->role == NODE_PARAMETER_GRADIENT)
        op->lower_parameter_gradient(lowering, node);
    else
        op->lower_data_gradient(lowering, node);
}

Expr *lower_whole_batch(Lowering *lowering) {
    return lowering->options->shards > 1 ? whole_batch_size(lowering->builder)
                                         : batch_size(lowering->builder);
}

#define MANY_REGISTERS 32

bool lower_has_few_registers(const LowerOptions *options) {
    return options->registers < MANY_REGISTERS;
}

int lower_threads(const LowerOptions *options) {
    return options->threads > 0 ? options->threads : DEFAULT_THREADS;
}

int lower_slots(const LowerOptions *options) {
    return options->threads > 0 ? options->threads : DEFAULT_SLOTS;
}

Kernel *lower_group(Arena *arena, const Graph *graph, const Group *group,
                    const LowerOptions *options) {
    Kernel *kernel = ARENA_NEW(arena, Kernel);
    builder_init(&kernel->builder, arena, &kernel->body);
    Lowering lowering = {&kernel->builder, kernel, arena, group, options, graph};
    clear_halos(&lowering);
    lower_node(&lowering, group->nodes[0]);
    assert(kernel->builder.depth == 0);
    return kernel;
}
