"""Snapshots: what cannot be asked or done is never called done.

Those in qcow2 with the real qemu-img on real images, LVM's against a pretended one.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Optional

import pytest
from tests.unit.dom0.pretend_xen import PretendXen

from pvprep_dom0 import snapshots
from pvprep_dom0.run import Dom0, Done
from pvprep_dom0.snapshots import Snapshot

MIB = 1024 * 1024


class Hasty(Dom0):
    """This machine, whose programs are real; only the waiting is not.

    holder: a program that holds the image until it has been waited for it so often.
    """

    def __init__(self, holder: Optional[subprocess.Popen[bytes]] = None, waits: int = 3) -> None:
        self.holder = holder
        self.waits = waits
        self.clock = 0.0
        self.calls: list[str] = []

    def run(self, argv: Sequence[str], timeout: float = 60) -> Done:
        self.calls.append(" ".join(argv))
        return super().run(argv, timeout)

    def now(self) -> float:
        return self.clock

    def wait(self, seconds: float) -> None:
        self.clock += seconds
        self.waits -= 1
        if self.holder and not self.waits:
            self.holder.kill()
            self.holder.wait()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image in qcow2 whose first MiB is full of the letter o."""
    path = tmp_path / "bifit.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "8M"], check=True)
    fill(path, "o")
    return path


@contextlib.contextmanager
def held(image: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program that has the image open to write, as a domain's backend has."""
    words = ["qemu-io", "-f", "qcow2", image]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdin
        assert program.stdout
        program.stdin.write(b"length\n")
        program.stdin.flush()
        while b"MiB" not in program.stdout.readline():
            pass
        try:
            yield program
        finally:
            program.kill()


def fill(path: Path, letter: str) -> None:
    write = f"write -q -P {ord(letter)} 0 1M"
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", write, path], check=True)


def content(path: Path) -> bytes:
    """As a guest would see it."""
    raw = path.with_suffix(".raw")
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, raw], check=True)
    return raw.read_bytes()


def names(path: Path) -> list[str]:
    words = ["qemu-img", "snapshot", "-l", str(path)]
    lines = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split("\n")
    return [line.split()[1] for line in lines[2:] if line]


def planned(host: Dom0, image: Path) -> Snapshot:
    found = snapshots.plan(host, str(image), "qcow2", "pvprep-1")
    assert found == Snapshot("qcow2", str(image), "pvprep-1")
    return found


def test_qcow2_is_taken_restored_and_dropped(image: Path) -> None:
    host = Hasty()
    snapshot = planned(host, image)
    assert snapshot.make(host).status == 0
    assert snapshot.make(host).status == 0  # once more, after a kill: there is one
    assert names(image) == ["pvprep-1"]
    fill(image, "n")
    assert content(image)[:MIB] == b"n" * MIB
    assert snapshot.restore(host, again=False).status == 0
    assert content(image) == b"o" * MIB + bytes(7 * MIB)
    fill(image, "n")
    assert snapshot.restore(host, again=True).status == 0  # killed before it was dropped
    assert content(image)[:MIB] == b"o" * MIB
    assert snapshot.remove(host).status == 0
    assert names(image) == []
    assert snapshot.remove(host).status == 0
    assert snapshot.restore(host, again=True).status == 0  # killed after it was dropped
    assert host.clock == 0


def test_qcow2_that_was_dropped_keeps_what_came_later(image: Path) -> None:
    host = Hasty()
    snapshot = planned(host, image)
    assert snapshot.make(host).status == 0
    fill(image, "n")
    assert snapshot.remove(host).status == 0
    assert names(image) == []
    assert content(image)[:MIB] == b"n" * MIB


def test_qcow2_whose_snapshot_has_gone_is_not_restored(image: Path) -> None:
    host = Hasty()
    snapshot = planned(host, image)
    done = snapshot.restore(host, again=False)
    assert (done.status, done.said) == (1, f"pvprep-1 inside {image} is gone")


def test_another_snapshot_is_left_alone(image: Path) -> None:
    host = Hasty()
    other = Snapshot("qcow2", str(image), "pvprep-10")
    assert other.make(host).status == 0
    snapshot = planned(host, image)
    assert snapshot.restore(host, again=False).status == 1
    assert snapshot.make(host).status == 0
    assert snapshot.remove(host).status == 0
    assert names(image) == ["pvprep-10"]


@pytest.mark.parametrize("act", ["make", "restore", "remove"])
def test_an_image_that_is_still_held_is_waited_for(image: Path, act: str) -> None:
    snapshot = planned(Hasty(), image)
    if act != "make":
        assert snapshot.make(Hasty()).status == 0
        fill(image, "n")
    with held(image) as program:
        host = Hasty(program)
        acts = {
            "make": lambda: snapshot.make(host),
            "restore": lambda: snapshot.restore(host, again=False),
            "remove": lambda: snapshot.remove(host),
        }
        assert acts[act]().status == 0
    assert host.clock == 6
    assert names(image) == ([] if act == "remove" else ["pvprep-1"])
    assert content(image)[:MIB] == (b"n" if act == "remove" else b"o") * MIB


def test_an_image_that_stays_held_is_a_failure(image: Path) -> None:
    host = Hasty()
    snapshot = planned(host, image)
    with held(image):
        tried = (snapshot.make(host), snapshot.restore(host, again=True), snapshot.remove(host))
    for done in tried:
        assert done.status == 1
        assert 'Failed to get shared "write" lock' in done.said
    assert host.clock == 3 * 120
    assert not any(" -c " in call or " -a " in call or " -d " in call for call in host.calls)


def test_an_image_that_cannot_be_read_is_a_failure(image: Path) -> None:
    host = Hasty()
    snapshot = planned(host, image)
    image.unlink()
    for done in (snapshot.make(host), snapshot.restore(host, again=True), snapshot.remove(host)):
        assert done.status == 1
        assert "No such file" in done.said
    assert host.clock == 0


LVM = Snapshot("lvm", "vg0/bifit-disk", "bifit-disk-pvprep-1")


def lvm() -> PretendXen:
    """A host with the snapshot, whose domain is off."""
    xen = PretendXen()
    xen.domains.clear()
    xen.volumes.add("vg0/bifit-disk-pvprep-1")
    return xen


@pytest.mark.parametrize("column", ["lv_name", "lv_attr"])
def test_lvm_that_does_not_tell_is_a_failure(column: str) -> None:
    xen = lvm()
    xen.mute = lambda asked: asked == column
    assert LVM.restore(xen, again=True).said == "Can't get lock for vg0."
    if column == "lv_name":
        assert LVM.make(xen).status == LVM.remove(xen).status == 5
    assert xen.restored == 0
    assert "vg0/bifit-disk-pvprep-1" in xen.volumes
    assert all(call.startswith("lvs ") for call in xen.calls)


def test_lvm_is_asked_until_the_volume_is_free() -> None:
    xen = lvm()
    xen.open = 5
    assert LVM.restore(xen, again=False).status == 0
    assert (xen.restored, xen.clock) == (1, 10.0)
    xen = lvm()
    xen.open = 1000
    assert LVM.restore(xen, again=False).said == "vg0/bifit-disk is still open after 120 s"
    assert xen.restored == 0


def test_lvm_that_puts_the_merging_off_has_not_restored() -> None:
    xen = lvm()
    xen.attributes = "O"
    assert "LVM has put it off" in LVM.restore(xen, again=False).said


def test_lvm_whose_snapshot_has_gone_is_restored_only_if_that_had_begun() -> None:
    xen = lvm()
    xen.volumes.remove("vg0/bifit-disk-pvprep-1")
    assert LVM.restore(xen, again=True).status == 0
    assert LVM.restore(xen, again=False).said == "vg0/bifit-disk-pvprep-1 is gone"
