"""A small guest for the journal, and changes that fit it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tests.unit.journal_tools import FakeWorkers, age, changed, snapshot

from pvprep.changes import Change, InstallPackages, WriteFile
from pvprep.errors import Exit, PvprepError
from pvprep.guest import Guest
from pvprep.journal import Journal

FSTAB = WriteFile("devices", "/etc/fstab", b"new", b"old", why=("/etc/fstab:1 sda1 -> xvda1",))
INSTALL = InstallPackages(
    "kernel", ("linux-2",), touches=("/boot", "/boot/grub/grub.cfg", "/vmlinuz")
)


class World:
    """A small guest, its journal and its package manager."""

    def __init__(self, base: Path) -> None:
        self.root = root = base / "root"
        for directory in ("etc/conf.d", "boot/grub", "var/lib/pvprep", "lib/tls/i686"):
            (root / directory).mkdir(parents=True)
        (root / "etc/fstab").write_bytes(b"old")
        (root / "etc/conf.d/a").write_bytes(b"a")
        (root / "boot/grub/grub.cfg").write_bytes(b"menu")
        (root / "boot/initrd-1").write_bytes(b"old initrd")
        (root / "boot/initrd-1").chmod(0o600)
        (root / "lib/tls/i686/libc").write_bytes(b"elf")
        os.symlink("boot/vmlinuz-1", root / "vmlinuz")
        age(root)
        self.start = snapshot(root)
        database = base / "packages"
        database.write_text('{"libc": "1", "firmware": "1"}')
        self.workers = FakeWorkers(root, database)
        self.guest = Guest(str(root))
        self.journal = Journal(self.guest)

    def close(self) -> None:
        """So that it can be unmounted."""
        self.guest.close()

    def commit(self, *changes: Change) -> None:
        """One transaction."""
        transaction = self.journal.begin({"what": "test"})
        for change in changes:
            transaction.apply(change, self.workers)
        transaction.commit()

    def fails(self, change: Change, match: str) -> PvprepError:
        """The change is refused, and undoing leaves everything as it was."""
        before = snapshot(self.root)
        transaction = self.journal.begin({})
        with pytest.raises(PvprepError, match=match) as caught:
            transaction.apply(change, self.workers)
        assert transaction.undo(self.workers) == []
        assert changed(before, snapshot(self.root)) == {}
        return caught.value

    def rollback(self) -> Any:
        return self.journal.rollback(self.workers)

    def recover(self) -> Any:
        return self.journal.recover(self.workers)

    def refused(self) -> str:
        """A rollback is refused and changes nothing; what it says."""
        before = snapshot(self.root)
        with pytest.raises(PvprepError) as caught:
            self.rollback()
        assert caught.value.status is Exit.NOT_READY
        assert changed(before, snapshot(self.root)) == {}
        assert self.journal.pending() == []
        return caught.value.message

    def is_at_the_start(self) -> None:
        assert changed(self.start, snapshot(self.root)) == {}
        assert self.problems() == []

    def problems(self) -> list[tuple[str, str]]:
        """What verify complains about."""
        return [(one.path, one.problem) for one in self.journal.verify() if one.problem]

    def file(self, path: str) -> Path:
        return self.root / path.lstrip("/")
