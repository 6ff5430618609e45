#include "settings_table.h"

#define MAXIMUM_COUNT 1000000000.0 /* epochs, examples, ...: far beyond use, far within an int */

#define TRAIN(member) offsetof(TrainSettings, member)
#define DATA(member) offsetof(DataSettings, member)
#define RATE(name_, member, fallback_)                                                             \
    {                                                                                              \
        .name = name_, .type = FIELD_NUMBER, .offset = TRAIN(member), .fallback = fallback_,       \
        .minimum = 0, .maximum = 1e6                                                               \
    }
#define FRACTION(name_, member, fallback_)                                                         \
    {                                                                                              \
        .name = name_, .type = FIELD_NUMBER, .offset = TRAIN(member), .fallback = fallback_,       \
        .minimum = 0, .maximum = 1, .exclusive = true                                              \
    }
#define COUNT(name_, offset_, fallback_, minimum_)                                                 \
    {                                                                                              \
        .name = name_, .type = FIELD_INTEGER, .offset = offset_, .fallback = fallback_,            \
        .minimum = minimum_, .maximum = MAXIMUM_COUNT                                              \
    }

static const Field no_fields[] = {{.name = NULL}};

static const Field cross_entropy_fields[] = {
    {.name = "smoothing", .type = FIELD_NUMBER, .offset = TRAIN(label_smoothing), .maximum = 1},
    {.name = "weights", .type = FIELD_WEIGHTS},
    {.name = NULL},
};

static const Field sgd_fields[] = {
    RATE("lr", learning_rate, 0.01),
    {.name = "momentum", .type = FIELD_NUMBER, .offset = TRAIN(momentum), .maximum = 1},
    {.name = "nesterov", .type = FIELD_BOOLEAN, .offset = TRAIN(nesterov)},
    RATE("weight_decay", weight_decay, 0),
    {.name = NULL},
};

static const Field adam_fields[] = {
    RATE("lr", learning_rate, 0.001),
    {.name = "beta1",
     .type = FIELD_NUMBER,
     .offset = TRAIN(beta1),
     .fallback = 0.9,
     .maximum = 0.999999999},
    {.name = "beta2",
     .type = FIELD_NUMBER,
     .offset = TRAIN(beta2),
     .fallback = 0.999,
     .maximum = 0.999999999},
    {.name = "eps",
     .type = FIELD_NUMBER,
     .offset = TRAIN(epsilon),
     .fallback = 1e-8,
     .minimum = 1e-30,
     .maximum = 1},
    RATE("weight_decay", weight_decay, 0),
    {.name = NULL},
};

#define WARMUP COUNT("warmup", TRAIN(warmup), 0, 0)

static const Field constant_fields[] = {WARMUP, {.name = NULL}};

static const Field step_fields[] = {
    {.name = "every",
     .type = FIELD_INTEGER,
     .offset = TRAIN(schedule_every),
     .minimum = 1,
     .maximum = MAXIMUM_COUNT,
     .required = true},
    FRACTION("factor", schedule_factor, 0.1),
    WARMUP,
    {.name = NULL},
};

static const Field plateau_fields[] = {
    FRACTION("factor", schedule_factor, 0.1),
    COUNT("patience", TRAIN(schedule_patience), 5, 0),
    WARMUP,
    {.name = NULL},
};

static const Choice losses[] = {
    {"cross_entropy", LOSS_CROSS_ENTROPY, SUPPORTED, cross_entropy_fields},
    {"mse", LOSS_MSE, SUPPORTED, no_fields},
    {"l1", 0, NOT_YET, NULL},
    {"bce", 0, NOT_YET, NULL},
    {"hinge", 0, NOT_YET, NULL},
    {.name = NULL},
};

static const Choice optimizers[] = {
    {"sgd", OPTIMIZER_SGD, SUPPORTED, sgd_fields},
    {"adam", OPTIMIZER_ADAM, SUPPORTED, adam_fields},
    {"adagrad", 0, NOT_YET, NULL},
    {"adadelta", 0, NOT_YET, NULL},
    {"rmsprop", 0, NOT_YET, NULL},
    {"adamw", 0, NOT_YET, NULL},
    {.name = NULL},
};

static const Choice schedules[] = {
    {"constant", SCHEDULE_CONSTANT, SUPPORTED, constant_fields},
    {"step", SCHEDULE_STEP, SUPPORTED, step_fields},
    {"plateau", SCHEDULE_PLATEAU, SUPPORTED, plateau_fields},
    {"exp", 0, NOT_YET, NULL},
    {"poly", 0, NOT_YET, NULL},
    {"cosine", 0, NOT_YET, NULL},
    {.name = NULL},
};

static const Choice formats[] = {
    {"synthetic", DATA_SYNTHETIC, SUPPORTED, no_fields},
    {"idx", DATA_IDX, SUPPORTED, no_fields},
    {"npy", DATA_NPY, SUPPORTED, no_fields},
    {"cifar10", 0, NOT_YET, NULL},
    {"cifar100", 0, NOT_YET, NULL},
    {"csv", 0, NOT_YET, NULL},
    {"packed", 0, NOT_YET, NULL},
    {.name = NULL},
};

/* A choice's fallback is its first word. */
static const Field train_fields[] = {
    {.name = "loss", .type = FIELD_CHOICE, .offset = TRAIN(loss), .choices = losses},
    {.name = "optimizer", .type = FIELD_CHOICE, .offset = TRAIN(optimizer), .choices = optimizers},
    {.name = "schedule", .type = FIELD_CHOICE, .offset = TRAIN(schedule), .choices = schedules},
    COUNT("batch", TRAIN(batch), 0, 1),
    COUNT("epochs", TRAIN(epochs), 10, 0),
    {.name = "seed", .type = FIELD_SEED, .offset = TRAIN(seed), .fallback = 1},
    {.name = "validate", .type = FIELD_NUMBER, .offset = TRAIN(validate), .maximum = 0.99},
    RATE("head_weight", head_weight, 0.3),
    {.name = NULL},
};

static const LaterKey train_later[] = {
    {"augment", IGNORED_YET,
     "random_crop flip vflip shift rotate scale stretch brightness contrast color_cast pca_color "
     "vignette erase mixup cutmix normalize"},
    {"tta", IGNORED_YET, "center ten_crop multi_scale"},
    {"early_stop", IGNORED_YET, NULL},
    {"clip_norm", NOT_YET, NULL},
    {"clip_value", NOT_YET, NULL},
    {"l1", NOT_YET, NULL},
    {"max_norm", NOT_YET, NULL},
    {"ema", NOT_YET, NULL},
    {"accumulate", NOT_YET, NULL},
    {.name = NULL},
};

static const Field data_fields[] = {
    {.name = "format", .type = FIELD_CHOICE, .offset = DATA(format), .choices = formats},
    {.name = "path", .type = FIELD_STRING, .offset = DATA(path)},
    {.name = "validation", .type = FIELD_STRING, .offset = DATA(validation_path)},
    {.name = "scale",
     .type = FIELD_NUMBER,
     .offset = DATA(scale),
     .fallback = 1,
     .minimum = -1e30,
     .maximum = 1e30},
    {.name = "shift",
     .type = FIELD_NUMBER,
     .offset = DATA(shift),
     .minimum = -1e30,
     .maximum = 1e30},
    COUNT("count", DATA(synthetic_count), 1024, 1),
    {.name = NULL},
};

static const LaterKey data_later[] = {{.name = NULL}};

const Block train_block = {"train", train_fields, train_later};
const Block data_block = {"data", data_fields, data_later};
