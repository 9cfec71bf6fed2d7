"""Lets apt inside a tree reach the archive the way this machine's apt does.

Everything is read from the machine at run time: its archive, its proxy, how it judges old indexes,
its resolver.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

_CARRIED = re.compile(r'Acquire::(?:https?::\S*Proxy\S*|Check-\S+|Retries) "[^"]+";')


class NoMirrorError(Exception):
    """The machine's apt is not set up for the Debian release that it runs."""


def options() -> list[str]:
    """The machine's own apt settings that decide whether the archive is reached (apt.conf(5))."""
    dump = subprocess.run(
        ["apt-config", "dump", "--no-empty"], check=True, capture_output=True, text=True
    )
    return [line for line in dump.stdout.splitlines() if _CARRIED.fullmatch(line)]


def mirror() -> str:
    """The archive that this machine has its own release from. Raises NoMirrorError without one."""
    release = _os_release()["VERSION_CODENAME"]
    targets = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"],
        check=True,
        capture_output=True,
        text=True,
    )
    for line in targets.stdout.splitlines():
        suite, uri = line.split(" ", 1)
        if suite == release:
            return uri
    raise NoMirrorError(f"apt on this machine has no archive for {release}")


def _os_release() -> dict[str, str]:
    words = shlex.split(Path("/etc/os-release").read_text(), comments=True)
    return dict(word.split("=", 1) for word in words)


@contextlib.contextmanager
def online(root: Path) -> Iterator[None]:
    """While the block runs, apt and name resolution work in the tree; then it is as it was."""
    carried = root / "etc/apt/apt.conf.d/99build-host"
    resolver = root / "etc/resolv.conf"
    before = resolver.read_bytes() if resolver.is_file() else None
    carried.write_text("".join(f"{line}\n" for line in options()))
    resolver.write_bytes(Path("/etc/resolv.conf").read_bytes())
    try:
        yield
    finally:
        carried.unlink()
        if before is None:
            resolver.unlink()
        else:
            resolver.write_bytes(before)
