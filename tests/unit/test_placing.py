"""A kernel from outside in the journal: whole or not at all, and undone unless somebody edited."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from tests.unit.journal.world import World
from tests.unit.journal_tools import changed, killed, mounted, snapshot

from pvprep.backup import parse
from pvprep.changes import MakeDir, PlaceKernel
from pvprep.manifest import State

KERNEL = PlaceKernel(
    "kernel", "3", "/source", "/lib/modules/3", {"/boot/vmlinuz-3": "", "/boot/config-3": ""}
)
MODULES = "/lib/modules/3"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_it_takes_its_place_and_goes_again(world: World) -> None:
    world.commit(KERNEL)
    assert world.file(f"{MODULES}/kernel/a.ko").read_bytes() == b"module"
    assert os.readlink(world.file(f"{MODULES}/kernel/b.ko")) == "a.ko"
    assert world.file("/boot/vmlinuz-3").read_bytes() == b"/boot/vmlinuz-3"
    assert not list(world.root.rglob(".pvprep-*"))
    assert world.problems() == []
    assert world.rollback().problems == ()
    world.is_at_the_start()


def test_new_paths_are_the_directory_and_the_files(world: World) -> None:
    transaction = world.journal.begin({})
    transaction.apply(KERNEL, world.workers)
    assert sorted(transaction.new_paths) == [
        "/boot/config-3", "/boot/vmlinuz-3", "/lib/modules", MODULES,
    ]  # fmt: skip
    transaction.commit()


@pytest.mark.parametrize("path", ["/boot/config-3", MODULES])
def test_what_is_there_is_never_replaced(world: World, path: str) -> None:
    world.file(path).parent.mkdir(exist_ok=True)
    world.file(path).write_bytes(b"theirs")
    world.fails(KERNEL, "PlaceKernel: .* is a file")
    assert world.file(path).read_bytes() == b"theirs"


def test_a_source_that_fails_leaves_nothing(world: World) -> None:
    world.workers.fail = "gather"
    world.fails(KERNEL, "gather failed")
    world.is_at_the_start()


@pytest.mark.parametrize(
    ("path", "content", "says"),
    [
        (f"{MODULES}/kernel/a.ko", b"edited", "its kernel/a.ko differs"),
        (f"{MODULES}/kernel/a.ko", None, "its kernel/a.ko differs"),
        (f"{MODULES}/kernel/new.ko", b"new", "its kernel/new.ko differs"),
        ("/boot/config-3", b"edited", "/boot/config-3: its content differs"),
    ],
)
def test_a_rollback_is_refused_where_somebody_has_edited(
    world: World, path: str, content: bytes, says: str
) -> None:
    world.commit(KERNEL)
    place = world.file(path)
    old = place.read_bytes() if place.exists() else None
    if content is None:
        place.unlink()
    else:
        place.write_bytes(content)
    assert says in world.refused()
    assert [found for found, _ in world.problems()] == [path if "boot" in path else MODULES]
    if old is None:
        place.unlink()
    else:
        place.write_bytes(old)
    world.rollback()
    world.is_at_the_start()


@pytest.mark.parametrize(
    ("what", "says"), [("mode", "its kernel/a.ko differs"), ("link", "its kernel/b.ko differs")]
)
def test_modes_and_links_count_as_well(world: World, what: str, says: str) -> None:
    world.commit(KERNEL)
    if what == "mode":
        world.file(f"{MODULES}/kernel/a.ko").chmod(0o600)
    else:
        world.file(f"{MODULES}/kernel/b.ko").unlink()
        os.symlink("/etc/shadow", world.file(f"{MODULES}/kernel/b.ko"))
    assert says in world.refused()


def test_many_edits_are_not_all_named(world: World) -> None:
    world.commit(KERNEL)
    for number in range(9):
        world.file(f"{MODULES}/new{number}").write_bytes(b"")
    assert world.refused().count("its new") == 5


def test_an_index_that_the_guest_made_anew_is_no_edit(world: World) -> None:
    world.commit(KERNEL)
    world.file(f"{MODULES}/modules.dep").write_bytes(b"by the guest's depmod")
    world.file(f"{MODULES}/modules.alias.bin").write_bytes(b"")
    os.utime(world.file(f"{MODULES}/kernel/a.ko"))
    assert world.problems() == []
    world.rollback()
    assert not world.file(MODULES).exists()


def test_edits_between_a_kill_and_the_recovery_are_kept(world: World) -> None:
    """Killed in the change after it; the tree was done."""
    transaction = world.journal.begin({})
    transaction.apply(KERNEL, world.workers)
    transaction._lock.release()
    world.file(f"{MODULES}/kernel/mine.ko").write_bytes(b"mine")
    (problem,) = world.recover().problems
    assert problem.startswith(f"{MODULES}/kernel/mine.ko had been edited since")
    assert Path(problem.rpartition(" as ")[2]).read_bytes() == b"mine"
    assert changed(world.start, snapshot(world.root)) == {}


def test_modules_of_somebody_else_stay(world: World) -> None:
    """They came after the kill, while ours were being gathered."""
    at = 1
    while True:  # until the kill comes while the files are being gathered
        assert killed(at, lambda: world.commit(KERNEL))
        waiting = list(world.root.glob("lib/modules/.pvprep-*/lib/modules/3/kernel"))
        if waiting:
            break
        world.recover()
        at += 1
    world.file(MODULES).mkdir()
    world.file(f"{MODULES}/theirs").write_bytes(b"")
    problems = world.recover().problems
    assert f"{MODULES} came from somebody else meanwhile, and was left" in problems
    assert f"{MODULES}: it was absent and is a directory" in problems
    assert world.file(f"{MODULES}/theirs").exists()
    assert not list(world.root.rglob(".pvprep-*"))


def test_boot_may_be_another_file_system(world: World, tmp_path: Path) -> None:
    with mounted(tmp_path, 4) as boot:
        subprocess.run(["mount", "--bind", boot, world.file("/boot")], check=True)
        try:
            world.commit(KERNEL)
            assert world.file("/boot/config-3").read_bytes() == b"/boot/config-3"
            assert world.file("/boot/vmlinuz-3").stat().st_mode & 0o777 == 0o644
            assert sorted(os.listdir(boot)) == ["config-3", "lost+found", "vmlinuz-3"]
            world.rollback()
            assert world.problems() == []
            assert os.listdir(boot) == ["lost+found"]
        finally:
            world.guest.close()
            subprocess.run(["umount", world.file("/boot")], check=True)


def test_only_a_boot_file_may_be_missing(world: World) -> None:
    world.commit(MakeDir("s", MODULES), PlaceKernel("s", "3", "/x", "", {"/boot/vmlinuz-3": ""}))
    assert world.file("/boot/vmlinuz-3").exists()
    world.rollback()
    world.is_at_the_start()


def test_a_manifest_of_before_still_counts(world: World) -> None:
    world.commit(MakeDir("s", "/etc/new"))
    (one,) = world.journal.transactions()
    path = Path(one.store) / "manifest"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        for record in line.get("done", {}).get("after", []):
            del record["inside"]
            assert parse(record).inside == {}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert world.journal.transactions()[0].state is State.COMMITTED
    world.rollback()
    world.is_at_the_start()
