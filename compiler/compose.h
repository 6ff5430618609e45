/* Puts the runtime's pieces together to one file. */
#ifndef CNNC_COMPOSE_H
#define CNNC_COMPOSE_H

#include "text.h"

#include <stdbool.h>
#include <stddef.h>

/* A part of a piece that the compiler writes: what stands between the lines
 *     begin mark: cnnc:begin NAME
 *     end mark:   cnnc:end NAME
 * (each a comment of its own) is replaced by what `fill` adds to the text that is being made. */
typedef struct Region {
    const char *name;
    void (*fill)(void *context);
} Region;

typedef struct Composition {
    const char *piece;     /* the one to begin with, from its first mark on */
    const Region *regions; /* each of them must be there once */
    size_t region_count;
    void *context;         /* for fill */
    bool without_training; /* leave out what lies under #ifndef CNNC_INFER_ONLY, and its lines */
} Composition;

/* Adds the piece to `out`: each line that includes a piece in quotes becomes that piece's text,
 * once per piece and branch of a condition; guards of headers and repeated system headers go. False
 * with a message in *problem where a mark or piece is missing, unknown or out of place. */
bool compose(Text *out, const Composition *composition, const char **problem);

#endif
