/* Finite differences: for a sample of the elements of every trainable tensor and of the input, the
 * central difference (L(x+h) - L(x-h))/2h of the mean loss is compared with the gradient. Where
 * they disagree a kink (ReLU, maximum) may lie nearby, and h is halved. An element is wrong if they
 * never agree although the differences settle; where the differences do not even agree with each
 * other, the element says nothing: it is skipped and counted. */
#include "command.h"
#include "initialise.h"
#include "rng.h"
#include "weights.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define GRADCHECK_BATCH 3
#define GRADCHECK_SAMPLES 12
/* Parameters are moved a little from their initial values, so that biases of 0 behind a dead ReLU
 * do not put the next one exactly on its kink. */
#define GRADCHECK_JITTER 0.05
#define GRADCHECK_HALVINGS 5
#ifdef CNNC_DOUBLE
#define GRADCHECK_STEP 1e-5
#define GRADCHECK_TOLERANCE 1e-5
#define GRADCHECK_AGREEMENT 1e-5
#else
#define GRADCHECK_STEP 8e-3
#define GRADCHECK_TOLERANCE 5e-2
#define GRADCHECK_AGREEMENT 2e-2
#endif
/* Rounding errors of the loss, in units of its last place. */
#define GRADCHECK_NOISE 8
/* Errors count relative to this part of the tensor's largest gradient at least. */
#define GRADCHECK_FLOOR 0.01

typedef struct GradCheck {
    Network *network;
    int batch;
    size_t input_count;
    real *inputs;    /* the batch */
    real *gradients; /* of all parameters, then of the input */
    double loss;
} GradCheck;

typedef struct GradCheckResult {
    int checked, skipped;
    double error; /* largest relative one */
    bool good;    /* all within the tolerance, or what rounding explains */
} GradCheckResult;

static double gradcheck_loss(GradCheck *check) {
    Network *network = check->network;
    const NetworkInfo *info = network->info;
    double sum = 0;
    memcpy(network->arena + info->input_offset, check->inputs, check->input_count * sizeof(real));
    network_train(network, check->batch);
    for (int n = 0; n < check->batch; n++) {
        sum += network->losses[n];
    }
    return sum / check->batch;
}

static void gradcheck_fill(GradCheck *check, const Options *options) {
    Network *network = check->network;
    const NetworkInfo *info = network->info;
    const uint64_t seed = command_seed(info, options);
    const uint64_t key = random_key(seed, RANDOM_GRADIENT_CHECK, 0);
    const size_t targets = (size_t)check->batch * info->target_size;
    if (!option_given(options, OPTION_WEIGHTS)) {
        initialise_parameters(network, seed);
        for (int i = 0; i < info->parameter_tensors; i++) {
            const ParameterInfo *parameter = &info->parameters[i];
            const Layout layout = weights_layout(parameter);
            real *data = network_write_parameter(network, parameter);
            for (size_t k = 0; parameter->trainable && k < parameter->size; k++) {
                if (weights_connected(parameter, k)) {
                    data[layout_place(&layout, k)] +=
                        (real)(GRADCHECK_JITTER * random_gaussian(key, 0, parameter->offset + k));
                }
            }
        }
    }
    for (size_t i = 0; i < check->input_count; i++) {
        check->inputs[i] = (real)random_gaussian(key, 1, i);
    }
    for (size_t i = 0; i < targets; i++) {
        if (info->target_is_label) {
            network->labels[i] = (int32_t)(random_bits(key, 2, i) % network_classes(info));
        } else {
            network->targets[i] = (real)random_gaussian(key, 2, i);
        }
    }
    network->random_layers = 0;
}

static double gradcheck_difference(GradCheck *check, real *at, double step) {
    const real before = *at;
    const real above = (real)((double)before + step), below = (real)((double)before - step);
    *at = above;
    double loss = gradcheck_loss(check);
    *at = below;
    loss -= gradcheck_loss(check);
    *at = before;
    return loss / ((double)above - (double)below);
}

typedef enum GradCheckVerdict {
    GRADCHECK_GOOD,
    GRADCHECK_WRONG,
    GRADCHECK_SKIPPED
} GradCheckVerdict;

/* Compares one element's gradient with differences; `floor` is the least magnitude that errors are
 * measured against. *error becomes the relative error of the last difference. */
static GradCheckVerdict gradcheck_element(GradCheck *check, real *at, double gradient, double floor,
                                          double *error) {
    double step = GRADCHECK_STEP * fmax(1, fabs((double)*at)), before = 0;
    bool settled = false;
    for (int i = 0; i <= GRADCHECK_HALVINGS; i++) {
        double numeric = gradcheck_difference(check, at, step);
        double noise = GRADCHECK_NOISE * REAL_EPSILON * fmax(1, fabs(check->loss)) / step;
        double scale = fmax(fmax(fabs(numeric), fabs(gradient)), floor);
        double difference = fabs(numeric - gradient);
        *error = difference > 0 ? difference / fmax(scale, REAL_EPSILON) : difference;
        if (difference <= GRADCHECK_TOLERANCE * scale + noise) {
            return GRADCHECK_GOOD;
        }
        settled = i > 0 && fabs(numeric - before) <= GRADCHECK_AGREEMENT * scale + noise;
        before = numeric;
        step /= 2;
    }
    return settled || !isfinite(before) ? GRADCHECK_WRONG : GRADCHECK_SKIPPED;
}

/* `parameter` is NULL for the input. Weights that do not exist are left alone: they stay 0. */
static GradCheckResult gradcheck_tensor(GradCheck *check, const ParameterInfo *parameter,
                                        uint32_t number, real *values, const real *gradients,
                                        size_t size) {
    const uint64_t key = random_key(number, RANDOM_GRADIENT_CHECK, 1);
    const Layout layout = parameter != NULL ? weights_layout(parameter) : (Layout){.row = 0};
    GradCheckResult result = {.good = true};
    double largest = 0;
    for (size_t i = 0; i < size; i++) {
        largest = fmax(largest, fabs((double)gradients[layout_place(&layout, i)]));
    }
    for (size_t s = 0; s < GRADCHECK_SAMPLES && s < size; s++) {
        /* All elements of a small tensor, else one of each of equal parts. */
        size_t part = size / GRADCHECK_SAMPLES;
        size_t i = size <= GRADCHECK_SAMPLES ? s : s * part + random_bits(key, 0, s) % part;
        if (parameter != NULL && !weights_connected(parameter, i)) {
            continue;
        }
        double error;
        size_t place = layout_place(&layout, i);
        GradCheckVerdict verdict = gradcheck_element(
            check, &values[place], (double)gradients[place], GRADCHECK_FLOOR * largest, &error);
        result.checked += verdict != GRADCHECK_SKIPPED;
        result.skipped += verdict == GRADCHECK_SKIPPED;
        result.good = result.good && verdict != GRADCHECK_WRONG;
        if (verdict != GRADCHECK_SKIPPED && !(error <= result.error)) {
            result.error = error;
        }
    }
    return result;
}

static bool gradcheck_report(const char *name, int width, const GradCheckResult *result) {
    printf("%-*s  %7d  %7d  %12.3g  %s\n", width, name, result->checked, result->skipped,
           result->error,
           !result->good         ? "WRONG"
           : result->checked > 0 ? "ok"
                                 : "not checked");
    return result->good;
}

static bool gradcheck_run(GradCheck *check, Problem *problem) {
    Network *network = check->network;
    const NetworkInfo *info = network->info;
    int width = (int)strlen("tensor");
    bool good = true;
    check->loss = gradcheck_loss(check);
    if (!network_backward_input(network, check->batch, problem)) {
        return false;
    }
    memcpy(check->gradients, network->gradients, info->trainable_size * sizeof(real));
    memcpy(check->gradients + info->trainable_size, network->arena + info->input_gradient_offset,
           check->input_count * sizeof(real));
    for (int i = 0; i < info->parameter_tensors; i++) {
        int length = (int)strlen(info->parameters[i].name);
        width = length > width ? length : width;
    }
    printf("loss %.9g, batch %d, %s, tolerance %g relative\n\n", check->loss, check->batch,
           REAL_NAME, GRADCHECK_TOLERANCE);
    printf("%-*s  %7s  %7s  %12s\n", width, "tensor", "checked", "skipped", "error");
    for (int i = 0; i < info->parameter_tensors; i++) {
        const ParameterInfo *parameter = &info->parameters[i];
        if (parameter->trainable) {
            GradCheckResult result = gradcheck_tensor(
                check, parameter, (uint32_t)i, network->parameters + parameter->offset,
                check->gradients + parameter->offset, parameter->size);
            good = gradcheck_report(parameter->name, width, &result) && good;
        }
    }
    GradCheckResult result =
        gradcheck_tensor(check, NULL, (uint32_t)info->parameter_tensors, check->inputs,
                         check->gradients + info->trainable_size, check->input_count);
    good = gradcheck_report("input", width, &result) && good;
    return good || problem_add(problem, "some gradients are out of tolerance");
}

RUNTIME_API ExitStatus command_gradcheck(const NetworkInfo *info, const Options *options,
                                         Problem *problem) {
    GradCheck check = {.network = command_create_network(info, options, problem),
                       .batch =
                           info->max_batch < GRADCHECK_BATCH ? info->max_batch : GRADCHECK_BATCH};
    bool good = false;
    check.input_count = (size_t)check.batch * info->input_size;
    check.inputs = network_allocate(check.input_count, sizeof(real));
    check.gradients = network_allocate(info->trainable_size + check.input_count, sizeof(real));
    if (check.inputs == NULL || check.gradients == NULL) {
        problem_out_of_memory(problem, "the gradients");
    } else if (check.network != NULL && network_keep_gradients(check.network, problem)) {
        gradcheck_fill(&check, options);
        good = gradcheck_run(&check, problem);
    }
    network_release(check.inputs);
    network_release(check.gradients);
    network_free(check.network);
    return good ? EXIT_STATUS_DONE : EXIT_STATUS_FAILED;
}
