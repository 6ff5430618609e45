/* From nodes to loops. A group is one node with the elementwise nodes fused behind it; it becomes
 * one kernel (a C function). Ops make loops with loop.h and these functions; logical indices are
 * [n,] c, spatial..., as in the tensor's extents, whatever its layout in memory. */
#ifndef CNNC_LOWER_H
#define CNNC_LOWER_H

#include "graph.h"

#define MAX_AXES (MAX_DIMS + 1)

typedef struct Group {
    int count, capacity;
    Node **nodes; /* [0] leads; each further one consumes the result of the one before */
} Group;

/* Index of the group's random layer: the stream that it draws from in both directions; -1: none.
 * A group has at most one (fuse.c). */
int group_random_layer(const Group *group);

typedef struct Kernel {
    const char *name;
    int parameter_count, parameter_capacity;
    Buffer **parameters; /* pointer parameters in order of first use, scratch among them */
    bool uses_random;    /* further parameters random_key, random_stream, random_layers */
    Block body;
    Builder builder;
} Kernel;

/* A function of the emitted file that kernels call: code that many of them have. Those of one name
 * are one. */
typedef struct Subroutine {
    const char *name, *parameters; /* "(const real *from, ...)" */
    const char *comment;           /* that goes before it */
    Kernel *kernel;                /* its body; no parameters */
    bool copied;                   /* into each kernel, with the numbers that it is called with */
} Subroutine;

typedef struct LowerOptions {
    int level;              /* 0: plain loops, sums in double; 1: vector and parallel loops */
    int vector_length;      /* reals in a vector of the target; 1: no vectors */
    int registers;          /* vector registers of the target */
    double vector_rate;     /* multiply-adds, and loads, of a vector per cycle of the target */
    int second_level_cache; /* bytes, of one of the target's cores */
    bool winograd;          /* convolutions by minimal filtering where that is faster */
    int threads;
    int max_batch;         /* of a shard, where there are several */
    int shards;            /* that the whole batch is cut into (shard.h) */
    int shard_block;       /* examples that no shard divides */
    struct Tuning *tuning; /* --tune; NULL: the models' choices */
} LowerOptions;

/* Whether C compilers run out of the target's registers easily: multiply-adds in a loop are few
 * then, and what else a step does counts. */
bool lower_has_few_registers(const LowerOptions *options);
/* Threads that estimates count with: those of --threads, or a few. */
#define DEFAULT_THREADS 2
int lower_threads(const LowerOptions *options);
/* Slots that own partial sums and scratch, dealt out to the threads: so many whatever number of
 * threads runs them, so that this number does not change the results. */
#define DEFAULT_SLOTS 8
int lower_slots(const LowerOptions *options);
#define SLOT_BYTES (512 * 1024) /* that the sums of all slots may take */

struct Lowering {
    Builder *builder; /* &kernel->builder */
    Kernel *kernel;
    Arena *arena;
    const Group *group;
    const LowerOptions *options;
    const Graph *graph;
};

/* The kernel of a group. */
Kernel *lower_group(Arena *arena, const Graph *graph, const Group *group,
                    const LowerOptions *options);

/* For ops. */
Expr *tensor_load(Lowering *lowering, Tensor *tensor, Expr *const *index);
void tensor_store(Lowering *lowering, Tensor *tensor, Expr *const *index, Expr *value);
void tensor_add(Lowering *lowering, Tensor *tensor, Expr *const *index, Expr *value); /* += */
/* The kernel's parameter for the tensor's memory (views share their storage's). */
Buffer *lower_buffer(Lowering *lowering, Tensor *tensor);
/* The usual loop letters of a tensor's axes without the batch: c h w. */
const char *const *axis_letters(int rank);
/* Opens LOOP_INDEPENDENT loops over all axes of the tensor (the batch first where per_example);
 * fills index; returns how many were opened: an extent of 1 needs no loop. */
int open_tensor(Lowering *lowering, const Tensor *tensor, Expr **index);
/* The loop over the examples of a tensor or, where its layout has blocks of them, over the blocks:
 * then a loop over the lanes of a block, innermost, gives the example itself (blocked_index). */
Expr *open_examples(Lowering *lowering, LoopKind kind, const Tensor *tensor);
/* Blocks of `block` examples that the batch has, the last one perhaps not full. */
Expr *example_blocks(Builder *b, int64_t block);
/* The tensor axis of the channels and the first spatial one within `index`. */
#define AXIS_BATCH 0
#define AXIS_CHANNEL 1
#define AXIS_SPACE 2
/* Hands over the value of one element of the node's result (y or dx): to be called exactly once for
 * each element, in any order. Adds to dx where the node accumulates, feeds the fused nodes behind,
 * stores what anybody reads later. */
void lower_result(Lowering *lowering, const Node *node, Expr *const *index, Expr *value);
/* Whether an element may as well be handed over twice: what is read there is not what is written.
 */
bool lower_result_repeats(Lowering *lowering, const Node *node);
/* The group's node that reads windows of what the nodes before it make (fuse_windows.h), or NULL:
 * then results are not handed over one by one but in windows, to its lower_window, whose elements
 * are what the nodes between make of the leader's. */
const Node *lower_window_node(const Lowering *lowering);
Expr *lower_window_element(Lowering *lowering, const Node *node, Expr *const *index, Expr *value);
/* The tensors that lower_result reads and writes at the same index, at most `capacity`; returns how
 * many.
 */
#define MAX_NEAR_TENSORS 4
int lower_result_tensors(Lowering *lowering, const Node *node, Tensor **tensors, int capacity);
/* Whether one of the group's nodes writes it. */
bool lower_is_written(const Lowering *lowering, const Tensor *tensor);
/* Whether the examples of the largest batch take more than so many bytes; than the second-level
 * cache. */
bool lower_exceeds(const Lowering *lowering, const Tensor *tensor, double bytes);
bool lower_is_large(const Lowering *lowering, const Tensor *tensor);
/* Whether what is read and written of it lies far from a core: behind that cache, or with other
 * cores, where fewer examples than threads make all of them work on each. */
bool lower_is_far(const Lowering *lowering, const Tensor *tensor);
/* Rows of a vector each, `step` reals apart. */
typedef struct VectorRows {
    Buffer *buffer;
    Expr *first; /* offset of the first row */
    int64_t step;
} VectorRows;
/* The examples of all shards together. */
Expr *lower_whole_batch(Lowering *lowering);
/* The sum of a vector's lanes. */
Expr *lower_lane_sum(Lowering *lowering, Expr *vector);
/* Transposes as many rows as a vector has lanes. */
void lower_transpose(Lowering *lowering, const VectorRows *to, const VectorRows *from);
/* The type for sums: double at level 0, real above. */
ElementType lower_sum_type(const Lowering *lowering);
/* A uniform number in [0,1) for an element of a random layer, the same in forward and backward; and
 * whether random layers are active (TYPE_BOOLEAN). `index` as for the node's output. */
Expr *lower_random(Lowering *lowering, const Node *node, Expr *const *index);
Expr *lower_random_active(Lowering *lowering, const Node *node);
/* The whole of an elementwise node (lower_result.c). */
void lower_elementwise(Lowering *lowering, const Node *node);
/* The text in small letters. */
const char *lower_case(Arena *arena, const char *text);
/* Memory for the time of one kernel call. */
Buffer *lower_scratch(Lowering *lowering, const char *name, bool per_example, int64_t elements);
#define CALL_SLOT_SIZE "SLOT_SIZE" /* a constant of the emitted file */
/* So much for each slot, which uses it alone; and where its piece begins. What stays in a core's
 * cache lies where no other core comes. */
Buffer *lower_slot_scratch(Lowering *lowering, const char *name, int slots, int64_t elements);
Expr *lower_slot_offset(const Lowering *lowering, const Buffer *scratch, Expr *slot);

/* Nodes that update (node->step): the numbers of the optimizer's step as variables, to be declared
 * before any loop; NULL for other nodes. Then the step on the element of parameters[0] at `index`,
 * from its gradient (ops/update.c). */
Expr **lower_step_numbers(Lowering *lowering, const Node *node);
void lower_number_update(Lowering *lowering, const Node *node, Expr *const *numbers,
                         Expr *const *index, Expr *gradient);

/* The contraction core: result[outer dims] = sum over reduced dims of a * b (+ bias). */
#define MAX_CONTRACTION_DIMS 10
typedef struct ContractionDim {
    const char *letter;
    int64_t extent; /* 0: the batch */
    bool reduce;
} ContractionDim;

/* Index along one tensor axis: (sum of coefficient[d]*dim[d] + constant) / divisor; an element
 * whose index is not whole or outside the axis counts as 0 (padding, strides of the data gradient).
 */
typedef struct AxisMap {
    int64_t coefficient[MAX_CONTRACTION_DIMS];
    int64_t constant;
    int64_t divisor; /* 0 counts as 1 */
} AxisMap;

typedef struct Operand {
    Tensor *tensor;
    AxisMap axis[MAX_AXES]; /* the batch axis first where the tensor is per example */
} Operand;

typedef struct Contraction {
    const Node *node;
    int dim_count;
    ContractionDim dims[MAX_CONTRACTION_DIMS];
    Operand a, b, result; /* the result's axes have no padding and divisor 1 */
    Tensor *bias;         /* one number per channel (axis 1 of the result), or NULL */
    /* The result is the node's (lower_result); else it is stored plainly: a parameter gradient, or
     * a result that nothing is fused behind, seen through a view. */
    bool to_result;
    bool accumulate;      /* stored plainly: add to what is there */
    Expr **step_numbers;  /* the result is parameters[0] of a node that updates: its gradient is not
                             stored, see lower_number_update; else NULL */
    Tensor *connections;  /* parameter gradient: multiply by the table over axes 0 and 1; or NULL */
    Tensor *channel_sums; /* the sums of a over all but its channels, the gradient of a bias: made,
                             too, where that saves reading it again; or NULL */
} Contraction;
/* Returns whether it has made channel_sums. */
bool lower_contraction(Lowering *lowering, const Contraction *contraction);
/* OpDef.tile_numbers of a contraction whose result is the node's. */
int64_t contraction_tile_numbers(Lowering *lowering, const Contraction *contraction);

/* Vectors of one block of channels, `step` reals apart. */
typedef struct TileVectors {
    Expr *first;
    int64_t count, step;
} TileVectors;
/* Their moments to the node's, at the index of example, first channel and tile. The bias is not
 * among them yet. */
void lower_moments(Lowering *lowering, const Node *node, Expr *const *index,
                   const TileVectors *vectors);

#endif
