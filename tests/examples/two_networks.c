/* Two networks in one program, two instances of each: training one leaves the others alone, and
 * both instances of a network agree when they are treated alike. Prints what does not hold. */
#include "lenet5.h"
#include "resnet_small.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

static void expect(int holds, const char *what) {
    if (!holds) {
        printf("%s\n", what);
        failures++;
    }
}

/* The same numbers for every run, about -1 to 1. */
static void fill(float *numbers, size_t count) {
    uint32_t state = 12345;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525 + 1013904223;
        numbers[i] = (float)(state >> 8) / 8388608.0f - 1;
    }
}

#define BATCH 4

#define CHECK_NETWORK(name, rate)                                                                  \
    static void check_##name(void) {                                                               \
        const size_t inputs = BATCH * name##_input_size(), outputs = BATCH * name##_output_size(); \
        float *x = malloc(inputs * sizeof *x);                                                     \
        float *before = malloc(outputs * sizeof *before),                                          \
              *after = malloc(outputs * sizeof *after);                                            \
        const int32_t labels[BATCH] = {1, 3, 0, 2};                                                \
        double first = 0, last = 0;                                                                \
        name##_instance *trained = name##_create(), *other = name##_create();                      \
        expect(x &&before &&after &&trained &&other, #name ": memory");                            \
        fill(x, inputs);                                                                           \
        expect(name##_initialise(trained, 1) == name##_ok, #name ": initialise");                  \
        expect(name##_initialise(other, 1) == name##_ok, #name ": initialise");                    \
        expect(name##_forward(other, x, BATCH, before) == name##_ok, #name ": forward");           \
        expect(name##_train_step(trained, x, labels, NULL, BATCH, rate, &first) == name##_ok,      \
               #name ": train_step");                                                              \
        for (int step = 0; step < 20; step++)                                                      \
            name##_train_step(trained, x, labels, NULL, BATCH, rate, &last);                       \
        expect(last < first, #name ": the loss does not fall");                                    \
        expect(name##_forward(other, x, BATCH, after) == name##_ok, #name ": forward");            \
        expect(memcmp(before, after, outputs * sizeof *after) == 0,                                \
               #name ": training one instance changed the other");                                 \
        expect(name##_save(trained, #name ".safetensors") == name##_ok, #name ": save");           \
        expect(name##_load(other, #name ".safetensors") == name##_ok, #name ": load");             \
        name##_forward(trained, x, BATCH, before);                                                 \
        name##_forward(other, x, BATCH, after);                                                    \
        expect(memcmp(before, after, outputs * sizeof *after) == 0,                                \
               #name ": loaded weights give other outputs");                                       \
        expect(name##_load(other, "none.safetensors") == name##_error_file, #name ": no file");    \
        expect(strstr(name##_message(other), "none.safetensors") != NULL, #name ": message");      \
        expect(name##_train_step(other, x, labels, NULL, 0, rate, NULL) == name##_error_argument,  \
               #name ": batch of 0");                                                              \
        expect(name##_parameter_count() > 0, #name ": parameter_count");                           \
        expect(name##_parameter_name(-1) == NULL, #name ": parameter of index -1");                \
        name##_destroy(trained);                                                                   \
        name##_destroy(other);                                                                     \
        name##_destroy(NULL);                                                                      \
        free(x);                                                                                   \
        free(before);                                                                              \
        free(after);                                                                               \
    }

CHECK_NETWORK(lenet5, 0.01)
CHECK_NETWORK(resnet_small, 0.01)

int main(void) {
    check_lenet5();
    check_resnet_small();
    return failures ? 1 : 0;
}
