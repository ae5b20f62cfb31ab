"""Python binding of libtokauth: machine-to-machine access tokens, asked for once and reused.

    with tokauth.Client(provider="calenso", client_id="...", client_secret_file="/run/secrets/calenso") as client:
        urllib.request.Request(url, headers=client.headers())

One file, Python 3.8 or newer, no other package. The shared library is taken from load(path), else from the environment
variable LIBTOKAUTH_PATH, else from beside this file, where the wheel has it, else from where the system looks for
libraries. In a coroutine: await asyncio.to_thread(client.token).
"""

from __future__ import annotations

import itertools
import os
import sys
from ctypes import CDLL, CFUNCTYPE, POINTER, PyDLL, byref, c_char, c_char_p, c_int32, c_int64, c_size_t, c_uint32
from ctypes import c_uint64, c_void_p

TYPE_CHECKING = False  # type checkers know better; to import typing would take longer than all the rest
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from typing import Any, NoReturn

    import httpx
    import requests

# The macros of tokauth.h, without their prefix.
OK = 0
ERR_INVALID_ARGUMENT, ERR_CONFIG, ERR_BUFFER_TOO_SMALL, ERR_UNSUPPORTED, ERR_NOT_CACHED = 1, 2, 3, 4, 5
ERR_NETWORK, ERR_TIMEOUT, ERR_TLS = 10, 11, 12
ERR_DENIED, ERR_RATE_LIMITED, ERR_SERVER, ERR_BAD_RESPONSE = 20, 21, 22, 23
ERR_QUOTA, ERR_STORE = 30, 31
ERR_INTERNAL = 90
CACHED_ONLY, FORCE_REFRESH = 1, 2
COUNT_REQUESTS, COUNT_REFRESHES_AHEAD, COUNT_FAILURES, COUNT_STORE_HITS, COUNT_WAITS = 1, 2, 3, 4, 5

_LogFn = CFUNCTYPE(None, c_void_p, c_int32, c_char_p)
_DestroyFn = CFUNCTYPE(None, c_void_p)
_OUT = POINTER(c_void_p)
_SIZE = POINTER(c_size_t)
_INT64 = POINTER(c_int64)

# Every function of tokauth.h: what it returns, what it takes. Without this, ctypes cuts pointers to 32 bits.
_FUNCTIONS = {
    "tokauth_version_number": (c_uint32,),
    "tokauth_version_string": (c_char_p,),
    "tokauth_status_name": (c_char_p, c_int32),
    "tokauth_provider_count": (c_size_t,),
    "tokauth_provider_name": (c_char_p, c_size_t),
    "tokauth_config_new": (c_void_p,),
    "tokauth_config_free": (None, c_void_p),
    "tokauth_config_set": (c_int32, c_void_p, c_char_p, c_char_p, _OUT),
    "tokauth_config_load_env": (c_int32, c_void_p, c_char_p, _OUT),
    "tokauth_config_load_json": (c_int32, c_void_p, c_char_p, _OUT),
    "tokauth_config_set_log": (c_int32, c_void_p, _LogFn, c_void_p, _DestroyFn),
    "tokauth_client_new": (c_int32, c_void_p, _OUT, _OUT),
    "tokauth_client_with": (c_int32, c_void_p, c_char_p, c_char_p, _OUT, _OUT),
    "tokauth_client_clone": (c_void_p, c_void_p),
    "tokauth_client_free": (None, c_void_p),
    "tokauth_client_token": (c_int32, c_void_p, c_uint32, _OUT, _OUT),
    "tokauth_client_copy_authorization": (c_int32, c_void_p, c_uint32, POINTER(c_char), c_size_t, _SIZE, _OUT),
    "tokauth_client_invalidate": (c_int32, c_void_p, c_void_p, _OUT),
    "tokauth_client_clear": (c_int32, c_void_p, _OUT),
    "tokauth_client_counter": (c_uint64, c_void_p, c_uint32),
    "tokauth_client_generation": (c_uint64, c_void_p),
    "tokauth_client_budget": (c_int32, c_void_p, _INT64, _INT64, _OUT),
    "tokauth_token_value": (c_char_p, c_void_p, _SIZE),
    "tokauth_token_authorization": (c_char_p, c_void_p, _SIZE),
    "tokauth_token_header_count": (c_size_t, c_void_p),
    "tokauth_token_header_name": (c_char_p, c_void_p, c_size_t),
    "tokauth_token_header_value": (c_char_p, c_void_p, c_size_t),
    "tokauth_token_type": (c_char_p, c_void_p),
    "tokauth_token_scope": (c_char_p, c_void_p),
    "tokauth_token_expires_at": (c_int64, c_void_p),
    "tokauth_token_clone": (c_void_p, c_void_p),
    "tokauth_token_free": (None, c_void_p),
    "tokauth_error_status": (c_int32, c_void_p),
    "tokauth_error_message": (c_char_p, c_void_p),
    "tokauth_error_provider_code": (c_char_p, c_void_p),
    "tokauth_error_http_status": (c_int32, c_void_p),
    "tokauth_error_retry_after_ms": (c_int64, c_void_p),
    "tokauth_error_free": (None, c_void_p),
}

_lib: CDLL | None = None
_generation: Callable[[object], int]


def load(path: str | None = None) -> CDLL:
    """Loads the library, from `path` if given. Happens by itself at the first use; later calls return the same library.

    Raises ImportError if there is no library, or an older one, and ValueError for a path after the library is loaded.
    """
    global _lib, _generation
    if _lib is not None:
        if path is not None:
            raise ValueError("libtokauth is loaded already")
        return _lib
    path = path or os.environ.get("LIBTOKAUTH_PATH") or _find()
    try:
        lib = CDLL(path)
        for name, (result, *arguments) in _FUNCTIONS.items():
            function = getattr(lib, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise ImportError(f"libtokauth cannot be used: {error}", path=path) from error
    # It never blocks, so giving up the GIL for it would only cost; so would converting what is a c_void_p already.
    _generation = PyDLL(path).tokauth_client_generation
    _generation.restype = c_uint64
    _lib = lib
    return lib


def _find() -> str:
    name = {"win32": "tokauth.dll", "darwin": "libtokauth.dylib"}.get(sys.platform, "libtokauth.so")
    beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), name)
    if os.path.exists(beside):
        return beside
    from ctypes.util import find_library  # slow to import, and seldom needed

    found = find_library("tokauth")
    if found is None:
        raise ImportError(f"{name} not found: call load(path), set LIBTOKAUTH_PATH, or put it beside {__file__}")
    return found


class TokauthError(Exception):
    """A failed call: what tokauth_error_*() tell."""

    def __init__(
        self,
        status: int,
        status_name: str,
        message: str,
        provider_code: str | None = None,
        http_status: int = 0,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(status, status_name, message, provider_code, http_status, retry_after)
        self.status = status  #: one of ERR_*
        self.status_name = status_name  #: such as "TOKAUTH_ERR_DENIED"
        self.message = message  #: one line, without secrets
        self.provider_code = provider_code  #: the provider's own code, such as "invalid_client"
        self.http_status = http_status  #: 0 if there was no answer
        self.retry_after = retry_after  #: seconds of pause, in which nothing is sent; 0: none is left, None: none began

    def __str__(self) -> str:
        return f"{self.status_name}: {self.message}"


class _Handle(c_void_p):
    """Owns a C object and frees it with the last reference: close() never pulls it from under another thread's call."""

    def __init__(self, noun: str, value: int | None = None) -> None:
        super().__init__(value)
        self._free = getattr(load(), f"tokauth_{noun}_free")

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        # At the interpreter's end the log callback's module is gone already, and the process takes the rest.
        if self and not is_finalizing():
            self._free(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("clients and tokens cannot be pickled: make a client in each process, and ask it for a token")


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def _bytes(what: str, value: str | int | None) -> bytes | None:
    """An option's name or value for C, which would silently cut a text at a NUL."""
    if value is None:
        return None
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if not isinstance(value, (str, int)):
        raise TypeError(f"{what} must be str, int, bool or None, not {type(value).__name__}")
    text = str(value)
    if "\0" in text:
        raise ValueError(f"{what} contains a NUL character")
    return text.encode()


def _call(name: str, *arguments: object) -> None:
    """Calls a function that ends in `out_error`."""
    lib, error = load(), _Handle("error")
    status = getattr(lib, name)(*arguments, byref(error))
    if status != OK:
        retry_after_ms = lib.tokauth_error_retry_after_ms(error)
        raise TokauthError(
            status,
            lib.tokauth_status_name(status).decode(),
            lib.tokauth_error_message(error).decode(),
            _text(lib.tokauth_error_provider_code(error)),
            lib.tokauth_error_http_status(error),
            None if retry_after_ms < 0 else retry_after_ms / 1000,
        )


def _make(noun: str, name: str, *arguments: object) -> _Handle:
    """Calls a function that ends in an output and `out_error`."""
    handle = _Handle(noun)
    _call(name, *arguments, byref(handle))
    return handle


_loggers: dict[int, Callable[[int, str], None]] = {}
_logger_ids = itertools.count(1)


def _log(logger: int, level: int, message: bytes) -> None:
    _loggers[logger](level, message.decode())


_c_log = _LogFn(_log)
_c_forget_logger = _DestroyFn(_loggers.__delitem__)


class Token:
    """An access token. Immutable; may be shared between threads. It stays readable after its client is closed."""

    def __init__(self, handle: c_void_p) -> None:
        lib = load()
        names = (lib.tokauth_token_header_name, lib.tokauth_token_header_value)
        self._handle = handle
        self.value: str = lib.tokauth_token_value(handle, None).decode()
        #: The value of the Authorization header; None where the API takes no such header.
        self.authorization = _text(lib.tokauth_token_authorization(handle, None))
        #: All headers an API call needs.
        self.headers: dict[str, str] = dict(
            tuple(part(handle, index).decode() for part in names)
            for index in range(lib.tokauth_token_header_count(handle))
        )
        self.type: str = lib.tokauth_token_type(handle).decode()
        self.scope = _text(lib.tokauth_token_scope(handle))  #: None if the server did not say
        self.expires_at: int = lib.tokauth_token_expires_at(handle)  #: Unix seconds, for people to read

    def __repr__(self) -> str:
        return f"<Token type={self.type!r} scope={self.scope!r} expires_at={self.expires_at}>"


class Client:
    """One credential at one provider, and its token. May be shared between threads; clients with equal options share.

    Keywords are the library's options: str, int or bool; None leaves one out. Names with a dot come from a dict:
    Client(provider="oauth2", **{"param.tenant": "blue"}). Creating a client touches files but not the network,
    unless its store is in Redis.

    log(level, message) gets each log line, on any thread; level is 1 error, 2 warning, 3 info, 4 debug. Let no daemon
    thread be inside such a client when the interpreter ends: CPython ends a thread that calls back then, and with it
    the process.
    """

    def __init__(self, *, log: Callable[[int, str], None] | None = None, **options: str | int | None) -> None:
        self._open(_Handle("config", load().tokauth_config_new()), log, options)

    @classmethod
    def from_env(
        cls, prefix: str | None = None, *, log: Callable[[int, str], None] | None = None, **options: str | int | None
    ) -> Client:
        """A client with the options of the environment, `prefix` ("TOKAUTH_") + upper case; keywords win."""
        config = _Handle("config", load().tokauth_config_new())
        _call("tokauth_config_load_env", config, _bytes("prefix", prefix))
        client = cls.__new__(cls)
        client._open(config, log, options)
        return client

    def _open(self, config: _Handle, log: Callable[[int, str], None] | None, options: dict[str, Any]) -> None:
        for name, value in options.items():
            _call("tokauth_config_set", config, _bytes("a name", name), _bytes(name, value))
        if log is not None:
            logger = next(_logger_ids)
            _loggers[logger] = log
            load().tokauth_config_set_log(config, _c_log, logger, _c_forget_logger)
        self._adopt(_make("client", "tokauth_client_new", config))

    def _adopt(self, handle: _Handle | None) -> None:
        self._handle = handle
        # What authorization() looks at, all at once: the token last seen, its generation (0 means none to the library), its
        # Authorization header; and what ctypes passes to C without converting, with the handle that must outlive the call.
        self._kept: tuple[int, Token | None, str | None, _Handle | None, object]
        self._kept = (-1, None, None, handle, c_void_p.from_param(handle and handle.value))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the client up; calls in other threads finish. Later ones fail with ERR_INVALID_ARGUMENT."""
        self._adopt(None)

    def token(self, cached_only: bool = False, force_refresh: bool = False) -> Token:
        """A usable token: the kept one, or a new one. Blocks for at most the option timeout_ms.

        cached_only never sends or waits (ERR_NOT_CACHED); force_refresh asks anew, for a person who presses a button,
        unless a pause after a failure runs or a rejected token was replaced lately.
        """
        kept, token, _, handle, argument = self._kept
        generation = _generation(argument)
        if generation == kept and token is not None and not force_refresh:
            return token
        flags = CACHED_ONLY * cached_only | FORCE_REFRESH * force_refresh
        token = Token(_make("token", "tokauth_client_token", handle, flags))
        # The token may belong to an older generation, or the client be closed by now.
        if generation and generation == _generation(argument) and handle is self._handle:
            self._kept = (generation, token, token.authorization, handle, argument)
            if handle is not self._handle:  # closed in between
                self._adopt(self._handle)
        return token

    def _kept_token(self) -> Token | None:
        """The token that token() would return without a wait."""
        generation, token, _, _handle, argument = self._kept
        return token if generation == _generation(argument) else None

    def authorization(self) -> str:
        """The value of the Authorization header: the same str while the token is good. Blocks as token()."""
        generation, _, text, _handle, argument = self._kept
        if generation == _generation(argument) and text is not None:
            return text
        token = self.token()
        if token.authorization is None:
            message = "this provider's API takes no Authorization header; use headers()"
            raise TokauthError(ERR_UNSUPPORTED, "TOKAUTH_ERR_UNSUPPORTED", message)
        return token.authorization

    def headers(self) -> dict[str, str]:
        """All headers an API call needs, in a dict of the caller's own. Blocks as token()."""
        return dict(self.token().headers)

    def with_options(self, **options: str | int | None) -> Client:
        """A sibling with other options, for example another scope; None removes one. It shares credential and log."""
        handle = _Handle("client", load().tokauth_client_clone(self._handle))
        for name, value in options.items():
            handle = _make("client", "tokauth_client_with", handle, _bytes("a name", name), _bytes(name, value))
        sibling = type(self).__new__(type(self))
        sibling._adopt(handle)
        return sibling

    def invalidate(self, token: Token) -> None:
        """Tells that an API rejected `token`: if it is still the latest, token() asks for another.

        A token that itself replaced a rejected one lately stays in service.
        """
        _call("tokauth_client_invalidate", self._handle, token._handle)

    def clear(self) -> None:
        """Forgets the token and the failures."""
        _call("tokauth_client_clear", self._handle)

    def counter(self, which: str | int) -> int:
        """How often it happened: COUNT_REQUESTS or "requests", and so on. Unknown numbers read 0."""
        number = globals()[f"COUNT_{which.upper()}"] if isinstance(which, str) else which
        count: int = load().tokauth_client_counter(self._handle, number)
        return count

    def budget(self) -> tuple[int | None, int | None]:
        """(requests left, or None without a budget; Unix seconds of the next one, or None if it may be sent now)."""
        remaining, next_at = c_int64(), c_int64()
        _call("tokauth_client_budget", self._handle, byref(remaining), byref(next_at))
        return (None if remaining.value < 0 else remaining.value, next_at.value or None)


def providers() -> list[str]:
    """The names of the built-in providers."""
    lib = load()
    return [lib.tokauth_provider_name(index).decode() for index in range(lib.tokauth_provider_count())]


def version() -> str:
    """The version of the library, such as "0.1.0"."""
    text: bytes = load().tokauth_version_string()
    return text.decode()


class RequestsAuth:
    """For requests, as `auth=`: attaches the headers, and asks once more with another token after a 401.

        requests.get(url, auth=tokauth.RequestsAuth(client))

    Only no body, bytes and str are sent again; after a 401 for another body, the next request has another token.
    TokauthError if no token can be had, for the second try too. A redirect takes the headers along where requests lets
    Authorization go: not to another host; a prepared request that went there must be prepared anew.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        from urllib.parse import urljoin

        from requests.sessions import SessionRedirectMixin

        redirects: Any = SessionRedirectMixin()
        token = self._client.token()
        request.headers.update(token.headers)

        def answered(response: requests.Response, **options: Any) -> requests.Response:
            nonlocal token
            sent = response.request  # also what a redirect will be a copy of
            if response.status_code == 401 and _carries(sent, token):
                fresh = _replace(self._client, token, isinstance(sent.body, (type(None), bytes, str)))
                if fresh is not None:
                    response.content  # read to its end, so that the connection can serve again
                    response.close()
                    response.request = sent.copy()
                    token = fresh
                    sent.headers.update(token.headers)
                    rejected, response = response, response.connection.send(sent, **options)
                    response.history.append(rejected)
            target = redirects.get_redirect_target(response)
            if target and redirects.should_strip_auth(response.url, urljoin(response.url, target)):
                response.request = sent.copy()
                for name in token.headers:
                    sent.headers.pop(name, None)
            return response

        request.hooks["response"].append(answered)
        return request


def HttpxAuth(client: Client) -> httpx.Auth:
    """For httpx, as `auth=`: attaches the headers, and asks once more with another token after a 401.

        httpx.get(url, auth=tokauth.HttpxAuth(client))

    Only a body that httpx has in memory is sent again: none, content= of bytes or str, data=, json=; after a 401 for
    another, the next request has another token. TokauthError if no token can be had, for the second try too.
    httpx.AsyncClient waits for tokens in a thread; one that is kept costs none.

    With follow_redirects=True httpx takes Authorization away from what goes to another host, but no other header.
    """
    import httpx

    class ClientAuth(httpx.Auth):
        def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
            token = client.token()
            request.headers.update(token.headers)
            response = yield request
            sent = response.request  # not what was redirected, which the API may have acted on
            if response.status_code == 401 and _carries(sent, token):
                fresh = _replace(client, token, isinstance(sent.stream, httpx.ByteStream))
                if fresh is not None:
                    sent.headers.update(fresh.headers)
                    yield sent

        async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
            token = client._kept_token() or await _in_thread(client.token)
            request.headers.update(token.headers)
            response = yield request
            sent = response.request
            if response.status_code == 401 and _carries(sent, token):
                fresh = await _in_thread(_replace, client, token, isinstance(sent.stream, httpx.ByteStream))
                if fresh is not None:
                    sent.headers.update(fresh.headers)
                    yield sent

    return ClientAuth()


async def _in_thread(function: Callable[..., Any], *arguments: object) -> Any:
    """For asyncio and trio alike."""
    from anyio import to_thread  # which httpx brings

    return await to_thread.run_sync(function, *arguments)


def _carries(request: requests.PreparedRequest | httpx.Request, token: Token) -> bool:
    """False after a redirect elsewhere: what is answered there says nothing about the token."""
    return all(request.headers.get(name) == value for name, value in token.headers.items())


def _replace(client: Client, rejected: Token, replayable: bool) -> Token | None:
    """The token to try again with; None if the request cannot be sent again, or there is no other token."""
    try:
        client.invalidate(rejected)
    except TokauthError:
        pass  # a store could not be told; this process knows all the same
    if not replayable:
        return None
    token = client.token()
    return None if token.value == rejected.value else token
