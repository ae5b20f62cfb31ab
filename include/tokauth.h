/*
 * libtokauth: machine-to-machine access tokens from odd real providers, asked for once and reused.
 *
 * Status    Functions that can fail return a tokauth_status; 0 is success. The last parameter, out_error, may be NULL;
 *           else it gets an error object on failure, to free with tokauth_error_free(), and NULL on success.
 * Outputs   are always written: NULL or 0 on failure. Free what is in a slot before it is used again.
 * Handles   are opaque. _new, _clone and _with make an owner, _free ends one; no other call consumes anything.
 *           _free(NULL) does nothing. Reading a token or an error accepts NULL.
 * Text      in is NUL-terminated UTF-8 of at most 64 KiB and copied. Text out is NUL-terminated UTF-8, borrowed from an
 *           immutable object, and lives until that is freed.
 * Threads   A config is for one thread at a time; clients, tokens and errors are shared freely. A call needs 128 KiB of
 *           stack. On Linux a thread that is cancelled in a call ends after it. Call nothing from a signal handler.
 * fork()    A child may use and free what it inherits, and make clients of its own, whatever other threads were doing,
 *           but for two things: what they held inside the C library stays held (after a name lookup the child may meet
 *           TOKAUTH_ERR_TIMEOUT), and if one of them was just making the first client of the process, the child may get
 *           TOKAUTH_ERR_UNSUPPORTED for its own.
 * Blocking  Only tokauth_client_token() and tokauth_client_copy_authorization() touch the network, for at most the
 *           option timeout_ms. (If store is in Redis, tokauth_client_new(), _with(), _invalidate(), _clear() and
 *           _budget() ask it, within that time.) A name lookup runs on a short-lived thread of the
 *           library's and may outlive the call, so the shared library stays mapped after dlclose() on Linux.
 * Panics    are bugs; they are caught and become TOKAUTH_ERR_INTERNAL. Out of memory aborts the process.
 * Growth    New functions, constants and statuses may come; signatures, numbers and meanings stay.
 *
 * C99 or C++11 is enough.
 */


#ifndef TOKAUTH_H
#define TOKAUTH_H

#include <stddef.h>
#include <stdint.h>

/** The version of this header; compare with tokauth_version_number(). */
#define TOKAUTH_VERSION_MAJOR 0
#define TOKAUTH_VERSION_MINOR 1
#define TOKAUTH_VERSION_PATCH 0
#define TOKAUTH_VERSION_NUMBER \
    (TOKAUTH_VERSION_MAJOR << 16 | TOKAUTH_VERSION_MINOR << 8 | TOKAUTH_VERSION_PATCH)
#define TOKAUTH_VERSION_STRING "0.1.0"

/**
 * Flag: only a token that is there already, here or in a store on this machine. Never sends, never waits;
 * TOKAUTH_ERR_NOT_CACHED if there is none.
 */
#define TOKAUTH_CACHED_ONLY 1

/**
 * Flag: a token asked for after this call began, for a person who presses a button. In the pause after a failure that
 * failure, and for a while after a rejected token was replaced the latest token.
 */
#define TOKAUTH_FORCE_REFRESH 2

/**
 * Counter: token requests whose body left.
 */
#define TOKAUTH_COUNT_REQUESTS 1

/**
 * Counter: refreshes begun while the old token was still valid.
 */
#define TOKAUTH_COUNT_REFRESHES_AHEAD 2

/**
 * Counter: attempts that brought no token.
 */
#define TOKAUTH_COUNT_FAILURES 3

/**
 * Counter: tokens that came from the store.
 */
#define TOKAUTH_COUNT_STORE_HITS 4

/**
 * Counter: calls that waited for another caller's request.
 */
#define TOKAUTH_COUNT_WAITS 5

/**
 * One credential at one provider, with one scope and audience. May be used from any number of threads at once; clients
 * of one process with equal options share one token.
 */
typedef struct tokauth_client tokauth_client;

/**
 * Options: texts under names, in any order; a later one replaces, NULL removes. Names and values are judged together,
 * by tokauth_client_new(). To be used by one thread at a time.
 */
typedef struct tokauth_config tokauth_config;

/**
 * Why a call failed. Immutable: may be read from any number of threads at once. Its texts live until it is freed.
 */
typedef struct tokauth_error tokauth_error;

/**
 * An access token and the headers made of it. Immutable and reference-counted: may be used from any number of threads
 * at once. Its texts live until its last owner has freed it.
 */
typedef struct tokauth_token tokauth_token;

/**
 * What became of a call: 0 is success. Numbers are never reused; new ones may come.
 */
typedef int32_t tokauth_status;

/**
 * Gets one line: level 1 error, 2 warning, 3 info, 4 debug; the message lives for the call. Called on any thread that
 * asks for a token, with no lock held, while others may wait for that token: it must be quick, must not ask a client
 * for one, and must not unwind or longjmp. Lines hold no secret and no token.
 */
typedef void (*tokauth_log_fn)(void *user_data, int32_t level, const char *message);

/**
 * Called once, when user_data is needed no more: the config and all its clients are gone or have another log. Any
 * thread.
 */
typedef void (*tokauth_destroy_fn)(void *user_data);

/**
 * Success.
 */
#define TOKAUTH_OK 0

/**
 * A pointer that must not be NULL is, a text is not UTF-8 or too long, or a flag is unknown.
 */
#define TOKAUTH_ERR_INVALID_ARGUMENT 1

/**
 * An option is missing, unknown, malformed or contradicts another.
 */
#define TOKAUTH_ERR_CONFIG 2

/**
 * The buffer cannot hold the text; out_needed says what would.
 */
#define TOKAUTH_ERR_BUFFER_TOO_SMALL 3

/**
 * This build or version does not offer what was asked for.
 */
#define TOKAUTH_ERR_UNSUPPORTED 4

/**
 * Only a cached token was asked for, and there is none.
 */
#define TOKAUTH_ERR_NOT_CACHED 5

/**
 * No answer: name lookup, connection or proxy failed, or the connection broke.
 */
#define TOKAUTH_ERR_NETWORK 10

/**
 * The call's time ran out.
 */
#define TOKAUTH_ERR_TIMEOUT 11

/**
 * The server's certificate or the TLS handshake was not acceptable.
 */
#define TOKAUTH_ERR_TLS 12

/**
 * The provider refused the request; asking again unchanged is pointless.
 */
#define TOKAUTH_ERR_DENIED 20

/**
 * The provider asks to wait; see tokauth_error_retry_after_ms().
 */
#define TOKAUTH_ERR_RATE_LIMITED 21

/**
 * The provider failed.
 */
#define TOKAUTH_ERR_SERVER 22

/**
 * The reply cannot be understood, or holds no usable token.
 */
#define TOKAUTH_ERR_BAD_RESPONSE 23

/**
 * The token budget is spent; see tokauth_error_retry_after_ms().
 */
#define TOKAUTH_ERR_QUOTA 30

/**
 * The store cannot be used, or holds a ledger that cannot be read, and the call cannot do without.
 */
#define TOKAUTH_ERR_STORE 31

/**
 * A bug in this library; please report it.
 */
#define TOKAUTH_ERR_INTERNAL 90

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The name of a status as the macros spell it, such as "TOKAUTH_ERR_DENIED"; "TOKAUTH_ERR_UNKNOWN" for any other
 * number. Never NULL; lives for ever. Threads: any.
 */
const char *tokauth_status_name(tokauth_status status);

/**
 * An empty config. Never NULL. Free it with tokauth_config_free().
 * Threads: any.
 */
tokauth_config *tokauth_config_new(void);

/**
 * Frees a config; clients made from it live on. NULL does nothing.
 * Threads: any.
 */
void tokauth_config_free(tokauth_config *config);

/**
 * Sets an option; NULL as value removes it. Fails with TOKAUTH_ERR_INVALID_ARGUMENT for a NULL config or name, text
 * that is not UTF-8, or more than 64 KiB; nothing has changed then.
 * Threads: one at a time per config.
 */
tokauth_status tokauth_config_set(tokauth_config *config,
                                  const char *name,
                                  const char *value,
                                  tokauth_error **out_error);

/**
 * Takes every variable of the environment whose name begins with prefix (NULL: "TOKAUTH_"); the rest of the name, in
 * lower case, is the option. No other function reads options from the environment. Nothing has changed on failure.
 * Threads: one at a time per config.
 */
tokauth_status tokauth_config_load_env(tokauth_config *config, const char *prefix, tokauth_error **out_error);

/**
 * Takes every member of one flat JSON object: texts, numbers and booleans as their text; null removes; a name given
 * twice is refused. Nothing has changed on failure.
 * Threads: one at a time per config.
 */
tokauth_status tokauth_config_load_json(tokauth_config *config, const char *json, tokauth_error **out_error);

/**
 * Sends log lines of clients made from now on to log; NULL as log sends them nowhere. user_data is the library's from
 * this call on: destroy (may be NULL) gets it once, when the config and all its clients are gone or have another log,
 * and at once if this fails or log is NULL.
 * Threads: one at a time per config.
 */
tokauth_status tokauth_config_set_log(tokauth_config *config,
                                      tokauth_log_fn log,
                                      void *user_data,
                                      tokauth_destroy_fn destroy);

/**
 * Judges all options together and makes a client. Reads files; does not touch the network, but for a store in Redis;
 * the config is not kept. TOKAUTH_ERR_CONFIG or TOKAUTH_ERR_UNSUPPORTED name the option and what to do,
 * TOKAUTH_ERR_STORE what is wrong with the store.
 * Threads: any number at once.
 */
tokauth_status tokauth_client_new(const tokauth_config *config, tokauth_client **out_client, tokauth_error **out_error);

/**
 * A sibling with one option changed (NULL as value: removed): it shares credential, connections and store. With
 * another scope or audience it has a token of its own; with another timeout_ms, min_valid_s or refresh_ahead it shares
 * the token too. TOKAUTH_ERR_CONFIG for provider, provider_file and the credential's options.
 * Threads: any number at once.
 */
tokauth_status tokauth_client_with(const tokauth_client *client,
                                   const char *name,
                                   const char *value,
                                   tokauth_client **out_client,
                                   tokauth_error **out_error);

/**
 * A second owner of the same client; each owner frees once. NULL for NULL.
 * Threads: any number at once.
 */
tokauth_client *tokauth_client_clone(const tokauth_client *client);

/**
 * Gives up one owner's claim; no call of this owner may be running. The token stays cached for the next client with
 * equal options. NULL does nothing.
 * Threads: any.
 */
void tokauth_client_free(tokauth_client *client);

/**
 * A usable token: the cached one, or by asking the provider. Blocks for at most timeout_ms; callers that come together
 * share one request and its outcome. After a failure it pauses: see tokauth_error_retry_after_ms(). flags: 0,
 * TOKAUTH_CACHED_ONLY or TOKAUTH_FORCE_REFRESH. Free the token with tokauth_token_free().
 * Threads: any number at once.
 */
tokauth_status tokauth_client_token(const tokauth_client *client,
                                    uint32_t flags,
                                    tokauth_token **out_token,
                                    tokauth_error **out_error);

/**
 * The same, but copies the value of the Authorization header and a NUL into buffer: all or nothing. out_needed (may be
 * NULL) gets the size that is needed, the NUL included, on success and with TOKAUTH_ERR_BUFFER_TOO_SMALL. buffer may
 * be NULL if buffer_size is 0: that asks for the size, and may ask the provider. TOKAUTH_ERR_UNSUPPORTED where the API
 * takes no such header.
 * Threads: any number at once.
 */
tokauth_status tokauth_client_copy_authorization(const tokauth_client *client,
                                                 uint32_t flags,
                                                 char *buffer,
                                                 size_t buffer_size,
                                                 size_t *out_needed,
                                                 tokauth_error **out_error);

/**
 * Tells that the API refused rejected: it is dropped if it is still the cached token, unless it has itself replaced a
 * rejected one lately (30 s at first, doubling to 15 min): then it stays in service. Else nothing happens.
 * Threads: any number at once.
 */
tokauth_status tokauth_client_invalidate(const tokauth_client *client,
                                         const tokauth_token *rejected,
                                         tokauth_error **out_error);

/**
 * Forgets the token and the failures, here and in the store: the next call asks the provider. Waits that it asked for
 * and secrets that it refused are forgotten for all clients of this client id; what rejected tokens have brought about
 * stays.
 * Threads: any number at once.
 */
tokauth_status tokauth_client_clear(const tokauth_client *client, tokauth_error **out_error);

/**
 * What the clients that share this token counted since the first of them: TOKAUTH_COUNT_REQUESTS and the like. 0 for a
 * NULL client and for numbers unknown to this version.
 * Threads: any number at once.
 */
uint64_t tokauth_client_counter(const tokauth_client *client, uint32_t counter);

/**
 * 0: call tokauth_client_token() (none cached, or this caller is to renew it). Else: that call would return, at once,
 * the same token as when this value was last seen. 0 for a NULL client. Never blocks, waits for a lock, allocates or
 * calls the system.
 * Threads: any number at once.
 */
uint64_t tokauth_client_generation(const tokauth_client *client);

/**
 * What is left of the token budget, as the ledger in the store says: out_remaining gets the number of requests that may
 * still be sent, -1 without a budget; out_next_at gets 0 if a request may be sent now, else the Unix second from which
 * on. Reads a file, sends nothing.
 * Threads: any number at once.
 */
tokauth_status tokauth_client_budget(const tokauth_client *client,
                                     int64_t *out_remaining,
                                     int64_t *out_next_at,
                                     tokauth_error **out_error);

/**
 * The bare token. NULL for a NULL token. out_len may be NULL; it gets the length without the NUL.
 * Threads: any number at once.
 */
const char *tokauth_token_value(const tokauth_token *token, size_t *out_len);

/**
 * The value of the Authorization header, with the scheme as the provider's API wants it: "Bearer eyJ...". NULL for a
 * NULL token, and where the API takes no such header. out_len may be NULL; it gets the length without the NUL.
 * Threads: any number at once.
 */
const char *tokauth_token_authorization(const tokauth_token *token, size_t *out_len);

/**
 * How many headers an API call needs, Authorization among them. 0 for a NULL token.
 * Threads: any number at once.
 */
size_t tokauth_token_header_count(const tokauth_token *token);

/**
 * The name of such a header; NULL for a NULL token and past the end.
 * Threads: any number at once.
 */
const char *tokauth_token_header_name(const tokauth_token *token, size_t index);

/**
 * The value of such a header; NULL for a NULL token and past the end.
 * Threads: any number at once.
 */
const char *tokauth_token_header_value(const tokauth_token *token, size_t index);

/**
 * The token type the server named, "Bearer" if it named none. NULL for a NULL token.
 * Threads: any number at once.
 */
const char *tokauth_token_type(const tokauth_token *token);

/**
 * The scope the server granted, as it wrote it. NULL if it did not say, and for a NULL token.
 * Threads: any number at once.
 */
const char *tokauth_token_scope(const tokauth_token *token);

/**
 * When the token ends, in Unix seconds by this machine's wall clock: for people to read, not to schedule on. 0 for a
 * NULL token.
 * Threads: any number at once.
 */
int64_t tokauth_token_expires_at(const tokauth_token *token);

/**
 * A second owner of the same token; each owner frees once. NULL for NULL.
 * Threads: any number at once.
 */
tokauth_token *tokauth_token_clone(const tokauth_token *token);

/**
 * Gives up one owner's claim. NULL does nothing.
 * Threads: any.
 */
void tokauth_token_free(tokauth_token *token);

/**
 * The status that came with the error. TOKAUTH_OK for NULL.
 * Threads: any number at once.
 */
tokauth_status tokauth_error_status(const tokauth_error *error);

/**
 * One line for the person who must act: the step, what happened, what to do. Holds no secret. "" for NULL, never NULL.
 * Threads: any number at once.
 */
const char *tokauth_error_message(const tokauth_error *error);

/**
 * The provider's own code, such as "invalid_client" or "401003". NULL if it gave none, and for NULL.
 * Threads: any number at once.
 */
const char *tokauth_error_provider_code(const tokauth_error *error);

/**
 * The HTTP status of the reply; 0 if there was none, and for NULL.
 * Threads: any number at once.
 */
int32_t tokauth_error_http_status(const tokauth_error *error);

/**
 * How long to wait before asking again, in milliseconds: what is left of the pause that the failure began, in which a
 * call that has no valid token gets this error at once and sends nothing (one that ran out of time binds only calls
 * that have no more); 0: at once. -1 if none began, and for NULL.
 * Threads: any number at once.
 */
int64_t tokauth_error_retry_after_ms(const tokauth_error *error);

/**
 * Frees an error. NULL does nothing.
 * Threads: any.
 */
void tokauth_error_free(tokauth_error *error);

/**
 * The version of the library that runs: major << 16 | minor << 8 | patch, as TOKAUTH_VERSION_NUMBER is of the header.
 * Threads: any.
 */
uint32_t tokauth_version_number(void);

/**
 * The same as text, such as "0.1.0". Never NULL; lives for ever. Threads: any.
 */
const char *tokauth_version_string(void);

/**
 * How many providers are built in. Threads: any.
 */
size_t tokauth_provider_count(void);

/**
 * The name of a built-in provider, sorted; NULL past the end. Lives for ever. Threads: any.
 */
const char *tokauth_provider_name(size_t index);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* TOKAUTH_H */
