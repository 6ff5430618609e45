/* From a description to the expanded network: parses, evaluates constants, expands defs, repeats,
 * conditions and optional parts, binds arguments, numbers the layers. */
#ifndef CNNC_EXPAND_H
#define CNNC_EXPAND_H

#include "network.h"

typedef struct Define {
    const char *name, *value; /* -DNAME=VALUE; value NULL means 1 */
} Define;

typedef struct ExpandOptions {
    const Define *defines;
    int define_count;
    const char *const *include_directories; /* -I, searched after the including file's own */
    int include_count;
} ExpandOptions;

/* Problems are in `diagnostics`. NULL if there is no network to speak of; after other errors one
 * comes back in which layers of unknown shape stand for the parts that are wrong, so that the
 * shapes of the others can be checked. The sources must outlive it. */
Network *expand_file(Sources *sources, Diagnostics *diagnostics, SourceFile *file,
                     const ExpandOptions *options);

#endif
