"""The command on images of a real guest: there and back, and what is left where it goes wrong."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.guests import images, profiles, roots
from tests.images.disks import run
from tests.roots import snapshot
from tests.roots.runs import PYTHON, Result, environment, restored

from pvprep import cli
from pvprep.errors import Exit, PvprepError
from pvprep.images import fsck

pytestmark = pytest.mark.roots


@dataclass(frozen=True)
class Off:
    """A guest that is off. work: a directory in memory. before: its root as it was."""

    work: Path
    raw: Path
    before: snapshot.Snapshot

    def copy(self, name: str) -> Path:
        """Its disk once more."""
        place = self.work / name
        run(["cp", "--sparse=always", self.raw, place])
        return place

    def qcow2(self, raw: Path) -> Path:
        """A disk as a qcow2 file."""
        place = raw.with_suffix(".qcow2")
        run(["qemu-img", "convert", "-q", "-O", "qcow2", raw, place])
        return place

    def left(self, raw: Path) -> list[str]:
        """In what the root on a disk differs from how it was, but for the journal.

        Of a copy, as what is unmounted here may stay busy for a while in somebody else's namespace.
        """
        copy = self.work / "seen.img"
        run(["cp", "--sparse=always", raw, copy])
        with images.mounted(copy, self.work / "root") as root:
            found = restored(self.before, root)
        copy.unlink()
        return found


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Off]:
    with roots.in_memory(tmp_path_factory.mktemp("cli") / "memory") as work:
        tree, raw = work / "tree", work / "guest.img"
        roots.unpack(roots.build_profile(profiles.BOOKWORM_CLOUD_KERNEL), tree)
        images.mbr(tree, raw, swap_mib=16)
        roots.remove(tree)
        with images.mounted(raw, work / "root") as root:
            before = snapshot.take(root)
        yield Off(work, raw, before)


def pvprep(*words: object) -> Result:
    """As a person calls it."""
    argv = [PYTHON, "-m", "pvprep", *map(str, words)]
    done = subprocess.run(argv, env=environment(), capture_output=True, text=True, cwd="/")
    return Result(done.returncode, done.stdout, done.stderr)


def prepare(disk: Path, config: Path, *more: str) -> Result:
    return pvprep(
        "--image", disk, "--attach", "loop", f"--emit-config={config}", "--memory", "512", *more
    )


def digest(place: Path) -> str:
    with place.open("rb") as file:
        value = hashlib.sha256()
        while piece := file.read(1 << 20):
            value.update(piece)
    return value.hexdigest()


def test_a_raw_image_there_and_back(guest: Off, tmp_path: Path) -> None:
    disk, config = guest.copy("there.img"), tmp_path / "there.cfg"
    done = prepare(disk, config)
    assert (done.status, done.out) == (0, ""), done.err
    assert f"format=raw, vdev=xvda, access=rw, target={disk}" in config.read_text()
    assert "memory = 512\n" in config.read_text()
    assert guest.left(disk) != []
    assert pvprep("check", "--image", disk, "--attach", "loop").status == 0
    back = pvprep("rollback", "--image", disk, "--attach", "loop", "--verify")
    assert back.status == 0, back.err
    assert guest.left(disk) == []
    assert pvprep("check", "--image", disk, "--attach", "loop").status == 1
    disk.unlink()


def test_a_qcow2_file_stays_and_its_overlay_goes_there_and_back(
    guest: Off, tmp_path: Path
) -> None:
    raw, config = guest.copy("over.img"), tmp_path / "over.cfg"
    disk = guest.qcow2(raw)
    raw.unlink()
    overlay, before = Path(f"{disk}.pv.qcow2"), digest(disk)
    done = prepare(disk, config)
    assert (done.status, done.out) == (0, ""), done.err
    assert digest(disk) == before
    assert f"format=qcow2, vdev=xvda, access=rw, target={overlay}" in config.read_text()
    assert pvprep("check", "--image", overlay, "--attach", "loop").status == 0
    assert pvprep("check", "--image", disk, "--attach", "loop").status == 1, "it is as it was"
    back = pvprep("rollback", "--image", overlay, "--attach", "loop", "--verify")
    assert back.status == 0, back.err
    run(["qemu-img", "convert", "-q", "-O", "raw", overlay, raw])
    assert guest.left(raw) == []
    assert digest(disk) == before
    for place in (raw, disk, overlay):
        place.unlink()


@pytest.mark.parametrize(
    ("form", "made", "more"),
    [
        (Off.qcow2, ".pv.qcow2", []),
        (lambda _guest, raw: raw, ".before-pvprep", ["--backup-to", "copy"]),
    ],
)
def test_where_nothing_is_converted_no_way_back_is_left(
    guest: Off, tmp_path: Path, form: Callable[[Off, Path], Path], made: str, more: list[str]
) -> None:
    raw, config = guest.copy("bare.img"), tmp_path / "bare.cfg"
    without_kernel(raw)
    disk = form(guest, raw)
    before, lacking = digest(disk), guest.left(raw)
    done = prepare(disk, config, *more)
    assert (done.status, done.out) == (1, ""), done.err
    assert "[kernel.not-installed]" in done.err
    assert f"{disk}{made}" in done.err, "it was made"
    assert not Path(f"{disk}{made}").exists()
    assert not config.exists()
    assert guest.left(raw) == lacking
    assert digest(disk) == before or disk == raw, "one that is mounted counts that"
    for place in {raw, disk}:
        place.unlink()


def without_kernel(raw: Path) -> None:
    """The guest's disk, with nothing left in /boot that begins so."""
    device = f"{raw}?offset={images.MIB}"
    listed = run(["debugfs", "-R", "ls -p /boot", device])
    for name in (row.split("/")[5] for row in listed.splitlines() if row.startswith("/")):
        if name.startswith("vmlinuz"):
            run(["debugfs", "-w", "-R", f"rm /boot/{name}", device])


def test_a_copy_is_kept_where_an_error_comes_after_the_commit(
    guest: Off, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    disk, config = guest.copy("kept.img"), tmp_path / "kept.cfg"
    copy, before = Path(f"{disk}.before-pvprep"), digest(disk)

    def broken(_device: str, _fstype: str, name: str) -> None:
        raise PvprepError(f"{name} has errors now", status=Exit.NOT_READY)

    monkeypatch.setattr(fsck, "after", broken)
    status = cli.main(
        ["--image", str(disk), "--attach", "loop", "--backup-to", "copy", "--memory", "512",
         f"--emit-config={config}"]
    )  # fmt: skip
    assert status == Exit.NOT_READY
    assert "has errors now" in capsys.readouterr().err
    assert digest(copy) == before != digest(disk)
    assert not config.exists()
    for place in (disk, copy):
        place.unlink()
