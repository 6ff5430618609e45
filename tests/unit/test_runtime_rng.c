/* The random generator: known answers of Philox4x32-10, ranges, moments, permutations. */
#include "initialise.h"
#include "rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The known answers that come with the authors' Random123 library. */
static void known_answers(void **state) {
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } rows[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t out[4];
        random_block(rows[i].counter, rows[i].key, out);
        assert_memory_equal(out, rows[i].out, sizeof out);
    }
}

static void bits_are_the_words_of_blocks(void **state) {
    (void)state;
    for (uint64_t counter = 0; counter < 64; counter++) {
        uint32_t words[4];
        random_words(7, 3, counter / 4, words);
        assert_int_equal(random_bits(7, 3, counter), words[counter % 4]);
    }
    assert_int_not_equal(random_bits(7, 3, 0), random_bits(7, 4, 0));
    assert_int_not_equal(random_bits(7, 3, 0), random_bits(8, 3, 0));
    assert_true(random_key(1, RANDOM_EPOCH_ORDER, 0) != random_key(1, RANDOM_TRAINING_STEP, 0));
    assert_true(random_key(1, RANDOM_EPOCH_ORDER, 0) != random_key(1, RANDOM_EPOCH_ORDER, 1));
}

static void uniform_fills_its_interval(void **state) {
    enum { COUNT = 100000 };
    double sum = 0, low = 1, high = 0;
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        double x = (double)random_uniform(11, 0, (uint64_t)i);
        sum += x;
        low = x < low ? x : low;
        high = x > high ? x : high;
    }
    assert_true(low >= 0 && low < 1e-3 && high < 1 && high > 1 - 1e-3);
    assert_true(fabs(sum / COUNT - 0.5) < 5e-3);
}

static void gaussian_has_its_moments(void **state) {
    enum { COUNT = 100000 };
    double sum = 0, squares = 0, fourth = 0, neighbours = 0, before = 0;
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        double x = random_gaussian(12, 5, (uint64_t)i);
        assert_true(isfinite(x));
        sum += x;
        squares += x * x;
        fourth += x * x * x * x;
        neighbours += x * before;
        before = x;
    }
    assert_true(fabs(sum / COUNT) < 0.02);
    assert_true(fabs(squares / COUNT - 1) < 0.03);
    assert_true(fabs(fourth / COUNT - 3) < 0.2);
    assert_true(fabs(neighbours / COUNT) < 0.02);
}

static void permutation_has_everything_once(void **state) {
    enum { COUNT = 1000 };
    size_t order[COUNT], other[COUNT], displaced = 0;
    char seen[COUNT] = {0};
    (void)state;
    random_permutation(3, COUNT, order);
    random_permutation(4, COUNT, other);
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(order[i] < COUNT && !seen[order[i]]);
        seen[order[i]] = 1;
        displaced += order[i] != i;
    }
    assert_true(displaced > COUNT / 2);
    assert_memory_not_equal(order, other, sizeof order);
    random_permutation(3, COUNT, other);
    assert_memory_equal(order, other, sizeof order);
    random_permutation(3, 1, order);
    assert_int_equal(order[0], 0);
}

/* Every order of three things comes up about equally often. */
static void permutation_is_uniform(void **state) {
    enum { COUNT = 6000 };
    int times[27] = {0};
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        size_t order[3];
        random_permutation(random_key(9, RANDOM_EPOCH_ORDER, (uint64_t)i), 3, order);
        times[order[0] * 9 + order[1] * 3 + order[2]]++;
    }
    for (int i = 0; i < 27; i++) {
        assert_true(times[i] == 0 || (times[i] > 850 && times[i] < 1150));
    }
}

static void initial_weights_follow_their_initialisers(void **state) {
    static const unsigned char connections[4] = {1, 0, 0, 1};
    static const ParameterInfo parameters[] = {
        {"a.weight", 2, {100, 100}, 1, 100, 0, 10000, 1, INITIAL_GAUSSIAN, 0.5, NULL},
        {"a.bias", 1, {8}, 1, 1, 10000, 8, 1, INITIAL_CONSTANT, 0.25, NULL},
        {"b.weight", 2, {100, 100}, 1, 100, 10008, 10000, 1, INITIAL_UNIFORM, 2, NULL},
        {"c.weight", 3, {2, 2, 3}, 1, 6, 20008, 12, 1, INITIAL_CONSTANT, 1, connections},
    };
    static const NetworkInfo info = {
        .max_batch = 1, .parameter_tensors = 4, .parameters = parameters, .parameter_size = 20020};
    static Problem problem;
    double squares = 0, high = 0;
    (void)state;
    Network *network = network_create(&info, &problem), *again = network_create(&info, &problem);
    initialise_parameters(network, 5);
    initialise_parameters(again, 5);
    assert_memory_equal(network->parameters, again->parameters, 20020 * sizeof(real));
    for (int i = 0; i < 10000; i++) {
        squares += (double)network->parameters[i] * (double)network->parameters[i];
        high = fmax(high, fabs((double)network->parameters[10008 + i]));
    }
    assert_true(fabs(sqrt(squares / 10000) - 0.5) < 0.02);
    assert_true(high <= 2 && high > 1.99);
    assert_true(network->parameters[10003] == (real)0.25);
    for (int i = 0; i < 12; i++) {
        assert_true(network->parameters[20008 + i] == (real)(connections[i / 3]));
    }
    initialise_parameters(again, 6);
    assert_memory_not_equal(network->parameters, again->parameters, 20020 * sizeof(real));
    network_free(network);
    network_free(again);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(bits_are_the_words_of_blocks),
        cmocka_unit_test(uniform_fills_its_interval),
        cmocka_unit_test(gaussian_has_its_moments),
        cmocka_unit_test(permutation_has_everything_once),
        cmocka_unit_test(permutation_is_uniform),
        cmocka_unit_test(initial_weights_follow_their_initialisers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
