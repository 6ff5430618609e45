/* The network as a library. In this file NETWORK_NAME(x) stands for x with the network's name in
 * front (lenet5_create) and NETWORK_REAL for the number type (float, or double under --double). */
#ifndef NETWORK_LIBRARY_H
#define NETWORK_LIBRARY_H

/* Nothing here is global: instances are independent of each other and may be used by different
 * threads at once, each by one thread at a time. Functions that can fail return a status; the text
 * that belongs to it is NETWORK_NAME(message). Tensors are dense, in C order, examples first. */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct NETWORK_NAME(instance) NETWORK_NAME(instance);

enum {
    NETWORK_NAME(ok) = 0,
    NETWORK_NAME(error_memory) = 1,   /* not enough memory */
    NETWORK_NAME(error_file) = 2,     /* a file cannot be read or written, or does not fit */
    NETWORK_NAME(error_argument) = 3, /* an argument is out of range */
    NETWORK_NAME(error_training) = 4  /* compiled without training code */
};

/* An instance whose parameters are all zero, or NULL when memory runs out; destroy takes NULL. */
NETWORK_NAME(instance) * NETWORK_NAME(create)(void);
void NETWORK_NAME(destroy)(NETWORK_NAME(instance) * instance);
/* What the last function that failed on this instance has to say; "" if none has. */
const char *NETWORK_NAME(message)(const NETWORK_NAME(instance) * instance);

/* Random initial weights; they depend on the seed alone. */
int NETWORK_NAME(initialise)(NETWORK_NAME(instance) * instance, uint64_t seed);
/* Weights from and to .safetensors files. A load that fails changes nothing. */
int NETWORK_NAME(load)(NETWORK_NAME(instance) * instance, const char *path);
int NETWORK_NAME(save)(NETWORK_NAME(instance) * instance, const char *path);

/* output[count][output dims] from input[count][input dims], for any count. */
int NETWORK_NAME(forward)(NETWORK_NAME(instance) * instance, const NETWORK_REAL *input,
                          size_t count, NETWORK_REAL *output);
/* One step of the network's optimizer on a batch of 1..max_batch examples. Of labels[count][labels
 * per example] and targets[count][output dims] the one that the loss uses is read, the other may be
 * NULL. *loss becomes the mean loss before the step; loss may be NULL. */
int NETWORK_NAME(train_step)(NETWORK_NAME(instance) * instance, const NETWORK_REAL *input,
                             const int32_t *labels, const NETWORK_REAL *targets, int count,
                             double learning_rate, double *loss);

/* Extents without the batch; their number is the rank. */
int NETWORK_NAME(input_rank)(void);
const long *NETWORK_NAME(input_dims)(void);
int NETWORK_NAME(output_rank)(void);
const long *NETWORK_NAME(output_dims)(void);
size_t NETWORK_NAME(input_size)(void); /* numbers per example */
size_t NETWORK_NAME(output_size)(void);
int NETWORK_NAME(max_batch)(void); /* of a training step */
int NETWORK_NAME(target_is_label)(void);
size_t NETWORK_NAME(target_size)(void); /* labels or targets per example */

/* Parameter tensors, running statistics included; index in 0..parameter_count-1, else NULL or 0. */
int NETWORK_NAME(parameter_count)(void);
const char *NETWORK_NAME(parameter_name)(int index);
int NETWORK_NAME(parameter_rank)(int index);
const long *NETWORK_NAME(parameter_dims)(int index);
size_t NETWORK_NAME(parameter_size)(int index); /* the product of its dims */
/* Copy a parameter's numbers, in C order of its dims, from and to an instance. */
int NETWORK_NAME(get_parameter)(NETWORK_NAME(instance) * instance, int index, NETWORK_REAL *values);
int NETWORK_NAME(set_parameter)(NETWORK_NAME(instance) * instance, int index,
                                const NETWORK_REAL *values);

#ifdef __cplusplus
}
#endif

#endif
