"""Snapshots of a domain's disks, where what is behind them can: LVM, and images in qcow2.

All of it is done while the domain is off. A snapshot has the name that the trial chose for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from .run import Done, Host

# Of the origin's size, where LVM does not find out by itself (thin volumes do).
_SHARE = "20%ORIGIN"


@dataclass(frozen=True)
class Snapshot:
    """kind: lvm, thin or qcow2. volume: VG/LV, or the image's path."""

    kind: str
    volume: str
    name: str

    @property
    def words(self) -> str:
        """What it is, for people."""
        if self.kind == "qcow2":
            return f"{self.name} inside {self.volume}"
        return self._full

    @property
    def _full(self) -> str:
        return f"{self.volume.partition('/')[0]}/{self.name}"

    def there(self, host: Host) -> bool:
        """Whether it has been made."""
        if self.kind == "qcow2":
            listed = host.run(["qemu-img", "snapshot", "-l", self.volume]).output
            return self.name in listed.split()
        return host.run(["lvs", self._full]).status == 0

    def make(self, host: Host) -> Done:
        """Make it, unless it is there."""
        if self.there(host):
            return Done(0)
        return host.run(self._make, timeout=600)

    @property
    def _make(self) -> Sequence[str]:
        if self.kind == "qcow2":
            return ["qemu-img", "snapshot", "-c", self.name, self.volume]
        size = ["-l", _SHARE] if self.kind == "lvm" else []
        return ["lvcreate", "-s", *size, "-n", self.name, self.volume]

    def restore(self, host: Host) -> Done:
        """Give the disk its content of then; a snapshot of LVM is gone afterwards.

        That it is gone already means that this has been done.
        """
        if not self.there(host):
            return Done(0)
        if self.kind == "qcow2":
            done = host.run(["qemu-img", "snapshot", "-a", self.name, self.volume], timeout=3600)
            return done if done.status else self.remove(host)
        return host.run(["lvconvert", "--merge", self._full], timeout=3600)

    def remove(self, host: Host) -> Done:
        """Give up the content of then."""
        if not self.there(host):
            return Done(0)
        if self.kind == "qcow2":
            return host.run(["qemu-img", "snapshot", "-d", self.name, self.volume], timeout=3600)
        return host.run(["lvremove", "-y", self._full], timeout=600)


def plan(host: Host, target: str, format: str, name: str) -> Optional[Snapshot]:
    """How a snapshot of this disk would be made; None where it cannot."""
    if format == "qcow2":
        there = host.run(["qemu-img", "--version"]).status == 0
        return Snapshot("qcow2", target, name) if there else None
    columns = "vg_name,lv_name,segtype"
    done = host.run(["lvs", "--noheadings", "--separator=/", "-o", columns, target])
    words = done.output.strip().split("\n")[0].strip().split("/")
    if done.status or len(words) != 3 or not all(words):
        return None
    group, volume, segments = words
    # Two disks of the domain may lie in one group: the snapshot's name has the volume's in it.
    kind = "thin" if segments == "thin" else "lvm"
    return Snapshot(kind, f"{group}/{volume}", f"{volume}-{name}")
