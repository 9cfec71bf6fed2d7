"""What is on a guest's disks, as libguestfs' appliance sees it: a kernel of its own, in a machine
of its own, whose library here only passes requests on. Sources: guestfs(3), guestfs-python(3).

The disks are sda, sdb ... there, in the order in which they were added; arrays and volume groups
are started by the appliance's init. No program of the guest runs in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Optional

from ..devicenames import join
from ..errors import PvprepError
from ..facts import Disk, Layout, Mount, Partition
from ..survey import hidden, storage
from . import roots
from .fsck import EXT
from .host import refusal
from .stack import Node
from .tables import Content
from .volumes import Range, Volume

Say = Callable[[str], None]
_EXTENDED = ("0x5", "0xf", "0x85", "0xc5")
_TEXT_MAX = 1 << 20  # bytes of a file of configuration; the protocol's own limit is 4 MiB


class Appliance:
    """The disks behind a launched handle, mounted in the appliance by mount()."""

    def __init__(self, handle: Any, read_only: bool, say: Say, key: Callable[[str], str]) -> None:
        """key: gives the passphrase for a LUKS container, asked for by name."""
        self._g, self._read_only, self._say, self._key = handle, read_only, say, key
        self._parts: dict[str, tuple[str, ...]] = {}  # device -> partitions under it
        self._nodes: list[Node] = []
        self._rows: list[roots.Wanted] = []
        self._stale: dict[str, bytes] = {}
        self._journaled: set[str] = set()  # names of nodes
        self._opened = 0
        self._disks = tuple(
            self._disk(device, number) for number, device in enumerate(handle.list_devices())
        )

    def mount(self) -> None:
        """Find the root and mount it, and what its fstab mounts below it."""
        # A container may lie on an array, and on a logical volume as well as below one.
        for layer in (self._arrays, self._unlocked, self._logical, self._unlocked):
            inside = list(layer())  # which takes out of the nodes what it looked into
            self._nodes += inside
        layout = Layout(self._disks, ())
        asleep = [node.name for node in self._nodes if node.content.fstype == "swsuspend"]
        if asleep and not self._read_only:
            raise refusal(
                f"the guest is suspended to disk: {asleep[0]} holds its memory",
                "start it, and shut it down: what it remembers of its disks must not change",
            )
        found = [root for node in self._nodes for root in self._roots(node)]
        root = roots.choose(found, layout, self._nodes)
        self._rows = roots.wanted(root, layout, self._nodes, self._say)
        for row in self._rows:
            self._check(row.node)
        self._mount(root.node, "/", root.subvolume)
        if any(row.target == "/boot" for row in self._rows):
            self._stale = {
                path: text.encode("utf-8", "surrogateescape")
                for path, text in root.texts.items()
                if path in hidden.CANDIDATES
            }
        for row in self._rows[1:]:
            # The appliance would resolve a link in its own root.
            if not self._g.is_dir(row.target) or self._g.realpath(row.target) != row.target:
                raise refusal(f"{root.name} has no directory {row.target} to mount on")
            self._mount(row.node, row.target, _subvolume(row.options))

    def layout(self) -> Layout:
        """What there is, in the terms of the facts."""
        mounts = tuple(
            Mount(
                row.target, row.device, row.fstype, row.options, row.node.kind, row.node.parts,
                "/" + _subvolume(row.options).lstrip("/"),
            )
            for row in self._rows
        )  # fmt: skip
        return Layout(self._disks, mounts, self._stale)

    @property
    def writes_through(self) -> bool:
        """Whether all that a new file was given is on the disk when it has its name."""
        return all(self._in_order(row.node) for row in self._rows)

    def _in_order(self, node: Node) -> bool:
        """Whether mount(8)'s `sync` holds for content and, by a journal that is written in order,
        for metadata and names. In btrfs a name may be lost after a write that was not.
        """
        return node.content.fstype == "xfs" or node.name in self._journaled

    def end(self) -> None:
        """Unmount, and make sure that all was left clean. PvprepError where not."""
        self._g.umount_all()
        for row in self._rows if not self._read_only else ():
            words = self._state(row.node)
            if words:
                raise PvprepError(
                    f"{row.node.name} has errors now: {words}",
                    "do not start the guest; `pvprep rollback` on this image, then check it",
                )
        self._g.shutdown()

    def _disk(self, device: str, number: int) -> Disk:
        g, name = self._g, f"disk{number}"
        size = int(g.blockdev_getsize64(device))
        seen = self._blkid(device)
        table = seen.get("PTTYPE", "")
        parts = []
        if seen.get("TYPE") and not table:
            parts.append((self._partition(name, 0, 0, size, device, seen), device, seen))
        elif table in ("dos", "gpt"):
            for row in g.part_list(device):
                path, at = join(device, row["part_num"]), int(row["part_start"])
                inside = self._blkid(path)
                if table == "gpt" or inside.get("PART_ENTRY_TYPE") not in _EXTENDED:
                    part = self._partition(
                        name, row["part_num"], at, int(row["part_size"]), path, inside
                    )
                    parts.append((part, path, inside))
        elif table:
            raise refusal(f"{name} has a partition table of type {table}, not MBR or GPT")
        for part, path, inside in parts:
            self._parts[path] = (part.name,)
            kind = "part" if part.number else "disk"
            self._nodes.append(
                self._node(
                    path, kind, content=_content(inside), partuuid=part.partuuid,
                    partlabel=inside.get("PART_ENTRY_NAME", ""),
                )
            )  # fmt: skip
        return Disk(name, size, table, tuple(part for part, _, _ in parts))

    def _partition(
        self, disk: str, number: int, start: int, size: int, path: str, seen: dict[str, str]
    ) -> Partition:
        fstype = seen.get("TYPE", "")
        first = self._g.pread_device(path, 2048, 0) if fstype in ("xfs", "ext4") else b""
        return Partition(
            join(disk, number), number, start, size,
            fstype=fstype,
            uuid=seen.get("UUID", ""),
            label=seen.get("LABEL", ""),
            partuuid=seen.get("PART_ENTRY_UUID", "").lower() if number else "",
            type=seen.get("PART_ENTRY_TYPE", "").lower() if number else "",
            quirk=storage.quirk(first, fstype),
        )  # fmt: skip

    def _blkid(self, device: str) -> dict[str, str]:
        try:
            return dict(self._g.blkid(device))
        except RuntimeError:
            return {}  # nothing that it knows

    def _node(self, device: str, kind: str, content: Optional[Content] = None, **more: Any) -> Node:
        volume = Volume.of(Range(device, 0, int(self._g.blockdev_getsize64(device))))
        content = content or _content(self._blkid(device))
        return Node(volume, kind, self._parts[device], content, **more)

    def _unlocked(self) -> Iterator[Node]:
        """The inside of each LUKS container. What lies on it is started afterwards."""
        closed = [node for node in self._nodes if node.content.fstype == "crypto_LUKS"]
        for node in closed:
            self._nodes.remove(node)
            around, mapping = _device(node), f"pvprep{self._opened}"
            self._opened += 1
            try:
                self._g.cryptsetup_open(
                    around, self._key(node.name), mapping, readonly=self._read_only
                )
            except RuntimeError as error:
                raise refusal(
                    f"{node.name} cannot be unlocked: {error}",
                    "the key file must hold the passphrase, to the byte (no newline)",
                ) from None
            device = f"/dev/mapper/{mapping}"
            self._parts[device] = node.parts
            yield self._node(
                device, "crypt", containers=(node.content.uuid, *node.parts, *node.paths)
            )
        if closed:
            self._g.lvm_scan(True)

    def _arrays(self) -> Iterator[Node]:
        for device in self._g.list_md_devices():
            detail = self._g.md_detail(device)
            members = sorted(f"/dev/{row['mdstat_device']}" for row in self._g.md_stat(device))
            self._parts[device] = tuple(
                part for member in members for part in self._parts.get(member, ())
            )
            name = str(detail.get("name", "")).rpartition(":")[2]
            paths: tuple[str, ...] = (f"/dev/md/{name}",) if name else ()
            paths += (f"/dev/md{name}",) if name.isdigit() else ()
            kind, uuid = str(detail.get("level", "raid")), str(detail.get("uuid", "")).lower()
            yield self._node(device, kind, paths=paths, containers=(uuid,))
        member = "linux_raid_member"
        self._nodes = [node for node in self._nodes if node.content.fstype != member]

    def _logical(self) -> Iterator[Node]:
        g = self._g
        self._nodes = [node for node in self._nodes if node.content.fstype != "LVM2_member"]
        physical = {g.pvuuid(device): device for device in g.pvs()}
        for path in g.lvs():
            group, name = path.split("/")[2:4]
            below = [physical[uuid] for uuid in g.vgpvuuids(group) if uuid in physical]
            self._parts[path] = tuple(
                dict.fromkeys(part for device in below for part in self._parts.get(device, ()))
            )
            mapped = "-".join(word.replace("-", "--") for word in (group, name))
            yield self._node(path, "lvm", paths=(f"/dev/mapper/{mapped}", path))

    def _roots(self, node: Node) -> Iterator[roots.Root]:
        """The roots of systems on a file system: several where each is a subvolume."""
        if node.content.fstype not in roots.FILE_SYSTEMS:
            return
        found = self._look_at(node, "")
        if found or node.content.fstype != "btrfs":
            yield from [found] if found else []
            return
        self._see(node, _TOP)
        names = [str(row["btrfssubvolume_path"]) for row in self._g.btrfs_subvolume_list("/")]
        self._g.umount_all()
        for name in names:
            found = self._look_at(node, name) if "/" not in name else None
            yield from [found] if found else []

    def _look_at(self, node: Node, subvolume: str) -> Optional[roots.Root]:
        self._see(node, subvolume)
        try:
            seen: Any = _Seen(self._g)
            return roots.Root(node, roots.texts(seen), subvolume) if roots.is_root(seen) else None
        finally:
            self._g.umount_all()

    def _see(self, node: Node, subvolume: str) -> None:
        options = {"ext3": "noload", "ext4": "noload", "xfs": "norecovery,nouuid"}
        words = ["ro", options.get(node.content.fstype, ""), _selected(subvolume)]
        self._mount_options(node, words, "/")

    def _check(self, node: Node) -> None:
        """Whether a file system that will be written to is sound, as far as itself says."""
        words = self._state(node)
        if words.startswith("its journal"):
            self._say(f"{node.name}: its journal is replayed")
        elif words and not self._read_only:
            raise refusal(
                f"{node.name} has errors, nothing was changed: {words}",
                "mend it first, in the guest or with e2fsck -f",
            )

    def _state(self, node: Node) -> str:
        """What is wrong with a file system; "" for nothing that can be told without reading it."""
        if node.content.fstype not in EXT:
            return ""
        told = self._g.tune2fs_l(_device(node))
        features = told.get("Filesystem features", "").split()
        if "has_journal" in features:
            self._journaled.add(node.name)
        if "needs_recovery" in features:
            return "its journal is not empty"
        state = str(told.get("Filesystem state", "clean"))
        return "" if state == "clean" else state

    def _mount(self, node: Node, target: str, subvolume: str) -> None:
        # What is read-only is a snapshot: its journal is replayed there, the disk stays as it is.
        # libguestfs passes fsync(2) of a file on, as sync(2), and that of a directory not at all.
        how = "sync" if self._in_order(node) else "dirsync"
        words = ["ro" if self._read_only else f"rw,{how}", _selected(subvolume)]
        words.append("nouuid" if node.content.fstype == "xfs" else "")
        self._mount_options(node, words, target)

    def _mount_options(self, node: Node, words: list[str], target: str) -> None:
        try:
            self._g.mount_options(",".join(filter(None, words)), _device(node), target)
        except RuntimeError as error:
            raise refusal(
                f"{node.name} ({node.content.fstype}) cannot be mounted: {error}"
            ) from None


_TOP = "5"  # the ID of a btrfs's own root (BTRFS_FS_TREE_OBJECTID)


class _Seen:
    """As much of a Guest as roots.py asks, of what is mounted in the appliance."""

    def __init__(self, handle: Any) -> None:
        self._g = handle

    def is_file(self, path: str) -> bool:
        return bool(self._g.is_file(path, followsymlinks=True))

    def exists(self, path: str) -> bool:
        return bool(self._g.exists(path))

    def text(self, path: str) -> str:
        if self._g.filesize(path) > _TEXT_MAX:
            raise refusal(f"{path} has {self._g.filesize(path)} bytes; no configuration file has")
        content: bytes = self._g.read_file(path)
        return content.decode("utf-8", "surrogateescape")

    def glob(self, pattern: str) -> list[str]:
        return [str(path) for path in self._g.glob_expand(pattern)]


def _device(node: Node) -> str:
    assert node.volume
    return node.volume.segments[0].ranges[0].path


def _content(seen: dict[str, str]) -> Content:
    return Content(*(seen.get(key, "") for key in ("TYPE", "UUID", "LABEL", "PTTYPE")))


def _selected(subvolume: str) -> str:
    how = "subvolid=" if subvolume.isdigit() else "subvol="
    return how + subvolume if subvolume else ""


def _subvolume(options: tuple[str, ...]) -> str:
    named = [word for word in options if word.startswith(("subvol=", "subvolid="))]
    return named[0].partition("=")[2] if named else ""
