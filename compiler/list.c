#include "list.h"

#include "suggest.h"

static const char *const type_names[] = {
    [ATTRIBUTE_INTEGER] = "integer",
    [ATTRIBUTE_NUMBER] = "number",
    [ATTRIBUTE_BOOLEAN] = "true or false",
    [ATTRIBUTE_EXTENTS] = "integer or dimensions",
    [ATTRIBUTE_PADDING] = "integer, dimensions or same",
    [ATTRIBUTE_DIMS] = "dimensions",
    [ATTRIBUTE_CHOICE] = "one of",
    [ATTRIBUTE_INITIALISER] = "zero, constant(c), gaussian(s), uniform(a), he or glorot",
    [ATTRIBUTE_TABLE] = "list of lists of integers",
};

/* CONV(filters, kernel, stride=1, ...) */
static const char *usage(Arena *arena, const OpDef *op) {
    Text text;
    text_init(&text, arena);
    text_add(&text, op->name);
    for (int i = 0; i < op->attribute_count; i++) {
        const AttributeDef *attribute = &op->attributes[i];
        text_format(&text, "%s%s", i ? ", " : "(", attribute->name);
        if (attribute->fallback && *attribute->fallback)
            text_format(&text, "=%s", attribute->fallback);
        else if (attribute->fallback)
            text_add_character(&text, '?');
    }
    text_add(&text, op->attribute_count ? ")" : "");
    text_add(&text, op->flags & OP_MERGE ? "{..., ...}" : "");
    return text.bytes;
}

static bool is_listed(const OpDef *op) {
    return !(op->flags & OP_INTERNAL);
}

static void add_kind_line(Text *out, const OpDef *op) {
    text_format(out, "  %-15s %s", op->name, op->summary);
    if (op->aliases)
        text_format(out, " (also %s)", op->aliases);
    text_add_character(out, '\n');
}

void list_kinds(Text *out) {
    for (int later = 0; later < 2; later++) {
        text_add(out, later ? "\nKnown to the language, not yet supported by this version:\n"
                            : "Layer kinds; cnnc --list-layers=NAME tells more about one:\n");
        for (int i = 0; i < op_count; i++) {
            bool not_yet = (op_table[i]->flags & OP_NOT_YET) != 0;
            if (is_listed(op_table[i]) && not_yet == (later != 0))
                add_kind_line(out, op_table[i]);
        }
    }
}

static void add_attribute(Text *out, const AttributeDef *attribute) {
    text_format(out, "  %-12s %s\n", attribute->name, attribute->summary);
    text_format(out, "  %-12s %s", "", type_names[attribute->type]);
    if (attribute->type == ATTRIBUTE_CHOICE)
        text_format(out, " %s", attribute->choices);
    bool ranged = attribute->minimum != 0 || attribute->maximum != 0;
    if (ranged && attribute->maximum < 1e9)
        text_format(out, ", %.10g to %.10g", attribute->minimum, attribute->maximum);
    else if (ranged && attribute->minimum > -1e9)
        text_format(out, ", at least %.10g", attribute->minimum);
    if (!attribute->fallback)
        text_add(out, "; required\n");
    else if (*attribute->fallback)
        text_format(out, "; default %s\n", attribute->fallback);
    else
        text_add(out, "; optional\n");
}

static void add_facts(Text *out, const OpDef *op) {
    static const struct {
        unsigned flag;
        const char *text;
    } facts[] = {
        {OP_MERGE, "Takes branches in braces.\n"},
        {OP_VIEW, "Changes the shape only: it costs nothing.\n"},
        {OP_RANDOM, "Random in training, the identity in evaluation.\n"},
        {OP_MODE, "Uses the batch in training, running statistics in evaluation.\n"},
        {OP_NOT_YET, "Known to the language, not yet supported by this version.\n"},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        if (op->flags & facts[i].flag)
            text_add(out, facts[i].text);
    }
}

void list_kind(Text *out, const OpDef *op) {
    text_format(out, "%s\n%s", usage(out->arena, op), op->summary);
    if (op->aliases)
        text_format(out, " (also written %s)", op->aliases);
    text_add(out, "\n");
    add_facts(out, op);
    if (op->attribute_count)
        text_add(out, "\nArguments:\n");
    for (int i = 0; i < op->attribute_count; i++)
        add_attribute(out, &op->attributes[i]);
    if (op->samples && op->samples[0])
        text_format(out, "\nExample:\n  %s\n", op->samples[0]);
}

/* Line ends only separate tokens, and samples have no comments: a blank does as well. */
static void add_on_one_line(Text *out, const char *sample) {
    for (const char *c = sample; *c; c++)
        text_add_character(out, *c == '\n' || *c == '\t' ? ' ' : *c);
}

void list_samples(Text *out) {
    for (int i = 0; i < op_count; i++) {
        const char *const *sample = op_table[i]->samples;
        for (; sample && *sample; sample++) {
            text_format(out, "%s\t", op_table[i]->name);
            add_on_one_line(out, *sample);
            text_add_character(out, '\n');
        }
    }
}

static const char *nearest_kind(const char *name) {
    Suggestion suggestion = suggestion_for(name);
    for (int i = 0; i < op_count; i++) {
        if (is_listed(op_table[i]))
            suggestion_offer(&suggestion, op_table[i]->name);
    }
    return suggestion.best;
}

bool list_named_kind(Text *out, const char *name, const char **problem) {
    const OpDef *op = op_find(name);
    if (op) {
        list_kind(out, op);
        return true;
    }
    const char *nearest = nearest_kind(name);
    *problem = arena_format(out->arena, "there is no layer kind '%s'%s%s%s", name,
                            nearest ? "; did you mean '" : "", nearest ? nearest : "",
                            nearest ? "'?" : "");
    return false;
}
