"""The journal: the only writer of a guest. Its transactions live in /var/lib/pvprep of the guest.

A transaction is committed or rolled back; one that is neither was killed (or is running), and
until recover() has brought it to one of these ends nothing else starts. rollback() undoes all that
is committed, back to what was there before pvprep. One process at a time does any of this.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .backup import FILE, Record, backup_problem, difference
from .beneath import shown
from .changes import Workers
from .errors import Exit, PvprepError, told
from .guest import Guest
from .lock import Lock
from .manifest import Entry, Manifest, State
from .synced import in_words, sync_directory
from .transaction import Transaction
from .undo import beneath, differences, overlay, pristine, undo

HOME = "/var/lib/pvprep"
ID = re.compile(r"[0-9]{6}-[0-9]{8}T[0-9]{6}Z")


@dataclass(frozen=True)
class Outcome:
    """What recover or rollback did: a sentence, the transactions, and what could not be undone."""

    message: str
    transactions: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Check:
    """One path as verify found it. state: of the transaction that speaks for it."""

    path: str
    state: State
    problem: str


class Journal:
    """The journal of one guest."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest

    @property
    def home(self) -> str:
        """Its directory outside, as Guest.within() has it."""
        return self._guest.within(HOME)

    def transactions(self) -> list[Manifest]:
        """All of them, oldest first. PvprepError where a manifest is damaged."""
        try:
            names = sorted(os.listdir(self.home))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._error(error, "read") from error
        stores = [f"{HOME}/{name}" for name in names if ID.fullmatch(name)]
        found = ((store, self._guest.lstat(store)) for store in stores)
        return [
            Manifest(self._guest, store)
            for store, info in found
            if info and stat.S_ISDIR(info.st_mode)
        ]

    def pending(self) -> list[Manifest]:
        """Those that were killed half way, or are running now."""
        return [one for one in self.transactions() if one.state is State.OPEN]

    def begin(self, summary: Mapping[str, object]) -> Transaction:
        """Start a transaction. summary: what it is about, for people. Nothing is changed yet.

        PvprepError where another pvprep runs, one is pending, or there is no room to write.
        """
        lock = self.locked()
        try:
            earlier = self.transactions()
            self._refuse_pending(earlier)
            manifest = Manifest.start(self._guest, f"{HOME}/{_next_id(earlier)}", summary)
            return Transaction(self._guest, manifest, _order(earlier), lock)
        except OSError as error:
            lock.release()
            raise self._error(error, "write") from error
        except BaseException:
            lock.release()
            raise

    def recover(self, workers: Workers) -> Outcome:
        """Bring what was killed to an end: forward if only the commit was missing, else back.

        PvprepError with status HALF_WAY where it cannot go on; it may be called again.
        """
        if not self.pending():
            return Outcome("nothing to recover")
        with self.locked():
            known = self.transactions()
            pending = [one for one in known if one.state is State.OPEN]
            if any("rollback" in one.marks for one in pending):
                # The rollback was of everything from the marked one on.
                first = next(one for one in known if one in pending)
                back = [one for one in known[known.index(first) :] if not _is_back(one)]
                return self._undo(back, known, workers, "finished the rollback")
            if len(pending) == 1 and "applied" in pending[0].marks and not pending[0].undoing:
                _append(pending[0], "committed")
                return Outcome("all changes had been made; committed them", (pending[0].id,))
            return self._undo(pending, known, workers, "put back what was half done")

    def rollback(self, workers: Workers) -> Outcome:
        """Undo every committed transaction, newest first.

        PvprepError with status NOT_READY, and nothing changed, where somebody has edited since what
        pvprep wrote (a kernel's upgrade counts: it rebuilds initrds and menus), or a backup is
        damaged; all such paths are named.
        """
        with self.locked():
            known = self.transactions()
            self._refuse_pending(known)
            committed = [one for one in known if one.state is State.COMMITTED]
            if not committed:
                return Outcome("nothing to roll back")
            problems = self._obstacles(committed)
            if problems:
                raise PvprepError(
                    "nothing was rolled back, as these are not as pvprep left them:\n  "
                    + "\n  ".join(problems),
                    "give each of them the content it had before pvprep, as named above (save what "
                    "you need of it elsewhere first), then run `pvprep rollback` again",
                    Exit.NOT_READY,
                )
            _append(committed[0], "rollback")
            return self._undo(committed, known, workers, "rolled back")

    def verify(self) -> list[Check]:
        """Each path that pvprep ever touched: is it what it should be ("": yes, or what it was
        before), and can what is committed be undone?"""
        known = self.transactions()
        committed = [one for one in known if one.state is State.COMMITTED]
        expected, between = _expected(committed)
        damaged = dict(_damaged(committed))
        back = self._back(committed)
        checks = {
            path: Check(
                path,
                State.COMMITTED,
                "" if path in back else what or between.get(path) or damaged.pop(path, ""),
            )
            for path, what in differences(self._guest, expected, edits=True)
        }
        for path, what in damaged.items():
            checks.setdefault(path, Check(path, State.COMMITTED, what))
        records: dict[str, Record] = {}
        for one in sorted(filter(_is_back, known), key=lambda one: one.order):
            overlay(records, pristine([one]).values())
        for path, what in differences(self._guest, records):
            # What is committed speaks for all that is beneath it too: it may be a link now.
            if not any(path == other or beneath(path, other) for other in expected):
                checks.setdefault(path, Check(path, State.ROLLED_BACK, what))
        for one in known:
            if one.state is State.OPEN:
                for path in pristine([one]):
                    checks[path] = Check(path, State.OPEN, "half done: run `pvprep recover`")
        return [checks[path] for path in sorted(checks)]

    def _undo(
        self, todo: Sequence[Manifest], known: Sequence[Manifest], workers: Workers, what: str
    ) -> Outcome:
        """Undo these, newest first."""
        problems: list[str] = []
        for one in reversed(todo):
            problems += undo(self._guest, one, workers, _order(known), todo)
        changes = sum(len(one.entries) for one in todo)
        message = f"{what}: {changes} change{'s' * (changes != 1)} undone"
        return Outcome(message, tuple(one.id for one in reversed(todo)), tuple(problems))

    def _obstacles(self, committed: Sequence[Manifest]) -> list[str]:
        """What speaks against a rollback. A path that is already what it was before is fine."""
        expected, between = _expected(committed)
        back = self._back(committed)
        found = dict(between)
        found.update(kv for kv in differences(self._guest, expected, edits=True) if kv[1])
        found = {path: what for path, what in found.items() if path not in back}
        stores = {
            record.path: os.path.join(one.store, record.backup)
            for one in reversed(committed)
            for entry in reversed(one.entries)
            for record in entry.before
            if record.backup
        }
        edited = [
            f"{told(path)}: {what}"
            + (f"; what it was before is {shown(stores[path])}" if path in stores else "")
            for path, what in sorted(found.items())
        ]
        return edited + [f"{told(path)}: {what}" for path, what in _damaged(committed)]

    def _back(self, committed: Sequence[Manifest]) -> set[str]:
        """Paths that are already what they were before pvprep: somebody, or a boot, saw to it."""
        entries = [entry for one in committed for entry in one.entries]
        # What was moved goes back by a move: both places must be as they were left.
        moved = {path for entry in entries if entry.to for path in (entry.path, entry.to)}
        origin = {path: old for path, old in pristine(committed).items() if path not in moved}
        return {path for path, what in differences(self._guest, origin, edits=True) if not what}

    def locked(self) -> Lock:
        """Keep every other pvprep out. PvprepError where one runs or nothing can be written."""
        try:
            self._guest.make_directory(HOME, 0o700)
            sync_directory(self._guest.within(os.path.dirname(HOME)))
        except OSError as error:
            raise self._error(error, "write") from error
        return Lock(self.home)

    def _error(self, error: OSError, doing: str) -> PvprepError:
        return in_words(error, f"cannot {doing} {self._guest.named(HOME)}", Exit.NOT_READY)

    def _refuse_pending(self, known: Sequence[Manifest]) -> None:
        for one in known:
            if one.state is State.OPEN:
                raise PvprepError(
                    f"pvprep was stopped half way ({one.id})",
                    "run `pvprep recover` first",
                    Exit.HALF_WAY,
                )


def _is_back(one: Manifest) -> bool:
    return one.state is State.ROLLED_BACK


def _append(one: Manifest, mark: str) -> None:
    try:
        one.free()
        one.append(mark)
    except OSError as error:
        raise in_words(error, f"cannot write {shown(one.store)}", Exit.HALF_WAY) from error


def _next_id(earlier: Sequence[Manifest]) -> str:
    """A counter, which sorts even when the clock is set back, and the time (UTC) for people."""
    count = int(earlier[-1].id.split("-")[0]) + 1 if earlier else 1
    return f"{count:06d}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"


def _order(known: Sequence[Manifest]) -> int:
    return 1 + max((one.order for one in known), default=0)


def _expected(committed: Sequence[Manifest]) -> tuple[dict[str, Record], dict[str, str]]:
    """What pvprep left at each path, and the paths that were edited between two transactions."""
    expected: dict[str, Record] = {}
    between: dict[str, str] = {}
    for one in committed:
        found = dict(expected)  # what this one should have found
        for entry in one.entries:
            for record in entry.before:
                if record.path in found:
                    what = difference(found.pop(record.path), record, edits=True)
                    if what:
                        between[record.path] = f"edited between two runs of pvprep: {what}"
            for records in (expected, found):
                _carry(records, entry)
            overlay(expected, one.done[entry.number].after)
    return expected, between


def _carry(records: dict[str, Record], entry: Entry) -> None:
    """What was moved is now expected at its new place."""
    for path in [path for path in records if entry.to and beneath(path, entry.path)]:
        records[entry.to + path[len(entry.path) :]] = records.pop(path)


def _damaged(committed: Sequence[Manifest]) -> Iterator[tuple[str, str]]:
    """Paths whose backup could not be put back."""
    for one in committed:
        for entry in one.entries:
            for record in entry.before:
                if record.kind == FILE and not entry.to:
                    what = backup_problem(record, one.store)
                    if what:
                        yield record.path, what
