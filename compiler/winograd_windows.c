#include "winograd_emission.h"

/* Windows of a tile along one axis that the map has; sets *first to the index of the first one. */
static Expr *window_count(const WinogradEmission *e, int axis, Expr *at, int64_t kernel,
                          Expr **first) {
    const WinogradPlan *plan = e->plan;
    Builder *b = e->b;
    Expr *all = integer(b, plan->step / kernel);
    *first = declare(b, "window", TYPE_INDEX, over(b, at, integer(b, kernel)));
    if (plan->covered[axis] % plan->step == 0)
        return all;
    return minimum(b, all, minus(b, integer(b, plan->covered[axis] / kernel), *first));
}

void winograd_make_windows(WinogradEmission *e, const WinogradCut *cut, const TilePlace *place,
                           Expr *block) {
    const WinogradPlan *plan = e->plan;
    const Node *pooling = plan->node->dy_windows;
    const int64_t *kernel = pooling->layer->window.kernel;
    Builder *b = e->b;
    bool missing = cut->missing == TILES_ZERO && plan->image_tiles % plan->slab != 0;
    if (missing)
        open_if(b, less(b, place->number, e->total));
    Expr *first[2], *rows = window_count(e, 0, place->row, kernel[0], &first[0]);
    Expr *columns = window_count(e, 1, place->column, kernel[1], &first[1]);
    Expr *i = open_range(b, LOOP_SERIAL, "i", integer(b, 0), rows, 1);
    Expr *j = open_range(b, LOOP_SERIAL, "j", integer(b, 0), columns, 1);
    Expr *output[MAX_AXES] = {place->n, NULL, plus(b, first[0], i), plus(b, first[1], j)};
    pooling->op->lower_window_gradient(e->lowering, pooling, output, block);
    close_blocks(b, 2 + missing);
}
