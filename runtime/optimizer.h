/* Optimizers: one row of the table and one file each. */
#ifndef CNNC_OPTIMIZER_H
#define CNNC_OPTIMIZER_H

#include "network.h"

#define OPTIMIZER_MAX_STATES 2

/* The numbers that a step is to be made on. */
typedef struct OptimizerRange {
    size_t count; /* of parameters, gradients and each state */
    real *parameters;
    const real *gradients;
    real *states[OPTIMIZER_MAX_STATES]; /* zero before the first step */
} OptimizerRange;

typedef struct OptimizerDef {
    const char *name;
    int (*state_count)(const TrainSettings *settings);
    const char
        *state_names[OPTIMIZER_MAX_STATES]; /* in checkpoints: optimizer.<state>.<parameter> */
    /* Fills the step's numbers; steps count from 1. */
    void (*begin)(OptimizerStep *step, double learning_rate, uint64_t number);
    void (*update)(const OptimizerStep *step, const OptimizerRange *range);
} OptimizerDef;

RUNTIME_API const OptimizerDef *optimizer_find(OptimizerKind kind);
RUNTIME_API int optimizer_state_count(const TrainSettings *settings);
/* Allocates network->optimizer_state (zeroed): state s begins at s*info->trainable_size. */
RUNTIME_API bool optimizer_create_state(Network *network, const TrainSettings *settings,
                                        Problem *problem);
/* The next call of info->backward is step `number` of the optimizer. The settings must live as
 * long as the network. */
RUNTIME_API void optimizer_begin_step(Network *network, const TrainSettings *settings,
                                      double learning_rate, uint64_t number);
/* For backward: what is to happen with the gradients of `count` parameters that begin at
 * `parameters` within network->parameters. */
RUNTIME_API void optimizer_update(Network *network, real *parameters, const real *gradients,
                                  size_t count);
/* The same for all trainable parameters and the sums of the gradients of a batch's shards. */
RUNTIME_API void optimizer_update_shards(Network *network, int batch);

/* Stochastic gradient descent as torch.optim.SGD with dampening 0:
 *   g += weight_decay*w;  v = momentum*v + g;  w -= rate*(nesterov ? g + momentum*v : v). */
RUNTIME_API int optimizer_sgd_state_count(const TrainSettings *settings);
RUNTIME_API void optimizer_sgd_begin(OptimizerStep *step, double learning_rate, uint64_t number);
RUNTIME_API void optimizer_sgd_update(const OptimizerStep *step, const OptimizerRange *range);
RUNTIME_INLINE void optimizer_sgd(real rate, real decay, real *w, real gradient) {
    *w -= rate * (gradient + decay * *w);
}
RUNTIME_INLINE void optimizer_momentum(real rate, real decay, real momentum, real *w, real *v,
                                       real gradient) {
    *v = momentum * *v + (gradient + decay * *w);
    *w -= rate * *v;
}
RUNTIME_INLINE void optimizer_nesterov(real rate, real decay, real momentum, real *w, real *v,
                                       real gradient) {
    real g = gradient + decay * *w;
    *v = momentum * *v + g;
    *w -= rate * (g + momentum * *v);
}

/* Adam as torch.optim.Adam (Kingma and Ba 2015, algorithm 1, with L2 weight decay in the gradient):
 *   m = beta1*m + (1-beta1)*g;  v = beta2*v + (1-beta2)*g^2;
 *   w -= rate/(1-beta1^t) * m / (sqrt(v)/sqrt(1-beta2^t) + epsilon). */
RUNTIME_API int optimizer_adam_state_count(const TrainSettings *settings);
RUNTIME_API void optimizer_adam_begin(OptimizerStep *step, double learning_rate, uint64_t number);
RUNTIME_API void optimizer_adam_update(const OptimizerStep *step, const OptimizerRange *range);
RUNTIME_INLINE void optimizer_adam(real rate, real decay, real beta1, real rest1, real beta2,
                                   real rest2, real correction, real epsilon, real *w, real *m,
                                   real *v, real gradient) {
    real g = gradient + decay * *w;
    *m = beta1 * *m + rest1 * g;
    *v = beta2 * *v + rest2 * g * g;
    *w -= rate * *m / (real_sqrt(*v) * correction + epsilon);
}

/* For kernels that hand gradients over number by number. */
#define OPTIMIZER_SGD(rate, decay, w, gradient) optimizer_sgd(rate, decay, &(w), gradient)
#define OPTIMIZER_MOMENTUM(rate, decay, momentum, w, v, gradient)                                  \
    optimizer_momentum(rate, decay, momentum, &(w), &(v), gradient)
#define OPTIMIZER_NESTEROV(rate, decay, momentum, w, v, gradient)                                  \
    optimizer_nesterov(rate, decay, momentum, &(w), &(v), gradient)
#define OPTIMIZER_ADAM(rate, decay, beta1, rest1, beta2, rest2, correction, epsilon, w, m, v,      \
                       gradient)                                                                   \
    optimizer_adam(rate, decay, beta1, rest1, beta2, rest2, correction, epsilon, &(w), &(m), &(v), \
                   gradient)

#endif
