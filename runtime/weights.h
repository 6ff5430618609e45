/* The parameters of a network to and from .safetensors files, names and shapes as PyTorch has them.
 */
#ifndef CNNC_WEIGHTS_H
#define CNNC_WEIGHTS_H

#include "network.h"
#include "safetensors.h"

/* How a parameter, its gradient and the optimizer's state of it lie in memory. */
RUNTIME_API Layout weights_layout(const ParameterInfo *parameter);

/* Copies all parameters from a file. Everything that does not fit is listed in *problem and nothing
 * is changed then. Ignored are tensors of a checkpoint's trainer ("optimizer.*") and PyTorch's
 * counters ("*.num_batches_tracked"). Weights that a connection table leaves out are set to zero;
 * if some were not, *warning says so. */
RUNTIME_API bool weights_load(Network *network, const char *path, Problem *problem,
                              Problem *warning);
RUNTIME_API bool weights_apply(Network *network, const char *path, const SafeTensors *file,
                               Problem *problem, Problem *warning);
RUNTIME_API bool weights_save(const Network *network, const char *path, Problem *problem);

/* For writers of further files: `<prefix><parameter's name>`, its shape, and these numbers, which
 * lie as the parameter does. */
RUNTIME_API void weights_describe(const ParameterInfo *parameter, const char *prefix,
                                  const real *data, SafeTensorSource *source);
/* Checks that a tensor of the file has the parameter's shape and the type of `real`. */
RUNTIME_API bool weights_tensor_fits(const char *path, const SafeTensor *tensor,
                                     const ParameterInfo *parameter, Problem *problem);
/* Fills `out`, which lies as the parameter does, from the file. */
RUNTIME_API void weights_copy(const SafeTensors *file, const SafeTensor *tensor,
                              const ParameterInfo *parameter, real *out);

/* Whether a weight, by its number in dense order, exists: false where a connection table leaves it
 * out. */
RUNTIME_API bool weights_connected(const ParameterInfo *parameter, size_t element);

/* Sets the weights to zero that the connection table leaves out; returns how many were not. */
RUNTIME_API size_t weights_apply_connections(const ParameterInfo *parameter, real *data);

#endif
