/* The choice of a register tile by estimated cycles. The model of the core: `vector_rate` fused
 * multiply-adds and as many loads of a vector per cycle, four cycles until a sum can be added to
 * again. It is coarse, but it ranks tiles well: what it must see is how many lanes are wasted, how
 * many loads a multiply-add costs, and what has to be copied first. */
#include "contraction.h"

#define FMA_LATENCY 4.5 /* and some slack */
/* What does not hide behind the multiply-adds: counting and branching of the loop around a step,
 * and of its loads; less of it where the vectors are weights that are held for all rows, which lie
 * in order and are prefetched. */
#define CYCLES_PER_STEP 1.0
#define CYCLES_PER_SCALAR 0.055
#define CYCLES_PER_VECTOR 0.4
#define CYCLES_PER_HELD_STEP 0.5
#define CYCLES_PER_HELD_SCALAR 0.03
#define CYCLES_PER_HELD_VECTOR 0.1
#define FIRST_LEVEL_CACHE 32768       /* bytes of one core's that an operand may fill */
#define CYCLES_PER_STREAMED_REAL 0.26 /* from the second level */
#define CYCLES_PER_NEW_VECTOR 2.0     /* the same for vectors, where all of a line is used */
#define CYCLES_PER_NEXT_VECTOR 1.5    /* and where they lie in order */
#define CYCLES_PER_COPIED_ELEMENT 1.5
#define CYCLES_PER_TRANSPOSED_ELEMENT 0.5 /* by whole vectors */
#define CYCLES_PER_RESULT 1.0
#define CYCLES_PER_TURNED_RESULT 3.5 /* examples are lanes, but far apart in the result */
#define CYCLES_PER_VECTOR_LANE 0.25  /* a result that is stored in vectors */
#define CYCLES_PER_LANE_SUM 4.0
#define SCATTERED_LOAD 1.5 /* loads that touch a line each cost more than loads side by side, */
#define FAR_LOAD 2.0       /* or a page, which costs more still: their lines push each other out */
#define REMAINDER 1.05     /* a further body of code, and shares that are not equal */
#define STREAMED 1.5       /* long sums whose operands come from memory again for each tile */
#define MAX_ROWS 28
#define MAX_COLUMNS 6
#define MAX_CHAINS 8

static double largest(double a, double b) {
    return a > b ? a : b;
}

static int64_t whole_vectors(int64_t extent, int length) {
    return (extent + length - 1) / length;
}

/* Loads of one step: scalars, which mostly come from the first-level cache, and vectors, which
 * stream from further away. */
typedef struct StepLoads {
    double scalars, vectors;
} StepLoads;

/* Steps that follow each other read side by side, so that lines are used up. */
static bool reads_along_reduction(const ContractionPlan *plan, const Side *side) {
    for (int d = 0; d < plan->dim_count; d++)
        if (plan->dims[d].reduce && (plan->dims[d].lanes || plan->turned) &&
            side->coefficient[d] == 1)
            return true;
    return false;
}

static StepLoads step_loads(const ContractionPlan *plan, const Tile *tile, int rows, int columns) {
    const Side *vectors = &plan->side[tile->vector_side], *other = &plan->side[!tile->vector_side];
    bool row = tile->row_dim >= 0, column = tile->column_dim >= 0;
    StepLoads loads = {0, 0};
    if (tile->form == TILE_BROADCAST) {
        int64_t apart =
            row && !reads_along_reduction(plan, other) ? other->coefficient[tile->row_dim] : 0;
        bool batch = row && plan->dims[tile->row_dim].batch;
        loads.scalars = row && other->coefficient[tile->row_dim] ? rows : 1;
        loads.vectors = (row && vectors->coefficient[tile->row_dim] ? rows : 1) * columns;
        loads.scalars *= apart >= FAR ? FAR_LOAD : apart >= LINE_REALS ? SCATTERED_LOAD : 1;
        loads.vectors *= batch ? SCATTERED_LOAD : 1;
        return loads;
    }
    for (int s = 0; s < 2; s++) {
        double own = row && plan->side[s].coefficient[tile->row_dim] ? rows : 1;
        loads.vectors +=
            own * (column && plan->side[s].coefficient[tile->column_dim] ? columns : 1);
    }
    return loads;
}

bool contraction_streams_vectors(const ContractionPlan *plan, const Tile *tile) {
    const Tensor *tensor = plan->side[tile->vector_side].operand->tensor;
    return tile->form == TILE_BROADCAST && !tensor->per_example &&
           (double)tensor->elements * sizeof(float) > FIRST_LEVEL_CACHE;
}

/* Whether a step loads its vectors, weights, once for all rows. */
static bool holds_vectors(const ContractionPlan *plan, const Tile *tile) {
    const Side *vectors = &plan->side[tile->vector_side];
    return tile->form == TILE_BROADCAST && !vectors->operand->tensor->per_example &&
           tile->row_dim >= 0 && vectors->coefficient[tile->row_dim] == 0;
}

/* Whether a sum runs over the examples of a block, side by side in both operands. */
static bool sums_examples(const ContractionPlan *plan, const Tile *tile) {
    const PlanDim *dim = &plan->dims[tile->vector_dim];
    return tile->form == TILE_DOT && dim->lanes && plan->dims[dim->origin].batch &&
           dim->extent == plan->lowering->options->vector_length;
}

/* Vectors of an operand that a step of such a sum reads for the first time: not those that a
 * reduced dimension runs along as well, which steps before have read. */
static double new_vectors(const ContractionPlan *plan, const Side *side, const int *dims,
                          const int *sizes) {
    double vectors = 1;
    for (int i = 0; i < 2; i++) {
        int64_t along = dims[i] >= 0 ? side->coefficient[dims[i]] : 0;
        bool again = along == 0;
        for (int d = 0; d < plan->dim_count; d++)
            again = again || (plan->dims[d].reduce && side->coefficient[d] == along);
        vectors *= again ? 1 : sizes[i];
    }
    return vectors;
}

/* The weights of a single example: each is read once, from the second level or from memory. The
 * side that they are, -1: they are not. */
static int weights_read_once(const ContractionPlan *plan, const Tile *tile) {
    if (tile->form != TILE_DOT || plan->contraction->step_numbers || plan->example_lanes > 1)
        return -1;
    for (int s = 0; s < 2; s++) {
        const Tensor *weights = plan->side[s].operand->tensor;
        double bytes = (double)weights->elements * sizeof(float);
        bool once = !weights->per_example && bytes > FIRST_LEVEL_CACHE &&
                    plan->side[!s].operand->tensor->per_example;
        for (int d = 0; d < plan->dim_count; d++)
            once = once && (plan->dims[d].extent == 1 || plan->side[s].coefficient[d] != 0);
        if (once)
            return s;
    }
    return -1;
}

/* Such a sum with nothing beside it waits for its own additions unless it runs in several chains;
 * but what it reads lies in order, which is what the second level and memory are fastest at. Rows
 * that do not fill vectors run on into the next ones, against zeros in a copy of what they are
 * multiplied by.
 */
static int chain_count(const ContractionPlan *plan, const Tile *tile) {
    int length = plan->lowering->options->vector_length;
    int64_t extent = plan->dims[tile->vector_dim].extent;
    int chains = MAX_CHAINS, weights = weights_read_once(plan, tile);
    if (weights < 0 || (extent % length != 0 && weights == tile->vector_side))
        return 1;
    while (whole_vectors(extent, length) % chains != 0)
        chains--;
    return chains;
}

static double chain_cycles(const ContractionPlan *plan, const Tile *tile) {
    double loading = largest(2 / plan->lowering->options->vector_rate, CYCLES_PER_NEXT_VECTOR);
    return largest(FMA_LATENCY / tile->chains, loading) + CYCLES_PER_STEP / tile->chains;
}

/* Cycles until they have come from the second-level cache. */
static double streaming_cycles(const ContractionPlan *plan, const Tile *tile, int rows,
                               int columns) {
    const int dims[2] = {tile->row_dim, tile->column_dim}, sizes[2] = {rows, columns};
    int weights = weights_read_once(plan, tile);
    if (weights >= 0)
        return CYCLES_PER_NEW_VECTOR * new_vectors(plan, &plan->side[weights], dims, sizes);
    if (!sums_examples(plan, tile))
        return 0;
    return CYCLES_PER_NEW_VECTOR * (new_vectors(plan, &plan->side[0], dims, sizes) +
                                    new_vectors(plan, &plan->side[1], dims, sizes));
}

/* Cycles of one step of a tile: all its multiply-adds for one combination of the reduced dims. */
static double step_cycles(const ContractionPlan *plan, const Tile *tile, int rows, int columns) {
    if (tile->chains > 1)
        return chain_cycles(plan, tile);
    StepLoads loads = step_loads(plan, tile, rows, columns);
    double rate = plan->lowering->options->vector_rate;
    double fmas = (double)rows * columns / rate;
    double loading = (loads.scalars + loads.vectors) / rate;
    if (contraction_streams_vectors(plan, tile)) {
        int length = plan->lowering->options->vector_length;
        loading += loads.vectors / rate; /* they are prefetched, too */
        loading = largest(loading, loads.vectors * length * CYCLES_PER_STREAMED_REAL);
    }
    loading = largest(loading, streaming_cycles(plan, tile, rows, columns));
    double step = largest(FMA_LATENCY, largest(fmas, loading));
    if (holds_vectors(plan, tile))
        return step + CYCLES_PER_HELD_STEP + loads.scalars * CYCLES_PER_HELD_SCALAR +
               loads.vectors * CYCLES_PER_HELD_VECTOR;
    return step + CYCLES_PER_STEP + loads.scalars * CYCLES_PER_SCALAR +
           loads.vectors * CYCLES_PER_VECTOR;
}

Blocks contraction_blocks(const ContractionPlan *plan, int d, int64_t block, int64_t unit) {
    if (d < 0)
        return (Blocks){{1, 0}, {1, 0}};
    int64_t extent = plan->dims[d].extent, rest = extent % block;
    Blocks blocks = {{extent / block, rest > 0}, {block, rest}};
    if (plan->dims[d].batch) {
        blocks.count[1] = rest;
        blocks.size[1] = 1;
    } else if (unit > 0 && rest > 0 && 2 * rest <= block && extent > block &&
               (block + rest) % (2 * unit) == 0) {
        blocks.count[0]--;
        blocks.count[1] = 2;
        blocks.size[1] = (block + rest) / 2;
    }
    return blocks;
}

Blocks contraction_vector_blocks(const ContractionPlan *plan, const Tile *tile) {
    int64_t length = plan->lowering->options->vector_length;
    return contraction_blocks(plan, tile->vector_dim, tile->columns * length,
                              tile->pack ? 0 : length);
}

/* The columns of a tile's blocks, in vectors. */
static Blocks column_blocks(const ContractionPlan *plan, const Tile *tile) {
    if (tile->form != TILE_BROADCAST || tile->column_dim >= 0)
        return contraction_blocks(plan, tile->column_dim, tile->columns, 1);
    Blocks blocks = contraction_vector_blocks(plan, tile);
    for (int part = 0; part < 2; part++)
        blocks.size[part] =
            whole_vectors(blocks.size[part], plan->lowering->options->vector_length);
    return blocks;
}

/* Sum of step cycles over the blocks of rows and columns. */
static double blocks_cycles(const ContractionPlan *plan, const Tile *tile, int64_t lines) {
    Blocks rows = contraction_blocks(plan, tile->row_dim, tile->rows, 1);
    Blocks columns = column_blocks(plan, tile);
    double sum = 0;
    for (int r = 0; r < 2; r++)
        for (int c = 0; c < 2; c++) {
            double count = (double)(rows.count[r] * columns.count[c]);
            if (count > 0)
                sum += count *
                       step_cycles(plan, tile, (int)(rows.size[r] * lines), (int)columns.size[c]);
        }
    return sum * (rows.count[1] > 0 ? REMAINDER : 1) * (columns.count[1] > 0 ? REMAINDER : 1);
}

/* The same for all lines. */
static double lines_cycles(const ContractionPlan *plan, const Tile *tile) {
    Blocks lines = contraction_blocks(plan, tile->line_dim, tile->lines, 1);
    double sum = 0;
    for (int part = 0; part < 2; part++)
        if (lines.count[part] > 0)
            sum += (double)lines.count[part] * blocks_cycles(plan, tile, lines.size[part]);
    return sum * (lines.count[1] > 0 ? REMAINDER : 1);
}

int contraction_transposed_dim(const ContractionPlan *plan, const Tile *tile) {
    int length = plan->lowering->options->vector_length;
    const Side *side = &plan->side[tile->vector_side];
    if (length == 1 || plan->dims[tile->vector_dim].extent < length)
        return -1;
    for (int d = 0; d < plan->dim_count; d++)
        if (d != tile->vector_dim && side->coefficient[d] == 1 && plan->dims[d].extent == length &&
            !plan->dims[d].batch)
            return d;
    return -1;
}

/* Cycles until examples lie side by side that do not in the tensor. */
static double turning_cycles(const ContractionPlan *plan, const Tile *tile) {
    const Tensor *examples = plan->side[tile->vector_side].operand->tensor;
    double elements = (double)examples->elements * plan->lowering->options->max_batch;
    return plan->turned ? elements * CYCLES_PER_TRANSPOSED_ELEMENT : 0;
}

/* Cycles for the copies that a tile needs. */
static double copy_cycles(const ContractionPlan *plan, const Tile *tile) {
    bool pad = tile->form == TILE_DOT &&
               plan->dims[tile->vector_dim].extent % plan->lowering->options->vector_length != 0;
    if (!tile->pack && !pad)
        return 0;
    const Side *side = &plan->side[tile->vector_side];
    double elements = 1;
    for (int d = 0; d < plan->dim_count; d++)
        elements *= side->coefficient[d] ? (double)plan->dims[d].extent : 1;
    bool transposed = tile->pack && contraction_transposed_dim(plan, tile) >= 0;
    return elements * (transposed ? CYCLES_PER_TRANSPOSED_ELEMENT : CYCLES_PER_COPIED_ELEMENT);
}

static double count_terms(const ContractionPlan *plan) {
    double terms = 1;
    for (int d = 0; d < plan->dim_count; d++)
        terms *= plan->dims[d].reduce ? (double)plan->dims[d].extent : 1;
    return terms;
}

bool contraction_reads_far(const ContractionPlan *plan, const Tile *tile) {
    int innermost = -1;
    for (int d = 0; d < plan->dim_count; d++)
        if (plan->dims[d].reduce)
            innermost = d;
    return tile->form == TILE_BROADCAST && !tile->pack && innermost >= 0 &&
           plan->side[tile->vector_side].coefficient[innermost] >= FAR;
}

/* Sums whose operands come from memory again for each tile unless they are taken in parts. Not
 * those whose terms depend on the tile. */
static bool streams(const ContractionPlan *plan, const Tile *tile) {
    return (!plan->contraction->to_result || contraction_reads_far(plan, tile)) &&
           count_terms(plan) > 2 * PART_TERMS && !contraction_clips_always(plan);
}

/* Whether sums can go to the result as whole vectors. */
static bool can_store_vectors(const ContractionPlan *plan, const Tile *tile) {
    return tile->form != TILE_DOT && !plan->contraction->connections &&
           !plan->contraction->step_numbers &&
           plan->dims[tile->vector_dim].extent % plan->lowering->options->vector_length == 0 &&
           plan->result.coefficient[tile->vector_dim] == 1;
}

static double estimate(const ContractionPlan *plan, const Tile *tile) {
    int length = plan->lowering->options->vector_length;
    double repeats = 1, results = 1;
    for (int d = 0; d < plan->dim_count; d++) {
        if (!plan->dims[d].reduce)
            results *= (double)plan->dims[d].extent;
        bool tiled = d == tile->vector_dim || d == tile->row_dim || d == tile->column_dim ||
                     d == tile->line_dim;
        if (!tiled)
            repeats *= (double)plan->dims[d].extent;
    }
    bool along_result = plan->result.coefficient[tile->vector_dim] == 1;
    double result_cycles = along_result   ? CYCLES_PER_VECTOR_LANE
                           : plan->turned ? CYCLES_PER_TURNED_RESULT
                                          : CYCLES_PER_RESULT;
    double cycles = repeats * lines_cycles(plan, tile);
    if (tile->form == TILE_DOT) {
        cycles *= (double)whole_vectors(plan->dims[tile->vector_dim].extent, length);
        result_cycles += CYCLES_PER_LANE_SUM * (length > 1);
    }
    if (!streams(plan, tile))
        cycles *= contraction_clipped_share(plan, tile);
    else if (!can_store_vectors(plan, tile))
        cycles *= STREAMED;
    return cycles + results * result_cycles + copy_cycles(plan, tile) + turning_cycles(plan, tile);
}

/* Rows of weights and of what the optimizer keeps for them lie pages apart: more than a few at a
 * time push each other out of the first-level cache. */
#define UPDATED_ROWS 4

static bool fits_cache(const ContractionPlan *plan, const Tile *tile) {
    return !plan->contraction->step_numbers || tile->rows <= UPDATED_ROWS;
}

/* Registers of what a step loads for several uses: a tile of fewer rows than columns can hold the
 * scalars of its rows instead of the vectors. */
static int held_registers(const Tile *tile) {
    int rows = tile->rows * tile->lines;
    if (tile->form == TILE_LANES)
        return tile->rows;
    return tile->form == TILE_BROADCAST && rows < tile->columns ? rows : tile->columns;
}

static bool fits_registers(const ContractionPlan *plan, const Tile *tile) {
    int needed = tile->rows * tile->lines * tile->columns + held_registers(tile) + 1;
    return needed <= plan->lowering->options->registers;
}

/* Shows all sizes for a tile whose dimensions are set. */
static void try_sizes(const ContractionPlan *plan, Tile tile, const TileVisitor *visitor) {
    int length = plan->lowering->options->vector_length;
    int64_t row_limit = tile.row_dim >= 0 ? plan->dims[tile.row_dim].extent : 1;
    int64_t column_limit = 1;
    tile.lines = 1;
    if (tile.form == TILE_BROADCAST && tile.column_dim < 0)
        column_limit = whole_vectors(plan->dims[tile.vector_dim].extent, length);
    else if (tile.column_dim >= 0)
        column_limit = plan->dims[tile.column_dim].extent;
    for (tile.columns = 1; tile.columns <= MAX_COLUMNS && tile.columns <= column_limit;
         tile.columns++)
        for (tile.rows = 1; tile.rows <= MAX_ROWS && tile.rows <= row_limit; tile.rows++) {
            if (!fits_registers(plan, &tile) || !fits_cache(plan, &tile) ||
                !contraction_stays_in_halo(plan, &tile))
                break;
            tile.cycles = estimate(plan, &tile);
            visitor->visit(visitor->context, plan, &tile);
        }
}

static bool is_outer(const ContractionPlan *plan, int d) {
    return !plan->dims[d].reduce && plan->dims[d].extent > 1;
}

static bool is_batch(const ContractionPlan *plan, int d) {
    return plan->dims[d].batch;
}

/* Columns are further vectors along the vector dimension, or, where a layout has blocks of one
 * vector, the next blocks. */
static bool can_be_column(const ContractionPlan *plan, const Tile *tile, int d) {
    return d != tile->vector_dim && is_outer(plan, d) && (!is_batch(plan, d) || plan->turned) &&
           plan->side[tile->vector_side].coefficient[d] != 0 &&
           plan->side[!tile->vector_side].coefficient[d] == 0;
}

#define MAX_LINES 4

/* Whole rows of a small image together with those of the next lines or images. */
static void try_lines(const ContractionPlan *plan, Tile tile, const TileVisitor *visitor) {
    const Side *vectors = &plan->side[tile.vector_side], *other = &plan->side[!tile.vector_side];
    int64_t rows = plan->dims[tile.row_dim].extent;
    int64_t columns = tile.column_dim >= 0 ? plan->dims[tile.column_dim].extent : 1;
    bool small =
        plan->contraction->to_result || other->operand->tensor->layout.blocked_axis == NOT_BLOCKED;
    if (rows * 2 > MAX_ROWS || plan->dims[tile.row_dim].batch || !small)
        return;
    tile.rows = (int)rows;
    for (int d = 0; d < plan->dim_count; d++) {
        bool usable = d != tile.row_dim && d != tile.column_dim && d != tile.vector_dim &&
                      is_outer(plan, d) && vectors->coefficient[d] == 0 &&
                      other->coefficient[d] != 0;
        tile.line_dim = d;
        for (tile.lines = 2; usable && tile.lines <= MAX_LINES; tile.lines++)
            for (tile.columns = 1; tile.columns <= MAX_COLUMNS && tile.columns <= columns;
                 tile.columns++) {
                if (tile.lines > plan->dims[d].extent || !fits_registers(plan, &tile) ||
                    !contraction_stays_in_halo(plan, &tile))
                    break;
                tile.cycles = estimate(plan, &tile);
                visitor->visit(visitor->context, plan, &tile);
            }
    }
}

/* Whether a vector is all of the dimension that it runs along. */
static bool is_vector(const ContractionPlan *plan, const Tile *tile) {
    return plan->dims[tile->vector_dim].extent == plan->lowering->options->vector_length;
}

static void try_rows(const ContractionPlan *plan, Tile tile, const TileVisitor *visitor) {
    tile.row_dim = -1;
    try_sizes(plan, tile, visitor);
    /* Inner dimensions first: of equally good ones they read closer together. */
    for (int d = plan->dim_count - 1; d >= 0; d--)
        if (d != tile.vector_dim && d != tile.column_dim && is_outer(plan, d)) {
            tile.row_dim = d;
            try_sizes(plan, tile, visitor);
            if (tile.form == TILE_BROADCAST && (tile.column_dim >= 0 || is_vector(plan, &tile)))
                try_lines(plan, tile, visitor);
        }
}

static void try_broadcast(const ContractionPlan *plan, int side, int d,
                          const TileVisitor *visitor) {
    const Side *vectors = &plan->side[side], *other = &plan->side[!side];
    if (!is_outer(plan, d) || is_batch(plan, d) || other->coefficient[d] != 0)
        return;
    bool direct = vectors->coefficient[d] == 1;
    if (vectors->coefficient[d] == 0 || (!direct && !vectors->packable))
        return;
    Tile tile = {.form = TILE_BROADCAST,
                 .vector_side = side,
                 .vector_dim = d,
                 .pack = !direct,
                 .row_dim = -1,
                 .line_dim = -1,
                 .column_dim = -1};
    try_rows(plan, tile, visitor);
    if (!is_vector(plan, &tile))
        return;
    for (tile.column_dim = 0; tile.column_dim < plan->dim_count; tile.column_dim++)
        if (can_be_column(plan, &tile, tile.column_dim))
            try_rows(plan, tile, visitor);
}

static void try_lanes(const ContractionPlan *plan, int d, const TileVisitor *visitor) {
    const Side *a = &plan->side[0], *b = &plan->side[1];
    if (!is_outer(plan, d) || plan->dims[d].extent != plan->lowering->options->vector_length ||
        a->coefficient[d] != 1 || b->coefficient[d] != 1 || plan->result.coefficient[d] != 1)
        return;
    Tile tile = {
        .form = TILE_LANES, .vector_dim = d, .row_dim = -1, .line_dim = -1, .column_dim = -1};
    try_rows(plan, tile, visitor);
}

/* The rows that are padded with zeros up to whole vectors must be rows of the tensor itself. */
static bool has_plain_rows(const ContractionPlan *plan, int side, int d) {
    const Side *rows = &plan->side[side];
    const Operand *operand = rows->operand;
    const AxisMap *last = &operand->axis[operand_axis_count(operand) - 1];
    bool dense = operand->tensor->layout.blocked_axis == NOT_BLOCKED;
    return dense && rows->packable && last->constant == 0 && plan->dims[d].scale == 1 &&
           last->coefficient[plan->dims[d].origin] == 1 &&
           operand->tensor->extent[operand->tensor->rank - 1] == plan->dims[d].extent;
}

static void try_dot(const ContractionPlan *plan, int d, const TileVisitor *visitor) {
    int length = plan->lowering->options->vector_length;
    if (!plan->dims[d].reduce || is_batch(plan, d))
        return;
    if (plan->side[0].coefficient[d] != 1 || plan->side[1].coefficient[d] != 1)
        return;
    int side = has_plain_rows(plan, 0, d) ? 0 : 1;
    if (plan->dims[d].extent % length != 0 && !has_plain_rows(plan, side, d))
        return;
    Tile tile = {.form = TILE_DOT,
                 .vector_side = side,
                 .vector_dim = d,
                 .row_dim = -1,
                 .line_dim = -1,
                 .column_dim = -1};
    tile.chains = chain_count(plan, &tile);
    try_sizes(plan, tile, visitor);
    tile.chains = 1;
    int count = plan->dim_count;
    for (int row = 0; row < count; row++) {
        if (!is_outer(plan, row))
            continue;
        for (int column = -1; column < count; column++) {
            bool usable =
                column < 0 || (column != row && is_outer(plan, column) && !is_batch(plan, column));
            if (!usable)
                continue;
            tile.row_dim = row;
            tile.column_dim = column;
            try_sizes(plan, tile, visitor);
        }
    }
}

void contraction_each_tile(const ContractionPlan *plan, const TileVisitor *visitor) {
    for (int d = 0; d < plan->dim_count; d++) {
        if (plan->turned && !(plan->dims[d].lanes && plan->dims[plan->dims[d].origin].batch))
            continue;
        try_broadcast(plan, 0, d, visitor);
        try_broadcast(plan, 1, d, visitor);
        try_dot(plan, d, visitor);
        try_lanes(plan, d, visitor);
    }
}

void contraction_complete_tile(const ContractionPlan *plan, Tile *tile) {
    bool whole = tile->form != TILE_NONE && can_store_vectors(plan, tile);
    bool lanes = tile->form != TILE_NONE && sums_examples(plan, tile) &&
                 !plan->contraction->step_numbers && !plan->contraction->to_result;
    tile->in_parts = (whole || lanes) && streams(plan, tile);
    tile->sums_lanes_last = lanes && tile->in_parts;
    tile->stored_directly = whole && !tile->in_parts && !plan->contraction->to_result &&
                            count_terms(plan) <= LONGEST_CHAIN;
}

static void keep_best(void *context, const ContractionPlan *plan, const Tile *tile) {
    Tile *best = context;
    (void)plan;
    if (best->form == TILE_NONE || tile->cycles < best->cycles)
        *best = *tile;
}

Tile contraction_choose_tile(const ContractionPlan *plan) {
    Tile best = {
        .form = TILE_NONE, .vector_dim = -1, .row_dim = -1, .line_dim = -1, .column_dim = -1};
    contraction_each_tile(plan, &(TileVisitor){keep_best, &best});
    contraction_complete_tile(plan, &best);
    return best;
}
