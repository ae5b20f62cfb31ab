/*
 * libtokauth for C++: owners, exceptions and std::string over tokauth.h, which tells what each call does, and whose
 * options, flags, counters and statuses are used as they are.
 *
 *     tokauth::Config config;
 *     config.set("provider", "calven").load_env(); // TOKAUTH_CLIENT_ID and the like
 *     tokauth::Client client(config);
 *     for (const auto &header : client.token().headers())
 *         request.header(header.first, header.second);
 *
 * Errors    A call that fails throws tokauth::Error; if memory runs out in this header, std::bad_alloc.
 * Owners    Config, Client and Token own one C handle each and are moved, not copied; clone() makes a second owner. One
 *           that was moved from may be assigned to and destroyed; its get() is NULL, and any other call with it throws
 *           TOKAUTH_ERR_INVALID_ARGUMENT.
 * Text      in is const char * (nullptr where tokauth.h allows NULL) or std::string, in UTF-8; text out is a copy.
 * Threads   A Config is for one thread at a time. Any number of threads may call one Client or Token, not while another
 *           thread moves, assigns or destroys it: share by reference, by clone(), or in a std::shared_ptr.
 *
 * This header alone, and libtokauth to link. C++11 is enough. RTTI is not needed, exceptions are.
 */

#ifndef TOKAUTH_HPP
#define TOKAUTH_HPP

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tokauth.h"

#if !defined(__cpp_exceptions) && !defined(__EXCEPTIONS) && !defined(_CPPUNWIND)
#error "tokauth.hpp tells errors by exceptions; without them use tokauth.h"
#endif

namespace tokauth {

/* One type in all parts of a program, however they hide their symbols: else it is not caught as what it is. */
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

/** Why a call failed; what() is one line for the person who must act. Copies share what they tell. Holds no secret. */
class Error : public std::runtime_error {
public:
    /** One that the library did not make. */
    Error(tokauth_status status, const std::string &message)
        : std::runtime_error(message), status_(status), details_()
    {
    }

    /** Takes over what a C function gave as out_error. */
    explicit Error(tokauth_error *owned) : Error(std::shared_ptr<const tokauth_error>(owned, tokauth_error_free)) {}

    /** TOKAUTH_ERR_DENIED and the like. */
    tokauth_status status() const noexcept { return status_; }

    /** The same as the macro spells it; lives for ever. */
    const char *status_name() const noexcept { return tokauth_status_name(status_); }

    /** The provider's own code, such as "invalid_client"; "" if it gave none. */
    std::string provider_code() const
    {
        const char *code = tokauth_error_provider_code(details_.get());
        return code == nullptr ? "" : code;
    }

    /** The HTTP status of the reply; 0 if there was none. */
    std::int32_t http_status() const noexcept { return tokauth_error_http_status(details_.get()); }

    /** How long to wait before asking again, in milliseconds: what is left of the pause that the failure began; 0: at
     * once, -1: none began. */
    std::int64_t retry_after_ms() const noexcept { return tokauth_error_retry_after_ms(details_.get()); }

private:
    explicit Error(std::shared_ptr<const tokauth_error> details)
        : std::runtime_error(tokauth_error_message(details.get())), status_(tokauth_error_status(details.get())),
          details_(std::move(details))
    {
    }

    tokauth_status status_;
    std::shared_ptr<const tokauth_error> details_;
};

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

/** Gets one line: level 1 error, 2 warning, 3 info, 4 debug; the message lives for the call. See tokauth_log_fn. */
using Log = std::function<void(std::int32_t level, const char *message)>;

/** What is left of a token budget. */
struct Budget {
    std::int64_t remaining; /**< requests that may still be sent; -1 without a budget */
    std::int64_t next_at; /**< 0 if one may be sent now, else the Unix second from which on */
};

/** A text for a call: borrowed, and with no NUL inside, where C would silently cut it. */
class Text {
public:
    Text(const char *text) noexcept : text_(text) {}
    Text(const std::string &text) : text_(text.c_str())
    {
        if (text.find('\0') != std::string::npos)
            throw Error(TOKAUTH_ERR_INVALID_ARGUMENT, "a text holds a NUL character");
    }
    Text(int) = delete; /**< numbers are texts too, and a plain 0 would be nullptr */

    /** nullptr if it was made of that. */
    const char *c_str() const noexcept { return text_; }

private:
    const char *text_;
};

/** Not for use: what the classes below are made of. */
namespace detail {

/** Throws if a call failed; *error is what it left. */
inline void check(tokauth_status status, tokauth_error *const *error)
{
    if (status != TOKAUTH_OK)
        throw Error(*error);
}

/** The one owner of a C object. */
template <typename T, void (*Free)(T *)>
class Handle {
public:
    explicit Handle(T *owned) noexcept : owned_(owned) {}

    T *get() const noexcept { return owned_.get(); }

    /** Not NULL. */
    T *live() const
    {
        if (!owned_)
            throw Error(TOKAUTH_ERR_INVALID_ARGUMENT, "the object was moved from");
        return owned_.get();
    }

private:
    struct Deleter {
        void operator()(T *owned) const noexcept { Free(owned); }
    };

    std::unique_ptr<T, Deleter> owned_;
};

/**
 * Called from Rust, which no exception may enter. A template, so that the symbols carry the type of the log: two parts
 * of a program may have different ones, of two standard libraries.
 */
template <typename Function>
struct Sink {
    static void line(void *log, std::int32_t level, const char *message) noexcept
    {
        try {
            (*static_cast<Function *>(log))(level, message);
        } catch (...) { /* there is nobody to tell */
        }
    }

    /* A destructor that throws ends the process here, as it does in any std::function. */
    static void destroy(void *log) noexcept { delete static_cast<Function *>(log); }
};

} // namespace detail

/** Options: texts under names, in any order; a later one replaces, nullptr removes. Client judges them together. */
class Config {
public:
    Config() : handle_(tokauth_config_new()) {}

    /** Sets an option; nullptr as value removes it. */
    Config &set(Text name, Text value)
    {
        tokauth_error *error = nullptr;
        detail::check(tokauth_config_set(handle_.live(), name.c_str(), value.c_str(), &error), &error);
        return *this;
    }

    /** Takes every variable of the environment whose name begins with prefix, "TOKAUTH_" unless given. */
    Config &load_env(Text prefix = nullptr)
    {
        tokauth_error *error = nullptr;
        detail::check(tokauth_config_load_env(handle_.live(), prefix.c_str(), &error), &error);
        return *this;
    }

    /** Takes every member of one flat JSON object. */
    Config &load_json(Text json)
    {
        tokauth_error *error = nullptr;
        detail::check(tokauth_config_load_json(handle_.live(), json.c_str(), &error), &error);
        return *this;
    }

    /**
     * Sends log lines of clients made from now on to log; nullptr sends them nowhere. It is called on any thread, by
     * several at once, and destroyed on any, with the last of this config and its clients. It must be quick, must not
     * ask a client for a token and must not end its thread. What it throws is dropped.
     */
    Config &set_log(Log log)
    {
        tokauth_config *config = handle_.live();
        std::unique_ptr<Log> data(log ? new Log(std::move(log)) : nullptr);
        const tokauth_log_fn line = data ? detail::Sink<Log>::line : nullptr;
        /* From here on data is the library's, even if this fails. */
        const tokauth_status status =
            tokauth_config_set_log(config, line, data.release(), detail::Sink<Log>::destroy);
        if (status != TOKAUTH_OK)
            throw Error(status, "the log cannot be set");
        return *this;
    }

    /** For the C functions; still owned here. */
    tokauth_config *get() const noexcept { return handle_.get(); }

private:
    detail::Handle<tokauth_config, tokauth_config_free> handle_;
};

/** An access token and the headers made of it. Immutable. */
class Token {
public:
    /** Takes over what a C function gave. */
    explicit Token(tokauth_token *owned) noexcept : handle_(owned) {}

    /** A second owner of the same token. */
    Token clone() const { return Token(tokauth_token_clone(handle_.live())); }

    /** The bare token. */
    std::string value() const
    {
        std::size_t length = 0;
        const char *value = tokauth_token_value(handle_.live(), &length);
        return std::string(value, length);
    }

    /** The value of the Authorization header, with its scheme; "" where the API takes no such header. */
    std::string authorization() const
    {
        std::size_t length = 0;
        const char *value = tokauth_token_authorization(handle_.live(), &length);
        return value == nullptr ? std::string() : std::string(value, length);
    }

    /** Name and value of each header an API call needs, Authorization among them. */
    std::vector<std::pair<std::string, std::string>> headers() const
    {
        const tokauth_token *token = handle_.live();
        std::vector<std::pair<std::string, std::string>> headers;
        for (std::size_t i = 0; i < tokauth_token_header_count(token); i++)
            headers.emplace_back(tokauth_token_header_name(token, i), tokauth_token_header_value(token, i));
        return headers;
    }

    /** The token type the server named, "Bearer" if it named none. */
    std::string type() const { return tokauth_token_type(handle_.live()); }

    /** The scope the server granted; "" if it did not say. */
    std::string scope() const
    {
        const char *scope = tokauth_token_scope(handle_.live());
        return scope == nullptr ? "" : scope;
    }

    /** When it ends, in Unix seconds by this machine's wall clock: for people to read, not to schedule on. */
    std::int64_t expires_at() const { return tokauth_token_expires_at(handle_.live()); }

    /** For the C functions, which lend the texts that are copied here; still owned here. */
    tokauth_token *get() const noexcept { return handle_.get(); }

private:
    detail::Handle<tokauth_token, tokauth_token_free> handle_;
};

/** One credential at one provider, with one scope and audience. Clients with equal options share one token. */
class Client {
public:
    /** Judges all options together. Reads files, asks a store in Redis; the config is not kept. */
    explicit Client(const Config &config) : handle_(make(config)) {}

    /** A client with the options of the environment. */
    static Client from_env(Text prefix = nullptr) { return Client(Config().load_env(prefix)); }

    /** Takes over what a C function gave. */
    explicit Client(tokauth_client *owned) noexcept : handle_(owned) {}

    /** A sibling with one option changed, or removed by nullptr; it shares credential, log, connections and store. */
    Client with(Text name, Text value) const
    {
        tokauth_client *sibling = nullptr;
        tokauth_error *error = nullptr;
        detail::check(tokauth_client_with(handle_.live(), name.c_str(), value.c_str(), &sibling, &error), &error);
        return Client(sibling);
    }

    /** A second owner of the same client. */
    Client clone() const { return Client(tokauth_client_clone(handle_.live())); }

    /**
     * A usable token: the cached one, or by asking the provider. Blocks for at most the option timeout_ms. flags: 0,
     * TOKAUTH_CACHED_ONLY or TOKAUTH_FORCE_REFRESH.
     */
    Token token(std::uint32_t flags = 0) const
    {
        tokauth_token *token = nullptr;
        tokauth_error *error = nullptr;
        detail::check(tokauth_client_token(handle_.live(), flags, &token, &error), &error);
        return Token(token);
    }

    /** The same token's Authorization header. TOKAUTH_ERR_UNSUPPORTED where the API takes no such header. */
    std::string copy_authorization(std::uint32_t flags = 0) const
    {
        char usual[2048];
        std::string larger;
        char *buffer = usual;
        std::size_t size = sizeof usual;
        for (;;) {
            std::size_t needed = 0;
            tokauth_error *error = nullptr;
            const tokauth_status status =
                tokauth_client_copy_authorization(handle_.live(), flags, buffer, size, &needed, &error);
            if (status != TOKAUTH_ERR_BUFFER_TOO_SMALL) {
                detail::check(status, &error);
                return std::string(buffer, needed - 1);
            }
            tokauth_error_free(error);
            larger.resize(needed);
            buffer = &larger[0];
            size = needed;
            flags &= ~std::uint32_t(TOKAUTH_FORCE_REFRESH); /* the new token is cached now */
        }
    }

    /**
     * Tells that the API refused rejected: it is dropped if it is still the cached token, unless it has itself replaced
     * a rejected one lately.
     */
    void invalidate(const Token &rejected) const
    {
        tokauth_error *error = nullptr;
        detail::check(tokauth_client_invalidate(handle_.live(), rejected.get(), &error), &error);
    }

    /** Forgets the token and the failures, here and in the store. */
    void clear() const
    {
        tokauth_error *error = nullptr;
        detail::check(tokauth_client_clear(handle_.live(), &error), &error);
    }

    /** What the clients that share this token counted: TOKAUTH_COUNT_REQUESTS and the like. 0 for unknown numbers. */
    std::uint64_t counter(std::uint32_t counter) const { return tokauth_client_counter(handle_.live(), counter); }

    /** 0: call token(). Else: it would return, at once, the same token as when this value was last seen. */
    std::uint64_t generation() const { return tokauth_client_generation(handle_.live()); }

    /** What is left of the token budget. */
    Budget budget() const
    {
        Budget budget = {0, 0};
        tokauth_error *error = nullptr;
        detail::check(tokauth_client_budget(handle_.live(), &budget.remaining, &budget.next_at, &error), &error);
        return budget;
    }

    /** For the C functions; still owned here. */
    tokauth_client *get() const noexcept { return handle_.get(); }

private:
    static tokauth_client *make(const Config &config)
    {
        tokauth_client *client = nullptr;
        tokauth_error *error = nullptr;
        detail::check(tokauth_client_new(config.get(), &client, &error), &error);
        return client;
    }

    detail::Handle<tokauth_client, tokauth_client_free> handle_;
};

/** The version of the library that runs, as TOKAUTH_VERSION_NUMBER is of the header. */
inline std::uint32_t version_number() noexcept { return tokauth_version_number(); }

/** The same as text, such as "0.1.0"; lives for ever. */
inline const char *version() noexcept { return tokauth_version_string(); }

/** The name of a status as the macros spell it; lives for ever. */
inline const char *status_name(tokauth_status status) noexcept { return tokauth_status_name(status); }

/** The names of the built-in providers, sorted. */
inline std::vector<std::string> providers()
{
    std::vector<std::string> names;
    for (std::size_t i = 0; i < tokauth_provider_count(); i++)
        names.emplace_back(tokauth_provider_name(i));
    return names;
}

} // namespace tokauth

#endif /* TOKAUTH_HPP */
