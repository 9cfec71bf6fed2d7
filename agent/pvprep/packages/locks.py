"""Who holds a package manager's lock, and waiting for it; the locks themselves are not taken."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Optional

from ..errors import PvprepError
from ..guest import Guest, Line
from .child import Progress

TIMEOUT = 120.0  # seconds, as apt(8) waits


@dataclass(frozen=True)
class Holder:
    """Who has a lock: process id (0: it cannot be seen from here), command line and the file."""

    pid: int
    command: str
    path: str

    def __str__(self) -> str:
        if not self.pid:
            return "a process that cannot be seen from here"
        return f"process {self.pid} ({self.command})" if self.command else f"process {self.pid}"


def record_lock(guest: Guest, paths: Iterable[str]) -> Optional[Holder]:
    """Who holds an fcntl(2) lock on one of these files, None where nobody does.

    Never called while this process itself has one: POSIX drops a process's locks as soon as it
    closes any descriptor of the file.
    """
    import fcntl
    import struct

    for path in paths:
        fd = guest.open(path)
        if fd is None:
            continue
        with open(fd, "rb") as file:
            # struct flock: l_type, l_whence, l_start, l_len, l_pid
            question = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            try:
                answer = fcntl.fcntl(file, fcntl.F_GETLK, question)
            except OSError:
                continue  # a file system without locks: the package manager will say so
        kind, _, _, _, pid = struct.unpack("hhqqi4x", answer)
        if kind != fcntl.F_UNLCK:
            return Holder(max(pid, 0), _command(pid), path)
    return None


def pid_file(guest: Guest, paths: Iterable[str]) -> Optional[Holder]:
    """The process that one of these files names, None where it has ended or is another's root.

    In a tree that does not run, the number is of a time gone by, unless that process works there.
    """
    for path in paths:
        word = guest.text(path).strip()
        if word.isdigit() and _same_root(int(word), guest):
            return Holder(int(word), _command(int(word)), path)
    return None


def wait(
    who: Callable[[], Optional[Holder]], name: str, timeout: float, line: Line, progress: Progress
) -> None:
    """Wait until nobody holds it; raises PvprepError after the timeout (seconds), naming who."""
    deadline = time.monotonic() + timeout
    told = False
    while True:
        holder = who()
        if holder is None:
            return
        if time.monotonic() >= deadline:
            raise PvprepError(
                f"{name} is still in use by {holder} after {timeout:.0f} s",
                "let it end, then run pvprep again",
            )
        if not told:
            line(f"waiting for {holder}, which uses {name} ({holder.path})")
            progress(None, f"waiting for {holder}")
            told = True
        time.sleep(0.2)


def _same_root(pid: int, guest: Guest) -> bool:
    try:
        return os.path.samefile(f"/proc/{pid}/root", guest.root)
    except OSError:
        return False


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read(400).replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return ""
