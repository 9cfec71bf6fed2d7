"""What a program prints to a terminal, kept in a file until it is ended or this process dies."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import threading
import tty
from collections.abc import Callable, Mapping, Sequence
from typing import IO

_PR_SET_PDEATHSIG = 1
_PATIENCE = 5  # seconds, after SIGTERM and for what has been printed


class Recording:
    """A program on a terminal of its own, that nobody types at.

    place: the file, for nobody else to read, that it is added to. most: bytes; when there are more,
    only the last half is kept. OSError where either cannot be opened or started.
    """

    def __init__(
        self, argv: Sequence[str], place: str, most: int, environment: Mapping[str, str]
    ) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(place, flags, 0o600)
        master, slave = os.openpty()
        try:
            tty.setraw(slave)  # byte for byte, and no echo
            self._program = subprocess.Popen(
                argv, stdin=slave, stdout=slave, stderr=slave, env=environment,
                start_new_session=True, preexec_fn=_dying_with_parent(),
            )  # fmt: skip
        except OSError:
            os.close(master)
            os.close(file)
            raise
        finally:
            os.close(slave)
        self._reader = threading.Thread(target=_keep, args=(master, file, most), daemon=True)
        self._reader.start()

    def over(self) -> bool:
        """Whether the program has ended by itself."""
        return self._program.poll() is not None

    def end(self) -> None:
        """End the program; what it has printed is in the file when this returns."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._program.poll() is None:
                os.killpg(self._program.pid, number)
                try:
                    self._program.wait(_PATIENCE)
                except subprocess.TimeoutExpired:
                    continue
        self._reader.join(_PATIENCE)


def _dying_with_parent() -> Callable[[], None]:
    """It is killed when this process dies, however that comes about: see prctl(2)."""
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it died before it was asked
            os._exit(1)

    return ask


def _keep(master: int, number: int, most: int) -> None:
    """Until the program and what it started have closed the terminal (EIO)."""
    with open(number, "r+b", buffering=0) as file, open(master, "rb", buffering=0) as terminal:
        while data := _read(terminal):
            with contextlib.suppress(OSError):  # a full disk: the program shall not wait for us
                _add(file, data, most)


def _read(terminal: IO[bytes]) -> bytes:
    try:
        return terminal.read(65536)
    except OSError:
        return b""


def _add(file: IO[bytes], data: bytes, most: int) -> None:
    if file.seek(0, os.SEEK_END) + len(data) > most:
        file.seek(-min(most // 2, file.tell()), os.SEEK_END)
        kept = file.read()
        file.truncate(0)
        file.write(kept)
    file.write(data)
