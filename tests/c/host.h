/* What the test programs beside this share. A working client's options are expected in the environment (TOKAUTH_*). */
#ifndef HOST_H
#define HOST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tokauth.h>

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            exit(EXIT_FAILURE); \
        } \
    } while (0)

/* A client with the options of the environment, and one more unless its name is NULL. */
static inline tokauth_client *new_client(const char *name, const char *value)
{
    tokauth_config *config = tokauth_config_new();
    tokauth_client *client = NULL;
    tokauth_error *error = NULL;

    tokauth_config_load_env(config, NULL, NULL);
    if (name != NULL)
        tokauth_config_set(config, name, value, NULL);
    if (tokauth_client_new(config, &client, &error) != TOKAUTH_OK)
        fprintf(stderr, "no client: %s\n", tokauth_error_message(error));
    tokauth_error_free(error);
    tokauth_config_free(config);
    return client;
}

/* A token, or NULL after saying why. */
static inline tokauth_token *new_token(const tokauth_client *client, uint32_t flags)
{
    tokauth_token *token = NULL;
    tokauth_error *error = NULL;

    if (tokauth_client_token(client, flags, &token, &error) != TOKAUTH_OK)
        fprintf(stderr, "no token: %s\n", tokauth_error_message(error));
    tokauth_error_free(error);
    return token;
}

static inline int gets_token(const tokauth_client *client)
{
    tokauth_token *token = new_token(client, 0);
    int got = token != NULL && tokauth_token_value(token, NULL)[0] != '\0';

    tokauth_token_free(token);
    return got;
}

/* Whether the provider gave another token after the cached one was forgotten. */
static inline int gets_another(const tokauth_client *client)
{
    tokauth_token *before = new_token(client, 0);
    tokauth_token *after = tokauth_client_clear(client, NULL) == TOKAUTH_OK ? new_token(client, 0) : NULL;
    int another = before != NULL && after != NULL
                  && strcmp(tokauth_token_value(before, NULL), tokauth_token_value(after, NULL)) != 0;

    tokauth_token_free(before);
    tokauth_token_free(after);
    return another;
}

/* What a call without a cached token ends with. */
static inline tokauth_status status_of(const tokauth_client *client)
{
    tokauth_token *token = NULL;
    tokauth_status status;

    tokauth_client_clear(client, NULL);
    status = tokauth_client_token(client, 0, &token, NULL);
    tokauth_token_free(token);
    return status;
}

#endif
