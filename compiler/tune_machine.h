/* What measured times depend on besides the program. */
#ifndef CNNC_TUNE_MACHINE_H
#define CNNC_TUNE_MACHINE_H

#include "arena.h"

/* The processor's name as the system tells it, without tabs and line ends. */
const char *tune_processor(Arena *arena);
/* How many threads a program has here unless somebody says otherwise. */
int tune_processors(void);

#endif
