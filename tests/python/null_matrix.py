"""Calls every function of tokauth.h with NULL for each of its pointers in turn, the other arguments being valid.

Usage: null_matrix.py include/tokauth.h, with LIBTOKAUTH_PATH and the options of a working client (TOKAUTH_*) in the
environment. A function or pointer that EXPECTED does not know is a failure.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from ctypes import byref, c_char_p, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any, Dict, List, Tuple

OK, INVALID_ARGUMENT, BUFFER_TOO_SMALL = 0, 1, 3
WORKS = "the same result as without NULL"
EXPECTED: dict[str, dict[str, object]] = {
    "version_number": {},
    "version_string": {},
    "status_name": {},
    "provider_count": {},
    "provider_name": {},
    "config_new": {},
    "config_free": {"config": None},
    "config_set": {"config": INVALID_ARGUMENT, "name": INVALID_ARGUMENT, "value": WORKS, "out_error": WORKS},
    "config_load_env": {"config": INVALID_ARGUMENT, "prefix": WORKS, "out_error": WORKS},
    "config_load_json": {"config": INVALID_ARGUMENT, "json": INVALID_ARGUMENT, "out_error": WORKS},
    "config_set_log": {"config": INVALID_ARGUMENT, "log": WORKS, "user_data": WORKS, "destroy": WORKS},
    "client_new": {"config": INVALID_ARGUMENT, "out_client": INVALID_ARGUMENT, "out_error": WORKS},
    "client_with": {
        "client": INVALID_ARGUMENT,
        "name": INVALID_ARGUMENT,
        "value": WORKS,
        "out_client": INVALID_ARGUMENT,
        "out_error": WORKS,
    },
    "client_clone": {"client": None},
    "client_free": {"client": None},
    "client_token": {"client": INVALID_ARGUMENT, "out_token": INVALID_ARGUMENT, "out_error": WORKS},
    "client_copy_authorization": {
        "client": INVALID_ARGUMENT,
        "buffer": INVALID_ARGUMENT,
        "out_needed": WORKS,
        "out_error": WORKS,
    },
    "client_invalidate": {"client": INVALID_ARGUMENT, "rejected": INVALID_ARGUMENT, "out_error": WORKS},
    "client_clear": {"client": INVALID_ARGUMENT, "out_error": WORKS},
    "client_counter": {"client": 0},
    "client_generation": {"client": 0},
    "client_budget": {
        "client": INVALID_ARGUMENT,
        "out_remaining": INVALID_ARGUMENT,
        "out_next_at": INVALID_ARGUMENT,
        "out_error": WORKS,
    },
    "token_value": {"token": None, "out_len": WORKS},
    "token_authorization": {"token": None, "out_len": WORKS},
    "token_header_count": {"token": 0},
    "token_header_name": {"token": None},
    "token_header_value": {"token": None},
    "token_type": {"token": None},
    "token_scope": {"token": None},
    "token_expires_at": {"token": 0},
    "token_clone": {"token": None},
    "token_free": {"token": None},
    "error_status": {"error": OK},
    "error_message": {"error": b""},
    "error_provider_code": {"error": None},
    "error_http_status": {"error": 0},
    "error_retry_after_ms": {"error": -1},
    "error_free": {"error": None},
}

SCALARS = {
    "void": None,
    "tokauth_status": c_int32,
    "int32_t": c_int32,
    "uint32_t": c_uint32,
    "int64_t": c_int64,
    "uint64_t": c_uint64,
    "size_t": c_size_t,
}
OUTPUTS = {"out_len": c_size_t, "out_needed": c_size_t, "out_remaining": c_int64, "out_next_at": c_int64}
GARBAGE = 0x5A5A
Functions = Dict[str, Tuple[str, List[Tuple[str, str]]]]  # name to type of result, and types and names of parameters

destroyed: list[int] = []
LOG = ctypes.CFUNCTYPE(None, c_void_p, c_int32, c_char_p)(lambda user_data, level, message: None)
DESTROY = ctypes.CFUNCTYPE(None, c_void_p)(destroyed.append)


def c_type(text: str):
    """The ctypes type of a declaration's type; every pointer is a void pointer, but text comes back as bytes."""
    if "*" in text or text.strip().endswith("_fn"):
        return c_void_p
    return SCALARS[text.strip()]


def functions_of(header: str) -> Functions:
    """The functions that a header declares, without their prefix."""
    header = re.sub(r"/\*.*?\*/|//[^\n]*|^\s*#(?:\\\n|[^\n])*", " ", header, flags=re.DOTALL | re.MULTILINE)
    functions = {}
    for result, name, parameters in re.findall(r"([\w *]+?)\s*\btokauth_(\w+)\s*\(([^()]*)\)\s*;", header):
        functions[name] = (result.strip(), re.findall(r"([\w *]*[ *])(\w+)", parameters))
    return functions


class Matrix:
    def __init__(self, library: ctypes.CDLL, functions: Functions) -> None:
        self.functions = functions
        self.calls = {}
        for name, (result, parameters) in functions.items():
            call = getattr(library, f"tokauth_{name}")
            call.restype = c_char_p if "char" in result else c_type(result)
            call.argtypes = [c_type(kind) for kind, _ in parameters]
            self.calls[name] = call
        config = c_void_p(self.calls["config_new"]())
        client, token, error = c_void_p(), c_void_p(), c_void_p()
        assert self.calls["config_load_env"](config, None, None) == OK
        assert self.calls["client_new"](config, byref(client), None) == OK
        assert self.calls["client_token"](client, 0, byref(token), None) == OK
        assert self.calls["config_set"](config, None, None, byref(error)) == INVALID_ARGUMENT
        self.inputs = {
            "status": 0,
            "index": 0,
            "config": config,
            "name": b"scope",
            "value": b"read",
            "prefix": b"TOKAUTH_",
            "json": b"{}",
            "log": LOG,
            "user_data": GARBAGE,
            "destroy": DESTROY,
            "client": client,
            "flags": 0,
            "buffer": ctypes.create_string_buffer(64 * 1024),
            "buffer_size": 64 * 1024,
            "counter": 1,
            "token": token,
            "rejected": token,
            "error": error,
        }

    def call(self, name: str, null: str | None = None) -> tuple[object, dict[str, object]]:
        """The result, and what is in the outputs afterwards."""
        outputs: dict[str, Any] = {}
        arguments: list[Any] = []
        for _, parameter in self.functions[name][1]:
            if parameter == null:
                arguments.append(None)
            elif parameter.startswith("out_"):
                outputs[parameter] = OUTPUTS.get(parameter, c_void_p)(GARBAGE)
                arguments.append(byref(outputs[parameter]))
            else:
                arguments.append(self.inputs[parameter])
        result = self.calls[name](*arguments)
        return result, {parameter: output.value for parameter, output in outputs.items()}

    def fault(self, name: str, null: str, expected: object) -> str | None:
        """What is wrong with a call that gets NULL for one pointer; None if nothing is."""
        result, outputs = self.call(name, null)
        if expected is WORKS:
            expected = self.call(name)[0]
        if result != expected:
            return f"{result!r}, not {expected!r}"
        if self.functions[name][0] != "tokauth_status":
            return None
        error = outputs.pop("out_error", None)
        if expected == INVALID_ARGUMENT and any(outputs.values()):
            return f"outputs are {outputs}"
        if (error is not None) != (expected == INVALID_ARGUMENT and "out_error" in EXPECTED[name]):
            return f"the error is {error}"
        return None


def main(header: str) -> int:
    matrix = Matrix(ctypes.CDLL(os.environ["LIBTOKAUTH_PATH"]), functions_of(Path(header).read_text()))
    passed, failures = 0, [f"{name}: not in the header" for name in EXPECTED.keys() - matrix.functions.keys()]

    def check(what: str, fault: str | None) -> None:
        nonlocal passed
        if fault is None:
            passed += 1
        else:
            failures.append(f"{what}: {fault}")

    for name, (_, parameters) in matrix.functions.items():
        pointers = {parameter for kind, parameter in parameters if c_type(kind) is c_void_p}
        if name not in EXPECTED or pointers != EXPECTED[name].keys():
            failures.append(f"{name}: {sorted(pointers)} are not what EXPECTED knows")
            continue
        for parameter, expected in EXPECTED[name].items():
            check(f"{name}({parameter} = NULL)", matrix.fault(name, parameter, expected))

    inputs, calls = matrix.inputs, matrix.calls
    size = calls["client_copy_authorization"](inputs["client"], 0, None, 0, None, None)
    check("a NULL buffer of size 0 asks for the size", None if size == BUFFER_TOO_SMALL else str(size))
    for config, log, status in ((None, LOG, INVALID_ARGUMENT), (inputs["config"], None, OK)):
        calls["config_set_log"](inputs["config"], None, None, None)
        destroyed.clear()
        result = calls["config_set_log"](config, log, GARBAGE, DESTROY)
        fault = None if (result, destroyed) == (status, [GARBAGE]) else f"{result}, destroyed {destroyed}"
        check("a log that is not kept is destroyed at once", fault)

    for failure in failures:
        print(f"FAILED {failure}", file=sys.stderr)
    print(f"{passed} passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
