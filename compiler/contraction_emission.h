/* What contraction_operands.c and contraction_vector.c share: a contraction while its loops are
 * being made. */
#ifndef CNNC_CONTRACTION_EMISSION_H
#define CNNC_CONTRACTION_EMISSION_H

#include "contraction.h"

typedef struct Emission {
    ContractionPlan *plan;
    Builder *b;
    int length;                       /* reals in a vector */
    Expr *dims[MAX_PLAN_DIMS]; /* index of every dimension at this point */
    int outer_count, outer[MAX_PLAN_DIMS];
    int reduced_count, reduced[MAX_PLAN_DIMS];
    int first_inner; /* reduced dims from here on run inside the tile */
    int first_part;  /* outer dims from here on run inside the loops over the parts of the sum */
    bool clearing;   /* in_parts: what is emitted sets the results to zero */
    int rows, lines, columns, lanes; /* of the block being emitted; BROADCAST: lanes of vector_dim */
} Emission;

/* The offset of an element of a side at the indices of e->dims. */
Expr *side_offset(const Emission *e, const Side *side);
/* Sets the buffers of the sides; makes padded and packed copies where the tile needs them. */
void prepare_sides(Emission *e);

#endif
