/* Equal groups: two groups with equal keys are lowered to the same loops over different tensors, so
 * that only the first of them needs to be lowered. */
#ifndef CNNC_GROUP_KEY_H
#define CNNC_GROUP_KEY_H

#include "lower.h"
#include "text.h"

typedef struct GroupKey {
    const char *bytes; /* all that lowering may depend on */
    size_t length;
    uint64_t hash;
    int tensor_count;
    Tensor **tensors; /* storages in the order in which the key names them */
} GroupKey;

/* Keys of attributes by layer: a layer is part of several groups. */
typedef struct LayerKeys LayerKeys;
LayerKeys *layer_keys_create(Arena *arena, const Network *network);

GroupKey *group_key(Arena *arena, LayerKeys *layers, const Group *group);
bool group_keys_equal(const GroupKey *a, const GroupKey *b);
/* The tensor that stands in `to` where `tensor` stands in `from`. */
Tensor *group_key_counterpart(const GroupKey *from, const GroupKey *to, const Tensor *tensor);

/* FNV-1a over words of eight bytes: it only finds candidates, which are then compared. */
uint64_t hash_bytes(const char *bytes, size_t length);

#endif
