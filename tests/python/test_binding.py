"""The Python binding, as a single file or as the installed package, against tokauth.h and the library.

A working client's options are expected in the environment (TOKAUTH_*), the secret as TOKAUTH_CLIENT_SECRET; the
provider is oauth2, and every request must bring a new token.
"""

from __future__ import annotations

import asyncio
import copy
import ctypes
import gc
import os
import pickle
import re
import subprocess
import sys
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from unittest import mock

import tokauth

ROOT = Path(__file__).resolve().parents[2]
HEADER = (ROOT / "include" / "tokauth.h").read_text()


TYPES = {
    "void": None,
    "int32_t": ctypes.c_int32,
    "int64_t": ctypes.c_int64,
    "uint32_t": ctypes.c_uint32,
    "uint64_t": ctypes.c_uint64,
    "size_t": ctypes.c_size_t,
    "tokauth_status": ctypes.c_int32,
    "const char *": ctypes.c_char_p,
    "char *": ctypes.POINTER(ctypes.c_char),
    "void *": ctypes.c_void_p,
    "int64_t *": ctypes.POINTER(ctypes.c_int64),
    "size_t *": ctypes.POINTER(ctypes.c_size_t),
    "tokauth_log_fn": tokauth._LogFn,
    "tokauth_destroy_fn": tokauth._DestroyFn,
}
HANDLES = {1: ctypes.c_void_p, 2: ctypes.POINTER(ctypes.c_void_p)}


def ctype(declared: str) -> Any:
    """What ctypes passes for a type of the header."""
    return TYPES[declared] if declared in TYPES else HANDLES[declared.count("*")]


class Header(unittest.TestCase):
    def test_every_function_is_bound(self) -> None:
        code = re.sub(r"/\*.*?\*/|^\s*#[^\n]*", "", HEADER, flags=re.DOTALL | re.MULTILINE)
        declarations = re.findall(r"^(\w[\w ]*?[ *]+)(tokauth_\w+)\(([^()]*)\);", code, flags=re.MULTILINE)
        functions = {}
        for result, name, parameters in declarations:
            texts = [] if parameters == "void" else [re.sub(r"\w+$", "", text) for text in parameters.split(",")]
            functions[name] = tuple(ctype(text.strip()) for text in (result, *texts))
        self.assertEqual(tokauth._FUNCTIONS, functions)

    def test_every_constant_is_bound(self) -> None:
        macros = re.findall(r"^#define TOKAUTH_((?!VERSION_)\w+) (\d+)$", HEADER, flags=re.MULTILINE)
        bound = {name: value for name, value in vars(tokauth).items() if type(value) is int}
        self.assertEqual(bound, {name: int(value) for name, value in macros})

    def test_version_is_the_headers(self) -> None:
        self.assertIn(f'#define TOKAUTH_VERSION_STRING "{tokauth.version()}"', HEADER)

    def test_providers_are_listed(self) -> None:
        files = {path.stem for path in (ROOT / "src" / "providers").glob("*.json")} - {"schema"}
        self.assertEqual(list(tokauth.providers()), sorted(files))


class Loading(unittest.TestCase):
    def load(self, code: str, **env: str) -> str:
        """The output of a fresh interpreter that has imported the binding."""
        return subprocess.run(
            [sys.executable, "-c", f"import tokauth\n{code}"],
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            text=True,
        ).stdout

    def test_path_is_an_argument(self) -> None:
        path = tokauth.load()._name
        code = f"tokauth.load({path!r}); print(tokauth.version())"
        self.assertEqual(self.load(code, LIBTOKAUTH_PATH="/nowhere"), tokauth.version() + "\n")

    def test_missing_library_is_an_import_error(self) -> None:
        self.assertIn("ImportError: libtokauth cannot be used: ", self.load("tokauth.version()", LIBTOKAUTH_PATH="/no"))

    def test_end_of_the_interpreter_is_quiet_under_live_clients(self) -> None:
        code = """
import threading

client = tokauth.Client.from_env(log=lambda level, message: None)
client.sibling, client.token_kept = client.with_options(scope="other"), client.token()
threading.Thread(target=client.sibling.token).start()  # ends after the main thread
"""
        self.assertEqual(self.load(code), "")

    def test_second_path_is_refused(self) -> None:
        tokauth.load()
        with self.assertRaises(ValueError):
            tokauth.load("/elsewhere/libtokauth.so")


class ClientFlow(unittest.TestCase):
    def client(self, **options: Any) -> tokauth.Client:
        """A client whose token no other test shares."""
        return tokauth.Client.from_env(**{"header.X-Test": self.id(), **options})

    def test_token_is_asked_for_once(self) -> None:
        with self.client() as client:
            first, second = client.token(), client.token()
            self.assertEqual(first.value, second.value)
            self.assertEqual(first.authorization, f"Bearer {first.value}")
            self.assertEqual(first.headers["Authorization"], first.authorization)
            self.assertGreater(first.expires_at, 1_700_000_000)
            self.assertEqual(client.counter("requests"), 1)
            self.assertEqual(client.counter(tokauth.COUNT_FAILURES), 0)
            self.assertEqual(client.counter(4711), 0)

    def test_authorization_is_kept_while_the_generation_holds(self) -> None:
        with self.client() as client:
            client.authorization()  # fetched; which generation it has, only the next call can tell
            kept = client.authorization()
            self.assertIs(client.authorization(), kept)
            renewed = client.token(force_refresh=True)
            self.assertEqual(client.authorization(), renewed.authorization)
            self.assertNotEqual(client.authorization(), kept)
            client.clear()
            self.assertNotEqual(client.authorization(), renewed.authorization)

    def test_headers_belong_to_the_caller(self) -> None:
        with self.client() as client:
            client.headers()["Authorization"] = "mine"
            self.assertEqual(client.headers()["Authorization"], client.authorization())

    def test_token_outlives_its_client(self) -> None:
        with self.client() as client:
            token = client.token()
            other = copy.copy(token)
        del client
        value = token.value
        del token
        gc.collect()
        self.assertEqual(other.value, value)

    def test_closed_client_fails(self) -> None:
        client = self.client()
        client.authorization()
        client.close()
        client.close()
        with self.assertRaises(tokauth.TokauthError) as caught:
            client.authorization()
        self.assertEqual(caught.exception.status, tokauth.ERR_INVALID_ARGUMENT)
        self.assertIsNone(caught.exception.retry_after)

    def test_flags(self) -> None:
        with self.client() as client:
            with self.assertRaises(tokauth.TokauthError) as caught:
                client.token(cached_only=True)
            self.assertEqual(caught.exception.status, tokauth.ERR_NOT_CACHED)
            with self.assertRaises(tokauth.TokauthError):
                client.token(cached_only=True, force_refresh=True)
            self.assertEqual(client.counter("requests"), 0)

    def test_denied_tells_all_but_the_secret(self) -> None:
        secret = "wrong-canary-5c1b7e02d94f"
        with self.client(client_secret=secret) as client, self.assertRaises(tokauth.TokauthError) as caught:
            client.token()
        error = caught.exception
        self.assertEqual((error.status, error.status_name), (tokauth.ERR_DENIED, "TOKAUTH_ERR_DENIED"))
        self.assertEqual((error.provider_code, error.http_status), ("invalid_client", 401))
        self.assertTrue(error.retry_after is None or error.retry_after > 0, error.retry_after)
        self.assertEqual(str(error), f"TOKAUTH_ERR_DENIED: {error.message}")
        self.assertNotIn(secret, repr(error))
        self.assertEqual(pickle.loads(pickle.dumps(error)).__dict__, error.__dict__)  # comes back from a process pool

    def test_options_are_judged(self) -> None:
        with self.assertRaises(tokauth.TokauthError) as caught:
            self.client(clientid="me")
        self.assertEqual(caught.exception.status, tokauth.ERR_CONFIG)
        self.assertIn("client_id", caught.exception.message)
        with self.assertRaises(tokauth.TokauthError):
            self.client(client_id=None)
        with self.assertRaises(TypeError):
            self.client(timeout_ms=2.5)
        self.client(timeout_ms=2500, **{"param.flag": True, "param.none": None}).close()

    def test_nul_is_not_cut_off(self) -> None:
        for options in ({"scope": "read\0write"}, {"header.X\0": "x"}):
            with self.assertRaises(ValueError):
                self.client(**options)
        with self.assertRaises(ValueError):
            tokauth.Client.from_env("TOKAUTH_\0")

    def test_sibling_shares_the_token_unless_it_differs(self) -> None:
        with self.client() as client:
            token = client.token()
            with client.with_options(timeout_ms=5000, min_valid_s=20) as sibling:
                self.assertEqual(sibling.token().value, token.value)
            with client.with_options(scope="other", timeout_ms=5000) as sibling:
                self.assertNotEqual(sibling.token().value, token.value)
                self.assertEqual(sibling.counter("requests"), 1)
            with self.assertRaises(tokauth.TokauthError) as caught:
                client.with_options(scope="other", client_id="me")
            self.assertEqual(caught.exception.status, tokauth.ERR_CONFIG)
            self.assertEqual(client.counter("requests"), 1)

    def test_rejected_token_is_replaced(self) -> None:
        with self.client() as client:
            rejected = client.token()
            client.invalidate(rejected)
            self.assertNotEqual(client.token().value, rejected.value)
            self.assertEqual(client.counter("requests"), 2)

    def test_budget_is_unlimited(self) -> None:
        with self.client() as client:
            self.assertEqual(client.budget(), (None, None))

    def test_clients_and_tokens_stay_in_their_process(self) -> None:
        with self.client() as client:
            for mine in (client, client.token(), tokauth.RequestsAuth(client)):
                with self.assertRaisesRegex(TypeError, "make a client in each process"):
                    pickle.dumps(mine)

    def test_repr_hides_the_token(self) -> None:
        with self.client() as client:
            token = client.token()
            self.assertNotIn(token.value, repr(token))
            self.assertNotIn(token.value, repr(client))

    def test_log_ends_with_its_last_client(self) -> None:
        lines: list[tuple[int, str]] = []
        before = len(tokauth._loggers)
        client = self.client(log=lambda level, message: lines.append((level, message)))
        sibling = client.with_options(scope="other")
        token = client.token()
        self.assertTrue(lines)
        self.assertTrue(all(1 <= level <= 4 for level, _ in lines))
        for secret in (token.value, os.environ["TOKAUTH_CLIENT_SECRET"]):
            self.assertNotIn(secret, str(lines))
        client.close()
        self.assertEqual(len(tokauth._loggers), before + 1)
        sibling.close()
        self.assertEqual(len(tokauth._loggers), before)

    def test_log_that_raises_does_not_escape(self) -> None:
        def log(level: int, message: str) -> None:
            raise RuntimeError(message)

        with mock.patch.object(sys, "unraisablehook") as hook, self.client(log=log) as client:
            client.token()
        self.assertTrue(hook.called)

    def test_threads_share_one_request(self) -> None:
        together = threading.Barrier(50)

        def ask(_: int) -> str:
            together.wait()
            return client.authorization()

        with self.client() as client, ThreadPoolExecutor(50) as pool:
            values = set(pool.map(ask, range(50)))
            self.assertEqual(len(values), 1)
            self.assertEqual(client.counter("requests"), 1)

    def test_calls_run_beside_python(self) -> None:
        began = time.monotonic()

        class Provider(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # in this process, so that it waits in vain if a call keeps Python waiting
                while client.counter("waits") < 7 and time.monotonic() < began + 10:
                    time.sleep(0.001)
                self.rfile.read(int(self.headers["Content-Length"]))
                body = b'{"access_token": "beside", "expires_in": 3600}'
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                pass

        with HTTPServer(("127.0.0.1", 0), Provider) as server, ThreadPoolExecutor(9) as pool:
            serving = pool.submit(server.handle_request)
            with self.client(token_url=f"http://127.0.0.1:{server.server_port}/") as client:
                calls = [pool.submit(client.authorization) for _ in range(8)]
                self.assertEqual({call.result() for call in calls}, {"Bearer beside"})
                self.assertEqual(client.counter("requests"), 1)
            serving.result()

    def test_event_loop_runs_while_a_thread_waits(self) -> None:
        async def provide(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            body = b'{"access_token": "looped", "expires_in": 3600}'
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
            writer.close()

        async def ask() -> set[str]:  # of a provider that this very loop plays
            server = await asyncio.start_server(provide, "127.0.0.1", 0)
            port, loop = server.sockets[0].getsockname()[1], asyncio.get_running_loop()
            with self.client(token_url=f"http://127.0.0.1:{port}/") as client:
                # asyncio.to_thread() since Python 3.9
                tokens = await asyncio.gather(*(loop.run_in_executor(None, client.token) for _ in range(4)))
                self.assertEqual(client.counter("requests"), 1)
            server.close()
            await server.wait_closed()
            return {token.value for token in tokens}

        self.assertEqual(asyncio.run(ask()), {"looped"})

    def test_close_waits_for_no_thread_and_harms_none(self) -> None:
        client = self.client()
        with ThreadPoolExecutor(4) as pool:
            calls = [pool.submit(client.token) for _ in range(4)]
            client.close()
            for call in calls:
                error = call.exception()
                self.assertIn(getattr(error, "status", tokauth.OK), (tokauth.OK, tokauth.ERR_INVALID_ARGUMENT), error)


if __name__ == "__main__":
    unittest.main()
