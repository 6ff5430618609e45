/* Values of arguments, after constants and arithmetic are evaluated. */
#ifndef CNNC_VALUE_H
#define CNNC_VALUE_H

#include "source.h"

#define MAX_RANK 4 /* channels and up to three spatial extents */
#define MAX_DIMS 5 /* a parameter tensor: output, input, three kernel extents */

typedef enum ValueKind {
    VALUE_NONE, /* an optional argument that was not given */
    VALUE_INTEGER,
    VALUE_NUMBER,
    VALUE_BOOLEAN,
    VALUE_STRING,
    VALUE_DIMS,
    VALUE_LIST,
    VALUE_LABEL, /* @name */
    VALUE_WORD   /* same, gaussian(0.01), random_crop(224) - flip */
} ValueKind;

typedef struct Value Value;

typedef struct Dims {
    int rank;
    int64_t extent[MAX_DIMS];
} Dims;

/* One word of a chain: name, arguments, the next word after `-`. */
typedef struct Word {
    const char *name;
    SourceRange where;
    int argument_count;
    const char **argument_names; /* NULL entries for positional ones */
    Value *arguments;
    SourceRange *argument_where; /* of each argument with its name */
    struct Word *next;
} Word;

struct Value {
    ValueKind kind;
    SourceRange where;
    union {
        int64_t integer;
        double number;
        bool boolean;
        const char *string; /* STRING and LABEL */
        Dims dims;
        struct {
            int count;
            Value *items;
        } list;
        Word *word;
    } as;
};

/* "integer", "number", ... for messages. */
const char *value_kind_name(ValueKind kind);
/* The value as a user would write it; cut, with "...", where it is longer than 400 bytes. */
const char *value_text(Arena *arena, const Value *value);

#endif
