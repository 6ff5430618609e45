/* The choice of a register tile by estimated cycles. The model of the core: two fused multiply-adds
 * and two loads of a vector per cycle, four cycles until a sum can be added to again. It is coarse,
 * but it ranks tiles well: what it must see is how many lanes are wasted, how many loads a
 * multiply-add costs, and what has to be copied first. */
#include "contraction.h"

#define FMAS_PER_CYCLE 2.0
#define LOADS_PER_CYCLE 2.0
#define FMA_LATENCY 4.0
#define CYCLES_PER_STEP 1.0    /* counting and branching of the loop around it */
#define CYCLES_PER_SCALAR 0.05 /* what of a load does not hide behind the multiply-adds */
#define CYCLES_PER_VECTOR 0.4
#define CYCLES_PER_COPIED_ELEMENT 1.5
#define CYCLES_PER_RESULT 1.0
#define CYCLES_PER_LANE_SUM 4.0
#define CACHE_LINE 16      /* reals; loads further apart touch a line each, */
#define SCATTERED_LOAD 1.5 /* which costs more than loads side by side */
#define MAX_ROWS 28
#define MAX_COLUMNS 6

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

static StepLoads step_loads(const ContractionPlan *plan, const Tile *tile, int rows, int columns) {
    const Side *vectors = &plan->side[tile->vector_side], *other = &plan->side[!tile->vector_side];
    bool row = tile->row_dim >= 0, column = tile->form == TILE_DOT && tile->column_dim >= 0;
    StepLoads loads = {0, 0};
    if (tile->form == TILE_BROADCAST) {
        bool scattered = row && other->coefficient[tile->row_dim] >= CACHE_LINE;
        bool batch = row && plan->contraction->dims[tile->row_dim].extent == 0;
        loads.scalars = row && other->coefficient[tile->row_dim] ? rows : 1;
        loads.vectors = (row && vectors->coefficient[tile->row_dim] ? rows : 1) * columns;
        loads.scalars *= scattered ? SCATTERED_LOAD : 1;
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

/* Cycles of one step of a tile: all its multiply-adds for one combination of the reduced dims. */
static double step_cycles(const ContractionPlan *plan, const Tile *tile, int rows, int columns) {
    StepLoads loads = step_loads(plan, tile, rows, columns);
    double fmas = (double)rows * columns / FMAS_PER_CYCLE;
    double loading = (loads.scalars + loads.vectors) / LOADS_PER_CYCLE;
    return largest(FMA_LATENCY, largest(fmas, loading)) + CYCLES_PER_STEP +
           loads.scalars * CYCLES_PER_SCALAR + loads.vectors * CYCLES_PER_VECTOR;
}

/* Sum of step cycles over the blocks that a dimension of `extent` falls into. */
static double blocks_cycles(const ContractionPlan *plan, const Tile *tile, int64_t row_extent,
                            bool row_is_batch, int64_t column_extent) {
    int64_t row_blocks = row_extent / tile->rows, row_rest = row_extent % tile->rows;
    int64_t column_blocks = column_extent / tile->columns;
    int column_rest = (int)(column_extent % tile->columns);
    double sum = 0;
    for (int rest = 0; rest < 2; rest++) {
        int columns = rest ? column_rest : tile->columns;
        double count = rest ? (column_rest > 0) : (double)column_blocks;
        if (count == 0)
            continue;
        sum += count * (double)row_blocks * step_cycles(plan, tile, tile->rows, columns);
        if (row_rest > 0)
            sum += count * (row_is_batch ? (double)row_rest * step_cycles(plan, tile, 1, columns)
                                         : step_cycles(plan, tile, (int)row_rest, columns));
    }
    return sum;
}

static double copied_elements(const ContractionPlan *plan, const Tile *tile) {
    bool pad = tile->form == TILE_DOT &&
               plan->extent[tile->vector_dim] % plan->lowering->options->vector_length != 0;
    if (!tile->pack && !pad)
        return 0;
    const Tensor *tensor = plan->side[tile->vector_side].operand->tensor;
    double batch = tensor->per_example ? plan->lowering->options->max_batch : 1;
    return (double)tensor->elements * batch;
}

static double estimate(const ContractionPlan *plan, const Tile *tile) {
    const Contraction *c = plan->contraction;
    int length = plan->lowering->options->vector_length;
    double repeats = 1, results = 1;
    for (int d = 0; d < c->dim_count; d++) {
        if (!c->dims[d].reduce)
            results *= (double)plan->extent[d];
        bool tiled = d == tile->vector_dim || d == tile->row_dim || d == tile->column_dim;
        if (!tiled)
            repeats *= (double)plan->extent[d];
    }
    int64_t vectors = whole_vectors(plan->extent[tile->vector_dim], length);
    int64_t row_extent = tile->row_dim >= 0 ? plan->extent[tile->row_dim] : 1;
    bool row_is_batch = tile->row_dim >= 0 && c->dims[tile->row_dim].extent == 0;
    double result_cycles = CYCLES_PER_RESULT;
    double cycles;
    if (tile->form == TILE_BROADCAST) {
        cycles = repeats * blocks_cycles(plan, tile, row_extent, row_is_batch, vectors);
    } else {
        int64_t columns = tile->column_dim >= 0 ? plan->extent[tile->column_dim] : 1;
        cycles = repeats * (double)vectors *
                 blocks_cycles(plan, tile, row_extent, row_is_batch, columns);
        result_cycles += CYCLES_PER_LANE_SUM * (length > 1);
    }
    return cycles + results * result_cycles +
           copied_elements(plan, tile) * CYCLES_PER_COPIED_ELEMENT;
}

static bool fits_registers(const ContractionPlan *plan, const Tile *tile) {
    int needed = tile->rows * tile->columns + tile->columns + 1;
    return needed <= plan->lowering->options->registers;
}

/* Tries all sizes for a tile whose dimensions are set; keeps the best. */
static void try_sizes(const ContractionPlan *plan, Tile tile, Tile *best) {
    int length = plan->lowering->options->vector_length;
    int64_t row_limit = tile.row_dim >= 0 ? plan->extent[tile.row_dim] : 1;
    int64_t column_limit = 1;
    if (tile.form == TILE_BROADCAST)
        column_limit = whole_vectors(plan->extent[tile.vector_dim], length);
    else if (tile.column_dim >= 0)
        column_limit = plan->extent[tile.column_dim];
    for (tile.columns = 1; tile.columns <= MAX_COLUMNS && tile.columns <= column_limit;
         tile.columns++)
        for (tile.rows = 1; tile.rows <= MAX_ROWS && tile.rows <= row_limit; tile.rows++) {
            if (!fits_registers(plan, &tile))
                break;
            tile.cycles = estimate(plan, &tile);
            if (best->form == TILE_NONE || tile.cycles < best->cycles)
                *best = tile;
        }
}

static bool is_outer(const ContractionPlan *plan, int d) {
    return !plan->contraction->dims[d].reduce && plan->extent[d] > 1;
}

static bool is_batch(const ContractionPlan *plan, int d) {
    return plan->contraction->dims[d].extent == 0;
}

static void try_broadcast(const ContractionPlan *plan, int side, int d, Tile *best) {
    const Side *vectors = &plan->side[side], *other = &plan->side[!side];
    if (!is_outer(plan, d) || is_batch(plan, d) || other->coefficient[d] != 0)
        return;
    bool direct = vectors->coefficient[d] == 1;
    if (vectors->coefficient[d] == 0 || (!direct && !vectors->packable))
        return;
    Tile tile = {TILE_BROADCAST, side, d, !direct, -1, -1, 1, 1, 0};
    try_sizes(plan, tile, best);
    for (tile.row_dim = 0; tile.row_dim < plan->contraction->dim_count; tile.row_dim++)
        if (tile.row_dim != d && is_outer(plan, tile.row_dim))
            try_sizes(plan, tile, best);
}

/* The rows that are padded with zeros up to whole vectors must be rows of the tensor itself. */
static bool has_plain_rows(const ContractionPlan *plan, int side, int d) {
    const Side *rows = &plan->side[side];
    const Operand *operand = rows->operand;
    const AxisMap *last = &operand->axis[operand_axis_count(operand) - 1];
    return rows->packable && last->constant == 0 && last->coefficient[d] == 1 &&
           operand->tensor->extent[operand->tensor->rank - 1] == plan->extent[d];
}

static void try_dot(const ContractionPlan *plan, int d, Tile *best) {
    int length = plan->lowering->options->vector_length;
    if (!plan->contraction->dims[d].reduce || is_batch(plan, d))
        return;
    if (plan->side[0].coefficient[d] != 1 || plan->side[1].coefficient[d] != 1)
        return;
    int side = has_plain_rows(plan, 0, d) ? 0 : 1;
    if (plan->extent[d] % length != 0 && !has_plain_rows(plan, side, d))
        return;
    Tile tile = {TILE_DOT, side, d, false, -1, -1, 1, 1, 0};
    try_sizes(plan, tile, best);
    int count = plan->contraction->dim_count;
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
            try_sizes(plan, tile, best);
        }
    }
}

Tile contraction_choose_tile(const ContractionPlan *plan) {
    Tile best = {TILE_NONE, 0, -1, false, -1, -1, 1, 1, 0};
    for (int d = 0; d < plan->contraction->dim_count; d++) {
        try_broadcast(plan, 0, d, &best);
        try_broadcast(plan, 1, d, &best);
        try_dot(plan, d, &best);
    }
    return best;
}
