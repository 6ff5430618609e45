/* How many threads a training step uses. All of them are best while the machine has nothing else to
 * do. Where other programs want the cores as well, threads wait for one another at the end of every
 * loop, and fewer can be many times faster. Results do not depend on the number, so it may change
 * at any time: now and then a few steps are timed with half as many or twice as many, and what is
 * faster stays. */
#ifndef CNNC_THREADS_H
#define CNNC_THREADS_H

#include "api.h"

typedef struct ThreadChoice {
    int most;     /* never more than these: what OMP_NUM_THREADS or the machine allows */
    int threads;  /* the choice so far */
    int tried;    /* being timed now; equal to threads outside a trial */
    bool upwards; /* the direction of the next trial */
    bool trial;
    int steps;               /* timed so far with `tried` */
    double seconds, compare; /* of those steps; of as many with `threads` */
    double next;             /* when the next trial begins, in seconds of the clock */
    double pause;            /* between trials: doubles while they change nothing */
} ThreadChoice;

RUNTIME_API ThreadChoice thread_choice(int most, double now);
/* Takes the time of the step that has just ended and returns how many threads to use for the next.
 */
RUNTIME_API int thread_choice_step(ThreadChoice *choice, double now, double step_seconds);

#endif
