"""The adapters under the real requests and httpx, against an API in this process.

Needs the installed package, and options of working clients in the environment: of oauth2 (TOKAUTH_*), where every
request must bring a new token, and of eventhos (EVENTHOS_*).
"""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import tempfile
import threading
import unittest
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from unittest import mock

import httpx
import requests
import tokauth

LIMIT_S = 60  # httpx has one of 5 s else, and keeps a connection no longer
LIMITS = httpx.Limits(keepalive_expiry=LIMIT_S)


class Seen(NamedTuple):
    path: str
    headers: dict[str, str]  # by their names in lower case
    body: bytes


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Api

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = b"".join(self.chunks()) if self.headers.get("Transfer-Encoding") else self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append(Seen(self.path, headers, body))
        status, more, text = self.server.answers.pop(0) if self.server.answers else (200, {}, b"")
        self.send_response(status)
        for name, value in {**more, "Content-Length": str(len(text))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_GET

    def chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def log_message(self, *arguments: object) -> None:
        pass


class Api(ThreadingHTTPServer):
    """Keeps what it is asked; answers what it was told to, then 200."""

    def __init__(self, test: unittest.TestCase) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.connections = 0
        self.seen: list[Seen] = []
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        thread.start()
        for cleanup in (self.server_close, thread.join, self.shutdown):  # the last comes first
            test.addCleanup(cleanup)

    def handle_error(self, *request: object) -> None:
        """A caller that goes away: the test sees it by what it gets."""

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.answers.append((status, headers, body))

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.server_port}{path}"


class Adapter:
    """What holds for each of them; a subclass sends."""

    in_memory: dict[str, dict[str, Any]]  # what brings a body

    def setUp(self) -> None:
        self.api = Api(self)
        self.client = self.new_client()
        self.token = self.client.token()

    def new_client(self, prefix: str | None = None, **options: Any) -> tokauth.Client:
        """A client whose token no other test shares."""
        client = tokauth.Client.from_env(prefix, **{"header.X-Test": self.id(), **options})
        self.addCleanup(client.close)
        return client

    def send(self, client: tokauth.Client, url: str, **content: Any) -> Any:
        """Follows redirects."""
        raise NotImplementedError

    def get(self) -> Any:
        return self.send(self.client, self.api.url())

    def authorizations(self) -> list[str | None]:
        return [seen.headers.get("authorization") for seen in self.api.seen]

    def test_store_that_cannot_be_told_keeps_nothing_from_the_caller(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = os.path.join(folder, "store")
            client = self.new_client(store=f"file:{store}")
            client.token()
            shutil.rmtree(store)
            open(store, "w").close()
            self.api.answer(401)
            self.assertEqual(self.send(client, self.api.url()).status_code, 200)

    def test_headers_are_attached(self) -> None:
        self.assertEqual(self.get().status_code, 200)
        self.assertEqual(self.authorizations(), [self.token.authorization])
        self.assertEqual(self.client.counter("requests"), 1)

    def test_401_is_tried_once_more_with_another_token(self) -> None:
        self.api.answer(401, b"no")
        answer = self.get()
        self.assertEqual((answer.status_code, [one.status_code for one in answer.history]), (200, [401]))
        self.assertEqual(self.authorizations(), [self.token.authorization, self.client.authorization()])
        self.assertNotEqual(self.client.authorization(), self.token.authorization)
        self.assertEqual(answer.request.headers["Authorization"], self.client.authorization())
        self.assertEqual(self.client.counter("requests"), 2)

    def test_second_try_takes_the_same_connection(self) -> None:
        self.api.answer(401, b"no" * 100_000)
        self.assertEqual((self.get().status_code, len(self.api.seen), self.api.connections), (200, 2, 1))

    def test_second_401_is_the_caller_s(self) -> None:
        self.api.answer(401, b"first")
        self.api.answer(401, b"second")
        answer = self.get()
        self.assertEqual((answer.status_code, answer.content, len(self.api.seen)), (401, b"second", 2))

    def test_token_that_stays_in_service_is_not_tried_again(self) -> None:
        self.api.answer(401)
        self.get()  # what replaced a rejected token lately is not replaced
        self.api.answer(401)
        self.assertEqual((self.get().status_code, len(self.api.seen)), (401, 3))
        self.assertEqual(self.client.counter("requests"), 2)

    def test_other_answers_are_left_alone(self) -> None:
        for status in (200, 204, 400, 403, 500):
            self.api.answer(status)
            self.assertEqual(self.get().status_code, status)
        self.assertEqual(self.authorizations(), [self.token.authorization] * 5)

    def test_body_in_memory_is_sent_again(self) -> None:
        for name, content in self.in_memory.items():
            with self.subTest(name):
                self.client.close()
                self.client = self.new_client(**{"header.X-Case": name})
                del self.api.seen[:]
                self.api.answer(401)
                self.assertEqual(self.send(self.client, self.api.url(), **content).status_code, 200)
                first, second = self.api.seen
                self.assertTrue(first.body)
                self.assertEqual(second.body, first.body)

    def streamed(self) -> dict[str, dict[str, Any]]:
        return {"a generator": {self.content: (part for part in [b"on", b"ce"])}}

    def test_streamed_body_is_not_sent_again_but_its_token_is_replaced(self) -> None:
        for name, content in self.streamed().items():
            with self.subTest(name):
                self.client.close()
                self.client = self.new_client(**{"header.X-Case": name})
                rejected = self.client.token()
                del self.api.seen[:]
                self.api.answer(401, b"no")
                answer = self.send(self.client, self.api.url(), **content)
                self.assertEqual((answer.status_code, answer.content, len(self.api.seen)), (401, b"no", 1))
                self.assertIn(b"once", self.api.seen[0].body)
                self.assertNotEqual(self.client.token().value, rejected.value)

    def test_error_of_the_provider_is_the_caller_s(self) -> None:
        provider = Api(self)
        provider.answer(200, b'{"access_token": "canary-token-first", "expires_in": 3600}')
        provider.answer(400, b'{"error": "invalid_client"}')
        self.api.answer(401, b"no")
        client = self.new_client(token_url=provider.url())
        with self.assertRaises(tokauth.TokauthError) as caught:
            self.send(client, self.api.url())
        self.assertEqual(caught.exception.status, tokauth.ERR_DENIED)
        self.assertEqual((len(self.api.seen), len(provider.seen)), (1, 2))
        with self.assertRaises(tokauth.TokauthError):  # the first try of the next request
            self.send(client, self.api.url())
        self.assertEqual((len(self.api.seen), len(provider.seen)), (1, 2))

    def test_401_after_a_redirect_within_the_api_is_tried_once_more(self) -> None:
        self.api.answer(302, Location="/there")
        self.api.answer(401)
        self.assertEqual(self.get().status_code, 200)
        fresh = self.client.authorization()
        self.assertNotEqual(fresh, self.token.authorization)
        self.assertEqual(self.authorizations(), [self.token.authorization, self.token.authorization, fresh])

    def test_what_the_api_answered_with_a_redirect_is_not_sent_again(self) -> None:
        self.api.answer(303, Location="/there")
        self.api.answer(401)
        self.assertEqual(self.send(self.client, self.api.url(), **self.in_memory["bytes"]).status_code, 200)
        sent = [(seen.path, seen.body) for seen in self.api.seen]
        self.assertEqual(sent, [("/", b"once"), ("/there", b""), ("/there", b"")])

    def test_redirect_after_the_second_try_has_the_new_token(self) -> None:
        self.api.answer(401)
        self.api.answer(302, Location="/there")
        self.assertEqual(self.get().status_code, 200)
        fresh = self.client.authorization()
        self.assertEqual(self.authorizations(), [self.token.authorization, fresh, fresh])
        self.assertEqual(self.api.seen[-1].path, "/there")

    def test_another_host_gets_no_authorization_and_says_nothing_of_the_token(self) -> None:
        other = Api(self)
        other.answer(401, b"elsewhere")
        self.api.answer(302, Location=other.url("/there", "localhost"))
        answer = self.get()
        self.assertEqual((answer.status_code, answer.content), (401, b"elsewhere"))
        self.assertEqual([(seen.path, seen.headers.get("authorization")) for seen in other.seen], [("/there", None)])
        self.assertEqual(self.client.token().value, self.token.value)
        self.assertEqual(self.client.counter("requests"), 1)

    def test_way_back_from_another_host_says_nothing_of_the_token(self) -> None:
        other = Api(self)
        self.api.answer(302, Location=other.url("/there", "localhost"))
        other.answer(302, Location=self.api.url("/"))
        self.api.answer(401)
        self.assertEqual((self.get().status_code, len(self.api.seen)), (401, 2))
        self.assertEqual(self.authorizations(), [self.token.authorization, None])
        self.assertEqual(self.client.counter("requests"), 1)

    def redirect_with_an_access_key(self) -> tuple[Any, Api]:
        """What comes of it where the API needs more headers than Authorization, and who is redirected to."""
        client, other = self.new_client("EVENTHOS_"), Api(self)
        self.api.answer(302, Location=other.url("/there", "localhost"))
        answer = self.send(client, self.api.url())
        self.assertEqual(self.api.seen[0].headers["access-key"], client.headers()["access-key"])
        return answer, other


class Requests(Adapter, unittest.TestCase):
    content = "data"
    in_memory = {
        "bytes": {"data": b"once"},
        "str": {"data": "once"},
        "a form": {"data": {"once": "twice"}},
        "json": {"json": {"once": "twice"}},
        "multipart": {"files": {"once": b"twice"}},
    }

    def setUp(self) -> None:
        super().setUp()
        self.session = requests.Session()
        self.addCleanup(self.session.close)

    def streamed(self) -> dict[str, dict[str, Any]]:
        return {**super().streamed(), "a file": {"data": io.BytesIO(b"once")}}

    def send(self, client: tokauth.Client, url: str, **content: Any) -> requests.Response:
        method = "POST" if content else "GET"
        return self.session.request(method, url, auth=tokauth.RequestsAuth(client), timeout=LIMIT_S, **content)

    def test_another_host_gets_no_header(self) -> None:
        answer, other = self.redirect_with_an_access_key()
        self.assertEqual((answer.status_code, len(other.seen)), (200, 1))
        self.assertNotIn("access-key", other.seen[0].headers)
        self.assertIn("access-key", answer.history[0].request.headers)  # what was sent is told

    def test_redirect_followed_by_hand_takes_no_header_to_another_host(self) -> None:
        client, other = self.new_client("EVENTHOS_"), Api(self)
        self.api.answer(302, Location=other.url("/there", "localhost"))
        auth = tokauth.RequestsAuth(client)
        answer = self.session.get(self.api.url(), auth=auth, allow_redirects=False)
        self.session.send(answer.next)
        self.assertFalse({"access-key", "authorization"} & set(other.seen[0].headers))

    def test_headers_follow_within_the_api(self) -> None:
        client = self.new_client("EVENTHOS_")
        self.api.answer(302, Location="/there")
        self.send(client, self.api.url())
        keys = [seen.headers.get("access-key") for seen in self.api.seen]
        self.assertEqual(keys, [client.headers()["access-key"]] * 2)

    def test_history_tells_what_was_sent(self) -> None:
        self.api.answer(401, b"no")
        answer = self.get()
        self.assertEqual(answer.history[0].content, b"no")
        self.assertEqual(answer.history[0].request.headers["Authorization"], self.token.authorization)

    def test_prepared_request_may_be_sent_often(self) -> None:
        auth = tokauth.RequestsAuth(self.client)
        request = self.session.prepare_request(requests.Request("GET", self.api.url(), auth=auth))
        self.api.answer(401)
        for _ in range(2):
            self.assertEqual(self.session.send(request).status_code, 200)
        fresh = self.client.token()
        self.assertEqual(self.authorizations(), [self.token.authorization] + [fresh.authorization] * 2)
        self.api.answer(401)
        with mock.patch.object(self.client, "invalidate") as invalidate:
            self.assertEqual(self.session.send(request).status_code, 401)
        self.assertEqual(invalidate.call_args[0][0].value, fresh.value)


class Httpx(Adapter, unittest.TestCase):
    content = "content"
    in_memory = {
        "bytes": {"content": b"once"},
        "str": {"content": "once"},
        "a form": {"data": {"once": "twice"}},
        "json": {"json": {"once": "twice"}},
    }

    def setUp(self) -> None:
        super().setUp()
        self.httpx = httpx.Client(trust_env=False, follow_redirects=True, timeout=LIMIT_S, limits=LIMITS)
        self.addCleanup(self.httpx.close)

    def streamed(self) -> dict[str, dict[str, Any]]:
        return {
            **super().streamed(),
            "a file": {"content": io.BytesIO(b"once")},
            "multipart": {"files": {"once": b"once"}},
        }

    def send(self, client: tokauth.Client, url: str, **content: Any) -> httpx.Response:
        method = "POST" if content else "GET"
        return self.httpx.request(method, url, auth=tokauth.HttpxAuth(client), **content)

    def test_httpx_takes_no_header_but_authorization_away(self) -> None:
        _, other = self.redirect_with_an_access_key()
        self.assertEqual({"access-key", "authorization"} & set(other.seen[0].headers), {"access-key"})

    def test_nothing_goes_to_another_host_unless_redirects_are_followed(self) -> None:
        self.httpx.follow_redirects = False  # as it is by default
        answer, other = self.redirect_with_an_access_key()
        self.assertEqual((answer.status_code, other.seen), (302, []))


class AsyncHttpx(Adapter, unittest.TestCase):
    content = "content"
    in_memory = Httpx.in_memory

    def streamed(self) -> dict[str, dict[str, Any]]:
        async def parts() -> AsyncIterator[bytes]:
            yield b"on"
            yield b"ce"

        return {"a generator": {"content": parts()}, "multipart": {"files": {"once": b"once"}}}

    def send(self, client: tokauth.Client, url: str, **content: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(
                trust_env=False, follow_redirects=True, timeout=LIMIT_S, limits=LIMITS
            ) as session:
                method = "POST" if content else "GET"
                return await session.request(method, url, auth=tokauth.HttpxAuth(client), **content)

        return asyncio.run(ask())

    def test_event_loop_runs_while_tokens_are_asked_for(self) -> None:
        async def ask() -> list[int]:
            # Provider and API are this very loop: it would never answer if it had to wait.
            provider, api = [], []

            async def play(seen: list[bytes], answers: list[bytes], reader: Any, writer: Any) -> None:
                seen.append(await reader.readuntil(b"\r\n\r\n"))
                status, body = (answers.pop(0) if answers else b"200|").split(b"|")
                head = b"HTTP/1.1 %s X\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
                writer.write(head + body)
                await writer.drain()
                writer.close()

            tokens = [b'200|{"access_token": "canary-token-%d", "expires_in": 3600}' % number for number in (1, 2)]
            plays = ((provider, tokens), (api, [b"401|no"]))
            servers = [
                await asyncio.start_server(lambda *streams, play_=play_: play(*play_, *streams), "127.0.0.1", 0)
                for play_ in plays
            ]
            urls = [f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/" for server in servers]
            auth = tokauth.HttpxAuth(self.new_client(token_url=urls[0]))
            async with httpx.AsyncClient(trust_env=False, auth=auth, timeout=LIMIT_S) as session:
                answer = await session.get(urls[1])
            for server in servers:
                server.close()
                await server.wait_closed()
            return [answer.status_code, len(provider), len(api)]

        self.assertEqual(asyncio.run(ask()), [200, 2, 2])

    def test_kept_token_needs_no_thread(self) -> None:
        self.client.token()  # since now its generation is known
        with mock.patch("tokauth._in_thread", side_effect=AssertionError):
            self.assertEqual(self.get().status_code, 200)

    def test_cancelled_caller_does_not_wait_for_the_provider(self) -> None:
        async def ask() -> str:
            asked, cancelled, closed = asyncio.Event(), asyncio.Event(), asyncio.Event()

            async def provide(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await reader.readuntil(b"\r\n\r\n")
                asked.set()
                await cancelled.wait()
                body = b'{"access_token": "canary-token-late", "expires_in": 3600}'
                writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
                writer.close()
                closed.set()

            server = await asyncio.start_server(provide, "127.0.0.1", 0)
            client = self.new_client(token_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
            async with httpx.AsyncClient(trust_env=False, auth=tokauth.HttpxAuth(client), timeout=LIMIT_S) as session:
                call = asyncio.ensure_future(session.get(self.api.url()))
                await asked.wait()
                call.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await call
                cancelled.set()
                await closed.wait()
            server.close()
            await server.wait_closed()
            # The thread's request was not in vain.
            return (await asyncio.get_running_loop().run_in_executor(None, client.token)).value

        self.assertEqual(asyncio.run(ask()), "canary-token-late")
        self.assertEqual(self.api.seen, [])


if __name__ == "__main__":
    unittest.main()
