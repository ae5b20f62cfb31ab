"""Asks for a token twice and shows that one request was enough.

TOKAUTH_PROVIDER=oauth2 TOKAUTH_TOKEN_URL=... TOKAUTH_CLIENT_ID=... TOKAUTH_CLIENT_SECRET_FILE=... python3 get_token.py
"""

import sys
import time

import tokauth


def main() -> int:
    try:
        with tokauth.Client.from_env() as client:
            token = client.token()
            client.token()  # the same token, and no request
            requests = client.counter("requests")
    except tokauth.TokauthError as error:
        print(f"get_token: {error}", file=sys.stderr)
        return 1

    for name, value in token.headers.items():
        print(f"{name}: {value[:7]}... ({len(value)} characters)")
    print(f"expires in {token.expires_at - int(time.time())} s")
    print(f"requests sent: {requests}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
