/* The graph of typed tensors: forward nodes, the loss, and the gradients that autodiff.c derives.
 * A program is a list of nodes in the order of execution. */
#ifndef CNNC_GRAPH_H
#define CNNC_GRAPH_H

#include "loop.h"
#include "network.h"

typedef enum TensorRole {
    TENSOR_INPUT,
    TENSOR_ACTIVATION,
    TENSOR_SAVED,     /* kept by a training forward kernel for its gradients */
    TENSOR_MOMENTS,   /* Node.moments */
    TENSOR_GRADIENT,  /* of an activation */
    TENSOR_PARAMETER, /* trainable or running statistics */
    TENSOR_PREPARED,  /* of parameters, in Network.prepared (fold.h) */
    TENSOR_PARAMETER_GRADIENT,
    TENSOR_CONSTANT, /* bytes known at compile time: a connection table; numbers: class weights */
    TENSOR_LABELS,
    TENSOR_TARGETS,
    TENSOR_LOSSES,
    TENSOR_KEPT_GRADIENT,   /* of a parameter, in Network.gradients */
    TENSOR_SHARD_GRADIENT,  /* the same of a shard of the batch (shard.h) */
    TENSOR_OPTIMIZER_STATE, /* of a parameter */
    TENSOR_OPTIMIZER_STEP   /* the numbers of this step */
} TensorRole;

#define MAX_STATES 2        /* tensors that an optimizer keeps for a parameter */
#define OPTIMIZER_NUMBERS 8 /* of OptimizerStep (runtime/network.h) */

#define NOT_BLOCKED (-1)
#define BATCH_AXIS (-2) /* examples in blocks: the largest batch is a multiple of one */

/* How the elements of a tensor lie in memory. Dense is C order, the last axis contiguous. */
/* Of a line of the caches, in single precision. */
#define LINE_REALS 16

typedef struct Layout {
    /* NOT_BLOCKED, BATCH_AXIS, or the axis of Tensor.extent whose elements lie in blocks of
     * `block`, innermost: index i contributes (i/block)*stride + i%block. Its extent is a multiple
     * of `block`. */
    int blocked_axis;
    int64_t block;
    int64_t before[MAX_DIMS], after[MAX_DIMS]; /* halo: zeros around each axis of Tensor.extent */
} Layout;

typedef struct Tensor Tensor;
struct Tensor {
    const char *name; /* "conv1", "conv1.weight" */
    int number;       /* in graph->tensors */
    TensorRole role;
    ElementType type;
    bool per_example; /* the batch is a further, first axis */
    int rank;
    int64_t extent[MAX_DIMS];
    int64_t elements; /* per example where per_example */
    Layout layout;
    int64_t storage; /* elements with the halo: what memory has to be there for */
    const Layer *layer;
    int parameter;        /* index in layer->parameters, or of TENSOR_PREPARED in op->prepared */
    int state;            /* TENSOR_OPTIMIZER_STATE: which one */
    Tensor *view_of;      /* shares the memory of another tensor of as many elements */
    Tensor *original;     /* recompute.c: holds the same numbers, made again; else NULL */
    const void *constant; /* TENSOR_CONSTANT: `elements` unsigned chars (TYPE_BYTE) or doubles */

    /* Memory plan, in reals: where it lies in its own array (parameters, gradients, arena); for a
     * per-example tensor offset is for the whole largest batch. */
    int64_t offset;
    bool pinned;     /* alive for the whole run: input, output */
    int last_reader; /* position of the last node that reads the storage; -1: none */
    int first_use,
        last_use; /* steps of the sequence it belongs to, by the memory plan; -1: never */
};

typedef enum NodeRole {
    NODE_FORWARD,
    NODE_LOSS,          /* losses from the output */
    NODE_LOSS_GRADIENT, /* losses and dL/d(output) */
    NODE_PARAMETER_GRADIENT,
    NODE_DATA_GRADIENT,
    NODE_PREPARE, /* prepared from parameters */
    NODE_UPDATE,  /* a step of the optimizer on parameters, from parameter_gradients */
    NODE_ROLE_COUNT
} NodeRole;

/* When a node runs: gradients of parameters are kept, or handed to the optimizer. */
typedef enum NodeCondition { CONDITION_NONE, CONDITION_KEPT, CONDITION_NOT_KEPT } NodeCondition;

/* What lowering may depend on is also what tells groups apart: group_key.c names these fields. */
struct Node {
    NodeRole role;
    const OpDef *op; /* layer->op, or the loss */
    const Layer *layer;
    bool training;
    bool recomputed; /* a forward node run again in the backward pass (recompute.c) */
    bool leads;      /* never fused behind another */
    int input_count;
    Tensor **x; /* inputs of the layer; loss: x[0] = logits or output */
    Tensor *y;  /* output of the layer */
    Tensor *parameters[MAX_PARAMETERS];
    Tensor *prepared[MAX_PREPARED]; /* evaluation reads them for the parameters; else NULL */
    Tensor *saved[MAX_SAVED];
    Tensor *connections; /* CONV with a table: TYPE_BYTE [filters][channels], else NULL */
    /* [channel][tile][2]: what a convolution gathers of its result, tile by tile, for the
     * normalisation behind it (fuse_moments.h): the mean and the sum of squared distances from it.
     * NULL: nothing. */
    Tensor *moments;
    bool stored;  /* somebody past the node fused behind it reads the result (fuse.c) */
    int position; /* in its sequence of programs */
    NodeCondition condition;
    /* Gradients. */
    Tensor *dy;
    /* The data gradient of pooling that dy comes from, where this node makes dy by the way, window
     * by window (fuse_window_gradients.h); else NULL. */
    const Node *dy_windows;
    Tensor *dx;            /* of x[input] */
    int input;             /* the data gradient is that of this input */
    bool through_positive; /* OP_SELECTS: dy counts where y > 0 only (simplify.c) */
    bool accumulate;       /* dx already holds the gradient through other consumers: add */
    Tensor *parameter_gradients[MAX_PARAMETERS]; /* NULL for running statistics */
    /* A parameter gradient that updates parameters[0] instead of being stored (update.h). */
    Tensor *step, *states[MAX_STATES];
    /* Loss. */
    Tensor *target;        /* labels or targets */
    Tensor *losses;        /* TYPE_DOUBLE [batch] */
    Tensor *class_weights; /* NULL: all 1 */
    double loss_weight, label_smoothing;
    bool add_loss; /* add to the losses instead of setting them: further heads */
    /* Preparation: layers up to last_layer lie side by side and have so many channels. */
    const Layer *last_layer;
    int64_t channels;
};

typedef struct Program {
    const char *name; /* the function of the emitted file */
    int count, capacity;
    Node **nodes;
} Program;

/* Programs of one sequence run one after another and share liveness. */
typedef enum ProgramId {
    PROGRAM_PREPARE, /* sequence 0: evaluation; this one runs when parameters have changed */
    PROGRAM_FORWARD,
    PROGRAM_LOSS,
    PROGRAM_FORWARD_TRAINING, /* sequence 1 */
    PROGRAM_BACKWARD,
    PROGRAM_BACKWARD_INPUT,
    PROGRAM_COUNT
} ProgramId;

/* The tensors of one layer; output[0] in evaluation, output[1] in training. */
typedef struct LayerTensors {
    Tensor *output[2];
    Tensor *parameters[MAX_PARAMETERS], *gradients[MAX_PARAMETERS];
    Tensor *saved[MAX_SAVED];
    Tensor *connections;
    Tensor *output_gradient; /* made when something first adds to it */
} LayerTensors;

typedef struct Graph {
    Arena *arena;
    const Network *network;
    bool infer_only;
    Program programs[PROGRAM_COUNT];
    int tensor_count, tensor_capacity;
    Tensor **tensors;            /* all, parameters first in the order of the layers */
    LayerTensors *layer_tensors; /* by layer index */
    Tensor *input, *output, *training_output, *input_gradient;
    Tensor *labels, *targets, *losses, *class_weights;
    int recomputed_count; /* nodes that the backward pass runs again: recompute.c */
    const Layer **recomputed;
    int64_t parameter_size, trainable_size; /* reals: trainable tensors first, then running ones */
    int64_t prepared_size;
} Graph;

/* Gives parameters and their gradients their places, from their extents. */
void graph_place_parameters(Graph *graph);
/* Builds the evaluation programs and, unless infer_only, the training ones (autodiff.c). */
Graph *graph_build(Arena *arena, const Network *network, bool infer_only);
void graph_derive_gradients(Graph *graph); /* autodiff.c, called by graph_build */

/* Used by graph.c and autodiff.c. */
Tensor *graph_tensor(Graph *graph, TensorRole role, const Layer *layer, const char *name,
                     bool per_example, int rank, const int64_t *extent);
Node *graph_node(Graph *graph, ProgramId program, NodeRole role, const OpDef *op,
                 const Layer *layer);
/* The same with x, y, parameters and saved tensors of the layer filled in. */
Node *graph_layer_node(Graph *graph, ProgramId program, NodeRole role, const Layer *layer);
Node *graph_loss_node(Graph *graph, ProgramId program, int head);

/* Numbers the nodes of each sequence and notes the last reader of every storage: to be done anew
 * after any change to the programs. */
void graph_number_nodes(Graph *graph);

/* The tensors that a node reads and writes, views followed to what they view. Returns how many. */
int node_tensor_capacity(const Node *node); /* enough for either */
int node_reads(const Node *node, Tensor **tensors, int capacity);
int node_writes(const Node *node, Tensor **tensors, int capacity);
/* Whether a storage is among them. */
bool node_reads_storage(Arena *arena, const Node *node, const Tensor *storage);
bool node_writes_storage(Arena *arena, const Node *node, const Tensor *storage);
Tensor *tensor_storage(Tensor *tensor);        /* follows view_of */
bool tensor_fills_lines(const Tensor *tensor); /* of the caches */
/* Same rank and extents, both or neither per example. */
bool tensor_same_extents(const Tensor *a, const Tensor *b);
/* Whether the elements of an example follow each other as they are numbered, a number or a vector
 * of examples apart: then a view of another shape has the same layout. */
bool tensor_lies_flat(const Tensor *tensor);

/* True where the node is one expression per element of its result (see OpDef.value/derivative). */
bool node_is_elementwise(const Node *node);
/* The tensor that a node makes: y for forward nodes, dx for data gradients. */
Tensor *node_result(const Node *node);

/* Checks every invariant above; prints what is broken and returns false. For tests and --dump. */
bool graph_verify(const Graph *graph, FILE *stream);
void graph_dump(const Graph *graph, FILE *stream);

#endif
