#include "command.h"
#include "initialise.h"
#include "weights.h"

RUNTIME_API ExitStatus command_init(const NetworkInfo *info, const Options *options,
                                    Problem *problem) {
    Network *network = network_create(info, problem);
    bool good = network != NULL;
    if (good) {
        initialise_parameters(network, command_seed(info, options));
        good = weights_save(network, option_text(options, OPTION_OUT_FILE), problem);
    }
    network_free(network);
    return good ? EXIT_STATUS_DONE : EXIT_STATUS_FAILED;
}
