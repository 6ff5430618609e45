/* What forward prepares from parameters follows every change of them, and leaves them as they are.
 * Compiled with the library of one network, with and without training, and its type REAL. Prints
 * what does not hold. */
#include "resnet_small.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 3
#define FILE_NAME "folded.safetensors"

static int failures;
static REAL *input;

static void expect(int holds, const char *what) {
    if (!holds) {
        printf("%s\n", what);
        failures++;
    }
}

static void *allocate(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (memory == NULL)
        exit(2);
    return memory;
}

static resnet_small_instance *create(uint64_t seed) {
    resnet_small_instance *instance = resnet_small_create();
    if (instance == NULL)
        exit(2);
    resnet_small_initialise(instance, seed);
    return instance;
}

static REAL *outputs(resnet_small_instance *instance) {
    REAL *output = allocate(BATCH * resnet_small_output_size(), sizeof *output);
    expect(resnet_small_forward(instance, input, BATCH, output) == resnet_small_ok, "forward");
    return output;
}

/* Whether the instance's outputs are these, which are freed. */
static int gives(resnet_small_instance *instance, REAL *expected) {
    REAL *output = outputs(instance);
    int same = memcmp(output, expected, BATCH * resnet_small_output_size() * sizeof *output) == 0;
    free(output);
    free(expected);
    return same;
}

static int find(const char *name) {
    for (int i = 0; i < resnet_small_parameter_count(); i++)
        if (strcmp(resnet_small_parameter_name(i), name) == 0)
            return i;
    printf("no parameter %s\n", name);
    exit(2);
}

static void scale_parameter(resnet_small_instance *instance, const char *name, REAL factor) {
    int index = find(name);
    size_t size = resnet_small_parameter_size(index);
    REAL *values = allocate(size, sizeof *values);
    resnet_small_get_parameter(instance, index, values);
    for (size_t i = 0; i < size; i++)
        values[i] *= factor;
    resnet_small_set_parameter(instance, index, values);
    free(values);
}

static int same_parameters(resnet_small_instance *a, resnet_small_instance *b) {
    int same = 1;
    for (int i = 0; i < resnet_small_parameter_count(); i++) {
        size_t size = resnet_small_parameter_size(i);
        REAL *x = allocate(size, sizeof *x), *y = allocate(size, sizeof *y);
        resnet_small_get_parameter(a, i, x);
        resnet_small_get_parameter(b, i, y);
        same = same && memcmp(x, y, size * sizeof *x) == 0;
        free(x);
        free(y);
    }
    return same;
}

static void check_changes(void) {
    static const char *const names[] = {"bn1.running_var", "bn1.running_mean", "bn1.weight",
                                        "bn1.bias", "bn2.running_var"};
    resnet_small_instance *used = create(1);
    for (size_t changed = 0; changed < sizeof names / sizeof names[0]; changed++) {
        resnet_small_instance *fresh = create(1);
        /* Means and biases begin as zeros. */
        resnet_small_set_parameter(fresh, find("bn1.running_mean"), input);
        resnet_small_set_parameter(fresh, find("bn1.bias"), input + 1);
        if (changed == 0) {
            resnet_small_set_parameter(used, find("bn1.running_mean"), input);
            resnet_small_set_parameter(used, find("bn1.bias"), input + 1);
        }
        REAL *before = outputs(used);
        scale_parameter(used, names[changed], 3);
        expect(!gives(used, before), "a changed parameter changes nothing");
        for (size_t i = 0; i <= changed; i++)
            scale_parameter(fresh, names[i], 3);
        expect(same_parameters(used, fresh), "forward changes parameters");
        expect(gives(used, outputs(fresh)), "a fresh instance gives other outputs");
        resnet_small_destroy(fresh);
    }
    resnet_small_destroy(used);
}

static void check_files(void) {
    resnet_small_instance *saved = create(2), *loaded = create(3);
    scale_parameter(saved, "bn2.running_var", 5);
    free(outputs(saved));
    expect(resnet_small_save(saved, FILE_NAME) == resnet_small_ok, "save");
    for (int times = 0; times < 2; times++) {
        expect(resnet_small_load(loaded, FILE_NAME) == resnet_small_ok, "load");
        expect(gives(loaded, outputs(saved)), "loaded parameters give other outputs");
        expect(same_parameters(saved, loaded), "loaded parameters are others");
        resnet_small_initialise(loaded, 4);
        resnet_small_instance *fresh = create(4);
        expect(gives(loaded, outputs(fresh)), "initialised anew it gives other outputs");
        resnet_small_destroy(fresh);
    }
    resnet_small_destroy(saved);
    resnet_small_destroy(loaded);
}

static void check_training(void) {
    const int32_t labels[BATCH] = {1, 0, 2};
    resnet_small_instance *trained = create(5), *fresh = create(5);
    REAL *before = outputs(trained);
    if (resnet_small_train_step(trained, input, labels, NULL, BATCH, 0.01, NULL) ==
        resnet_small_ok) {
        expect(!gives(trained, before), "a step changes nothing");
        resnet_small_save(trained, FILE_NAME);
        resnet_small_load(fresh, FILE_NAME);
        expect(gives(trained, outputs(fresh)), "after a step a fresh instance gives other outputs");
    } else {
        free(before);
    }
    resnet_small_destroy(trained);
    resnet_small_destroy(fresh);
}

int main(void) {
    size_t count = BATCH * resnet_small_input_size();
    uint32_t state = 12345;
    input = allocate(count, sizeof *input);
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525 + 1013904223;
        input[i] = (REAL)(state >> 8) / 8388608 - 1;
    }
    check_changes();
    check_files();
    check_training();
    free(input);
    return failures ? 1 : 0;
}
