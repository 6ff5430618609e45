/* embed FILE... > runtime_text.c: the files' bytes as the table that runtime_text.h declares. Bytes
 * are numbers because C11 promises no more than 4095 characters in a string literal. */
#include <stdio.h>
#include <string.h>

#define NUMBERS_PER_LINE 24

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* Prints the bytes of a file and a zero; returns how many the file has, -1 on failure. */
static long print_bytes(const char *path, int number) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return -1;
    }
    printf("static const unsigned char text_%d[] = {", number);
    long length = 0;
    for (int byte; (byte = getc(file)) != EOF; length++)
        printf("%s%d,", length % NUMBERS_PER_LINE == 0 ? "\n" : "", byte);
    printf("\n0};\n\n");
    int failed = ferror(file);
    if (failed)
        perror(path);
    fclose(file);
    return failed ? -1 : length;
}

static void print_name(const char *path) {
    for (const char *c = base_name(path); *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            putchar('\\');
        putchar(*c);
    }
}

int main(int count, char **arguments) {
    if (count < 2) {
        fprintf(stderr, "usage: embed FILE... > runtime_text.c\n");
        return 2;
    }
    printf("#include \"runtime_text.h\"\n\n");
    for (int i = 1; i < count; i++)
        if (print_bytes(arguments[i], i) < 0)
            return 1;
    printf("const RuntimeText runtime_texts[] = {\n");
    for (int i = 1; i < count; i++) {
        printf("    {\"");
        print_name(arguments[i]);
        printf("\", (const char *)text_%d, sizeof text_%d - 1},\n", i, i);
    }
    printf(
        "};\nconst size_t runtime_text_count = sizeof runtime_texts / sizeof runtime_texts[0];\n");
    if (fflush(stdout) != 0 || ferror(stdout)) {
        perror("standard output");
        return 1;
    }
    return 0;
}
