/* gzip (RFC 1952) and DEFLATE (RFC 1951) decompression. Every member's CRC-32 and length is
 * checked; no input makes it read or write out of bounds. */
#ifndef CNNC_INFLATE_H
#define CNNC_INFLATE_H

#include "problem.h"

RUNTIME_API bool gzip_recognise(const unsigned char *data, size_t size);
/* Returns the decompressed bytes (malloc, to be freed by the caller; never NULL on success, even
 * for none) of all members. More than `limit` bytes are an error. NULL: `name` and what is wrong
 * are in *problem. */
RUNTIME_API unsigned char *gzip_decompress(const char *name, const unsigned char *data, size_t size,
                                           size_t limit, size_t *result_size, Problem *problem);

#endif
