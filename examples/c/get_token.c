/*
 * Asks for a token twice and shows that one request was enough.
 *
 *   gcc -I include examples/c/get_token.c -L target/release -ltokauth -o get_token
 *   TOKAUTH_PROVIDER=oauth2 TOKAUTH_TOKEN_URL=... TOKAUTH_CLIENT_ID=... TOKAUTH_CLIENT_SECRET_FILE=... ./get_token
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <tokauth.h>

static void print_token(const tokauth_token *token)
{
    size_t i;

    for (i = 0; i < tokauth_token_header_count(token); i++) {
        const char *value = tokauth_token_header_value(token, i);

        printf("%s: %.7s... (%lu characters)\n", tokauth_token_header_name(token, i), value,
               (unsigned long)strlen(value));
    }
    printf("expires in %ld s\n", (long)(tokauth_token_expires_at(token) - (int64_t)time(NULL)));
}

int main(void)
{
    tokauth_config *config = tokauth_config_new();
    tokauth_client *client = NULL;
    tokauth_token *token = NULL;
    tokauth_token *again = NULL; /* the same token, and no request */
    tokauth_error *error = NULL;
    int exit_status = EXIT_FAILURE;

    if (tokauth_config_load_env(config, NULL, &error) != TOKAUTH_OK
        || tokauth_client_new(config, &client, &error) != TOKAUTH_OK
        || tokauth_client_token(client, 0, &token, &error) != TOKAUTH_OK
        || tokauth_client_token(client, 0, &again, &error) != TOKAUTH_OK) {
        fprintf(stderr, "get_token: %s: %s\n", tokauth_status_name(tokauth_error_status(error)),
                tokauth_error_message(error));
        goto done;
    }
    print_token(token);
    printf("requests sent: %lu\n", (unsigned long)tokauth_client_counter(client, TOKAUTH_COUNT_REQUESTS));
    exit_status = EXIT_SUCCESS;

done:
    tokauth_error_free(error);
    tokauth_token_free(again);
    tokauth_token_free(token);
    tokauth_client_free(client);
    tokauth_config_free(config);
    return exit_status;
}
