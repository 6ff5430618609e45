#include "json.h"

#include <stdlib.h>
#include <string.h>

static bool json_fail(JsonReader *reader) {
    reader->failed = true;
    return false;
}

static void json_skip_blanks(JsonReader *reader) {
    while (reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\t' ||
                                        *reader->at == '\n' || *reader->at == '\r')) {
        reader->at++;
    }
}

RUNTIME_API bool json_accept(JsonReader *reader, char character) {
    json_skip_blanks(reader);
    if (reader->failed || reader->at == reader->end || *reader->at != character) {
        return false;
    }
    reader->at++;
    return true;
}

RUNTIME_API bool json_expect(JsonReader *reader, char character) {
    return json_accept(reader, character) || json_fail(reader);
}

RUNTIME_API bool json_next(JsonReader *reader, char close, bool *first) {
    if (reader->failed || json_accept(reader, close)) {
        return false;
    }
    bool comma = *first || json_expect(reader, ',');
    *first = false;
    return comma;
}

RUNTIME_API bool json_at_end(JsonReader *reader) {
    json_skip_blanks(reader);
    return !reader->failed && reader->at == reader->end;
}

RUNTIME_API bool json_size(JsonReader *reader, size_t *value) {
    json_skip_blanks(reader);
    const char *begin = reader->at;
    *value = 0;
    while (!reader->failed && reader->at < reader->end && *reader->at >= '0' &&
           *reader->at <= '9') {
        size_t digit = (size_t)(*reader->at++ - '0');
        if (!size_multiply(*value, 10, value) || *value > SIZE_MAX - digit) {
            return json_fail(reader);
        }
        *value += digit;
    }
    return reader->at > begin || json_fail(reader);
}

static bool json_hexadecimal(JsonReader *reader, uint32_t *code) {
    *code = 0;
    if (reader->end - reader->at < 4) {
        return json_fail(reader);
    }
    for (int i = 0; i < 4; i++) {
        static const char digits[] = "0123456789abcdef";
        char c = *reader->at++;
        c = c >= 'A' && c <= 'F' ? (char)(c - 'A' + 'a') : c;
        const char *digit = c == '\0' ? NULL : strchr(digits, c);
        if (digit == NULL) {
            return json_fail(reader);
        }
        *code = *code << 4 | (uint32_t)(digit - digits);
    }
    return true;
}

/* After "\u": a code point, perhaps as a pair of surrogates, written as UTF-8. */
static char *json_code_point(JsonReader *reader, char *out) {
    uint32_t code, low;
    if (!json_hexadecimal(reader, &code)) {
        return out;
    }
    if (code >= 0xD800 && code < 0xDC00) {
        if (reader->end - reader->at < 6 || reader->at[0] != '\\' || reader->at[1] != 'u') {
            json_fail(reader);
            return out;
        }
        reader->at += 2;
        if (!json_hexadecimal(reader, &low) || low < 0xDC00 || low > 0xDFFF) {
            json_fail(reader);
            return out;
        }
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code == 0 || (code >= 0xDC00 && code <= 0xDFFF)) {
        json_fail(reader);
        return out;
    }
    if (code < 0x80) {
        *out++ = (char)code;
    } else if (code < 0x800) {
        *out++ = (char)(0xC0 | code >> 6);
        *out++ = (char)(0x80 | (code & 0x3F));
    } else {
        if (code < 0x10000) {
            *out++ = (char)(0xE0 | code >> 12);
        } else {
            *out++ = (char)(0xF0 | code >> 18);
            *out++ = (char)(0x80 | (code >> 12 & 0x3F));
        }
        *out++ = (char)(0x80 | (code >> 6 & 0x3F));
        *out++ = (char)(0x80 | (code & 0x3F));
    }
    return out;
}

static char *json_escape(JsonReader *reader, char *out) {
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    char letter = reader->at < reader->end ? *reader->at++ : '\0';
    const char *found = letter == '\0' ? NULL : strchr(letters, letter);
    if (letter == 'u') {
        return json_code_point(reader, out);
    }
    if (found == NULL) {
        json_fail(reader);
        return out;
    }
    *out++ = meanings[found - letters];
    return out;
}

RUNTIME_API char *json_string(JsonReader *reader) {
    if (!json_expect(reader, '"')) {
        return NULL;
    }
    /* The text never gets longer than it is in the file: find its end first. */
    const char *end = reader->at;
    while (end < reader->end && *end != '"') {
        end += *end == '\\' && reader->end - end > 1 ? 2 : 1;
    }
    char *text = end < reader->end ? malloc((size_t)(end - reader->at) + 1) : NULL;
    char *out = text;
    if (text == NULL) {
        json_fail(reader);
        return NULL;
    }
    while (!reader->failed && reader->at < end) {
        char c = *reader->at++;
        if ((unsigned char)c < 0x20) {
            json_fail(reader);
        } else if (c == '\\') {
            out = json_escape(reader, out);
        } else {
            *out++ = c;
        }
    }
    if (reader->failed || !json_expect(reader, '"')) {
        free(text);
        return NULL;
    }
    *out = '\0';
    return text;
}
