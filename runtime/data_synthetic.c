#include "data_formats.h"
#include "rng.h"

#define SYNTHETIC_NOISE 0.5                        /* standard deviation */
#define SYNTHETIC_UNIFORM_SCALE 3.4641016151377544 /* sqrt(12): of a uniform number's deviation */
#define SYNTHETIC_PATTERN_SEED 0x636e6e63          /* the same waves for every seed */
#define SYNTHETIC_MAX_REGIONS 8                    /* halves along up to three spatial axes */

enum SyntheticStream { SYNTHETIC_CLASSES, SYNTHETIC_NOISE_STREAM };

RUNTIME_API bool data_synthetic_has(const char *path, DataPart part) {
    (void)path;
    (void)part;
    return true;
}

RUNTIME_API bool data_synthetic_open(DataSet *set, Problem *problem) {
    size_t count = set->settings.synthetic_count > 0 ? (size_t)set->settings.synthetic_count : 0;
    (void)problem;
    if (set->part == DATA_TEST) {
        count = (count + 4) / 5;
    }
    snprintf(set->name, sizeof set->name, "synthetic %s",
             set->part == DATA_TEST ? "test" : "train");
    set->count = count;
    return true;
}

RUNTIME_API void data_synthetic_close(DataSet *set) {
    (void)set; /* nothing is kept */
}

/* A plane wave: sin(phase + sum of frequency*place). */
typedef struct SyntheticWave {
    double phase, frequency[3]; /* radians; per extent of the image */
} SyntheticWave;

/* Frequencies are drawn per class, the phase also per channel. */
static void data_synthetic_wave(uint32_t class_number, size_t channel, SyntheticWave *wave) {
    const double two_pi = 6.283185307179586;
    uint64_t key = random_key(SYNTHETIC_PATTERN_SEED, RANDOM_SYNTHETIC_DATA, class_number);
    wave->phase = two_pi * (double)random_uniform(key, 0, channel);
    for (int axis = 0; axis < 3; axis++) {
        wave->frequency[axis] = two_pi * (1 + random_bits(key, 1, (uint64_t)axis) % 5);
    }
}

/* The coordinates of a flat index in C order of dims[1..rank-1], as fractions, and the region: one
 * bit per spatial axis. */
static unsigned data_synthetic_place(const long *dims, int rank, size_t index, double place[3]) {
    unsigned region = 0;
    place[0] = place[1] = place[2] = 0;
    for (int axis = rank - 1; axis >= 1; axis--) {
        size_t extent = (size_t)dims[axis], coordinate = index % extent;
        index /= extent;
        if (axis <= 3) {
            place[axis - 1] = (double)coordinate / (double)extent;
            region |= (unsigned)(2 * coordinate >= extent) << (axis - 1);
        }
    }
    return region;
}

static void data_synthetic_input(const DataSet *set, uint64_t key, const uint32_t *classes,
                                 real *input) {
    const NetworkInfo *info = set->info;
    const bool is_vector = info->input_rank == 1;
    const size_t channels = is_vector ? 1 : (size_t)info->input_dims[0];
    const size_t area = info->input_size / channels;
    uint32_t words[4];
    for (size_t c = 0; c < channels; c++) {
        SyntheticWave waves[SYNTHETIC_MAX_REGIONS];
        for (int region = 0; region < SYNTHETIC_MAX_REGIONS; region++) {
            data_synthetic_wave(classes[region], c, &waves[region]);
        }
        for (size_t i = 0; i < area; i++) {
            size_t element = c * area + i;
            double place[3] = {(double)i / (double)area, 0, 0};
            unsigned region =
                is_vector ? 0 : data_synthetic_place(info->input_dims, info->input_rank, i, place);
            const SyntheticWave *wave = &waves[region];
            if (element % 4 == 0 || i == 0) {
                random_words(key, SYNTHETIC_NOISE_STREAM, element / 4, words);
            }
            double noise = (double)words[element % 4] / 4294967296.0 - 0.5;
            input[element] =
                (real)(sin(wave->phase + wave->frequency[0] * place[0] +
                           wave->frequency[1] * place[1] + wave->frequency[2] * place[2]) +
                       SYNTHETIC_NOISE * SYNTHETIC_UNIFORM_SCALE * noise);
        }
    }
}

RUNTIME_API void data_synthetic_read(const DataSet *set, size_t example, real *input,
                                     int32_t *labels, real *targets) {
    const NetworkInfo *info = set->info;
    const uint32_t channels = (uint32_t)network_classes(info);
    const uint64_t number = 2 * (uint64_t)example + (set->part == DATA_TEST);
    const uint64_t key = random_key(set->seed, RANDOM_SYNTHETIC_DATA, number);
    const size_t positions = info->output_size / channels;
    const bool regions = positions > 1;
    uint32_t classes[SYNTHETIC_MAX_REGIONS];

    /* A single output still tells two classes apart; without positions all regions are alike. */
    for (uint32_t i = 0; i < SYNTHETIC_MAX_REGIONS; i++) {
        classes[i] =
            random_bits(key, SYNTHETIC_CLASSES, regions ? i : 0) % (channels > 1 ? channels : 2);
    }
    data_synthetic_input(set, key, classes, input);
    for (size_t p = 0; p < positions; p++) {
        double place[3];
        unsigned region =
            regions ? data_synthetic_place(info->output_dims, info->output_rank, p, place) : 0;
        if (labels != NULL) {
            labels[p] = (int32_t)classes[region];
        } else {
            for (size_t c = 0; c < channels; c++) {
                targets[c * positions + p] = c == classes[region] ? (real)1 : (real)0;
            }
        }
    }
}
