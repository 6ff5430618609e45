/* Data sets: examples that are read by number, from any of a table of formats. */
#ifndef CNNC_DATA_H
#define CNNC_DATA_H

#include "network.h"

typedef enum DataPart { DATA_TRAINING, DATA_TEST } DataPart;

typedef struct DataSet DataSet;

/* One row per DataFormat. */
typedef struct DataFormatDef {
    const char *name;
    bool needs_path;
    /* Whether the part is there at all; open then says what is wrong with it. */
    bool (*has)(const char *path, DataPart part);
    /* Sets count, name and contents of a set whose other fields are filled; everything is checked
     * here (sizes, shapes, labels), so that reading cannot fail. On failure contents are closed. */
    bool (*open)(DataSet *set, Problem *problem);
    void (*close)(DataSet *set);
    /* One example: the network's input, and labels or targets (the other one is NULL). */
    void (*read)(const DataSet *set, size_t example, real *input, int32_t *labels, real *targets);
} DataFormatDef;

/* How one class number per example becomes what the loss wants. */
typedef enum DataLabelUse {
    DATA_LABEL_IS_LABEL,
    DATA_LABEL_ONE_HOT, /* target[label] = 1, the others 0 */
    DATA_LABEL_NUMBER,  /* target[0] = label */
    DATA_LABEL_UNUSED   /* the target is the input: an autoencoder */
} DataLabelUse;

struct DataSet {
    const DataFormatDef *format;
    const NetworkInfo *info;
    DataSettings settings; /* path and so on, as the command line left them */
    DataPart part;
    uint64_t seed; /* of synthetic data */
    size_t count;
    char name[64]; /* "t10k" */
    DataLabelUse label_use;
    void *contents; /* the format's own */
    /* Where the inputs' bytes lie one after another, as far as they lie in memory; else NULL. */
    const unsigned char *inputs;
    size_t input_bytes; /* of one example */
};

RUNTIME_API const DataFormatDef *data_format(DataFormat format);
RUNTIME_API bool data_format_by_name(const char *name, DataFormat *format);
RUNTIME_API bool data_has(const DataSettings *settings, DataPart part);
RUNTIME_API bool data_open(DataSet *set, const NetworkInfo *info, const DataSettings *settings,
                           DataPart part, uint64_t seed, Problem *problem);
RUNTIME_API void data_close(DataSet *set); /* also for {0} */
/* Puts examples indices[0..count-1] into the network's input and labels or targets. */
RUNTIME_API void data_read_batch(const DataSet *set, const size_t *indices, int count,
                                 Network *network);

/* For formats with one class number per example. */
RUNTIME_API bool data_choose_label_use(DataSet *set, Problem *problem);
RUNTIME_API void data_put_label(const DataSet *set, int32_t label, const real *input,
                                int32_t *labels, real *targets);
/* How many labels the set accepts; SIZE_MAX where any number will do. */
RUNTIME_API size_t data_label_limit(const DataSet *set);

#endif
