/* The calls of a program as they are to be printed: what each passes, and which runs of calls
 * repeat with other tensors only, as the blocks of a deep network do. */
#ifndef CNNC_EMIT_CALLS_H
#define CNNC_EMIT_CALLS_H

#include "plan.h"

typedef enum ArgumentKind {
    ARGUMENT_TEXT,      /* `name` as it stands: "network->labels" */
    ARGUMENT_NUMBER,    /* an int: the number of a layer */
    ARGUMENT_ARENA,     /* an offset in Network.arena */
    ARGUMENT_PARAMETER, /* ... in Network.parameters */
    ARGUMENT_PREPARED,  /* ... in Network.prepared */
} ArgumentKind;

typedef struct CallArgument {
    ArgumentKind kind;
    ElementType type;           /* of ARGUMENT_ARENA */
    const char *name;           /* the text, or what stands for the value: digits, or a constant */
    const char *label;          /* what a column with the value is called; NULL for ARGUMENT_TEXT */
    const char *remark;         /* stands in a comment behind the value; NULL: none */
    bool *named;                /* to be set where the constant is printed; NULL: it is none */
    int64_t value;              /* the number, or the offset in reals */
    const Placement *placement; /* of ARGUMENT_ARENA */
} CallArgument;

/* arguments[0] is the number of the layer that the call's time counts for; the function's arguments
 * follow. */
typedef struct Call {
    const Step *step;
    int argument_count;
    CallArgument *arguments;
} Call;

/* How the value of an argument changes from round to round. */
typedef enum Progress {
    PROGRESS_NONE,   /* the same in all */
    PROGRESS_LINEAR, /* by the same amount each time */
    PROGRESS_TABLE   /* otherwise */
} Progress;

/* A value that the rounds look up: that of one argument. */
typedef struct RoundColumn {
    int call, argument; /* in the first round */
    const char *name;
} RoundColumn;

/* `rounds` times `length` calls, from the call `first` on. */
typedef struct Part {
    int first, length, rounds;
    int number; /* among those of the program with several rounds, from 1 */
    int column_count, column_capacity;
    RoundColumn *columns;
} Part;

typedef struct CallList {
    int call_count;
    Call *calls;
    int part_count, part_capacity;
    Part *parts; /* all calls in their order */
} CallList;

/* Makes the parts of list->calls, with their columns, and sets `named` of all arguments that are
 * printed by name. Calls become rounds where that saves many of them. */
void find_parts(Arena *arena, CallList *list);

/* The value in round `round` of argument `argument` of the call with number `call` in its round. */
int64_t argument_value(const CallList *list, const Part *part, int call, int argument, int round);
Progress argument_progress(const CallList *list, const Part *part, int call, int argument);
/* The column that holds an argument with PROGRESS_TABLE. */
const RoundColumn *argument_column(const CallList *list, const Part *part, int call, int argument);

#endif
