/* The formats behind the table in data.c. */
#ifndef CNNC_DATA_FORMATS_H
#define CNNC_DATA_FORMATS_H

#include "data.h"
#include "npy.h"

/* idx, the format of MNIST: a directory with train-images-idx3-ubyte, train-labels-idx1-ubyte,
 * t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, each also as .gz. Bytes; images are HxW or
 * CxHxW. Images smaller than the network's input are centred, the border is what a pixel of value 0
 * becomes. A network with a vector for input takes an image of as many pixels. */
RUNTIME_API bool data_idx_has(const char *path, DataPart part);
RUNTIME_API bool data_idx_open(DataSet *set, Problem *problem);
RUNTIME_API void data_idx_close(DataSet *set);
RUNTIME_API void data_idx_read(const DataSet *set, size_t example, real *input, int32_t *labels,
                               real *targets);
/* The bytes behind an idx header, for tests: false if the file is not what its header says. */
typedef struct IdxFile {
    unsigned char *bytes; /* malloc'ed */
    const unsigned char *data;
    int rank;
    size_t dims[4];
} IdxFile;
RUNTIME_API bool data_idx_parse(const char *name, unsigned char *bytes, size_t size, IdxFile *file,
                                Problem *problem);

/* npy: a directory with train-x.npy and train-y.npy, and for the test part test-x.npy and
 * test-y.npy; or just x.npy and y.npy (training part only); or a file whose name ends in x.npy,
 * with y.npy in its place for the labels. x has the examples first, then the input's shape (or all
 * its numbers in one row); y has integers where the network wants labels, else any numbers in the
 * output's shape. */
RUNTIME_API bool data_npy_has(const char *path, DataPart part);
RUNTIME_API bool data_npy_open(DataSet *set, Problem *problem);
RUNTIME_API void data_npy_close(DataSet *set);
RUNTIME_API void data_npy_read(const DataSet *set, size_t example, real *input, int32_t *labels,
                               real *targets);
/* Checks an array of inputs or targets against the network: a first axis of examples, then the
 * given shape; also accepted are the same without an extent of 1 in front, or flat. */
RUNTIME_API bool data_npy_check_inputs(const char *path, const Npy *x, const NetworkInfo *info,
                                       Problem *problem);
/* Also checks the labels' type and range. */
RUNTIME_API bool data_npy_check_targets(const char *path, const Npy *y, const NetworkInfo *info,
                                        Problem *problem);

/* synthetic: settings.synthetic_count images (a fifth as many for the test part). Each class is a
 * plane wave of its own direction and frequency, each image one of them with noise of standard
 * deviation 0.5; what is drawn depends on the seed, the waves do not. Where the network labels
 * positions, each quadrant of the image has a class of its own. */
RUNTIME_API bool data_synthetic_has(const char *path, DataPart part);
RUNTIME_API bool data_synthetic_open(DataSet *set, Problem *problem);
RUNTIME_API void data_synthetic_close(DataSet *set);
RUNTIME_API void data_synthetic_read(const DataSet *set, size_t example, real *input,
                                     int32_t *labels, real *targets);

#endif
