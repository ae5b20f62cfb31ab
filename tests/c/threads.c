/*
 * What a host's threads and signals do to a call: threads CASE. The driver holds a reply, or sends one line when it is
 * time to go on.
 */
#define _GNU_SOURCE /* setitimer, unshare */

#include "host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80 /* Linux 5.6, and not in every C library of that time */
#endif

enum { LIMIT_S = 600 };

extern char **environ;

static const char *program;

/* ---- pthread_cancel ---- */

struct caller {
    tokauth_client *client;
    pthread_t thread;
    int got;
};

static void *call_and_go_on(void *argument)
{
    struct caller *caller = argument;

    caller->got = gets_token(caller->client);
    for (;;)
        pause(); /* a cancellation point */
    return NULL;
}

static void *call(void *argument)
{
    struct caller *caller = argument;

    caller->got = gets_token(caller->client);
    return NULL;
}

static void *call_and_free(void *argument)
{
    struct caller *caller = argument;

    call(caller);
    tokauth_client_free(caller->client);
    return NULL;
}

static void wait_for_waits(const tokauth_client *client, uint64_t count)
{
    const struct timespec moment = {0, 1000000};

    while (tokauth_client_counter(client, TOKAUTH_COUNT_WAITS) < count)
        nanosleep(&moment, NULL);
}

/* The driver holds the reply until it has read this, and its line comes when the request has arrived. */
static void inside(void)
{
    puts("inside");
    CHECK(fflush(stdout) == 0);
}

static void cancelled(void)
{
    tokauth_client *client = new_client(NULL, NULL);
    struct caller asks = {client, 0, 0}, waits = {client, 0, 0}, stays = {client, 0, 0};
    void *ended;

    CHECK(pthread_create(&asks.thread, NULL, call_and_go_on, &asks) == 0);
    CHECK(getchar() == '\n');
    CHECK(pthread_create(&waits.thread, NULL, call_and_go_on, &waits) == 0);
    CHECK(pthread_create(&stays.thread, NULL, call, &stays) == 0);
    wait_for_waits(client, 2);
    CHECK(pthread_cancel(asks.thread) == 0 && pthread_cancel(waits.thread) == 0);
    inside();
    CHECK(pthread_join(stays.thread, NULL) == 0 && stays.got);
    CHECK(pthread_join(asks.thread, &ended) == 0 && ended == PTHREAD_CANCELED && asks.got);
    CHECK(pthread_join(waits.thread, &ended) == 0 && ended == PTHREAD_CANCELED && waits.got);
    CHECK(tokauth_client_counter(client, TOKAUTH_COUNT_REQUESTS) == 1);
    CHECK(gets_another(client));
    tokauth_client_free(client);
}

/* ---- many threads ---- */

/* The same driver: the handle that they all hang on is freed while they are inside. */
static void freed_inside(void)
{
    enum { OTHERS = 8 };
    tokauth_client *client = new_client(NULL, NULL);
    struct caller asks = {tokauth_client_clone(client), 0, 0}, waits[OTHERS];
    int i;

    CHECK(pthread_create(&asks.thread, NULL, call, &asks) == 0);
    CHECK(getchar() == '\n');
    for (i = 0; i < OTHERS; i++) {
        waits[i].client = tokauth_client_clone(client);
        CHECK(pthread_create(&waits[i].thread, NULL, call_and_free, &waits[i]) == 0);
    }
    wait_for_waits(client, OTHERS);
    tokauth_client_free(client);
    inside();
    for (i = 0; i < OTHERS; i++)
        CHECK(pthread_join(waits[i].thread, NULL) == 0 && waits[i].got);
    CHECK(pthread_join(asks.thread, NULL) == 0 && asks.got);
    CHECK(tokauth_client_counter(asks.client, TOKAUTH_COUNT_REQUESTS) == 1);
    CHECK(gets_another(asks.client));
    tokauth_client_free(asks.client);
}

static void *copies(void *argument)
{
    static const size_t SIZE = 8192;
    char *copy = malloc(SIZE);

    CHECK(tokauth_client_copy_authorization(argument, 0, copy, SIZE, NULL, NULL) == TOKAUTH_OK);
    return copy;
}

/* The same driver: a thousand threads on one handle. */
static void crowd(void)
{
    enum { THREADS = 1000, STACK = 512 * 1024 };
    tokauth_client *client = new_client(NULL, NULL);
    pthread_t threads[THREADS];
    pthread_attr_t attributes;
    char *copy;
    int i;

    CHECK(pthread_attr_init(&attributes) == 0 && pthread_attr_setstacksize(&attributes, STACK) == 0);
    CHECK(pthread_create(&threads[0], &attributes, copies, client) == 0);
    CHECK(getchar() == '\n');
    for (i = 1; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], &attributes, copies, client) == 0);
    wait_for_waits(client, THREADS - 1);
    inside();
    copy = copies(client);
    for (i = 0; i < THREADS; i++) {
        void *other;

        CHECK(pthread_join(threads[i], &other) == 0 && strcmp(copy, other) == 0);
        free(other);
    }
    free(copy);
    CHECK(tokauth_client_counter(client, TOKAUTH_COUNT_REQUESTS) == 1);
    tokauth_client_free(client);
}

/* Cancelled before the call: every function that may block leaves the cancellation for later. */
static void *calls_everything(void *client)
{
    tokauth_client *own;
    tokauth_token *token;
    char buffer[8192];
    int64_t remaining, next_at;

    pthread_cancel(pthread_self());
    CHECK(gets_another(client));
    token = new_token(client, TOKAUTH_FORCE_REFRESH);
    CHECK(token != NULL);
    CHECK(tokauth_client_invalidate(client, token, NULL) == TOKAUTH_OK);
    tokauth_token_free(token);
    CHECK(tokauth_client_copy_authorization(client, 0, buffer, sizeof buffer, NULL, NULL) == TOKAUTH_OK);
    CHECK(tokauth_client_budget(client, &remaining, &next_at, NULL) == TOKAUTH_OK);
    own = new_client("header.X-Test", "own");
    CHECK(own != NULL && gets_token(own));
    tokauth_client_free(own);
    pthread_testcancel();
    return NULL;
}

static void cancelled_before(void)
{
    tokauth_client *client = new_client(NULL, NULL);
    pthread_t thread;
    void *ended;

    CHECK(pthread_create(&thread, NULL, calls_everything, client) == 0);
    CHECK(pthread_join(thread, &ended) == 0 && ended == PTHREAD_CANCELED);
    CHECK(gets_another(client));
    tokauth_client_free(client);
}

/* ---- signals ---- */

static volatile sig_atomic_t alarms;

static void count_alarm(int number)
{
    (void)number;
    if (++alarms > 850000) /* about ten minutes: the timer that would end a hang is in use here */
        abort();
}

static void storm(void)
{
    static const struct itimerval EVERY = {{0, 700}, {0, 700}}, NEVER = {{0, 0}, {0, 0}};
    tokauth_client *client = new_client(NULL, NULL);
    struct sigaction action;
    int i;

    memset(&action, 0, sizeof action);
    action.sa_handler = count_alarm; /* no SA_RESTART */
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    CHECK(setitimer(ITIMER_REAL, &EVERY, NULL) == 0);
    for (i = 0; i < 100; i++)
        CHECK(gets_another(client));
    CHECK(setitimer(ITIMER_REAL, &NEVER, NULL) == 0);
    CHECK(alarms > 10);
    tokauth_client_free(client);
}

/* Ends each connection at its first byte and reads none, so that what is written next meets a broken pipe. */
static void *close_all(void *argument)
{
    int listener = *(int *)argument;
    int peer;
    char byte;

    while ((peer = accept(listener, NULL, NULL)) != -1) {
        recv(peer, &byte, 1, MSG_PEEK);
        shutdown(peer, SHUT_WR);
        close(peer);
    }
    return NULL;
}

static void broken_pipe(void)
{
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    tokauth_config *config = tokauth_config_new();
    tokauth_client *client = NULL;
    char *large = calloc(1, 60001);
    pthread_t thread;
    char url[64];
    int broken = 0;
    int i;

    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 8) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
    CHECK(pthread_create(&thread, NULL, close_all, &listener) == 0);
    sprintf(url, "http://127.0.0.1:%d/token", ntohs(address.sin_port));
    memset(large, 'a', 60000);
    CHECK(tokauth_config_load_env(config, NULL, NULL) == TOKAUTH_OK);
    CHECK(tokauth_config_set(config, "token_url", url, NULL) == TOKAUTH_OK);
    for (i = 0; i < 4; i++) {
        char name[16];

        sprintf(name, "param.large%d", i);
        CHECK(tokauth_config_set(config, name, large, NULL) == TOKAUTH_OK);
    }
    CHECK(tokauth_client_new(config, &client, NULL) == TOKAUTH_OK);
    CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    for (i = 0; i < 10; i++) {
        tokauth_token *token = NULL;
        tokauth_error *error = NULL;

        CHECK(tokauth_client_clear(client, NULL) == TOKAUTH_OK);
        CHECK(tokauth_client_token(client, 0, &token, &error) == TOKAUTH_ERR_NETWORK);
        broken += strstr(tokauth_error_message(error), "Broken pipe") != NULL;
        tokauth_error_free(error);
    }
    CHECK(broken > 0);
    tokauth_client_free(client);
    tokauth_config_free(config);
    free(large);
}

/* ---- descriptors ---- */

static int open_descriptors(void)
{
    int count = 0;
    int fd;

    for (fd = 3; fd < 4096; fd++)
        count += fcntl(fd, F_GETFD) != -1;
    return count;
}

/* What a program inherits that is begun now. */
static int inherited(int by_spawn)
{
    char *arguments[] = {NULL, "descriptors", NULL};
    pid_t child;
    int status;

    arguments[0] = (char *)program;
    if (by_spawn) {
        CHECK(posix_spawn(&child, program, NULL, NULL, arguments, environ) == 0);
    } else {
        child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            execv(program, arguments);
            _exit(255);
        }
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void exec_inherits_nothing(void)
{
    int before = inherited(0);
    int here = open_descriptors();
    tokauth_client *client = new_client(NULL, NULL);

    CHECK(gets_token(client));
    CHECK(open_descriptors() > here); /* the kept connection */
    CHECK(inherited(0) == before);
    CHECK(inherited(1) == before);
    tokauth_client_free(client);
    CHECK(open_descriptors() == here);
}

static void table_full(void)
{
    const struct rlimit limit = {64, 64};
    tokauth_client *client = new_client(NULL, NULL);
    int fds[64];
    int count = 0;

    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK(gets_another(client));
    tokauth_client_free(client); /* with its connection */
    client = new_client(NULL, NULL);
    while ((fds[count] = dup(0)) != -1)
        count++;
    CHECK(errno == EMFILE && count > 0);
    CHECK(status_of(client) == TOKAUTH_ERR_NETWORK);
    while (count > 0)
        close(fds[--count]);
    CHECK(status_of(client) == TOKAUTH_OK);
    tokauth_client_free(client);
}

/* ---- what is left behind ---- */

static long told_by_the_system(const char *name)
{
    FILE *status = fopen("/proc/self/status", "r");
    char line[256];
    long value = -1;

    CHECK(status != NULL);
    while (value == -1 && fgets(line, sizeof line, status) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            value = atol(line + strlen(name));
    fclose(status);
    CHECK(value != -1);
    return value;
}

static void comes_and_goes(int from, int to)
{
    char value[16];
    int i;

    for (i = from; i < to; i++) {
        tokauth_client *client;

        sprintf(value, "%d", i);
        client = new_client("header.X-Test", value);
        CHECK(client != NULL && (i % 20 != 0 || gets_token(client)));
        tokauth_client_free(client);
    }
}

static void cycles(void)
{
    const int fds = open_descriptors();
    long before;

    comes_and_goes(0, 2000); /* as many slots linger as ever will */
    before = told_by_the_system("VmRSS:");
    comes_and_goes(2000, 12000);
    CHECK(told_by_the_system("VmRSS:") < before + 1024); /* KiB; a client left behind would be 10 MiB and more */
    CHECK(open_descriptors() == fds && told_by_the_system("Threads:") == 1);
}

/* ---- suspend ---- */

/* What is left of a cached token for a child for which that clock has gone on by two hours, and no other. */
static int after_two_hours_on(const char *clock, const tokauth_client *client)
{
    FILE *offsets;
    pid_t child;
    int status;

    if (unshare(CLONE_NEWTIME) != 0)
        perror("no time namespace; that takes root, or user namespaces");
    offsets = fopen("/proc/self/timens_offsets", "w");
    CHECK(offsets != NULL && fprintf(offsets, "%s 7200 0\n", clock) > 0 && fclose(offsets) == 0);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        tokauth_token *token;

        _exit(tokauth_client_token(client, TOKAUTH_CACHED_ONLY, &token, NULL));
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void suspended(void)
{
    tokauth_client *client = new_client(NULL, NULL);

    CHECK(gets_token(client)); /* for an hour */
    CHECK(after_two_hours_on("monotonic", client) == TOKAUTH_OK);
    CHECK(after_two_hours_on("boottime", client) == TOKAUTH_ERR_NOT_CACHED);
    tokauth_client_free(client);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } CASES[] = {
        {"cancelled", cancelled},
        {"cancelled_before", cancelled_before},
        {"freed_inside", freed_inside},
        {"crowd", crowd},
        {"storm", storm},
        {"broken_pipe", broken_pipe},
        {"exec_inherits_nothing", exec_inherits_nothing},
        {"table_full", table_full},
        {"cycles", cycles},
        {"suspended", suspended},
    };
    size_t i;

    CHECK(argc == 2);
    program = argv[0];
    if (strcmp(argv[1], "descriptors") == 0)
        return open_descriptors();
    alarm(LIMIT_S);
    for (i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        if (strcmp(argv[1], CASES[i].name) == 0) {
            CASES[i].run();
            puts("done");
            return EXIT_SUCCESS;
        }
    }
    return EXIT_FAILURE;
}
