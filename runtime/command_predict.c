#include "command.h"
#include "data_formats.h"

#include <stdlib.h>
#include <string.h>

/* Prints "<example>: <class> (<score>) ..." with the highest scores first. */
static void command_predict_print_top(const NetworkInfo *info, size_t example, const real *scores,
                                      size_t top, unsigned char *taken) {
    const size_t classes = network_classes(info);
    memset(taken, 0, classes);
    printf("%zu:", example);
    for (size_t k = 0; k < top && k < classes; k++) {
        size_t best = classes;
        for (size_t c = 0; c < classes; c++) {
            if (!taken[c] && (best == classes || scores[c] > scores[best])) {
                best = c;
            }
        }
        taken[best] = 1;
        printf(" %zu (%.6g)", best, (double)scores[best]);
    }
    printf("\n");
}

static bool command_predict_run(Network *network, const Npy *inputs, size_t top, FileWriter *writer,
                                Problem *problem) {
    const NetworkInfo *info = network->info;
    const size_t element = element_type_info(inputs->type)->size;
    unsigned char *taken = malloc(network_classes(info) + 1);
    if (taken == NULL) {
        return problem_out_of_memory(problem, "the classes");
    }
    for (size_t begin = 0; begin < inputs->dims[0]; begin += (size_t)info->max_batch) {
        size_t left = inputs->dims[0] - begin;
        int batch = left < (size_t)info->max_batch ? (int)left : info->max_batch;
        const real *output = network->arena + info->output_offset;
        elements_to_real(inputs->type, inputs->data + begin * info->input_size * element,
                         (size_t)batch * info->input_size, network->arena + info->input_offset);
        network_forward(network, batch);
        if (writer != NULL) {
            elements_write_reals(writer, output, (size_t)batch * info->output_size);
        }
        for (int n = 0; top > 0 && n < batch; n++) {
            command_predict_print_top(info, begin + (size_t)n,
                                      output + (size_t)n * info->output_size, top, taken);
        }
    }
    free(taken);
    return true;
}

static bool command_predict_write(Network *network, const Npy *inputs, size_t top, const char *path,
                                  Problem *problem) {
    const NetworkInfo *info = network->info;
    size_t dims[MAX_TENSOR_RANK + 1] = {inputs->dims[0]};
    FileWriter writer;
    for (int i = 0; i < info->output_rank; i++) {
        dims[i + 1] = (size_t)info->output_dims[i];
    }
    if (!file_writer_open(&writer, path, problem)) {
        return false;
    }
    npy_write_header(&writer, info->output_rank + 1, dims);
    if (!command_predict_run(network, inputs, top, &writer, problem)) {
        file_writer_abandon(&writer);
        return false;
    }
    return file_writer_commit(&writer, problem);
}

RUNTIME_API ExitStatus command_predict(const NetworkInfo *info, const Options *options,
                                       Problem *problem) {
    const char *input = option_text(options, OPTION_INPUT);
    const char *output = option_text(options, OPTION_OUTPUT);
    const bool one_class = info->output_size == network_classes(info) && info->output_size > 1;
    size_t top = (size_t)option_integer(options, OPTION_TOP, output == NULL ? 1 : 0);
    Npy inputs = {0};
    if (top > 0 && !one_class) {
        problem_add(problem,
                    "predict: this network's outputs are not one score per class; write "
                    "them to a file with --output");
        return EXIT_STATUS_USAGE;
    }
    Network *network = command_create_network(info, options, problem);
    bool good = network != NULL && npy_read(input, &inputs, problem) &&
                data_npy_check_inputs(input, &inputs, info, problem);
    if (good) {
        good = output != NULL ? command_predict_write(network, &inputs, top, output, problem)
                              : command_predict_run(network, &inputs, top, NULL, problem);
    }
    npy_free(&inputs);
    network_free(network);
    return good ? EXIT_STATUS_DONE : EXIT_STATUS_FAILED;
}
