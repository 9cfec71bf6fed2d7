"""Trees on disks: mounted from one, and what the real pygrub takes from it or pvprep says so."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.guests import images, roots
from tests.roots import trees
from tests.unit.pygrub_cases import real

from pvprep import plan, predict, survey
from pvprep.draft import Draft
from pvprep.guest import Guest
from pvprep.pygrub import Pick


@dataclass(frozen=True)
class Taken:
    """Kernel and initrd as they are on the disk, and the kernel's arguments."""

    kernel: bytes
    initrd: bytes
    args: str


@contextlib.contextmanager
def mounted(tree: Path, work: Path) -> Iterator[Path]:
    """Move a tree to a disk like the guest's, and mount it while the block runs."""
    disk, root = work / "disk", work / "mounted"
    images.mbr(tree, disk, root_mib=1500, swap_mib=16)
    roots.remove(tree)
    root.mkdir()
    subprocess.run(["mount", "-o", f"loop,offset={images.MIB}", disk, root], check=True)
    try:
        yield root
    finally:
        subprocess.run(["umount", "--lazy", root], check=True)
        disk.unlink()


def taken(root: Path, work: Path) -> Taken:
    """Put the tree's /boot on a disk like the guest's and let pygrub choose."""
    (work / "tree").mkdir(parents=True)
    trees.copy(root / "boot", work / "tree" / "boot")
    images.mbr(work / "tree", work / "disk", root_mib=256, swap_mib=16)
    options = ("-q", "--output-format=simple0", f"--output-directory={work}")
    done = real.run(*options, str(work / "disk"))
    assert done.returncode == 0, done.stderr.decode()
    said = dict(field.split(" ", 1) for field in done.stdout.decode().split("\0") if field)
    kernel, initrd = (Path(said[what]).read_bytes() for what in ("kernel", "ramdisk"))
    found = Taken(kernel, initrd, said["args"])
    shutil.rmtree(work)
    return found


def promised(root: Path, said: Any) -> Taken:
    """What the document of --json names, read from the tree."""
    return _read(root, said["kernel"], said["initrd"], said["args"])


def predicted(root: Path) -> Taken:
    """What the simulation takes of the tree as it is now."""
    pick = predict.predict(Draft(survey.take(Guest(str(root)), plan.reads())))
    assert isinstance(pick, Pick)
    return _read(root, pick.kernel, pick.initrd, pick.args)


def _read(root: Path, kernel: str, initrd: str, args: str) -> Taken:
    return Taken((root / kernel[1:]).read_bytes(), (root / initrd[1:]).read_bytes(), args)
