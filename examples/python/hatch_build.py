"""Puts the shared library into the wheel, and says in its name where that runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class LibraryHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        library = Path(os.environ.get("LIBTOKAUTH_PATH") or build(Path(self.root).parents[1]))
        name = {"win32": "tokauth.dll", "darwin": "libtokauth.dylib"}.get(sys.platform, "libtokauth.so")
        build_data["force_include"][str(library)] = f"tokauth/{name}"
        licenses = library.parent.parent / "licenses"
        if licenses.is_dir():  # an unpacked release has those of the crates in it
            build_data["force_include"][str(licenses)] = "tokauth/licenses"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform(library)}"


def build(repository: Path) -> str:
    """The library as it is shipped: cargo links for size only where the Rust library is not asked for too."""
    command = ["cargo", "rustc", "--locked", "--release", "--lib", "--crate-type", "cdylib", "--message-format", "json"]
    try:
        lines = subprocess.run(command, cwd=repository, check=True, stdout=subprocess.PIPE).stdout.splitlines()
    except FileNotFoundError:
        sys.exit("cargo is missing; install Rust 1.85 or newer (rustup.rs), or name a built library in LIBTOKAUTH_PATH")
    messages = [json.loads(line) for line in lines]
    artifacts = [message for message in messages if message["reason"] == "compiler-artifact"]
    return str(artifacts[-1]["filenames"][0])


def platform(library: Path) -> str:
    """Linux with at least the glibc whose symbols the library names (PEP 600), or the system this runs on."""
    needed = [int(minor) for minor in re.findall(rb"GLIBC_2\.(\d+)", library.read_bytes())]
    system = sysconfig.get_platform()
    if needed:
        system = system.replace("linux", f"manylinux_2_{max(needed)}")
    return re.sub("[-.]", "_", system)
