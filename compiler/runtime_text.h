/* The runtime's source files, embedded by the build (embed/embed.c makes the table). */
#ifndef CNNC_RUNTIME_TEXT_H
#define CNNC_RUNTIME_TEXT_H

#include <stddef.h>

typedef struct RuntimeText {
    const char *name; /* "skeleton.c" */
    const char *text; /* ends in a zero byte */
    size_t length;
} RuntimeText;

extern const RuntimeText runtime_texts[];
extern const size_t runtime_text_count;

#endif
