"""The power is cut while a guest that runs is converted: each disk boots, and loses nothing.

One conversion is recorded, write by write; then the power is cut again and again at instants of it
(see powercut). Of each disk that is left, fsck mends the journal, and `pvprep recover` brings the
conversion to one of its ends: in the guest, which has booted from it, or for many more on the disk.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests import figures
from tests.guests import debs, images, job, profiles, roots
from tests.guests.powercut import Log

pytestmark = [pytest.mark.guest, pytest.mark.long]
BOOTS = int(os.environ.get("PVPREP_BOOTS", "20"))
CUTS = int(os.environ.get("PVPREP_CUTS", "200"))
_SEED = 7
_EDITED = ("/etc/fstab", "/etc/default/grub", "/boot/grub/grub.cfg", "/etc/initramfs-tools/modules")
_BEGIN, _END = b"the conversion begins now", b"the conversion is over now"
_PREPARE = f"""
dpkg -i /job/pvprep.deb >/job/dpkg.log 2>&1 || exit 90
sha256sum {" ".join(_EDITED)} >/job/before
echo {_BEGIN.decode()} >/root/mark; sync
pvprep 2>/job/pvprep.err || exit
echo {_END.decode()} >/root/mark; sync
sha256sum {" ".join(_EDITED)} >/job/after
"""
_RECOVER = f"""
sha256sum {" ".join(_EDITED)} >/job/cut
pvprep recover 2>/job/recover.err; echo recover=$?
pvprep recover 2>&1 | grep -c 'nothing to recover'
pvprep check 2>/job/check.err; echo check=$?
sha256sum {" ".join(_EDITED)} >/job/left
pvprep rollback --verify 2>/job/rollback.err; echo rollback=$?
sha256sum {" ".join(_EDITED)} >/job/undone
"""


@dataclass(frozen=True)
class Recorded:
    """A conversion. disk: as it was when the machine was switched on. cuts: writes to cut at."""

    disk: Path
    log: Log
    cuts: range
    before: str
    after: str


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    work = tmp_path_factory.mktemp("recorded")
    root, disk, before = work / "root", work / "disk.img", work / "before.img"
    roots.unpack(roots.build_profile(profiles.BOOKWORM_WITH_PYTHON), root)
    job.install(root)
    images.mbr(root, disk, root_mib=1536)
    roots.remove(root)
    subprocess.run(["cp", "--sparse=always", disk, before], check=True)
    share = work / "share"
    share.mkdir()
    shutil.copy(debs.build(), share / "pvprep.deb")
    done = job.run(disk, work, _PREPARE, timeout=1200, log=work / "log")
    assert done.status == 0, done.stderr + (share / "pvprep.err").read_text()
    disk.unlink()
    log = Log(work / "log")
    cuts = range(log.find(_BEGIN), log.find(_END))
    assert len(cuts) > 500
    said = ((share / name).read_text() for name in ("before", "after"))
    return Recorded(before, log, cuts, *said)


def _instants(recorded: Recorded, number: int) -> list[int]:
    return sorted(random.Random(_SEED).sample(recorded.cuts, number))


def _tried(recorded: Recorded, number: int, disk: Path, look: Callable[[int], str]) -> list[str]:
    """Cut the power so many times; what look() has against what is left then."""
    lost = []
    for cut in _instants(recorded, number):
        recorded.log.replay(recorded.disk, disk, cut, random.Random(cut))
        problem = look(cut)
        if problem:
            lost.append(f"cut ahead of write {cut}: {problem}")
    disk.unlink()
    return lost


def test_it_boots_and_is_recovered_by_itself(recorded: Recorded, tmp_path: Path) -> None:
    disk, share = tmp_path / "disk.img", tmp_path / "share"

    def look(_cut: int) -> str:
        done = job.run(disk, tmp_path, _RECOVER, timeout=900)
        said = {path.name: path.read_text() for path in share.iterdir()}
        problem = "" if done.state == "running" else f"the system is {done.state}; "
        ends = {"check=0": recorded.after, "check=1": recorded.before}
        wanted, checked, *rest = "recover=0\n1\n", done.stdout.split("\n")[2], said["undone"]
        if not done.stdout.startswith(wanted) or rest != [recorded.before]:
            problem += f"{done.stdout}{said['recover.err']}{said['rollback.err']}"
        if ends.get(checked) != said["left"]:
            problem += f"{checked}: {said['left']}{said['check.err']}"
        return problem

    lost = _tried(recorded, BOOTS, disk, look)
    figures.leave("booted", "all", BOOTS, len(lost))
    assert lost == []


def test_it_is_recovered_on_the_disk(recorded: Recorded, tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"

    def pvprep(*arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "pvprep", *arguments, "--image", str(disk)]
        environment = {**os.environ, "PYTHONPATH": str(debs.TOP / "agent")}
        return subprocess.run(argv, capture_output=True, text=True, env=environment)

    def look(_cut: int) -> str:
        for verb in ("recover", "rollback"):
            done = pvprep(verb)
            if done.returncode:
                return f"{verb}: status {done.returncode}: {done.stderr}"
        with images.mounted(disk, tmp_path / "mounted") as tree:
            sums = "".join(
                subprocess.run(
                    ["sha256sum", f".{path}"], cwd=tree, capture_output=True, text=True, check=True
                ).stdout.replace(" ./", " /")
                for path in _EDITED
            )
        return "" if sums == recorded.before else f"{sums} for {recorded.before}"

    lost = _tried(recorded, CUTS, disk, look)
    figures.leave("cut", "all", CUTS, len(lost))
    assert lost == []
