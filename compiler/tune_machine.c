#include "tune_machine.h"

#include "text.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define LONGEST_LINE 256

/* The value in a line "key : value" of /proc/cpuinfo; NULL: another key. */
static const char *value_of(const char *line, const char *key) {
    size_t length = strlen(key);
    if (strncmp(line, key, length) != 0)
        return NULL;
    line += length + strspn(line + length, " \t");
    return *line == ':' ? line + 1 + strspn(line + 1, " \t") : NULL;
}

static const char *cleaned(Arena *arena, const char *name) {
    char *copy = arena_copy(arena, name, strcspn(name, "\r\n"));
    for (char *c = copy; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    return copy;
}

/* x86 has a name; elsewhere the numbers of maker and part stand for it. */
static void read_processor(Arena *arena, FILE *file, Text *name) {
    static const char *const parts[] = {"CPU implementer", "CPU variant", "CPU part"};
    char line[LONGEST_LINE];
    while (fgets(line, sizeof line, file) != NULL) {
        const char *model = value_of(line, "model name");
        if (model != NULL) {
            text_clear(name);
            text_add(name, cleaned(arena, model));
            return;
        }
        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
            const char *value = value_of(line, parts[i]);
            if (value != NULL)
                text_format(name, "%s%s", name->length > 0 ? " " : "", cleaned(arena, value));
        }
    }
}

const char *tune_processor(Arena *arena) {
    Text name;
    struct utsname system;
    text_init(&name, arena);
    FILE *file = fopen("/proc/cpuinfo", "r");
    if (file != NULL) {
        read_processor(arena, file, &name);
        fclose(file);
    }
    if (name.length == 0)
        text_add(&name, uname(&system) == 0 ? cleaned(arena, system.machine) : "unknown");
    return name.bytes;
}

int tune_processors(void) {
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 && count < 4096 ? (int)count : 1;
}
