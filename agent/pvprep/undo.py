"""Undo a transaction from its manifest, last change first; a kill at any point may be repeated.

Before each change is put back, a line says so and which times its directories shall have in the
end. Who goes on later starts with the last of these lines: undoing one change twice does no harm.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from . import placing
from .backup import ABSENT, DIR, FILE, Record, describe, difference, locate, look, restore, save
from .beneath import shown
from .changes import Workers
from .errors import Exit, PvprepError, told
from .guest import Guest
from .manifest import INITRD, Entry, Manifest, State, Undo
from .moduletree import strangers
from .synced import in_words, remove, sync_directory


def undo(
    guest: Guest,
    manifest: Manifest,
    workers: Workers,
    order: int,
    together: Sequence[Manifest] = (),
) -> list[str]:
    """Put everything back; gives, in words, what could not be.

    order: counts the undone, so that verify knows which of them speaks last for a path. together:
    all that are undone in one go, oldest first, where it is not this one alone.
    PvprepError with status HALF_WAY where something stands in the way; call it again then.
    """
    if manifest.state is State.ROLLED_BACK:
        return list(manifest.problems)
    try:
        manifest.free()
        origin = pristine(together or [manifest])
        for entry in reversed(manifest.entries):
            if manifest.undo and entry.number > min(manifest.undo):
                continue
            before = manifest.undo.get(entry.number)
            intent = before or _intend(guest, manifest, entry, workers)
            edits = _keep_edits(guest, manifest, entry, origin)
            intent = replace(intent, notes=(*intent.notes, *edits))
            if intent != before:
                manifest.append("undo", number=entry.number, undo=intent)
            _undo(guest, manifest, entry, workers)
        problems = [note for done in manifest.undo.values() for note in done.notes]
        found = differences(guest, pristine([manifest]))
        problems += [f"{told(path)}: {what}" for path, what in found if what]
        for name in os.listdir(manifest.store):
            if name.endswith(".link"):  # it would keep alive what somebody removes
                remove(os.path.join(manifest.store, name))
        manifest.append("rolled-back", order=order, problems=problems)
    except PvprepError as error:
        hint = error.hint or "see to that, then run `pvprep recover`"
        raise PvprepError(error.message, hint, Exit.HALF_WAY) from error
    except (OSError, ValueError, OverflowError) as error:
        doing = f"cannot put everything back ({shown(manifest.store)})"
        raise in_words(error, doing, Exit.HALF_WAY) from error
    return problems


def pristine(manifests: Sequence[Manifest]) -> dict[str, Record]:
    """What each path was before these transactions (oldest first), as far as can be told.

    Not for paths beneath what was no directory then, nor beneath a directory after that was moved:
    there was nothing, or something else, by that name.
    """
    found: dict[str, Record] = {}
    others: list[str] = []
    for entry in (entry for manifest in manifests for entry in manifest.entries):
        for record in (*entry.before, *(Record(path, ABSENT) for path in entry.made)):
            if not any(beneath(record.path, other) for other in others):
                found.setdefault(record.path, record)
            if record.kind != DIR:
                others.append(record.path)
        others += [entry.path, entry.to] if entry.to else []
    return found


def overlay(records: dict[str, Record], newer: Iterable[Record]) -> None:
    """Let newer records replace older ones, and all that cannot be beneath them any more."""
    for record in newer:
        if record.kind != DIR:
            for path in [path for path in records if beneath(path, record.path)]:
                del records[path]
        records[record.path] = record


def beneath(path: str, directory: str) -> bool:
    """Whether the path is in the directory, however deep."""
    return path.startswith(f"{directory}/")


def differences(
    guest: Guest, records: Mapping[str, Record], edits: bool = False
) -> list[tuple[str, str]]:
    """Each path with how it differs from its record ("": not at all); edits: as difference()."""
    found = []
    for path, record in records.items():
        try:
            now = look(guest, path, bool(record.inside))
            found.append((path, difference(record, now, edits)))
        except PvprepError as error:
            found.append((path, error.message))
        except OSError as error:
            found.append((path, error.strerror or str(error)))
    return found


def lasting(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Packages that are gone or of another version now, in words: no undo brings them back."""
    return [
        f"package {name} {version} was replaced by {now[name]}"
        if name in now
        else f"package {name} {version} was removed"
        for name, version in sorted(before.items())
        if now.get(name) != version
    ]


def _intend(guest: Guest, manifest: Manifest, entry: Entry, workers: Workers) -> Undo:
    """What to decide once, before anything of the change is put back.

    A directory gets its times back only if nobody else has put a name into it since.
    """
    done = manifest.done.get(entry.number)
    times = {}
    for parent in entry.parents:
        now = describe(guest, parent.path)
        others = now.kind == DIR and done and now.mtime != done.left.get(parent.path)
        best = now if others else parent
        times[parent.path] = (best.atime, best.mtime)
    notes: list[str] = []
    if entry.kind == "InstallPackages":
        notes += done.lasting if done else lasting(entry.installed, workers.installed())
    keep: tuple[str, ...] = ()
    if entry.kind == "PlaceKernel" and not done:
        paths = [record.path for record in entry.before]
        if placing.is_theirs(guest, paths, entry.temp):
            keep = (entry.path,)
            notes.append(f"{entry.path} came from somebody else meanwhile, and was left")
    return Undo(times, tuple(notes), keep)


def _keep_edits(
    guest: Guest, manifest: Manifest, entry: Entry, origin: Mapping[str, Record]
) -> list[str]:
    """Keep what people wrote between a kill and the recovery: it is about to be replaced.

    What is as the change made it is no edit, nor what is as it was before that or in the first
    place (origin). Of a change that was stopped half way, only what a file was to be is known.
    """
    done = manifest.done.get(entry.number)
    if done:
        after = done.after
    elif entry.planned:
        after = (Record(entry.path, FILE, sha256=entry.planned),)
    else:
        return []
    notes = []
    for old, new in zip(entry.before, after):
        now = look(guest, old.path, bool(new.inside))
        ours = {one.sha256 for one in (old, new, origin.get(old.path, old))}
        paths = []
        if now.kind == FILE and now.sha256 not in ours and not entry.to:
            paths.append(old.path)
        if now.kind == DIR and new.inside:
            found = (f"{old.path}/{name}" for name in strangers(new.inside, now.inside))
            paths += [path for path in found if describe(guest, path).kind == FILE]
        for path in paths:
            taken = [int(name) for name in os.listdir(manifest.store) if name.isdigit()]
            name = str(max(taken, default=0) + 1)
            save(guest, path, manifest.store, name)
            kept = os.path.join(manifest.store, name)
            notes.append(f"{path} had been edited since; that version is kept as {shown(kept)}")
    return notes


def _undo(guest: Guest, manifest: Manifest, entry: Entry, workers: Workers) -> None:
    keep = manifest.undo[entry.number].keep
    if entry.kind == "InstallPackages":
        _purge(manifest, entry, workers)
    if entry.kind == "PlaceKernel":
        placing.take_away(guest, entry.path, entry.temp, entry.path in keep)
    for parent in entry.parents:
        if describe(guest, parent.path).kind == ABSENT:  # a package took it along
            restore(guest, parent, manifest.store, entry.temp)
    if entry.to:
        _move_back(guest, entry)
    else:
        for record in (one for one in reversed(entry.before) if one.path not in keep):
            restore(guest, record, manifest.store, entry.temp)
    if entry.kind == "BuildInitrd":
        workers.put_back(entry.temp[len(INITRD) :], entry.path)
    for path in reversed(entry.made):
        try:
            os.rmdir(locate(guest, path))
        except OSError:
            pass  # not there yet, or no longer empty; the comparison in the end tells
    for path, times in manifest.undo[entry.number].times.items():
        os.utime(locate(guest, path), ns=times, follow_symlinks=False)
        sync_directory(locate(guest, path))


def _purge(manifest: Manifest, entry: Entry, workers: Workers) -> None:
    """Remove the packages that came with the change, and no others.

    At once, as mending first would configure, and build an initrd for, what has to go; and once
    more after it: a package manager that was killed knows some of them from its own journal only.
    """
    new = _came(manifest, entry, workers)
    if new:
        try:
            workers.purge(new)
        except PvprepError:
            pass  # it may need mending first
    try:
        workers.mend()
    except PvprepError:
        pass  # what is broken in the end, a survey tells (dpkg.broken)
    new = _came(manifest, entry, workers)
    if new:
        workers.purge(new)
    still = _came(manifest, entry, workers)
    if still:
        raise PvprepError(
            f"still installed: {' '.join(still)}",
            "remove them with the package manager, then run `pvprep recover`",
        )


def _came(manifest: Manifest, entry: Entry, workers: Workers) -> list[str]:
    """The packages that came with the change and are there now."""
    done = manifest.done.get(entry.number)
    now = set(workers.installed())
    return sorted(now & set(done.new) if done else now - set(entry.installed))


def _move_back(guest: Guest, entry: Entry) -> None:
    away, home = describe(guest, entry.to).kind, describe(guest, entry.path).kind
    if away != ABSENT and home == ABSENT:
        source, target = locate(guest, entry.to), locate(guest, entry.path)
        os.rename(source, target)
        sync_directory(os.path.dirname(target))
        sync_directory(os.path.dirname(source))
    elif away != ABSENT or home == ABSENT:
        raise PvprepError(
            f"{entry.to} cannot be moved back to {entry.path}: "
            + ("it is gone" if away == ABSENT else "something else is there now"),
            f"bring that in order by hand, so that only {entry.path} is left, "
            "then run `pvprep recover`",
        )
