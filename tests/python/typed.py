"""A user's program, whose types `mypy --strict` judges by those of the installed package: each comment is an error that
it must find, or it complains of the comment.
"""

from __future__ import annotations

from typing import Dict, List, Optional, Tuple

import httpx
import requests
import tokauth


def log(level: int, message: str) -> None:
    print(level, message)


def use(client: tokauth.Client) -> Tuple[Optional[int], Optional[int]]:
    token: tokauth.Token = client.token(cached_only=False, force_refresh=True)
    value: str = token.value
    scope: Optional[str] = token.scope
    headers: Dict[str, str] = client.headers()
    requests.get("https://api.example/", headers=headers, auth=tokauth.RequestsAuth(client))
    httpx.get("https://api.example/", auth=tokauth.HttpxAuth(client))
    client.invalidate(value)  # type: ignore[arg-type]
    scope.upper()  # type: ignore[union-attr]
    return client.budget()


def main() -> None:
    names: List[str] = tokauth.providers()
    try:
        with tokauth.Client(provider=names[0], client_id="me", timeout_ms=500, log=log) as client:
            use(client)
        with tokauth.Client.from_env("OTHER_", log=log, scope=None) as client:
            sibling: tokauth.Client = client.with_options(scope="x")
            print(sibling.counter("requests") + client.counter(tokauth.COUNT_WAITS))
        tokauth.Client(provider=1.5)  # type: ignore[arg-type]
        tokauth.Client.from_env(7)  # type: ignore[arg-type]
    except tokauth.TokauthError as error:
        status: int = error.status
        pause: float = error.retry_after  # type: ignore[assignment]
        print(status, pause, error.provider_code or "no code", error.http_status + 1)


main()
