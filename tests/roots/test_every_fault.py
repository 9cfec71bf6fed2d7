"""A conversion of a real root, with a fault at every call that alters anything: nothing is lost."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests import figures
from tests.roots import everywhere, trees
from tests.roots.everywhere import Layer, forked, going_wrong

from pvprep.errors import Exit

pytestmark = [pytest.mark.roots, pytest.mark.long]
# Which calls: all, or each so many.
STEP = int(os.environ.get("PVPREP_EVERY", "1"))
_WRITE = os.write
NOTHING_LOST = {
    "EIO": OSError(errno.EIO, "Input/output error"),
    "ENOSPC": OSError(errno.ENOSPC, "No space left on device"),
    "EROFS": OSError(errno.EROFS, "Read-only file system"),
    "Ctrl-C": None,
}


@contextmanager
def layer(root: Path, directory: Path, name: object) -> Iterator[Layer]:
    with trees.layer(root, directory / str(name)) as merged:
        yield Layer(root, merged)


@pytest.fixture(scope="module")
def points(small_guest: Path, tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many calls a conversion makes."""
    with layer(small_guest, tmp_path_factory.mktemp("points"), "all") as tree:
        return everywhere.count(tree.prepare)


def _kill(name: str, args: tuple[Any, ...]) -> None:
    if name == "write":
        _WRITE(args[0], bytes(args[1])[: len(args[1]) // 2])
    os.kill(os.getpid(), signal.SIGKILL)


def test_killed_it_is_recovered_to_one_of_the_ends(
    small_guest: Path, tmp_path: Path, points: int
) -> None:
    assert points > 100
    lost = []
    for at in range(1, points + 1, STEP):
        with layer(small_guest, tmp_path, at) as tree:

            def work(tree: Layer = tree, at: int = at) -> Exit:
                with going_wrong(at, _kill):
                    return tree.prepare()

            assert forked(work) == -signal.SIGKILL
            recovered = forked(lambda tree=tree: tree.history("recover"))
            if recovered or not _whole(tree):
                lost.append(f"{at}: {recovered}, {tree.differences()}")
    figures.leave("killed", "all", len(range(1, points + 1, STEP)), len(lost))
    assert lost == []


@pytest.mark.parametrize("name", NOTHING_LOST)
def test_failing_it_puts_everything_back(
    small_guest: Path, tmp_path: Path, points: int, name: str
) -> None:
    lost = []
    for at in range(1, points + 1, STEP):
        with layer(small_guest, tmp_path, at) as tree:

            def wrong(_name: str, _args: tuple[Any, ...]) -> None:
                error = NOTHING_LOST[name]
                if error:
                    raise error
                os.kill(os.getpid(), signal.SIGINT)

            def work(tree: Layer = tree, at: int = at) -> Exit:
                with going_wrong(at, wrong):
                    return tree.prepare()

            status = forked(work)
            if status == Exit.HALF_WAY:
                status = forked(lambda tree=tree: tree.history("recover")) or Exit.PUT_BACK
            ends = (Exit.DONE, Exit.NOT_READY, Exit.PUT_BACK)
            good = _whole(tree) if status in ends else not tree.differences()
            if status not in (*ends, everywhere.INTERRUPTED) or not good:
                lost.append(f"{at}: {status}, {tree.differences()}")
    figures.leave("failed", name, len(range(1, points + 1, STEP)), len(lost))
    assert lost == []


def _whole(tree: Layer) -> bool:
    """At one of the ends: as before, or ready, with an exact way back."""
    if not tree.differences():
        return True
    return tree.ready and forked(lambda: tree.history("rollback")) == 0 and not tree.differences()
