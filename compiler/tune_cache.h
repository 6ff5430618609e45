/* The file in which --tune keeps what it has measured. Text: a first line that says what it is,
 * then a line for every answer with five fields between tabs, VERSION  PROCESSOR  PROGRAM SIGNATURE
 * ANSWER the version of cnnc, the processor, for what the program was compiled ("avx512 float, 2
 * threads"), the question and the name of its best answer (tuning.h). Of lines that differ only in
 * the answer the last one counts. Lines of other versions, processors and programs stay as they
 * are. */
#ifndef CNNC_TUNE_CACHE_H
#define CNNC_TUNE_CACHE_H

#include "text.h"
#include "tuning.h"

typedef struct TuneCache TuneCache;

/* $XDG_CACHE_HOME/cnnc/tune or ~/.cache/cnnc/tune (XDG Base Directory Specification); NULL where
 * neither variable is set. */
const char *tune_cache_default_path(Arena *arena);

/* Reads the file; one that does not exist is empty. `machine` holds the first three fields with
 * tabs between them. Lines that are none are left out, with a warning on standard error. NULL with
 * a message in *problem where the file cannot be read or is not of this kind. */
TuneCache *tune_cache_load(Arena *arena, const char *path, const char *machine,
                           const char **problem);
/* The answer to the question and the line that it stands in; NULL: none. */
const char *tune_cache_find(const TuneCache *cache, const char *signature, int *line);
/* Warns of an answer in that line that does not exist. */
void tune_cache_refuse(const TuneCache *cache, int line, const char *answer);
/* All that are missing above the file; whether they are there tune_cache_writable tells. */
void tune_cache_make_directories(const TuneCache *cache);
/* Whether the file can be written where it is to be. */
bool tune_cache_writable(const TuneCache *cache, const char **problem);
/* Reads the file again, since other compilations may have written it meanwhile, and replaces it as
 * a whole, with the answers in place of older ones. */
bool tune_cache_save(const TuneCache *cache, const Question *const *questions, int count,
                     const char **problem);

#endif
