"""Files that are on the disk when a call returns."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pvprep import synced


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The calls of fsync(2)."""
    calls: list[int] = []
    monkeypatch.setattr(os, "fsync", calls.append)
    return calls


def test_what_is_written_is_waited_for(tmp_path: Path, waits: list[int]) -> None:
    synced.create(str(tmp_path / "new"), [b"x"])
    assert len(waits) == 1
    synced.swap(str(tmp_path / "new"), str(tmp_path / "old"))
    assert len(waits) == 3  # the file, and its directory


def test_not_where_a_file_system_writes_through_by_itself(tmp_path: Path, waits: list[int]) -> None:
    with synced.written_through(str(tmp_path)):
        synced.create(str(tmp_path / "new"), [b"x"])
        assert waits == []
        synced.sync(str(tmp_path / "new"))  # of a file that is rewritten in place all counts
        assert len(waits) == 1
    synced.create(str(tmp_path / "newer"), [b"x"])
    assert len(waits) == 2
