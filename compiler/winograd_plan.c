#include "winograd_plan.h"

/* ---- The model of the machine: coarse, but it ranks the variants well ---- */

#define FMA_LATENCY 4.0
#define EFFICIENCY 0.85       /* of the peak that a good direct convolution reaches */
#define CYCLES_PER_STEP 1.0   /* counting and branching around the multiply-adds of a tile */
#define CYCLES_PER_LOAD 1.1   /* where loads take longer than multiply-adds */
#define CYCLES_PER_VECTOR 0.4 /* what of a load does not hide behind them */
#define CYCLES_PER_SUM 2.0    /* clearing and storing an accumulator */
#define CYCLES_PER_ADDED 3.0  /* adding it to what the parts before have left */
#define CYCLES_PER_TILE 30.0  /* until its pipeline is full */
#define CYCLES_PER_INPUT 8.0  /* per vector of a transformed tile: loads, sums, a store */
#define CYCLES_PER_OUTPUT 5.0
#define CYCLES_PER_FILTER 12.0
#define CYCLES_PER_PART 3.0       /* the same where it stays in the cache */
#define CYCLES_PER_TURNED 10.0    /* per vector gathered from filters that are transposed */
#define CYCLES_PER_REGION 10000.0 /* waking the threads and waiting for them */
#define CYCLES_PER_CROSSING 2.0   /* for a real that one core reads and another writes again */
#define TIMES_APART 3.0     /* longer, where slots read the same from memory, each for itself */
#define REALS_PER_CYCLE 2.0 /* from and to what lies behind the second-level cache */
/* For a portion's scratch; a megabyte also where the target's second-level cache is smaller: with
 * half of one, 512 channels of 7x7 took a quarter longer on 512 KB. */
#define CACHE_REALS ((1 << 20) / (double)sizeof(float))
#define OUTER_CACHE_REALS                                                                          \
    (1 << 21) /* of the third-level cache; behind it all takes twice as long */
#define PART_REALS (CACHE_REALS / 3) /* of it, for filters that are transformed for all points */
#define MAX_ROWS 28
#define MAX_COLUMNS 6
#define LEAST_SLAB 8
#define LARGEST_SLAB 16 /* of the weight gradient, where it can be any number */

static double largest(double a, double b) {
    return a > b ? a : b;
}

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t divide_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/* ---- What it can be used for ---- */

static bool is_blocked(const Tensor *tensor, int length) {
    return tensor->layout.blocked_axis == 0 && tensor->layout.block == length;
}

static bool has_form(const Node *node, int length) {
    const Window *window = &node->layer->window;
    const Tensor *weight = node->parameters[0];
    if (window->rank != 2 || node->connections || weight->extent[1] != node->x[0]->extent[0])
        return false;
    for (int axis = 0; axis < 2; axis++)
        if (window->kernel[axis] != window->kernel[0] || window->stride[axis] != 1 ||
            window->dilation[axis] != 1)
            return false;
    if (window->kernel[0] != 3 && window->kernel[0] != 5)
        return false;
    return is_blocked(weight, length);
}

static void set_tensors(WinogradPlan *plan) {
    const Node *node = plan->node;
    const Window *window = &node->layer->window;
    bool data_gradient = plan->kind == WINOGRAD_DATA_GRADIENT;
    plan->input = data_gradient ? node->dy : node->x[0];
    plan->result = data_gradient                            ? node->dx
                   : plan->kind == WINOGRAD_WEIGHT_GRADIENT ? node->dy
                                                            : node->y;
    plan->input_blocks = plan->input->extent[0] / plan->length;
    plan->result_blocks = plan->result->extent[0] / plan->length;
    for (int axis = 0; axis < 2; axis++) {
        int64_t pad = window->pad_begin[axis];
        plan->origin[axis] = data_gradient ? pad - (plan->taps - 1) : -pad;
        plan->covered[axis] = plan->result->extent[1 + axis];
    }
}

/* The halo holds all that results depend on. */
static bool has_halo(const WinogradPlan *plan) {
    const Layout *layout = &plan->input->layout;
    for (int axis = 0; axis < 2; axis++) {
        int64_t end = plan->origin[axis] + plan->covered[axis] + plan->taps - 1;
        if (-plan->origin[axis] > layout->before[1 + axis] ||
            end > plan->input->extent[1 + axis] + layout->after[1 + axis])
            return false;
    }
    return true;
}

/* ---- Cycles ---- */

typedef struct Search {
    const LowerOptions *options;
    WinogradPlan plan; /* the variant being looked at */
    double tiles;      /* of the largest batch */
    int threads;
    const WinogradVisitor *visitor;
} Search;

static double step_cycles(const Search *search) {
    int rows = search->plan.rows, columns = search->plan.columns;
    double rate = search->options->vector_rate;
    double fmas = rows * columns / rate;
    double loads = CYCLES_PER_LOAD * (rows + columns) / rate;
    return largest(FMA_LATENCY, largest(fmas, loads)) + CYCLES_PER_STEP +
           columns * CYCLES_PER_VECTOR;
}

/* One register tile with a sum of `terms`. */
static double tile_cycles(const Search *search, double terms) {
    const WinogradPlan *plan = &search->plan;
    return terms * step_cycles(search) + plan->rows * plan->columns * CYCLES_PER_SUM +
           CYCLES_PER_TILE;
}

static double slabs_of(const Search *search) {
    return (double)divide_up((int64_t)search->tiles, search->plan.slab);
}

static double portions_of(const Search *search) {
    return (double)divide_up((int64_t)slabs_of(search), search->plan.portion);
}

static double product_cycles(const Search *search) {
    const WinogradPlan *plan = &search->plan;
    double channels = (double)(plan->input_blocks * plan->length);
    double columns = (double)(plan->result_blocks / plan->columns);
    if (plan->kind == WINOGRAD_WEIGHT_GRADIENT)
        return plan->points * columns * channels / plan->rows * portions_of(search) *
               tile_cycles(search, (double)(plan->slab * plan->portion));
    double parts = plan->part > 0 ? (double)(plan->input_blocks / plan->part) : 1;
    double added = parts > 1 ? plan->rows * plan->columns * CYCLES_PER_ADDED : 0;
    return plan->points * columns * slabs_of(search) * parts *
           (tile_cycles(search, channels / parts) + added);
}

/* Vectors of all filters at all points. */
static double filter_vectors(const WinogradPlan *plan) {
    return (double)plan->points * (double)plan->input_blocks * plan->length *
           (double)plan->result_blocks;
}

static double filter_cycles(const Search *search) {
    const WinogradPlan *plan = &search->plan;
    double vectors = filter_vectors(plan);
    double cycles = plan->filter_slots > 0
                        ? vectors * CYCLES_PER_PART * portions_of(search)
                        : vectors * CYCLES_PER_FILTER * (plan->apart ? plan->slots : 1);
    if (plan->kind == WINOGRAD_DATA_GRADIENT)
        cycles += vectors / plan->points * plan->taps * plan->taps * CYCLES_PER_TURNED;
    return cycles;
}

static double transform_cycles(const Search *search) {
    const WinogradPlan *plan = &search->plan;
    double inputs = (double)plan->input_blocks, results = (double)plan->result_blocks;
    double tiles = slabs_of(search) * (double)plan->slab * plan->points;
    double times = plan->part > 0 && plan->slots == 1 ? plan->filter_slots : 1;
    double cycles = filter_cycles(search) + times * tiles * inputs * CYCLES_PER_INPUT;
    if (plan->kind != WINOGRAD_WEIGHT_GRADIENT)
        return cycles + tiles * results * CYCLES_PER_OUTPUT;
    return cycles + tiles * results * CYCLES_PER_INPUT +
           (plan->slots > 1 ? plan->slots * filter_vectors(plan) / search->options->vector_rate
                            : 0);
}

static double slab_reals(const WinogradPlan *plan) {
    return (double)(plan->points * plan->slab * plan->length *
                    (plan->input_blocks + plan->result_blocks));
}

/* Reals of the inputs at one row of points and of the filters that they are multiplied by. */
static double row_reals(const WinogradPlan *plan) {
    double channels = (double)(plan->input_blocks * plan->length);
    return plan->extent * channels *
           (double)(plan->slab * plan->portion + plan->columns * plan->length);
}

/* Cycles for reals of an array that come from or go to what lies behind the second-level cache;
 * `hidden`: beside multiply-adds. */
static double way_cycles(double reals, double array, bool hidden) {
    double cycles = reals / REALS_PER_CYCLE;
    return cycles * (hidden ? 0.5 : 1) * (array > OUTER_CACHE_REALS ? 2 : 1);
}

/* Of what all threads write, equal parts are read by each. */
static double crossing_cycles(const Search *search, double reals) {
    return reals * (1 - 1.0 / search->threads) * CYCLES_PER_CROSSING;
}

/* The sums of a weight gradient are read and written once for each portion, and the transformed
 * tiles written and read; with several slots their sums are joined at the end. */
static double gradient_memory_cycles(const Search *search) {
    const WinogradPlan *plan = &search->plan;
    double sums = filter_vectors(plan) * plan->length, tiles = slab_reals(plan) * slabs_of(search);
    double portions = portions_of(search), slots = plan->slots, cycles = 0;
    double active = slots < search->threads ? slots : search->threads;
    double portion = slab_reals(plan) * (double)plan->portion;
    bool shared = plan->slots == 1 && search->threads > 1;
    double passes = portions > slots ? 2 * portions + slots : slots;
    if (shared || portion > 1.5 * CACHE_REALS)
        cycles += way_cycles(2 * tiles, active * portion, false);
    if (shared || sums > CACHE_REALS)
        cycles += way_cycles(sums * passes, active * sums, true);
    if (shared)
        cycles += crossing_cycles(search, tiles);
    if (slots > 1)
        cycles += way_cycles(sums * (slots + 1), slots * sums, false);
    return cycles + way_cycles(sums, slots * sums, false);
}

/* Reals of the transformed tiles of the whole batch. */
static double input_reals(const Search *search) {
    const WinogradPlan *plan = &search->plan;
    return (double)(plan->points * plan->slab * plan->length * plan->input_blocks) *
           slabs_of(search);
}

/* Weights are read once, or by each slot that has tiles of its own, beside the multiply-adds; the
 * inputs, where they do not stay in the cache, for each group. */
static double group_memory_cycles(const Search *search) {
    const WinogradPlan *plan = &search->plan;
    double inputs = input_reals(search), groups = (double)(plan->result_blocks / plan->columns);
    double weights = filter_vectors(plan) * plan->length / plan->points * plan->taps * plan->taps;
    bool stay = inputs / plan->slots + PART_REALS <= CACHE_REALS;
    return way_cycles(weights * plan->slots, 0, true) +
           (stay ? 0 : way_cycles(groups * inputs, 0, false));
}

/* Filters are read once to be made and once for each portion; what of a portion does not fit the
 * cache is written and read. */
static double memory_cycles(const Search *search) {
    const WinogradPlan *plan = &search->plan;
    if (plan->kind == WINOGRAD_WEIGHT_GRADIENT)
        return gradient_memory_cycles(search);
    if (plan->part > 0)
        return group_memory_cycles(search);
    double filters = filter_vectors(plan) * plan->length;
    double slabs = slab_reals(plan) * slabs_of(search), reals = 0;
    bool shared = plan->slots == 1 && search->threads > 1;
    if (shared || slab_reals(plan) * (double)plan->portion > 1.5 * CACHE_REALS)
        reals += 2 * slabs;
    if (plan->filter_slots > 0) {
        bool fits = row_reals(plan) <= 1.5 * CACHE_REALS;
        double groups = (double)(plan->result_blocks / plan->columns);
        double weights = filters / plan->points * plan->taps * plan->taps;
        reals += portions_of(search) * (weights > CACHE_REALS ? plan->extent : 1) * weights;
        reals += fits ? 0 : groups * slabs / 2;
    } else if (shared || filters > CACHE_REALS) {
        bool apart = plan->slots > 1 && filters > 2 * OUTER_CACHE_REALS;
        reals += filters * (portions_of(search) + 1) * (apart ? TIMES_APART : 1);
    }
    double crossing = shared ? slabs : plan->slots > 1 && !plan->apart ? filters : 0;
    return reals / REALS_PER_CYCLE + crossing_cycles(search, crossing);
}

static double region_cycles(const Search *search) {
    const WinogradPlan *plan = &search->plan;
    double regions = plan->apart ? 0 : plan->slots > 1 ? 1 : 3 * portions_of(search);
    return (1 + regions) * CYCLES_PER_REGION * search->threads;
}

/* Slots are shared in whole: how much longer the busiest thread works than on average. */
static double imbalance(const Search *search) {
    const WinogradPlan *plan = &search->plan;
    bool groups = plan->part > 0 && plan->slots == 1;
    int slots = groups ? plan->filter_slots : plan->slots;
    double units = groups ? (double)(plan->result_blocks / plan->columns) : slabs_of(search);
    if (slots == 1)
        return 1;
    double longest = (double)(divide_up(slots, search->threads) * divide_up((int64_t)units, slots));
    return largest(1, longest * search->threads / units);
}

static double estimate(const Search *search) {
    double work = product_cycles(search) + transform_cycles(search) + memory_cycles(search);
    return work * imbalance(search) + region_cycles(search);
}

static double direct_cycles(const Search *search) {
    const WinogradPlan *plan = &search->plan;
    double outputs = (double)(plan->covered[0] * plan->covered[1]) * search->options->max_batch;
    double fmas = outputs * (double)(plan->input_blocks * plan->length * plan->result_blocks) *
                  plan->taps * plan->taps;
    return fmas / search->options->vector_rate / EFFICIENCY + CYCLES_PER_REGION * search->threads;
}

/* ---- The search ---- */

static void set_step(Search *search, int step) {
    WinogradPlan *plan = &search->plan;
    plan->step = step;
    plan->extent = step + plan->taps - 1;
    plan->points = plan->extent * plan->extent;
    for (int axis = 0; axis < 2; axis++)
        plan->tiles[axis] = divide_up(plan->covered[axis], step);
    plan->image_tiles = plan->tiles[0] * plan->tiles[1];
    search->tiles = (double)plan->image_tiles * search->options->max_batch;
}

static void try_portion(Search *search, int slots, int64_t portion) {
    int64_t share = divide_up((int64_t)slabs_of(search), slots);
    int64_t portions = divide_up(share, portion > 0 ? portion : 1);
    search->plan.slots = slots;
    search->plan.portion = divide_up(share, portions);
    search->plan.cycles = estimate(search);
    search->visitor->visit(search->visitor->context, &search->plan);
}

/* Equal parts of the filters' rows of points and groups of blocks: at least one for each thread. */
static int choose_filter_slots(const Search *search) {
    const WinogradPlan *plan = &search->plan;
    int64_t units = plan->result_blocks / plan->columns * plan->extent;
    int64_t slots =
        search->options->threads > DEFAULT_SLOTS ? search->options->threads : DEFAULT_SLOTS;
    while (slots < units && units % slots != 0)
        slots++;
    return (int)smaller(slots, units);
}

/* As many input blocks as the filters' part of the cache holds, all tiles at once, if their inputs
 * just stay there: of the batch, where threads share groups, or of a slot. Windows of dy, which are
 * made with the inputs, must be made once. */
static void try_groups(Search *search, int slots) {
    WinogradPlan *plan = &search->plan;
    double block = (double)(plan->points * plan->columns * plan->length * plan->length);
    plan->part = plan->input_blocks;
    while (plan->part > 1 &&
           (plan->input_blocks % plan->part != 0 || (double)plan->part * block > PART_REALS))
        plan->part--;
    plan->filter_slots = (int)smaller(slots, plan->result_blocks / plan->columns);
    plan->apart = true;
    if (input_reals(search) <= 1.5 * CACHE_REALS && !plan->node->dy_windows)
        try_portion(search, 1, (int64_t)slabs_of(search));
    plan->filter_slots = slots;
    if (slots > 1 && input_reals(search) <= 1.5 * CACHE_REALS * slots)
        try_portion(search, slots, divide_up((int64_t)slabs_of(search), slots));
    plan->part = 0;
    plan->apart = false;
    plan->filter_slots = 0;
}

/* With filters that threads make together, or each slot for itself, where they stay in its cache.
 */
static void try_slots(Search *search, int slots, int64_t portion) {
    WinogradPlan *plan = &search->plan;
    try_portion(search, slots, portion);
    if (slots == 1 || plan->kind == WINOGRAD_WEIGHT_GRADIENT ||
        filter_vectors(plan) * plan->length > CACHE_REALS)
        return;
    plan->apart = true;
    try_portion(search, slots, portion);
    plan->apart = false;
}

/* The portions for a register tile. For slots as many slabs as half of the cache holds, beside
 * filters, or a quarter of it, beside the sums of a weight gradient and what comes from memory
 * meanwhile. For slots and for threads that share: as many as make the way of the filters as long
 * as that of the transformed tiles, or four times as many of a weight gradient. Or as many as leave
 * room in the cache for a part of the filters. */
static void try_portions(Search *search) {
    WinogradPlan *plan = &search->plan;
    double inputs = (double)(plan->input_blocks * plan->length);
    double results = (double)(plan->result_blocks * plan->length);
    int slots = lower_slots(search->options);
    plan->filter_slots = 0;
    bool weights = plan->kind == WINOGRAD_WEIGHT_GRADIENT;
    double scratch = weights ? CACHE_REALS / 4 : CACHE_REALS / 2;
    try_slots(search, slots, (int64_t)(scratch / slab_reals(plan)));
    double balanced = inputs * results / (inputs + results) / (double)plan->slab;
    try_portion(search, 1, (int64_t)balanced);
    try_slots(search, slots, (int64_t)balanced);
    if (weights) {
        try_portion(search, 1, (int64_t)(4 * balanced));
        try_portion(search, slots, (int64_t)(4 * balanced));
        return;
    }
    try_groups(search, slots);
    plan->filter_slots = choose_filter_slots(search);
    double row = 1.5 * CACHE_REALS / (plan->extent * inputs) - plan->columns * plan->length;
    try_portion(search, 1, (int64_t)(row / (double)plan->slab));
}

/* The size that leaves the fewest places of the last slab empty. */
static int64_t choose_slab(const Search *search) {
    int64_t tiles = (int64_t)search->tiles, best = smaller(tiles, LARGEST_SLAB);
    for (int64_t slab = best - 1; slab >= LEAST_SLAB; slab--)
        if (divide_up(tiles, slab) * slab < divide_up(tiles, best) * best)
            best = slab;
    return best;
}

static void try_tiles(Search *search) {
    WinogradPlan *plan = &search->plan;
    bool weights = plan->kind == WINOGRAD_WEIGHT_GRADIENT;
    for (plan->columns = 1; plan->columns <= MAX_COLUMNS; plan->columns++)
        for (plan->rows = 1; plan->rows <= MAX_ROWS; plan->rows++) {
            int registers = plan->rows * plan->columns + plan->columns + 1;
            bool fits = registers <= search->options->registers &&
                        plan->result_blocks % plan->columns == 0 &&
                        (weights ? plan->length % plan->rows == 0 : plan->rows <= search->tiles);
            if (!fits)
                continue;
            plan->slab = weights ? choose_slab(search) : plan->rows;
            try_portions(search);
        }
}

bool winograd_each_plan(const Lowering *lowering, const Node *node, WinogradKind kind,
                        const WinogradVisitor *visitor, double *direct) {
    const LowerOptions *options = lowering->options;
    int length = options->vector_length;
    if (options->level == 0 || !options->winograd || length == 1 || !has_form(node, length))
        return false;
    Search search = {.options = options,
                     .plan = {.kind = kind,
                              .node = node,
                              .length = length,
                              .taps = (int)node->layer->window.kernel[0]},
                     .threads = lower_threads(options),
                     .visitor = visitor};
    set_tensors(&search.plan);
    if (!is_blocked(search.plan.input, length) || !is_blocked(search.plan.result, length) ||
        !has_halo(&search.plan))
        return false;
    for (int step = 2; step + search.plan.taps - 1 <= WINOGRAD_TILE_MAX; step += 2) {
        set_step(&search, step);
        try_tiles(&search);
    }
    *direct = direct_cycles(&search);
    return true;
}

static void keep_better(void *context, const WinogradPlan *plan) {
    WinogradPlan *best = context;
    if (best->cycles == 0 || plan->cycles < best->cycles)
        *best = *plan;
}

bool winograd_choose(const Lowering *lowering, const Node *node, WinogradKind kind,
                     WinogradPlan *plan) {
    double direct;
    *plan = (WinogradPlan){0};
    return winograd_each_plan(lowering, node, kind, &(WinogradVisitor){keep_better, plan},
                              &direct) &&
           plan->cycles > 0 && plan->cycles < direct;
}
