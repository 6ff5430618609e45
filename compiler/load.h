/* Reads a description with all files that it includes. */
#ifndef CNNC_LOAD_H
#define CNNC_LOAD_H

#include "expand.h"
#include "parser.h"

/* The statements of `file` and, in place of its `include` statements, of the files that these name;
 * `option_count` is the number of `?` points in them. A file is read once: including it again does
 * nothing. Files that cannot be read, cycles and syntax errors are reported. */
StatementList load_description(Sources *sources, Diagnostics *diagnostics, SourceFile *file,
                               const ExpandOptions *options, int *option_count);

#endif
