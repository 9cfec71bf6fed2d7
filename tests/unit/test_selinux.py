"""restorecon for new files. No SELinux is to be had on a machine that does not boot with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.unit.trees import Running

from pvprep import selinux
from pvprep.errors import PvprepError
from pvprep.guest import Completed, Guest

PATHS = ["/etc/systemd/network", "/etc/systemd/network/10-pvprep-00163e0112c1.link"]


class FakeRestorecon(Running):
    """A system where SELinux is at work, as far as selinuxfs tells; it records what is run."""

    def __init__(self, root: Path, status: int = 0) -> None:
        super().__init__(str(root))
        (root / "sys/fs/selinux").mkdir(parents=True)
        (root / "sys/fs/selinux/enforce").write_text("1")
        self.status = status
        self.ran: list[Sequence[str]] = []

    def run(self, argv: Sequence[str], **options: Any) -> Completed:
        self.ran.append(argv)
        return Completed(tuple(argv), self.status, "")


def test_new_files_are_labelled(tmp_path: Path) -> None:
    guest = FakeRestorecon(tmp_path)
    selinux.restore(guest, PATHS, print)
    assert guest.ran == [["restorecon", "-R", "-i", *PATHS]]
    selinux.restore(guest, [], print)
    assert len(guest.ran) == 1


def test_without_selinux_nothing_is_run(tmp_path: Path) -> None:
    guest = FakeRestorecon(tmp_path)
    (tmp_path / "sys/fs/selinux/enforce").unlink()
    selinux.restore(guest, PATHS, print)
    assert guest.ran == []


def test_a_tree_is_left_to_its_first_boot(tmp_path: Path) -> None:
    FakeRestorecon(tmp_path)
    selinux.restore(Guest(str(tmp_path)), PATHS, print)  # would fail: nothing can run there


def test_that_it_fails_is_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(PvprepError, match="could not be labelled"):
        selinux.restore(FakeRestorecon(tmp_path, status=1), PATHS, print)
