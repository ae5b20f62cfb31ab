/*
 * Calls at the end of threads and of the process: from destructors of thread-local objects that are older and younger
 * than the thread's first call, from handlers of atexit(), and from a static destructor; and a thread that is inside a
 * call when the process ends. A working client's options are expected in the environment (TOKAUTH_*).
 */
#include <cstdio>
#include <cstdlib>
#include <thread>

#include <unistd.h>

#include <tokauth.hpp>

namespace {

int calls; // that brought a token

void ask(const char *where)
{
    try {
        tokauth::Client client = tokauth::Client::from_env();
        std::string before = client.copy_authorization();
        client.clear();
        if (!before.empty() && client.copy_authorization() != before)
            calls++;
    } catch (const tokauth::Error &error) {
        std::fprintf(stderr, "%s: %s\n", where, error.what());
    }
}

struct AsksLast {
    const char *where;
    explicit AsksLast(const char *place) : where(place) {}
    ~AsksLast() { ask(where); }
    void touch() const {}
};

/* Constructed first, so destroyed last. */
struct Judge {
    ~Judge()
    {
        ask("a static destructor");
        std::printf("%d calls\n", calls);
        std::fflush(stdout);
        if (calls != 10)
            _Exit(EXIT_FAILURE);
    }
} judge;

void uses_thread_locals()
{
    thread_local AsksLast older("a thread-local that is older than the first call");
    older.touch();
    ask("a thread");
    thread_local AsksLast younger("a thread-local that is younger than the first call");
    younger.touch();
}

void at_exit()
{
    ask("atexit");
}

} // namespace

int main()
{
    alarm(600);
    std::atexit(at_exit); // before the first call, so after what that call may have registered
    std::thread(uses_thread_locals).join();
    uses_thread_locals();
    std::atexit(at_exit);
    std::atexit(at_exit);
    std::thread([] {
        for (;;) {
            try {
                tokauth::Client client = tokauth::Client::from_env();
                client.clear();
                client.token();
            } catch (const tokauth::Error &) {
            }
        }
    }).detach();
}
