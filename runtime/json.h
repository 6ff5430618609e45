/* A reader for JSON (RFC 8259) that the caller drives: it knows what it expects next. After the
 * first mistake every call returns false. */
#ifndef CNNC_JSON_H
#define CNNC_JSON_H

#include "problem.h"

typedef struct JsonReader {
    const char *at, *end;
    bool failed;
} JsonReader;

/* Takes this punctuation character if it comes next; json_expect fails if it does not. */
RUNTIME_API bool json_accept(JsonReader *reader, char character);
RUNTIME_API bool json_expect(JsonReader *reader, char character);
/* Copies the next string, escapes resolved, into malloc'ed memory; NULL on failure. A string with
 * a zero character is refused. */
RUNTIME_API char *json_string(JsonReader *reader);
/* A non-negative integer. */
RUNTIME_API bool json_size(JsonReader *reader, size_t *value);
/* For objects and arrays: call after the opening bracket and after each item; true while another
 * item follows. `first` starts as true. */
RUNTIME_API bool json_next(JsonReader *reader, char close, bool *first);
/* Only white space is left. */
RUNTIME_API bool json_at_end(JsonReader *reader);

#endif
