/*
 * Asks for a token twice and shows that one request was enough.
 *
 *   g++ -std=c++11 -I include examples/cpp/get_token.cpp -L target/release -ltokauth -o get_token
 *   TOKAUTH_PROVIDER=oauth2 TOKAUTH_TOKEN_URL=... TOKAUTH_CLIENT_ID=... TOKAUTH_CLIENT_SECRET_FILE=... ./get_token
 */
#include <ctime>
#include <iostream>

#include <tokauth.hpp>

int main()
{
    try {
        tokauth::Client client = tokauth::Client::from_env();
        tokauth::Token token = client.token();
        client.token(); // the same token, and no request

        for (const auto &header : token.headers())
            std::cout << header.first << ": " << header.second.substr(0, 7) << "... (" << header.second.size()
                      << " characters)\n";
        std::cout << "expires in " << token.expires_at() - std::time(nullptr) << " s\n";
        std::cout << "requests sent: " << client.counter(TOKAUTH_COUNT_REQUESTS) << "\n";
    } catch (const tokauth::Error &error) {
        std::cerr << "get_token: " << error.status_name() << ": " << error.what() << "\n";
        return 1;
    }
}
