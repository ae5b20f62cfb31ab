/*
 * Keeps a token warm from a timer thread of the program's own: no thread that serves requests waits for a renewal. For
 * tokens that live longer than a few minutes.
 *
 *   gcc -I include examples/c/keep_warm.c -L target/release -ltokauth -lpthread -o keep_warm
 *   TOKAUTH_PROVIDER=oauth2 TOKAUTH_TOKEN_URL=... TOKAUTH_CLIENT_ID=... TOKAUTH_CLIENT_SECRET_FILE=... ./keep_warm
 *
 * The timer asks through a sibling that wants ten minutes of life left: the token is renewed then, while the others, who
 * want ten seconds, still get the old one at once. Both share one token.
 */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <tokauth.h>

static tokauth_client *client, *warmer;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t stopped; /* by a clock that nobody sets */
static int stop;

/* Asks for a token with ten minutes left. */
static int warm(void)
{
    tokauth_token *token = NULL;
    tokauth_error *error = NULL;
    tokauth_status status = tokauth_client_token(warmer, 0, &token, &error);

    if (status != TOKAUTH_OK)
        fprintf(stderr, "keep_warm: %s\n", tokauth_error_message(error));
    tokauth_error_free(error);
    tokauth_token_free(token);
    return status == TOKAUTH_OK;
}

static void *keep_warm(void *unused)
{
    struct timespec next;

    (void)unused;
    pthread_mutex_lock(&lock);
    while (!stop) {
        clock_gettime(CLOCK_MONOTONIC, &next);
        next.tv_sec += 60;
        while (!stop && pthread_cond_timedwait(&stopped, &lock, &next) == 0)
            ; /* woken for nothing */
        if (!stop) {
            pthread_mutex_unlock(&lock);
            warm(); /* after a failure the next tick tries again */
            pthread_mutex_lock(&lock);
        }
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* What a thread that serves requests does before each call of the API. */
static int serve(void)
{
    char authorization[8192];
    tokauth_error *error = NULL;
    tokauth_status status =
        tokauth_client_copy_authorization(client, 0, authorization, sizeof authorization, NULL, &error);

    if (status != TOKAUTH_OK)
        fprintf(stderr, "keep_warm: %s\n", tokauth_error_message(error));
    tokauth_error_free(error);
    return status == TOKAUTH_OK;
}

int main(void)
{
    tokauth_config *config = tokauth_config_new();
    tokauth_error *error = NULL;
    pthread_condattr_t steady;
    pthread_t timer;
    int served = 0, exit_status = EXIT_FAILURE, i;

    if (tokauth_config_load_env(config, NULL, &error) != TOKAUTH_OK
        || tokauth_config_set(config, "refresh_ahead", "off", &error) != TOKAUTH_OK /* that is the timer's part */
        || tokauth_client_new(config, &client, &error) != TOKAUTH_OK
        || tokauth_client_with(client, "min_valid_s", "600", &warmer, &error) != TOKAUTH_OK) {
        fprintf(stderr, "keep_warm: %s\n", tokauth_error_message(error));
        goto done;
    }
    pthread_condattr_init(&steady);
    pthread_condattr_setclock(&steady, CLOCK_MONOTONIC);
    pthread_cond_init(&stopped, &steady);
    pthread_condattr_destroy(&steady);
    if (!warm()) /* before the first request is served */
        goto done;
    if (pthread_create(&timer, NULL, keep_warm, NULL) != 0) {
        fputs("keep_warm: no thread\n", stderr);
        goto done;
    }

    for (i = 0; i < 1000; i++)
        served += serve();
    printf("served: %d\n", served);
    printf("requests sent: %lu\n", (unsigned long)tokauth_client_counter(client, TOKAUTH_COUNT_REQUESTS));

    pthread_mutex_lock(&lock);
    stop = 1;
    pthread_cond_signal(&stopped);
    pthread_mutex_unlock(&lock);
    pthread_join(timer, NULL);
    exit_status = served == 1000 ? EXIT_SUCCESS : EXIT_FAILURE;

done:
    tokauth_error_free(error);
    tokauth_client_free(warmer);
    tokauth_client_free(client);
    tokauth_config_free(config);
    return exit_status;
}
