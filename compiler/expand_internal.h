/* What the parts of the expansion share: expand.c reads the statements, expand_scope.c finds names,
 * expand_for.c settles the reach of loops, expand_chain.c unrolls the chains, expand_labels.c keeps
 * labels and gives layers their names, expand_unused.c finds what nothing uses. */
#ifndef CNNC_EXPAND_INTERNAL_H
#define CNNC_EXPAND_INTERNAL_H

#include "bind.h"
#include "expand.h"
#include "names.h"

#define MAXIMUM_LAYERS 100000
#define MAXIMUM_INPUTS 1000000 /* of all layers together */
#define MAXIMUM_WORK 4000000   /* steps of the expansion and values that they evaluate */
#define MAXIMUM_CALLS 1000     /* defs within each other */

/* The usual reason for going past a limit. */
#define EXPAND_HINT "look for repeats of repeats, or for a def that calls itself twice"

/* A `let`. */
typedef struct Constant {
    const char *name;
    Value value;
    SourceRange where;
    bool used; /* something names it, whether or not that is expanded */
} Constant;

/* `default` statements: each holds what the earlier ones of its kind gave as well. */
typedef struct Default {
    Binding binding;
    bool failed; /* it has errors, and so what layers of the kind would get is not known */
    const struct Default *previous;
} Default;

typedef struct Definition {
    const Statement *statement;
    const Default *defaults; /* in force where it stands */
    bool used;               /* something other than itself names it */
    bool failed;             /* its head has errors: what uses it is silent */
} Definition;

/* A running instance of a def or of one round of a repeat. Variables are found through `lexical`,
 * labels through `parent`. */
typedef struct Scope {
    const struct Scope *parent;  /* what it was started from */
    const struct Scope *lexical; /* what it is written in; NULL: the file */
    bool active;
    int calls; /* defs that it runs in */
    const Default *defaults;
    const Name *names; /* of the variables, in the order of `values` */
    Value *values;
    int label_begin; /* labels of the log from here on belong to it or to what runs in it */
} Scope;

/* One use of a label: each round of a repeat makes another. */
typedef struct LabelInstance {
    const Scope *scope;
    Layer *layer;
    SourceRange where;
    bool made_layer; /* the layer was made by what the label stands on */
    int previous;    /* instance of the same name in the log; -1: none */
} LabelInstance;

typedef struct Label {
    const char *name;
    SourceRange where; /* where it stands first */
    bool used;
    int last; /* instance in the log; -1: none yet */
    int instance_count;
} Label;

typedef struct Task Task;

typedef struct Expander {
    Arena *arena;
    Sources *sources;
    Diagnostics *diagnostics;
    const ExpandOptions *options;
    const SourceFile *file; /* the main one */
    Evaluator evaluator;
    SourceRange place;  /* of the net or output that is expanded, for errors about all of it */
    const Scope *scope; /* in which names are looked up */
    NameTable *constants, *definitions, *labels;
    bool *kept; /* of option 1 to option_count at index 0 to option_count - 1 */
    int option_count;
    int64_t work;
    bool failed;  /* an error was reported: what comes out is not usable */
    bool stopped; /* a limit was reached: expand nothing further */
    bool unsound; /* a constant has an error: shapes that depend on it would mislead */

    Layer **layers;
    int layer_count, layer_capacity;
    int input_count; /* of all layers */
    LabelInstance *log;
    int log_count, log_capacity;

    Task *top, *spare; /* the stack of what is being expanded; tasks to use again */
    Layer *current;    /* the tensor that the next layer takes */
    bool at_start;     /* no layer has been added since the chain or branch began */
} Expander;

/* expand_scope.c: the evaluator of `expander` and the constants. */
Evaluator scope_evaluator(Expander *expander);
/* Defines the constants of a `let`, with -D in mind. */
void scope_let(Expander *expander, const Statement *statement);
/* Reports every -D that names nothing and sets expander->kept. */
void scope_apply_options(Expander *expander);
/* The values of a def's parameters in a use of it; NULL after an error. */
Value *scope_parameters(Expander *expander, const Unit *unit, const Statement *definition);
/* Reports an error and marks the failure. */
Diagnostic *expand_error(Expander *expander, SourceRange where, const char *format, ...)
    PRINTF_LIKE(3, 4);
/* False, after an error, where the expansion is too much work. */
bool expand_charge(Expander *expander, int64_t work);

/* expand_chain.c: expands a chain that starts from `input`; the tensor that it ends in, or NULL. */
Layer *expand_chain(Expander *expander, Unit *chain, Layer *input, const Scope *scope);
/* Appends a layer; NULL, after an error, where there are too many. */
Layer *expand_append(Expander *expander, const OpDef *op, SourceRange where, Value *attributes,
                     Layer **inputs, int input_count);

/* Appends a layer of unknown shape in place of a part with errors; NULL where the expansion has
 * stopped. */
Layer *expand_unknown(Expander *expander, SourceRange where);

/* expand_for.c: lets every `for` in a chain reach as far back as its variables are used. */
void for_extend(Expander *expander, Unit *chain, const NameList *parameters);

/* expand_labels.c. */
/* Notes all labels in a chain, so that one that comes later can be told from one that never comes.
 */
void label_collect(Expander *expander, const Unit *unit);
void labels_collect(Expander *expander, const Unit *chain);
void label_define(Expander *expander, const Unit *unit, const Scope *scope, Layer *layer,
                  bool made_layer);
/* The layer of @name; NULL after an error. */
Layer *label_find(Expander *expander, const Unit *unit);
/* All instances of @name[*] so far, in their order; the count is 0 after an error. */
int label_find_all(Expander *expander, const Unit *unit, const Scope *scope, Layer ***layers);
/* Numbers the layers and names them. */
void name_layers(Expander *expander, const char *input_name);

/* expand_unused.c: warns of constants, defs and labels of the main file that nothing names. */
void warn_unused(Expander *expander, StatementList statements);

#endif
