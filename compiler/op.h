/* What a layer kind is: one OpDef in one file of ops/ and one row of ops.def. The registry feeds
 * the binding of arguments, shape inference, the report, --list-layers, the documentation and the
 * tests. */
#ifndef CNNC_OP_H
#define CNNC_OP_H

#include "diagnostic.h"
#include "value.h"

#define MAX_PARAMETERS 4             /* parameter tensors and running statistics of one layer */
#define MAX_SAVED 3                  /* tensors that a forward kernel keeps for its gradients */
#define MAX_PREPARED 2               /* tensors that evaluation reads instead of parameters */
#define COUNT_MAX 9007199254740992.0 /* bound of a count among attributes: exact as a double */

typedef struct Layer Layer;
typedef struct Network Network;
typedef struct Lowering Lowering;
typedef struct Node Node;
typedef struct Expr Expr;
typedef struct Buffer Buffer;

typedef struct Shape {
    int rank; /* 1: a vector; else channels followed by rank-1 spatial extents */
    int64_t extent[MAX_RANK];
} Shape;

typedef enum AttributeType {
    ATTRIBUTE_INTEGER, /* within [minimum, maximum] */
    ATTRIBUTE_NUMBER,
    ATTRIBUTE_BOOLEAN,
    ATTRIBUTE_EXTENTS, /* one integer for all axes, or dims; each within [minimum, maximum] */
    ATTRIBUTE_PADDING, /* EXTENTS or the word `same` */
    ATTRIBUTE_DIMS,    /* dims (or one integer: a vector) */
    ATTRIBUTE_CHOICE,  /* one of `choices` */
    ATTRIBUTE_INITIALISER,
    ATTRIBUTE_TABLE /* connection table: list of lists of integers */
} AttributeType;

typedef struct AttributeDef {
    const char *name;
    AttributeType type;
    const char *fallback;    /* default, as a user would write it; NULL: required; "": absent */
    double minimum, maximum; /* inclusive; both 0: any */
    const char *choices;     /* "exact floor ceil" */
    const char *summary;
} AttributeDef;

typedef enum InitialiserKind {
    INITIALISER_ZERO,
    INITIALISER_CONSTANT, /* a */
    INITIALISER_GAUSSIAN, /* standard deviation a */
    INITIALISER_UNIFORM,  /* [-a, a] */
    INITIALISER_HE,       /* Gaussian of variance 2/fan-in: He et al. 2015, eq. 10 */
    INITIALISER_GLOROT    /* uniform +-sqrt(6/(fan-in + fan-out)): Glorot and Bengio 2010, eq. 16 */
} InitialiserKind;

typedef struct Initialiser {
    InitialiserKind kind;
    double a;
} Initialiser;

typedef enum ParameterRole { PARAMETER_WEIGHT, PARAMETER_BIAS, PARAMETER_RUNNING } ParameterRole;

/* A parameter tensor as PyTorch names and shapes it. */
typedef struct ParameterSpec {
    const char *name; /* "weight"; the tensor is <layer>.<name> */
    ParameterRole role;
    Dims dims;
    int64_t count; /* trainable numbers: fewer than the elements where a table leaves some out */
    Initialiser initialiser;
    int64_t fan_in, fan_out;
} ParameterSpec;

/* A tensor that the training forward pass keeps for the gradients. */
typedef struct SavedSpec {
    Dims dims;
    bool per_example; /* then it has the output's extents, and lies in memory like it */
    bool byte;        /* holds whole numbers up to 255 */
} SavedSpec;

/* A sliding window over the spatial axes, resolved (pad=same, defaults). Extents per spatial axis.
 */
typedef struct Window {
    int rank; /* spatial axes: 0 where the layer has no window */
    int64_t input[3], output[3], kernel[3], stride[3], dilation[3], pad_begin[3], pad_end[3];
} Window;

/* The work of one example's forward pass in evaluation mode. Convolutions and fully connected
 * layers count two flops per multiply-accumulate; the bias is what a sum starts from and counts
 * nothing. Every other layer that computes new numbers (activations, normalisations, averages, sums
 * of branches) counts one flop per element of its output; a layer that chooses or moves numbers
 * (maximum pooling, concatenation, views, dropout) counts nothing. */
typedef struct Cost {
    int64_t macs;  /* multiply-accumulates */
    int64_t flops; /* 2*macs and one per other arithmetic result */
} Cost;

/* Arithmetic on counts: the first overflow is remembered and reported once by the caller. */
typedef struct Counter {
    bool overflow;
} Counter;
int64_t count_times(Counter *counter, int64_t a, int64_t b);
int64_t count_plus(Counter *counter, int64_t a, int64_t b);
int64_t shape_elements(Counter *counter, const Shape *shape); /* product of the extents */
bool shape_equal(const Shape *a, const Shape *b);
const char *shape_text(Arena *arena, const Shape *shape); /* "64x56x56" */

/* For infer callbacks: reports at an argument of the layer (attribute < 0: at the layer), adds the
 * chain of shapes that led there, and returns the diagnostic for hints. */
typedef struct Inference {
    Diagnostics *diagnostics;
    Arena *arena;
    Counter counter;
} Inference;
Diagnostic *infer_error(Inference *inference, const Layer *layer, int attribute, const char *format,
                        ...) PRINTF_LIKE(4, 5);

typedef enum OpFlags {
    OP_MERGE = 1 << 0,    /* takes branches in braces */
    OP_INTERNAL = 1 << 1, /* not written by users: INPUT, losses */
    OP_NOT_YET = 1 << 2,  /* known to the language, later in this compiler */
    OP_VIEW = 1 << 3,     /* the output is the input with another shape: no code */
    OP_RANDOM = 1 << 4,   /* random in training, identity (a view) in evaluation */
    OP_MODE = 1 << 5,     /* training runs lower_forward, evaluation is elementwise `value` */
    OP_GRADIENT_READS_INPUT = 1 << 6,  /* the data gradient reads x */
    OP_GRADIENT_READS_OUTPUT = 1 << 7, /* the data gradient reads y */
    OP_READS_MOMENTS = 1 << 8,         /* its training forward pass can: Node.moments */
    OP_CONVOLUTION = 1 << 9,    /* windows of x times parameters[0], as in ops/convolution.h */
    OP_EXAMPLE_LANES = 1 << 13, /* its loops can have examples innermost (BATCH_AXIS) */
    OP_READS_FLAT = 1 << 10,    /* reads x, and writes dx, as one vector in C order */
    OP_POSITIVE_PART = 1 << 15, /* RELU */
    OP_SELECTS = 1 << 16, /* each output is one of the inputs; can take over a RELU's derivative */
    OP_PASSES_GRADIENT = 1 << 12, /* dx is dy, for every input */
    OP_KEEPS_ZERO = 1 << 17,      /* channels that are 0, their parameters too, become and stay 0 */
    OP_GRADIENTS_TOGETHER = 1 << 11, /* lower_data_gradient makes the parameters' gradients too */
    OP_UPDATES = 1 << 14 /* the weight's gradient can be handed to the optimizer: node->step */
} OpFlags;

/* The elements of a window of x: `value` gives that of `channel`, lane `lane` of its block, `at` in
 * the window along each axis. */
typedef struct WindowElements {
    Expr *(*value)(void *context, Expr *channel, Expr *lane, const int64_t *at);
    void *context;
} WindowElements;

typedef struct OpDef {
    const char *name; /* "CONV", as in a description; layer names are its lower case and a number */
    const char *aliases; /* "BATCHNORM" or NULL; words separated by blanks */
    const char *summary;
    unsigned flags;
    const AttributeDef *attributes; /* positional order */
    int attribute_count;

    /* Sets *output (and layer->window); false after an error. Inputs are valid. */
    bool (*infer)(Inference *inference, Layer *layer, Shape *output);
    /* Fills specs and returns how many; NULL: none. */
    int (*parameters)(Counter *counter, const Layer *layer, ParameterSpec *specs);
    void (*cost)(Counter *counter, const Layer *layer, Cost *cost); /* NULL: nothing */
    /* Tensors kept from the training forward pass for the gradients: returns how many. NULL: none.
     */
    int (*saved)(const Layer *layer, SavedSpec *specs);

    /* Elementwise kinds give the value of one output element and the derivative; the rest follows.
     */
    Expr *(*value)(Lowering *lowering, const Node *node, Expr *const *x, Expr *const *index);
    /* What evaluation needs of the parameters alone: names of tensors with a number for each
     * channel, which lower_prepare fills when the parameters have changed, for the node->channels
     * of many layers at once. `value` finds them in node->prepared, NULL where nothing is (fold.h).
     */
    const char *prepared[MAX_PREPARED];
    void (*lower_prepare)(Lowering *lowering, const Node *node);
    /* OP_MODE kinds: the value in training once more, from what the forward pass saved. Kinds with
     * running statistics have it if they can run twice in a step. */
    Expr *(*value_again)(Lowering *lowering, const Node *node, Expr *const *x, Expr *const *index);
    /* dL/dx_input for one element, from dL/dy; x entries or y are NULL unless the flags ask. */
    Expr *(*derivative)(Lowering *lowering, const Node *node, int input, Expr *const *x, Expr *y,
                        Expr *dy, Expr *const *index);

    /* The others make their own loops (see lower.h). */
    void (*lower_forward)(Lowering *lowering, const Node *node);
    /* The loops of one window of a forward node, whose elements are given instead of loaded: what
     * makes them does that while it has them in registers (fuse_windows.h). `output` is the
     * window's index but for the channel, which is any of the block's; windows tile the input.
     * NULL: never. */
    void (*lower_window)(Lowering *lowering, const Node *node, Expr *const *output, Expr *block,
                         const WindowElements *elements);
    /* One window of a data gradient, by whole vectors: a node that reads them makes them in passing
     * (fuse_window_gradients.h); as above. NULL: never. */
    void (*lower_window_gradient)(Lowering *lowering, const Node *node, Expr *const *output,
                                  Expr *block);
    /* How many numbers of a channel each of the tiles has in which lower_forward makes the map, if
     * it can gather their moments (Node.moments); 0, or NULL: it cannot. */
    int64_t (*tile_numbers)(Lowering *lowering, const Node *node);
    void (*lower_parameter_gradient)(Lowering *lowering, const Node *node);
    void (*lower_data_gradient)(Lowering *lowering, const Node *node);

    /* Small complete descriptions for the tests, NULL at the end; each must be differentiable
     * almost everywhere. */
    const char *const *samples;
} OpDef;

/* The registry, in the order of ops.def. */
extern const OpDef *const op_table[];
extern const int op_count;
/* By name or alias, without regard to case; NULL if there is none. */
const OpDef *op_find(const char *name);
int op_attribute_index(const OpDef *op, const char *name); /* -1: none */

#endif
