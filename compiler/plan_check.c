/* Whether a plan holds what it promises, and what it is to a reader. */
#include "plan.h"

#include <inttypes.h>

const char *placement_name(Arena *arena, const Placement *placement) {
    if (placement->tensor != NULL)
        return placement->tensor->name;
    if (placement->scratch == NULL)
        return "scratch of all slots";
    return arena_format(arena, "%s of %s", placement->scratch->name,
                        group_layers(arena, placement->step->group));
}

static bool verify_piece(const Plan *plan, const Placement *piece, FILE *stream) {
    const char *problem = NULL;
    int64_t size = piece->late ? plan->late_arena_size : plan->arena_size;
    int64_t end = size * plan->options.real_size;
    if (plan->options.shards > 1 && !piece->whole)
        end = plan_fixed_end(plan) + plan->shard_bytes;
    if (piece->offset < 0 || piece->bytes < 0 || piece->bytes > end - piece->offset)
        problem = "lies outside the arena";
    else if (piece->offset % PLAN_ALIGNMENT != 0)
        problem = "is not aligned";
    else if (piece->first > piece->last)
        problem = "ends before it begins";
    else if (piece->read_first && !(piece->tensor != NULL && piece->tensor->role == TENSOR_INPUT))
        problem = "is read before anything writes it";
    if (problem != NULL)
        fprintf(stream, "plan: %s %s\n", placement_name(plan->arena, piece), problem);
    return problem == NULL;
}

static bool is_region_of(const Placement *region, const Placement *piece) {
    return piece->by_slot && region->tensor == NULL && region->scratch == NULL &&
           piece->offset >= region->offset;
}

bool plan_verify(const Plan *plan, FILE *stream) {
    bool valid = true;
    for (int i = 0; i < plan->placement_count; i++) {
        const Placement *a = plan->placements[i];
        valid = verify_piece(plan, a, stream) && valid;
        for (int k = 0; k < i; k++) {
            const Placement *b = plan->placements[k];
            if (!plan_alive_together(a, b) || is_region_of(a, b) || is_region_of(b, a) ||
                a->offset + a->bytes <= b->offset || b->offset + b->bytes <= a->offset)
                continue;
            fprintf(stream, "plan: %s and %s overlap\n", placement_name(plan->arena, a),
                    placement_name(plan->arena, b));
            valid = false;
        }
    }
    return valid;
}

void plan_dump(const Plan *plan, FILE *stream) {
    static const char *const names[SEQUENCE_COUNT] = {"evaluation", "training"};
    fprintf(stream, "plan: batch %d, arena %" PRId64 " bytes\n", plan->options.max_batch,
            plan->arena_size * plan->options.real_size);
    if (plan->options.shards > 1)
        fprintf(stream, "  %d shards of %" PRId64 " bytes; the first one's pieces:\n",
                plan->options.shards, plan->shard_bytes);
    for (int i = 0; i < plan->placement_count; i++) {
        const Placement *piece = plan->placements[i];
        bool both = piece->in_sequence[0] && piece->in_sequence[1];
        fprintf(stream, "  %12" PRId64 " +%-12" PRId64 " %s %d..%d: %s%s\n", piece->offset,
                piece->bytes, both ? "both" : names[piece->in_sequence[SEQUENCE_TRAINING]],
                piece->first, piece->last, placement_name(plan->arena, piece),
                piece->late ? " (backward_input)" : "");
    }
    fprintf(stream, "  evaluation %" PRId64 ", training %" PRId64 " bytes\n",
            plan->sequence_bytes[SEQUENCE_EVALUATION], plan->sequence_bytes[SEQUENCE_TRAINING]);
}
