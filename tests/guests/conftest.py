"""Room for trees and images: they are large, and gone when a test ends."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.guests import roots


@pytest.fixture
def space() -> Iterator[Path]:
    """A directory below build/ for what is too large for tmp_path; removed after the test."""
    parent = roots.CACHE.parent / "run"
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent) as directory:
        yield Path(directory)
