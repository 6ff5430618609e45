/* Prints kernels of the loop language as C. The only place that knows how its statements and
 * expressions are written in C: declarations, precedence, loop hints. */
#ifndef CNNC_CPRINT_H
#define CNNC_CPRINT_H

#include "kernel_use.h"
#include "text.h"

/* Sizes: the integers in a kernel's text that may just as well be parameters of its function, in
 * the order in which they are printed, and as often. Those that a C compiler makes use of are not
 * among them: short loops, divisors, indices of registers, distances of the rows of a tile. */
typedef struct KernelSizes {
    int count, capacity;
    int64_t *values;
    const char **names; /* NULL: not known yet; NULL of one of them: its value is printed */
} KernelSizes;

/* Stands for each size as long as there are no names. */
#define SIZE_PLACEHOLDER '#'

/* The parameter list of the kernel's function, "(int batch, const real *RESTRICT x, ...)", on one
 * line with the breaks of wrap.h. The extra parameters come first: batch,
 * whole_batch, first_example, random_key, random_stream, random_layers, network; then the names of
 * sizes, where there are `sizes`, each once; then use->arguments. No two arguments of a call may
 * overlap. */
void print_kernel_parameters(Text *out, const KernelUse *use, const KernelSizes *sizes,
                             int max_batch);

/* The statements of its body. Indices are int unless a buffer has 2^31 elements or more at the
 * largest batch: then ptrdiff_t. Loops whose work is too little for several threads even at the
 * largest batch stay serial. Finds the sizes if their names are NULL, else prints the names; no
 * sizes: NULL. */
void print_kernel_body(Text *out, const Kernel *kernel, const KernelUse *use, KernelSizes *sizes,
                       int max_batch, int indent);

/* first + arguments with commas between them + last, wrapped: print_call(out, 4, "f(", ..., ");").
 */
void print_call(Text *out, int indent, const char *first, const char *const *arguments, int count,
                const char *last);

/* The C spelling of a type: "real", "int32_t". */
const char *element_type_name(ElementType type);

#endif
