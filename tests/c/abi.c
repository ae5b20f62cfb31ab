/*
 * What tokauth.h promises, tried from C99. A working client's options are expected in the environment (TOKAUTH_*), the
 * secret as TOKAUTH_CLIENT_SECRET; the provider is oauth2, and every request must bring a new token. The numbers are
 * those of the fault catalogue.
 */
#define _POSIX_C_SOURCE 200112L /* setenv, sigaction */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tokauth.h>

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            return 0; \
        } \
    } while (0)

/* A pointer that no output may be left with. */
#define GARBAGE ((void *)&garbage)
static char garbage;

static const char OFFLINE[] = "{\"provider\": \"oauth2\", \"token_url\": \"https://localhost/token\","
                              " \"client_id\": \"me\", \"client_secret\": \"offline-secret-1\"}";

static int leaks; /* messages and log lines that held the secret */

static const char *watched(const char *text)
{
    const char *secret = getenv("TOKAUTH_CLIENT_SECRET");

    if (secret == NULL || strstr(text, secret) != NULL)
        leaks++;
    return text;
}

static int same(const char *a, const char *b)
{
    return a != NULL && b != NULL && strcmp(a, b) == 0;
}

/* Frees the error and tells whether it, and the call it came from, have this status and these words. */
static int failed_with(tokauth_status got, tokauth_error *error, tokauth_status status, const char *words)
{
    const char *message = watched(tokauth_error_message(error));
    int as_expected = got == status && tokauth_error_status(error) == status && message[0] != '\0'
                      && strchr(message, '\n') == NULL && strstr(message, words) != NULL;

    if (!as_expected)
        fprintf(stderr, "%s, not %s with \"%s\": %s\n", tokauth_status_name(got), tokauth_status_name(status), words,
                message);
    tokauth_error_free(error);
    return as_expected;
}

static tokauth_config *config_from_json(const char *json)
{
    tokauth_config *config = tokauth_config_new();

    if (tokauth_config_load_json(config, json, NULL) != TOKAUTH_OK)
        fprintf(stderr, "cannot load %s\n", json);
    return config;
}

/* Whether tokauth_client_new() accepts a config. */
static int accepted(const tokauth_config *config)
{
    tokauth_client *client = GARBAGE;
    tokauth_error *error = GARBAGE;
    tokauth_status status = tokauth_client_new(config, &client, &error);
    int made = status == TOKAUTH_OK && client != NULL && error == NULL;

    if (!made)
        fprintf(stderr, "refused: %s\n", watched(tokauth_error_message(error)));
    tokauth_client_free(client);
    tokauth_error_free(error);
    return made;
}

/* Whether tokauth_client_new() refuses a config with this status and these words. */
static int refused(const tokauth_config *config, tokauth_status status, const char *words)
{
    tokauth_client *client = GARBAGE;
    tokauth_error *error = GARBAGE;
    tokauth_status got = tokauth_client_new(config, &client, &error);

    return failed_with(got, error, status, words) && client == NULL;
}

/* The same for an offline config with one more option. */
static int option_refused(const char *name, const char *value, tokauth_status status, const char *words)
{
    tokauth_config *config = config_from_json(OFFLINE);
    int as_expected = tokauth_config_set(config, name, value, NULL) == TOKAUTH_OK && refused(config, status, words);

    tokauth_config_free(config);
    return as_expected;
}

static tokauth_config *working_config(const char *test)
{
    tokauth_config *config = tokauth_config_new();

    tokauth_config_load_env(config, NULL, NULL);
    tokauth_config_set(config, "header.X-Test", test, NULL); /* clients with equal options would share their token */
    return config;
}

static tokauth_client *working_client(const char *test)
{
    tokauth_config *config = working_config(test);
    tokauth_client *client = NULL;
    tokauth_error *error = NULL;

    if (tokauth_client_new(config, &client, &error) != TOKAUTH_OK)
        fprintf(stderr, "%s: %s\n", test, watched(tokauth_error_message(error)));
    tokauth_error_free(error);
    tokauth_config_free(config);
    return client;
}

/* A token, or NULL after saying why. */
static tokauth_token *token_of(const tokauth_client *client, uint32_t flags)
{
    tokauth_token *token = GARBAGE;
    tokauth_error *error = GARBAGE;

    if (tokauth_client_token(client, flags, &token, &error) != TOKAUTH_OK)
        fprintf(stderr, "no token: %s\n", watched(tokauth_error_message(error)));
    tokauth_error_free(error);
    return token;
}

static int fetches(const tokauth_client *client, uint32_t flags)
{
    tokauth_token *token = token_of(client, flags);
    int fetched = token != NULL;

    tokauth_token_free(token);
    return fetched;
}

static uint64_t requests(const tokauth_client *client)
{
    return tokauth_client_counter(client, TOKAUTH_COUNT_REQUESTS);
}

/* ---- guest ---- */

extern char **environ;

/* A number that another environment would most likely not have. */
static unsigned long environment(void)
{
    unsigned long hash = 5381;
    size_t i, j;

    for (i = 0; environ[i] != NULL; i++)
        for (j = 0; environ[i][j] != '\0'; j++)
            hash = hash * 33 + (unsigned char)environ[i][j];
    return hash;
}

/* The first test: what is not ours is as it was before the first call. */
static int signals_and_environment_of_the_host_are_left_alone(void)
{
    enum { SIGNALS = 32 };
    struct sigaction before[SIGNALS], after;
    const unsigned long variables = environment();
    sigset_t mask_before, mask_after;
    tokauth_client *client;
    int i;

    for (i = 1; i < SIGNALS; i++)
        CHECK(sigaction(i, NULL, &before[i]) == 0);
    CHECK(sigprocmask(SIG_BLOCK, NULL, &mask_before) == 0);
    client = working_client("signals_and_environment_of_the_host_are_left_alone");
    CHECK(client != NULL && fetches(client, 0) && fetches(client, TOKAUTH_FORCE_REFRESH));
    tokauth_client_free(client);
    for (i = 1; i < SIGNALS; i++) {
        CHECK(sigaction(i, NULL, &after) == 0);
        CHECK(after.sa_handler == before[i].sa_handler && after.sa_flags == before[i].sa_flags);
    }
    CHECK(sigprocmask(SIG_BLOCK, NULL, &mask_after) == 0);
    for (i = 1; i < SIGNALS; i++)
        CHECK(sigismember(&mask_before, i) == sigismember(&mask_after, i));
    CHECK(environment() == variables);
    return 1;
}

/* ---- library ---- */

/* */
static int version_of_header_and_library_agree(void)
{
    char text[32];

    CHECK(TOKAUTH_VERSION_NUMBER == (TOKAUTH_VERSION_MAJOR << 16 | TOKAUTH_VERSION_MINOR << 8 | TOKAUTH_VERSION_PATCH));
    CHECK(tokauth_version_number() == TOKAUTH_VERSION_NUMBER);
    sprintf(text, "%d.%d.%d", TOKAUTH_VERSION_MAJOR, TOKAUTH_VERSION_MINOR, TOKAUTH_VERSION_PATCH);
    CHECK(same(text, TOKAUTH_VERSION_STRING));
    CHECK(same(text, tokauth_version_string()));
    return 1;
}

static int every_status_has_its_name(void)
{
#define NAMED(status, number) CHECK((status) == (number) && same(tokauth_status_name(status), #status))
    static const tokauth_status UNKNOWN[] = {-1, 6, 13, 24, 32, 91, INT32_MAX, INT32_MIN};
    size_t i;

    NAMED(TOKAUTH_OK, 0);
    NAMED(TOKAUTH_ERR_INVALID_ARGUMENT, 1);
    NAMED(TOKAUTH_ERR_CONFIG, 2);
    NAMED(TOKAUTH_ERR_BUFFER_TOO_SMALL, 3);
    NAMED(TOKAUTH_ERR_UNSUPPORTED, 4);
    NAMED(TOKAUTH_ERR_NOT_CACHED, 5);
    NAMED(TOKAUTH_ERR_NETWORK, 10);
    NAMED(TOKAUTH_ERR_TIMEOUT, 11);
    NAMED(TOKAUTH_ERR_TLS, 12);
    NAMED(TOKAUTH_ERR_DENIED, 20);
    NAMED(TOKAUTH_ERR_RATE_LIMITED, 21);
    NAMED(TOKAUTH_ERR_SERVER, 22);
    NAMED(TOKAUTH_ERR_BAD_RESPONSE, 23);
    NAMED(TOKAUTH_ERR_QUOTA, 30);
    NAMED(TOKAUTH_ERR_STORE, 31);
    NAMED(TOKAUTH_ERR_INTERNAL, 90);
#undef NAMED
    for (i = 0; i < sizeof UNKNOWN / sizeof UNKNOWN[0]; i++)
        CHECK(same(tokauth_status_name(UNKNOWN[i]), "TOKAUTH_ERR_UNKNOWN"));
    return 1;
}

static int providers_are_listed(void)
{
    const size_t count = tokauth_provider_count();
    size_t i;

    CHECK(count > 6);
    for (i = 1; i < count; i++)
        CHECK(strcmp(tokauth_provider_name(i - 1), tokauth_provider_name(i)) < 0);
    CHECK(same(tokauth_provider_name(0), "authvia"));
    CHECK(tokauth_provider_name(count) == NULL);
    CHECK(tokauth_provider_name(SIZE_MAX) == NULL);
    return 1;
}

/* ---- NULL ---- */

/* */
static int freeing_null_does_nothing(void)
{
    tokauth_config_free(NULL);
    tokauth_client_free(NULL);
    tokauth_token_free(NULL);
    tokauth_error_free(NULL);
    CHECK(tokauth_client_clone(NULL) == NULL);
    CHECK(tokauth_token_clone(NULL) == NULL);
    return 1;
}

/* */
static int accessors_accept_null(void)
{
    size_t length = 99;

    CHECK(tokauth_token_value(NULL, &length) == NULL && length == 0);
    length = 99;
    CHECK(tokauth_token_authorization(NULL, &length) == NULL && length == 0);
    CHECK(tokauth_token_header_count(NULL) == 0);
    CHECK(tokauth_token_header_name(NULL, 0) == NULL);
    CHECK(tokauth_token_header_value(NULL, 0) == NULL);
    CHECK(tokauth_token_type(NULL) == NULL);
    CHECK(tokauth_token_scope(NULL) == NULL);
    CHECK(tokauth_token_expires_at(NULL) == 0);
    CHECK(tokauth_error_status(NULL) == TOKAUTH_OK);
    CHECK(same(tokauth_error_message(NULL), ""));
    CHECK(tokauth_error_provider_code(NULL) == NULL);
    CHECK(tokauth_error_http_status(NULL) == 0);
    CHECK(tokauth_error_retry_after_ms(NULL) == -1);
    CHECK(tokauth_client_counter(NULL, TOKAUTH_COUNT_REQUESTS) == 0);
    CHECK(tokauth_client_generation(NULL) == 0);
    return 1;
}

/* */
static int out_error_may_be_null(void)
{
    tokauth_config *config = tokauth_config_new();
    tokauth_client *client = working_client("out_error_may_be_null");
    tokauth_client *other = GARBAGE;
    tokauth_token *token = GARBAGE;
    int64_t number;

    CHECK(client != NULL);
    CHECK(tokauth_config_set(config, NULL, "x", NULL) == TOKAUTH_ERR_INVALID_ARGUMENT);
    CHECK(tokauth_config_load_env(NULL, NULL, NULL) == TOKAUTH_ERR_INVALID_ARGUMENT);
    CHECK(tokauth_config_load_json(config, "[]", NULL) == TOKAUTH_ERR_CONFIG);
    CHECK(tokauth_client_new(config, &other, NULL) == TOKAUTH_ERR_CONFIG && other == NULL);
    CHECK(tokauth_client_with(client, "no_such_option", "x", &other, NULL) == TOKAUTH_ERR_CONFIG);
    CHECK(tokauth_client_token(client, TOKAUTH_CACHED_ONLY, &token, NULL) == TOKAUTH_ERR_NOT_CACHED && token == NULL);
    CHECK(tokauth_client_token(client, 0, NULL, NULL) == TOKAUTH_ERR_INVALID_ARGUMENT);
    CHECK(tokauth_client_copy_authorization(NULL, 0, NULL, 0, NULL, NULL) == TOKAUTH_ERR_INVALID_ARGUMENT);
    CHECK(tokauth_client_invalidate(client, NULL, NULL) == TOKAUTH_ERR_INVALID_ARGUMENT);
    CHECK(tokauth_client_clear(NULL, NULL) == TOKAUTH_ERR_INVALID_ARGUMENT);
    CHECK(tokauth_client_budget(client, NULL, &number, NULL) == TOKAUTH_ERR_INVALID_ARGUMENT);
    CHECK(requests(client) == 0);
    tokauth_client_free(client);
    tokauth_config_free(config);
    return 1;
}

/* */
static int outputs_are_written_on_failure(void)
{
    char buffer[8];
    tokauth_client *client = GARBAGE;
    tokauth_token *token = GARBAGE;
    tokauth_error *error = GARBAGE;
    size_t needed = 99;
    tokauth_status status = tokauth_client_new(NULL, &client, &error);

    CHECK(failed_with(status, error, TOKAUTH_ERR_INVALID_ARGUMENT, "config") && client == NULL);
    client = GARBAGE;
    status = tokauth_client_with(NULL, "scope", "x", &client, &error);
    CHECK(failed_with(status, error, TOKAUTH_ERR_INVALID_ARGUMENT, "client") && client == NULL);
    status = tokauth_client_token(NULL, 0, &token, &error);
    CHECK(failed_with(status, error, TOKAUTH_ERR_INVALID_ARGUMENT, "client") && token == NULL);
    status = tokauth_client_copy_authorization(NULL, 0, buffer, sizeof buffer, &needed, &error);
    CHECK(failed_with(status, error, TOKAUTH_ERR_INVALID_ARGUMENT, "client") && needed == 0);
    return 1;
}

/* ---- config ---- */

static int options_are_set_replaced_and_removed(void)
{
    tokauth_config *config = tokauth_config_new();
    tokauth_error *error = GARBAGE;

    CHECK(tokauth_config_set(config, "timeout_ms", "soon", &error) == TOKAUTH_OK && error == NULL);
    CHECK(tokauth_config_load_json(config, OFFLINE, NULL) == TOKAUTH_OK);
    CHECK(refused(config, TOKAUTH_ERR_CONFIG, "timeout_ms"));
    CHECK(tokauth_config_set(config, "timeout_ms", "2000", NULL) == TOKAUTH_OK);
    CHECK(accepted(config));
    CHECK(tokauth_config_set(config, "client_id", NULL, NULL) == TOKAUTH_OK);
    CHECK(refused(config, TOKAUTH_ERR_CONFIG, "client_id"));
    tokauth_config_free(config);
    return 1;
}

static int order_of_options_does_not_matter(void)
{
    static const char *const OPTIONS[][2] = {{"provider", "oauth2"},
                                             {"token_url", "https://localhost/token"},
                                             {"client_id", "me"},
                                             {"client_secret", "offline-secret-1"},
                                             {"scope", "read"}};
    size_t first, i;

    for (first = 0; first < 5; first++) {
        tokauth_config *config = tokauth_config_new();

        for (i = 0; i < 5; i++) {
            const char *const *option = OPTIONS[(first + i) % 5];
            CHECK(tokauth_config_set(config, option[0], option[1], NULL) == TOKAUTH_OK);
        }
        CHECK(accepted(config));
        tokauth_config_free(config);
    }
    return 1;
}

/* */
static int unknown_option_suggests_the_nearest(void)
{
    CHECK(option_refused("clientid", "me", TOKAUTH_ERR_CONFIG, "client_id"));
    return 1;
}

/* */
static int set_refuses_what_is_not_text(void)
{
    static char long_text[64 * 1024 + 2];
    tokauth_config *config = tokauth_config_new();
    tokauth_error *error = GARBAGE;
    tokauth_status status = tokauth_config_set(config, NULL, "x", &error);

    CHECK(failed_with(status, error, TOKAUTH_ERR_INVALID_ARGUMENT, "name"));
    status = tokauth_config_set(NULL, "scope", "x", &error);
    CHECK(failed_with(status, error, TOKAUTH_ERR_INVALID_ARGUMENT, "config"));
    status = tokauth_config_set(config, "sc\xffpe", "x", &error);
    CHECK(failed_with(status, error, TOKAUTH_ERR_INVALID_ARGUMENT, "name"));
    status = tokauth_config_set(config, "scope", "\xc3(", &error);
    CHECK(failed_with(status, error, TOKAUTH_ERR_INVALID_ARGUMENT, "value"));
    memset(long_text, 'x', sizeof long_text - 1);
    status = tokauth_config_set(config, "scope", long_text, &error);
    CHECK(failed_with(status, error, TOKAUTH_ERR_INVALID_ARGUMENT, "value"));
    long_text[64 * 1024] = '\0';
    CHECK(tokauth_config_set(config, "scope", long_text, &error) == TOKAUTH_OK && error == NULL);
    tokauth_config_free(config);
    return 1;
}

static int json_gives_options(void)
{
    tokauth_config *config = config_from_json(OFFLINE);

    CHECK(tokauth_config_load_json(config, "{\"timeout_ms\": 5000, \"param.test\": true, \"scope\": \"\\u00e9\"}", NULL)
          == TOKAUTH_OK);
    CHECK(accepted(config));
    CHECK(tokauth_config_load_json(config, "{\"client_id\": null}", NULL) == TOKAUTH_OK);
    CHECK(refused(config, TOKAUTH_ERR_CONFIG, "client_id"));
    CHECK(tokauth_config_load_json(config, "{\"client_id\": 17, \"timeout_ms\": false}", NULL) == TOKAUTH_OK);
    CHECK(refused(config, TOKAUTH_ERR_CONFIG, "timeout_ms"));
    tokauth_config_free(config);
    return 1;
}

static int json_that_is_not_flat_is_refused(void)
{
    static const char *const BROKEN[] = {
        "",
        "[]",
        "\"text\"",
        "17",
        "{\"scope\": \"a\"",
        "{\"scope\": \"a\"} {}",
        "{\"scope\": \"a\", \"scope\": \"b\"}",
        "{\"client_id\": null, \"scope\": {\"a\": 1}}",
        "{\"client_id\": null, \"scope\": [\"a\"]}",
    };
    tokauth_config *config = config_from_json(OFFLINE);
    tokauth_error *error = GARBAGE;
    tokauth_status status;
    size_t i;

    for (i = 0; i < sizeof BROKEN / sizeof BROKEN[0]; i++) {
        status = tokauth_config_load_json(config, BROKEN[i], &error);
        CHECK(failed_with(status, error, TOKAUTH_ERR_CONFIG, ""));
        CHECK(accepted(config)); /* nothing has changed */
    }
    status = tokauth_config_load_json(config, "{\"scope\": \"\xff\"}", &error);
    CHECK(failed_with(status, error, TOKAUTH_ERR_INVALID_ARGUMENT, "json"));
    status = tokauth_config_load_json(config, NULL, &error);
    CHECK(failed_with(status, error, TOKAUTH_ERR_INVALID_ARGUMENT, "json"));
    tokauth_config_free(config);
    return 1;
}

/* B-20. */
static int environment_is_read_under_a_prefix(void)
{
    tokauth_config *config = tokauth_config_new();

    setenv("ABI_TEST_PROVIDER", "oauth2", 1);
    setenv("ABI_TEST_CLIENT_ID", "me", 1);
    setenv("ABI_TEST_CLIENT_SECRET", "offline-secret-1", 1);
    setenv("ABI_TEST_TOKEN_URL", "https://localhost/token", 1);
    CHECK(refused(config, TOKAUTH_ERR_CONFIG, "provider")); /* nothing is read unasked */
    CHECK(tokauth_config_load_env(config, "ABI_TEST_", NULL) == TOKAUTH_OK);
    CHECK(accepted(config));
    setenv("ABI_TEST_CLIENTID", "me", 1);
    CHECK(tokauth_config_load_env(config, "ABI_TEST_", NULL) == TOKAUTH_OK);
    CHECK(refused(config, TOKAUTH_ERR_CONFIG, "client_id"));
    unsetenv("ABI_TEST_CLIENTID");
    tokauth_config_free(config);
    return 1;
}

static int a_store_or_budget_that_cannot_be_had_is_refused(void)
{
    if (getenv("HAS_REDIS")) {
        CHECK(option_refused("store", "redis://me@localhost", TOKAUTH_ERR_CONFIG, "a user without a password"));
        CHECK(option_refused("store", "rediss://localhost:x", TOKAUTH_ERR_CONFIG, "store has no sound port"));
        CHECK(option_refused("store", "redis://none.invalid/x", TOKAUTH_ERR_CONFIG, "number of a database"));
    } else {
        CHECK(option_refused("store", "redis://localhost", TOKAUTH_ERR_UNSUPPORTED, "the feature redis"));
    }
    CHECK(option_refused("store", "file:/nowhere/at/all", TOKAUTH_ERR_STORE, "/nowhere/at/all"));
    CHECK(option_refused("quota", "31/moon", TOKAUTH_ERR_CONFIG, "quota"));
    return 1;
}

/* F-28. */
static int without_a_home_there_is_no_usual_store(void)
{
    static const char *const VARIABLES[] = {"HOME", "XDG_STATE_HOME"};
    char saved[2][4096] = {"", ""};
    size_t i;

    for (i = 0; i < 2; i++)
        if (getenv(VARIABLES[i]) != NULL) {
            snprintf(saved[i], sizeof saved[i], "%s", getenv(VARIABLES[i]));
            unsetenv(VARIABLES[i]);
        }
    CHECK(option_refused("store", "file", TOKAUTH_ERR_STORE, "neither XDG_STATE_HOME nor HOME"));
    CHECK(option_refused("quota", "31/month", TOKAUTH_ERR_STORE, "neither XDG_STATE_HOME nor HOME"));
    setenv("HOME", "/", 1);
    CHECK(option_refused("quota", "31/month", TOKAUTH_ERR_STORE, "HOME is /"));
    unsetenv("HOME");
    for (i = 0; i < 2; i++)
        if (saved[i][0] != '\0')
            setenv(VARIABLES[i], saved[i], 1);
    return 1;
}

/* ---- client and token ---- */

static int token_is_asked_for_once(void)
{
    tokauth_client *client = working_client("token_is_asked_for_once");
    tokauth_token *first = token_of(client, 0);
    tokauth_token *second = token_of(client, 0);
    size_t length = 0;
    size_t i, headers = tokauth_token_header_count(first);
    int authorization_is_a_header = 0;

    CHECK(first != NULL && second != NULL);
    CHECK(requests(client) == 1);
    CHECK(tokauth_token_value(first, &length) == tokauth_token_value(second, NULL));
    CHECK(length > 0 && length == strlen(tokauth_token_value(first, NULL)));
    CHECK(tokauth_token_authorization(first, &length) != NULL);
    CHECK(length == strlen(tokauth_token_authorization(first, NULL)));
    CHECK(strstr(tokauth_token_authorization(first, NULL), tokauth_token_value(first, NULL)) != NULL);
    for (i = 0; i < headers; i++)
        authorization_is_a_header |=
            same(tokauth_token_header_name(first, i), "Authorization")
            && same(tokauth_token_header_value(first, i), tokauth_token_authorization(first, NULL));
    CHECK(authorization_is_a_header);
    CHECK(tokauth_token_header_name(first, headers) == NULL && tokauth_token_header_value(first, headers) == NULL);
    CHECK(tokauth_token_type(first) != NULL);
    CHECK(tokauth_token_expires_at(first) > 1700000000);
    CHECK(tokauth_client_counter(client, TOKAUTH_COUNT_FAILURES) == 0);
    CHECK(tokauth_client_counter(client, 0) == 0 && tokauth_client_counter(client, 4711) == 0);
    tokauth_token_free(first);
    tokauth_token_free(second);
    tokauth_client_free(client);
    return 1;
}

static int clones_outlive_the_original(void)
{
    tokauth_client *client = working_client("clones_outlive_the_original");
    tokauth_client *clone = tokauth_client_clone(client);
    tokauth_token *token = token_of(client, 0);
    tokauth_token *same_token = tokauth_token_clone(token);
    const char *value = tokauth_token_value(token, NULL);

    CHECK(clone != NULL && token != NULL && same_token != NULL);
    tokauth_client_free(client);
    tokauth_token_free(token);
    CHECK(tokauth_token_value(same_token, NULL) == value && value[0] != '\0');
    CHECK(fetches(clone, TOKAUTH_CACHED_ONLY));
    CHECK(requests(clone) == 1);
    tokauth_client_free(clone);
    CHECK(tokauth_token_value(same_token, NULL)[0] != '\0'); /* a token needs no client */
    tokauth_token_free(same_token);
    return 1;
}

/* */
static int copy_writes_all_or_nothing(void)
{
    enum { MARGIN = 16 };
    tokauth_client *client = working_client("copy_writes_all_or_nothing");
    tokauth_token *token = token_of(client, 0);
    const char *expected = tokauth_token_authorization(token, NULL);
    size_t need = 0;
    size_t sizes[5];
    size_t i, j;
    tokauth_error *error = GARBAGE;
    tokauth_status status = tokauth_client_copy_authorization(client, 0, NULL, 0, &need, &error);

    CHECK(token != NULL);
    CHECK(failed_with(status, error, TOKAUTH_ERR_BUFFER_TOO_SMALL, ""));
    CHECK(need == strlen(expected) + 1);
    sizes[0] = 0;
    sizes[1] = 1;
    sizes[2] = need - 1;
    sizes[3] = need;
    sizes[4] = need + 1;
    for (i = 0; i < 5; i++) {
        size_t size = sizes[i];
        size_t total = size + 2 * MARGIN;
        size_t needed = 99;
        char *guarded = malloc(total);
        char *bare = malloc(size + (size == 0)); /* valgrind and the sanitizers watch its end */
        int fits = size >= need;

        CHECK(guarded != NULL && bare != NULL);
        status = tokauth_client_copy_authorization(client, 0, bare, size, NULL, NULL);
        CHECK(status == (fits ? TOKAUTH_OK : TOKAUTH_ERR_BUFFER_TOO_SMALL));
        free(bare);
        memset(guarded, '#', total);
        status = tokauth_client_copy_authorization(client, 0, guarded + MARGIN, size, &needed, NULL);
        CHECK(status == (fits ? TOKAUTH_OK : TOKAUTH_ERR_BUFFER_TOO_SMALL));
        CHECK(needed == need);
        CHECK(!fits || same(guarded + MARGIN, expected));
        for (j = 0; j < total; j++)
            CHECK(guarded[j] == '#' || (fits && j >= MARGIN && j < MARGIN + size));
        free(guarded);
    }
    status = tokauth_client_copy_authorization(client, 0, NULL, need, NULL, &error);
    CHECK(failed_with(status, error, TOKAUTH_ERR_INVALID_ARGUMENT, "buffer"));
    CHECK(requests(client) == 1);
    tokauth_token_free(token);
    tokauth_client_free(client);
    return 1;
}

/* */
static int flags_are_obeyed(void)
{
    tokauth_client *client = working_client("flags_are_obeyed");
    tokauth_token *token = GARBAGE;
    tokauth_error *error = GARBAGE;
    tokauth_status status = tokauth_client_token(client, TOKAUTH_CACHED_ONLY, &token, &error);

    CHECK(failed_with(status, error, TOKAUTH_ERR_NOT_CACHED, "") && token == NULL);
    CHECK(requests(client) == 0);
    CHECK(fetches(client, 0) && requests(client) == 1);
    CHECK(fetches(client, TOKAUTH_CACHED_ONLY) && requests(client) == 1);
    CHECK(fetches(client, TOKAUTH_FORCE_REFRESH) && requests(client) == 2);
    status = tokauth_client_token(client, TOKAUTH_CACHED_ONLY | TOKAUTH_FORCE_REFRESH, &token, &error);
    CHECK(failed_with(status, error, TOKAUTH_ERR_INVALID_ARGUMENT, "flag") && token == NULL);
    status = tokauth_client_token(client, 1u << 31, &token, &error);
    CHECK(failed_with(status, error, TOKAUTH_ERR_INVALID_ARGUMENT, "flag") && token == NULL);
    status = tokauth_client_copy_authorization(client, 4, NULL, 0, NULL, &error);
    CHECK(failed_with(status, error, TOKAUTH_ERR_INVALID_ARGUMENT, "flag"));
    CHECK(requests(client) == 2);
    tokauth_client_free(client);
    return 1;
}

static int generation_tells_of_another_token(void)
{
    tokauth_client *client = working_client("generation_tells_of_another_token");
    uint64_t generation;

    CHECK(client != NULL);
    CHECK(tokauth_client_generation(client) == 0);
    CHECK(fetches(client, 0));
    generation = tokauth_client_generation(client);
    CHECK(generation != 0);
    CHECK(fetches(client, 0));
    CHECK(tokauth_client_generation(client) == generation);
    CHECK(fetches(client, TOKAUTH_FORCE_REFRESH));
    CHECK(tokauth_client_generation(client) != generation && tokauth_client_generation(client) != 0);
    CHECK(tokauth_client_clear(client, NULL) == TOKAUTH_OK);
    CHECK(tokauth_client_generation(client) == 0);
    CHECK(fetches(client, 0));
    CHECK(tokauth_client_generation(client) != generation);
    tokauth_client_free(client);
    return 1;
}

static int rejected_token_is_replaced(void)
{
    tokauth_client *client = working_client("rejected_token_is_replaced");
    tokauth_token *rejected = token_of(client, 0);
    tokauth_error *error = GARBAGE;

    CHECK(rejected != NULL);
    CHECK(tokauth_client_invalidate(client, rejected, &error) == TOKAUTH_OK && error == NULL);
    CHECK(fetches(client, 0));
    CHECK(requests(client) == 2);
    tokauth_token_free(rejected);
    tokauth_client_free(client);
    return 1;
}

/* H-06. */
static int rejecting_an_old_token_does_nothing(void)
{
    tokauth_client *client = working_client("rejecting_an_old_token_does_nothing");
    tokauth_token *old = token_of(client, 0);
    uint64_t generation;

    CHECK(old != NULL && fetches(client, TOKAUTH_FORCE_REFRESH));
    generation = tokauth_client_generation(client);
    CHECK(tokauth_client_invalidate(client, old, NULL) == TOKAUTH_OK);
    CHECK(tokauth_client_generation(client) == generation);
    CHECK(fetches(client, 0));
    CHECK(requests(client) == 2);
    tokauth_token_free(old);
    tokauth_client_free(client);
    return 1;
}

static int budget_is_unlimited(void)
{
    tokauth_client *client = working_client("budget_is_unlimited");
    int64_t remaining = 99;
    int64_t next_at = 99;

    CHECK(tokauth_client_budget(client, &remaining, &next_at, NULL) == TOKAUTH_OK);
    CHECK(remaining == -1 && next_at == 0);
    tokauth_client_free(client);
    return 1;
}

static int sibling_shares_the_token_unless_it_differs(void)
{
    tokauth_client *client = working_client("sibling_shares_the_token_unless_it_differs");
    tokauth_client *patient = NULL;
    tokauth_client *other = NULL;
    tokauth_client *back = NULL;

    CHECK(fetches(client, 0));
    CHECK(tokauth_client_with(client, "timeout_ms", "5000", &patient, NULL) == TOKAUTH_OK);
    CHECK(fetches(patient, 0));
    CHECK(requests(patient) == 1 && requests(client) == 1);
    CHECK(tokauth_client_with(client, "scope", "other", &other, NULL) == TOKAUTH_OK);
    CHECK(requests(other) == 0);
    CHECK(fetches(other, 0));
    CHECK(requests(other) == 1 && requests(client) == 1);
    CHECK(tokauth_client_with(other, "scope", NULL, &back, NULL) == TOKAUTH_OK);
    CHECK(getenv("TOKAUTH_SCOPE") != NULL || fetches(back, TOKAUTH_CACHED_ONLY));
    tokauth_client_free(back);
    tokauth_client_free(other);
    tokauth_client_free(patient);
    tokauth_client_free(client);
    return 1;
}

static int sibling_keeps_its_identity(void)
{
    static const char *const FIXED[] = {"provider", "provider_file", "client_id", "client_secret",
                                        "client_secret_file"};
    tokauth_client *client = working_client("sibling_keeps_its_identity");
    tokauth_client *sibling = GARBAGE;
    tokauth_error *error = GARBAGE;
    tokauth_status status;
    size_t i;

    CHECK(client != NULL);
    for (i = 0; i < sizeof FIXED / sizeof FIXED[0]; i++) {
        status = tokauth_client_with(client, FIXED[i], "oauth2", &sibling, &error);
        CHECK(failed_with(status, error, TOKAUTH_ERR_CONFIG, FIXED[i]) && sibling == NULL);
    }
    status = tokauth_client_with(client, NULL, "x", &sibling, &error);
    CHECK(failed_with(status, error, TOKAUTH_ERR_INVALID_ARGUMENT, "name") && sibling == NULL);
    status = tokauth_client_with(client, "scopes", "x", &sibling, &error);
    CHECK(failed_with(status, error, TOKAUTH_ERR_CONFIG, "scope") && sibling == NULL);
    tokauth_client_free(client);
    return 1;
}

/* ---- log and secrets ---- */

struct log {
    int lines;
    int destroyed;
    int by_level[5];
};

static void count_line(void *user_data, int32_t level, const char *message)
{
    struct log *log = user_data;

    if (level >= 1 && level <= 4 && watched(message)[0] != '\0') {
        log->lines++;
        log->by_level[level]++;
    }
}

static void count_destroy(void *user_data)
{
    ((struct log *)user_data)->destroyed++;
}

static int log_ends_with_its_last_client(void)
{
    struct log log = {0};
    tokauth_config *config = working_config("log_ends_with_its_last_client");
    tokauth_client *client = NULL;
    tokauth_client *sibling = NULL;

    CHECK(tokauth_config_set_log(config, count_line, &log, count_destroy) == TOKAUTH_OK);
    CHECK(tokauth_client_new(config, &client, NULL) == TOKAUTH_OK);
    CHECK(fetches(client, 0));
    CHECK(log.by_level[1] == 0 && log.by_level[2] == 0); /* nothing is wrong */
    CHECK(log.by_level[3] == 1 && log.by_level[4] == 1); /* a token came; what was sent for it */
    CHECK(tokauth_client_with(client, "scope", "other", &sibling, NULL) == TOKAUTH_OK);
    tokauth_config_free(config);
    tokauth_client_free(client);
    CHECK(log.destroyed == 0);
    log.lines = 0;
    CHECK(fetches(sibling, 0));
    CHECK(log.lines > 0);
    tokauth_client_free(sibling);
    CHECK(log.destroyed == 1);
    return 1;
}

static int refused_log_is_destroyed_at_once(void)
{
    struct log log = {0};
    tokauth_config *config = tokauth_config_new();

    CHECK(tokauth_config_set_log(NULL, count_line, &log, count_destroy) == TOKAUTH_ERR_INVALID_ARGUMENT);
    CHECK(log.destroyed == 1);
    CHECK(tokauth_config_set_log(config, NULL, &log, count_destroy) == TOKAUTH_OK);
    CHECK(log.destroyed == 2);
    CHECK(tokauth_config_set_log(config, count_line, &log, count_destroy) == TOKAUTH_OK);
    CHECK(log.destroyed == 2);
    CHECK(tokauth_config_set_log(config, count_line, &log, NULL) == TOKAUTH_OK); /* replaces the one before */
    CHECK(log.destroyed == 3);
    tokauth_config_free(config);
    CHECK(log.destroyed == 3);
    return 1;
}

/* Whether a client with this instead of the secret fails so, and never shows it. */
static int secret_fails(const char *secret, tokauth_status expected, const char *words)
{
    struct log log = {0};
    tokauth_config *config = working_config("secret_fails");
    tokauth_client *client = NULL;
    tokauth_token *token = NULL;
    tokauth_error *error = NULL;
    tokauth_status status;
    int shown;

    tokauth_config_set(config, "client_secret", secret, NULL);
    tokauth_config_set_log(config, count_line, &log, count_destroy);
    status = tokauth_client_new(config, &client, &error);
    if (status == TOKAUTH_OK)
        status = tokauth_client_token(client, 0, &token, &error);
    shown = strstr(tokauth_error_message(error), "wrong-canary") != NULL;
    if (client != NULL && (log.by_level[1] != 1 || tokauth_client_counter(client, TOKAUTH_COUNT_FAILURES) != 1))
        shown = 1;
    tokauth_config_free(config);
    tokauth_client_free(client);
    return failed_with(status, error, expected, words) && token == NULL && !shown && log.destroyed == 1;
}

static int secrets_are_never_shown(void)
{
    CHECK(getenv("TOKAUTH_CLIENT_SECRET") != NULL);
    CHECK(secret_fails("wrong-canary-5c1b7e02d94f", TOKAUTH_ERR_DENIED, ""));
    CHECK(secret_fails("wrong-canary-5c1b7e02d94f\n", TOKAUTH_ERR_CONFIG, "client_secret_file"));
    CHECK(option_refused("clientid", getenv("TOKAUTH_CLIENT_SECRET"), TOKAUTH_ERR_CONFIG, "client_id"));
    CHECK(option_refused("timeout_ms", getenv("TOKAUTH_CLIENT_SECRET"), TOKAUTH_ERR_CONFIG, "timeout_ms"));
    CHECK(leaks == 0); /* by any test before, so this one is the last */
    return 1;
}

static const struct {
    const char *name;
    int (*run)(void);
} TESTS[] = {
#define TEST(name) {#name, name}
    TEST(signals_and_environment_of_the_host_are_left_alone),
    TEST(version_of_header_and_library_agree),
    TEST(every_status_has_its_name),
    TEST(providers_are_listed),
    TEST(freeing_null_does_nothing),
    TEST(accessors_accept_null),
    TEST(out_error_may_be_null),
    TEST(outputs_are_written_on_failure),
    TEST(options_are_set_replaced_and_removed),
    TEST(order_of_options_does_not_matter),
    TEST(unknown_option_suggests_the_nearest),
    TEST(set_refuses_what_is_not_text),
    TEST(json_gives_options),
    TEST(json_that_is_not_flat_is_refused),
    TEST(environment_is_read_under_a_prefix),
    TEST(a_store_or_budget_that_cannot_be_had_is_refused),
    TEST(without_a_home_there_is_no_usual_store),
    TEST(token_is_asked_for_once),
    TEST(clones_outlive_the_original),
    TEST(copy_writes_all_or_nothing),
    TEST(flags_are_obeyed),
    TEST(generation_tells_of_another_token),
    TEST(rejected_token_is_replaced),
    TEST(rejecting_an_old_token_does_nothing),
    TEST(budget_is_unlimited),
    TEST(sibling_shares_the_token_unless_it_differs),
    TEST(sibling_keeps_its_identity),
    TEST(log_ends_with_its_last_client),
    TEST(refused_log_is_destroyed_at_once),
    TEST(secrets_are_never_shown),
#undef TEST
};

int main(void)
{
    int count = (int)(sizeof TESTS / sizeof TESTS[0]);
    int failed = 0;
    int i;

    for (i = 0; i < count; i++) {
        if (!TESTS[i].run()) {
            fprintf(stderr, "FAILED %s\n", TESTS[i].name);
            failed++;
        }
    }
    printf("%d passed, %d failed\n", count - failed, failed);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
