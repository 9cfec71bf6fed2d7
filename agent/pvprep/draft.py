"""Draft: the guest's configuration as the steps want it to be, still in memory only.

Steps read it and write it one after the other, so that two of them can change one file; what
differs from the facts in the end is the plan.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Optional

from .changes import (
    BuildInitrd,
    Change,
    InstallPackages,
    MakeDir,
    MakeLink,
    Move,
    PlaceKernel,
    Remove,
    WriteFile,
)
from .editors.edited import Edited
from .facts import Facts, File
from .findings import Finding, Level


def encode(text: str) -> bytes:
    """Back from File.text to the bytes it came from."""
    return text.encode("utf-8", "surrogateescape")


@dataclass
class _Pending:
    """A file that steps have rewritten: by whom first, the content so far, why."""

    step: str
    content: bytes
    mode: int
    why: list[str] = field(default_factory=list)


class Draft:
    """See the module. Paths are as the facts know them; symlinks were resolved by the survey."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.findings: list[Finding] = []
        self._pending: dict[str, _Pending] = {}
        self._others: list[Change] = []
        self._late: list[str] = []
        self._gone: set[str] = set()

    # Reading

    def file(self, path: str) -> Optional[File]:
        """The file as it will be, None where there is or will be none."""
        found = self.facts.files.get(path)
        resolved = found.path if found else path
        if path in self._gone:
            return None
        pending = self._pending.get(resolved)
        if pending:
            base = found or File(resolved)
            return dataclasses.replace(base, content=pending.content, mode=pending.mode)
        return found

    def text(self, path: str) -> str:
        """The text as it will be, "" where there is none."""
        found = self.file(path)
        return found.text if found else ""

    # Writing

    def edit(self, step: str, path: str, edited: Edited) -> bool:
        """Take over an editor's result; each of its edits becomes a line for people."""
        if not edited.edits:
            return False
        places: dict[tuple[str, str], list[str]] = {}
        for edit in edited.edits:
            if not (edit.old or edit.new):
                continue  # an empty line that keeps others apart
            places.setdefault((edit.old, edit.new), []).append(str(edit.line))
        why = [_say(f"{path}:{','.join(at)}", *change) for change, at in places.items()]
        self._put(step, path, encode(edited.text), 0o644, why)
        return True

    def create(self, step: str, path: str, text: str, why: str, mode: int = 0o644) -> bool:
        """Make sure that a file of our own has this text (made, or brought up to date)."""
        there = self.file(path)
        if there is not None and there.content == encode(text):
            return False
        self._put(step, path, encode(text), mode, [f"{path} {why}"])
        return True

    def remove(self, step: str, path: str, why: str) -> None:
        """Remove a file or a symlink (the link itself)."""
        self._gone.add(path)
        found = self.facts.files[path]
        real = path if found.target is not None else found.path
        self._pending.pop(real, None)
        self._others.append(Remove(step, real, (f"{path} {why}",)))

    def move(self, step: str, path: str, to: str, why: str) -> None:
        """Rename a file or directory."""
        self._others.append(Move(step, path, to, (f"{path} -> {to}: {why}",)))

    def directory(self, step: str, path: str, why: str) -> None:
        """Make a directory."""
        self._others.append(MakeDir(step, path, why=(f"{path} {why}",)))

    def link(self, step: str, path: str, target: str, why: str) -> None:
        """Make a symlink."""
        self._others.append(MakeLink(step, path, target, (f"{path} -> {target}: {why}",)))

    def install(self, change: InstallPackages) -> None:
        """Install packages, after every file is written that their scripts look at."""
        self._others.append(change)

    def place(self, change: PlaceKernel) -> None:
        """Put a kernel there, before its initrd is built."""
        self._others.append(change)

    def build(self, change: BuildInitrd) -> None:
        """Build an initrd, after every file is written that goes into it."""
        self._others.append(change)

    def write_late(self, path: str) -> None:
        """Write this file after packages and initrds: it moves the boot to what they made."""
        self._late.append(path)

    def say(
        self,
        id: str,
        level: Level,
        message: str,
        *,
        evidence: str = "",
        where: str = "",
        remedy: str = "",
    ) -> None:
        """Report something found."""
        self.findings.append(Finding(id, level, message, evidence, where, remedy))

    @property
    def errors(self) -> list[Finding]:
        """What stops a conversion."""
        return [finding for finding in self.findings if finding.level is Level.ERROR]

    # The outcome

    @property
    def builds(self) -> list[BuildInitrd]:
        """The initrds to be built."""
        return [change for change in self._others if isinstance(change, BuildInitrd)]

    @property
    def placed(self) -> list[str]:
        """The files in /boot that come from outside."""
        changes = [change for change in self._others if isinstance(change, PlaceKernel)]
        return [path for change in changes for path in change.boot]

    def rewritten(self, prefixes: Iterable[str]) -> list[str]:
        """Files below these paths that will change, come or go."""
        starts = tuple(prefixes)
        paths = [path for path in self._pending if path.startswith(starts)]
        for change in self._others:
            if isinstance(change, (Remove, Move)) and change.path.startswith(starts):
                paths.append(change.path)
        return paths

    def changes(self) -> tuple[Change, ...]:
        """All changes, in the order in which they are safe to make."""
        late = {self._resolved(path) for path in self._late}
        writes = {path: self._write(path) for path in self._pending}
        others = self._others
        heavy = (InstallPackages, PlaceKernel, BuildInitrd)
        return (
            *(write for path, write in writes.items() if path not in late),
            *(change for change in others if not isinstance(change, heavy)),
            *(change for change in others if isinstance(change, InstallPackages)),
            *(change for change in others if isinstance(change, PlaceKernel)),
            *(change for change in others if isinstance(change, BuildInitrd)),
            *(write for path, write in writes.items() if path in late),
        )

    def _resolved(self, path: str) -> str:
        found = self.facts.files.get(path)
        return found.path if found else path

    def _before(self, resolved: str) -> Optional[bytes]:
        return self._contents.get(resolved)

    @cached_property
    def _contents(self) -> dict[str, bytes]:
        """What the files hold now, by where they really are."""
        files = reversed([*self.facts.files.values()])  # the first of several names counts
        return {found.path: found.content for found in files if not found.is_dir}

    def _put(self, step: str, path: str, content: bytes, mode: int, why: list[str]) -> None:
        resolved = self._resolved(path)
        pending = self._pending.get(resolved)
        if pending is None:
            pending = self._pending[resolved] = _Pending(step, content, mode)
        pending.content = content
        pending.why += why
        if content == self._before(resolved):
            del self._pending[resolved]

    def _write(self, path: str) -> WriteFile:
        pending = self._pending[path]
        return WriteFile(
            pending.step, path, pending.content, self._before(path), pending.mode,
            tuple(pending.why),
        )


def _say(place: str, old: str, new: str) -> str:
    if not new:
        return f"{place} {old} removed"
    return f"{place} {old} -> {new}" if old else f"{place} {new} added"
