"""Any changes to any tree, killed or not: the way back is exact."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.journal_tools import FakeWorkers, age, changed, killed, snapshot

from pvprep.changes import Change, MakeDir, MakeLink, Move, Remove, WriteFile
from pvprep.errors import PvprepError
from pvprep.guest import Guest
from pvprep.journal import Journal
from pvprep.manifest import State

NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))
TREES = st.dictionaries(PATHS, st.sampled_from(["file", "dir", "link", "hard", "fifo"]), max_size=8)
WRITES = st.builds(
    WriteFile,
    st.just("s"),
    PATHS,
    st.sampled_from([b"", b"1", b"22"]),
    st.sampled_from([None, b"", b"1", b"22", b"f"]),
)
CHANGES = st.one_of(
    WRITES,
    WRITES,
    st.builds(Remove, st.just("s"), PATHS),
    st.builds(Move, st.just("s"), PATHS, PATHS),
    st.builds(Move, st.just("s"), PATHS, PATHS),
    st.builds(MakeDir, st.just("s"), PATHS, st.sampled_from([0o700, 0o1777])),
    st.builds(MakeLink, st.just("s"), PATHS, NAMES),
)


def plant(root: Path, tree: dict[str, str]) -> None:
    """Make the tree, as far as its parts fit together."""
    files: list[Path] = []
    for path, kind in sorted(tree.items()):
        place = root / path[1:]
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if kind == "hard" and files:
                os.link(files[0], place)
            elif kind in ("file", "hard"):
                place.write_bytes(b"f")
                files.append(place)
            elif kind == "dir":
                place.mkdir()
            elif kind == "link":
                os.symlink("b", place)
            else:
                os.mkfifo(place)
        except OSError:
            pass


KILLS = st.integers(1, 150)
PLANS = st.lists(st.lists(CHANGES, min_size=1, max_size=5), min_size=1, max_size=4)
ANYTHING = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.usefixtures("quick")
@ANYTHING
@given(TREES, PLANS)
def test_rollback_is_exact_whatever_was_done(
    tree: dict[str, str], transactions: list[list[Change]]
) -> None:
    with planted(tree) as (root, journal, workers):
        start = snapshot(root)
        for changes in transactions:
            before = snapshot(root)
            if not run(journal, workers, changes):
                assert changed(before, snapshot(root)) == {}
            assert [one for one in journal.verify() if one.problem] == []
        assert journal.rollback(workers).problems == ()
        assert changed(start, snapshot(root)) == {}
        assert [one for one in journal.verify() if one.problem] == []


@pytest.mark.usefixtures("quick")
@ANYTHING
@given(TREES, PLANS, st.lists(KILLS, min_size=12, max_size=12))
def test_rollback_is_exact_whatever_was_killed(
    tree: dict[str, str], transactions: list[list[Change]], kills: list[int]
) -> None:
    with planted(tree) as (root, journal, workers):
        start = snapshot(root)
        for changes in transactions:
            before = snapshot(root)
            killed(kills.pop(), lambda changes=changes: run(journal, workers, changes))
            killed(kills.pop(), lambda: journal.recover(workers))
            assert journal.recover(workers).problems == ()
            if all(one.state is State.ROLLED_BACK for one in journal.transactions()[-1:]):
                assert changed(before, snapshot(root)) == {}
            assert [one for one in journal.verify() if one.problem] == []
        killed(kills.pop(), lambda: journal.rollback(workers))
        killed(kills.pop(), lambda: journal.recover(workers))
        assert journal.recover(workers).problems == ()
        assert journal.rollback(workers).problems == ()
        assert changed(start, snapshot(root)) == {}
        assert [one for one in journal.verify() if one.problem] == []


@contextmanager
def planted(tree: dict[str, str]) -> Iterator[tuple[Path, Journal, FakeWorkers]]:
    """The tree, in memory."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as base:
        root = Path(base, "root")
        (root / "var/lib/pvprep").mkdir(parents=True)
        plant(root, tree)
        age(root)
        yield root, Journal(Guest(str(root))), FakeWorkers(root, root)


def run(journal: Journal, workers: FakeWorkers, changes: list[Change]) -> bool:
    """One transaction; False where a change was refused, and all undone."""
    transaction = journal.begin({})
    try:
        for change in changes:
            transaction.apply(change, workers)
        transaction.commit()
    except PvprepError:
        assert transaction.undo(workers) == []
        return False
    return True
