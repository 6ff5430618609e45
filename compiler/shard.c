#include "shard.h"
#include "layout.h"

#include <limits.h>

/* Bytes of gradients that each shard of examples in lanes may have of its own. */
#define LARGEST_GRADIENTS (1 << 20)
/* Fewer examples than this pay for weights that every shard reads and transforms anew. */
#define FEWEST_EXAMPLES 8
/* Bytes that the gradients of all shards together may take, and what share of the outputs of all
 * layers that the shards keep apart, those counted that will be fused away. */
#define LARGEST_SUM (32 << 20)
#define WEIGHT_SHARE 0.25
/* Bytes of such outputs that a shard has at least: fewer are done before a second thread wakes. */
#define LEAST_ACTIVATIONS (64 << 10)
/* How much longer the thread with most shards may take than an equal part of the batch. */
#define LARGEST_IMBALANCE 1.125

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

/* Equal parts of the batch, whole blocks of examples each: one for each slot or somewhat more. */
static int equal_parts(int blocks, int wanted) {
    int count = 1;
    while (count < blocks && (blocks % count != 0 || count < wanted))
        count++;
    return count;
}

/* Of evaluation, so that a program that only infers is cut like the one that trained it. */
static double activation_bytes(const Graph *graph, int max_batch) {
    const Program *list = &graph->programs[PROGRAM_FORWARD];
    double elements = 0;
    for (int i = 0; i < list->count; i++)
        if (list->nodes[i]->y != NULL && list->nodes[i]->y->view_of == NULL)
            elements += (double)list->nodes[i]->y->elements;
    return elements * max_batch * sizeof(float);
}

/* Whether threads gain by not meeting behind each layer, where layers have work for all of them. */
static bool pays(const Graph *graph, const LowerOptions *options, int count) {
    double weights = (double)graph->parameter_size * sizeof(float) * count;
    double activations = activation_bytes(graph, options->max_batch);
    int threads = lower_threads(options), rounds = (count + threads - 1) / threads;
    return threads > 1 && options->max_batch / count >= FEWEST_EXAMPLES &&
           (double)rounds * threads <= LARGEST_IMBALANCE * count && weights <= LARGEST_SUM &&
           weights <= WEIGHT_SHARE * activations &&
           activations >= (double)LEAST_ACTIVATIONS * count;
}

/* The same where examples are lanes and layers take microseconds. With fewer blocks of examples
 * than threads, layer by layer all of these have work. */
static bool pays_in_lanes(const Graph *graph, const LowerOptions *options, int blocks) {
    return (double)graph->parameter_size * sizeof(float) <= LARGEST_GRADIENTS &&
           blocks >= lower_threads(options);
}

int shard_count(const Graph *graph, const LowerOptions *options, int *block) {
    int length = options->vector_length;
    bool lanes = layout_has_example_blocks(graph, length, options->max_batch);
    *block = lanes ? length : 1;
    if (!is_separable(graph) || !fits_int(graph, options->max_batch))
        return 1;
    int blocks = options->max_batch / *block;
    int count = equal_parts(blocks, lower_slots(options));
    bool pay = lanes ? pays_in_lanes(graph, options, blocks) : pays(graph, options, count);
    return pay ? count : 1;
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
