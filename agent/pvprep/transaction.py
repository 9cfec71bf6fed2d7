"""A transaction: carry out changes, one by one, each in an order that survives a kill anywhere.

For every change: look at what it touches, back that up, write the intent down, change, write down
that it is done. undo.py reads the same manifest backwards.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Union

from . import placing
from .backup import (
    ABSENT,
    DIR,
    FILE,
    LINK,
    OTHER,
    Record,
    article,
    describe,
    dress,
    locate,
    look,
    save,
    write,
)
from .beneath import chmod, shown
from .changes import (
    BuildInitrd,
    Change,
    InstallPackages,
    MakeDir,
    MakeLink,
    Move,
    PlaceKernel,
    Remove,
    Workers,
    WriteFile,
)
from .errors import PvprepError
from .guest import Guest
from .lock import Lock
from .manifest import INITRD, TEMP, Done, Entry, Manifest
from .synced import digest, in_words, remove, swap, sync_all, sync_directory
from .undo import lasting, undo

# What a change can be made to; the rest is refused before anything is touched.
MADE_FOR = {
    WriteFile: (FILE, ABSENT),
    Remove: (FILE, LINK),
    Move: (FILE, LINK, DIR),
    MakeDir: (DIR, ABSENT),
    MakeLink: (ABSENT,),
    InstallPackages: (FILE, LINK, DIR, ABSENT, OTHER),
    PlaceKernel: (ABSENT,),
    BuildInitrd: (FILE, ABSENT),
}


# Directories on whose file systems packages put what belongs to a kernel.
INSTALLED_TO = ("/", "/boot", "/boot/efi", "/etc", "/usr", "/var", "/lib/modules")


class Transaction:
    """Changes that are all made, or all undone. After an error the caller must undo()."""

    def __init__(self, guest: Guest, manifest: Manifest, order: int, lock: Lock) -> None:
        """order: as undo() takes it. lock: given up at either end."""
        self._guest = guest
        self._manifest = manifest
        self._order = order
        self._lock = lock
        self._backups = 0
        self._failed = False

    @property
    def id(self) -> str:
        """The name of its directory below /var/lib/pvprep."""
        return self._manifest.id

    @property
    def new_paths(self) -> list[str]:
        """What was not there before: files, links and directories, as they were made."""
        return [
            path
            for entry in self._manifest.entries
            for path in (*entry.made, *(one.path for one in entry.before if one.kind == ABSENT))
        ]

    def apply(self, change: Change, workers: Workers) -> None:
        """Make one change; when this returns it is made and on the disk.

        PvprepError where that fails. Then, as after any other exception (KeyboardInterrupt), a
        part of it may be made: call undo().
        """
        if self._failed:
            raise PvprepError("a change before this one has failed", "undo first")
        self._failed = True  # until it is done
        try:
            entry = self._intend(change, workers)
            self._manifest.append("change", entry=entry)
            self._make(change, entry, workers)
            self._manifest.append("done", number=entry.number, done=self._done(entry, workers))
        except (OSError, ValueError) as error:
            raise in_words(error, f"cannot change {_paths(change)}") from error
        self._failed = False

    def commit(self) -> None:
        """All is well: nothing but a rollback undoes it from here on."""
        if self._failed:
            raise PvprepError("a change has failed: this cannot be committed", "undo first")
        try:
            self._manifest.append("applied")
            self._manifest.append("committed")
        except OSError as error:
            raise in_words(error, f"cannot write {shown(self._manifest.store)}") from error
        self._lock.release()

    def undo(self, workers: Workers) -> list[str]:
        """Put everything back; what could not be is said in words (empty: all is as it was).

        PvprepError with status HALF_WAY where it had to stop; `recover` goes on from there.
        """
        # Read again what is on the disk: an interrupt may have come between a line and our notes.
        self._manifest = Manifest(self._guest, self._manifest.path)
        problems = undo(self._guest, self._manifest, workers, self._order)
        self._lock.release()
        return problems

    def _intend(self, change: Change, workers: Workers) -> Entry:
        """Look at and back up all that the change touches; the guest is not changed yet."""
        before = tuple(self._before(change, path) for path in self._touched(change))
        if isinstance(change, Move):
            before = (*before, self._free(change.to))
        if isinstance(change, WriteFile):
            _expect(change, before[0])
        made: list[str] = []
        if not isinstance(change, (InstallPackages, Remove)):
            targets = change.paths if isinstance(change, PlaceKernel) else (change.path,)
            for path in (change.to,) if isinstance(change, Move) else targets:
                made += [above for above in self._missing(path) if above not in made]
        if isinstance(change, MakeDir):
            if before[0].kind == ABSENT:
                made.append(change.path)
            before = ()  # its undo is that of any directory made: away with it when it is empty
        number = len(self._manifest.entries) + 1
        return Entry(
            number,
            type(change).__name__,
            change.step,
            change.why,
            "" if isinstance(change, InstallPackages) else change.path,
            change.to if isinstance(change, Move) else "",
            self._temp(change, number),
            before,
            tuple(made),
            self._parents(change, (*(record.path for record in before), *made)),
            dict(workers.installed()) if isinstance(change, InstallPackages) else {},
            digest([change.content]) if isinstance(change, WriteFile) else "",
        )

    def _touched(self, change: Change) -> list[str]:
        if isinstance(change, InstallPackages):
            paths = [self._guest.resolve(path, follow=False) for path in change.touches]
            return list(dict.fromkeys(paths))
        return list(change.paths) if isinstance(change, PlaceKernel) else [change.path]

    def _free(self, path: str) -> Record:
        record = describe(self._guest, path)
        if record.kind != ABSENT:
            raise _stale(Move, record)
        return record

    def _before(self, change: Change, path: str) -> Record:
        record = describe(self._guest, path)
        if record.kind not in MADE_FOR[type(change)]:
            raise _stale(type(change), record)
        if isinstance(change, Move):
            return look(self._guest, path)  # it moves as it is: nothing to back up
        self._backups += 1
        return save(self._guest, path, self._manifest.store, str(self._backups))

    def _temp(self, change: Change, number: int) -> str:
        if isinstance(change, BuildInitrd):
            if "/" in change.version:
                raise PvprepError(f"{change.version!r} is not the version of a kernel")
            return INITRD + change.version
        return f"{TEMP}{self.id}-{number}"

    def _missing(self, path: str) -> list[str]:
        """The directories that have to be made above the path, the outermost first."""
        missing: list[str] = []
        above = os.path.dirname(path)
        while (record := describe(self._guest, above)).kind == ABSENT:
            missing.insert(0, above)
            above = os.path.dirname(above)
        if record.kind != DIR:
            raise PvprepError(f"{path}: {above} is {article(record.kind)}, not a directory")
        return missing

    def _parents(self, change: Change, paths: Iterable[str]) -> tuple[Record, ...]:
        """The directories whose times the change alters.

        Packages alter more of them than are known here, those that this transaction has touched
        before among them: these have to be right again for the undo of the changes before.
        """
        parents: dict[str, Record] = {}
        for path in paths:
            above = os.path.dirname(path)
            while (record := describe(self._guest, above)).kind == ABSENT:
                above = os.path.dirname(above)
            parents[above] = record
        if isinstance(change, InstallPackages):
            earlier = {parent.path for entry in self._manifest.entries for parent in entry.parents}
            for path in earlier.union(self._touched(change)):
                parents.setdefault(path, describe(self._guest, path))
        return tuple(record for record in parents.values() if record.kind == DIR)

    def _make(self, change: Change, entry: Entry, workers: Workers) -> None:
        for path in entry.made:
            mode = change.mode if isinstance(change, MakeDir) and path == change.path else 0o755
            place = locate(self._guest, path)
            os.mkdir(place, 0o700)
            chmod(place, mode)  # whatever the umask
            sync_directory(place)
            sync_directory(os.path.dirname(place))
        if isinstance(change, WriteFile):
            write(self._guest, entry.before[0], change.content, change.mode, entry.temp)
        elif isinstance(change, InstallPackages):
            workers.install(change)
        elif isinstance(change, PlaceKernel):
            placing.put(self._guest, change, entry.temp, workers)
        elif isinstance(change, BuildInitrd):
            self._build(change, entry, workers)
        elif not isinstance(change, MakeDir):
            self._call(change)

    def _call(self, change: Union[Remove, MakeLink, Move]) -> None:
        """The changes that are one system call."""
        place = locate(self._guest, change.path)
        if isinstance(change, Remove):
            os.unlink(place)
        elif isinstance(change, MakeLink):
            os.symlink(change.target, place)
        else:
            to = locate(self._guest, change.to)
            os.rename(place, to)
            sync_directory(os.path.dirname(to))
        sync_directory(os.path.dirname(place))

    def _build(self, change: BuildInitrd, entry: Entry, workers: Workers) -> None:
        """Build beside the old one, and let it take its place only when it is proven."""
        output = os.path.join(os.path.dirname(change.path), entry.temp)
        remove(locate(self._guest, output))
        workers.build(change, output)
        if describe(self._guest, output).kind != FILE:
            raise PvprepError(f"{change.tool} has made no {output}", "see the log")
        if entry.before[0].kind == FILE:
            dress(locate(self._guest, output), entry.before[0])
        swap(locate(self._guest, output), locate(self._guest, change.path))

    def _done(self, entry: Entry, workers: Workers) -> Done:
        """What is there now. rpm does not sync what it unpacks, nor scripts what they write."""
        whole = entry.kind == PlaceKernel.__name__
        after = [look(self._guest, record.path, whole) for record in entry.before]
        after += [look(self._guest, path) for path in entry.made]
        new: list[str] = []
        changed: list[str] = []
        if entry.kind == InstallPackages.__name__:
            for directory in INSTALLED_TO:
                if self._guest.is_dir(directory):
                    sync_all(self._guest.within(directory))
            now = workers.installed()
            new = sorted(set(now) - set(entry.installed))
            changed = lasting(entry.installed, now)
        parents = [describe(self._guest, parent.path) for parent in entry.parents]
        left = {parent.path: parent.mtime for parent in parents if parent.kind == DIR}
        return Done(tuple(after), left, tuple(new), tuple(changed))


def _expect(change: WriteFile, before: Record) -> None:
    """The file must be what the plan was made from."""
    wanted = ABSENT if change.expect is None else digest([change.expect])
    found = ABSENT if before.kind == ABSENT else before.sha256
    if wanted != found:
        raise PvprepError(
            f"{change.path} has changed since pvprep read it",
            "something else is changing this system; let it finish, then try again",
        )


def _stale(kind: type[Change], record: Record) -> PvprepError:
    return PvprepError(
        f"{kind.__name__}: {record.path} is {article(record.kind)}",
        "the plan was made for another state of this system; run pvprep again",
    )


def _paths(change: Change) -> str:
    """What a change is about, for an error."""
    if isinstance(change, InstallPackages):
        return f"packages {' '.join((*change.names, *change.files))}"
    if isinstance(change, PlaceKernel):
        return " or ".join(change.paths)
    return f"{change.path} or {change.to}" if isinstance(change, Move) else change.path
