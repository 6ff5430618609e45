/* Steps of the optimizer: on the parameters of a layer from their gradients, or on one number as
 * soon as its gradient is known. The runtime knows how. */
#include "update.h"
#include "kernel_use.h"
#include "lower.h"

/* ---- Whole parameters ---- */

static void update_parameter(Lowering *lowering, Tensor *parameter, Tensor *gradient) {
    Builder *b = lowering->builder;
    Buffer *to = lower_buffer(lowering, parameter), *from = lower_buffer(lowering, gradient);
    Expr *zero = integer(b, 0);
    Expr *arguments[] = {load_at(b, to, 1, &zero), load_at(b, from, 1, &zero),
                         integer(b, parameter->elements)};
    to->written = true;
    call_statement(b, call(b, TYPE_REAL, CALL_UPDATE, 3, arguments));
}

static void update_lower(Lowering *lowering, const Node *node) {
    for (int p = 0; p < MAX_PARAMETERS; p++)
        if (node->parameters[p] != NULL)
            update_parameter(lowering, node->parameters[p], node->parameter_gradients[p]);
}

/* ---- Single numbers ---- */

/* The runtime's function for one number: the numbers of the step that it takes, in the order in
 * which they stand in OptimizerStep, then the parameter, its states and its gradient. */
typedef struct UpdateForm {
    const char *function;
    int number_count;
    const char *numbers[OPTIMIZER_NUMBERS];
} UpdateForm;

static UpdateForm update_form(const TrainSettings *train) {
    if (train->optimizer == OPTIMIZER_ADAM)
        return (UpdateForm){
            "OPTIMIZER_ADAM",
            8,
            {"rate", "decay", "beta1", "rest1", "beta2", "rest2", "correction", "epsilon"}};
    if (train->momentum == 0)
        return (UpdateForm){"OPTIMIZER_SGD", 2, {"rate", "decay"}};
    return (UpdateForm){train->nesterov ? "OPTIMIZER_NESTEROV" : "OPTIMIZER_MOMENTUM",
                        3,
                        {"rate", "decay", "momentum"}};
}

Expr **lower_step_numbers(Lowering *lowering, const Node *node) {
    if (node->step == NULL)
        return NULL;
    Builder *b = lowering->builder;
    UpdateForm form = update_form(&lowering->graph->network->train);
    Buffer *step = lower_buffer(lowering, node->step);
    Expr **numbers = ARENA_ARRAY(lowering->arena, Expr *, OPTIMIZER_NUMBERS);
    for (int i = 0; i < form.number_count; i++) {
        Expr *place = integer(b, i);
        numbers[i] = declare(b, form.numbers[i], TYPE_REAL, load_at(b, step, 1, &place));
    }
    return numbers;
}

static Expr *changed_element(Lowering *lowering, Tensor *tensor, Expr *const *index) {
    lower_buffer(lowering, tensor)->written = true;
    return tensor_load(lowering, tensor, index);
}

void lower_number_update(Lowering *lowering, const Node *node, Expr *const *numbers,
                         Expr *const *index, Expr *gradient) {
    Builder *b = lowering->builder;
    UpdateForm form = update_form(&lowering->graph->network->train);
    Expr *arguments[MAX_CALL_ARGUMENTS];
    int count = 0;
    for (; count < form.number_count; count++)
        arguments[count] = numbers[count];
    arguments[count++] = changed_element(lowering, node->parameters[0], index);
    for (int i = 0; i < MAX_STATES && node->states[i] != NULL; i++)
        arguments[count++] = changed_element(lowering, node->states[i], index);
    arguments[count++] = gradient;
    call_statement(b, call(b, TYPE_REAL, form.function, count, arguments));
}

const OpDef op_update = {.name = "UPDATE",
                         .summary = "step of the optimizer",
                         .flags = OP_INTERNAL,
                         .lower_forward = update_lower};
