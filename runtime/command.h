/* The commands of the program. Each returns an exit status; after EXIT_STATUS_FAILED and
 * EXIT_STATUS_USAGE the reason is in *problem. */
#ifndef CNNC_COMMAND_H
#define CNNC_COMMAND_H

#include "network.h"
#include "npy.h"
#include "options.h"

typedef enum ExitStatus {
    EXIT_STATUS_DONE = 0,
    EXIT_STATUS_FAILED = 1,
    EXIT_STATUS_USAGE = 2,
    EXIT_STATUS_INTERRUPTED = 130
} ExitStatus;

typedef ExitStatus Command(const NetworkInfo *info, const Options *options, Problem *problem);

RUNTIME_API Command command_info, command_eval, command_predict, command_init, command_bench;
#ifndef CNNC_INFER_ONLY
RUNTIME_API Command command_train, command_grad, command_step, command_gradcheck;
#endif

/* A network with the weights of --weights; NULL on failure. Warnings go to standard error. */
RUNTIME_API Network *command_create_network(const NetworkInfo *info, const Options *options,
                                            Problem *problem);
/* The training settings with the command line's changes; the batch is set. False: usage. */
RUNTIME_API bool command_train_settings(const NetworkInfo *info, const Options *options,
                                        TrainSettings *settings, Problem *problem);
RUNTIME_API bool command_data_settings(const NetworkInfo *info, const Options *options,
                                       DataSettings *settings, Problem *problem);
RUNTIME_API uint64_t command_seed(const NetworkInfo *info, const Options *options);

/* main of the emitted program. */
RUNTIME_API int run_program(const NetworkInfo *info, int argc, char **argv);

#endif
