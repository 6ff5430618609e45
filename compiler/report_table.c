#include "report_table.h"

#include <string.h>

void table_init(Table *table, Arena *arena, const Column *columns, int column_count) {
    *table = (Table){.arena = arena, .columns = columns, .column_count = column_count};
}

const char **table_add_row(Table *table) {
    ARENA_GROW(table->arena, table->rows, table->row_count, table->row_capacity);
    memset(table->rows[table->row_count], 0, sizeof table->rows[0]);
    return table->rows[table->row_count++];
}

static int width_of(const char *cell) {
    int width = 0;
    for (const char *c = cell ? cell : ""; *c; c++)
        width += ((unsigned char)*c & 0xc0) != 0x80; /* continuation bytes take no column */
    return width;
}

static void add_cell(Text *out, const char *cell, int width, bool right, bool last) {
    int blanks = width - width_of(cell);
    if (right)
        text_add_repeated(out, ' ', blanks);
    text_add(out, cell ? cell : "");
    if (!right && !last)
        text_add_repeated(out, ' ', blanks);
}

/* Rows end at their last cell that is not empty. */
static void add_row(Text *out, const Table *table, const char *const *cells, const int *widths) {
    int count = table->column_count;
    while (count > 0 && (!cells[count - 1] || !cells[count - 1][0]))
        count--;
    for (int i = 0; i < count; i++) {
        text_add(out, i ? "  " : "");
        add_cell(out, cells[i], widths[i], table->columns[i].right, i == count - 1);
    }
    text_add_character(out, '\n');
}

static void add_rule(Text *out, const Table *table, const int *widths) {
    int width = 0;
    for (int i = 0; i < table->column_count - 1; i++)
        width += widths[i] + 2;
    width += width_of(table->columns[table->column_count - 1].title); /* its cells may be long */
    text_add_repeated(out, '-', width);
    text_add_character(out, '\n');
}

void table_print_text(Text *out, const Table *table, int rule_before) {
    int widths[MAX_COLUMNS];
    const char *titles[MAX_COLUMNS];
    for (int i = 0; i < table->column_count; i++) {
        titles[i] = table->columns[i].title;
        widths[i] = width_of(titles[i]);
        for (int row = 0; row < table->row_count; row++) {
            int width = width_of(table->rows[row][i]);
            widths[i] = width > widths[i] ? width : widths[i];
        }
    }
    add_row(out, table, titles, widths);
    add_rule(out, table, widths);
    for (int row = 0; row < table->row_count; row++) {
        if (row == rule_before)
            add_rule(out, table, widths);
        add_row(out, table, table->rows[row], widths);
    }
}

void table_print_markdown(Text *out, const Table *table) {
    for (int i = 0; i < table->column_count; i++)
        text_format(out, "| %s ", table->columns[i].title);
    text_add(out, "|\n");
    for (int i = 0; i < table->column_count; i++)
        text_add(out, table->columns[i].right ? "|---:" : "|---");
    text_add(out, "|\n");
    for (int row = 0; row < table->row_count; row++) {
        for (int i = 0; i < table->column_count; i++) {
            const char *cell = table->rows[row][i];
            text_format(out, "| %s ", cell ? cell : "");
        }
        text_add(out, "|\n");
    }
}

/* ---- The table of layers ---- */

enum { NAME, KIND, OUTPUT, PARAMETERS, PARAMETER_SHARE, FLOPS, FLOP_SHARE, DETAILS };

static const Column layer_columns[] = {
    [NAME] = {"Layer", false},       [KIND] = {"Kind", false},
    [OUTPUT] = {"Output", false},    [PARAMETERS] = {"Parameters", true},
    [PARAMETER_SHARE] = {"%", true}, [FLOPS] = {"FLOPs", true},
    [FLOP_SHARE] = {"%", true},      [DETAILS] = {"Details", false},
};
_Static_assert(sizeof layer_columns / sizeof layer_columns[0] == MAX_COLUMNS, "columns");

static const char *share_text(Arena *arena, int64_t part, int64_t whole) {
    if (part == 0 || whole == 0)
        return "";
    double percent = 100.0 * (double)part / (double)whole;
    return percent < 0.05 ? "<0.1" : arena_format(arena, "%.1f", percent);
}

/* Where the inputs come from, if that is not the row above: "<- relu1, bn2". */
static void add_sources(Text *details, const Layer *layer) {
    enum { SHOWN = 4 };
    if (layer->input_count == 1 && layer->inputs[0]->index == layer->index - 1)
        return;
    text_add(details, details->length ? "  <- " : "<- ");
    for (int i = 0; i < layer->input_count; i++) {
        if (i == SHOWN - 1 && layer->input_count > SHOWN) {
            text_format(details, ", ... (%d)", layer->input_count);
            break;
        }
        text_format(details, "%s%s", i ? ", " : "", layer->inputs[i]->name);
    }
}

static void fill_row(const char **cells, Arena *arena, const Network *network, const Layer *layer) {
    ParameterTotals totals = layer_parameters(layer);
    int64_t parameters = totals.weights + totals.biases;
    cells[NAME] = layer->name;
    cells[KIND] = layer->op->name;
    cells[OUTPUT] = shape_text(arena, &layer->output);
    if (layer->index == 0)
        return;
    cells[PARAMETERS] = count_text(arena, parameters);
    cells[PARAMETER_SHARE] = share_text(arena, parameters, network->parameter_count);
    cells[FLOPS] = count_text(arena, layer->cost.flops);
    cells[FLOP_SHARE] = share_text(arena, layer->cost.flops, network->cost.flops);
    Text details;
    text_init(&details, arena);
    text_add(&details, layer_arguments(arena, layer));
    add_sources(&details, layer);
    cells[DETAILS] = details.bytes;
}

Table layer_table(Arena *arena, const ReportInput *input) {
    const Network *network = input->network;
    Table table;
    table_init(&table, arena, layer_columns, MAX_COLUMNS);
    for (int i = 0; i < network->layer_count; i++)
        fill_row(table_add_row(&table), arena, network, network->layers[i]);
    const char **totals = table_add_row(&table);
    totals[NAME] = "total";
    totals[KIND] = arena_format(arena, "%d layers", network_layer_total(network));
    totals[PARAMETERS] = count_text(arena, network->parameter_count);
    totals[FLOPS] = count_text(arena, network->cost.flops);
    return table;
}
