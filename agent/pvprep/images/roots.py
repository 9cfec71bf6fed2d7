"""Which of the file systems is the guest's root, and what its fstab mounts below it. Pure but for
the looking, which is done with read-only mounts of read-only devices.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from ..editors import crypttab, fstab
from ..facts import Layout
from ..guest import Guest
from ..survey import hidden, storage
from .host import refusal
from .stack import Node

FILE_SYSTEMS = ("ext2", "ext3", "ext4", "xfs", "btrfs", "reiserfs", "jfs", "f2fs")
# A guest starts without the others; they stay untouched.
_NEEDED = re.compile(r"/(boot|usr|var|etc|opt|lib|root)(/|$)")
_MUST = re.compile(r"/(boot|usr|var|etc|lib)$|/var/lib$")
_STARTS = ("/sbin/init", "/usr/lib/systemd/systemd", "/lib/systemd/systemd", "/bin/sh")
_BY = {"uuid": "UUID", "label": "LABEL", "partuuid": "PARTUUID", "partlabel": "PARTLABEL"}
_HARDWARE = re.compile(r"/dev/disk/by-(id|path)/|/dev/root$|/dev/disk/azure/|/dev/block/")


@dataclass(frozen=True)
class Root:
    """A root that was found. subvolume: of btrfs, "" for what is mounted by default.

    texts: the guest's files that name devices.
    """

    node: Node
    texts: Mapping[str, str]
    subvolume: str = ""

    @property
    def name(self) -> str:
        """A name for people."""
        return self.node.name + (f" (subvolume {self.subvolume})" if self.subvolume else "")


@dataclass(frozen=True)
class Wanted:
    """A line of fstab that is to be mounted, and what it names."""

    target: str
    device: str
    fstype: str
    options: tuple[str, ...]
    node: Node


def is_root(guest: Guest) -> bool:
    """Whether a tree is the root of a system that starts."""
    return guest.is_file("/etc/fstab") and any(guest.exists(path) for path in _STARTS)


def texts(guest: Guest) -> dict[str, str]:
    """What in a root names its devices."""
    paths = ["/etc/fstab", "/etc/crypttab", "/etc/default/grub"]
    paths += ["/etc/mdadm.conf", "/etc/mdadm/mdadm.conf"]
    paths += [*hidden.CANDIDATES, "/boot/grub/device.map", *guest.glob("/etc/udev/rules.d/*.rules")]
    return {path: guest.text(path) for path in paths if guest.is_file(path)}


def choose(found: Sequence[Root], layout: Layout, all_nodes: Sequence[Node]) -> Root:
    """The one root. PvprepError for none, and for several of which none rules out the others."""
    if not found:
        raise refusal(*_nothing(all_nodes))
    if len(found) > 1:
        # A copy of a root has the fstab of what it was copied from.
        own = [root for root in found if _names_itself(root, layout, all_nodes)]
        found = own or found
    if len(found) > 1:
        names = ", ".join(root.name for root in found)
        raise refusal(
            f"several systems are on these disks: on {names}",
            "mount the one that you mean, and give it with --root DIR",
        )
    return found[0]


def wanted(
    root: Root, layout: Layout, all_nodes: Sequence[Node], say: Callable[[str], None]
) -> list[Wanted]:
    """What is to be mounted, root first, then as their paths nest.

    PvprepError where the guest cannot do without a file system that is not found; the others are
    told by `say`.
    """
    resolve = _Names(layout, root.texts, all_nodes)
    rows: dict[str, Wanted] = {}
    for _, fields in fstab.entries(root.texts.get("/etc/fstab", "")):
        if len(fields) < 3 or not fields[1].startswith("/"):
            continue
        device, target, fstype = fields[0], posixpath.normpath(fields[1]), fields[2]
        options = tuple(fields[3].split(",")) if len(fields) > 3 else ("defaults",)
        skip = target != "/" and (not _NEEDED.match(target) or "noauto" in options)
        if skip or not _local(device, fstype):
            continue
        node = resolve.find(device)
        if target == "/":
            if node is None and not _HARDWARE.match(device):
                raise _missing(device, target)
            if node and node != root.node:
                raise refusal(
                    f"/etc/fstab of {root.name} has {device} as root, which is {node.name}",
                    "give the disks in the order that the guest has them",
                )
            node = root.node
        elif node is None or node.problem or node.volume is None:
            if _MUST.match(target):
                raise _missing(device, target, node.problem if node else "")
            say(f"/etc/fstab: {device} ({target}) is not on these disks; it is left out")
            continue
        rows[target] = Wanted(target, device, node.content.fstype, options, node)
    if "/" not in rows:
        found = root.node.content
        rows["/"] = Wanted("/", f"UUID={found.uuid}", found.fstype, ("defaults",), root.node)
    return [rows[target] for target in sorted(rows, key=lambda path: (path != "/", path))]


def _local(device: str, fstype: str) -> bool:
    """Whether a line is about a file system on a disk: no network, no swap, nothing in memory."""
    if fstype in (*FILE_SYSTEMS, "auto", "vfat", "ext4dev"):
        return device.startswith(("/dev/", "UUID=", "LABEL=", "PARTUUID=", "PARTLABEL="))
    return False


class _Names:
    """Finds what a name in the guest's configuration means on these disks."""

    def __init__(self, layout: Layout, files: Mapping[str, str], all_nodes: Sequence[Node]) -> None:
        self._nodes = all_nodes
        naming = storage.named(layout, storage.disks_named(files))
        self._were = storage.renamed(files)
        pairs = zip(layout.disks, naming.disks)
        self._parts = {
            new.name: old.name
            for before, now in pairs
            for old, new in zip(before.partitions, now.partitions)
        }
        self._crypt = {
            fields[0]: fields[1]
            for _, fields in crypttab.entries(files.get("/etc/crypttab", ""))
            if len(fields) > 1
        }
        self._arrays = dict(_arrays(files))

    def find(self, device: str) -> Optional[Node]:
        tag, _, value = device.partition("=")
        by = re.fullmatch(r"/dev/disk/by-(\w+)/(.+)", device)
        if by and by[1] in _BY:
            tag, value = _BY[by[1]], re.sub(r"\\x([0-9a-f]{2})", _character, by[2])
        if tag in _BY.values():
            return self._tagged(tag, value.strip("\"'"))
        for node in self._nodes:
            if device in node.paths:
                return node
        if device in self._arrays:
            return self._inside(self._arrays[device])
        mapped = re.fullmatch(r"/dev/mapper/(.+)", device)
        if mapped and mapped[1] in self._crypt:
            return self._container(self._crypt[mapped[1]])
        part = self._parts.get(self._as_it_was(device))
        return next((node for node in self._nodes if part and node.parts == (part,)
                     and node.kind in ("part", "disk")), None)  # fmt: skip

    def _as_it_was(self, device: str) -> str:
        """The kernel name of a partition, as it was before a conversion gave it another."""
        named = storage.NAMED.fullmatch(device)
        if not named or named[1] not in self._were:
            return device[len("/dev/") :]
        old = self._were[named[1]]
        return storage.partition_name(old, int(named[2])) if named[2] else old

    def _tagged(self, tag: str, value: str) -> Optional[Node]:
        def has(node: Node) -> bool:
            if tag == "UUID":
                return node.content.uuid.lower() == value.lower()
            if tag == "LABEL":
                return node.content.label == value
            if tag == "PARTUUID":
                return node.partuuid.lower() == value.lower()
            return node.partlabel == value

        found = [node for node in self._nodes if value and has(node)]
        if len(found) > 1:
            names = " and ".join(node.name for node in found)
            raise refusal(
                f"{tag}={value} is the name of {names}", "give them names of their own first"
            )
        return found[0] if found else None

    def _inside(self, container: str) -> Optional[Node]:
        return next((node for node in self._nodes if container in node.containers), None)

    def _container(self, source: str) -> Optional[Node]:
        """What is in the LUKS container that crypttab has for a name."""
        value = source.partition("=")[2].strip("\"'") or source.rpartition("/")[2]
        part = self._parts.get(value, value)
        return self._inside(part) or self._inside(source)


def _arrays(files: Mapping[str, str]) -> list[tuple[str, str]]:
    """Names and UUIDs in mdadm.conf(5)."""
    pattern = re.compile(r"^\s*ARRAY\s+(/dev/\S+)\s.*?UUID=([0-9a-fA-F:]+)", re.M | re.I)
    found = []
    for path in ("/etc/mdadm.conf", "/etc/mdadm/mdadm.conf"):
        found += [(name, uuid.lower()) for name, uuid in pattern.findall(files.get(path, ""))]
    return found


def _names_itself(root: Root, layout: Layout, all_nodes: Sequence[Node]) -> bool:
    names = _Names(layout, root.texts, all_nodes)
    lines = fstab.entries(root.texts.get("/etc/fstab", ""))
    return any(
        len(fields) > 1 and fields[1] == "/" and names.find(fields[0]) == root.node
        for _, fields in lines
    )


def _nothing(all_nodes: Sequence[Node]) -> tuple[str, str]:
    seen = [
        f"{node.name} ({node.problem or node.content.fstype or 'nothing known'})"
        for node in all_nodes
    ]
    if not seen:
        hint = "is this the image of a whole disk, and in the format that its name says?"
        return "no file system and no partition is on these disks", hint
    closed = [node for node in all_nodes if node.problem]
    hint = "--attach guestfs may reach it" if closed else "are these all of the guest's disks?"
    return f"no root of a Linux system is on these disks; on them: {', '.join(seen)}", hint


def _missing(device: str, target: str, problem: str = "") -> Exception:
    if problem:
        return refusal(f"{device} ({target}) cannot be attached: {problem}", "--attach guestfs")
    return refusal(
        f"/etc/fstab: {device} ({target}) is not on these disks",
        "give all disks of the guest, in its order",
    )


def _character(found: re.Match[str]) -> str:
    return chr(int(found[1], 16))
