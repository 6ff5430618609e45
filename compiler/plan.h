/* The memory plan: where each tensor lies in the arena of the emitted program.
 *
 * Evaluation (forward, loss) and training (forward_training, backward, backward_input) never run at
 * the same time and use the same arena from its start. A tensor is alive from the first step of its
 * sequence that touches it to the last, as the arguments of the calls say; a tensor that no call
 * passes (it exists only inside a fused group) gets no memory. Input and output are alive
 * throughout and lie at the same place in both sequences; the input's gradient stays alive once it
 * is there; a scratch buffer lives for one step. What only backward_input touches is placed last
 * and may lie behind the rest: the arena grows when that program is first run, and training does
 * not count it. Placement is greedy by size: in decreasing order of size each piece goes into the
 * smallest gap that it fits between those already placed that are alive at the same time (offline
 * dynamic storage allocation; Pisarchyk and Lee, "Efficient memory management for deep neural net
 * inference", 2020, section 5.2). Pieces start at multiples of 64 bytes. Gradients of parameters
 * lie in the arena as well: the optimizer's step on a parameter is a step of the backward pass,
 * behind which its gradient is no longer needed.
 *
 * Scratch that slots have for themselves (lower_slot_scratch) shares no memory with anything else:
 * a core that always writes the same lines finds them in its cache. Behind input and output each
 * slot has a region of `slot_bytes` for all kernels; offsets are those of the first slot's pieces.
 *
 * Where the batch is cut into shards, each has a copy of all pieces but input and outputs, sized
 * for its share of the examples; the copies follow each other behind input and outputs. Gradients
 * of parameters then lie in arrays of their own. The input's gradient comes last. */
#ifndef CNNC_PLAN_H
#define CNNC_PLAN_H

#include "kernels.h"

#define PLAN_ALIGNMENT 64

typedef struct PlanOptions {
    int max_batch;        /* of all shards together */
    int shards;           /* that it is cut into: shard.h; at least 1 */
    int shard_block;      /* examples that no shard divides */
    int slots;            /* of kernels with scratch by slot */
    int real_size;        /* bytes of the program's number type: 4 or 8 */
    int64_t memory_limit; /* --mem in bytes; 0: none */
    int64_t full_peak;    /* of training if nothing were recomputed; 0: nothing is */
} PlanOptions;

/* A piece of the arena that is in use for some steps. */
typedef struct Placement {
    int number;            /* position in Plan.placements */
    Tensor *tensor;        /* storage; NULL for scratch */
    const Buffer *scratch; /* NULL for a tensor and for the region of all slots */
    const Step *step;      /* the call that first touches it; NULL: none does */
    Sequence sequence;     /* of `step` */
    bool fixed;            /* the input or an output: placed before the others */
    bool whole;            /* holds the examples of all shards */
    bool apart;            /* the input's gradient where there are shards: placed behind them */
    bool by_slot;          /* scratch of the first slot, in the region of all slots */
    bool late;             /* only backward_input touches it: placed after the others */
    bool read_first; /* its first use reads what nothing has written: an error but for input */
    bool in_sequence[SEQUENCE_COUNT];
    int first, last; /* steps of its sequence, inclusive; everything where in_sequence is both */
    int64_t bytes;   /* a multiple of the alignment */
    int64_t offset;  /* bytes from the start of the arena */
} Placement;

typedef struct PlanIndex PlanIndex;

typedef struct Plan {
    Arena *arena;
    PlanOptions options;
    int placement_count, placement_capacity;
    Placement **placements; /* in the order of first use, evaluation first; input and output lead */
    PlanIndex *index;
    int sequence_length[SEQUENCE_COUNT];    /* steps */
    int64_t sequence_bytes[SEQUENCE_COUNT]; /* of the arena that each sequence uses */
    int64_t slot_bytes;                     /* of each slot; 0: no kernel has scratch by slot */
    int64_t shard_bytes;     /* of each shard, behind the fixed pieces; offsets are those
                                of the first shard's pieces */
    int64_t arena_size;      /* reals: what the larger one needs */
    int64_t late_arena_size; /* the same with backward_input */
    int64_t input_offset, output_offset, input_gradient_offset; /* reals; 0 where there is none */

    /* Bytes, for the report. `gradients` (of parameters), `activations` (with their gradients and
     * what is saved for them) and `scratch` are what is alive at the step of the training sequence
     * (with --infer: evaluation) that needs most. */
    int64_t parameters; /* with running statistics */
    int64_t prepared;   /* from them: fold.h */
    int64_t optimizer;
    int64_t targets; /* labels or targets, and losses */
    int64_t gradients;
    int64_t activations;
    int64_t scratch;
    /* Parameters, what is prepared from them, targets and the arena of evaluation; or the optimizer
     * and the arena of training, 0 with --infer. */
    int64_t peak_infer, peak_train;
} Plan;

/* Sets tensor->offset (reals), first_use and last_use of every tensor with a place in the arena.
 * After an error (too large to count, above the limit) returns NULL; it is in `diagnostics`. */
Plan *plan_memory(Arena *arena, const Graph *graph, const Kernels *kernels,
                  const PlanOptions *options, Diagnostics *diagnostics);
/* The place of an argument of a call; NULL if it is not in the arena. */
const Placement *plan_find(const Plan *plan, const Buffer *argument);
/* Bytes of one element in the emitted program. */
int64_t element_bytes(ElementType type, int real_size);
/* The end of input, outputs and the region of slots, behind which the first shard begins. */
int64_t plan_fixed_end(const Plan *plan);
bool plan_alive_together(const Placement *a, const Placement *b);
/* Checks that no two pieces in use at the same time overlap, that all lie within the arena, are
 * aligned and are written before they are read; prints what is broken. */
bool plan_verify(const Plan *plan, FILE *stream);
void plan_dump(const Plan *plan, FILE *stream);
/* What a piece is to a reader: "conv1", "d_conv1", "packed of conv1". */
const char *placement_name(Arena *arena, const Placement *placement);

#endif
