/* Optimizers: one row of the table and one file each. */
#ifndef CNNC_OPTIMIZER_H
#define CNNC_OPTIMIZER_H

#include "network.h"

#define OPTIMIZER_MAX_STATES 2

typedef struct OptimizerStep {
    const TrainSettings *settings;
    double learning_rate; /* of this step */
    uint64_t number;      /* from 1 */
    size_t count;         /* numbers in parameters, gradients and each state */
    real *parameters;
    const real *gradients;
    real *states[OPTIMIZER_MAX_STATES]; /* zero before the first step */
} OptimizerStep;

typedef struct OptimizerDef {
    const char *name;
    int (*state_count)(const TrainSettings *settings);
    const char
        *state_names[OPTIMIZER_MAX_STATES]; /* in checkpoints: optimizer.<state>.<parameter> */
    void (*update)(const OptimizerStep *step);
} OptimizerDef;

RUNTIME_API const OptimizerDef *optimizer_find(OptimizerKind kind);
RUNTIME_API int optimizer_state_count(const TrainSettings *settings);
/* Allocates network->optimizer_state (zeroed): state s begins at s*info->trainable_size. */
RUNTIME_API bool optimizer_create_state(Network *network, const TrainSettings *settings,
                                        Problem *problem);
/* One step on network->parameters from network->gradients. */
RUNTIME_API void optimizer_update(Network *network, const TrainSettings *settings,
                                  double learning_rate, uint64_t number);

/* Stochastic gradient descent as torch.optim.SGD with dampening 0:
 *   g += weight_decay*w;  v = momentum*v + g;  w -= rate*(nesterov ? g + momentum*v : v). */
RUNTIME_API int optimizer_sgd_state_count(const TrainSettings *settings);
RUNTIME_API void optimizer_sgd_update(const OptimizerStep *step);

/* Adam as torch.optim.Adam (Kingma and Ba 2015, algorithm 1, with L2 weight decay in the gradient):
 *   m = beta1*m + (1-beta1)*g;  v = beta2*v + (1-beta2)*g^2;
 *   w -= rate/(1-beta1^t) * m / (sqrt(v)/sqrt(1-beta2^t) + epsilon). */
RUNTIME_API int optimizer_adam_state_count(const TrainSettings *settings);
RUNTIME_API void optimizer_adam_update(const OptimizerStep *step);

#endif
