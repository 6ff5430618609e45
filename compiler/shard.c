#include "shard.h"
#include "layout.h"

#include <limits.h>

/* Bytes of gradients that each shard may have of its own. */
#define LARGEST_GRADIENTS (1 << 20)

/* Whether the examples of a batch meet in the node, otherwise than in gradients of parameters. */
static bool couples_examples(const Node *node) {
    return (node->training && (node->op->flags & OP_MODE)) || node->class_weights != NULL;
}

static bool is_separable(const Graph *graph) {
    for (int p = 0; p < PROGRAM_COUNT; p++)
        for (int i = 0; i < graph->programs[p].count; i++)
            if (couples_examples(graph->programs[p].nodes[i]))
                return false;
    return true;
}

/* Whether an int counts the numbers of each tensor, those of all shards together: random layers
 * draw by that count. */
static bool fits_int(const Graph *graph, int max_batch) {
    for (int i = 0; i < graph->tensor_count; i++)
        if (graph->tensors[i]->per_example && graph->tensors[i]->elements > INT_MAX / max_batch)
            return false;
    return true;
}

int shard_count(const Graph *graph, const LowerOptions *options) {
    int length = options->vector_length;
    double bytes = (double)graph->parameter_size * sizeof(float);
    if (!layout_has_example_blocks(graph, length, options->max_batch) || !is_separable(graph) ||
        !fits_int(graph, options->max_batch) || bytes > LARGEST_GRADIENTS)
        return 1;
    int blocks = options->max_batch / length, wanted = lower_slots(options), count = 1;
    if (blocks < lower_threads(options))
        return 1; /* layer by layer all threads have work */
    while (count < blocks && (blocks % count != 0 || count < wanted))
        count++;
    return count;
}

void shard_gradients(Graph *graph) {
    Program *list = &graph->programs[PROGRAM_BACKWARD];
    int kept = 0;
    for (int i = 0; i < list->count; i++)
        if (list->nodes[i]->role != NODE_UPDATE)
            list->nodes[kept++] = list->nodes[i];
    list->count = kept;
    for (int i = 0; i < graph->tensor_count; i++)
        if (graph->tensors[i]->role == TENSOR_PARAMETER_GRADIENT)
            graph->tensors[i]->role = TENSOR_SHARD_GRADIENT;
    graph_number_nodes(graph);
}
