"""Where the config and the bundle for a report go: stdout, or whole to a file.

Half a config is worse than none.
"""

from __future__ import annotations

import os
import stat
import sys

from .errors import Exit, PvprepError, UsageError


def check(place: str, option: str = "--emit-config") -> None:
    """Refuse a place that cannot be written to, before anything changes."""
    place = _real(place)
    directory = os.path.dirname(place) or "."
    if os.path.isdir(place):
        raise UsageError(f"{option}={place}: that is a directory")
    if not os.path.isdir(directory):
        raise UsageError(f"{option}={place}: there is no directory {directory}")
    if not os.access(directory if _is_plain(place) else place, os.W_OK):
        raise UsageError(f"{option}={place}: it cannot be written")


def deliver(
    data: bytes,
    place: str,
    what: str = "the config",
    hint: str = "the guest is prepared; `pvprep config` writes the config",
    private: bool = False,
) -> None:
    """To stdout for `-`, else to this file, pipe or device. private: a file is its owner's alone;
    else one that is replaced keeps its mode and owner. hint: what to do where it fails."""
    if place == "-" and sys.stdout is None:
        raise PvprepError(f"stdout is closed, so {what} goes nowhere", status=Exit.NOT_READY)
    place = place if place == "-" else _real(place)
    try:
        if place == "-":
            _print(data)
        elif _is_plain(place):
            _replace(place, data, private)
        else:
            with open(place, "wb") as file:
                file.write(data)
    except OSError as error:
        raise PvprepError(
            f"{what} cannot be written to {'stdout' if place == '-' else place}: {error.strerror}",
            hint,
            Exit.NOT_READY,
        ) from error


def _print(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the interpreter flushes once more
        raise


def _real(place: str) -> str:
    """Behind the links, where a regular file is: it is replaced, and a link stays one."""
    return os.path.realpath(place) if os.path.isfile(place) else place


def _is_plain(place: str) -> bool:
    """A regular file, or one that can be made: not /dev/stdout, a FIFO, a terminal."""
    return os.path.isfile(place) or not os.path.lexists(place)


def _replace(place: str, data: bytes, private: bool) -> None:
    """Nobody else can open it before it is whole and has its mode."""
    temporary = f"{place}.{os.getpid()}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(temporary, flags, 0o600), "wb") as file:
            file.write(data)
            _dress(file.fileno(), place, private)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, place)
    except OSError:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise


def _dress(descriptor: int, place: str, private: bool) -> None:
    """Mode and owner as the file has that it replaces, or as any new file's."""
    if private:
        return
    try:
        before = os.stat(place)
    except FileNotFoundError:
        umask = os.umask(0o077)
        os.umask(umask)
        os.fchmod(descriptor, 0o666 & ~umask)
        return
    if os.geteuid() == 0:
        os.fchown(descriptor, before.st_uid, before.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
