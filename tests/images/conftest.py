"""The host is the same after each test as before it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def the_host_is_left_as_it_was(tmp_path: Path) -> Iterator[None]:
    before = state(tmp_path)
    yield
    assert state(tmp_path) == before


def state(place: Path) -> tuple[object, ...]:
    """What attaching could leave behind: loop devices, mounts, mappings, files, a namespace."""
    loops = subprocess.run(["losetup", "-a"], capture_output=True, text=True).stdout
    mappings = subprocess.run(["dmsetup", "ls"], capture_output=True, text=True).stdout
    return (
        [line for line in loops.splitlines() if str(place) in line],  # others work here as well
        "pvprep" in mappings,
        [line for line in Path("/proc/self/mounts").read_text().splitlines() if "pvprep" in line],
        os.path.exists("/run/pvprep"),
        os.readlink("/proc/self/ns/mnt"),
        os.getcwd(),
    )
