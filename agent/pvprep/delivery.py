"""Where the config goes: stdout, or whole to a file; half a config is worse than none."""

from __future__ import annotations

import os
import sys

from .errors import Exit, PvprepError, UsageError


def check(place: str) -> None:
    """Refuse a place that the config cannot go to, before anything changes."""
    place = _real(place)
    directory = os.path.dirname(place) or "."
    if os.path.isdir(place):
        raise UsageError(f"--emit-config={place}: that is a directory")
    if not os.path.isdir(directory):
        raise UsageError(f"--emit-config={place}: there is no directory {directory}")
    if not os.access(directory if _is_plain(place) else place, os.W_OK):
        raise UsageError(f"--emit-config={place}: it cannot be written")


def deliver(data: bytes, place: str) -> None:
    """To stdout for `-`, else to this file, pipe or device."""
    if place == "-":
        if sys.stdout is None:
            raise PvprepError("stdout is closed, so the config goes nowhere", status=Exit.NOT_READY)
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    place = _real(place)
    try:
        if _is_plain(place):
            _replace(place, data)
        else:
            with open(place, "wb") as file:
                file.write(data)
    except OSError as error:
        raise PvprepError(
            f"the config cannot be written to {place}: {error.strerror}",
            "the guest is prepared; `pvprep config` writes the config",
            Exit.NOT_READY,
        ) from error


def _real(place: str) -> str:
    """Behind the links, where a regular file is: it is replaced, and a link stays one."""
    return os.path.realpath(place) if os.path.isfile(place) else place


def _is_plain(place: str) -> bool:
    """A regular file, or one that can be made: not /dev/stdout, a FIFO, a terminal."""
    return os.path.isfile(place) or not os.path.lexists(place)


def _replace(place: str, data: bytes) -> None:
    temporary = f"{place}.{os.getpid()}.tmp"
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, place)
    except OSError:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise
