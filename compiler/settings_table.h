/* The settings of the train and data blocks as tables: what each is called, where its value goes
 * and what it may be. settings.c reads blocks by them; a new setting, loss, optimizer, schedule or
 * format is a row here. */
#ifndef CNNC_SETTINGS_TABLE_H
#define CNNC_SETTINGS_TABLE_H

#include "../runtime/settings.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum FieldType {
    FIELD_INTEGER, /* an int */
    FIELD_NUMBER,  /* a double */
    FIELD_BOOLEAN, /* an int, 0 or 1 */
    FIELD_SEED,    /* an unsigned long long */
    FIELD_STRING,  /* a const char * */
    FIELD_WEIGHTS, /* a list of numbers: class_weights of the network */
    FIELD_CHOICE   /* one of `choices`: an enum */
} FieldType;

typedef struct Choice Choice;

/* One key of a block, or one argument of a choice: where its value goes and what it may be. */
typedef struct Field {
    const char *name;
    FieldType type;
    size_t offset; /* in TrainSettings, or in DataSettings for the keys of data */
    double fallback, minimum, maximum;
    bool required;
    bool exclusive; /* the bounds themselves are not allowed */
    const Choice *choices;
} Field;

typedef enum Support { SUPPORTED, NOT_YET, IGNORED_YET } Support;

/* One word that a FIELD_CHOICE may be; the list ends with a name of NULL. */
struct Choice {
    const char *name;
    int value; /* of the enum */
    Support support;
    const Field *fields; /* its arguments in order, ends with a name of NULL */
};

/* Keys and words that the language has and this version does not apply. */
typedef struct LaterKey {
    const char *name;
    Support support;
    const char *words; /* which the value may be made of; NULL: not looked at */
} LaterKey;

typedef struct Block {
    const char *name;
    const Field *fields;
    const LaterKey *later;
} Block;

extern const Block train_block, data_block;

#endif
