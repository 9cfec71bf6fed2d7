"""Disks whose volumes are in pieces, attached in a machine with device-mapper, MD and udev.

There LVM's and MD's own rules of udev are at work, and start what they see by themselves.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.guests import attach_inside, images, job, profiles, roots

pytestmark = [pytest.mark.guest, pytest.mark.long]

_TOOLS = ("cryptsetup-bin", "fdisk", "kpartx", "lvm2", "mdadm")
_HOST = replace(profiles.BOOKWORM_WITH_PYTHON, extra=_TOOLS)
_RUN = """
modprobe -a loop dm_mod dm_crypt dm_mirror raid0 raid1
PYTHONPATH=/job python3 /job/attach_inside.py
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of all cases, in one machine."""
    place = tmp_path_factory.mktemp("machine")
    root, share = place / "root", place / "share"
    roots.unpack(roots.build_profile(_HOST), root)
    job.install(root)
    images.mbr(root, place / "disk.img")
    roots.remove(root)
    inside = Path(attach_inside.__file__)
    shutil.copytree(inside.parents[2] / "agent/pvprep", share / "pvprep")
    shutil.copy(inside, share)
    done = job.run(place / "disk.img", place, _RUN, timeout=1500)
    (place / "disk.img").unlink()
    assert done.status == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    assert [name for name in answer if name.startswith("failed")] == [], answer
    return answer


CASES = {
    "kpartx": [["/", "part", "disk0p5"]],
    "loop": [["/", "part", "disk0p5"]],
    "lvm": [["/", "lvm", "disk0p1", "disk1p1"], ["/usr", "lvm", "disk0p1", "disk1p1"]],
    "luks": [["/", "lvm", "disk0p2"]],
    "raid1 1.2": [["/", "raid1", "disk0p1", "disk1p1"]],
    "raid1 0.90": [["/", "raid1", "disk0p1", "disk1p1"]],
    "raid0 1.2": [["/", "raid0", "disk0p1", "disk1p1"]],
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_in_pieces_is_read_whole_and_nothing_is_left(
    told: dict[str, Any], name: str
) -> None:
    found = told[name]
    assert found.get("error") is None
    assert found["mounts"] == CASES[name]
    assert found["large"]
    assert found["left"] == {}
    # No group, no array was started for it; the mappings are ours alone.
    assert found["activated"] == [False, False]
    assert all("pvprep" in mapping for mapping in found["made"]), found["made"]
    assert bool(found["made"]) == (name != "loop")


@pytest.mark.parametrize("name", ["lvm", "raid1 1.2", "raid1 0.90", "raid0 1.2"])
def test_the_guests_own_drivers_find_what_was_written(told: dict[str, Any], name: str) -> None:
    assert told[name]["read back"] == name
    assert told[name].get("differ", "0") == "0"


@pytest.mark.parametrize("name", ["lvm read-only", "luks read-only"])
def test_read_only(told: dict[str, Any], name: str) -> None:
    assert (told[name].get("error"), told[name]["large"], told[name]["left"]) == (None, True, {})


@pytest.mark.parametrize("name", ["lvm killed", "luks killed"])
def test_a_kill_leaves_nothing(told: dict[str, Any], name: str) -> None:
    assert told[name] == {"made": True, "status": 0, "said": [], "left": {}}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lvm half", "is not on these disks"),
        ("raid1 1.2 half", "1 of its 2 members are on these disks"),
        ("raid0 1.2 half", "1 of its 2 members are on these disks"),
        ("luks wrong key", "disk0p2 cannot be unlocked"),
    ],
)
def test_what_is_not_whole_is_refused(told: dict[str, Any], name: str, message: str) -> None:
    assert message in told[name]["error"]
    assert told[name]["left"] == {}
