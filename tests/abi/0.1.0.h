/*
 * libtokauth: machine-to-machine access tokens from odd real providers, asked for once and reused.
 *
 *     tokauth_config *config = tokauth_config_new();
 *     tokauth_client *client = NULL;
 *     tokauth_error *error = NULL;
 *     char header[8192];
 *
 *     if (tokauth_config_set(config, "provider", "calven", &error) == TOKAUTH_OK
 *         && tokauth_config_load_env(config, NULL, &error) == TOKAUTH_OK
 *         && tokauth_client_new(config, &client, &error) == TOKAUTH_OK
 *         && tokauth_client_copy_authorization(client, 0, header, sizeof header, NULL, &error) == TOKAUTH_OK)
 *         call_the_api(header);
 *     else
 *         fprintf(stderr, "%s: %s\n", tokauth_status_name(tokauth_error_status(error)), tokauth_error_message(error));
 *     tokauth_error_free(error);
 *     tokauth_client_free(client);
 *     tokauth_config_free(config);
 *
 * Status    Functions that can fail return a tokauth_status; 0 is success, and the number is enough to decide on.
 * Errors    The last parameter, out_error, may be NULL; else it gets an error object on failure, to free with
 *           tokauth_error_free(), and NULL on success.
 * Outputs   are always written: NULL or 0 on failure. Free what is in a slot before it is used again.
 * Handles   are opaque. _new, _clone, _with and _token make an owner, _free ends one, on any thread and in any order:
 *           what was made of a handle needs it no more. No other call consumes anything.
 * NULL      for what a call needs is TOKAUTH_ERR_INVALID_ARGUMENT, and then nothing has happened. _free(NULL) does
 *           nothing; reading a token or an error accepts NULL. What else NULL means stands at the parameter.
 * Text      in is NUL-terminated UTF-8 of at most 64 KiB and copied. Text out is NUL-terminated UTF-8, borrowed from an
 *           immutable object, and lives until that is freed.
 * Flags     that this version does not know are TOKAUTH_ERR_INVALID_ARGUMENT; options, TOKAUTH_ERR_CONFIG.
 * Threads   A config is for one thread at a time; clients, tokens and errors are shared freely. A call needs 128 KiB of
 *           stack. On Linux a thread that is cancelled in a call ends after it; elsewhere cancel none in a call.
 * Signals   break no call. Call nothing from a signal handler.
 * fork()    A child may use and free what it inherits, and make clients of its own, whatever other threads were doing,
 *           but for two things: what they held inside the C library stays held (after a name lookup the child may meet
 *           TOKAUTH_ERR_TIMEOUT), and if one of them was just making the first client of the process, the child may get
 *           TOKAUTH_ERR_UNSUPPORTED for its own. It uses no connection of its parent's, and a program begun by exec
 *           inherits no descriptor.
 * Blocking  Each function says whether it does. Only tokauth_client_token() and tokauth_client_copy_authorization() ask
 *           a provider, for at most the option timeout_ms; a cached token with enough life left comes at once, but to
 *           the one caller that renews it ahead of its end. (If store is in Redis, tokauth_client_new(), _with(),
 *           _invalidate(), _clear() and _budget() ask it, within that time.) What does not block waits for no file and
 *           no network.
 * Callbacks are the log and its destroy, and no more; see tokauth_log_fn.
 * Guest     The library prints nothing, never exits, sets no signal handler, and unasked goes by no variable of the
 *           environment but XDG_STATE_HOME and HOME, for store=file. A name lookup runs on a short-lived thread of the
 *           library's and may outlive the call, so the shared library stays mapped after dlclose() on Linux.
 * Panics    are bugs; they are caught and become TOKAUTH_ERR_INTERNAL, after a line on stderr. Out of memory aborts the
 *           process.
 * Growth    New functions, constants and statuses may come; signatures, numbers and meanings stay. "Since" tells the
 *           version that brought a function or a type. TOKAUTH_VERSION_NUMBER is the header's, when a program is
 *           compiled; tokauth_version_number() the library's, when it runs: no less, or a function may be missing.
 * Linking   -ltokauth. The static library brings Rust's own along, so a program links one such archive. C99 or C++11 is
 *           enough; tokauth.hpp wraps all this for C++.
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

/* ---- Flags and counters ---- */

/**
 * Flag: only a token that is there already, here or in a store on this machine. Never sends, never waits, but may read
 * a file; TOKAUTH_ERR_NOT_CACHED if there is none.
 */
#define TOKAUTH_CACHED_ONLY 1

/**
 * Flag: a token asked for after this call began, for a person who presses a button. In the pause after a failure it is
 * that failure, for a while after a rejected token was replaced it is the latest token; a budget is obeyed.
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

/* ---- Types ---- */

/**
 * One credential at one provider, with one scope and audience. May be used from any number of threads at once; clients
 * of one process with equal options share one token. Since: 0.1.0.
 */
typedef struct tokauth_client tokauth_client;

/**
 * Options: texts under names, in any order. To be used by one thread at a time. Since: 0.1.0.
 */
typedef struct tokauth_config tokauth_config;

/**
 * Why a call failed. Immutable: may be read from any number of threads at once. Its texts live until it is freed.
 * Since: 0.1.0.
 */
typedef struct tokauth_error tokauth_error;

/**
 * An access token and the headers made of it. Immutable and reference-counted: may be used from any number of threads
 * at once. Its texts live until its last owner has freed it. Since: 0.1.0.
 */
typedef struct tokauth_token tokauth_token;

/**
 * What became of a call: 0 is success. Each number below says when it comes, and what to do. Numbers are never reused;
 * new ones may come. Since: 0.1.0.
 */
typedef int32_t tokauth_status;

/**
 * Gets a line of the log, which holds no secret and no token.
 *
 * Called by several threads at once: on each that makes or calls a client, with no mutex held, while others may wait
 * for what that call brings. It must be quick, must not ask a client for a token, and must not unwind or longjmp.
 *
 * @param user_data  what tokauth_config_set_log() got.
 * @param level      1 error, 2 warning, 3 info, 4 debug.
 * @param message    lives for the call.
 *
 * Threads: any number at once. Since: 0.1.0.
 */
typedef void (*tokauth_log_fn)(void *user_data, int32_t level, const char *message);

/**
 * Called once, when user_data is needed no more: the config and all its clients are gone or have another log. Must not
 * unwind or longjmp.
 *
 * Threads: any. Since: 0.1.0.
 */
typedef void (*tokauth_destroy_fn)(void *user_data);

/* ---- Statuses: when they come, and what to do ---- */

/**
 * Success.
 */
#define TOKAUTH_OK 0

/**
 * A pointer that must not be NULL is, a text is not UTF-8 or too long, or a flag is unknown: correct the call.
 */
#define TOKAUTH_ERR_INVALID_ARGUMENT 1

/**
 * An option is missing, unknown, malformed or contradicts another: correct the option that is named.
 */
#define TOKAUTH_ERR_CONFIG 2

/**
 * The buffer cannot hold the text: give the size that is needed; the token is cached.
 */
#define TOKAUTH_ERR_BUFFER_TOO_SMALL 3

/**
 * This build or version does not offer what was asked for: leave the option out, build with the feature, or use the
 * token's own headers.
 */
#define TOKAUTH_ERR_UNSUPPORTED 4

/**
 * Only a cached token was asked for, and there is none: ask without cached-only.
 */
#define TOKAUTH_ERR_NOT_CACHED 5

/**
 * No answer: name lookup, connection or proxy failed, or the connection broke. Ask again later; check address, proxy
 * and network.
 */
#define TOKAUTH_ERR_NETWORK 10

/**
 * The call's time ran out: ask again, or raise timeout_ms.
 */
#define TOKAUTH_ERR_TIMEOUT 11

/**
 * The server's certificate or the TLS handshake was not acceptable: check the host; for a private CA set ca_file.
 */
#define TOKAUTH_ERR_TLS 12

/**
 * The provider refused the request: correct credentials or options; asking again unchanged is pointless.
 */
#define TOKAUTH_ERR_DENIED 20

/**
 * The provider asks to wait: wait as long as is told, by tokauth_error_retry_after_ms().
 */
#define TOKAUTH_ERR_RATE_LIMITED 21

/**
 * The provider failed: ask again later.
 */
#define TOKAUTH_ERR_SERVER 22

/**
 * The reply cannot be understood, or holds no usable token: check token_url.
 */
#define TOKAUTH_ERR_BAD_RESPONSE 23

/**
 * The token budget is spent: wait until the time that is told, or raise quota if it is less than the provider allows.
 * See tokauth_error_retry_after_ms().
 */
#define TOKAUTH_ERR_QUOTA 30

/**
 * The store cannot be used, or holds a ledger that cannot be read, and the call cannot do without: mend the directory,
 * the server or the ledger that is named, or give another: store=file:/directory.
 */
#define TOKAUTH_ERR_STORE 31

/**
 * A bug in this library: report the bug.
 */
#define TOKAUTH_ERR_INTERNAL 90

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/* ---- Library ---- */

/**
 * Returns the version of the library that runs, which may be newer than this header.
 *
 * Does not block.
 *
 * @return major << 16 | minor << 8 | patch, as TOKAUTH_VERSION_NUMBER is of the header.
 *
 * Threads: any number at once. Since: 0.1.0.
 */
uint32_t tokauth_version_number(void);

/**
 * Returns the version of the library that runs, as text.
 *
 * Does not block.
 *
 * @return "0.1.0", for example, which lives for ever. Never NULL.
 *
 * Threads: any number at once. Since: 0.1.0.
 */
const char *tokauth_version_string(void);

/**
 * Returns how many providers are built in.
 *
 * Does not block.
 *
 * @return their number; tokauth_provider_name() names each.
 *
 * Threads: any number at once. Since: 0.1.0.
 */
size_t tokauth_provider_count(void);

/**
 * Returns the name of a built-in provider, as the option provider takes it.
 *
 * Does not block.
 *
 * @param index  0 for the first; they are sorted.
 * @return the name, which lives for ever; NULL past the end.
 *
 * Threads: any number at once. Since: 0.1.0.
 */
const char *tokauth_provider_name(size_t index);

/**
 * Returns the name of a status, as the macros spell it.
 *
 * Does not block.
 *
 * @param status  any number.
 * @return "TOKAUTH_ERR_DENIED", for example, which lives for ever; "TOKAUTH_ERR_UNKNOWN" for a number that this
 *         version of the library does not know. Never NULL.
 *
 * Threads: any number at once. Since: 0.1.0.
 */
const char *tokauth_status_name(tokauth_status status);

/*
 * ---- Config: options are texts under names, in any order, judged together by tokauth_client_new() ----
 *
 *   provider            the name of a built-in provider
 *   provider_file       a provider description of your own, a JSON file
 *   client_id           the client identifier
 *   client_secret       the client secret
 *   client_secret_file  a file that holds the secret; read again before each request
 *   token_url           the token endpoint: https, or http on loopback [the provider's]
 *   auth                how id and secret are shown: post, basic (percent-encoded) or basic_raw [the provider's]
 *   scope               what to ask for, separated by blanks [the provider's]
 *   audience            the API the token is for [the provider's]
 *   resource            the resources the token is for (RFC 8707), separated by blanks [the provider's]
 *   store               who shares tokens: memory (this process), file (this user's processes, in
 *                       $XDG_STATE_HOME/tokauth or ~/.local/state/tokauth), file:/directory, or
 *                       redis://user:password@host (many machines, if built with the feature redis) [memory; file where
 *                       tokens are limited]
 *   store_key_file      a file of 32 random bytes that seals a shared store, instead of the client secret [the client
 *                       secret]
 *   quota               how many tokens may be asked for: 31/month (of UTC), 10/hour,50/day, 50/12h (the last 12
 *                       hours), or none [the provider's]
 *   timeout_ms          the whole call, waiting for others included, in milliseconds [10000]
 *   min_valid_s         a token with less life left is renewed first, in seconds; at most half the life. While unset, a
 *                       token that cannot be renewed is served to its end [10, at most a tenth of the life]
 *   refresh_ahead       how early one caller renews while the others keep the token: auto (a tenth of the life, at most
 *                       5 minutes), off, or seconds [auto]
 *   default_ttl_s       the life of a token that nothing is said about, in seconds [the provider's or 300]
 *   max_ttl_s           no token is trusted for longer, in seconds [2678400]
 *   ca_file             a PEM file of root certificates to trust instead [bundled roots]
 *   proxy               an HTTP proxy: http://host:port
 *   user_agent          how the library names itself [libtokauth/VERSION]
 *   param.NAME          one more field of the body, a text
 *   header.NAME         one more header of the token request
 *
 * In brackets: what applies if it is not set. client_id and a secret are needed always; scope, audience and resource
 * are for providers that list them. The built-in providers, and what they take:
 *
 *   authvia             audience (api.authvia.com/v3 unless set), client_id (12 to 36 characters), expiration (the life
 *                       to ask for: seconds, or 5m, 12h, 1d), scope (at least 5 characters)
 *   calenso             audience (https://my.calenso.com/api/v1 unless set), quota (31/month unless set)
 *   calven              region (sent as x-calven-region on every call: usce1 or ause1)
 *   calven-hmac         region (sent as x-calven-region on every call: usce1 or ause1)
 *   event-temple        org_id (the organization, sent as X-API-ORG on API calls), scope (separated by blanks: crm_read
 *                       crm_manage)
 *   eventhos            base_url (required; where your eventhos API runs)
 *   feishu              base_url (https://open.larksuite.com for Lark; https://open.feishu.cn unless set)
 *   oauth2              audience, resource, scope, token_url (required)
 */

/**
 * Makes an empty config.
 *
 * Does not block.
 *
 * @return a config to free with tokauth_config_free(). Never NULL.
 *
 * Threads: any number at once. Since: 0.1.0.
 */
tokauth_config *tokauth_config_new(void);

/**
 * Frees a config; clients made from it live on.
 *
 * Wipes the values that it holds. Does not block; calls the log's destroy, if no client has that log.
 *
 * @param config  NULL does nothing.
 *
 * Threads: any, when no other uses the config any more. Since: 0.1.0.
 */
void tokauth_config_free(tokauth_config *config);

/**
 * Sets an option, in place of what it was set to before.
 *
 * Only keeps the texts: tokauth_client_new() judges all of them together. Does not block.
 *
 * @param name   an option of the list above.
 * @param value  what to set it to, numbers too: "5000"; NULL removes the option.
 * @return TOKAUTH_OK; TOKAUTH_ERR_INVALID_ARGUMENT for a NULL config or name, text that is not UTF-8, or more than 64
 *         KiB: nothing has changed then.
 *
 * Threads: one at a time per config. Since: 0.1.0.
 */
tokauth_status tokauth_config_set(tokauth_config *config,
                                  const char *name,
                                  const char *value,
                                  tokauth_error **out_error);

/**
 * Takes every variable of the environment whose name begins with a prefix as an option.
 *
 * The rest of the name, in lower case, is the option: TOKAUTH_CLIENT_ID is client_id. (So param.NAME and header.NAME
 * do not come this way.) No other function reads options from the environment. Does not block.
 *
 * @param prefix  NULL for "TOKAUTH_".
 * @return TOKAUTH_OK; TOKAUTH_ERR_CONFIG for an empty prefix, and for a variable under it that is not in upper case or
 *         not UTF-8; TOKAUTH_ERR_INVALID_ARGUMENT as tokauth_config_set(). Nothing has changed on failure.
 *
 * Threads: one at a time per config, and none that changes the environment meanwhile. Since: 0.1.0.
 */
tokauth_status tokauth_config_load_env(tokauth_config *config, const char *prefix, tokauth_error **out_error);

/**
 * Takes every member of one flat JSON object as an option.
 *
 * Texts as they are, whole numbers and booleans as their text; null removes the option. Does not block.
 *
 * @param json  such as {"provider": "calven", "client_id": "my-id", "timeout_ms": 5000}; not kept.
 * @return TOKAUTH_OK; TOKAUTH_ERR_CONFIG if it is no such object or gives a name twice; TOKAUTH_ERR_INVALID_ARGUMENT
 *         as tokauth_config_set(). Nothing has changed on failure.
 *
 * Threads: one at a time per config. Since: 0.1.0.
 */
tokauth_status tokauth_config_load_json(tokauth_config *config, const char *json, tokauth_error **out_error);

/**
 * Sends the log lines of clients made from now on to a callback.
 *
 * user_data is the library's from this call on: destroy gets it once, when the config and all its clients are gone or
 * have another log, and at once if this fails or log is NULL. Does not block; calls the destroy of the log before, if
 * no client has that.
 *
 * @param log        gets the lines; NULL sends them nowhere.
 * @param user_data  handed to both callbacks, and left alone; may be NULL.
 * @param destroy    NULL if nothing is to be done.
 * @return TOKAUTH_OK, or TOKAUTH_ERR_INVALID_ARGUMENT for a NULL config.
 *
 * Threads: one at a time per config. Since: 0.1.0.
 */
tokauth_status tokauth_config_set_log(tokauth_config *config,
                                      tokauth_log_fn log,
                                      void *user_data,
                                      tokauth_destroy_fn destroy);

/* ---- Client ---- */

/**
 * Judges all options together and makes a client.
 *
 * Blocks for files: reads those that options name, and tries what store=file is to use. Does not touch the network,
 * but for a store in Redis, which it asks for at most 3 s or half of timeout_ms; one that cannot be reached may come
 * later.
 *
 * @param config      is not kept, and may be changed or freed afterwards.
 * @param out_client  gets a client to free with tokauth_client_free().
 * @return TOKAUTH_OK; TOKAUTH_ERR_CONFIG and TOKAUTH_ERR_UNSUPPORTED name the option and what to do, TOKAUTH_ERR_STORE
 *         what is wrong with the store.
 *
 * Threads: any number at once, while none changes the config or, for store=file, the environment. Since: 0.1.0.
 */
tokauth_status tokauth_client_new(const tokauth_config *config, tokauth_client **out_client, tokauth_error **out_error);

/**
 * Makes a sibling of a client, with one option changed.
 *
 * It shares credential, log, connections and store. With another scope or audience it has a token of its own; with
 * another timeout_ms, min_valid_s or refresh_ahead it shares the token too. Blocks as tokauth_client_new() does.
 *
 * @param name        an option other than provider, provider_file, client_id, client_secret and client_secret_file.
 * @param value       what to set it to; NULL removes the option.
 * @param out_client  gets a client to free with tokauth_client_free(), before or after the first one.
 * @return TOKAUTH_OK; TOKAUTH_ERR_CONFIG for those five too; else as tokauth_client_new().
 *
 * Threads: any number at once. Since: 0.1.0.
 */
tokauth_status tokauth_client_with(const tokauth_client *client,
                                   const char *name,
                                   const char *value,
                                   tokauth_client **out_client,
                                   tokauth_error **out_error);

/**
 * Makes a second owner of the same client.
 *
 * Does not block.
 *
 * @return a client to free with tokauth_client_free(), once for each owner; NULL for NULL.
 *
 * Threads: any number at once. Since: 0.1.0.
 */
tokauth_client *tokauth_client_clone(const tokauth_client *client);

/**
 * Gives up one owner's claim to a client.
 *
 * The token stays cached in this process for the next client with equal options. Does not block. The last of a client
 * and its siblings closes their connections; the last that has a log calls its destroy.
 *
 * @param client  NULL does nothing.
 *
 * Threads: any, when no call with this pointer runs any more. Since: 0.1.0.
 */
void tokauth_client_free(tokauth_client *client);

/**
 * Gives a usable token: the cached one, or by asking the provider.
 *
 * Blocks for at most the option timeout_ms; callers that come together share one request and its outcome. After a
 * failure comes a pause, in which a call that has no valid token gets that failure at once: see
 * tokauth_error_retry_after_ms().
 *
 * @param flags      0, TOKAUTH_CACHED_ONLY or TOKAUTH_FORCE_REFRESH; not both, and no other bit.
 * @param out_token  gets a token to free with tokauth_token_free(); it needs no client.
 * @return TOKAUTH_OK; TOKAUTH_ERR_NOT_CACHED with TOKAUTH_CACHED_ONLY; else any but TOKAUTH_ERR_BUFFER_TOO_SMALL.
 *
 * Threads: any number at once. Since: 0.1.0.
 */
tokauth_status tokauth_client_token(const tokauth_client *client,
                                    uint32_t flags,
                                    tokauth_token **out_token,
                                    tokauth_error **out_error);

/**
 * Copies the value of the Authorization header of a usable token into a buffer, all or nothing.
 *
 * Gets the token as tokauth_client_token() does, and blocks as that. A new token that does not fit is cached: ask for
 * it with flags 0.
 *
 * @param flags        as for tokauth_client_token().
 * @param buffer       gets the text and its NUL; may be NULL if buffer_size is 0, which asks for the size.
 * @param buffer_size  in bytes.
 * @param out_needed   gets the size that is needed, the NUL included, with TOKAUTH_OK and with
 *                     TOKAUTH_ERR_BUFFER_TOO_SMALL; may be NULL.
 * @return TOKAUTH_OK; TOKAUTH_ERR_BUFFER_TOO_SMALL; TOKAUTH_ERR_UNSUPPORTED where the API takes no such header; else
 *         as tokauth_client_token().
 *
 * Threads: any number at once. Since: 0.1.0.
 */
tokauth_status tokauth_client_copy_authorization(const tokauth_client *client,
                                                 uint32_t flags,
                                                 char *buffer,
                                                 size_t buffer_size,
                                                 size_t *out_needed,
                                                 tokauth_error **out_error);

/**
 * Tells that the API refused a token, so that the next call gets another.
 *
 * The token is dropped if it is still the cached one, unless it has itself replaced a rejected one lately (30 s at
 * first, doubling to 15 min; longer where tokens are limited): then it stays in service. Blocks only for a store that
 * is shared, for at most timeout_ms.
 *
 * @param rejected  what the API refused, with 401 for example; still the caller's.
 * @return TOKAUTH_OK, also if it was not the cached one; else the store could not be told, and only this process
 *         knows.
 *
 * Threads: any number at once. Since: 0.1.0.
 */
tokauth_status tokauth_client_invalidate(const tokauth_client *client,
                                         const tokauth_token *rejected,
                                         tokauth_error **out_error);

/**
 * Forgets the token and the failures, here and in the store: the next call asks the provider.
 *
 * Waits that the provider asked for and secrets that it refused are forgotten for all clients of this client id; what
 * rejected tokens have brought about and what is left of a budget stay. Blocks only for a store that is shared, for at
 * most timeout_ms.
 *
 * @return TOKAUTH_OK; else the store could not be told, and all is forgotten in this process.
 *
 * Threads: any number at once. Since: 0.1.0.
 */
tokauth_status tokauth_client_clear(const tokauth_client *client, tokauth_error **out_error);

/**
 * Returns how often something happened to the token that this client shares with others.
 *
 * Counts in this process, since the first client of that token. Does not block.
 *
 * @param counter  TOKAUTH_COUNT_REQUESTS or the like.
 * @return the number; 0 for a NULL client and for counters that this version of the library does not know.
 *
 * Threads: any number at once. Since: 0.1.0.
 */
uint64_t tokauth_client_counter(const tokauth_client *client, uint32_t counter);

/**
 * Returns a number that changes with the token, for hosts that keep a copy of it.
 *
 * Never blocks: it waits for no lock, allocates nothing and does not call the system.
 *
 * @return 0: call tokauth_client_token() (none is cached, or this caller is to renew it). Else: that call would give,
 *         at once, the same token as when this number was last seen. 0 for a NULL client.
 *
 * Threads: any number at once. Since: 0.1.0.
 */
uint64_t tokauth_client_generation(const tokauth_client *client);

/**
 * Tells what is left of the token budget, as the ledger in the store says.
 *
 * All scopes and secrets of a client id draw on one. Blocks for reading a file, or for a store in Redis; sends nothing
 * to the provider.
 *
 * @param out_remaining  gets the number of requests that may still be sent; -1 without a budget.
 * @param out_next_at    gets 0 if a request may be sent now, else the Unix second from which on.
 * @return TOKAUTH_OK; else the ledger cannot be read: TOKAUTH_ERR_STORE, for example.
 *
 * Threads: any number at once. Since: 0.1.0.
 */
tokauth_status tokauth_client_budget(const tokauth_client *client,
                                     int64_t *out_remaining,
                                     int64_t *out_next_at,
                                     tokauth_error **out_error);

/* ---- Token ---- */

/**
 * Lends the bare token.
 *
 * Does not block.
 *
 * @param out_len  gets the length without the NUL, 0 for a NULL token; may be NULL.
 * @return visible ASCII, which lives until the last owner frees the token; NULL for a NULL token.
 *
 * Threads: any number at once. Since: 0.1.0.
 */
const char *tokauth_token_value(const tokauth_token *token, size_t *out_len);

/**
 * Lends the value of the Authorization header, with the scheme as the provider's API wants it.
 *
 * Does not block.
 *
 * @param out_len  gets the length without the NUL, 0 where there is none; may be NULL.
 * @return "Bearer eyJ...", for example, which lives until the last owner frees the token; NULL where the API takes no
 *         such header, and for a NULL token.
 *
 * Threads: any number at once. Since: 0.1.0.
 */
const char *tokauth_token_authorization(const tokauth_token *token, size_t *out_len);

/**
 * Returns how many headers a call of the API needs.
 *
 * Mostly one, Authorization; some APIs take another, or two. Does not block.
 *
 * @return their number; 0 for a NULL token.
 *
 * Threads: any number at once. Since: 0.1.0.
 */
size_t tokauth_token_header_count(const tokauth_token *token);

/**
 * Lends the name of a header that a call of the API needs.
 *
 * Does not block.
 *
 * @param index  0 for the first of tokauth_token_header_count().
 * @return the name, which lives until the last owner frees the token; NULL past the end and for a NULL token.
 *
 * Threads: any number at once. Since: 0.1.0.
 */
const char *tokauth_token_header_name(const tokauth_token *token, size_t index);

/**
 * Lends the value of a header that a call of the API needs.
 *
 * Does not block.
 *
 * @param index  0 for the first of tokauth_token_header_count().
 * @return the value, which lives until the last owner frees the token; NULL past the end and for a NULL token.
 *
 * Threads: any number at once. Since: 0.1.0.
 */
const char *tokauth_token_header_value(const tokauth_token *token, size_t index);

/**
 * Lends the token type that the server named.
 *
 * The scheme of the header is tokauth_token_authorization()'s to say. Does not block.
 *
 * @return the type, "Bearer" if the server named none, which lives until the last owner frees the token; NULL for a
 *         NULL token.
 *
 * Threads: any number at once. Since: 0.1.0.
 */
const char *tokauth_token_type(const tokauth_token *token);

/**
 * Lends the scope that the server granted, as it wrote it.
 *
 * Does not block.
 *
 * @return the scope, which lives until the last owner frees the token; NULL if the server did not say (then it is what
 *         was asked for), and for a NULL token.
 *
 * Threads: any number at once. Since: 0.1.0.
 */
const char *tokauth_token_scope(const tokauth_token *token);

/**
 * Returns when the token ends, for people to read, not to schedule on.
 *
 * By this machine's wall clock, which may be wrong or be set. Does not block.
 *
 * @return Unix seconds; 0 for a NULL token.
 *
 * Threads: any number at once. Since: 0.1.0.
 */
int64_t tokauth_token_expires_at(const tokauth_token *token);

/**
 * Makes a second owner of the same token.
 *
 * Does not block.
 *
 * @return a token to free with tokauth_token_free(), once for each owner; NULL for NULL.
 *
 * Threads: any number at once. Since: 0.1.0.
 */
tokauth_token *tokauth_token_clone(const tokauth_token *token);

/**
 * Gives up one owner's claim to a token.
 *
 * The last owner's call wipes its texts. Does not block.
 *
 * @param token  NULL does nothing.
 *
 * Threads: any, when nobody reads by this owner's claim any more. Since: 0.1.0.
 */
void tokauth_token_free(tokauth_token *token);

/* ---- Error ---- */

/**
 * Returns the status that came with the error.
 *
 * Does not block.
 *
 * @return the status; TOKAUTH_OK for NULL.
 *
 * Threads: any number at once. Since: 0.1.0.
 */
tokauth_status tokauth_error_status(const tokauth_error *error);

/**
 * Lends one line for the person who must act: the step, what happened, what to do.
 *
 * It holds no secret and no token, and may be logged. Does not block.
 *
 * @return the line, which lives until the error is freed; "" for NULL. Never NULL.
 *
 * Threads: any number at once. Since: 0.1.0.
 */
const char *tokauth_error_message(const tokauth_error *error);

/**
 * Lends the provider's own code.
 *
 * Does not block.
 *
 * @return "invalid_client" or "401003", for example, which lives until the error is freed; NULL if it gave none, and
 *         for NULL.
 *
 * Threads: any number at once. Since: 0.1.0.
 */
const char *tokauth_error_provider_code(const tokauth_error *error);

/**
 * Returns the HTTP status of the reply.
 *
 * Does not block.
 *
 * @return 401, for example; 0 if there was no reply, and for NULL.
 *
 * Threads: any number at once. Since: 0.1.0.
 */
int32_t tokauth_error_http_status(const tokauth_error *error);

/**
 * Returns how long to wait before asking again.
 *
 * That is what was left, when the call returned, of the pause that the failure began, in which a call that has no
 * valid token gets this error at once and sends nothing. (After TOKAUTH_ERR_TIMEOUT that holds for calls with the
 * same timeout_ms or less.) Does not block.
 *
 * @return milliseconds; 0: ask at once; -1 if no pause began, and for NULL.
 *
 * Threads: any number at once. Since: 0.1.0.
 */
int64_t tokauth_error_retry_after_ms(const tokauth_error *error);

/**
 * Frees an error, and the texts that it lent.
 *
 * Does not block.
 *
 * @param error  NULL does nothing.
 *
 * Threads: any, when no other reads the error any more. Since: 0.1.0.
 */
void tokauth_error_free(tokauth_error *error);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* TOKAUTH_H */
