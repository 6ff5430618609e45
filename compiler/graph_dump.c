/* --dump=graph, and the verifier that the tests run after building a graph. */
#include "graph.h"

#include <inttypes.h>

static const char *role_name(NodeRole role) {
    static const char *const names[] = {
        "forward",       "loss",    "loss gradient", "parameter gradient",
        "data gradient", "prepare", "update"};
    return names[role];
}

static void print_tensor(const char *field, const Tensor *tensor, FILE *stream) {
    if (tensor == NULL)
        return;
    fprintf(stream, " %s=%s[", field, tensor->name);
    for (int i = 0; i < tensor->rank; i++)
        fprintf(stream, "%s%" PRId64, i ? "x" : "", tensor->extent[i]);
    fprintf(stream, "]");
}

static void print_node(const Node *node, FILE *stream) {
    fprintf(stream, "  %-18s %-10s", role_name(node->role), node->layer ? node->layer->name : "");
    for (int i = 0; i < node->input_count; i++)
        print_tensor("x", node->x[i], stream);
    print_tensor("y", node->y, stream);
    for (int i = 0; i < MAX_PARAMETERS; i++)
        print_tensor("parameter", node->parameters[i], stream);
    for (int i = 0; i < MAX_PREPARED; i++)
        print_tensor("prepared", node->prepared[i], stream);
    for (int i = 0; i < MAX_PARAMETERS; i++)
        print_tensor("gradient", node->parameter_gradients[i], stream);
    print_tensor("dy", node->dy, stream);
    print_tensor(node->accumulate ? "dx+" : "dx", node->dx, stream);
    fprintf(stream, "\n");
}

void graph_dump(const Graph *graph, FILE *stream) {
    for (int program = 0; program < PROGRAM_COUNT; program++) {
        const Program *list = &graph->programs[program];
        if (list->count == 0)
            continue;
        fprintf(stream, "%s:\n", list->name);
        for (int i = 0; i < list->count; i++)
            print_node(list->nodes[i], stream);
    }
}

typedef struct Check {
    FILE *stream;
    bool *written; /* by tensor number */
    const Graph *graph;
    bool sound;
} Check;

/* Tensors that hold a value before the first node runs. */
static bool is_given(const Tensor *tensor) {
    switch (tensor->role) {
    case TENSOR_ACTIVATION:
    case TENSOR_SAVED:
    case TENSOR_MOMENTS:
    case TENSOR_GRADIENT:
        return false;
    default:
        return true;
    }
}

static void check_node(Check *check, const Node *node) {
    int capacity = node_tensor_capacity(node);
    Tensor **tensors = ARENA_ARRAY(check->graph->arena, Tensor *, (size_t)capacity);
    int count = node_reads(node, tensors, capacity);
    for (int i = 0; i < count; i++) {
        if (!check->written[tensors[i]->number] && !is_given(tensors[i])) {
            fprintf(check->stream, "%s of %s reads %s before anything has written it\n",
                    role_name(node->role), node->layer->name, tensors[i]->name);
            check->sound = false;
        }
    }
    count = node_writes(node, tensors, capacity);
    for (int i = 0; i < count; i++)
        check->written[tensors[i]->number] = true;
}

bool graph_verify(const Graph *graph, FILE *stream) {
    Check check = {stream, ARENA_ARRAY(graph->arena, bool, (size_t)graph->tensor_count), graph,
                   true};
    for (int program = 0; program < PROGRAM_COUNT; program++) {
        const Program *list = &graph->programs[program];
        for (int i = 0; i < list->count; i++)
            check_node(&check, list->nodes[i]);
    }
    for (int i = 0; i < graph->tensor_count; i++) {
        const Tensor *tensor = graph->tensors[i];
        if (tensor->view_of && tensor->view_of->elements != tensor->elements) {
            fprintf(stream, "%s is a view of %s, which has another size\n", tensor->name,
                    tensor->view_of->name);
            check.sound = false;
        }
    }
    return check.sound;
}
