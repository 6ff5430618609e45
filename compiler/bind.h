/* Arguments to attributes: what a layer or a `default` statement gives, by the op's table. */
#ifndef CNNC_BIND_H
#define CNNC_BIND_H

#include "evaluate.h"
#include "network.h"

typedef struct Binding {
    const OpDef *op;
    Value *values; /* op->attribute_count; of the right types where given */
    bool *given;
} Binding;

Binding binding_create(Arena *arena, const OpDef *op);

/* Binds arguments (the word's name does not matter): positional ones in the order of the op's
 * attributes, except that dimensions go to the first attribute of type EXTENTS, the kernel. All
 * errors are reported at the arguments; false after any. `evaluator` supplies names for "did you
 * mean". */
bool binding_set(Binding *binding, Evaluator *evaluator, const Word *arguments);

/* Warns of extents among the bound `arguments` that are written 3*3, where 3x3 is likely meant. */
void binding_warn_products(const Binding *binding, const ArgumentList *arguments,
                           Diagnostics *diagnostics);

/* Takes from `defaults` what `binding` does not give. */
void binding_merge(Binding *binding, const Binding *defaults);

/* Fills in the op's own defaults; a required argument that is missing is an error at `where`. */
bool binding_complete(Binding *binding, Diagnostics *diagnostics, SourceRange where);

#endif
