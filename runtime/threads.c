#include "threads.h"

/* Steps timed with each number of threads; one more comes first, untimed, to start or stop them. */
#define TRIAL_STEPS 4
#define FIRST_PAUSE 0.5
#define LONGEST_PAUSE 30.0
/* A number of threads replaces another only if it is clearly faster. */
#define CLEARLY_FASTER 0.9

RUNTIME_API ThreadChoice thread_choice(int most, double now) {
    ThreadChoice choice = {.most = most, .threads = most, .tried = most};
    choice.pause = FIRST_PAUSE;
    choice.next = now + FIRST_PAUSE;
    return choice;
}

/* Half as many or twice as many, in turn. */
static int thread_candidate(ThreadChoice *choice) {
    if (choice->threads == 1) {
        choice->upwards = true;
    } else if (choice->threads == choice->most) {
        choice->upwards = false;
    }
    int candidate = choice->upwards ? choice->threads * 2 : choice->threads / 2;
    return candidate < choice->most ? candidate : choice->most;
}

static void thread_trial_ends(ThreadChoice *choice, double now) {
    bool better = choice->seconds < CLEARLY_FASTER * choice->compare;
    choice->threads = better ? choice->tried : choice->threads;
    choice->upwards = better ? choice->upwards : !choice->upwards;
    choice->pause = better ? FIRST_PAUSE : choice->pause * 2;
    choice->pause = choice->pause < LONGEST_PAUSE ? choice->pause : LONGEST_PAUSE;
    choice->next = now + choice->pause;
    choice->tried = choice->threads;
    choice->trial = false;
}

RUNTIME_API int thread_choice_step(ThreadChoice *choice, double now, double step_seconds) {
    if (choice->most <= 1) {
        return choice->most;
    }
    if (!choice->trial) {
        if (now >= choice->next) {
            choice->trial = true;
            choice->steps = 0;
            choice->seconds = 0;
        }
        return choice->threads;
    }
    choice->seconds += choice->steps > 0 ? step_seconds : 0;
    choice->steps++;
    bool candidate = choice->tried != choice->threads;
    bool lost = candidate && choice->seconds > choice->compare;
    if (choice->steps <= TRIAL_STEPS && !lost) {
        return choice->tried;
    }
    if (candidate) {
        thread_trial_ends(choice, now);
    } else {
        choice->compare = choice->seconds;
        choice->tried = thread_candidate(choice);
        choice->steps = 0;
        choice->seconds = 0;
    }
    return choice->tried;
}
