/*
 * Calls an API with libcurl: with all headers that the token needs, and a second time with a new one after a 401.
 *
 *   gcc -I include examples/c/curl.c -L target/release -ltokauth -lcurl -o curl
 *   TOKAUTH_PROVIDER=... TOKAUTH_CLIENT_ID=... TOKAUTH_CLIENT_SECRET_FILE=... ./curl https://api.example/things [BODY]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>
#include <tokauth.h>

/* The HTTP status of the reply, or 0 if none came. */
static long send_with(CURL *curl, const tokauth_token *token)
{
    struct curl_slist *headers = NULL;
    long status = 0;
    size_t i;

    for (i = 0; i < tokauth_token_header_count(token); i++) {
        const char *name = tokauth_token_header_name(token, i), *value = tokauth_token_header_value(token, i);
        size_t size = strlen(name) + strlen(value) + sizeof ": ";
        char *line = malloc(size);
        struct curl_slist *longer = NULL;

        if (line != NULL && snprintf(line, size, "%s: %s", name, value) > 0)
            longer = curl_slist_append(headers, line); /* copies it */
        free(line);
        if (longer == NULL)
            goto done;
        headers = longer;
    }
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_perform(curl); /* tells a failure in CURLOPT_ERRORBUFFER */
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, NULL);

done:
    curl_slist_free_all(headers);
    return status;
}

int main(int argc, char **argv)
{
    char fault[CURL_ERROR_SIZE] = "no URL, or no memory";
    tokauth_config *config = tokauth_config_new();
    tokauth_client *client = NULL;
    tokauth_token *token = NULL;
    tokauth_error *error = NULL;
    CURL *curl = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? curl_easy_init() : NULL;
    int calls = 0, succeeded;
    long status = 0;

    if (argc < 2 || curl == NULL || tokauth_config_load_env(config, NULL, &error) != TOKAUTH_OK
        || tokauth_client_new(config, &client, &error) != TOKAUTH_OK)
        goto done;
    curl_easy_setopt(curl, CURLOPT_URL, argv[1]);
    if (argc > 2)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, argv[2]); /* in memory, so it can be sent a second time */
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L); /* it would take the headers along, to whatever host it is */
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);    /* the body of a 4xx or 5xx does not go to stdout */
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, fault);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 30L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    do {
        tokauth_token_free(token);
        if (tokauth_client_token(client, 0, &token, &error) != TOKAUTH_OK)
            goto done;
        status = send_with(curl, token);
        calls++;
    } while (status == 401 && calls < 2 && tokauth_client_invalidate(client, token, &error) == TOKAUTH_OK);

done:
    succeeded = error == NULL && status >= 200 && status <= 299;
    if (error != NULL)
        fprintf(stderr, "%s: %s\n", tokauth_status_name(tokauth_error_status(error)), tokauth_error_message(error));
    else if (!succeeded)
        fprintf(stderr, "HTTP status %ld: %s\n", status, fault);
    tokauth_error_free(error);
    tokauth_token_free(token);
    tokauth_client_free(client);
    tokauth_config_free(config);
    curl_easy_cleanup(curl);
    curl_global_cleanup();
    return succeeded ? EXIT_SUCCESS : EXIT_FAILURE;
}
