"""What a call costs in Python. Prints for each row: its name, and nanoseconds per call on 1, 2, 4 and 8 threads."""

import itertools
import os
import statistics
import threading
import time
from ctypes import CDLL, PyDLL, c_uint32, c_void_p
from functools import partial

import tokauth

THREADS, CALLS, ROUNDS = (1, 2, 4, 8), 40_000, 5


def empty(library, name="tokauth_version_number", *argument):
    function = getattr(library(os.environ["LIBTOKAUTH_PATH"]), name)
    function.restype, function.argtypes = c_uint32, [c_void_p for _ in argument]
    return partial(function, *argument)


def per_call(calls):
    """Wall time by the calls of all threads, each of which has one of `calls`."""
    ready = threading.Barrier(len(calls) + 1)

    def loop(call):
        ready.wait()
        for _ in itertools.repeat(None, CALLS // len(calls)):
            call()

    threads = [threading.Thread(target=loop, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    ready.wait()
    began = time.perf_counter_ns()
    for thread in threads:
        thread.join()
    return (time.perf_counter_ns() - began) / CALLS


client = tokauth.Client.from_env()
own = [client.with_options(scope=f"s{number}") for number in range(max(THREADS))]
rows = {
    "authorization()": [client.authorization] * max(THREADS),
    "authorization(), own clients": [each.authorization for each in own],
    "empty call, PyDLL": [empty(PyDLL)] * max(THREADS),
    "empty call, CDLL": [empty(CDLL)] * max(THREADS),
    # NULL is no handle: it looks at nothing either.
    "empty call of a handle, PyDLL": [empty(PyDLL, "tokauth_token_header_count", None)] * max(THREADS),
    "empty call of a handle, CDLL": [empty(CDLL, "tokauth_token_header_count", None)] * max(THREADS),
}
samples = {(name, count): [] for name in rows for count in THREADS}
for calls in rows.values():
    for call in calls:
        call()
for _ in range(ROUNDS):
    for name, count in samples:
        samples[name, count].append(per_call(rows[name][:count]))
for name in rows:
    print(name, *(statistics.median(samples[name, count]) for count in THREADS), sep="\t")
