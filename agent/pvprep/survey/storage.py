"""Disks, partitions, what is mounted from them, and how much room there is."""

from __future__ import annotations

import json
import os
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..editors import fstab
from ..errors import PvprepError
from ..facts import Disk, Layout, Mount, Partition, Space
from ..guest import Guest

# The line for a whole disk in the rule that keeps the new names valid as HVM (steps/fallback.py).
OWN_RULE = re.compile(r'KERNEL==?"([^"*]+)", SYMLINK\+?="(\w+)"')
# lsblk nests its JSON only where NAME is among the columns.
COLUMNS = "NAME,KNAME,MAJ:MIN,TYPE,SIZE,FSTYPE,UUID,LABEL,PARTUUID,PARTTYPE,PTTYPE,RM,MODEL"
# Disks of these drivers are never exported as a vbd of their own.
NOT_DISKS = re.compile(r"(fd|sr|scd|loop|ram|zram|md|dm-|nbd|mtdblock)\d")
# What a guest's configuration calls its disks, for a tree whose hardware nobody can ask.
NAMED = re.compile(
    r"/dev/((?:[shv]d|xvd)[a-z]+|nvme\d+n\d+|cciss/c\d+d\d+|mmcblk\d+)(?:p?(\d+))?(?![\w/])"
)

# Files whose devices the guest really uses; others may name what nobody has.
FSTAB = "/etc/fstab"
NAMING = (
    FSTAB,
    "/etc/crypttab",
    "/etc/initramfs-tools/",
    "/etc/default/grub",
    "/boot/grub",
)

Tree = list[dict[str, Any]]


def block_devices(guest: Guest) -> Tree:
    """The kernel's block devices as lsblk(8) nests them; empty for a tree that does not run."""
    if not guest.running:
        return []
    done = guest.run(["lsblk", "-J", "-b", "-o", COLUMNS])
    if done.status:
        return []
    # Complaints about one device may stand before the document.
    try:
        devices: Tree = json.loads(done.output[done.output.find("{") :])["blockdevices"]
    except (ValueError, KeyError) as error:
        raise PvprepError(f"lsblk's output cannot be read: {error!r}") from None
    return devices


def disks(guest: Guest, devices: Tree) -> tuple[Disk, ...]:
    """The disks of a running system, in guest order."""
    found = []
    for device in devices:
        name = _name(device)
        if device["type"] != "disk" or NOT_DISKS.match(name) or device["rm"] in (True, "1"):
            continue
        if not int(device["size"] or 0):
            continue
        parts = [
            _partition(guest, child)
            for child in device.get("children", ())
            if child["type"] == "part"
        ]
        if not parts and device["fstype"]:
            parts = [_partition(guest, device)]
        found.append(
            Disk(
                name,
                size=int(device["size"]),
                table=(device["pttype"] or "") if device["pttype"] in ("dos", "gpt") else "",
                partitions=tuple(sorted(parts, key=lambda part: part.number)),
                model=(device["model"] or "").strip(),
            )
        )
    return tuple(sorted(found, key=lambda disk: guest_order(disk.name)))


def renamed(texts: Mapping[str, str]) -> dict[str, str]:
    """New names of disks and what they were.

    Once a guest is converted its configuration says xvda; our own rule for udev still knows.
    """
    return {
        new: old.replace("!", "/")
        for text in texts.values()
        for old, new in OWN_RULE.findall(text)
    }


def disks_named(texts: Mapping[str, str]) -> tuple[Disk, ...]:
    """The disks of a tree, as far as its own configuration names them."""
    were = renamed(texts)
    seen: dict[str, set[int]] = {}
    for path, text in texts.items():
        for line in text.split("\n") if path.startswith(NAMING) else ():
            if line.lstrip().startswith("#") or (path == FSTAB and fstab.is_cd(line.split())):
                continue
            for name, number in NAMED.findall(line):
                numbers = seen.setdefault(were.get(name, name), set())
                numbers.update({int(number)} if number else ())
    return tuple(
        Disk(
            name,
            partitions=tuple(
                Partition(partition_name(name, number), number) for number in sorted(seen[name])
            ),
        )
        for name in sorted(seen, key=guest_order)
    )


def named(layout: Layout, known: Sequence[Disk]) -> Layout:
    """A layout whose disks have the names that the guest's own configuration knows.

    known: the disks that it names (disks_named). Where it does not name as many, the others are
    what the kernel would have called them: with no name at all, as on a SCSI controller.
    """
    count, names = len(layout.disks), [disk.name for disk in known]
    kind = re.match(r"(xvd|[shv]d)([a-z]+)$", names[0]) if names else None
    if len(names) < count or (kind and kind[2] != "a"):
        letters = string.ascii_lowercase[: count - (bool(names) and not kind)]
        usual = [f"{kind[1] if kind else 'sd'}{letter}" for letter in letters]
        names = sorted({*names, *usual}, key=guest_order)
    new = {}
    disks = []
    for disk, name in zip(layout.disks, names):
        for part in disk.partitions:
            new[part.name] = partition_name(name, part.number) if part.number else name
        parts = tuple(replace(part, name=new[part.name]) for part in disk.partitions)
        disks.append(replace(disk, name=name, partitions=parts))
    mounts = tuple(
        replace(mount, parts=tuple(new.get(part, part) for part in mount.parts))
        for mount in layout.mounts
    )
    return replace(layout, disks=tuple(disks), mounts=mounts)


def guest_order(name: str) -> tuple[str, int, list[int], str]:
    """Sort key: by driver, then as the kernel counts (sdz before sdaa)."""
    kind = re.match(r"[a-z]+", name)
    prefix = kind.group(0) if kind else name
    stem = prefix[:2] if prefix[:2] in ("sd", "hd", "vd") else prefix
    return stem, len(prefix), [int(number) for number in re.findall(r"\d+", name)], name


def mounts(guest: Guest, devices: Tree) -> tuple[Mount, ...]:
    """What is mounted from block devices, from /proc/self/mountinfo (proc_pid_mountinfo(5))."""
    by_number: dict[str, tuple[Any, tuple[str, ...]]] = {}
    for device, parts in _walk(devices):  # what rests on two disks comes twice
        number = device["maj:min"].strip()
        before = by_number[number][1] if number in by_number else ()
        by_number[number] = device, tuple(dict.fromkeys([*before, *parts]))
    by_path = {f"/dev/{_name(device)}": number for number, (device, _) in by_number.items()}
    found = []
    for line in guest.text("/proc/self/mountinfo").split("\n"):
        left, _, right = line.partition(" - ")
        if not right:
            continue
        _, _, number, subdir, target, *_ = left.split(" ")
        fstype, source, *options = right.split(" ")
        if not source.startswith("/"):
            continue
        if number not in by_number:  # btrfs has a number of its own; the source names the device
            number = by_path.get(os.path.realpath(source), "")
        device, parts = by_number.get(number, ({"type": "other"}, ()))
        found.append(
            Mount(
                target=_unescape(target),
                device=_unescape(source),
                fstype=fstype,
                options=tuple(options[0].split(",")) if options else (),
                kind=device["type"],
                parts=parts,
                subdir=_unescape(subdir),
            )
        )
    return tuple(found)


def aliases(guest: Guest) -> dict[str, str]:
    """Names in /dev/disk/by-id and by-path, which name hardware, and the kernel names behind."""
    found = {}
    for directory in ("/dev/disk/by-id", "/dev/disk/by-path"):
        for name in guest.names(directory) if guest.running else ():
            path = f"{directory}/{name}"
            real = os.path.realpath(path)
            if real.startswith("/dev/") and not real.startswith("/dev/dm-"):
                found[path] = real[len("/dev/") :]
    return found


def spaces(guest: Guest) -> dict[str, Space]:
    """Free room where pvprep and the tools it calls write."""
    found = {}
    for path in ("/", "/boot", "/etc", "/var/lib", "/var/tmp", "/usr"):
        if not guest.is_dir(path):
            continue
        info = os.statvfs(guest.within(path))
        found[path] = Space(
            path,
            free=info.f_bavail * info.f_frsize,
            files=info.f_favail if info.f_files else -1,
            # Of a guest that is off it is pvprep that mounts it so, where it only looks.
            read_only=guest.layout is None and bool(info.f_flag & os.ST_RDONLY),
        )
    return found


def grub_blind(guest: Guest) -> str:
    """What grub-probe says where it cannot tell which disk / is on; "" where it can.

    A kernel package's scripts run grub-mkconfig where there is a grub.cfg, and fail with it.
    """
    for grub in ("grub", "grub2"):
        probe = f"/usr/sbin/{grub}-probe"
        if guest.running and guest.is_file(probe) and guest.is_file(f"/boot/{grub}/grub.cfg"):
            done = guest.run([probe, "--target=device", "/"])
            return done.output.strip() if done.status else ""
    return ""


def _walk(devices: Tree, parts: tuple[str, ...] = ()) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Every device with the partitions (or whole disks) that it rests on."""
    for device in devices:
        below = (_name(device),) if device["type"] in ("part", "disk") else parts
        yield device, below
        yield from _walk(device.get("children", []), below)


def _name(device: Mapping[str, Any]) -> str:
    return str(device["kname"]).replace("!", "/")


def _partition(guest: Guest, device: Mapping[str, Any]) -> Partition:
    name = _name(device)
    base = "/sys/class/block/" + name.replace("/", "!")
    return Partition(
        name,
        number=_number(guest, f"{base}/partition"),
        start=_number(guest, f"{base}/start") * 512,
        size=int(device["size"] or 0),
        fstype=device["fstype"] or "",
        uuid=device["uuid"] or "",
        label=device["label"] or "",
        partuuid=device["partuuid"] or "",
        type=device["parttype"] or "",
        quirk=_quirk_of(f"/dev/{name}", device["fstype"] or ""),
    )


def _number(guest: Guest, path: str) -> int:
    text = guest.text(path).strip()
    return int(text) if text.isdigit() else 0


def quirk(block: bytes, fstype: str) -> str:
    """What keeps pygrub's file system library from reading this one, from its first 2048 bytes.

    Sources: Linux fs/ext4/ext4.h (EXT4_FEATURE_RO_COMPAT_BIGALLOC), fs/xfs/libxfs/xfs_format.h
    (sb_versionnum); Xen tools/libfsimage.
    """
    if fstype == "xfs" and block[:4] == b"XFSB" and len(block) > 101 and block[101] & 0xF == 5:
        return "XFS v5"
    if fstype == "ext4" and int.from_bytes(block[1024 + 0x64 : 1024 + 0x68], "little") & 0x200:
        return "bigalloc"
    return ""


def _quirk_of(device: str, fstype: str) -> str:
    if fstype not in ("xfs", "ext4"):
        return ""
    try:
        with open(device, "rb") as file:
            return quirk(file.read(2048), fstype)
    except OSError:
        return ""  # not root: then nothing can be said, and nothing will be changed either


def partition_name(disk: str, number: int) -> str:
    """As the kernel makes it: sda1, nvme0n1p1."""
    return f"{disk}p{number}" if disk[-1].isdigit() else f"{disk}{number}"


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), text)
