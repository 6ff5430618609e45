/* The expanded network: what the description says once defs, repeats and conditions are gone.
 * expand.c makes it, shape.c fills in shapes, parameters and cost. */
#ifndef CNNC_NETWORK_H
#define CNNC_NETWORK_H

#include "../runtime/settings.h"
#include "op.h"

struct Layer {
    const OpDef *op;
    int index;         /* in network->layers: inputs always come earlier */
    const char *name;  /* "conv1", or the label that stands on it alone */
    const char *label; /* NULL if it has none */
    SourceRange where; /* of the layer in the description */
    Value *attributes; /* op->attribute_count, defaults filled in */
    int input_count;
    Layer **inputs;

    /* From shape inference. */
    bool valid; /* false where an error here or before it left the shape unknown */
    Shape output;
    Window window;
    int parameter_count;
    ParameterSpec parameters[MAX_PARAMETERS];
    Cost cost;
    int64_t elements;           /* of the output, one example */
    int64_t receptive_field[3]; /* per spatial axis of the input; saturates at its extent */
    int64_t jump[3];            /* input pixels between neighbouring outputs */
};

typedef struct Head {
    const char *name; /* NULL for the main output */
    Layer *layer;
} Head;

struct Network {
    const char *name; /* of `net`, else of the file */
    const char *path;
    const char *source; /* the description's text, for the header of the emitted file */
    int layer_count;
    Layer **layers; /* layers[0] is INPUT */
    int head_count;
    Head *heads; /* heads[0] is the main output */
    TrainSettings train;
    DataSettings data;
    int class_weight_count; /* of cross_entropy(weights=[..]); 0: all 1 */
    double *class_weights;
    SourceRange class_weights_where;
    SourceRange train_where; /* of the train block, for messages */
    int64_t parameter_count, weight_count, bias_count, running_count; /* totals, tables respected */
    Cost cost;
    int64_t activation_count;
};

/* Attribute access by position in the op's table. */
int64_t attribute_integer(const Layer *layer, int attribute);
double attribute_number(const Layer *layer, int attribute); /* integers convert */
bool attribute_boolean(const Layer *layer, int attribute);
const char *attribute_choice(const Layer *layer, int attribute);
bool attribute_given(const Layer *layer, int attribute); /* not VALUE_NONE */
/* Of an ATTRIBUTE_INITIALISER that was given: he, gaussian(0.01), 0.5 (op.c). */
Initialiser attribute_initialiser(const Layer *layer, int attribute);

/* Infers shapes, parameters and cost of all layers, checks the settings against the output; reports
 * every problem once. Returns false after any error. */
bool network_infer(Network *network, Diagnostics *diagnostics);

#endif
