"""Kernels in a directory that is laid out like a root; the running host's root is one."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from functools import partial

from ..guest import Guest
from ..synced import chunks
from .member import DIR, FILE, LINK, Member, refused, version_of, wanted


def members(root: str, version: str = "") -> Iterator[Member]:
    """All that a kernel is made of, or this version's alone. Links never lead out of root."""
    tree = Guest(root)
    for name in tree.names("/boot"):
        info = tree.lstat(f"/boot/{name}")
        clean = wanted(f"boot/{name}", root)
        if clean and info and stat.S_ISREG(info.st_mode) and version in ("", version_of(clean)):
            yield _member(clean, tree.host(f"/boot/{name}", follow=False), info, tree)
    seen = set()
    for directory in ("/lib/modules", "/usr/lib/modules"):
        for name in tree.names(directory):
            place = tree.host(f"{directory}/{name}", follow=False)
            info = tree.lstat(f"{directory}/{name}")
            if place in seen or info is None or not stat.S_ISDIR(info.st_mode):
                continue
            seen.add(place)
            if version in ("", name) and wanted(f"lib/modules/{name}", root):
                yield _member(f"lib/modules/{name}", place, info, tree)
                yield from _beneath(f"lib/modules/{name}", place, tree)


def _beneath(name: str, place: str, tree: Guest) -> Iterator[Member]:
    with os.scandir(place) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        inside = wanted(f"{name}/{entry.name}", tree.root)
        if not inside:
            continue
        yield _member(inside, entry.path, entry.stat(follow_symlinks=False), tree)
        if entry.is_dir(follow_symlinks=False):
            yield from _beneath(inside, entry.path, tree)


def _member(name: str, place: str, info: os.stat_result, tree: Guest) -> Member:
    kinds = {stat.S_IFREG: FILE, stat.S_IFLNK: LINK, stat.S_IFDIR: DIR}
    kind = kinds.get(stat.S_IFMT(info.st_mode))
    if kind is None:
        raise refused(tree.root, f"{name} is a device, a FIFO or a socket")
    return Member(
        name,
        kind,
        stat.S_IMODE(info.st_mode),
        info.st_mtime_ns,
        info.st_size if kind == FILE else 0,
        os.readlink(place) if kind == LINK else "",
        partial(_content, tree, place),
    )


def _content(tree: Guest, place: str) -> Iterator[bytes]:
    """tree: it holds the directory that the name of the place begins with."""
    return chunks(place)
