/* The header of the library interface: the runtime's library.h with the network's names in it. */
#include "emit_internal.h"
#include "runtime_text.h"
#include "wrap.h"

#include <ctype.h>
#include <string.h>

#define LIBRARY "library.h"
#define NAME_MACRO "NETWORK_NAME("
#define REAL_MACRO "NETWORK_REAL"
#define GUARD "NETWORK_LIBRARY_H"

/* The network's name as a C identifier: what the names of the interface begin with. */
const char *library_prefix(Arena *arena, const Network *network) {
    Text prefix;
    text_init(&prefix, arena);
    text_add(&prefix, isdigit((unsigned char)network->name[0]) ? "net" : "");
    for (const char *c = network->name; *c != '\0'; c++)
        text_add_character(&prefix, isalnum((unsigned char)*c) ? *c : '_');
    return prefix.length > 0 ? prefix.bytes : "net";
}

static bool replace(Text *out, const char **at, const char *from, const char *to) {
    size_t length = strlen(from);
    if (strncmp(*at, from, length) != 0)
        return false;
    text_add(out, to);
    *at += length;
    return true;
}

/* NETWORK_NAME(create) is lenet5_create. */
static bool replace_name(Text *out, const char **at, const char *prefix) {
    const char *close = strchr(*at, ')');
    if (strncmp(*at, NAME_MACRO, strlen(NAME_MACRO)) != 0 || close == NULL)
        return false;
    text_format(out, "%s_", prefix);
    const char *name = *at + strlen(NAME_MACRO);
    text_add_bytes(out, name, (size_t)(close - name));
    *at = close + 1;
    replace(out, at, " * ", " *"); /* a formatter took the type for a factor */
    return true;
}

bool emit_library_header(Text *out, const EmitInput *input, const char **problem) {
    const char *text = NULL;
    for (size_t i = 0; i < runtime_text_count; i++)
        if (strcmp(runtime_texts[i].name, LIBRARY) == 0)
            text = strstr(runtime_texts[i].text, "#ifndef " GUARD);
    if (text == NULL) {
        *problem = "the runtime has no piece '" LIBRARY "' with its guard";
        return false;
    }
    const char *prefix = library_prefix(out->arena, input->network);
    char *guard = arena_format(out->arena, "%s_H", prefix);
    for (char *c = guard; *c != '\0'; c++)
        *c = (char)toupper((unsigned char)*c);
    text_format(out,
                "/* The network %s as a library, written by cnnc %s: the functions are in its C "
                "file,\n * compiled with -DCNNC_NO_MAIN. */\n",
                comment_safe(out->arena, input->network->name), input->options.version);
    while (*text != '\0') {
        if (replace_name(out, &text, prefix) || replace(out, &text, GUARD, guard) ||
            replace(out, &text, REAL_MACRO, input->options.double_precision ? "double" : "float"))
            continue;
        text_add_character(out, *text++);
    }
    return true;
}
