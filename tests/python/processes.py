"""multiprocessing over the binding, and what else Python does to a process: Ctrl-C in a call, dlclose().

A working client's options are expected in the environment (TOKAUTH_*); every request must bring a new token. At
SILENT_URL nobody answers.
"""

from __future__ import annotations

import _ctypes
import ctypes
import multiprocessing
import os
import signal
import threading
import time

import tokauth

LIMIT_S = 180
PROCESSES = 4

inherited = None  # the parent's client, in a child of fork


def own_token(_: int) -> str:
    with tokauth.Client.from_env() as client:
        return client.token().value


def both_tokens(_: int) -> tuple[str, str]:
    kept = inherited.token().value
    inherited.clear()
    return kept, inherited.token().value


def processes(method: str):
    return multiprocessing.get_context(method).Pool(PROCESSES)


def children_use_the_parents_client() -> None:
    token = inherited.token().value
    with processes("fork") as pool:
        answers = pool.map_async(both_tokens, range(1)).get(LIMIT_S)
    assert answers[0][0] == token, "the child has the token of its parent"
    assert answers[0][1] != token, "and gets another"
    assert inherited.token().value == token, "the parent keeps its own"


def children_make_clients(method: str) -> None:
    with processes(method) as pool:
        assert all(pool.map_async(own_token, range(3 * PROCESSES)).get(LIMIT_S)), method


def clients_are_not_sent_to_children() -> None:
    try:
        multiprocessing.get_context("spawn").Process(target=own_token, args=(inherited,)).start()
        raise AssertionError("a child")
    except TypeError as error:
        assert "make a client in each process" in str(error), error


def children_are_forked_from_under_threads() -> None:
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            inherited.clear()
            inherited.token()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            with processes("fork") as pool:
                assert all(pool.map_async(both_tokens, range(PROCESSES)).get(LIMIT_S))
                assert all(pool.map_async(own_token, range(PROCESSES)).get(LIMIT_S))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert inherited.token().value


def times_out(client: tokauth.Client) -> None:
    try:
        client.token()
        raise AssertionError("a token")
    except tokauth.TokauthError as error:
        assert error.status == tokauth.ERR_TIMEOUT, error


def ctrl_c_ends_a_call_at_its_deadline() -> None:
    began, ended = time.monotonic(), threading.Event()

    def interrupt() -> None:
        while client.counter("requests") == 0 and not ended.is_set():
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    with inherited.with_options(token_url=os.environ["SILENT_URL"], timeout_ms=1000) as client:
        thread = threading.Thread(target=interrupt)
        thread.start()
        try:
            times_out(client)
            ended.set()  # on a busy machine before the signal
            thread.join()
            raise AssertionError("no interrupt")
        except KeyboardInterrupt:
            assert time.monotonic() - began >= 1
        thread.join()
        times_out(client)


def library_stays_when_it_is_closed_under_a_call() -> None:
    errors = []

    def wait_in_vain() -> None:
        try:
            with inherited.with_options(token_url=os.environ["SILENT_URL"], timeout_ms=500) as client:
                client.token()
        except tokauth.TokauthError as error:
            errors.append(error.status)

    thread = threading.Thread(target=wait_in_vain)
    thread.start()
    libraries = [ctypes.CDLL(tokauth.load()._name)._handle] * 3  # the binding has opened it twice
    for handle in libraries:
        _ctypes.dlclose(handle)
    thread.join()
    assert errors == [tokauth.ERR_TIMEOUT], errors
    assert inherited.token().value


def main() -> None:
    global inherited
    signal.alarm(5 * LIMIT_S)
    inherited = tokauth.Client.from_env()
    children_use_the_parents_client()
    for method in multiprocessing.get_all_start_methods():
        children_make_clients(method)
    clients_are_not_sent_to_children()
    children_are_forked_from_under_threads()
    ctrl_c_ends_a_call_at_its_deadline()
    library_stays_when_it_is_closed_under_a_call()
    print("done")


if __name__ == "__main__":
    main()
