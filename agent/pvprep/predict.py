"""What dom0's pygrub will do with the guest as it is, or as a draft wants it to be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Optional, Union

from .draft import Draft
from .facts import Facts, Mount, Partition
from .pygrub import Pick, Refusal, Volume, choose, order

# Where pygrub looks for a configuration, on each file system.
CONFIGURATIONS = (
    "/boot/grub/grub.cfg",
    "/grub/grub.cfg",
    "/boot/grub2/grub.cfg",
    "/grub2/grub.cfg",
    "/boot/isolinux/isolinux.cfg",
    "/boot/extlinux/extlinux.conf",
    "/boot/extlinux.conf",
    "/extlinux/extlinux.conf",
    "/extlinux.conf",
    "/boot/grub/menu.lst",
    "/boot/grub/grub.conf",
    "/grub/menu.lst",
    "/grub/grub.conf",
)
READS = (*CONFIGURATIONS, *(f"/boot{path}" for path in CONFIGURATIONS))


def predict(draft: Draft) -> Union[Pick, Refusal]:
    """The entry, kernel, initrd and arguments that dom0 will take, or why it takes none."""
    return choose(volumes(draft))


def guest_path(facts: Facts, pick: Pick, path: str) -> str:
    """A path of pygrub's as the guest sees it: a /boot of its own is a root to pygrub."""
    mount = next((m for m in _visible(facts) if m.parts == (_name(pick.volume),)), None)
    prefix = mount.target if mount else _prefix_of(facts, pick.volume)
    return _join(prefix, path)


def volumes(draft: Draft) -> Iterator[Volume]:
    """The file systems of the first disk in pygrub's order, to be read as the draft has them."""
    facts = draft.facts
    mounts = _visible(facts)
    parts = order(facts.disks[0]) if facts.disks else ()
    guessed = facts.is_tree and not (facts.disks and facts.disks[0].size)
    if guessed and not any(set(mount.parts) & {p.name for p in parts} for mount in mounts):
        # UUIDs or LVM names only: nobody can tell the order; as fstab has it.
        yield from (_volume(draft, mount.device, mount, None) for mount in mounts)
        return
    if guessed:
        parts = facts.disks[0].partitions
    for part in parts:
        mount = next((m for m in mounts if m.parts == (part.name,) and m.subdir == "/"), None)
        yield _volume(draft, f"/dev/{part.name}", mount, part)


def _visible(facts: Facts) -> list[Mount]:
    """Where a boot loader's files may lie; the root first where one device has two mounts."""
    found = [mount for mount in facts.mounts if mount.kind in ("part", "disk", "other")]
    return sorted(
        (mount for mount in found if mount.target in ("/", "/boot")), key=lambda m: m.target
    )


def _volume(
    draft: Draft, name: str, mount: Optional[Mount], part: Optional[Partition]
) -> Volume:
    facts = draft.facts
    apart = mount is not None and mount.target == "/" and facts.mount("/boot") is not None

    def read(path: str) -> Optional[bytes]:
        if apart and path.startswith("/boot/"):
            return facts.stale.get(path)
        assert mount is not None
        found = draft.file(_join(mount.target, path))
        return found.content if found and not found.is_dir else None

    def size(path: str) -> Optional[int]:
        if apart and path.startswith("/boot/"):
            return None
        assert mount is not None
        inside = _join(mount.target, path)
        if inside in draft.placed or any(build.path == inside for build in draft.builds):
            return 1
        return facts.boot_files.get(inside)

    fstype = part.fstype if part and part.fstype else mount.fstype if mount else ""
    return Volume(
        name, fstype, read, size, known=mount is not None, problem=part.quirk if part else ""
    )


def _join(target: str, path: str) -> str:
    return target.rstrip("/") + "/" + path.lstrip("/")


def _name(volume: str) -> str:
    return volume[len("/dev/") :] if volume.startswith("/dev/") else volume


def _prefix_of(facts: Facts, volume: str) -> str:
    return next((mount.target for mount in _visible(facts) if mount.device == volume), "/")
