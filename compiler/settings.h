/* The train and data blocks: from their values to the settings of the emitted trainer. */
#ifndef CNNC_SETTINGS_READ_H
#define CNNC_SETTINGS_READ_H

#include "evaluate.h"
#include "network.h"

/* Sets network->train, data and class_weights from the blocks; `train` or `data` may be NULL for
 * one that is not there: all settings have defaults. Unknown keys and values, wrong types and
 * values out of range are reported. */
void settings_read(Evaluator *evaluator, const Statement *train, const Statement *data,
                   Network *network);

#endif
