#include "command.h"
#include "optimizer.h"
#include "parallel.h"

#include <string.h>

static void command_info_layers(const NetworkInfo *info) {
    double parameters = 0, macs = 0, flops = 0;
    int name = 5, kind = 4, output = 6;
    for (int i = 0; i < info->layer_count; i++) {
        const LayerInfo *layer = &info->layers[i];
        name = (int)strlen(layer->name) > name ? (int)strlen(layer->name) : name;
        kind = (int)strlen(layer->kind) > kind ? (int)strlen(layer->kind) : kind;
        output = (int)strlen(layer->output) > output ? (int)strlen(layer->output) : output;
    }
    printf("\n%-*s  %-*s  %-*s  %12s  %14s  %14s\n", name, "layer", kind, "kind", output, "output",
           "parameters", "macs", "flops");
    for (int i = 0; i < info->layer_count; i++) {
        const LayerInfo *layer = &info->layers[i];
        printf("%-*s  %-*s  %-*s  %12.0f  %14.0f  %14.0f\n", name, layer->name, kind, layer->kind,
               output, layer->output, layer->parameters, layer->macs, layer->flops);
        parameters += layer->parameters;
        macs += layer->macs;
        flops += layer->flops;
    }
    printf("%-*s  %-*s  %-*s  %12.0f  %14.0f  %14.0f\n", name, "total", kind, "", output, "",
           parameters, macs, flops);
}

RUNTIME_API ExitStatus command_info(const NetworkInfo *info, const Options *options,
                                    Problem *problem) {
    const double megabyte = 1e6;
    NetworkMemory memory = network_memory(info);
    size_t parameters = 0;
    char input[128], output[128];
    (void)options;
    (void)problem;
    network_shape_text(info->input_dims, info->input_rank, input, sizeof input);
    network_shape_text(info->output_dims, info->output_rank, output, sizeof output);
    for (int i = 0; i < info->parameter_tensors; i++) {
        parameters += info->parameters[i].size;
    }
    printf("network       %s\n", info->name);
    printf("input         %s\n", input);
    printf("output        %s\n", output);
    printf("parameters    %zu in %d tensors\n", parameters, info->parameter_tensors);
    printf("numbers       %s\n", REAL_NAME);
    printf("largest batch %d\n", info->max_batch);
    printf("compiled for  %s, %s\n", info->target,
           info->trainable ? "training and inference" : "inference only");
    printf("threads       %d\n", parallel_threads());
    printf("compiler      cnnc %s%s%s\n", info->version, info->options[0] != '\0' ? " " : "",
           info->options);
    command_info_layers(info);
    printf("\nmemory        parameters %.2f MB, activations, gradients and scratch %.2f MB",
           memory.parameters / megabyte, memory.arena / megabyte);
    if (info->trainable) {
        printf(", optimizer (%s) %.2f MB", optimizer_find(info->train.optimizer)->name,
               memory.optimizer / megabyte);
    }
    printf("\n");
    return EXIT_STATUS_DONE;
}
