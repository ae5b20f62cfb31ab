/*
 * A process to be killed. It makes a client with the options of the environment and does what its arguments say, one
 * after the other; a line tells what came of each:
 *
 *   token, cached, refresh   "token VALUE"
 *   invalidate, clear        "done"; the first is about the latest token
 *   budget                   "budget LEFT"
 *   wait                     "ready", and goes on when its input ends
 *   forks                    from now on each line of the input makes a child: "child PID". That calls the library when
 *                            it is sent SIGUSR1, says "called", and lives until it is killed
 *
 * or "error STATUS MESSAGE". Whoever hangs is killed by an alarm.
 */
#define _GNU_SOURCE

#include "../c/host.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

enum { LIMIT_S = 150 };

static tokauth_client *client;
static tokauth_token *latest;

static void tell(tokauth_status status, tokauth_error *error)
{
    if (status == TOKAUTH_OK)
        printf("done\n");
    else
        printf("error %d %s\n", (int)status, tokauth_error_message(error));
    tokauth_error_free(error);
}

static void ask(uint32_t flags)
{
    tokauth_token *token = NULL;
    tokauth_error *error = NULL;

    tokauth_status status = tokauth_client_token(client, flags, &token, &error);

    if (status != TOKAUTH_OK) {
        tell(status, error);
        return;
    }
    printf("token %s\n", tokauth_token_value(token, NULL));
    tokauth_token_free(latest);
    latest = token;
}

static void invalidate(void)
{
    tokauth_error *error = NULL;
    tokauth_status status = tokauth_client_invalidate(client, latest, &error);

    tell(status, error);
}

static void clear(void)
{
    tokauth_error *error = NULL;
    tokauth_status status = tokauth_client_clear(client, &error);

    tell(status, error);
}

static void tell_budget(void)
{
    int64_t left = 0, next_at = 0;
    tokauth_error *error = NULL;

    tokauth_status status = tokauth_client_budget(client, &left, &next_at, &error);

    if (status == TOKAUTH_OK)
        printf("budget %lld\n", (long long)left);
    else
        tell(status, error);
}

/* A child, with a copy of all that its parent has open. */
static void live_on(const sigset_t *signals)
{
    int signal;
    tokauth_token *token = NULL;

    alarm(LIMIT_S); /* that of its parent is not for it */
    printf("child %ld\n", (long)getpid());
    sigwait(signals, &signal);
    tokauth_client_token(client, TOKAUTH_CACHED_ONLY, &token, NULL);
    printf("called\n");
    for (;;)
        pause();
}

static void *fork_on_demand(void *signals)
{
    int c;

    while ((c = getchar()) != EOF) {
        if (c == '\n' && fork() == 0)
            live_on(signals);
    }
    return NULL;
}

static void begin_forks(void)
{
    static sigset_t signals;
    pthread_t thread;

    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    CHECK(pthread_sigmask(SIG_BLOCK, &signals, NULL) == 0);
    CHECK(pthread_create(&thread, NULL, fork_on_demand, &signals) == 0);
    CHECK(pthread_detach(thread) == 0);
}

static void wait_for_end_of_input(void)
{
    printf("ready\n");
    while (getchar() != EOF)
        ;
}

int main(int count, char **acts)
{
    tokauth_config *config = tokauth_config_new();
    tokauth_error *error = NULL;
    tokauth_status status;
    int i;

    alarm(LIMIT_S);
    setvbuf(stdout, NULL, _IOLBF, 0);
    tokauth_config_load_env(config, NULL, NULL);
    status = tokauth_client_new(config, &client, &error);
    tokauth_config_free(config);
    if (status != TOKAUTH_OK) {
        tell(status, error);
        return EXIT_FAILURE;
    }
    for (i = 1; i < count; i++) {
        const char *act = acts[i];

        if (strcmp(act, "token") == 0)
            ask(0);
        else if (strcmp(act, "cached") == 0)
            ask(TOKAUTH_CACHED_ONLY);
        else if (strcmp(act, "refresh") == 0)
            ask(TOKAUTH_FORCE_REFRESH);
        else if (strcmp(act, "invalidate") == 0)
            invalidate();
        else if (strcmp(act, "clear") == 0)
            clear();
        else if (strcmp(act, "budget") == 0)
            tell_budget();
        else if (strcmp(act, "wait") == 0)
            wait_for_end_of_input();
        else if (strcmp(act, "forks") == 0)
            begin_forks();
        else
            CHECK(0);
    }
    tokauth_token_free(latest);
    tokauth_client_free(client);
    return EXIT_SUCCESS;
}
