#include "syntax_error.h"

#include "parse.h"
#include "suggest.h"

#include <ctype.h>
#include <string.h>

#define STATEMENTS "input let default def net output train data include"

/* What the grammar is in the middle of, told from the tokens that it would take: the first row of
 * `places` that fits. */
typedef enum Place {
    PLACE_ELSE,         /* the other part of an `if` must follow */
    PLACE_BEFORE_UNIT,  /* a layer must follow */
    PLACE_AFTER_UNIT,   /* behind a layer */
    PLACE_AFTER_VALUE,  /* behind a value or expression */
    PLACE_BEFORE_VALUE, /* a value must follow */
    PLACE_AFTER_BOUND,  /* behind the start of a range */
    PLACE_RANGE,        /* a range must follow */
    PLACE_FOR,          /* behind a variable of a `for` */
    PLACE_PARAMETERS,   /* behind a parameter of a def */
    PLACE_STATEMENT,    /* between statements */
    PLACE_OTHER
} Place;

static const struct {
    Place place;
    int takes, refuses; /* tokens that tell the place; TOKEN_CNN_UNDEF: none */
    const char *wanted; /* NULL: the closing brackets and what the grammar lists */
} places[] = {
    {PLACE_ELSE, TOKEN_IF, '@', NULL},
    {PLACE_BEFORE_UNIT, TOKEN_IF, TOKEN_CNN_UNDEF, "a layer, a group in ( ) or [ ], or @label"},
    {PLACE_AFTER_UNIT, '?', TOKEN_CNN_UNDEF, "'-'"},
    {PLACE_AFTER_VALUE, '^', TOKEN_CNN_UNDEF, "an operator"},
    {PLACE_BEFORE_VALUE, TOKEN_BOOLEAN, TOKEN_CNN_UNDEF, "a value"},
    {PLACE_AFTER_BOUND, TOKEN_RANGE, TOKEN_CNN_UNDEF, NULL},
    {PLACE_RANGE, '[', '{', "a range"},
    {PLACE_FOR, TOKEN_IN, TOKEN_CNN_UNDEF, NULL},
    {PLACE_PARAMETERS, ')', TOKEN_INTEGER, NULL},
    {PLACE_STATEMENT, TOKEN_NET, TOKEN_CNN_UNDEF, NULL},
    {PLACE_OTHER, TOKEN_CNN_UNDEF, TOKEN_CNN_UNDEF, NULL},
};

#define ANY (-1)

#define COUNT_BEHIND "a count stands behind what it repeats: (CONV(16, 3x3) - RELU)*2"
#define JOINED "layers are joined by '-'"
#define ARGUMENTS_IN_PARENTHESES "arguments stand in parentheses, as in CONV(16, 3x3)"
#define RANGE_FORM                                                                                 \
    "a range is 1..3, both ends included, or a list such as [16, 32] or [(1, 16), (2, 32)]"
#define INPUT_FORM "write input 3x32x32: channels, height and width, or input 784 for a vector"

/* What a user is likely to have meant: the first row that fits. */
static const struct {
    Place place;
    int token, previous; /* the unexpected token and the one before it; ANY */
    const char *hint;
} hints[] = {
    {PLACE_BEFORE_UNIT, TOKEN_INTEGER, '{', ARGUMENTS_IN_PARENTHESES},
    {PLACE_BEFORE_UNIT, TOKEN_DIMS, '{', ARGUMENTS_IN_PARENTHESES},
    {PLACE_BEFORE_UNIT, TOKEN_INTEGER, ANY, COUNT_BEHIND},
    {PLACE_BEFORE_UNIT, '*', ANY, COUNT_BEHIND},
    {PLACE_BEFORE_UNIT, '?', ANY, "the '?' stands behind what is optional: POOL?"},
    {PLACE_BEFORE_UNIT, '}', '{', "a merge needs two branches or more, as in ADD{ID, CONV(64)}"},
    {PLACE_BEFORE_UNIT, '{', ANY,
     "groups stand in ( ) or [ ]; braces hold the branches of a merge, as in ADD{ID, CONV(64)}"},
    {PLACE_BEFORE_UNIT, '>', '-', "layers are joined by '-' alone"},
    {PLACE_BEFORE_UNIT, '-', '-', "one '-' joins two layers"},
    {PLACE_BEFORE_UNIT, '/', ANY, "comments start with '#'"},
    {PLACE_BEFORE_UNIT, ANY, '-', "the '-' in front of it joins nothing: is it one too many?"},
    {PLACE_BEFORE_UNIT, ')', '(', "ID is a layer that changes nothing"},
    {PLACE_BEFORE_UNIT, ']', '[', "ID is a layer that changes nothing"},
    {PLACE_AFTER_UNIT, '[', TOKEN_NAME, ARGUMENTS_IN_PARENTHESES},
    {PLACE_AFTER_UNIT, TOKEN_NAME, ANY, JOINED},
    {PLACE_AFTER_UNIT, TOKEN_IF, ANY, JOINED},
    {PLACE_AFTER_UNIT, '(', ANY, JOINED},
    {PLACE_AFTER_UNIT, '[', ANY, JOINED},
    {PLACE_AFTER_UNIT, ',', ANY,
     "layers are joined by '-'; commas only separate the branches of a merge"},
    {PLACE_AFTER_UNIT, '+', ANY, "ADD{..., ...} adds the outputs of its branches"},
    {PLACE_AFTER_UNIT, '/', ANY, "comments start with '#'"},
    {PLACE_AFTER_UNIT, TOKEN_INTEGER, ANY, COUNT_BEHIND},
    {PLACE_AFTER_VALUE, TOKEN_NAME, TOKEN_INTEGER,
     "dimensions are written without blanks: 3x3; a product needs its sign: 2*k"},
    {PLACE_AFTER_VALUE, TOKEN_INTEGER, TOKEN_NAME, "a named argument is written stride=2"},
    {PLACE_AFTER_VALUE, ',', TOKEN_INTEGER,
     "dimensions are written 3x3 and lists in brackets: [16, 32]"},
    {PLACE_AFTER_VALUE, '=', ANY, "'==' compares two values"},
    {PLACE_BEFORE_VALUE, '*', '*', "a power is written 2^3"},
    {PLACE_BEFORE_VALUE, ANY, '%', "% is the remainder of a division; 50 % of something is 0.5"},
    {PLACE_AFTER_BOUND, ANY, ANY, RANGE_FORM},
    {PLACE_RANGE, ANY, ANY, RANGE_FORM},
    {PLACE_FOR, ANY, ANY, "write for i in 1..3, or for n, k in [(2, 64), (3, 128)]"},
    {PLACE_PARAMETERS, '=', ANY, "parameters have no defaults: every use of the def gives them"},
    {PLACE_STATEMENT, ',', TOKEN_INTEGER, INPUT_FORM},
    {PLACE_STATEMENT, '/', ANY, "comments start with '#'"},
    {PLACE_STATEMENT, TOKEN_NAME, ANY, "a statement begins with one of: " STATEMENTS},
    {PLACE_OTHER, ANY, TOKEN_INPUT, INPUT_FORM},
    {PLACE_OTHER, ')', '(', "a def without parameters has no parentheses"},
    {PLACE_OTHER, TOKEN_NAME, TOKEN_IF, "the condition of an `if` stands in parentheses"},
    {PLACE_ELSE, ANY, ANY, "the parts of an `if` stand in ( ) or [ ]"},
    {PLACE_OTHER, ANY, TOKEN_NET, "write net = CONV(...) - RELU - ..."},
    {PLACE_OTHER, '=', TOKEN_TRAIN, "write train { loss = cross_entropy }"},
    {PLACE_OTHER, '=', TOKEN_DATA, "write data { format = idx }"},
    {PLACE_OTHER, TOKEN_NAME, TOKEN_INCLUDE, "the name of a file stands in double quotes"},
};

static int place_of(const bool *expected) {
    int row = 0;
    while (places[row].place != PLACE_OTHER &&
           (!expected[places[row].takes] ||
            (places[row].refuses != TOKEN_CNN_UNDEF && expected[places[row].refuses]))) {
        row++;
    }
    return row;
}

/* "; expected '-', ',' or '}'": what the place wants, and what could end it. */
static const char *wanted_text(Arena *arena, int row, const bool *expected, const char *choices) {
    static const char ends[] = ",)]}";
    const char *wanted = places[row].wanted;
    if (wanted == NULL) {
        return *choices == '\0' ? "" : arena_format(arena, "; expected %s", choices);
    }
    const char *text = arena_format(arena, "; expected %s", wanted);
    bool is_after = places[row].place == PLACE_AFTER_UNIT || places[row].place == PLACE_AFTER_VALUE;
    int last = -1;
    for (int i = 0; is_after && ends[i] != '\0'; i++) {
        last = expected[(unsigned char)ends[i]] ? i : last;
    }
    for (int i = 0; i <= last; i++) {
        if (expected[(unsigned char)ends[i]]) {
            text = arena_format(arena, "%s%s '%c'", text, i == last ? " or" : ",", ends[i]);
        }
    }
    return text;
}

/* Whether a setting has been read, so that another one or the end of the block could follow. */
static bool in_block(Place place, const bool *expected) {
    return place != PLACE_BEFORE_UNIT && expected[TOKEN_NAME] && expected['}'];
}

/* A name that is nearly that of a statement; NULL: it is not. */
static const char *near_statement(Parser *parser, const char *text, Place place,
                                  const bool *expected) {
    bool could_start = place == PLACE_STATEMENT || expected[TOKEN_END];
    if (parser->token != TOKEN_NAME || !could_start) {
        return NULL;
    }
    Suggestion suggestion = suggestion_for(text);
    suggestion_offer_words(&suggestion, parser->arena, STATEMENTS);
    return suggestion.best;
}

static void add_hint(Parser *parser, Diagnostic *error, SourceRange where, Place place,
                     const bool *expected) {
    const char *text = source_text_of(parser->sources, where, parser->arena);
    const char *statement = near_statement(parser, text, place, expected);
    bool is_word = isalpha((unsigned char)text[0]) != 0;
    if (parser->unopened) {
        diagnostic_hint(error, "there is no bracket that this '%s' closes", text);
    } else if (statement != NULL) {
        diagnostic_hint(error, "did you mean '%s'?", statement);
    } else if (parser->token == ',' && in_block(place, expected)) {
        diagnostic_hint(error, "settings are separated by blanks, new lines or one comma");
    } else if (place == PLACE_OTHER && is_word && parser->token != TOKEN_NAME &&
               parser->token != TOKEN_BOOLEAN && expected[TOKEN_NAME] && !expected[TOKEN_DIMS]) {
        diagnostic_hint(error, "'%s' is a word of the language and cannot be a name", text);
    } else {
        for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++) {
            if (hints[i].place == place &&
                (hints[i].token == ANY || hints[i].token == parser->token) &&
                (hints[i].previous == ANY || hints[i].previous == parser->previous)) {
                diagnostic_hint(error, "%s", hints[i].hint);
                return;
            }
        }
    }
}

void report_syntax_error(Parser *parser, SourceRange where, const char *name, const bool *expected,
                         const char *choices) {
    int row = place_of(expected);
    parser->skipping = true;
    if (parser->reported) {
        return;
    }
    Diagnostic *error = diagnostic_error(parser->diagnostics, where, "unexpected %s%s", name,
                                         wanted_text(parser->arena, row, expected, choices));
    if (parser->unclosed.character != 0) {
        uint32_t position = parser->unclosed.position;
        diagnostic_note(error, (SourceRange){position, position + 1}, "this '%c' is not closed",
                        parser->unclosed.character);
    }
    add_hint(parser, error, where, places[row].place, expected);
}
