"""The one place where programs are started: argument lists, no shell, an end in time."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Protocol

from .recording import Recording

_MOST = 16 * 1024 * 1024  # bytes of what a program says


@dataclass(frozen=True)
class Done:
    """How a program ended: 127 for one that is not there, 124 for one that took too long.

    output: stdout. said: stderr.
    """

    status: int
    output: str = ""
    said: str = ""


class Recorder(Protocol):
    """A program that is being recorded."""

    def over(self) -> bool:
        """Whether it has ended by itself."""

    def end(self) -> None:
        """End it; all that it has printed is in the file then."""


class Host(Protocol):
    """dom0, as far as it is needed."""

    def run(self, argv: Sequence[str], timeout: float = 60) -> Done:
        """Run a program of dom0's to its end; timeout in seconds."""

    def record(self, argv: Sequence[str], place: str, most: int) -> Recorder:
        """Add what a program prints to a terminal to a file, until it is ended or we are.

        most: bytes that the file may have. OSError where it cannot be.
        """

    def now(self) -> float:
        """Seconds, of a clock that nobody sets."""

    def wait(self, seconds: float) -> None:
        """Let time pass."""


def _environment() -> dict[str, str]:
    """Where Xen's programs are, and what steers them; nothing else of the caller's goes to them."""
    known = ("PATH", "HOME", "LD_LIBRARY_PATH")
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in known or name.startswith(("XEN", "LIBXL_"))
    }
    return {**kept, "LC_ALL": "C"}


class Dom0:
    """The machine that this runs on."""

    def run(self, argv: Sequence[str], timeout: float = 60) -> Done:
        # Files, not pipes: what xl leaves running may hold them open.
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as said:
            try:
                status = subprocess.run(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=said,
                    env=_environment(),
                    timeout=timeout,
                    start_new_session=True,  # an interrupt is for us: we end things in order
                ).returncode
            except FileNotFoundError:
                return Done(127, said=f"{argv[0]}: not found")
            except OSError as error:
                return Done(126, said=f"{argv[0]}: {error.strerror}")
            except subprocess.TimeoutExpired:
                return Done(124, said=f"{argv[0]}: not done within {timeout:.0f} s")
            return Done(status, _text(output), _text(said))

    def record(self, argv: Sequence[str], place: str, most: int) -> Recorder:
        return Recording(argv, place, most, _environment())

    def now(self) -> float:
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(_MOST).decode("utf-8", "surrogateescape")
