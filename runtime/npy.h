/* The .npy format of NumPy, versions 1 to 3, C order. */
#ifndef CNNC_NPY_H
#define CNNC_NPY_H

#include "elements.h"

#define NPY_MAX_RANK 8

typedef struct Npy {
    ElementType type;
    int rank; /* 0: a single number */
    size_t dims[NPY_MAX_RANK];
    size_t count;              /* product of dims */
    const unsigned char *data; /* count elements, little-endian, inside bytes */
    unsigned char *bytes;      /* the whole file; freed by npy_free */
} Npy;

RUNTIME_API bool npy_read(const char *path, Npy *array, Problem *problem);
/* The same from bytes in memory, which `array` owns afterwards, in either case. */
RUNTIME_API bool npy_parse(const char *name, unsigned char *bytes, size_t size, Npy *array,
                           Problem *problem);
RUNTIME_API void npy_free(Npy *array);
/* "3x28x28", for messages. */
RUNTIME_API void npy_shape_text(const Npy *array, char *text, size_t size);

/* Starts an array of reals; the caller then writes the elements with elements_write_reals. */
RUNTIME_API void npy_write_header(FileWriter *writer, int rank, const size_t *dims);

#endif
