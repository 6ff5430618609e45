#include "elements.h"

#include <string.h>

RUNTIME_API const ElementTypeInfo *element_type_info(ElementType type) {
    static const ElementTypeInfo table[ELEMENT_TYPES] = {
        [ELEMENT_FLOAT32] = {"float32", "<f4", "F32", 4, false},
        [ELEMENT_FLOAT64] = {"float64", "<f8", "F64", 8, false},
        [ELEMENT_INT32] = {"int32", "<i4", "I32", 4, true},
        [ELEMENT_INT64] = {"int64", "<i8", "I64", 8, true},
        [ELEMENT_UINT8] = {"uint8", "|u1", "U8", 1, true},
    };
    return &table[type];
}

RUNTIME_API uint64_t elements_unsigned(const unsigned char *bytes, size_t size) {
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) {
        value |= (uint64_t)bytes[i] << (8 * i);
    }
    return value;
}

static float elements_float32(const unsigned char *bytes) {
    uint32_t bits = (uint32_t)elements_unsigned(bytes, 4);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static double elements_float64(const unsigned char *bytes) {
    uint64_t bits = elements_unsigned(bytes, 8);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static int64_t elements_integer(ElementType type, const unsigned char *bytes) {
    switch (type) {
    case ELEMENT_INT32:
        return (int32_t)(uint32_t)elements_unsigned(bytes, 4);
    case ELEMENT_INT64:
        return (int64_t)elements_unsigned(bytes, 8);
    default:
        return bytes[0];
    }
}

RUNTIME_API void elements_to_real(ElementType type, const unsigned char *bytes, size_t count,
                                  real *out) {
    size_t size = element_type_info(type)->size;
    for (size_t i = 0; i < count; i++, bytes += size) {
        out[i] = type == ELEMENT_FLOAT32   ? (real)elements_float32(bytes)
                 : type == ELEMENT_FLOAT64 ? (real)elements_float64(bytes)
                                           : (real)elements_integer(type, bytes);
    }
}

RUNTIME_API void elements_to_labels(ElementType type, const unsigned char *bytes, size_t count,
                                    int32_t *out) {
    size_t size = element_type_info(type)->size;
    for (size_t i = 0; i < count; i++, bytes += size) {
        int64_t value = elements_integer(type, bytes);
        out[i] = value > INT32_MAX ? INT32_MAX : value < INT32_MIN ? INT32_MIN : (int32_t)value;
    }
}

RUNTIME_API void elements_write_reals(FileWriter *writer, const real *numbers, size_t count) {
    enum { CHUNK = 4096 };
    unsigned char bytes[CHUNK * sizeof(real)];
    for (size_t begin = 0; begin < count; begin += CHUNK) {
        size_t chunk = count - begin < CHUNK ? count - begin : CHUNK;
        for (size_t i = 0; i < chunk; i++) {
#ifdef CNNC_DOUBLE
            uint64_t bits;
#else
            uint32_t bits;
#endif
            memcpy(&bits, &numbers[begin + i], sizeof bits);
            for (size_t k = 0; k < sizeof bits; k++) {
                bytes[i * sizeof bits + k] = (unsigned char)(bits >> (8 * k));
            }
        }
        file_writer_write(writer, bytes, chunk * sizeof(real));
    }
}
