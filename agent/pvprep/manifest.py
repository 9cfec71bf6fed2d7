"""The manifest of one transaction: JSON lines, only ever appended to, each on the disk before the
next thing happens. What a kill or a full disk left of a last line does not count.

    begin        what is about to be done, for people
    change N     about to be made; all it touches has been looked at and backed up
    done N       made; what the paths are now
    applied      all are made; from here on the way is forward
    committed    the end, or
    rollback     everything from this transaction on shall be undone
    undo N       about to be put back (and those after N have been)
    rolled-back  the other end
"""

from __future__ import annotations

import enum
import errno
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .backup import Record, parse
from .beneath import open_regular, shown
from .errors import Exit, PvprepError
from .guest import Guest
from .synced import create, flush, refuse_other_than_file, remove, sync_directory, write_all

NAME = "manifest"
TEMP = ".pvprep-"  # with a dot no program that reads `*.conf`, or runs every file, takes it up
INITRD = f"{TEMP}initrd-"  # and the kernel's version: builders go by the name
RESERVE = "reserve"
RESERVE_SIZE = 256 * 1024
MAX_SIZE = 64 * 1024 * 1024  # far above any; a larger one is not ours and would only eat memory


# What a line can raise that pvprep has not written; OverflowError: a number that is Infinity.
_DAMAGE = (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError)


class State(enum.Enum):
    """Where a transaction is. Open: running, or killed."""

    OPEN = "open"
    COMMITTED = "committed"
    ROLLED_BACK = "rolled-back"


@dataclass(frozen=True)
class Entry:
    """A change about to be made.

    to: where a Move goes. temp: the name that new files have at first, in the directory of each
    path. before: the paths touched, backed up. made: directories to be made, parents first.
    parents: the standing directories whose times the change alters. installed: packages, for an
    InstallPackages. planned: SHA-256 of what a WriteFile writes.
    """

    number: int
    kind: str
    step: str
    why: tuple[str, ...]
    path: str
    to: str
    temp: str
    before: tuple[Record, ...]
    made: tuple[str, ...]
    parents: tuple[Record, ...]
    installed: Mapping[str, str] = field(default_factory=dict)
    planned: str = ""


@dataclass(frozen=True)
class Done:
    """A change made: what its paths are now, the parents' mtimes, and what came of packages.

    new: packages to be purged. lasting: packages upgraded or removed, which nothing brings back.
    """

    after: tuple[Record, ...]
    left: Mapping[str, int]
    new: tuple[str, ...] = ()
    lasting: tuple[str, ...] = ()


@dataclass(frozen=True)
class Undo:
    """A change about to be undone: the times its parents shall have, and what people must know.

    keep: what lies at a path of the change and is somebody else's.
    """

    times: Mapping[str, tuple[int, int]]
    notes: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()


class Manifest:
    """The manifest in a transaction's directory, as it stands on the disk."""

    def __init__(self, guest: Guest, path: str) -> None:
        """path: of the directory, inside the guest; store: the same outside (Guest.within)."""
        self.path = path
        self.store = guest.within(path)
        self.id = os.path.basename(path)
        self.summary: dict[str, object] = {}
        self.entries: list[Entry] = []
        self.done: dict[int, Done] = {}
        self.undo: dict[int, Undo] = {}
        self.marks: set[str] = set()
        self.order = 0
        self.problems: tuple[str, ...] = ()
        self._size = 0
        self._load()

    @property
    def state(self) -> State:
        """Where the transaction is."""
        if "rolled-back" in self.marks:
            return State.ROLLED_BACK
        if "committed" in self.marks and not self.undoing:
            return State.COMMITTED
        return State.OPEN

    @property
    def undoing(self) -> bool:
        """Whether undoing it was decided on: then there is no way forward."""
        return bool(self.undo) or "rollback" in self.marks

    @classmethod
    def start(cls, guest: Guest, path: str, summary: Mapping[str, object]) -> Manifest:
        """Make a transaction's directory, with room kept for the lines that an undo on a full disk
        has to write. OSError where that fails; nothing is left of it then."""
        place = guest.host(path, follow=False)
        os.mkdir(place, 0o700)
        try:
            sync_directory(os.path.dirname(place))
            # Random, as a file system that compresses would keep no room for zeros.
            manifest = cls(guest, path)
            create(os.path.join(manifest.store, RESERVE), [os.urandom(RESERVE_SIZE)])
            manifest.append("begin", summary=dict(summary))
            return manifest
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise

    def free(self) -> None:
        """Give up the reserve: what comes now must find room for its lines."""
        remove(os.path.join(self.store, RESERVE))

    def append(self, mark: str, **fields: object) -> None:
        """Add a line; it is on the disk when this returns. OSError where that fails."""
        line = json.dumps({"mark": mark, **fields}, default=asdict).encode("ascii") + b"\n"
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        place = os.path.join(self.store, NAME)
        fd = os.open(place, flags, 0o600)
        try:
            refuse_other_than_file(fd, place)
            if os.fstat(fd).st_size != self._size:
                os.ftruncate(fd, self._size)  # the torn end of a line that does not count
            os.lseek(fd, self._size, os.SEEK_SET)
            write_all(fd, line)
            flush(fd)
        finally:
            os.close(fd)
        if not self._size:
            sync_directory(self.store)
        self._size += len(line)
        self._take(json.loads(line))

    def _load(self) -> None:
        lines = self._read().split(b"\n")[:-1]
        if lines and b"\0" in lines[-1]:
            lines.pop()  # a part of it was never written: it does not count either
        for number, line in enumerate(lines, 1):
            try:
                self._take(json.loads(line))
            except _DAMAGE as error:
                raise PvprepError(
                    f"{shown(os.path.join(self.store, NAME))}:{number} is damaged ({error!r})",
                    "it was not pvprep that wrote this; bring the file back from a backup",
                    Exit.HALF_WAY,
                ) from None
        self._size = sum(len(line) + 1 for line in lines)

    def _read(self) -> bytes:
        place = os.path.join(self.store, NAME)
        try:
            with open(open_regular(place), "rb") as file:
                info = os.fstat(file.fileno())
                if info.st_size <= MAX_SIZE and info.st_nlink == 1:
                    return file.read(MAX_SIZE)
        except FileNotFoundError:
            return b""  # killed before the first line
        except OSError as error:
            if error.errno != errno.EINVAL:  # that is: no regular file
                raise PvprepError(f"cannot read {shown(place)}: {error.strerror}") from None
        raise PvprepError(f"{shown(place)} is not a manifest", status=Exit.HALF_WAY)

    def _take(self, line: Any) -> None:
        """Add what one line says to what is known."""
        mark = str(line["mark"])
        self.marks.add(mark)
        if mark == "begin":
            self.summary = dict(line["summary"])
        elif mark == "change":
            self.entries.append(_entry(line["entry"], len(self.entries) + 1))
        elif mark == "done":
            self.done[self._known(line["number"])] = _done(line["done"])
        elif mark == "undo":
            self.undo[self._known(line["number"])] = _undo(line["undo"])
        elif mark == "rolled-back":
            self.order, self.problems = int(line["order"]), _texts(line["problems"])

    def _known(self, number: Any) -> int:
        if not 1 <= int(number) <= len(self.entries):
            raise ValueError("there is no such change")
        return int(number)


def _entry(value: Any, number: int) -> Entry:
    if int(value["number"]) != number:
        raise ValueError("a change out of order")
    if not value["temp"].startswith(TEMP) or "/" in value["temp"]:
        raise ValueError("not the name of a temporary file")
    return Entry(
        number,
        **{name: str(value[name]) for name in ("kind", "step", "path", "to", "temp")},
        why=_texts(value["why"]),
        before=tuple(parse(record) for record in value["before"]),
        made=_texts(value["made"]),
        parents=tuple(parse(record) for record in value["parents"]),
        installed={str(name): str(version) for name, version in value["installed"].items()},
        planned=str(value.get("planned", "")),
    )


def _done(value: Any) -> Done:
    return Done(
        tuple(parse(record) for record in value["after"]),
        {str(path): int(time) for path, time in value["left"].items()},
        _texts(value["new"]),
        _texts(value["lasting"]),
    )


def _undo(value: Any) -> Undo:
    times = {str(path): (int(pair[0]), int(pair[1])) for path, pair in value["times"].items()}
    return Undo(times, _texts(value["notes"]), _texts(value.get("keep", ())))


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(text) for text in value)
