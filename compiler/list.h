/* What cnnc says about layer kinds: --list-layers, --list-samples. */
#ifndef CNNC_LIST_H
#define CNNC_LIST_H

#include "op.h"
#include "text.h"

/* One line per kind that a description can use. */
void list_kinds(Text *out);
/* Everything about one kind: arguments with types, ranges and defaults, and an example. */
void list_kind(Text *out, const OpDef *op);
/* The same by its name; false with a message in *problem, from the text's arena, if there is none.
 */
bool list_named_kind(Text *out, const char *name, const char **problem);
/* One line "KIND<tab>description" for every sample of every kind. */
void list_samples(Text *out);

#endif
