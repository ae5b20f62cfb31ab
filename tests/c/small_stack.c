/*
 * A whole life of a client on a thread with a small stack: small_stack KIB. Prints how much of it was used, what the C
 * library keeps at its top included.
 */
#define _GNU_SOURCE /* MAP_ANONYMOUS */

#include "host.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

static const unsigned char PAINT = 0xA5;

static void *live(void *argument)
{
    tokauth_client *client = new_client(NULL, NULL);
    tokauth_token *token;

    CHECK(client != NULL && gets_token(client) && gets_another(client));
    token = new_token(client, TOKAUTH_FORCE_REFRESH);
    CHECK(token != NULL && tokauth_client_invalidate(client, token, NULL) == TOKAUTH_OK);
    tokauth_token_free(token);
    tokauth_client_free(client);
    return argument;
}

int main(int argc, char **argv)
{
    const size_t guard = (size_t)sysconf(_SC_PAGESIZE);
    size_t size, untouched;
    unsigned char *stack;
    pthread_attr_t attributes;
    pthread_t thread;

    CHECK(argc == 2);
    alarm(600);
    size = (size_t)atoi(argv[1]) * 1024;
    stack = mmap(NULL, guard + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(stack != MAP_FAILED && mprotect(stack, guard, PROT_NONE) == 0);
    stack += guard;
    memset(stack, PAINT, size);
    CHECK(pthread_attr_init(&attributes) == 0 && pthread_attr_setstack(&attributes, stack, size) == 0);
    CHECK(pthread_create(&thread, &attributes, live, NULL) == 0 && pthread_join(thread, NULL) == 0);
    for (untouched = 0; untouched < size && stack[untouched] == PAINT; untouched++)
        ;
    printf("%lu of %lu bytes used\n", (unsigned long)(size - untouched), (unsigned long)size);
    return EXIT_SUCCESS;
}
