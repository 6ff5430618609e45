/* How a network is trained and where its data lies: filled by the compiler from the train and data
 * blocks, written into the emitted file, changed by the trainer's command line. */
#ifndef CNNC_SETTINGS_H
#define CNNC_SETTINGS_H

typedef enum LossKind { LOSS_CROSS_ENTROPY, LOSS_MSE } LossKind;
typedef enum OptimizerKind { OPTIMIZER_SGD, OPTIMIZER_ADAM } OptimizerKind;
typedef enum ScheduleKind { SCHEDULE_CONSTANT, SCHEDULE_STEP, SCHEDULE_PLATEAU } ScheduleKind;
typedef enum DataFormat { DATA_SYNTHETIC, DATA_IDX, DATA_NPY } DataFormat;

typedef struct TrainSettings {
    LossKind loss;
    double label_smoothing;
    OptimizerKind optimizer;
    double learning_rate;
    double momentum;
    int nesterov;
    double weight_decay; /* added to the gradient, as torch.optim does */
    double beta1, beta2, epsilon;
    ScheduleKind schedule;
    double schedule_factor;
    int schedule_every;    /* epochs between steps */
    int schedule_patience; /* epochs without improvement */
    int warmup;            /* epochs of linear growth from 0 to the learning rate */
    int batch;             /* 0: the largest that the file was compiled for */
    int epochs;
    unsigned long long seed;
    double validate;    /* fraction of the training data that is held back; 0: none */
    double head_weight; /* weight of the loss of each further head */
} TrainSettings;

typedef struct DataSettings {
    DataFormat format;
    const char *path;            /* directory, or file for npy */
    const char *validation_path; /* NULL: the format's own test set if there is one */
    double scale, shift;         /* pixels become value*scale + shift before the network */
    int synthetic_count;         /* examples that `synthetic` makes */
} DataSettings;

#endif
