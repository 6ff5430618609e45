#include "cprint_internal.h"

#include <limits.h>
#include <math.h>
#include <string.h>

/* Operations below which a parallel loop costs more than it gains: two microseconds of one thread
 * of a fast core. With one thread alone OpenMP takes 0.3 for such a loop, with several it takes one
 * or more. */
#define PARALLEL_THRESHOLD 100000.0

/* Local arrays of at least as many reals start at a cache line: whole vectors are read from them.
 */
#define ALIGNED_ARRAY 16

/* An unrolled loop of more rounds has rows: up to three, a register for their distance and another
 * for the first one address them all. */
#define FEWEST_ROWS 4

/* The C compiler may unroll loops of up to as many rounds, most of them over windows, where it
 * knows the number. */
#define SHORT_LOOP 5
#define LONG_SIMD_LOOP 64 /* trips: there a remainder costs nothing */

/* ---- Loop hints ---- */

static bool constant_trips(const Stmt *loop, int64_t *trips) {
    if (loop->begin->kind != EXPR_INTEGER || loop->end->kind != EXPR_INTEGER)
        return false;
    *trips = (loop->end->integer - loop->begin->integer + loop->step - 1) / loop->step;
    return true;
}

/* The smallest batch at which the loop is worth several threads. */
static double parallel_batch(const Stmt *loop) {
    if (!loop->parallel_work_per_example)
        return loop->parallel_work >= PARALLEL_THRESHOLD ? 1 : INFINITY;
    return ceil(PARALLEL_THRESHOLD / loop->parallel_work);
}

static bool is_parallel(const Printer *p, const Stmt *loop) {
    return loop->parallel && parallel_batch(loop) <= p->max_batch;
}

/* Unrolled altogether; threads and vectors come first. */
static bool is_unrolled(const Printer *p, const Stmt *loop, int64_t *trips) {
    return !is_parallel(p, loop) && !loop->simd && loop->unroll && constant_trips(loop, trips) &&
           *trips > 1;
}

/* The line above a loop; false if it needs none. */
static bool print_hint(Printer *p, const Stmt *loop) {
    int64_t trips;
    if (is_parallel(p, loop)) {
        double batch = parallel_batch(loop);
        bool collapse = loop->collapse > 1, always = batch <= 1;
        text_add(&p->line, collapse ? "PARALLEL_FOR_COLLAPSE" : "PARALLEL_FOR");
        if (collapse && always)
            text_format(&p->line, "(%d)", loop->collapse);
        else if (collapse)
            text_format(&p->line, "_IF(%d, batch >= %.0f)", loop->collapse, batch);
        else if (!always)
            text_format(&p->line, "_IF(batch >= %.0f)", batch);
    } else if (loop->simd && loop->simd_sum_count > 0) {
        for (int i = 0; i < loop->simd_sum_count; i++)
            text_format(&p->line, "%s%s", i == 0 ? "SIMD_SUM(" : ", ", loop->simd_sums[i]->name);
        text_add_character(&p->line, ')');
    } else if (loop->simd) {
        text_add(&p->line, "SIMD");
    } else if (is_unrolled(p, loop, &trips)) {
        text_format(&p->line, "UNROLL(%lld)", (long long)trips);
    } else if (loop->rolled) {
        text_add(&p->line, "ROLLED");
    }
    return p->line.length > 0;
}

/* ---- Statements ---- */

static void print_block(Printer *p, const Block *block, int indent);

static void end_line(Printer *p, int indent, int deeper) {
    wrap_line(p->out, indent, deeper, p->line.bytes);
    text_clear(&p->line);
    p->depth = 0;
}

/* The one statement of a block, NULL where there are more of them, comments or none. */
static const Stmt *only_statement(const Printer *p, const Block *block) {
    const Stmt *only = NULL;
    for (const Stmt *stmt = block->first; stmt != NULL; stmt = stmt->next) {
        if (!statement_has_effect(p->use, stmt) && stmt->kind != STMT_COMMENT)
            continue;
        if (only != NULL || stmt->kind == STMT_COMMENT)
            return NULL;
        only = stmt;
    }
    return only;
}

/* A body of one plain statement stands without braces, as do the ifs and loops around it. */
static bool needs_braces(Printer *p, const Block *block) {
    const Stmt *only = only_statement(p, block);
    if (only == NULL || only->kind == STMT_DECLARE || only->kind == STMT_ARRAY ||
        only->otherwise.first != NULL)
        return true;
    bool hint = only->kind == STMT_FOR && print_hint(p, only);
    text_clear(&p->line);
    return hint;
}

/* Whether a loop loses by an end that the C compiler does not know. */
static bool has_fixed_end(const Printer *p, const Stmt *loop) {
    int64_t trips;
    if (loop->simd && constant_trips(loop, &trips) && trips >= LONG_SIMD_LOOP)
        return false;
    if (loop->simd || is_unrolled(p, loop, &trips))
        return true;
    return loop->loop != LOOP_INDEPENDENT && constant_trips(loop, &trips) && trips <= SHORT_LOOP;
}

/* for (int i = begin; i < end; i++) or, where it counts from 0 and is unrolled, UNROLLED(i, end).
 */
static void print_head(Printer *p, const Stmt *loop, int indent) {
    const char *name = loop->variable->name, *type = printer_type_name(p, TYPE_INDEX);
    int64_t trips;
    bool counts = loop->begin->kind == EXPR_INTEGER && loop->begin->integer == 0 && loop->step == 1;
    if (counts && is_unrolled(p, loop, &trips) && strcmp(type, "int") == 0) {
        text_format(&p->line, "UNROLLED(%s, %lld)", name, (long long)trips);
        return;
    }
    if (print_hint(p, loop))
        end_line(p, indent, INDENT_WIDTH);
    text_format(&p->line, "for (%s %s = ", type, name);
    print_expression(p, loop->begin, PRECEDENCE_LOWEST);
    text_add_character(&p->line, ';');
    print_break(p);
    text_format(&p->line, "%s < ", name);
    (has_fixed_end(p, loop) ? print_fixed : print_expression)(p, loop->end, PRECEDENCE_SUM);
    text_add_character(&p->line, ';');
    print_break(p);
    if (loop->step == 1)
        text_format(&p->line, "%s++)", name);
    else
        text_format(&p->line, "%s += %lld)", name, (long long)loop->step);
}

/* Loops directly within one another stand at one indent: deep nests stay narrow. */
static void print_for(Printer *p, const Stmt *loop, int indent) {
    const Stmt *only = only_statement(p, &loop->body);
    bool nest = only != NULL && only->kind == STMT_FOR;
    bool braces = !nest && needs_braces(p, &loop->body);
    int64_t trips;
    Rows rows = {loop->variable, p->rows};
    print_head(p, loop, indent);
    text_add(&p->line, braces ? " {" : "");
    end_line(p, indent, 2 * INDENT_WIDTH);
    if (is_unrolled(p, loop, &trips) && trips >= FEWEST_ROWS)
        p->rows = &rows;
    if (nest)
        print_for(p, only, indent);
    else
        print_block(p, &loop->body, indent + KERNEL_INDENT);
    p->rows = rows.outer;
    if (braces)
        wrap_line(p->out, indent, 0, "}");
}

static void print_if(Printer *p, const Stmt *stmt, int indent) {
    bool otherwise = stmt->otherwise.first != NULL;
    bool braces = otherwise || needs_braces(p, &stmt->body);
    text_add(&p->line, "if (");
    print_expression(p, stmt->value, PRECEDENCE_LOWEST);
    text_add(&p->line, braces ? ") {" : ")");
    end_line(p, indent, 2 * INDENT_WIDTH);
    print_block(p, &stmt->body, indent + KERNEL_INDENT);
    if (otherwise) {
        wrap_line(p->out, indent, 0, "} else {");
        print_block(p, &stmt->otherwise, indent + KERNEL_INDENT);
    }
    if (braces)
        wrap_line(p->out, indent, 0, "}");
}

static void print_value(Printer *p, const Stmt *stmt) {
    text_add(&p->line, stmt->add ? " +=" : " =");
    print_break(p);
    p->depth++;
    print_expression(p, stmt->value, PRECEDENCE_LOWEST);
    text_add_character(&p->line, ';');
}

static void print_store(Printer *p, const Stmt *stmt) {
    if (stmt->value->type != TYPE_VECTOR || stmt->buffer->type == TYPE_VECTOR) {
        print_element(p, stmt->buffer, stmt->index, stmt->index_count);
        print_value(p, stmt);
        return;
    }
    text_add(&p->line, "VECTOR_STORE(");
    print_address(p, stmt->buffer, stmt->index, stmt->index_count);
    text_add_character(&p->line, ',');
    print_break(p);
    if (stmt->add) {
        text_add(&p->line, "VECTOR_LOAD(");
        print_address(p, stmt->buffer, stmt->index, stmt->index_count);
        text_add(&p->line, ") + ");
    }
    p->depth++;
    print_expression(p, stmt->value, stmt->add ? PRECEDENCE_SUM + 1 : PRECEDENCE_LOWEST);
    text_add(&p->line, ");");
}

static void print_declaration(Printer *p, const Stmt *stmt) {
    bool constant = stmt->value != NULL && !stmt->variable->assigned;
    text_format(&p->line, "%s%s %s", constant ? "const " : "",
                printer_type_name(p, stmt->variable->type), stmt->variable->name);
    if (stmt->value != NULL)
        print_value(p, stmt);
    else
        text_add_character(&p->line, ';');
}

static void print_array(Printer *p, const Buffer *buffer) {
    int64_t elements = 1;
    for (int i = 0; i < buffer->local_rank; i++)
        elements *= buffer->local_extent[i];
    bool aligned = buffer->type == TYPE_REAL && elements >= ALIGNED_ARRAY;
    text_format(&p->line, "%s%s %s", aligned ? "ALIGNED(64) " : "",
                printer_type_name(p, buffer->type), buffer->name);
    for (int i = 0; i < buffer->local_rank; i++)
        text_format(&p->line, "[%lld]", (long long)buffer->local_extent[i]);
    text_add_character(&p->line, ';');
}

static void print_pointer(Printer *p, const Stmt *stmt) {
    const Buffer *buffer = stmt->buffer;
    text_format(&p->line, "const %s *%s = ", printer_type_name(p, buffer->type), buffer->name);
    print_address(p, buffer->points_into, &stmt->value, 1);
    text_add_character(&p->line, ';');
}

static void print_simple(Printer *p, const Stmt *stmt) {
    switch (stmt->kind) {
    case STMT_STORE:
        print_store(p, stmt);
        break;
    case STMT_DECLARE:
        print_declaration(p, stmt);
        break;
    case STMT_ARRAY:
        print_array(p, stmt->buffer);
        break;
    case STMT_POINTER:
        print_pointer(p, stmt);
        break;
    case STMT_ASSIGN:
        text_add(&p->line, stmt->variable->name);
        print_value(p, stmt);
        break;
    case STMT_CALL:
        print_expression(p, stmt->value, PRECEDENCE_LOWEST);
        text_add_character(&p->line, ';');
        break;
    case STMT_FOR:
    case STMT_IF:
    case STMT_COMMENT:
        break;
    }
}

static void print_block(Printer *p, const Block *block, int indent) {
    for (const Stmt *stmt = block->first; stmt != NULL; stmt = stmt->next) {
        if (stmt->kind == STMT_COMMENT) {
            wrap_comment(p->out, indent, stmt->comment);
        } else if (!statement_has_effect(p->use, stmt)) {
            continue;
        } else if (stmt->kind == STMT_FOR) {
            print_for(p, stmt, indent);
        } else if (stmt->kind == STMT_IF) {
            print_if(p, stmt, indent);
        } else {
            print_simple(p, stmt);
            end_line(p, indent, INDENT_WIDTH);
        }
    }
}

/* ---- Functions ---- */

static bool exceeds_int(const Buffer *buffer, int max_batch) {
    int64_t elements = buffer->scratch ? buffer->scratch_size : buffer->tensor->storage;
    return elements > INT_MAX / (buffer->per_example ? max_batch : 1);
}

static Printer make_printer(Text *out, const KernelUse *use, KernelSizes *sizes, int max_batch) {
    Printer printer = {.out = out, .use = use, .max_batch = max_batch};
    text_init(&printer.line, out->arena);
    for (int i = 0; i < use->argument_count; i++)
        printer.wide = printer.wide || exceeds_int(use->arguments[i], max_batch);
    printer.sizes = printer.wide ? NULL : sizes; /* which are int */
    return printer;
}

/* Sizes of one name are one. */
static const char *print_size_parameters(Printer *p, const KernelSizes *sizes,
                                         const char *separator) {
    for (int i = 0; i < sizes->count; i++) {
        int earlier = 0;
        while (earlier < i && sizes->names[earlier] != sizes->names[i])
            earlier++;
        if (sizes->names[i] == NULL || earlier < i)
            continue;
        text_format(&p->line, "%sint %s", separator, sizes->names[i]);
        separator = ",\001";
    }
    return separator;
}

static void print_parameters(Printer *p, const KernelSizes *sizes) {
    const KernelUse *use = p->use;
    const char *separator = "";
    const struct {
        bool used;
        const char *type, *name;
    } extra[] = {
        {use->batch, printer_type_name(p, TYPE_INDEX), "batch"},
        {use->whole_batch, printer_type_name(p, TYPE_INDEX), "whole_batch"},
        {use->first, printer_type_name(p, TYPE_INDEX), "first_example"},
        {use->random_key, "uint64_t", "random_key"},
        {use->random_stream, "uint32_t", "random_stream"},
        {use->random_layers, "int", "random_layers"},
        {use->network, "Network", "*network"},
    };
    text_add_character(&p->line, '(');
    for (size_t i = 0; i < sizeof extra / sizeof extra[0]; i++) {
        if (!extra[i].used)
            continue;
        text_format(&p->line, "%s%s %s", separator, extra[i].type, extra[i].name);
        separator = ",\001";
    }
    if (sizes != NULL && sizes->names != NULL)
        separator = print_size_parameters(p, sizes, separator);
    for (int i = 0; i < use->argument_count; i++) {
        const Buffer *buffer = use->arguments[i];
        text_format(&p->line, "%s%s%s *RESTRICT %s", separator, buffer->written ? "" : "const ",
                    printer_type_name(p, buffer->type), buffer->name);
        separator = ",\001";
    }
    text_add(&p->line, *separator == '\0' ? "void)" : ")");
}

void print_kernel_parameters(Text *out, const KernelUse *use, const KernelSizes *sizes,
                             int max_batch) {
    Printer printer = make_printer(out, use, NULL, max_batch);
    print_parameters(&printer, sizes);
    text_add(out, printer.line.bytes);
}

void print_kernel_body(Text *out, const Kernel *kernel, const KernelUse *use, KernelSizes *sizes,
                       int max_batch, int indent) {
    Printer printer = make_printer(out, use, sizes, max_batch);
    print_block(&printer, &kernel->body, indent);
}

void print_call(Text *out, int indent, const char *first, const char *const *arguments, int count,
                const char *last) {
    Text line;
    text_init(&line, out->arena);
    text_add(&line, first);
    for (int i = 0; i < count; i++) {
        text_add(&line, i > 0 ? ",\001" : "");
        text_add(&line, arguments[i]);
    }
    text_add(&line, last);
    wrap_line(out, indent, INDENT_WIDTH, line.bytes);
}
