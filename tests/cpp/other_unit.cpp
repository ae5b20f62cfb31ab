/* The second translation unit of the C++ test: all that tokauth.hpp defines stands in both. */
#include "other_unit.hpp"

#include <tokauth.hpp>

tokauth::Client working_client(const char *test, tokauth::Log log)
{
    tokauth::Config config;
    config.load_env().set("header.X-Test", test).set_log(std::move(log));
    return tokauth::Client(config);
}

void fail_in_other_unit()
{
    tokauth::Client client{tokauth::Config()};
}

tokauth_log_fn log_of_other_unit()
{
    return tokauth::detail::Sink<tokauth::Log>::line;
}
