"""Where a trial stands: one file a trial, on the disk before each step is taken."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from dataclasses import asdict, dataclass, field
from typing import Any, Optional

from .errors import Dom0Error, Exit
from .snapshots import Snapshot

HOME = "/var/lib/pvprep-dom0"


@dataclass
class State:
    """phase: the step that is being taken (trial.py). pv, hvm: the two configs, as they were.

    timeout: seconds. evidence: of that it is up, "report" or "console". logged: bytes of the
    console's log from before the PV domain. reason: why it goes back; log: where the PV domain's
    console is kept. begun: the volumes whose restoring has begun.
    """

    name: str
    pv: str
    hvm: str
    phase: str = "planned"
    timeout: float = 300
    force_off: bool = False
    restore: bool = False
    evidence: str = "report"
    snapshots: list[Snapshot] = field(default_factory=list)
    logged: int = 0
    reason: str = ""
    log: str = ""
    begun: list[str] = field(default_factory=list)


class Store:
    """The directory of the trials. The name has been checked: it is no path."""

    def __init__(self, home: str, name: str) -> None:
        self.home = home
        self.name = name
        self.place = os.path.join(home, f"trial-{name}.json")
        self._lock: Optional[int] = None

    def file(self, kind: str) -> str:
        """A file of this trial's: its configs, its console log."""
        return os.path.join(self.home, f"{self.name}.{kind}")

    def lock(self) -> None:
        """One at a time for each domain; the lock goes with the process (flock(2))."""
        try:
            os.makedirs(self.home, 0o700, exist_ok=True)
            self._lock = os.open(self.file("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Dom0Error(f"another trial of {self.name} is under way", "wait for it") from None
        except OSError as error:
            raise Dom0Error(f"{self.home}: {error.strerror}", "run this as root") from None

    def unlock(self) -> None:
        """Let others."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def load(self) -> Optional[State]:
        """What a trial left behind that did not come to its end."""
        try:
            with open(self.place, encoding="utf-8") as file:
                kept: dict[str, Any] = json.load(file)
            snapshots = [Snapshot(**one) for one in kept.pop("snapshots")]
            return State(**kept, snapshots=snapshots)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            hint = "see `xl list`; start one of the two configs beside it, then remove it"
            raise Dom0Error(f"{self.place}: {error}", hint, Exit.HALF_WAY) from None

    def save(self, state: State) -> None:
        """On the disk when this returns."""
        self.write(self.place, json.dumps(asdict(state), indent=2).encode() + b"\n")

    def write(self, place: str, data: bytes) -> None:
        """A file, whole or not at all, and on the disk when this returns."""
        fd = os.open(f"{place}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
        os.replace(f"{place}.new", place)
        self._sync()

    def finish(self) -> None:
        """The trial has come to its end."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.place)
        self._sync()

    def _sync(self) -> None:
        fd = os.open(self.home, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
