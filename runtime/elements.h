/* Number types in files: npy and safetensors name them differently, the bytes are the same
 * (little-endian on every machine). */
#ifndef CNNC_ELEMENTS_H
#define CNNC_ELEMENTS_H

#include "file.h"
#include "real.h"

typedef enum ElementType {
    ELEMENT_FLOAT32,
    ELEMENT_FLOAT64,
    ELEMENT_INT32,
    ELEMENT_INT64,
    ELEMENT_UINT8,
    ELEMENT_TYPES
} ElementType;

typedef struct ElementTypeInfo {
    const char *name, *npy, *safetensors;
    size_t size;
    bool integer;
} ElementTypeInfo;

/* The type of `real` in files. */
#ifdef CNNC_DOUBLE
#define ELEMENT_REAL ELEMENT_FLOAT64
#else
#define ELEMENT_REAL ELEMENT_FLOAT32
#endif

RUNTIME_API const ElementTypeInfo *element_type_info(ElementType type);

RUNTIME_API void elements_to_real(ElementType type, const unsigned char *bytes, size_t count,
                                  real *out);
/* Integers only. Values outside int32 saturate (no label is that large). */
RUNTIME_API void elements_to_labels(ElementType type, const unsigned char *bytes, size_t count,
                                    int32_t *out);
RUNTIME_API void elements_write_reals(FileWriter *writer, const real *numbers, size_t count);
/* The little-endian unsigned number in `size` (at most 8) bytes. */
RUNTIME_API uint64_t elements_unsigned(const unsigned char *bytes, size_t size);

#endif
