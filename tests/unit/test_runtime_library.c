/* The library interface of the skeleton's network: what a program that embeds one sees. */
#define CNNC_NO_MAIN
#include "skeleton.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void fill_batch(real *input, int32_t *labels, int count) {
    for (int n = 0; n < count; n++) {
        labels[n] = n % CLASSES;
        for (int i = 0; i < INPUTS; i++) {
            input[n * INPUTS + i] = (real)(i % CLASSES == labels[n]) - (real)0.1 * (real)(n % 3);
        }
    }
}

static void shapes_and_names(void **state) {
    (void)state;
    assert_int_equal(toy_input_rank(), 3);
    assert_int_equal(toy_input_dims()[2], 8);
    assert_int_equal(toy_output_rank(), 1);
    assert_int_equal(toy_output_dims()[0], CLASSES);
    assert_int_equal(toy_input_size(), INPUTS);
    assert_int_equal(toy_output_size(), CLASSES);
    assert_int_equal(toy_max_batch(), BATCH);
    assert_int_equal(toy_target_is_label(), 1);
    assert_int_equal(toy_target_size(), 1);
    assert_int_equal(toy_parameter_count(), 4);
    assert_string_equal(toy_parameter_name(2), "fc2.weight");
    assert_int_equal(toy_parameter_rank(2), 2);
    assert_int_equal(toy_parameter_dims(2)[1], HIDDEN);
    assert_null(toy_parameter_name(4));
    assert_null(toy_parameter_name(-1));
    assert_null(toy_parameter_dims(4));
    assert_int_equal(toy_parameter_rank(4), 0);
}

static void training_learns(void **state) {
    real input[BATCH * INPUTS], output[2 * CLASSES];
    int32_t labels[BATCH];
    double first = 0, last = 0;
    (void)state;
    fill_batch(input, labels, BATCH);
    toy_instance *instance = toy_create();
    assert_int_equal(toy_initialise(instance, 3), toy_ok);
    assert_int_equal(toy_train_step(instance, input, labels, NULL, BATCH, 0.1, &first), toy_ok);
    for (int step = 0; step < 30; step++) {
        assert_int_equal(toy_train_step(instance, input, labels, NULL, BATCH, 0.1, &last), toy_ok);
    }
    assert_true(last < first / 10);
    assert_int_equal(toy_forward(instance, input, 2, output), toy_ok);
    assert_true(output[0] > output[1] && output[CLASSES + 1] > output[CLASSES]);
    toy_destroy(instance);
    toy_destroy(NULL);
}

static void two_instances_side_by_side(void **state) {
    enum { MANY = 2 * BATCH + 5 };
    static real input[MANY * INPUTS], output[MANY * CLASSES], other[MANY * CLASSES];
    static int32_t labels[MANY];
    (void)state;
    fill_batch(input, labels, MANY);
    toy_instance *a = toy_create(), *b = toy_create();
    toy_initialise(a, 1);
    toy_initialise(b, 2);
    toy_forward(a, input, MANY, output);
    toy_forward(b, input, MANY, other);
    assert_memory_not_equal(output, other, sizeof output);
    assert_int_equal(toy_save(a, "library.st"), toy_ok);
    assert_int_equal(toy_load(b, "library.st"), toy_ok);
    toy_forward(b, input, MANY, other);
    assert_memory_equal(output, other, sizeof output);
    /* One example at a time gives the same. */
    for (int n = 0; n < MANY; n++) {
        toy_forward(b, input + n * INPUTS, 1, other + n * CLASSES);
    }
    assert_memory_equal(output, other, sizeof output);
    toy_destroy(a);
    toy_destroy(b);
    remove("library.st");
}

static void parameters_are_read_and_written(void **state) {
    real input[INPUTS] = {0}, before[CLASSES], after[CLASSES], bias[CLASSES],
         weights[CLASSES * HIDDEN];
    (void)state;
    toy_instance *instance = toy_create();
    toy_initialise(instance, 1);
    assert_int_equal(toy_parameter_size(2), CLASSES * HIDDEN);
    assert_int_equal(toy_parameter_size(4), 0);
    assert_int_equal(toy_get_parameter(instance, 2, weights), toy_ok);
    assert_memory_equal(weights, instance->network->parameters + FC2_WEIGHT, sizeof weights);
    assert_int_equal(toy_get_parameter(instance, 3, bias), toy_ok);
    toy_forward(instance, input, 1, before);
    bias[1] += 1;
    assert_int_equal(toy_set_parameter(instance, 3, bias), toy_ok);
    toy_forward(instance, input, 1, after);
    assert_true(after[1] == before[1] + 1 && after[0] == before[0]);
    assert_int_equal(toy_get_parameter(instance, 4, bias), toy_error_argument);
    assert_int_equal(toy_set_parameter(instance, -1, bias), toy_error_argument);
    assert_non_null(strstr(toy_message(instance), "index -1"));
    toy_destroy(instance);
}

static void failures_have_codes_and_messages(void **state) {
    real input[INPUTS] = {0};
    const int32_t good = 0, bad = CLASSES;
    (void)state;
    toy_instance *instance = toy_create();
    assert_string_equal(toy_message(instance), "");
    assert_int_equal(toy_load(instance, "no-such-file"), toy_error_file);
    assert_non_null(strstr(toy_message(instance), "no-such-file"));
    assert_int_equal(toy_save(instance, "no/such/directory"), toy_error_file);
    assert_int_equal(toy_train_step(instance, input, &good, NULL, 0, 0.1, NULL),
                     toy_error_argument);
    assert_int_equal(toy_train_step(instance, input, &good, NULL, BATCH + 1, 0.1, NULL),
                     toy_error_argument);
    assert_int_equal(toy_train_step(instance, input, &bad, NULL, 1, 0.1, NULL), toy_error_argument);
    assert_non_null(strstr(toy_message(instance), "label 4"));
    assert_int_equal(toy_train_step(instance, input, NULL, input, 1, 0.1, NULL),
                     toy_error_argument);
    assert_int_equal(toy_train_step(instance, input, &good, NULL, 1, 0.1, NULL), toy_ok);
    assert_string_equal(toy_message(instance), "");
    toy_destroy(instance);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_and_names),
        cmocka_unit_test(training_learns),
        cmocka_unit_test(two_instances_side_by_side),
        cmocka_unit_test(parameters_are_read_and_written),
        cmocka_unit_test(failures_have_codes_and_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
