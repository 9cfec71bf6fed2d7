"""Disks' targets in dom0: what is there, and who uses it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """kind: missing, block, file or other. real: behind all links. identity: equal for one disk."""

    kind: str
    real: str
    identity: tuple[int, int]


def look(path: str) -> Place:
    """What a path leads to. Nothing is opened."""
    try:
        real = os.path.realpath(path)
        found = os.stat(real)
    except (OSError, ValueError):
        return Place("missing", path, (0, 0))
    if stat.S_ISBLK(found.st_mode):
        return Place("block", real, (0, found.st_rdev))
    kind = "file" if stat.S_ISREG(found.st_mode) else "other"
    return Place(kind, real, (found.st_dev, found.st_ino))


def same(one: Place, other: Place) -> bool:
    """Whether two paths lead to one disk, there or not."""
    if "missing" in (one.kind, other.kind):
        return one.real == other.real
    return one.identity == other.identity


def user(place: Place, sysfs: str = "/sys", proc: str = "/proc") -> str:
    """What of dom0's own uses a block device, or a part of it: words, "" for nothing."""
    if place.kind != "block":
        return ""
    device = place.identity[1]
    mounts = dict(_mounts(f"{proc}/self/mountinfo"))
    swaps = dict(_swaps(f"{proc}/swaps"))
    for number in _parts(f"{sysfs}/dev/block", f"{os.major(device)}:{os.minor(device)}"):
        if number in mounts:
            return f"dom0 has mounted it at {mounts[number]}"
        if number in swaps:
            return "dom0 swaps there"
        holders = _names(f"{sysfs}/dev/block/{number}/holders")
        if holders:
            return f"{', '.join(holders)} of dom0 is built on it"
    return ""


def _parts(directory: str, number: str) -> Iterator[str]:
    """The device itself and its partitions, as MAJOR:MINOR."""
    yield number
    for name in _names(f"{directory}/{number}"):
        text = _read(f"{directory}/{number}/{name}/dev")
        if text and _read(f"{directory}/{number}/{name}/partition"):
            yield text.strip()


def _mounts(path: str) -> Iterable[tuple[str, str]]:
    for line in _read(path).splitlines():
        words = line.split(" ")
        if len(words) > 4:
            yield words[2], words[4]


def _swaps(path: str) -> Iterable[tuple[str, str]]:
    for line in _read(path).splitlines()[1:]:
        place = look(line.split(" ")[0].split("\t")[0])
        if place.kind == "block":
            number = place.identity[1]
            yield f"{os.major(number)}:{os.minor(number)}", place.real


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def roundabout(path: str) -> str:
    """Why a path is not plain: relative, with `..`, `.` or empty parts. "": it is plain."""
    if not path.startswith("/"):
        return "it is not an absolute path"
    if any(part in ("", ".", "..") for part in path[1:].split("/")):
        return "it goes in a roundabout way"
    return ""
