/* What the parts of the emitter share. Each part fills one region of the runtime's skeleton. */
#ifndef CNNC_EMIT_INTERNAL_H
#define CNNC_EMIT_INTERNAL_H

#include "emit.h"
#include "emit_calls.h"
#include "names.h"

typedef struct Emitter {
    const EmitInput *input;
    Arena *arena;
    Text *out;
    NameTable *taken;              /* constants of the emitted file */
    const char **placement_names;  /* by Placement.number: the constant with a tensor's offset */
    const char **parameter_names;  /* by parameter_place */
    const char **connection_names; /* by layer index: a table of bytes; NULL: it has none */
    bool *placement_named;         /* calls name the constant; like placement_names */
    bool *parameter_named;         /* like parameter_names */
    CallList calls[PROGRAM_COUNT];
} Emitter;

void emitter_init(Emitter *emitter, const EmitInput *input, Text *out);

/* emit_header.c: the comment at the top of the file. */
void emit_header_comment(Emitter *emitter);
/* emit_info.c: macros that the runtime is compiled with; the NetworkInfo. */
void emit_configuration(Emitter *emitter);
void emit_info(Emitter *emitter);
/* emit_tables.c: offsets, constants, layers, parameters. */
void emit_tables(Emitter *emitter);
/* emit_programs.c: the functions and the lists of their calls. make_calls fills emitter->calls and
 * the flags of what they name. */
void make_calls(Emitter *emitter);
void emit_kernels(Emitter *emitter);
void emit_programs(Emitter *emitter);

/* "[64][3][224][224]": what lies there. */
const char *placement_dims(const Emitter *emitter, const Placement *placement);
/* Where what belongs to a parameter, or is prepared from some, stands in parameter_names and
 * parameter_named. */
#define LAYER_PLACES (MAX_PARAMETERS + MAX_PREPARED)
size_t parameter_place(const Tensor *tensor);
/* Whether the file has the program: not those of training with --infer, nor an empty `prepare`. */
bool program_is_emitted(const Emitter *emitter, ProgramId program);
int emit_line_of(const Emitter *emitter, const Layer *layer); /* in the description */
/* "64x56x56 + 64x56x56": what a layer takes. */
const char *layer_input_text(Arena *arena, const Layer *layer);
/* emit_library.c: the network's name as a C identifier. */
const char *library_prefix(Arena *arena, const Network *network);
bool class_weights_used(const Kernels *kernels);

#endif
