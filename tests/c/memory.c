/*
 * Prints what memory the kernel counts for this program: at its begin, with a client, and after the first token.
 */
#include <stdio.h>
#include <string.h>

#include <tokauth.h>

static void print_memory(const char *when)
{
    FILE *status = fopen("/proc/self/status", "r");
    char line[256];

    printf("%s:", when);
    while (status && fgets(line, sizeof line, status))
        if (strncmp(line, "VmHWM:", 6) == 0 || strncmp(line, "VmRSS:", 6) == 0 || strncmp(line, "RssAnon:", 8) == 0)
            printf(" %.*s", (int)strcspn(line, "\n"), line);
    printf("\n");
    if (status)
        fclose(status);
}

int main(int argc, char **argv)
{
    tokauth_config *config;
    tokauth_client *client = NULL;
    tokauth_token *token = NULL;
    tokauth_error *error = NULL;
    int failed = 1;

    (void)argv;
    if (argc > 1) /* only begun, and one call */
        return tokauth_version_number() == 0;
    print_memory("at the begin");
    config = tokauth_config_new();
    if (tokauth_config_load_env(config, NULL, &error) == TOKAUTH_OK
        && tokauth_client_new(config, &client, &error) == TOKAUTH_OK) {
        print_memory("with a client");
        failed = tokauth_client_token(client, 0, &token, &error) != TOKAUTH_OK;
    }
    if (failed)
        fprintf(stderr, "memory: %s\n", tokauth_error_message(error));
    else
        print_memory("after the first token");
    tokauth_error_free(error);
    tokauth_token_free(token);
    tokauth_client_free(client);
    tokauth_config_free(config);
    return failed;
}
