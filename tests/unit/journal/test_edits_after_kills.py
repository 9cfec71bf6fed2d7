"""What people write between a kill, at every instant, and the recovery: it is never lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.journal.world import FSTAB, World
from tests.unit.journal_tools import killed

from pvprep.changes import WriteFile

pytestmark = pytest.mark.usefixtures("quick")

AGAIN = WriteFile("devices", "/etc/fstab", b"newer", b"new")


def _killed(
    base: Path, prepare: Callable[[World], object], work: Callable[[World], object]
) -> Iterator[World]:
    """A guest killed at each altering call of the work, one after the other."""
    for at in range(1, 1000):
        world = World(base / str(at))
        prepare(world)
        if not killed(at, lambda world=world: work(world)):  # type: ignore[misc]
            return
        yield world
        world.close()
    raise AssertionError("it does not end")


def _edited(world: World) -> None:
    """An edit now is kept, and all else is put back."""
    world.file("/etc/fstab").write_bytes(b"mine")
    problems = world.recover().problems
    kept = [Path(one.split(" kept as ")[1]) for one in problems if " kept as " in one]
    assert b"mine" in [path.read_bytes() for path in kept], problems
    assert len(problems) == len(kept)
    world.is_at_the_start()


def test_after_a_killed_rollback(tmp_path: Path) -> None:
    def prepare(world: World) -> None:
        world.commit(FSTAB)
        world.commit(AGAIN)

    count = 0
    for world in _killed(tmp_path, prepare, lambda world: world.rollback()):
        if world.journal.pending():
            _edited(world)
            count += 1
    assert count > 10


def test_after_a_killed_run(tmp_path: Path) -> None:
    count = 0
    for world in _killed(tmp_path, lambda _world: None, lambda world: world.commit(FSTAB, AGAIN)):
        pending = world.journal.pending()
        if pending and pending[0].entries and "applied" not in pending[0].marks:
            _edited(world)
            count += 1
    assert count > 10


def test_without_an_edit_there_is_no_word_of_one(tmp_path: Path) -> None:
    for world in _killed(tmp_path, lambda _world: None, lambda world: world.commit(FSTAB, AGAIN)):
        assert world.recover().problems == ()

    def prepare(world: World) -> None:
        world.commit(FSTAB)
        world.commit(AGAIN)

    for world in _killed(tmp_path / "back", prepare, lambda world: world.rollback()):
        if world.journal.pending():
            assert world.recover().problems == ()
            world.is_at_the_start()
