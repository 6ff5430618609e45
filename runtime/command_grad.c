#include "command.h"
#include "data_formats.h"
#include "optimizer.h"
#include "rng.h"
#include "weights.h"

#include <stdlib.h>

/* One batch from --input and --target. */
typedef struct GradBatch {
    Npy inputs, targets;
    int size;
} GradBatch;

static bool command_grad_read(const NetworkInfo *info, const Options *options, GradBatch *batch,
                              Problem *problem) {
    const char *input = option_text(options, OPTION_INPUT);
    const char *target = option_text(options, OPTION_TARGET);
    *batch = (GradBatch){0};
    if (!npy_read(input, &batch->inputs, problem) || !npy_read(target, &batch->targets, problem) ||
        !data_npy_check_inputs(input, &batch->inputs, info, problem) ||
        !data_npy_check_targets(target, &batch->targets, info, problem)) {
        return false;
    }
    size_t count = batch->inputs.dims[0];
    if (count != batch->targets.dims[0]) {
        return problem_add(problem, "%s has %zu examples, but %s has %zu", input, count, target,
                           batch->targets.dims[0]);
    }
    if (count < 1 || count > (size_t)info->max_batch) {
        return problem_add(problem,
                           "%s: expected 1 to %d examples (the largest batch that this program "
                           "was compiled for), found %zu",
                           input, info->max_batch, count);
    }
    batch->size = (int)count;
    return true;
}

static void command_grad_free(GradBatch *batch) {
    npy_free(&batch->inputs);
    npy_free(&batch->targets);
}

/* Puts the batch into the network, runs forward_training and backward, returns the mean loss. */
static double command_grad_run(Network *network, const GradBatch *batch) {
    const NetworkInfo *info = network->info;
    const size_t targets = (size_t)batch->size * info->target_size;
    double sum = 0;
    elements_to_real(batch->inputs.type, batch->inputs.data, (size_t)batch->size * info->input_size,
                     network->arena + info->input_offset);
    if (info->target_is_label) {
        elements_to_labels(batch->targets.type, batch->targets.data, targets, network->labels);
    } else {
        elements_to_real(batch->targets.type, batch->targets.data, targets, network->targets);
    }
    network_train(network, batch->size);
    for (int n = 0; n < batch->size; n++) {
        sum += network->losses[n];
    }
    return sum / batch->size;
}

/* The gradients under their parameters' names, and `input`. */
static bool command_grad_save(const Network *network, int batch, const char *path,
                              Problem *problem) {
    const NetworkInfo *info = network->info;
    SafeTensorSource *sources = calloc((size_t)info->parameter_tensors + 1, sizeof *sources);
    size_t count = 0;
    if (sources == NULL) {
        return problem_out_of_memory(problem, path);
    }
    for (int i = 0; i < info->parameter_tensors; i++) {
        const ParameterInfo *parameter = &info->parameters[i];
        if (parameter->trainable) {
            weights_describe(parameter, "", network->gradients + parameter->offset,
                             &sources[count++]);
        }
    }
    SafeTensorSource *input = &sources[count++];
    snprintf(input->name, sizeof input->name, "input");
    input->rank = info->input_rank + 1;
    input->dims[0] = (size_t)batch;
    for (int i = 0; i < info->input_rank; i++) {
        input->dims[i + 1] = (size_t)info->input_dims[i];
    }
    input->data = network->arena + info->input_gradient_offset;
    bool good = safetensors_write(path, sources, count, NULL, 0, problem);
    free(sources);
    return good;
}

static bool command_grad_save_output(const Network *network, int batch, const char *path,
                                     Problem *problem) {
    const NetworkInfo *info = network->info;
    size_t dims[MAX_TENSOR_RANK + 1] = {(size_t)batch};
    FileWriter writer;
    for (int i = 0; i < info->output_rank; i++) {
        dims[i + 1] = (size_t)info->output_dims[i];
    }
    if (!file_writer_open(&writer, path, problem)) {
        return false;
    }
    npy_write_header(&writer, info->output_rank + 1, dims);
    elements_write_reals(&writer, network->arena + info->output_offset,
                         (size_t)batch * info->output_size);
    return file_writer_commit(&writer, problem);
}

RUNTIME_API ExitStatus command_grad(const NetworkInfo *info, const Options *options,
                                    Problem *problem) {
    const char *output = option_text(options, OPTION_OUTPUT);
    GradBatch batch = {0};
    Network *network = command_create_network(info, options, problem);
    bool good = network != NULL && network_keep_gradients(network, problem) &&
                command_grad_read(info, options, &batch, problem);
    if (good) {
        network->random_layers = 0;
        double loss = command_grad_run(network, &batch);
        good =
            network_backward_input(network, batch.size, problem) &&
            command_grad_save(network, batch.size, option_text(options, OPTION_GRADS), problem) &&
            (output == NULL || command_grad_save_output(network, batch.size, output, problem));
        printf("loss %.9g\n", loss);
    }
    command_grad_free(&batch);
    network_free(network);
    return good ? EXIT_STATUS_DONE : EXIT_STATUS_FAILED;
}

RUNTIME_API ExitStatus command_step(const NetworkInfo *info, const Options *options,
                                    Problem *problem) {
    const uint64_t steps = option_integer(options, OPTION_STEPS, 0);
    TrainSettings settings = info->train;
    GradBatch batch = {0};
    settings.seed = command_seed(info, options);
    settings.learning_rate = option_number(options, OPTION_LR, settings.learning_rate);
    Network *network = command_create_network(info, options, problem);
    bool good = network != NULL && command_grad_read(info, options, &batch, problem) &&
                optimizer_create_state(network, &settings, problem);
    if (good) {
        network->random_layers = option_given(options, OPTION_RANDOM);
        for (uint64_t step = 0; step < steps; step++) {
            network->random_key = random_key(settings.seed, RANDOM_TRAINING_STEP, step);
            optimizer_begin_step(network, &settings, settings.learning_rate, step + 1);
            printf("%.9g\n", command_grad_run(network, &batch));
        }
        good = weights_save(network, option_text(options, OPTION_OUT_FILE), problem);
    }
    command_grad_free(&batch);
    network_free(network);
    return good ? EXIT_STATUS_DONE : EXIT_STATUS_FAILED;
}
