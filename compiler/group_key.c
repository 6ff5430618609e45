#include "group_key.h"

#include <string.h>

uint64_t hash_bytes(const char *bytes, size_t length) {
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < length; i += sizeof hash) {
        uint64_t word = 0;
        size_t left = length - i;
        memcpy(&word, bytes + i, left < sizeof word ? left : sizeof word);
        hash = (hash ^ word) * 1099511628211u;
        hash ^= hash >> 32;
    }
    return hash;
}

/* ---- Layers ---- */

struct LayerKeys {
    int count;
    const char **keys;
};

LayerKeys *layer_keys_create(Arena *arena, const Network *network) {
    LayerKeys *layers = ARENA_NEW(arena, LayerKeys);
    layers->count = network->layer_count;
    layers->keys = ARENA_ARRAY(arena, const char *, (size_t)network->layer_count);
    return layers;
}

static void add_number(Text *key, int64_t number) {
    text_add_bytes(key, (const char *)&number, sizeof number);
}

static void add_extents(Text *key, int rank, const int64_t *extent) {
    add_number(key, rank);
    text_add_bytes(key, (const char *)extent, (size_t)rank * sizeof *extent);
}

static void add_layout(Text *key, const Tensor *tensor) {
    add_number(key, tensor->layout.blocked_axis);
    add_number(key, tensor->layout.block);
    add_extents(key, tensor->rank, tensor->layout.before);
    add_extents(key, tensor->rank, tensor->layout.after);
}

static void add_window(Text *key, const Window *window) {
    const int64_t *const parts[] = {window->kernel, window->stride, window->dilation,
                                    window->pad_begin, window->pad_end};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        add_extents(key, window->rank, parts[i]);
}

/* The arguments as a user would write them: whatever an op makes of them is in there. */
static const char *layer_key(Arena *arena, LayerKeys *layers, const Layer *layer) {
    if (layers->keys[layer->index] != NULL)
        return layers->keys[layer->index];
    Text key;
    text_init(&key, arena);
    for (int i = 0; i < layer->op->attribute_count; i++) {
        text_add(&key, value_text(arena, &layer->attributes[i]));
        text_add_character(&key, ';');
    }
    layers->keys[layer->index] = key.bytes;
    return key.bytes;
}

/* ---- Tensors ---- */

typedef struct Naming {
    Text key;
    GroupKey *result;
    int count, capacity;
    const Tensor **tensors; /* views included */
    int storage_capacity;
    Arena *arena;
} Naming;

/* The position of a tensor among those of the group; *known tells if it has been there before. */
static int tensor_number(Naming *naming, const Tensor *tensor, bool *known) {
    for (int i = 0; i < naming->count; i++)
        if (naming->tensors[i] == tensor) {
            *known = true;
            return i;
        }
    *known = false;
    ARENA_GROW(naming->arena, naming->tensors, naming->count, naming->capacity);
    naming->tensors[naming->count++] = tensor;
    return naming->count - 1;
}

static void add_storage(Naming *naming, Tensor *storage) {
    GroupKey *result = naming->result;
    int number = 0;
    while (number < result->tensor_count && result->tensors[number] != storage)
        number++;
    add_number(&naming->key, number);
    if (number < result->tensor_count)
        return;
    ARENA_GROW(naming->arena, result->tensors, result->tensor_count, naming->storage_capacity);
    result->tensors[result->tensor_count++] = storage;
    add_number(&naming->key, storage->role);
    add_number(&naming->key, storage->type);
    add_number(&naming->key, storage->per_example);
    add_extents(&naming->key, storage->rank, storage->extent);
    add_number(&naming->key, (int64_t)(intptr_t)storage->constant);
}

/* Tensors are named by number: groups are equal if they combine theirs in the same way. */
static void add_tensor(Naming *naming, Tensor *tensor) {
    if (tensor == NULL) {
        add_number(&naming->key, -1);
        return;
    }
    bool known;
    add_number(&naming->key, tensor_number(naming, tensor, &known));
    if (known)
        return;
    add_extents(&naming->key, tensor->rank, tensor->extent);
    add_layout(&naming->key, tensor);
    add_storage(naming, tensor_storage(tensor));
}

static void add_tensors(Naming *naming, Tensor *const *tensors, int count) {
    add_number(&naming->key, count);
    for (int i = 0; i < count; i++)
        add_tensor(naming, tensors[i]);
}

/* ---- Groups ---- */

static void add_node(Naming *naming, LayerKeys *layers, const Node *node) {
    Text *key = &naming->key;
    const Layer *layer = node->layer;
    add_number(key, node->role);
    add_number(key, (int64_t)(intptr_t)node->op);
    add_number(key, node->training);
    add_number(key, node->recomputed);
    add_number(key, node->stored);
    add_number(key, node->input);
    add_number(key, node->accumulate);
    add_number(key, node->through_positive);
    add_number(key, node->add_loss);
    add_number(key, node->channels);
    text_add_bytes(key, (const char *)&node->loss_weight, sizeof node->loss_weight);
    text_add_bytes(key, (const char *)&node->label_smoothing, sizeof node->label_smoothing);
    add_number(key, (int64_t)(intptr_t)layer->op);
    text_add(key, layer_key(naming->arena, layers, layer));
    add_window(key, &layer->window);
    add_extents(key, layer->output.rank, layer->output.extent);
    add_tensors(naming, node->x, node->input_count);
    add_tensors(naming, node->parameters, MAX_PARAMETERS);
    add_tensors(naming, node->prepared, MAX_PREPARED);
    add_tensors(naming, node->parameter_gradients, MAX_PARAMETERS);
    add_tensors(naming, node->saved, MAX_SAVED);
    add_tensors(naming, node->states, MAX_STATES);
    Tensor *const others[] = {node->y,
                              node->dy,
                              node->dx,
                              node->connections,
                              node->target,
                              node->losses,
                              node->class_weights,
                              node->step,
                              node->moments};
    add_tensors(naming, others, (int)(sizeof others / sizeof others[0]));
    add_number(key, node->dy_windows != NULL);
    if (node->dy_windows)
        add_node(naming, layers, node->dy_windows);
}

GroupKey *group_key(Arena *arena, LayerKeys *layers, const Group *group) {
    Naming naming = {.arena = arena, .result = ARENA_NEW(arena, GroupKey)};
    text_init(&naming.key, arena);
    add_number(&naming.key, group->count);
    for (int i = 0; i < group->count; i++)
        add_node(&naming, layers, group->nodes[i]);
    naming.result->bytes = naming.key.bytes;
    naming.result->length = naming.key.length;
    naming.result->hash = hash_bytes(naming.key.bytes, naming.key.length);
    return naming.result;
}

bool group_keys_equal(const GroupKey *a, const GroupKey *b) {
    return a->hash == b->hash && a->length == b->length &&
           memcmp(a->bytes, b->bytes, a->length) == 0;
}

Tensor *group_key_counterpart(const GroupKey *from, const GroupKey *to, const Tensor *tensor) {
    for (int i = 0; i < from->tensor_count; i++)
        if (from->tensors[i] == tensor)
            return to->tensors[i];
    return NULL;
}
