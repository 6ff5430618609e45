/* The memory plan: on hand-made and random sequences of calls nothing that lives together overlaps,
 * what does not shares memory, and sizes that cannot be counted are errors. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "plan.h"

enum { BATCH = 4, MAX_TENSORS = 60 };

typedef struct Fixture {
    Arena *arena;
    Diagnostics *diagnostics;
    Network network;
    Layer layer;
    Graph graph;
    Kernels *kernels;
    int slots; /* > 0: scratch is by slot */
} Fixture;

static Tensor *tensor(Fixture *f, TensorRole role, int64_t elements) {
    Tensor *made = ARENA_NEW(f->arena, Tensor);
    *made = (Tensor){.name = "tensor", .role = role, .type = TYPE_REAL, .per_example = true};
    made->elements = made->storage = elements;
    made->layer = &f->layer;
    made->offset = -1;
    return made;
}

static int set_up(void **state) {
    static Fixture fixture;
    Fixture *f = &fixture;
    memset(f, 0, sizeof *f);
    f->arena = arena_create();
    f->diagnostics = diagnostics_create(f->arena, sources_create(f->arena));
    f->layer = (Layer){.op = op_find("RELU"), .name = "relu1"};
    f->layer.output = (Shape){1, {8}};
    f->network.train.optimizer = OPTIMIZER_ADAM;
    f->network.layer_count = 1;
    f->graph.arena = f->arena;
    f->graph.network = &f->network;
    f->graph.infer_only = true;
    f->graph.input = tensor(f, TENSOR_INPUT, 16);
    f->graph.output = tensor(f, TENSOR_ACTIVATION, 16);
    f->kernels = kernels_create(f->arena, &f->network, BATCH);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    arena_free(((Fixture *)*state)->arena);
    return 0;
}

static Buffer *parameter(Fixture *f, Kernel *kernel, const char *name, Tensor *passed) {
    Buffer *buffer = ARENA_NEW(f->arena, Buffer);
    *buffer = (Buffer){.name = builder_reserve(&kernel->builder, name), .type = TYPE_REAL};
    buffer->tensor = passed;
    buffer->per_example = passed == NULL || passed->per_example;
    ARENA_GROW(f->arena, kernel->parameters, kernel->parameter_count, kernel->parameter_capacity);
    kernel->parameters[kernel->parameter_count++] = buffer;
    return buffer;
}

/* A call that writes one tensor from others, with some scratch memory (0: none). */
static void add_call(Fixture *f, ProgramId program, Tensor *result, Tensor *const *sources,
                     int count, int64_t scratch) {
    Kernel *kernel = ARENA_NEW(f->arena, Kernel);
    builder_init(&kernel->builder, f->arena, &kernel->body);
    Builder *b = &kernel->builder;
    Expr *zero = integer(b, 0), *sum = number(b, 1);
    for (int i = 0; i < count; i++)
        sum = plus(b, sum, load_at(b, parameter(f, kernel, "x", sources[i]), 1, &zero));
    if (scratch > 0) {
        Buffer *buffer = parameter(f, kernel, "scratch", NULL);
        buffer->scratch = true;
        buffer->scratch_size = scratch;
        buffer->slots = f->slots;
        buffer->by_slot = f->slots > 0;
        store_at(b, buffer, 1, &zero, sum, false);
        sum = load_at(b, buffer, 1, &zero);
    }
    store_at(b, parameter(f, kernel, "y", result), 1, &zero, sum, false);
    Group *group = ARENA_NEW(f->arena, Group);
    Node *node = ARENA_NEW(f->arena, Node);
    *node = (Node){.role = NODE_FORWARD, .op = f->layer.op, .layer = &f->layer, .y = result};
    node->x = ARENA_ARRAY(f->arena, Tensor *, (size_t)count);
    memcpy(node->x, sources, (size_t)count * sizeof *sources);
    node->input_count = count;
    node->input = (int)(scratch % INT_MAX); /* only calls with as much scratch are equal */
    ARENA_GROW(f->arena, group->nodes, group->count, group->capacity);
    group->nodes[group->count++] = node;
    Step *step = kernels_add_step(f->kernels, program, group);
    if (step->same_as == NULL)
        step_set_kernel(f->kernels, step, kernel);
}

static Plan *make_plan(Fixture *f, int64_t limit) {
    const PlanOptions options = {
        .max_batch = BATCH, .shards = 1, .slots = f->slots, .real_size = 4, .memory_limit = limit};
    kernels_share(f->kernels);
    return plan_memory(f->arena, &f->graph, f->kernels, &options, f->diagnostics);
}

/* input -> a -> b -> c -> output: a and c never live together. */
static void add_chain(Fixture *f, Tensor *links[3]) {
    Tensor *before = f->graph.input;
    for (int i = 0; i < 3; i++) {
        links[i] = tensor(f, TENSOR_ACTIVATION, 1000);
        add_call(f, PROGRAM_FORWARD, links[i], &before, 1, 0);
        before = links[i];
    }
    add_call(f, PROGRAM_FORWARD, f->graph.output, &before, 1, 0);
}

static void test_a_chain_needs_two_places(void **state) {
    Fixture *f = *state;
    Tensor *links[3];
    add_chain(f, links);
    Plan *plan = make_plan(f, 0);
    assert_non_null(plan);
    assert_true(plan_verify(plan, stderr));
    assert_int_equal(links[0]->offset, links[2]->offset);
    assert_int_not_equal(links[0]->offset, links[1]->offset);
    /* Input and output of 64 numbers each, and two links of 4000, rounded up to 64 bytes. */
    assert_int_equal(plan->arena_size, 64 + 64 + 2 * 4000);
    assert_int_equal(plan->peak_infer, 4 * plan->arena_size);
    assert_int_equal(plan->peak_train, 0);
    /* Equal kernels share one function. */
    assert_int_equal(f->kernels->function_count, 1);
    assert_string_equal(f->kernels->functions[0]->name, "relu_8");
}

static void test_views_and_unused_tensors_need_nothing(void **state) {
    Fixture *f = *state;
    Tensor *storage = tensor(f, TENSOR_ACTIVATION, 100), *view = tensor(f, TENSOR_ACTIVATION, 100);
    view->view_of = storage;
    add_call(f, PROGRAM_FORWARD, storage, &f->graph.input, 1, 0);
    add_call(f, PROGRAM_FORWARD, f->graph.output, &view, 1, 0);
    Plan *plan = make_plan(f, 0);
    assert_non_null(plan);
    assert_true(plan_verify(plan, stderr));
    assert_int_equal(plan->placement_count, 3);
}

static void test_outputs_of_both_sequences_share_a_place(void **state) {
    Fixture *f = *state;
    f->graph.infer_only = false;
    f->graph.training_output = tensor(f, TENSOR_ACTIVATION, 16);
    f->graph.parameter_size = f->graph.trainable_size = 10;
    Tensor *saved = tensor(f, TENSOR_ACTIVATION, 500);
    add_call(f, PROGRAM_FORWARD, f->graph.output, &f->graph.input, 1, 0);
    add_call(f, PROGRAM_FORWARD_TRAINING, saved, &f->graph.input, 1, 700);
    add_call(f, PROGRAM_FORWARD_TRAINING, f->graph.training_output, &saved, 1, 0);
    Plan *plan = make_plan(f, 0);
    assert_non_null(plan);
    assert_true(plan_verify(plan, stderr));
    assert_int_equal(f->graph.output->offset, f->graph.training_output->offset);
    assert_int_equal(plan->parameters, 40);
    assert_int_equal(plan->optimizer, 80); /* Adam keeps two numbers for each */
    assert_int_equal(plan->peak_train, 40 + 80 + plan->sequence_bytes[SEQUENCE_TRAINING]);
    assert_int_equal(plan->scratch, 4 * 4 * 700);
}

/* Every slot has the same place for all kernels, where no tensor ever lies. */
static void test_scratch_by_slot_has_a_region(void **state) {
    Fixture *f = *state;
    Tensor *link = tensor(f, TENSOR_ACTIVATION, 1000);
    f->slots = 3;
    add_call(f, PROGRAM_FORWARD, link, &f->graph.input, 1, 500);
    add_call(f, PROGRAM_FORWARD, f->graph.output, &link, 1, 700);
    Plan *plan = make_plan(f, 0);
    assert_non_null(plan);
    assert_true(plan_verify(plan, stderr));
    const int64_t fixed = 2 * 4 * 4 * 16;
    assert_int_equal(plan->slot_bytes, BATCH * 4 * 700);
    assert_int_equal(plan->scratch, 3 * plan->slot_bytes);
    int pieces = 0;
    for (int i = 0; i < plan->placement_count; i++)
        if (plan->placements[i]->by_slot) {
            assert_int_equal(plan->placements[i]->offset, fixed);
            pieces++;
        }
    assert_int_equal(pieces, 2);
    assert_int_equal(4 * link->offset, fixed + 3 * plan->slot_bytes);
}

/* What only backward_input needs comes behind the rest and counts nowhere else. */
static void test_the_input_gradient_counts_apart(void **state) {
    Fixture *f = *state;
    f->graph.infer_only = false;
    f->graph.training_output = tensor(f, TENSOR_ACTIVATION, 16);
    f->graph.input_gradient = tensor(f, TENSOR_GRADIENT, 16);
    Tensor *gradient = tensor(f, TENSOR_GRADIENT, 500);
    add_call(f, PROGRAM_FORWARD, f->graph.output, &f->graph.input, 1, 0);
    add_call(f, PROGRAM_FORWARD_TRAINING, f->graph.training_output, &f->graph.input, 1, 0);
    add_call(f, PROGRAM_BACKWARD, gradient, &f->graph.training_output, 1, 0);
    add_call(f, PROGRAM_BACKWARD_INPUT, f->graph.input_gradient, &gradient, 1, 3000);
    Plan *plan = make_plan(f, 0);
    assert_non_null(plan);
    assert_true(plan_verify(plan, stderr));
    assert_int_equal(plan->arena_size, 64 + 64 + 2000);
    assert_int_equal(plan->scratch, 0);
    assert_int_equal(plan->late_arena_size, 64 + 64 + 2000 + 12000 + 64);
    assert_true(plan->input_gradient_offset >= plan->arena_size);
}

static void test_reading_before_writing_is_found(void **state) {
    Fixture *f = *state;
    Tensor *never = tensor(f, TENSOR_ACTIVATION, 8);
    add_call(f, PROGRAM_FORWARD, f->graph.output, &never, 1, 0);
    Plan *plan = make_plan(f, 0);
    assert_non_null(plan);
    FILE *stream = tmpfile();
    assert_false(plan_verify(plan, stream));
    fclose(stream);
}

static void test_limits(void **state) {
    Fixture *f = *state;
    Tensor *links[3];
    add_chain(f, links);
    assert_null(make_plan(f, 1000));
    assert_int_equal(diagnostics_error_count(f->diagnostics), 1);
}

static void test_huge_sizes_are_errors(void **state) {
    Fixture *f = *state;
    Tensor *huge = tensor(f, TENSOR_ACTIVATION, INT64_MAX / 8), *other;
    other = tensor(f, TENSOR_ACTIVATION, INT64_MAX / 64);
    add_call(f, PROGRAM_FORWARD, other, &f->graph.input, 1, INT64_MAX / 64);
    add_call(f, PROGRAM_FORWARD, huge, &other, 1, 0);
    add_call(f, PROGRAM_FORWARD, f->graph.output, &huge, 1, 0);
    assert_null(make_plan(f, 0));
    assert_int_equal(diagnostics_error_count(f->diagnostics), 1);
}

static unsigned next_random(unsigned *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 16;
}

/* Random dependences in both sequences. The arena is never smaller than what lives at once and, for
 * such sequences, not much larger. */
static void test_random_sequences(void **state) {
    unsigned seed = 7;
    for (int round = 0; round < 60; round++) {
        tear_down(state);
        set_up(state);
        Fixture *f = *state;
        f->slots = round % 2 == 1 ? 3 : 0;
        Tensor *made[MAX_TENSORS];
        int count = 2 + (int)(next_random(&seed) % (MAX_TENSORS - 2));
        for (int i = 0; i < count; i++) {
            Tensor *sources[3] = {f->graph.input, f->graph.input, f->graph.input};
            for (int s = 0; s < 3 && i > 0; s++)
                sources[s] = made[next_random(&seed) % (unsigned)i];
            made[i] = tensor(f, TENSOR_ACTIVATION, 1 + next_random(&seed) % 5000);
            int64_t scratch = next_random(&seed) % 3 == 0 ? 1 + next_random(&seed) % 3000 : 0;
            add_call(f, PROGRAM_FORWARD, made[i], sources, i > 0 ? 3 : 1, scratch);
        }
        add_call(f, PROGRAM_FORWARD, f->graph.output, &made[count - 1], 1, 0);
        Plan *plan = make_plan(f, 0);
        assert_non_null(plan);
        assert_true(plan_verify(plan, stderr));
        int64_t needed = plan->activations + plan->scratch, used = 4 * plan->arena_size;
        assert_true(used >= needed && used <= needed + needed / 4);
    }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_a_chain_needs_two_places),
        TEST(test_views_and_unused_tensors_need_nothing),
        TEST(test_outputs_of_both_sequences_share_a_place),
        TEST(test_scratch_by_slot_has_a_region),
        TEST(test_the_input_gradient_counts_apart),
        TEST(test_reading_before_writing_is_found),
        TEST(test_limits),
        TEST(test_huge_sizes_are_errors),
        TEST(test_random_sequences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
