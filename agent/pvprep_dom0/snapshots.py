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
# What the domain had open is free a while after it has gone; a qemu-img that outlived a kill takes
# its time as well.
_BUSY = 120  # seconds
_POLL = 2.0
_LVS = ("lvs", "--noheadings", "-o")


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

    def _look(self, host: Host) -> tuple[bool, Done]:
        """Whether it has been made; that is known only where the status is 0."""
        if self.kind == "qcow2":
            done = _when_free(host, ["qemu-img", "snapshot", "-l", self.volume])
            return self.name in done.output.split(), done
        # The whole group: of a single volume that is not there lvs fails as of any other reason.
        done = host.run([*_LVS, "lv_name", self.volume.partition("/")[0]])
        return self.name in done.output.split(), done

    def make(self, host: Host) -> Done:
        """Make it, unless it is there."""
        there, done = self._look(host)
        if there or done.status:
            return done
        return _when_free(host, self._make, timeout=600)

    @property
    def _make(self) -> Sequence[str]:
        if self.kind == "qcow2":
            return ["qemu-img", "snapshot", "-c", self.name, self.volume]
        size = ["-l", _SHARE] if self.kind == "lvm" else []
        return ["lvcreate", "-s", *size, "-n", self.name, self.volume]

    def restore(self, host: Host, again: bool) -> Done:
        """Give the disk its content of then; a snapshot of LVM is gone afterwards.

        again: it has been begun before. Only then "it is gone" means "it has been done".
        """
        there, done = self._look(host)
        if done.status:
            return done
        if not there:
            return Done(0) if again else Done(1, said=f"{self.words} is gone")
        if self.kind == "qcow2":
            restoring = ["qemu-img", "snapshot", "-a", self.name, self.volume]
            return _when_free(host, restoring, timeout=3600)
        return self._merge(host)

    def _merge(self, host: Host) -> Done:
        """LVM calls it well, too, if it puts the merging off: of a volume that somebody has open.

        Source: lvs(8), lv_attr: the sixth is "o" if it is open, the first "O" while it is merged.
        """
        end = host.now() + _BUSY
        while (done := self._attributes(host)).output[5:6] == "o":
            if host.now() >= end:
                return Done(1, said=f"{self.volume} is still open after {_BUSY} s")
            host.wait(_POLL)
        if not done.status:
            done = host.run(["lvconvert", "--merge", self._full], timeout=3600)
        if done.status:
            return done
        done = self._attributes(host)
        put_off = "LVM has put it off until the volume is activated anew"
        return Done(1, said=put_off) if done.output.startswith("O") else done

    def _attributes(self, host: Host) -> Done:
        done = host.run([*_LVS, "lv_attr", self.volume])
        return Done(done.status, done.output.strip(), done.said)

    def remove(self, host: Host) -> Done:
        """Give up the content of then."""
        there, done = self._look(host)
        if done.status or not there:
            return done
        if self.kind == "qcow2":
            removing = ["qemu-img", "snapshot", "-d", self.name, self.volume]
            return _when_free(host, removing, timeout=3600)
        return host.run(["lvremove", "-y", self._full], timeout=600)


def _when_free(host: Host, argv: Sequence[str], timeout: float = 60) -> Done:
    """Run qemu-img; again, as long as somebody holds the image."""
    end = host.now() + _BUSY
    while True:
        done = host.run(argv, timeout)
        if not done.status or "lock" not in done.said or host.now() >= end:
            return done
        host.wait(_POLL)


def plan(host: Host, target: str, format: str, name: str) -> Optional[Snapshot]:
    """How a snapshot of this disk would be made; None where it cannot."""
    if format == "qcow2":
        there = host.run(["qemu-img", "--version"]).status == 0
        return Snapshot("qcow2", target, name) if there else None
    done = host.run([*_LVS, "vg_name,lv_name,segtype", "--separator=/", target])
    words = done.output.strip().split("\n")[0].strip().split("/")
    if done.status or len(words) != 3 or not all(words):
        return None
    group, volume, segments = words
    # Two disks of the domain may lie in one group: the snapshot's name has the volume's in it.
    kind = "thin" if segments == "thin" else "lvm"
    return Snapshot(kind, f"{group}/{volume}", f"{volume}-{name}")
