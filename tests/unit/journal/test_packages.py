"""Packages that a transaction installed, and what becomes of them on the way back."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest
from tests.unit.journal.world import FSTAB, INSTALL, World

from pvprep.changes import BuildInitrd, InstallPackages, Remove
from pvprep.errors import Exit, PvprepError


def test_only_what_came_with_it_is_purged(world: World) -> None:
    world.commit(INSTALL)
    packages = {**world.workers.installed(), "theirs": "1", "libc": "2"}
    world.workers.database.write_text(json.dumps(packages))
    assert world.rollback().problems == ()
    assert world.workers.purged == ["linux-2"]
    assert world.workers.installed() == {"libc": "2", "firmware": "1", "theirs": "1"}


def test_what_was_upgraded_is_named(world: World) -> None:
    install = world.workers.install

    def upgrade(change: InstallPackages) -> None:
        install(change)
        packages = {**world.workers.installed(), "libc": "2"}
        del packages["firmware"]
        world.workers.database.write_text(json.dumps(packages))

    world.workers.install = upgrade  # type: ignore[method-assign]
    world.commit(INSTALL)
    assert world.rollback().problems == (
        "package firmware 1 was removed",
        "package libc 1 was replaced by 2",
    )


def test_half_installed_packages_go_too(world: World) -> None:
    world.workers.fail = "install"
    transaction = world.journal.begin({})
    with pytest.raises(PvprepError, match="install failed"):
        transaction.apply(INSTALL, world.workers)
    world.workers.fail = "mend"  # a package that cannot be configured can still be purged
    assert transaction.undo(world.workers) == []
    assert world.workers.installed() == {"libc": "1", "firmware": "1"}
    world.is_at_the_start()


@pytest.mark.parametrize("how", ["raises", "does nothing"])
def test_a_purge_that_fails_is_tried_again(world: World, how: str) -> None:
    transaction = world.journal.begin({})
    for change in (FSTAB, INSTALL, Remove("s", "/etc/conf.d/a")):
        transaction.apply(change, world.workers)
    purge = world.workers.purge
    if how == "raises":
        world.workers.fail = "purge"
    else:
        world.workers.purge = lambda names: None  # type: ignore[method-assign]
    with pytest.raises(PvprepError, match=r"purge failed|still installed: linux-2") as caught:
        transaction.undo(world.workers)
    assert caught.value.status is Exit.HALF_WAY
    assert "pvprep recover" in caught.value.hint
    assert world.file("/etc/conf.d/a").exists()
    world.workers.fail = None
    world.workers.purge = purge  # type: ignore[method-assign]
    with pytest.raises(PvprepError, match="another pvprep"):
        world.recover()
    assert transaction.undo(world.workers) == []
    assert world.file("/etc/fstab").read_bytes() == b"old"


def test_a_purge_that_takes_a_directory_along(world: World) -> None:
    world.commit(INSTALL)
    purge = world.workers.purge

    def thorough(names: Any) -> None:
        purge(names)
        shutil.rmtree(world.file("/boot/grub"))

    world.workers.purge = thorough  # type: ignore[method-assign]
    assert world.rollback().problems == ()
    world.is_at_the_start()


def test_what_a_lost_run_left_of_an_initrd_is_in_nobodys_way(world: World) -> None:
    world.file("/boot/.pvprep-initrd-1").write_bytes(b"left")
    world.commit(BuildInitrd("s", "1", "/boot/initrd-1", "fake"))
    assert world.file("/boot/initrd-1").read_bytes() == b"new initrd"
    assert not world.file("/boot/.pvprep-initrd-1").exists()
