/* The number type of the emitted program: float, or double under --double. */
#ifndef CNNC_REAL_H
#define CNNC_REAL_H

#include "api.h"

#include <float.h>
#include <math.h>

#ifdef CNNC_DOUBLE
typedef double real;
#define REAL_NAME "float64"
#define REAL_EPSILON DBL_EPSILON
#define REAL_MAX DBL_MAX
#define real_exp exp
#define real_log log
#define real_log1p log1p
#define real_sqrt sqrt
#define real_tanh tanh
#define real_erf erf
#define real_pow pow
#define real_abs fabs
#define real_floor floor
#else
typedef float real;
#define REAL_NAME "float32"
#define REAL_EPSILON FLT_EPSILON
#define REAL_MAX FLT_MAX
#define real_exp expf
#define real_log logf
#define real_log1p log1pf
#define real_sqrt sqrtf
#define real_tanh tanhf
#define real_erf erff
#define real_pow powf
#define real_abs fabsf
#define real_floor floorf
#endif

/* The second argument where neither is greater, so a NaN in the first is lost. */
RUNTIME_INLINE real real_max(real x, real y) {
    return x > y ? x : y;
}

RUNTIME_INLINE real real_min(real x, real y) {
    return x < y ? x : y;
}

RUNTIME_INLINE double double_max(double x, double y) {
    return x > y ? x : y;
}

RUNTIME_INLINE double double_min(double x, double y) {
    return x < y ? x : y;
}

/* Of indices, which are int or ptrdiff_t. */
#define index_max(x, y) ((x) > (y) ? (x) : (y))
#define index_min(x, y) ((x) < (y) ? (x) : (y))

#endif
