#include "inflate.h"

#include <stdlib.h>
#include <string.h>

#define INFLATE_MAX_BITS 15
#define INFLATE_SHORT_BITS 9 /* codes that are found in a table; longer ones are rare */
#define INFLATE_MAX_LITERALS 288
#define INFLATE_MAX_DISTANCES 30
#define INFLATE_END_OF_BLOCK 256

typedef struct Inflate {
    const unsigned char *data;
    size_t size, position;
    uint32_t bits; /* read but not used yet, lowest first */
    int bit_count;
    unsigned char *out;
    size_t length, capacity, limit;
    size_t member_begin; /* distances may not reach back beyond it */
    const char *mistake; /* NULL: none so far */
} Inflate;

/* A canonical Huffman code: how many codes there are of each length, and the symbols in the order
 * of their codes. */
typedef struct InflateCode {
    uint16_t count[INFLATE_MAX_BITS + 1];
    uint16_t symbol[INFLATE_MAX_LITERALS];
    /* By the next bits: 16*symbol + length of its code; 0 where the code is longer or invalid. */
    uint16_t short_codes[1 << INFLATE_SHORT_BITS];
} InflateCode;

static int inflate_fail(Inflate *state, const char *mistake) {
    if (state->mistake == NULL) {
        state->mistake = mistake;
    }
    return -1;
}

/* The next `count` (at most 16) bits, or -1. */
static int inflate_bits(Inflate *state, int count) {
    while (state->bit_count < count) {
        if (state->position == state->size) {
            return inflate_fail(state, "it ends in the middle of the compressed data");
        }
        state->bits |= (uint32_t)state->data[state->position++] << state->bit_count;
        state->bit_count += 8;
    }
    int value = (int)(state->bits & ((1u << count) - 1));
    state->bits >>= count;
    state->bit_count -= count;
    return value;
}

/* Reads ahead as far as there is room and data: no mistake yet if there is not. */
static void inflate_read_ahead(Inflate *state) {
    while (state->bit_count <= 24 && state->position < state->size) {
        state->bits |= (uint32_t)state->data[state->position++] << state->bit_count;
        state->bit_count += 8;
    }
}

/* Goes on with the next whole byte: bits of a byte that was begun are padding, others return. */
static void inflate_next_byte(Inflate *state) {
    state->position -= (size_t)state->bit_count / 8;
    state->bits = 0;
    state->bit_count = 0;
}

static bool inflate_reserve(Inflate *state, size_t more) {
    if (more > state->limit - state->length) {
        inflate_fail(state, "it decompresses to more than is allowed");
        return false;
    }
    if (state->length + more > state->capacity) {
        size_t capacity = state->capacity < 4096 ? 4096 : state->capacity;
        while (capacity < state->length + more) {
            capacity = capacity > SIZE_MAX / 2 ? SIZE_MAX : capacity * 2;
        }
        unsigned char *out = realloc(state->out, capacity);
        if (out == NULL) {
            inflate_fail(state, "there is not enough memory to decompress it");
            return false;
        }
        state->out = out;
        state->capacity = capacity;
    }
    return true;
}

/* Codes stand in the stream with their first bit lowest. */
static void inflate_make_short_codes(InflateCode *code) {
    int value = 0, index = 0;
    memset(code->short_codes, 0, sizeof code->short_codes);
    for (int bits = 1; bits <= INFLATE_SHORT_BITS; bits++, value *= 2) {
        for (int i = 0; i < code->count[bits]; i++, value++, index++) {
            int entry = 0;
            for (int bit = 0; bit < bits; bit++) {
                entry |= (value >> bit & 1) << (bits - 1 - bit);
            }
            for (; entry < 1 << INFLATE_SHORT_BITS; entry += 1 << bits) {
                code->short_codes[entry] = (uint16_t)(16 * code->symbol[index] + bits);
            }
        }
    }
}

/* Makes the code with these lengths (0: unused). An incomplete code is allowed only where RFC 1951
 * does: a single code of one bit, or none at all. */
static bool inflate_make_code(InflateCode *code, const unsigned char *lengths, int count) {
    uint16_t offset[INFLATE_MAX_BITS + 1];
    memset(code->count, 0, sizeof code->count);
    for (int i = 0; i < count; i++) {
        code->count[lengths[i]]++;
    }
    int used = count - code->count[0], left = 1;
    code->count[0] = 0;
    for (int bits = 1; bits <= INFLATE_MAX_BITS; bits++) {
        left = 2 * left - code->count[bits];
        if (left < 0) {
            return false;
        }
    }
    if (left > 0 && !(used == 0 || (used == 1 && code->count[1] == 1))) {
        return false;
    }
    offset[1] = 0;
    for (int bits = 1; bits < INFLATE_MAX_BITS; bits++) {
        offset[bits + 1] = (uint16_t)(offset[bits] + code->count[bits]);
    }
    for (int i = 0; i < count; i++) {
        if (lengths[i] != 0) {
            code->symbol[offset[lengths[i]]++] = (uint16_t)i;
        }
    }
    inflate_make_short_codes(code);
    return true;
}

static int inflate_symbol(Inflate *state, const InflateCode *code) {
    int value = 0, first = 0, index = 0;
    inflate_read_ahead(state);
    int found = code->short_codes[state->bits & ((1u << INFLATE_SHORT_BITS) - 1)];
    if (found != 0 && found % 16 <= state->bit_count) {
        state->bits >>= found % 16;
        state->bit_count -= found % 16;
        return found / 16;
    }
    for (int bits = 1; bits <= INFLATE_MAX_BITS; bits++) {
        int bit = inflate_bits(state, 1);
        if (bit < 0) {
            return -1;
        }
        value |= bit;
        if (value - first < code->count[bits]) {
            return code->symbol[index + value - first];
        }
        index += code->count[bits];
        first = (first + code->count[bits]) << 1;
        value <<= 1;
    }
    return inflate_fail(state, "it has an invalid code");
}

static bool inflate_match(Inflate *state, const InflateCode *distances, int length_symbol) {
    static const uint16_t length_base[29] = {3,  4,  5,  6,   7,   8,   9,   10,  11, 13,
                                             15, 17, 19, 23,  27,  31,  35,  43,  51, 59,
                                             67, 83, 99, 115, 131, 163, 195, 227, 258};
    static const unsigned char length_extra[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                                   2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
    static const uint16_t distance_base[INFLATE_MAX_DISTANCES] = {
        1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
        193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};

    int row = length_symbol - INFLATE_END_OF_BLOCK - 1;
    if (row >= 29) {
        inflate_fail(state, "it has an invalid length");
        return false;
    }
    int extra = inflate_bits(state, length_extra[row]);
    int symbol = extra < 0 ? -1 : inflate_symbol(state, distances);
    if (symbol < 0) {
        return false;
    }
    if (symbol >= INFLATE_MAX_DISTANCES) {
        inflate_fail(state, "it has an invalid distance");
        return false;
    }
    int distance_extra = inflate_bits(state, symbol < 4 ? 0 : symbol / 2 - 1);
    if (distance_extra < 0) {
        return false;
    }
    size_t length = length_base[row] + (size_t)extra;
    size_t distance = distance_base[symbol] + (size_t)distance_extra;
    if (distance > state->length - state->member_begin) {
        inflate_fail(state, "a distance reaches before the beginning");
        return false;
    }
    if (!inflate_reserve(state, length)) {
        return false;
    }
    for (size_t i = 0; i < length; i++) { /* source and target may overlap */
        state->out[state->length] = state->out[state->length - distance];
        state->length++;
    }
    return true;
}

static bool inflate_compressed(Inflate *state, const InflateCode *literals,
                               const InflateCode *distances) {
    for (;;) {
        int symbol = inflate_symbol(state, literals);
        if (symbol < 0) {
            return false;
        }
        if (symbol == INFLATE_END_OF_BLOCK) {
            return true;
        }
        if (symbol > INFLATE_END_OF_BLOCK) {
            if (!inflate_match(state, distances, symbol)) {
                return false;
            }
        } else {
            if (!inflate_reserve(state, 1)) {
                return false;
            }
            state->out[state->length++] = (unsigned char)symbol;
        }
    }
}

static bool inflate_stored(Inflate *state) {
    inflate_next_byte(state);
    if (state->size - state->position < 4) {
        inflate_fail(state, "it ends in the middle of the compressed data");
        return false;
    }
    const unsigned char *header = state->data + state->position;
    size_t length = header[0] | (size_t)header[1] << 8;
    size_t complement = header[2] | (size_t)header[3] << 8;
    state->position += 4;
    if (length != (complement ^ 0xFFFF)) {
        inflate_fail(state, "a stored block's length is damaged");
        return false;
    }
    if (length > state->size - state->position) {
        inflate_fail(state, "it ends in the middle of the compressed data");
        return false;
    }
    if (!inflate_reserve(state, length)) {
        return false;
    }
    if (length > 0) {
        memcpy(state->out + state->length, state->data + state->position, length);
    }
    state->length += length;
    state->position += length;
    return true;
}

static bool inflate_fixed(Inflate *state) {
    unsigned char lengths[INFLATE_MAX_LITERALS];
    InflateCode literals, distances;
    memset(lengths, 8, sizeof lengths);
    memset(lengths + 144, 9, 112);
    memset(lengths + 256, 7, 24);
    inflate_make_code(&literals, lengths, INFLATE_MAX_LITERALS);
    /* Symbols 30 and 31 take part in the code but never occur. */
    memset(lengths, 5, 32);
    inflate_make_code(&distances, lengths, 32);
    return inflate_compressed(state, &literals, &distances);
}

/* Reads `count` code lengths, themselves compressed, into lengths. */
static bool inflate_read_lengths(Inflate *state, const InflateCode *code, unsigned char *lengths,
                                 int count) {
    for (int i = 0; i < count;) {
        int symbol = inflate_symbol(state, code), repeat = 1;
        unsigned char value = 0;
        if (symbol < 0) {
            return false;
        }
        if (symbol < 16) {
            value = (unsigned char)symbol;
        } else if (symbol == 16) {
            if (i == 0) {
                inflate_fail(state, "it repeats a code length that is not there");
                return false;
            }
            value = lengths[i - 1];
            repeat = inflate_bits(state, 2) + 3;
        } else if (symbol == 17) {
            repeat = inflate_bits(state, 3) + 3;
        } else {
            repeat = inflate_bits(state, 7) + 11;
        }
        if (state->mistake != NULL || repeat > count - i) {
            inflate_fail(state, "it has too many code lengths");
            return false;
        }
        memset(lengths + i, value, (size_t)repeat);
        i += repeat;
    }
    return true;
}

static bool inflate_dynamic(Inflate *state) {
    static const unsigned char order[19] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                            11, 4,  12, 3, 13, 2, 14, 1, 15};
    unsigned char lengths[INFLATE_MAX_LITERALS + 32] = {0};
    InflateCode literals, distances, code;

    int literal_count = inflate_bits(state, 5) + 257;
    int distance_count = inflate_bits(state, 5) + 1;
    int length_count = inflate_bits(state, 4) + 4;
    if (state->mistake != NULL) {
        return false;
    }
    if (literal_count > 286 || distance_count > INFLATE_MAX_DISTANCES) {
        inflate_fail(state, "it has too many codes");
        return false;
    }
    for (int i = 0; i < length_count; i++) {
        int bits = inflate_bits(state, 3);
        if (bits < 0) {
            return false;
        }
        lengths[order[i]] = (unsigned char)bits;
    }
    if (!inflate_make_code(&code, lengths, 19)) {
        inflate_fail(state, "its code lengths are contradictory");
        return false;
    }
    memset(lengths, 0, sizeof lengths);
    if (!inflate_read_lengths(state, &code, lengths, literal_count + distance_count)) {
        return false;
    }
    if (lengths[INFLATE_END_OF_BLOCK] == 0 ||
        !inflate_make_code(&literals, lengths, literal_count) ||
        !inflate_make_code(&distances, lengths + literal_count, distance_count)) {
        inflate_fail(state, "its code lengths are contradictory");
        return false;
    }
    return inflate_compressed(state, &literals, &distances);
}

static bool inflate_blocks(Inflate *state) {
    int last = 0;
    state->bits = 0;
    state->bit_count = 0;
    while (!last) {
        last = inflate_bits(state, 1);
        int type = last < 0 ? -1 : inflate_bits(state, 2);
        bool good = type == 0   ? inflate_stored(state)
                    : type == 1 ? inflate_fixed(state)
                    : type == 2 ? inflate_dynamic(state)
                                : false;
        if (!good) {
            inflate_fail(state, "it has a block of unknown type");
            return false;
        }
    }
    inflate_next_byte(state);
    return true;
}

static uint32_t inflate_word(const unsigned char *bytes) {
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

/* Four bytes at a time: table[k] has what a byte with k more bytes behind it contributes (Kounavis
 * and Berry 2005). */
static uint32_t inflate_crc32(const unsigned char *data, size_t size) {
    uint32_t table[4][256], crc = 0xFFFFFFFFu;
    size_t at = 0;
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t value = i;
        for (int bit = 0; bit < 8; bit++) {
            value = value & 1 ? 0xEDB88320u ^ (value >> 1) : value >> 1;
        }
        table[0][i] = value;
    }
    for (int k = 1; k < 4; k++) {
        for (int i = 0; i < 256; i++) {
            table[k][i] = table[0][table[k - 1][i] & 0xFF] ^ (table[k - 1][i] >> 8);
        }
    }
    for (; size - at >= 4; at += 4) {
        crc ^= inflate_word(data + at);
        crc = table[3][crc & 0xFF] ^ table[2][crc >> 8 & 0xFF] ^ table[1][crc >> 16 & 0xFF] ^
              table[0][crc >> 24];
    }
    for (; at < size; at++) {
        crc = table[0][(crc ^ data[at]) & 0xFF] ^ (crc >> 8);
    }
    return ~crc;
}

/* Skips the header of a member: ten bytes, then the parts that the flags announce. */
static bool gzip_header(Inflate *state) {
    enum { HEADER_CRC = 2, EXTRA = 4, NAME = 8, COMMENT = 16, RESERVED = 0xE0 };
    const unsigned char *data = state->data + state->position;
    size_t left = state->size - state->position, used = 10;
    if (left < 18 || data[0] != 0x1F || data[1] != 0x8B || data[2] != 8 || data[3] & RESERVED) {
        inflate_fail(state, "it has no valid gzip header");
        return false;
    }
    if (data[3] & EXTRA) {
        used += 2 + (data[10] | (size_t)data[11] << 8);
    }
    for (int flag = NAME; flag <= COMMENT; flag *= 2) {
        if (data[3] & flag) {
            while (used < left && data[used] != 0) {
                used++;
            }
            used++;
        }
    }
    used += data[3] & HEADER_CRC ? 2 : 0;
    if (used > left) {
        inflate_fail(state, "it ends in the middle of the gzip header");
        return false;
    }
    state->position += used;
    return true;
}

static bool gzip_member(Inflate *state) {
    state->member_begin = state->length;
    if (!gzip_header(state) || !inflate_blocks(state)) {
        return false;
    }
    if (state->size - state->position < 8) {
        inflate_fail(state, "it ends before the checksum");
        return false;
    }
    const unsigned char *trailer = state->data + state->position;
    size_t length = state->length - state->member_begin;
    state->position += 8;
    if (inflate_word(trailer) != inflate_crc32(state->out + state->member_begin, length)) {
        inflate_fail(state, "its checksum (CRC-32) does not match");
    } else if (inflate_word(trailer + 4) != (uint32_t)length) {
        inflate_fail(state, "its length does not match");
    }
    return state->mistake == NULL;
}

RUNTIME_API bool gzip_recognise(const unsigned char *data, size_t size) {
    return size >= 2 && data[0] == 0x1F && data[1] == 0x8B;
}

RUNTIME_API unsigned char *gzip_decompress(const char *name, const unsigned char *data, size_t size,
                                           size_t limit, size_t *result_size, Problem *problem) {
    Inflate state = {.data = data, .size = size, .limit = limit};
    bool good = inflate_reserve(&state, 0);
    if (good && state.out == NULL) { /* so that no data is not NULL */
        state.out = malloc(1);
        state.capacity = 1;
        good = state.out != NULL || inflate_fail(&state, "there is not enough memory") == 0;
    }
    do {
        good = good && gzip_member(&state);
    } while (good && state.position < state.size);
    if (!good) {
        problem_add(problem, "%s: cannot decompress: %s", name, state.mistake);
        free(state.out);
        return NULL;
    }
    *result_size = state.length;
    return state.out;
}
