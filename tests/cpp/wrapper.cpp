/*
 * What tokauth.hpp promises. A working client's options are expected in the environment (TOKAUTH_*), as tests/c/abi.c
 * wants them; the first token request must get 429 with Retry-After: 7. The argument is the description of a provider
 * like oauth2 whose API takes X-Key, and Authorization only if the input "prefix" is set.
 */
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <tokauth.hpp>
#include <tokauth.hpp>

#include "other_unit.hpp"

using tokauth::Client;
using tokauth::Config;
using tokauth::Error;
using tokauth::Token;

struct Failed {
    int line;
    const char *condition;
};

#define CHECK(condition) \
    do { \
        if (!(condition)) \
            throw Failed{__LINE__, #condition}; \
    } while (0)

/*
 * How many calls of operator new in this thread until one fails; negative: none does. (valgrind leaves it to this file
 * only with --soname-synonyms=somalloc=nouserintercepts.)
 */
static thread_local int memory_left = -1;

void *operator new(std::size_t size)
{
    void *memory = memory_left == 0 ? nullptr : std::malloc(size == 0 ? 1 : size);

    if (memory_left >= 0)
        memory_left--;
    if (memory == nullptr)
        throw std::bad_alloc();
    return memory;
}

void operator delete(void *memory) noexcept
{
    std::free(memory);
}

void operator delete(void *memory, std::size_t) noexcept
{
    std::free(memory);
}

static const char *keyed_provider;

/* A log with state: counts its lines, and its copies that are alive. */
class Counting {
public:
    struct Counts {
        std::atomic<int> lines[5];
        std::atomic<int> alive;

        Counts() : lines(), alive(0) {}
    };

    explicit Counting(Counts &counts) : counts_(&counts) { counts_->alive++; }
    Counting(const Counting &other) : counts_(other.counts_) { counts_->alive++; }
    Counting &operator=(const Counting &) = delete;
    ~Counting() { counts_->alive--; }

    void operator()(int level, const std::string &message) const
    {
        if (level >= 1 && level <= 4 && !message.empty())
            counts_->lines[level]++;
    }

private:
    Counts *counts_;
};

/* What a call throws; with TOKAUTH_OK if it throws nothing. */
template <typename Call>
static Error caught(const Call &call)
{
    try {
        call();
    } catch (const std::runtime_error &error) {
        return dynamic_cast<const Error &>(error);
    }
    return Error(TOKAUTH_OK, "");
}

/* Whether a call fails with this status and these words. */
template <typename Call>
static bool fails(const Call &call, tokauth_status status, const char *words = "")
{
    const Error error = caught(call);
    const bool as_expected = error.status() == status && std::strstr(error.what(), words) != nullptr;

    if (!as_expected)
        std::fprintf(stderr, "not \"%s\": %s: %s\n", words, error.status_name(), error.what());
    return as_expected;
}

static std::uint64_t requests(const Client &client)
{
    return client.counter(TOKAUTH_COUNT_REQUESTS);
}

/* ---- errors ---- */

static void waiting_time_is_told() /* the first test, for the stand-in's 429 */
{
    Client client = working_client("waiting_time_is_told");
    const Error error = caught([&] { client.token(); });

    CHECK(error.status() == TOKAUTH_ERR_RATE_LIMITED && error.http_status() == 429);
    CHECK(error.retry_after_ms() > 0 && error.retry_after_ms() <= 60000);
    CHECK(error.provider_code().empty());
    CHECK(fails([&] { client.token(); }, TOKAUTH_ERR_RATE_LIMITED) && requests(client) == 1);
    client.clear(); /* the wait holds for every client of this client_id */
    CHECK(!client.token().value().empty());
}

static void error_tells_all_but_the_secret()
{
    static_assert(std::is_nothrow_copy_constructible<Error>::value, "as exceptions must be");
    static_assert(std::is_nothrow_copy_assignable<Error>::value, "as exceptions must be");
    Error copy(TOKAUTH_OK, "");
    {
        Config config;
        config.load_env().set("client_secret", "wrong-canary-5c1b7e02d94f");
        const Error error = caught([&] { Client(config).token(); });
        copy = error;
        CHECK(copy.what() == std::string(error.what()));
    }
    CHECK(copy.status() == TOKAUTH_ERR_DENIED && copy.status_name() == std::string("TOKAUTH_ERR_DENIED"));
    CHECK(copy.provider_code() == "invalid_client" && copy.http_status() == 401);
    CHECK(copy.retry_after_ms() > 0 && copy.retry_after_ms() <= 60000);
    CHECK(std::strstr(copy.what(), "refused the request") != nullptr);
    CHECK(std::strstr(copy.what(), "canary") == nullptr);
}

static void error_without_details_has_none()
{
    Error error(TOKAUTH_ERR_STORE, "words");

    CHECK(error.status() == TOKAUTH_ERR_STORE && error.what() == std::string("words"));
    CHECK(error.provider_code().empty() && error.http_status() == 0 && error.retry_after_ms() == -1);
}

static void error_of_a_c_function_is_taken_over()
{
    tokauth_error *given = nullptr;

    CHECK(tokauth_config_set(nullptr, "scope", "x", &given) == TOKAUTH_ERR_INVALID_ARGUMENT);
    CHECK(Error(given).what() == std::string("config is NULL"));
}

/* ---- config ---- */

static void options_are_set_replaced_and_removed()
{
    const std::string name = "client_id";
    Config config;

    config.load_json("{\"provider\": \"oauth2\", \"token_url\": \"https://localhost/token\", \"timeout_ms\": \"soon\"}")
        .set(name, std::string("me"))
        .set("client_secret", "offline-secret-1");
    CHECK(fails([&] { Client client(config); }, TOKAUTH_ERR_CONFIG, "timeout_ms"));
    config.set("timeout_ms", "2000");
    Client client(config);
    config.set(name, nullptr);
    CHECK(fails([&] { Client without(config); }, TOKAUTH_ERR_CONFIG, "client_id"));
    CHECK(fails([&] { config.load_json("[]"); }, TOKAUTH_ERR_CONFIG));
    CHECK(fails([&] { config.set("clientid", "me"), Client(config).token(); }, TOKAUTH_ERR_CONFIG, "client_id"));
}

static void environment_is_read_under_a_prefix()
{
    CHECK(fails([] { Client client{Config()}; }, TOKAUTH_ERR_CONFIG, "provider")); /* nothing is read unasked */
    CHECK(fails([] { Client client = Client::from_env("NO_SUCH_"); }, TOKAUTH_ERR_CONFIG, "provider"));
    CHECK(fails([] { Client client = Client::from_env(std::string("TOKAUTH_")); }, TOKAUTH_OK));
    CHECK(fails([] { Client client = Client::from_env(); }, TOKAUTH_OK));
}

static void text_that_c_cannot_take_is_refused()
{
    const std::string cut("read\0write", 10);
    const char *none = nullptr;
    Config config;

    CHECK(fails([&] { config.set("scope", cut); }, TOKAUTH_ERR_INVALID_ARGUMENT, "NUL"));
    CHECK(fails([&] { config.set(cut, "x"); }, TOKAUTH_ERR_INVALID_ARGUMENT, "NUL"));
    CHECK(fails([&] { config.load_env(cut); }, TOKAUTH_ERR_INVALID_ARGUMENT, "NUL"));
    CHECK(fails([&] { config.set("scope", "\xff"); }, TOKAUTH_ERR_INVALID_ARGUMENT, "UTF-8"));
    CHECK(fails([&] { config.set(none, "x"); }, TOKAUTH_ERR_INVALID_ARGUMENT, "name"));
    CHECK(fails([&] { config.load_json(none); }, TOKAUTH_ERR_INVALID_ARGUMENT, "json"));
    CHECK(fails([&] { config.set("scope", none); }, TOKAUTH_OK));
    static_assert(!std::is_convertible<int, tokauth::Text>::value, "a plain 0 would be nullptr");
}

/* ---- owners ---- */

template <typename T>
static void is_moved_and_not_copied()
{
    static_assert(std::is_nothrow_move_constructible<T>::value && std::is_nothrow_move_assignable<T>::value, "moved");
    static_assert(!std::is_copy_constructible<T>::value && !std::is_copy_assignable<T>::value, "not copied");
}

static void moved_from_is_empty_and_harmless()
{
    is_moved_and_not_copied<Config>();
    is_moved_and_not_copied<Client>();
    is_moved_and_not_copied<Token>();
    Config config;
    Client client = working_client("moved_from_is_empty_and_harmless");
    Token token = client.token();
    const std::string value = token.value();
    Config new_config = std::move(config);
    Client new_client = std::move(client);
    Token new_token = std::move(token);

    CHECK(config.get() == nullptr && client.get() == nullptr && token.get() == nullptr);
#define REFUSED(call) CHECK(fails([&] { call; }, TOKAUTH_ERR_INVALID_ARGUMENT))
    REFUSED(config.set("scope", "x"));
    REFUSED(config.load_env());
    REFUSED(config.load_json("{}"));
    REFUSED(config.set_log(nullptr));
    REFUSED(Client made(config));
    REFUSED(client.with("scope", "x"));
    REFUSED(client.clone());
    REFUSED(client.token());
    REFUSED(client.copy_authorization());
    REFUSED(client.invalidate(new_token));
    REFUSED(new_client.invalidate(token));
    REFUSED(client.clear());
    REFUSED(client.counter(TOKAUTH_COUNT_REQUESTS));
    REFUSED(client.generation());
    REFUSED(client.budget());
    REFUSED(token.clone());
    REFUSED(token.value());
    REFUSED(token.authorization());
    REFUSED(token.headers());
    REFUSED(token.type());
    REFUSED(token.scope());
    REFUSED(token.expires_at());
#undef REFUSED

    client = std::move(new_client); /* serves again */
    CHECK(client.token().value() == value && new_token.value() == value);
    config = std::move(new_config);
    CHECK(fails([&] { config.set("scope", "x"); }, TOKAUTH_OK));
}

static void moving_onto_itself_keeps_the_handle()
{
    Config config;
    Client client = working_client("moving_onto_itself_keeps_the_handle");
    Token token = client.token();
    Config &same_config = config; /* compilers warn of the plain form */
    Client &same_client = client;
    Token &same_token = token;

    config = std::move(same_config);
    client = std::move(same_client);
    token = std::move(same_token);
    CHECK(config.get() != nullptr && client.token().value() == token.value());
}

static void assigning_frees_what_was_there()
{
    Counting::Counts counts;
    Client client = working_client("assigning_frees_what_was_there", Counting(counts));

    CHECK(counts.alive == 1);
    client = working_client("assigning_frees_what_was_there");
    CHECK(counts.alive == 0);
}

static void clones_outlive_the_original()
{
    std::vector<Client> clients;
    std::vector<Token> tokens;
    {
        Client client = working_client("clones_outlive_the_original");
        Token token = client.token();
        clients.push_back(client.clone());
        tokens.push_back(token.clone());
    }
    CHECK(clients[0].token(TOKAUTH_CACHED_ONLY).value() == tokens[0].value());
    clients.clear();
    CHECK(!tokens[0].value().empty()); /* a token needs no client */
}

static void c_functions_take_and_give_handles()
{
    Client client = working_client("c_functions_take_and_give_handles");
    Client second(tokauth_client_clone(client.get()));
    tokauth_token *token = nullptr;

    CHECK(tokauth_client_token(second.get(), 0, &token, nullptr) == TOKAUTH_OK);
    CHECK(Token(token).value() == client.token().value() && requests(client) == 1);
}

static void memory_that_runs_out_leaks_nothing()
{
    Counting::Counts counts;
    Config config;
    config.load_env().set("header.X-Test", "memory_that_runs_out_leaks_nothing").set_log(Counting(counts));
    Client client(config);
    const Token token = client.token();
    int failures = 0;

    for (int left = 0; memory_left <= 0; left++) { /* until some is left at the end */
        try {
            memory_left = left;
            config.set_log(Counting(counts));
            client.clone();
            client.copy_authorization();
            CHECK(token.headers().size() == 1);
            CHECK(fails([&] { client.with("scopes", "x"); }, TOKAUTH_ERR_CONFIG));
        } catch (const std::bad_alloc &) {
            memory_left = 0;
            failures++;
        }
    }
    memory_left = -1;
    config.set_log(nullptr);
    CHECK(failures > 3 && counts.alive == 1); /* the client's */
}

/* ---- client and token ---- */

static void token_is_asked_for_once_and_tells_all()
{
    Client client = working_client("token_is_asked_for_once_and_tells_all");
    Client scoped = client.with("scope", "read write");
    Token token = client.token();

    CHECK(client.token().value() == token.value() && requests(client) == 1);
    CHECK(token.value().find("canary-token") != std::string::npos);
    CHECK(token.authorization() == "Bearer " + token.value());
    CHECK(client.copy_authorization() == token.authorization());
    CHECK(token.headers().size() == 1);
    CHECK(token.headers()[0].first == "Authorization" && token.headers()[0].second == token.authorization());
    CHECK(token.type() == "Bearer" && token.scope().empty() && token.expires_at() > 1700000000);
    CHECK(scoped.token().scope() == "read write");
}

static void other_headers_stand_in_for_an_absent_authorization()
{
    Config config;
    config.load_env().set("provider", nullptr).set("provider_file", keyed_provider);
    Client client(config);
    Token token = client.token();

    CHECK(token.authorization().empty() && token.headers().size() == 1);
    CHECK(token.headers()[0].first == "X-Key" && token.headers()[0].second == token.value());
    CHECK(fails([&] { client.copy_authorization(); }, TOKAUTH_ERR_UNSUPPORTED));
}

static void long_authorization_is_copied_with_one_request()
{
    const std::string prefix(5000, 'x');
    Config config;
    config.load_env().set("provider", nullptr).set("provider_file", keyed_provider).set("prefix", prefix);
    Client client(config);
    const std::string first = client.copy_authorization();

    CHECK(first == prefix + " " + client.token().value() && requests(client) == 1);
    CHECK(client.copy_authorization(TOKAUTH_FORCE_REFRESH) != first && requests(client) == 2);
    CHECK(client.copy_authorization(TOKAUTH_CACHED_ONLY) == client.token().authorization() && requests(client) == 2);
}

static void flags_are_obeyed()
{
    Client client = working_client("flags_are_obeyed");

    CHECK(fails([&] { client.token(TOKAUTH_CACHED_ONLY); }, TOKAUTH_ERR_NOT_CACHED));
    CHECK(fails([&] { client.copy_authorization(TOKAUTH_CACHED_ONLY); }, TOKAUTH_ERR_NOT_CACHED));
    CHECK(fails([&] { client.token(4); }, TOKAUTH_ERR_INVALID_ARGUMENT, "flags"));
    CHECK(requests(client) == 0);
    const std::string first = client.token().value();
    CHECK(client.token(TOKAUTH_FORCE_REFRESH).value() != first && requests(client) == 2);
}

static void sibling_shares_the_token_unless_it_differs()
{
    Client client = working_client("sibling_shares_the_token_unless_it_differs");
    const std::string value = client.token().value();
    Client other = client.with("scope", "other");

    CHECK(client.with("timeout_ms", "5000").token().value() == value && requests(client) == 1);
    CHECK(other.token().value() != value && requests(other) == 1 && requests(client) == 1);
    CHECK(other.with(std::string("scope"), nullptr).token(TOKAUTH_CACHED_ONLY).value() == value);
    CHECK(fails([&] { client.with("client_id", "me"); }, TOKAUTH_ERR_CONFIG, "client_id"));
}

static void rejected_and_cleared_tokens_are_replaced()
{
    Client client = working_client("rejected_and_cleared_tokens_are_replaced");
    Token rejected = client.token();
    const std::uint64_t generation = client.generation();

    CHECK(generation != 0);
    client.invalidate(rejected);
    CHECK(client.generation() == 0);
    Token second = client.token();
    CHECK(second.value() != rejected.value() && client.generation() != generation);
    client.invalidate(rejected); /* not the cached one any more */
    CHECK(client.token().value() == second.value());
    client.clear();
    CHECK(fails([&] { client.token(TOKAUTH_CACHED_ONLY); }, TOKAUTH_ERR_NOT_CACHED));
    CHECK(client.token().value() != second.value());
    CHECK(requests(client) == 3 && client.counter(TOKAUTH_COUNT_FAILURES) == 0 && client.counter(4711) == 0);
}

static void budget_is_unlimited()
{
    const tokauth::Budget budget = working_client("budget_is_unlimited").budget();

    CHECK(budget.remaining == -1 && budget.next_at == 0);
}

static void threads_share_one_client_and_one_request()
{
    Client client = working_client("threads_share_one_client_and_one_request");
    const Token token = client.token();
    std::atomic<int> same(0);
    std::vector<std::thread> threads;

    client.clear();
    for (int i = 0; i < 16; i++) {
        threads.emplace_back([&] {
            const Client mine = client.clone();
            const Token own = token.clone();
            const std::string authorization = client.copy_authorization();

            same += authorization == mine.token().authorization() && own.value() == token.value();
        });
    }
    for (std::thread &thread : threads)
        thread.join();
    CHECK(same == 16 && requests(client) == 2);
}

/* ---- log ---- */

static void log_with_state_lives_as_long_as_its_last_client()
{
    Counting::Counts counts;
    std::vector<Client> clients;
    {
        Config config;
        config.load_env().set("header.X-Test", "log_with_state").set_log(Counting(counts));
        clients.emplace_back(config);
        clients.push_back(clients[0].with("scope", "other"));
        clients[0].token();
    }
    CHECK(counts.lines[1] == 0 && counts.lines[2] == 0); /* nothing is wrong */
    CHECK(counts.lines[3] == 1 && counts.lines[4] == 1);
    clients.erase(clients.begin());
    CHECK(counts.alive == 1);
    clients[0].token();
    CHECK(counts.lines[3] == 2);
    clients.clear();
    CHECK(counts.alive == 0);
}

static void log_is_destroyed_when_replaced_removed_or_refused()
{
    Counting::Counts first, second;
    Config config;

    config.set_log(Counting(first)).set_log(Counting(second));
    CHECK(first.alive == 0 && second.alive == 1);
    config.set_log(tokauth::Log());
    CHECK(second.alive == 0);
    config.set_log(Counting(second));
    config.set_log(nullptr);
    CHECK(second.alive == 0);
    Config taken = std::move(config);
    CHECK(fails([&] { config.set_log(Counting(first)); }, TOKAUTH_ERR_INVALID_ARGUMENT));
    CHECK(first.alive == 0);
}

/* Every call that logs, at every level, with a log that counts its line and then throws. */
template <typename Exception>
static void throwing_log_harms_no_call(const char *test, Exception exception)
{
    Counting::Counts counts;
    Counting counting(counts);
    Config config;
    config.load_env().set("header.X-Test", test).set("min_valid_s", "3000"); /* capped, with a warning */
    config.set_log([counting, exception](int level, const char *message) {
        counting(level, message);
        throw exception;
    });
    Client client(config);

    CHECK(!client.token().value().empty());
    CHECK(!client.copy_authorization(TOKAUTH_FORCE_REFRESH).empty());
    CHECK(!client.with("scope", test).token(TOKAUTH_FORCE_REFRESH).value().empty());
    client.invalidate(client.token());
    client.clear();
    CHECK(counts.lines[1] == 0 && counts.lines[2] > 0 && counts.lines[3] == 4 && counts.lines[4] == 3);

    config.set("client_secret", "wrong-canary-5c1b7e02d94f");
    CHECK(fails([&] { Client(config).token(); }, TOKAUTH_ERR_DENIED));
    CHECK(fails([&] { Client(config).copy_authorization(); }, TOKAUTH_ERR_DENIED));
    CHECK(counts.lines[1] == 1 && counts.lines[4] > 4); /* the second asked nobody */
}

/* */
static void what_a_log_throws_is_dropped()
{
    static_assert(noexcept(tokauth::detail::Sink<tokauth::Log>::line(nullptr, 1, "")), "Rust is above");
    static_assert(noexcept(tokauth::detail::Sink<tokauth::Log>::destroy(nullptr)), "Rust is above");
    throwing_log_harms_no_call("a std::exception", std::runtime_error("from the log"));
    throwing_log_harms_no_call("an int", 17);
    throwing_log_harms_no_call("an Error", Error(TOKAUTH_ERR_INTERNAL, "from the log"));
}

/* ---- library ---- */

static void library_tells_its_version_statuses_and_providers()
{
    const std::vector<std::string> names = tokauth::providers();

    CHECK(tokauth::version_number() == TOKAUTH_VERSION_NUMBER);
    CHECK(tokauth::version() == std::string(TOKAUTH_VERSION_STRING));
    CHECK(tokauth::status_name(TOKAUTH_ERR_DENIED) == std::string("TOKAUTH_ERR_DENIED"));
    CHECK(names.size() == tokauth_provider_count() && names[0] == "authvia");
}

static void header_serves_two_translation_units()
{
    CHECK(fails(fail_in_other_unit, TOKAUTH_ERR_CONFIG, "provider")); /* thrown there, caught here */
    CHECK(log_of_other_unit() == tokauth::detail::Sink<tokauth::Log>::line); /* one function, not two */
}

static const struct {
    const char *name;
    void (*run)();
} TESTS[] = {
#define TEST(name) {#name, name}
    TEST(waiting_time_is_told),
    TEST(error_tells_all_but_the_secret),
    TEST(error_without_details_has_none),
    TEST(error_of_a_c_function_is_taken_over),
    TEST(options_are_set_replaced_and_removed),
    TEST(environment_is_read_under_a_prefix),
    TEST(text_that_c_cannot_take_is_refused),
    TEST(moved_from_is_empty_and_harmless),
    TEST(moving_onto_itself_keeps_the_handle),
    TEST(assigning_frees_what_was_there),
    TEST(clones_outlive_the_original),
    TEST(c_functions_take_and_give_handles),
    TEST(memory_that_runs_out_leaks_nothing),
    TEST(token_is_asked_for_once_and_tells_all),
    TEST(other_headers_stand_in_for_an_absent_authorization),
    TEST(long_authorization_is_copied_with_one_request),
    TEST(flags_are_obeyed),
    TEST(sibling_shares_the_token_unless_it_differs),
    TEST(rejected_and_cleared_tokens_are_replaced),
    TEST(budget_is_unlimited),
    TEST(threads_share_one_client_and_one_request),
    TEST(log_with_state_lives_as_long_as_its_last_client),
    TEST(log_is_destroyed_when_replaced_removed_or_refused),
    TEST(what_a_log_throws_is_dropped),
    TEST(library_tells_its_version_statuses_and_providers),
    TEST(header_serves_two_translation_units),
#undef TEST
};

int main(int argc, char **argv)
{
    int passed = 0;
    int failed = 0;

    keyed_provider = argc > 1 ? argv[1] : "no file was named";
    for (const auto &test : TESTS) {
        try {
            test.run();
            passed++;
            continue;
        } catch (const Failed &check) {
            std::fprintf(stderr, "%s:%d: %s\n", __FILE__, check.line, check.condition);
        } catch (const std::exception &error) {
            std::fprintf(stderr, "%s\n", error.what());
        }
        memory_left = -1;
        failed++;
        std::fprintf(stderr, "FAILED %s\n", test.name);
    }
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
