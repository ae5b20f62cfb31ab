/*
 * Prints how many nanoseconds it takes to load the library that is named and to call it once.
 */
#define _POSIX_C_SOURCE 200809L
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

int main(int argc, char **argv)
{
    struct timespec began, ended;
    uint32_t (*version)(void);
    void *library, *symbol;

    if (argc != 2)
        return 2;
    clock_gettime(CLOCK_MONOTONIC, &began);
    library = dlopen(argv[1], RTLD_NOW);
    symbol = library ? dlsym(library, "tokauth_version_number") : NULL;
    if (!symbol) {
        fprintf(stderr, "load: %s\n", dlerror());
        return 1;
    }
    memcpy(&version, &symbol, sizeof version); /* ISO C turns no object pointer into a function's */
    if (version() == 0)
        return 1;
    clock_gettime(CLOCK_MONOTONIC, &ended);
    printf("%ld\n", (long)(ended.tv_sec - began.tv_sec) * 1000000000L + ended.tv_nsec - began.tv_nsec);
    return 0;
}
