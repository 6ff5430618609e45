/* A table of text cells with aligned columns, and the rows that the text and the Markdown report
 * share. Cells may hold UTF-8; widths are counted in code points. */
#ifndef CNNC_REPORT_TABLE_H
#define CNNC_REPORT_TABLE_H

#include "report.h"

#define MAX_COLUMNS 8

typedef struct Column {
    const char *title;
    bool right; /* numbers */
} Column;

typedef struct Table {
    Arena *arena;
    int column_count;
    const Column *columns;
    int row_count, row_capacity;
    const char *(*rows)[MAX_COLUMNS]; /* NULL is an empty cell */
} Table;

void table_init(Table *table, Arena *arena, const Column *columns, int column_count);
/* The cells of a new row, to be filled by the caller. */
const char **table_add_row(Table *table);
/* Columns two blanks apart under a ruled header; the last column is not padded. A rule stands
 * before row `rule_before` as well (-1: nowhere). */
void table_print_text(Text *out, const Table *table, int rule_before);
void table_print_markdown(Text *out, const Table *table);

/* One row per layer, INPUT included, and a last one of totals. */
Table layer_table(Arena *arena, const ReportInput *input);

#endif
