#include "op.h"

#include "network.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

#define OP(identifier) extern const OpDef op_##identifier;
#include "ops.def"
#undef OP

const OpDef *const op_table[] = {
#define OP(identifier) &op_##identifier,
#include "ops.def"
#undef OP
};
const int op_count = sizeof op_table / sizeof op_table[0];

/* Whether `name` is one of the words, separated by blanks, without regard to case. */
static bool is_one_of(const char *words, const char *name) {
    size_t length = strlen(name);
    while (length > 0 && words != NULL && *words != '\0') {
        size_t word = strcspn(words, " ");
        if (word == length && strncasecmp(words, name, length) == 0) {
            return true;
        }
        words += word + strspn(words + word, " ");
    }
    return false;
}

const OpDef *op_find(const char *name) {
    for (int i = 0; i < op_count; i++) {
        if (strcasecmp(op_table[i]->name, name) == 0 || is_one_of(op_table[i]->aliases, name)) {
            return op_table[i];
        }
    }
    return NULL;
}

int op_attribute_index(const OpDef *op, const char *name) {
    for (int i = 0; i < op->attribute_count; i++) {
        if (strcmp(op->attributes[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

int64_t count_times(Counter *counter, int64_t a, int64_t b) {
    if (a != 0 && b > INT64_MAX / a) {
        counter->overflow = true;
        return INT64_MAX;
    }
    return a * b;
}

int64_t count_plus(Counter *counter, int64_t a, int64_t b) {
    if (b > INT64_MAX - a) {
        counter->overflow = true;
        return INT64_MAX;
    }
    return a + b;
}

int64_t shape_elements(Counter *counter, const Shape *shape) {
    int64_t elements = 1;
    for (int axis = 0; axis < shape->rank; axis++) {
        elements = count_times(counter, elements, shape->extent[axis]);
    }
    return elements;
}

bool shape_equal(const Shape *a, const Shape *b) {
    return a->rank == b->rank &&
           memcmp(a->extent, b->extent, (size_t)a->rank * sizeof a->extent[0]) == 0;
}

const char *shape_text(Arena *arena, const Shape *shape) {
    const char *text = "";
    for (int axis = 0; axis < shape->rank; axis++) {
        text = arena_format(arena, "%s%s%lld", text, axis == 0 ? "" : "x",
                            (long long)shape->extent[axis]);
    }
    return text;
}

static double number_of(const Value *value) {
    return value->kind == VALUE_INTEGER ? (double)value->as.integer : value->as.number;
}

static Initialiser constant_initialiser(double value) {
    return (Initialiser){value == 0 ? INITIALISER_ZERO : INITIALISER_CONSTANT, value};
}

Initialiser attribute_initialiser(const Layer *layer, int attribute) {
    static const struct {
        const char *name;
        InitialiserKind kind;
    } words[] = {{"zero", INITIALISER_ZERO},
                 {"constant", INITIALISER_CONSTANT},
                 {"gaussian", INITIALISER_GAUSSIAN},
                 {"uniform", INITIALISER_UNIFORM},
                 {"he", INITIALISER_HE},
                 {"glorot", INITIALISER_GLOROT}};
    const Value *value = &layer->attributes[attribute];
    if (value->kind != VALUE_WORD) {
        return constant_initialiser(number_of(value));
    }
    const Word *word = value->as.word;
    double argument = word->argument_count > 0 ? number_of(&word->arguments[0]) : 0;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(words[i].name, word->name) == 0) {
            return words[i].kind == INITIALISER_CONSTANT ? constant_initialiser(argument)
                                                         : (Initialiser){words[i].kind, argument};
        }
    }
    assert(!"the binding of arguments lets no other word through");
    return constant_initialiser(0);
}
