/* A program in C that has its workers in Rust: see src/lib.rs. */
#include <stdio.h>

extern int app_measure(const char *store, const char *text);

int main(int count, char **given) {
    if (count != 3) {
        fprintf(stderr, "usage: %s <store> <text>\n", given[0]);
        return 2;
    }
    int length = app_measure(given[1], given[2]);
    printf("%d bytes\n", length);
    return length < 0;
}
