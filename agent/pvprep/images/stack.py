"""What lies on the partitions: arrays, LUKS, LVM, in any order, down to the file systems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Optional

from . import arrays, lvm
from .host import refusal
from .tables import Content, Slot, content
from .volumes import Range, Volume

# Opens a LUKS container; gives what is in it.
Unlock = Callable[[Volume, str], Volume]


@dataclass(frozen=True)
class Node:
    """Something with content: a partition, an array, a LUKS container's inside, a logical volume.

    volume: None where `problem` says why it cannot be reached. kind: as lsblk says (part, lvm,
    crypt, raid1). parts: partitions under it. paths: what a guest calls it, where that is known.
    containers: what it is inside of, by UUID and by partition.
    """

    volume: Optional[Volume]
    kind: str
    parts: tuple[str, ...]
    content: Content = field(default_factory=Content)
    paths: tuple[str, ...] = ()
    partuuid: str = ""
    partlabel: str = ""
    containers: tuple[str, ...] = ()
    problem: str = ""

    @property
    def name(self) -> str:
        """A name for people."""
        return self.paths[-1] if self.paths else "+".join(self.parts)


def nodes(slots: Sequence[Slot], unlock: Unlock) -> tuple[Node, ...]:
    """All that has content of its own: file systems, swap, and what cannot be reached.

    PvprepError for metadata that is damaged, and what `unlock` raises.
    """
    todo = [_slot(slot) for slot in slots]
    done: list[Node] = []
    while todo:
        kinds = {node.content.fstype for node in todo}
        # The innermost first: members of a group may come from arrays and containers alike.
        if "linux_raid_member" in kinds:
            members, todo = _apart(todo, "linux_raid_member")
            todo += _arrays(members)
        elif "crypto_LUKS" in kinds:
            members, todo = _apart(todo, "crypto_LUKS")
            todo += [_unlocked(node, unlock) for node in members]
        elif "LVM2_member" in kinds:
            members, todo = _apart(todo, "LVM2_member")
            todo += _logical(members)
        else:
            done, todo = done + todo, []
    return tuple(done)


def probe(volume: Volume) -> Content:
    """What is in a volume, as far as its beginning tells where it is in pieces."""
    first = volume.segments[0]
    one = first.ranges[0]
    return content(Range(one.path, one.start, first.chunk) if first.chunk else one)


def _slot(slot: Slot) -> Node:
    part = slot.part
    found = Content(part.fstype, part.uuid, part.label)
    return Node(slot.volume, "part" if part.number else "disk", (part.name,), found,
                partuuid=part.partuuid, partlabel=slot.name)  # fmt: skip


def _apart(todo: Sequence[Node], fstype: str) -> tuple[list[Node], list[Node]]:
    members = [node for node in todo if node.content.fstype == fstype]
    return members, [node for node in todo if node.content.fstype != fstype]


def _arrays(members: Sequence[Node]) -> list[Node]:
    found = [
        arrays.member(node.volume, part)
        for node in members
        for part in node.parts[:1]
        if node.volume
    ]
    return [
        _with_content(
            Node(
                array.volume, array.kind, array.parts, paths=array.names,
                containers=(array.uuid,), problem=array.problem,
            )
        )
        for array in arrays.arrays(found)
    ]  # fmt: skip


def _unlocked(node: Node, unlock: Unlock) -> Node:
    if node.volume is None:
        return replace(node, content=Content())
    inside = unlock(node.volume, "+".join(node.parts))
    around = (node.content.uuid, *node.parts, *node.paths)
    return _with_content(Node(inside, "crypt", node.parts, containers=around))


def _logical(members: Sequence[Node]) -> list[Node]:
    volumes = [lvm.physical(node.volume, node.parts) for node in members if node.volume]
    groups: dict[str, set[str]] = {}
    found = []
    for one in lvm.logical(volumes):
        if one.name in groups.setdefault(one.group, set()):
            raise refusal(
                f"two volume groups of these disks are called {one.group}",
                "give the disks of one guest only; in the guest: vgrename",
            )
        groups[one.group].add(one.name)
        node = Node(one.volume, "lvm", one.parts, paths=one.paths, problem=one.problem)
        found.append(_with_content(node))
    return found


def _with_content(node: Node) -> Node:
    return replace(node, content=probe(node.volume)) if node.volume else node
