"""A program whose first token the API refuses: refused_token.py requests|httpx|asyncio, with API_URL and TOKAUTH_*."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from typing import Any

import httpx
import requests
import tokauth

CA_FILE = os.environ.get("TOKAUTH_CA_FILE")
LIMIT_S = 60  # httpx has one of 5 s else


def with_requests(client: tokauth.Client, url: str) -> requests.Response:
    return requests.get(url, auth=tokauth.RequestsAuth(client), verify=CA_FILE or True)


def with_httpx(client: tokauth.Client, url: str) -> httpx.Response:
    context = ssl.create_default_context(cafile=CA_FILE)
    with httpx.Client(auth=tokauth.HttpxAuth(client), verify=context, timeout=LIMIT_S) as session:
        return session.get(url)


def with_asyncio(client: tokauth.Client, url: str) -> httpx.Response:
    async def get() -> httpx.Response:
        context = ssl.create_default_context(cafile=CA_FILE)
        async with httpx.AsyncClient(auth=tokauth.HttpxAuth(client), verify=context, timeout=LIMIT_S) as session:
            return await session.get(url)

    return asyncio.run(get())


def main() -> None:
    caller = {"requests": with_requests, "httpx": with_httpx, "asyncio": with_asyncio}[sys.argv[1]]
    with tokauth.Client.from_env() as client:
        answer: Any = caller(client, os.environ["API_URL"])
        print([one.status_code for one in (*answer.history, answer)], client.counter("requests"))


if __name__ == "__main__":
    main()
