/* The choice of the number of threads, against machines whose step times are known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "threads.h"

/* Runs steps for `seconds`; seconds_per_step[t] is what a step takes with t threads. */
static int settle(ThreadChoice *choice, double *now, double seconds,
                  const double *seconds_per_step) {
    int threads = choice->tried;
    for (double end = *now + seconds; *now < end;) {
        double step = seconds_per_step[threads];
        *now += step;
        threads = thread_choice_step(choice, *now, step);
        assert_true(threads >= 1 && threads <= choice->most);
    }
    return choice->threads;
}

static void test_all_threads_on_an_idle_machine(void **state) {
    (void)state;
    const double idle[] = {0, 0.04, 0.02, 0.014, 0.01};
    double now = 0;
    ThreadChoice choice = thread_choice(4, now);
    assert_int_equal(settle(&choice, &now, 60, idle), 4);
}

static void test_one_thread_on_a_busy_machine_and_back(void **state) {
    (void)state;
    const double busy[] = {0, 0.02, 0.2}, idle[] = {0, 0.02, 0.011};
    double now = 0;
    ThreadChoice choice = thread_choice(2, now);
    assert_int_equal(settle(&choice, &now, 10, busy), 1);
    assert_int_equal(settle(&choice, &now, 100, idle), 2);
}

static void test_a_number_in_between(void **state) {
    (void)state;
    const double middle[] = {0, 0.08, 0.04, 0.05, 0.02, 0.03, 0.03, 0.05, 0.09};
    double now = 0;
    ThreadChoice choice = thread_choice(8, now);
    assert_int_equal(settle(&choice, &now, 100, middle), 4);
}

/* Trials cost little where they change nothing. */
static void test_trials_become_rare(void **state) {
    (void)state;
    const double idle[] = {0, 0.02, 0.01};
    double now = 0, tried = 0, all = 0;
    ThreadChoice choice = thread_choice(2, now);
    int threads = 2;
    while (now < 300) {
        now += idle[threads];
        all += 1;
        tried += threads == 1;
        threads = thread_choice_step(&choice, now, idle[threads]);
    }
    assert_true(tried / all < 0.01);
}

static void test_a_single_thread_stays(void **state) {
    (void)state;
    ThreadChoice choice = thread_choice(1, 0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(thread_choice_step(&choice, i, 1), 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_threads_on_an_idle_machine),
                                       cmocka_unit_test(test_one_thread_on_a_busy_machine_and_back),
                                       cmocka_unit_test(test_a_number_in_between),
                                       cmocka_unit_test(test_trials_become_rare),
                                       cmocka_unit_test(test_a_single_thread_stays)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
