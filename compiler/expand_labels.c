#include "expand_internal.h"

#include <ctype.h>
#include <string.h>

void label_collect(Expander *expander, const Unit *unit) {
    if (name_find(expander->labels, unit->name) == NULL) {
        Label *label = ARENA_NEW(expander->arena, Label);
        *label = (Label){.name = unit->name, .where = unit->name_where, .last = -1};
        name_put(expander->labels, unit->name, label);
    }
}

void labels_collect(Expander *expander, const Unit *chain) {
    if (chain->kind == UNIT_LABEL) {
        label_collect(expander, chain);
    }
    /* The syntax tree's depth is limited, and so is this recursion. */
    for (const Unit *child = chain->children.first; child != NULL; child = child->next) {
        labels_collect(expander, child);
    }
}

/* The last instance of `label` in a running scope, which belongs to the innermost such scope: what
 * an outer one got, it got before the inner one started. NULL: there is none. */
static LabelInstance *find_active(Expander *expander, const Label *label) {
    for (int i = label->last; i >= 0; i = expander->log[i].previous) {
        if (!expand_charge(expander, 1)) {
            return NULL;
        }
        if (expander->log[i].scope->active) {
            return &expander->log[i];
        }
    }
    return NULL;
}

void label_define(Expander *expander, const Unit *unit, const Scope *scope, Layer *layer,
                  bool made_layer) {
    Label *label = name_find(expander->labels, unit->name);
    const LabelInstance *present = find_active(expander, label);
    if (present != NULL && present->scope == scope) {
        diagnostic_note(expand_error(expander, unit->name_where,
                                     "the label '@%s' is used twice in one place", unit->name),
                        present->where, "it is used here before");
        return;
    }
    ARENA_GROW(expander->arena, expander->log, expander->log_count, expander->log_capacity);
    expander->log[expander->log_count] = (LabelInstance){.scope = scope,
                                                         .layer = layer,
                                                         .where = unit->name_where,
                                                         .made_layer = made_layer,
                                                         .previous = label->last};
    label->last = expander->log_count++;
    label->instance_count++;
    if (layer->label == NULL && made_layer) {
        layer->label = unit->name;
    }
}

/* Finds the label itself; NULL after an error. */
static Label *find_label(Expander *expander, const Unit *unit) {
    Label *label = name_find(expander->labels, unit->name);
    if (label == NULL) {
        Diagnostic *error =
            expand_error(expander, unit->where, "there is no label '@%s'", unit->name);
        Suggestion suggestion = suggestion_for(unit->name);
        for (int i = 0; diagnostic_is_shown(error) && i < name_count(expander->labels); i++) {
            suggestion_offer(&suggestion, name_at(expander->labels, i));
        }
        if (suggestion.best != NULL) {
            diagnostic_hint(error, "did you mean '@%s'?", suggestion.best);
        } else {
            diagnostic_hint(error, "a label stands behind a layer, without '-': RELU @%s",
                            unit->name);
        }
        return NULL;
    }
    if (label->last < 0) {
        /* After an error the part that holds the label may have been left out. */
        if (!expander->failed) {
            diagnostic_note(expand_error(expander, unit->where,
                                         "the label '@%s' is used before it is defined",
                                         unit->name),
                            label->where, "it is defined here");
        }
        return NULL;
    }
    return label;
}

Layer *label_find(Expander *expander, const Unit *unit) {
    Label *label = find_label(expander, unit);
    if (label == NULL) {
        return NULL;
    }
    const LabelInstance *instance = find_active(expander, label);
    if (instance == NULL) {
        if (!expander->stopped) {
            Diagnostic *error = expand_error(
                expander, unit->where,
                "the label '@%s' belongs to a def or repeat and is not seen from outside",
                unit->name);
            diagnostic_note(error, label->where, "it is defined here");
            diagnostic_hint(error, "@%s[*] as a branch of a merge gathers all of its instances",
                            unit->name);
        }
        return NULL;
    }
    return instance->layer;
}

int label_find_all(Expander *expander, const Unit *unit, const Scope *scope, Layer ***layers) {
    const Label *label = find_label(expander, unit);
    if (label == NULL) {
        return 0;
    }
    /* The innermost scope in which there is one, or in what ran in it. */
    while (scope->parent != NULL && label->last < scope->label_begin) {
        scope = scope->parent;
    }
    int count = 0;
    for (int i = label->last; i >= scope->label_begin; i = expander->log[i].previous) {
        count++;
        if (!expand_charge(expander, 1)) {
            return 0;
        }
    }
    *layers = ARENA_ARRAY(expander->arena, Layer *, (size_t)count);
    int next = count;
    for (int i = label->last; i >= scope->label_begin; i = expander->log[i].previous) {
        (*layers)[--next] = expander->log[i].layer;
    }
    return count;
}

/* "conv" of CONV. */
static const char *lower_case(Arena *arena, const char *text) {
    char *copy = arena_copy(arena, text, strlen(text));
    for (char *letter = copy; *letter != '\0'; letter++) {
        *letter = (char)tolower((unsigned char)*letter);
    }
    return copy;
}

/* How many layers there are of each kind. */
typedef struct KindCount {
    const char *prefix;
    int count;
} KindCount;

static void number_layers(Expander *expander) {
    NameTable *kinds = name_table_create(expander->arena);
    for (int i = 1; i < expander->layer_count; i++) {
        Layer *layer = expander->layers[i];
        KindCount *kind = name_find(kinds, layer->op->name);
        if (kind == NULL) {
            kind = ARENA_NEW(expander->arena, KindCount);
            kind->prefix = lower_case(expander->arena, layer->op->name);
            name_put(kinds, layer->op->name, kind);
        }
        layer->name = arena_format(expander->arena, "%s%d", kind->prefix, ++kind->count);
    }
}

void name_layers(Expander *expander, const char *input_name) {
    number_layers(expander);
    expander->layers[0]->name = input_name != NULL ? input_name : "input";
    for (int i = 0; i < name_count(expander->labels); i++) {
        const Label *label = name_item_at(expander->labels, i);
        const LabelInstance *instance = label->last < 0 ? NULL : &expander->log[label->last];
        if (instance != NULL && label->instance_count == 1 && instance->made_layer &&
            strcmp(instance->layer->label, label->name) == 0) {
            instance->layer->name = label->name;
        }
    }
    NameTable *names = name_table_create(expander->arena);
    for (int i = 0; i < expander->layer_count; i++) {
        Layer *layer = expander->layers[i];
        const Layer *other = name_find(names, layer->name);
        if (other == NULL) {
            name_put(names, layer->name, layer);
            continue;
        }
        /* One of the two has its name from a label or from `input`: point there. */
        bool numbered = layer->label != layer->name;
        const Layer *renamed = numbered ? other : layer, *plain = numbered ? layer : other;
        diagnostic_note(expand_error(expander, renamed->where,
                                     "this layer is named '%s', which is the name of another one",
                                     layer->name),
                        plain->where, "this layer has that name by its number");
    }
}
