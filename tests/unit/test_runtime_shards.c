/* Shards of a batch: which examples they have, and what the optimizer makes of their gradients. */
#include "network.h"
#include "optimizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BATCH 64
/* Parameters: several shares of the optimizer's loop, the last one not full. */
#define COUNT 10000

static Problem problem;
static int visits[BATCH], largest[BATCH];

/* Shards run side by side, but no two have an example in common. */
static void visit(Network *network, const Shard *shard) {
    (void)network;
    largest[shard->number] = shard->batch;
    for (int i = 0; i < shard->batch; i++) {
        visits[shard->first + i] += shard->whole_batch;
    }
}

static NetworkInfo make_info(int shards, int block) {
    return (NetworkInfo){.name = "test",
                         .max_batch = BATCH,
                         .shards = shards,
                         .shard_block = block,
                         .trainable = 1,
                         .parameter_size = COUNT,
                         .trainable_size = COUNT};
}

static void every_example_is_in_one_shard(void **state) {
    (void)state;
    const int cuts[][2] = {{2, 16}, {4, 16}, {4, 4}, {8, 8}, {16, 4}};
    for (size_t k = 0; k < sizeof cuts / sizeof cuts[0]; k++) {
        const int shards = cuts[k][0], block = cuts[k][1];
        const NetworkInfo info = make_info(shards, block);
        Network *network = network_create(&info, &problem);
        for (int batch = 0; batch <= BATCH; batch++) {
            const int count = network_shard_count(&info, batch);
            memset(visits, 0, sizeof visits);
            network_run_shards(network, batch, visit);
            assert_in_range(count, batch > 0, shards);
            for (int i = 0; i < BATCH; i++) {
                assert_int_equal(visits[i], i < batch ? batch : 0);
            }
            for (int i = 0; i < count; i++) {
                assert_in_range(largest[i], 1, BATCH / shards);
                assert_true(i == count - 1 || largest[i] % block == 0);
            }
        }
        network_free(network);
    }
}

static real gradient_at(int shard, int i) {
    return (real)((i % 17) - 8 + shard * (i % 5));
}

/* Fills the gradients of the shards; those that the batch has not got hold what an earlier one
 * left. */
static void fill_gradients(const Network *network, real *sums, int used) {
    memset(sums, 0, COUNT * sizeof(real));
    for (int shard = 0; shard < network->info->shards; shard++) {
        real *gradients = network_shard_gradients(network, shard);
        assert_int_equal((uintptr_t)gradients % 64, 0);
        for (int i = 0; i < COUNT; i++) {
            gradients[i] = gradient_at(shard, i);
            sums[i] += shard < used ? gradients[i] : 0;
        }
    }
}

static void the_optimizer_gets_the_sums(void **state) {
    (void)state;
    const TrainSettings settings = {
        .optimizer = OPTIMIZER_SGD, .learning_rate = 0.25, .momentum = 0.5};
    const NetworkInfo info = make_info(4, 16);
    static real sums[COUNT];
    for (int batch = 16; batch <= BATCH; batch += 16) {
        Network *network = network_create(&info, &problem);
        Network *other = network_create(&info, &problem);
        assert_true(optimizer_create_state(network, &settings, &problem));
        assert_true(optimizer_create_state(other, &settings, &problem));
        for (uint64_t step = 1; step <= 2; step++) {
            optimizer_begin_step(network, &settings, settings.learning_rate, step);
            optimizer_begin_step(other, &settings, settings.learning_rate, step);
            fill_gradients(network, sums, batch / 16);
            optimizer_update_shards(network, batch);
            optimizer_update(other, other->parameters, sums, COUNT);
        }
        assert_memory_equal(network->parameters, other->parameters, COUNT * sizeof(real));
        assert_memory_equal(network->optimizer_state, other->optimizer_state, COUNT * sizeof(real));
        network_free(network);
        network_free(other);
    }
}

static void kept_gradients_are_the_sums(void **state) {
    (void)state;
    const NetworkInfo info = make_info(2, 16);
    static real sums[COUNT];
    Network *network = network_create(&info, &problem);
    assert_true(network_keep_gradients(network, &problem));
    fill_gradients(network, sums, 2);
    optimizer_update_shards(network, BATCH);
    assert_memory_equal(network->gradients, sums, COUNT * sizeof(real));
    network_free(network);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_example_is_in_one_shard),
                                       cmocka_unit_test(the_optimizer_gets_the_sums),
                                       cmocka_unit_test(kept_gradients_are_the_sums)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
