/* What the second translation unit of the C++ test offers to the first. */
#ifndef OTHER_UNIT_HPP
#define OTHER_UNIT_HPP

#include <tokauth.hpp>

/* A working client that shares its token only with others of the same test. */
tokauth::Client working_client(const char *test, tokauth::Log log = nullptr);

/* Throws what tokauth.hpp throws, from this unit's copy of it. */
void fail_in_other_unit();

/* Where that copy has its trampoline. */
tokauth_log_fn log_of_other_unit();

#endif
