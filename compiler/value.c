#include "value.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAXIMUM_TEXT 400

/* A text that is being written. Values may share their parts, so that without a limit the text
 * could be exponentially longer than the description; the limit bounds the recursion as well. */
typedef struct Writer {
    char text[MAXIMUM_TEXT + 4];
    size_t length;
    bool full;
} Writer;

static void write_value(Writer *writer, const Value *value);

const char *value_kind_name(ValueKind kind) {
    static const char *const names[] = {
        [VALUE_NONE] = "nothing",    [VALUE_INTEGER] = "integer", [VALUE_NUMBER] = "number",
        [VALUE_BOOLEAN] = "boolean", [VALUE_STRING] = "string",   [VALUE_DIMS] = "dimensions",
        [VALUE_LIST] = "list",       [VALUE_LABEL] = "label",     [VALUE_WORD] = "word",
    };
    return names[kind];
}

static void write_text(Writer *writer, const char *text) {
    size_t length = strlen(text);
    if (writer->full) {
        return;
    }
    if (length > MAXIMUM_TEXT - writer->length) {
        writer->full = true;
        text = "...";
        length = 3;
    }
    memcpy(writer->text + writer->length, text, length);
    writer->length += length;
}

static void write_integer(Writer *writer, int64_t integer) {
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, integer);
    write_text(writer, text);
}

/* The shortest decimal that reads back as the same number. */
static void write_number(Writer *writer, double number) {
    char text[40];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, number);
        if (strtod(text, NULL) == number) {
            break;
        }
    }
    write_text(writer, text);
}

static void write_dims(Writer *writer, const Dims *dims) {
    for (int i = 0; i < dims->rank; i++) {
        write_text(writer, i == 0 ? "" : "x");
        write_integer(writer, dims->extent[i]);
    }
}

static void write_list(Writer *writer, const Value *list) {
    write_text(writer, "[");
    for (int i = 0; i < list->as.list.count && !writer->full; i++) {
        write_text(writer, i == 0 ? "" : ", ");
        write_value(writer, &list->as.list.items[i]);
    }
    write_text(writer, "]");
}

static void write_words(Writer *writer, const Word *word) {
    for (; word != NULL && !writer->full; word = word->next) {
        write_text(writer, word->name);
        for (int i = 0; i < word->argument_count && !writer->full; i++) {
            write_text(writer, i == 0 ? "(" : ", ");
            if (word->argument_names[i] != NULL) {
                write_text(writer, word->argument_names[i]);
                write_text(writer, "=");
            }
            write_value(writer, &word->arguments[i]);
        }
        write_text(writer, word->argument_count > 0 ? ")" : "");
        write_text(writer, word->next != NULL ? " - " : "");
    }
}

static void write_value(Writer *writer, const Value *value) {
    switch (value->kind) {
    case VALUE_NONE:
        write_text(writer, "none");
        break;
    case VALUE_INTEGER:
        write_integer(writer, value->as.integer);
        break;
    case VALUE_NUMBER:
        write_number(writer, value->as.number);
        break;
    case VALUE_BOOLEAN:
        write_text(writer, value->as.boolean ? "true" : "false");
        break;
    case VALUE_STRING:
        write_text(writer, "\"");
        write_text(writer, value->as.string);
        write_text(writer, "\"");
        break;
    case VALUE_DIMS:
        write_dims(writer, &value->as.dims);
        break;
    case VALUE_LIST:
        write_list(writer, value);
        break;
    case VALUE_LABEL:
        write_text(writer, "@");
        write_text(writer, value->as.string);
        break;
    case VALUE_WORD:
        write_words(writer, value->as.word);
        break;
    }
}

const char *value_text(Arena *arena, const Value *value) {
    Writer writer = {.length = 0};
    write_value(&writer, value);
    return arena_copy(arena, writer.text, writer.length);
}
