/* The .safetensors format: eight bytes with the length of a JSON header (little-endian), the header
 *   {"__metadata__": {"key": "text"}, "name": {"dtype": "F32", "shape": [2, 3],
 *    "data_offsets": [begin, end]}, ...}
 * and the tensors' bytes, to which the offsets refer. */
#ifndef CNNC_SAFETENSORS_H
#define CNNC_SAFETENSORS_H

#include "elements.h"
#include "layout.h"

#define SAFETENSORS_MAX_RANK 8

typedef struct SafeTensor {
    char *name, *dtype;
    int rank;
    size_t dims[SAFETENSORS_MAX_RANK];
    size_t begin, end; /* bytes in the data */
} SafeTensor;

typedef struct SafeMetadata {
    char *key, *value;
} SafeMetadata;

typedef struct SafeTensors {
    unsigned char *bytes; /* the whole file */
    const unsigned char *data;
    size_t data_size;
    size_t count, capacity;
    SafeTensor *tensors; /* sorted by name */
    size_t metadata_count, metadata_capacity;
    SafeMetadata *metadata;
} SafeTensors;

/* Reads and checks a file: offsets inside the file, none overlapping, sizes that fit the shapes of
 * known types, no name twice. On success safetensors_free is the caller's. */
RUNTIME_API bool safetensors_read(const char *path, SafeTensors *file, Problem *problem);
/* The same from bytes in memory, which `file` owns afterwards, in either case. */
RUNTIME_API bool safetensors_parse(const char *name, unsigned char *bytes, size_t size,
                                   SafeTensors *file, Problem *problem);
RUNTIME_API void safetensors_free(SafeTensors *file);
RUNTIME_API const SafeTensor *safetensors_find(const SafeTensors *file, const char *name);
RUNTIME_API const char *safetensors_metadata(const SafeTensors *file, const char *key);

/* One tensor to write; `data` holds the product of dims numbers. The file has them in dense order.
 */
typedef struct SafeTensorSource {
    char name[256];
    int rank;
    size_t dims[SAFETENSORS_MAX_RANK];
    const real *data;
    Layout layout; /* of `data` */
} SafeTensorSource;

typedef struct SafeMetadataSource {
    const char *key;
    char value[64];
} SafeMetadataSource;

/* Writes a whole file; it appears under its name only when it is complete. */
RUNTIME_API bool safetensors_write(const char *path, const SafeTensorSource *tensors, size_t count,
                                   const SafeMetadataSource *metadata, size_t metadata_count,
                                   Problem *problem);

#endif
