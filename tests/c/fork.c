/*
 * fork() while other threads are inside the library: fork COUNT busy|lookups|hanging|quiet|first. Every child must get
 * tokens by the client that it has from its parent and by one of its own, and free both; the parent must go on. Whoever
 * does not end is killed by its alarm.
 */
#define _GNU_SOURCE /* RTLD_NEXT */

#include "host.h"

#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CHILD_LIMIT_S = 300, PARENT_LIMIT_S = 1500, LOOKUPS_MAX = 4 };

static tokauth_client *shared; /* the one that all threads and all children use */
static int stop;
static int failures;

static int is_set(int *flag)
{
    return __atomic_load_n(flag, __ATOMIC_SEQ_CST);
}

/* ---- what the other threads do ---- */

static int asks(int round)
{
    (void)round;
    return gets_token(shared);
}

static int fetches(int round)
{
    (void)round;
    return tokauth_client_clear(shared, NULL) == TOKAUTH_OK && gets_token(shared);
}

static int makes_clients(int round)
{
    char value[16];
    tokauth_client *client;
    int made;

    sprintf(value, "%d", round % 100);
    client = new_client(round % 2 == 0 ? NULL : "header.X-Test", value);
    made = client != NULL && (round % 20 != 0 || gets_token(client));
    tokauth_client_free(client);
    return made;
}

static int invalidates(int round)
{
    tokauth_token *token = new_token(shared, 0);
    int done = token != NULL && tokauth_client_invalidate(shared, token, NULL) == TOKAUTH_OK;

    (void)round;
    tokauth_token_free(token);
    return done;
}

static int looks_up(int round)
{
    (void)round;
    (void)status_of(shared);
    return 1;
}

struct worker {
    int (*act)(int round);
    pthread_t thread;
    int rounds;
};

static void *work(void *argument)
{
    struct worker *worker = argument;

    while (!is_set(&stop)) {
        if (!worker->act(worker->rounds))
            __atomic_add_fetch(&failures, 1, __ATOMIC_SEQ_CST);
        __atomic_add_fetch(&worker->rounds, 1, __ATOMIC_SEQ_CST);
    }
    return NULL;
}

static void wait_for_rounds(struct worker *workers, size_t count, int more)
{
    const struct timespec moment = {0, 1000000};
    size_t i;

    for (i = 0; i < count; i++) {
        int until = is_set(&workers[i].rounds) + more;

        while (is_set(&workers[i].rounds) < until)
            nanosleep(&moment, NULL);
    }
}

/* ---- children ---- */

/* Forks; what the child returns is its exit status, and anything but 0 a failure. */
static int child_does(int (*act)(void))
{
    int status = 0;
    pid_t child;

    fflush(stdout);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(CHILD_LIMIT_S);
        _exit(act());
    }
    CHECK(waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status))
        fprintf(stderr, "a child was ended by signal %d\n", WTERMSIG(status));
    else if (WEXITSTATUS(status) != 0)
        fprintf(stderr, "a child stopped at step %d\n", WEXITSTATUS(status));
    return status == 0;
}

static int uses_both_clients(void)
{
    tokauth_client *own;

    if (!gets_token(shared))
        return 1;
    own = new_client(NULL, NULL);
    if (own == NULL)
        return 2;
    if (!gets_another(own))
        return 3;
    if (!gets_another(shared))
        return 4;
    tokauth_client_free(shared);
    if (!gets_token(own))
        return 5;
    tokauth_client_free(own);
    return 0;
}

/* A lookup may be stuck for good, where the fork caught the C library in one: that is to be told in time. */
static int is_answered_in_time(void)
{
    switch (status_of(shared)) {
    case TOKAUTH_OK:
    case TOKAUTH_ERR_NETWORK:
    case TOKAUTH_ERR_TIMEOUT:
        tokauth_client_free(shared);
        return 0;
    default:
        return 1;
    }
}

static int busy(int (*const *acts)(int), size_t count, int (*child)(void), int forks)
{
    struct worker workers[8];
    int failed = 0;
    size_t i;
    int n;

    for (i = 0; i < count; i++) {
        workers[i].act = acts[i];
        workers[i].rounds = 0;
        CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
    wait_for_rounds(workers, count, 1);
    for (n = 0; n < forks && failed == 0; n++) /* one that hangs takes its time */
        failed += !child_does(child);
    wait_for_rounds(workers, count, 2);
    __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
    for (i = 0; i < count; i++)
        CHECK(pthread_join(workers[i].thread, NULL) == 0);
    return failed;
}

/* ---- nobody else in the library: a child inherits all ---- */

static int shares_the_slot(void)
{
    tokauth_client *own = new_client(NULL, NULL);
    tokauth_token *token = new_token(own, TOKAUTH_CACHED_ONLY);

    if (token == NULL)
        return 1;
    tokauth_token_free(token);
    tokauth_client_free(shared);
    token = new_token(own, TOKAUTH_CACHED_ONLY);
    if (token == NULL)
        return 2;
    tokauth_token_free(token);
    shared = own;
    return 0;
}

static int has_a_child_of_its_own(void)
{
    int step = shares_the_slot();

    if (step != 0)
        return step;
    return child_does(shares_the_slot) && child_does(uses_both_clients) && gets_another(shared) ? 0 : 3;
}

/* A kept connection is the parent's: what parent and child ask for in turns goes over connections of their own. */
static int quiet(int forks)
{
    int failed = 0;
    int n;

    CHECK(gets_token(shared));
    for (n = 0; n < forks && failed == 0; n++) {
        failed += !child_does(has_a_child_of_its_own);
        failed += !child_does(uses_both_clients);
        CHECK(gets_another(shared));
    }
    return failed;
}

/* ---- the library's first calls in a process ---- */

static int makes_a_client(void)
{
    tokauth_client *client = new_client(NULL, NULL);
    int made = client != NULL && gets_another(client);

    tokauth_client_free(client);
    return !made;
}

static void *make_a_client(void *failed)
{
    *(int *)failed = makes_a_client();
    return NULL;
}

/* A child that was forked in the very moment of its parent's first client may be told so, and then makes none. */
static int works_or_is_told(void)
{
    tokauth_config *config = tokauth_config_new();
    tokauth_client *client = NULL;
    tokauth_status status;
    int failed;

    tokauth_config_load_env(config, NULL, NULL);
    status = tokauth_client_new(config, &client, NULL);
    tokauth_config_free(config);
    failed = status != TOKAUTH_ERR_UNSUPPORTED && (status != TOKAUTH_OK || !gets_another(client));
    tokauth_client_free(client);
    return failed;
}

static long moments; /* how far the threads get before the fork */

static int forks_while_it_begins(void)
{
    const struct timespec moment = {0, moments * 20000};
    pthread_t threads[4];
    int failed[4];
    int i, worked;

    for (i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, make_a_client, &failed[i]) == 0);
    nanosleep(&moment, NULL);
    worked = child_does(works_or_is_told);
    for (i = 0; i < 4; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        worked &= !failed[i];
    }
    return !worked;
}

static int first(int forks)
{
    int failed = 0;

    for (moments = 0; moments < forks && failed == 0; moments++)
        failed += !child_does(forks_while_it_begins);
    shared = new_client(NULL, NULL);
    return failed;
}

/* ---- lookups that hang in the parent ---- */

typedef int lookup(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static sem_t hanging, let_go;

/* The library's calls come here. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    lookup *real;

    if (node != NULL && strcmp(node, "hangs.test") == 0) {
        sem_post(&hanging);
        sem_wait(&let_go);
        return EAI_AGAIN;
    }
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    return real(node, service, hints, found);
}

static void *hang(void *client)
{
    (void)status_of(client);
    return NULL;
}

static int looks_up_beside_hanging_ones(int forks)
{
    tokauth_client *clients[LOOKUPS_MAX];
    pthread_t threads[LOOKUPS_MAX];
    char url[64];
    int failed = 0;
    int i;

    CHECK(sem_init(&hanging, 0, 0) == 0 && sem_init(&let_go, 0, 0) == 0);
    for (i = 0; i < LOOKUPS_MAX; i++) {
        sprintf(url, "https://hangs.test/token/%d", i);
        clients[i] = new_client("token_url", url);
        CHECK(pthread_create(&threads[i], NULL, hang, clients[i]) == 0);
    }
    for (i = 0; i < LOOKUPS_MAX; i++)
        CHECK(sem_wait(&hanging) == 0);
    for (i = 0; i < forks && failed == 0; i++)
        failed += !child_does(uses_both_clients);
    for (i = 0; i < 100 * LOOKUPS_MAX; i++) /* the library may try again */
        CHECK(sem_post(&let_go) == 0);
    for (i = 0; i < LOOKUPS_MAX; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        tokauth_client_free(clients[i]);
    }
    return failed;
}

int main(int argc, char **argv)
{
    static int (*const EVERYTHING[])(int) = {asks, asks, fetches, makes_clients, makes_clients, invalidates};
    static int (*const LOOKUPS[])(int) = {looks_up, looks_up, looks_up, looks_up};
    struct timespec began, ended;
    int forks, failed;

    CHECK(argc == 3);
    alarm(PARENT_LIMIT_S);
    forks = atoi(argv[1]);
    if (strcmp(argv[2], "first") != 0) {
        shared = new_client(NULL, NULL);
        CHECK(shared != NULL);
    }
    clock_gettime(CLOCK_MONOTONIC, &began);
    if (strcmp(argv[2], "busy") == 0)
        failed = busy(EVERYTHING, sizeof EVERYTHING / sizeof EVERYTHING[0], uses_both_clients, forks);
    else if (strcmp(argv[2], "lookups") == 0)
        failed = busy(LOOKUPS, sizeof LOOKUPS / sizeof LOOKUPS[0], is_answered_in_time, forks);
    else if (strcmp(argv[2], "hanging") == 0)
        failed = looks_up_beside_hanging_ones(forks);
    else if (strcmp(argv[2], "first") == 0)
        failed = first(forks);
    else
        failed = quiet(forks);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    if (strcmp(argv[2], "lookups") != 0)
        CHECK(gets_another(shared));
    tokauth_client_free(shared);
    printf("%d of %d forks failed, %d failures beside them, %ld ms\n", failed, forks, failures,
           (long)((ended.tv_sec - began.tv_sec) * 1000 + (ended.tv_nsec - began.tv_nsec) / 1000000));
    return failed == 0 && failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
