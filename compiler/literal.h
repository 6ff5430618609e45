/* Values from short texts that are not part of a description: the defaults in an op's table of
 * attributes, and -DNAME=VALUE. */
#ifndef CNNC_LITERAL_H
#define CNNC_LITERAL_H

#include "value.h"

/* Reads an integer, a number, true, false, dimensions or a word; "" is VALUE_NONE. Their place is
 * "nowhere". False where the text is none of these. */
bool literal_read(Arena *arena, const char *text, Value *value);

#endif
