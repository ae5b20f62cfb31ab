/*
 * Threads that call two APIs with one credential: one request per token, whatever their number.
 *
 *   g++ -std=c++11 -pthread -I include examples/cpp/threads.cpp -L target/release -ltokauth -o threads
 *   TOKAUTH_PROVIDER=oauth2 TOKAUTH_TOKEN_URL=... TOKAUTH_CLIENT_ID=... TOKAUTH_CLIENT_SECRET_FILE=... ./threads 8 edit
 */
#include <atomic>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <tokauth.hpp>

static std::mutex output; // the log and the threads write lines
static std::atomic<int> served(0), failed(0);

// Sends one request of the program's own to the API that the client is for.
static void call_api(const tokauth::Client &client)
{
    const tokauth::Token token = client.token(); // blocks for the first; the others wait for that, or get it at once
    std::string request = "GET /orders HTTP/1.1\r\n";

    for (const auto &header : token.headers())
        request += header.first + ": " + header.second + "\r\n";
    // Here it is sent. If the answer is 401: client.invalidate(token), and once more with the next token.
    served++;
}

static void work(const tokauth::Client &client)
{
    try {
        for (int i = 0; i < 100; i++)
            call_api(client);
    } catch (const tokauth::Error &error) { // out of a thread no exception may go
        const std::lock_guard<std::mutex> lock(output);
        std::cerr << "threads: " << error.status_name() << ": " << error.what() << "\n";
        failed++;
    }
}

int main(int argc, char **argv)
{
    const int count = argc > 1 ? std::atoi(argv[1]) : 8;
    const char *other_scope = argc > 2 ? argv[2] : "edit";
    int logged = 0; // outlives the clients, whose log counts in it

    try {
        tokauth::Config config;
        config.load_env().set_log([&logged](std::int32_t level, const char *message) {
            const std::lock_guard<std::mutex> lock(output); // several threads may log at once
            if (level > 3)
                return;
            std::clog << "log: " << message << "\n";
            logged++;
        });
        const tokauth::Client reader(config);
        const tokauth::Client writer = reader.with("scope", other_scope); // a token of its own; all else is shared

        std::vector<std::thread> threads;
        for (int i = 0; i < count; i++)
            threads.emplace_back(work, std::cref(i % 2 == 0 ? reader : writer));
        for (std::thread &thread : threads)
            thread.join();

        const tokauth::Budget budget = reader.budget();
        std::cout << "calls: " << served << "\nlines logged: " << logged;
        std::cout << "\nrequests sent: " << reader.counter(TOKAUTH_COUNT_REQUESTS) << " and "
                  << writer.counter(TOKAUTH_COUNT_REQUESTS);
        std::cout << "\nbudget: "
                  << (budget.remaining < 0 ? "none" : std::to_string(budget.remaining) + " requests left") << "\n";
    } catch (const tokauth::Error &error) {
        std::cerr << "threads: " << error.status_name() << ": " << error.what() << "\n";
        failed++;
    }
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
