#include "wrap.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static bool is_break(char c) {
    return c >= WRAP_OUTERMOST && c <= WRAP_INNERMOST;
}

/* Where to break a line of which `room` columns fit, and `next_room` on the next one: at the last
 * of the outermost places that fit, but there (behind the = of an assignment) only if the rest then
 * fits, unless there is no other. If nothing fits, the first place at all; 0: nowhere. */
static size_t find_break(const char *line, size_t length, size_t room, size_t next_room) {
    size_t best = 0;
    int best_depth = 0;
    for (size_t i = 1; i < length; i++) {
        if (!is_break(line[i]))
            continue;
        if (i > room)
            return best > 0 ? best : i;
        bool rest_fits = length - i - 1 <= next_room;
        int depth = line[i] == WRAP_OUTERMOST && !rest_fits ? WRAP_INNERMOST + 1 : line[i];
        if (best == 0 || depth <= best_depth) {
            best = i;
            best_depth = depth;
        }
    }
    return best;
}

static size_t room_at(int column) {
    return column < LINE_WIDTH / 2 ? (size_t)(LINE_WIDTH - column) : LINE_WIDTH / 2;
}

static void add_part(Text *out, const char *line, size_t length) {
    size_t start = out->length;
    text_add_bytes(out, line, length);
    for (size_t i = start; i < out->length; i++)
        if (is_break(out->bytes[i]))
            out->bytes[i] = ' ';
    text_add_character(out, '\n');
}

void wrap_line(Text *out, int indent, int deeper, const char *line) {
    size_t length = strlen(line);
    int column = indent;
    for (;;) {
        text_add_repeated(out, ' ', column);
        size_t room = room_at(column), next_room = room_at(indent + deeper);
        size_t end = length <= room ? 0 : find_break(line, length, room, next_room);
        if (end == 0)
            break;
        add_part(out, line, end);
        line += end + 1;
        length -= end + 1;
        column = indent + deeper;
    }
    add_part(out, line, length);
}

/* ---- Comments ---- */

/* Length of a well-formed UTF-8 sequence at `bytes`, its code point in *code; 0: it is none. */
static int decode(const unsigned char *bytes, uint32_t *code) {
    int length = bytes[0] < 0x80   ? 1
                 : bytes[0] < 0xc2 ? 0
                 : bytes[0] < 0xe0 ? 2
                 : bytes[0] < 0xf0 ? 3
                 : bytes[0] < 0xf5 ? 4
                                   : 0;
    static const unsigned char first_mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t value = bytes[0] & first_mask[length];
    for (int i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (bytes[i] & 0x3f);
    }
    bool surrogate = value >= 0xd800 && value <= 0xdfff;
    *code = value;
    return surrogate || value < smallest[length] || value > 0x10ffff ? 0 : length;
}

/* Characters that reverse the direction of writing can make code look like what it is not. */
static bool is_harmless(uint32_t code) {
    bool control = (code < 0x20 && code != '\t' && code != '\n') || (code >= 0x7f && code < 0xa0);
    bool direction = (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) ||
                     code == 0x200e || code == 0x200f || code == 0x061c;
    return !control && !direction;
}

/* Pairs of characters that mean something even in a comment; a blank goes between them. */
static bool must_part(char before, char next) {
    return (before == '*' && next == '/') || (before == '/' && next == '*') ||
           (before == '?' && next == '?');
}

const char *comment_safe(Arena *arena, const char *string) {
    Text text;
    text_init(&text, arena);
    const unsigned char *bytes = (const unsigned char *)string;
    while (*bytes != '\0') {
        uint32_t code = 0;
        int length = decode(bytes, &code);
        char before = text.length > 0 ? text.bytes[text.length - 1] : '\0';
        if (code == '\r' && bytes[1] == '\n') {
            bytes++;
            continue;
        }
        if (length == 1 && must_part(before, (char)*bytes))
            text_add_character(&text, ' ');
        if (length == 1 && code == '\n' && before == '\\')
            text_add_character(&text, '.');
        if (length > 0 && is_harmless(code))
            text_add_bytes(&text, (const char *)bytes, (size_t)length);
        else
            text_add_character(&text, '.');
        bytes += length > 0 ? length : 1;
    }
    return text.bytes;
}

static void next_comment_line(Text *out, int indent, int *column) {
    text_add_character(out, '\n');
    text_add_repeated(out, ' ', indent);
    text_add(out, " *");
    *column = indent + 2;
}

void wrap_comment(Text *out, int indent, const char *string) {
    const char *c = comment_safe(out->arena, string);
    text_add_repeated(out, ' ', indent);
    text_add(out, "/*");
    int column = indent + 2;
    for (;;) {
        size_t word = strcspn(c, " \n");
        if (column + 1 + (int)word > LINE_WIDTH - 3 && column > indent + 2)
            next_comment_line(out, indent, &column);
        if (word > 0) {
            text_add_character(out, ' ');
            text_add_bytes(out, c, word);
            column += 1 + (int)word;
        }
        c += word;
        if (*c == '\0')
            break;
        if (*c == '\n' && c[1] != '\0')
            next_comment_line(out, indent, &column);
        c++;
    }
    text_add(out, " */\n");
}

void wrap_verbatim(Text *out, const char *prefix, const char *string) {
    const char *line = comment_safe(out->arena, string);
    while (*line != '\0') {
        size_t length = strcspn(line, "\n"), used = length;
        while (used > 0 && (line[used - 1] == ' ' || line[used - 1] == '\t'))
            used--;
        size_t prefix_length = strlen(prefix);
        while (used == 0 && prefix_length > 0 && prefix[prefix_length - 1] == ' ')
            prefix_length--;
        text_add_bytes(out, prefix, prefix_length);
        text_add_bytes(out, line, used);
        text_add_character(out, '\n');
        line += length + (line[length] == '\n');
    }
}
