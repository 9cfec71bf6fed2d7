"""The guest that each test of the journal has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.unit.journal.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """fsync does nothing: these tests cut no power."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.setattr("pvprep.manifest.RESERVE_SIZE", 4096)
