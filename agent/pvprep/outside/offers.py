"""What a shelf's kernels are to one guest: new there, there already, or in conflict with it."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator

from ..facts import Offer
from ..guest import Guest
from ..moduletree import GENERATED
from ..synced import chunks, digest
from .member import DIR, FILE, LINK, Member, stays_inside
from .shelf import Found, Shelf, members

BLOCK = 4096


def offers(guest: Guest, shelf: Shelf) -> tuple[Offer, ...]:
    """Every kernel of the shelf as an offer to this guest, newest last."""
    return tuple(_offer(guest, shelf, found) for found in range(len(shelf.kernels)))


def kept(found: Found) -> list[Member]:
    """What is copied of the modules: links only where they lead to something in there."""
    return [
        one
        for one in found.modules
        if not (one.kind == LINK and not stays_inside(one.name, one.target))
        and not GENERATED.fullmatch(one.name[len(f"lib/modules/{found.version}/") :])
    ]


def _offer(guest: Guest, shelf: Shelf, number: int) -> Offer:
    found, kernel = shelf.kernels[number]
    clash = ""
    boot = {}
    for what, (_, sha256) in found.boot.items():
        path = guest.resolve(f"/boot/{what}-{found.version}", follow=False)
        info = guest.lstat(path)
        if info is None:
            boot[path] = sha256
        elif not stat.S_ISREG(info.st_mode) or _digest(guest, path) != sha256:
            clash = path
    modules = f"{guest.resolve('/lib/modules')}/{found.version}"
    tree = kept(found)
    there = guest.lstat(modules)
    if there is not None:
        differs = (
            _differs(guest, shelf.source, found, modules, tree)
            if stat.S_ISDIR(there.st_mode)
            else modules
        )
        clash, modules = clash or differs, ""
    sizes = {name: found.members[name].size for name, _ in found.boot.values()}
    return Offer(
        kernel,
        shelf.source,
        modules,
        boot,
        clash,
        sum(_on_disk(one.size) for one in tree) if modules else 0,
        sum(map(_on_disk, sizes.values())) if boot else 0,
        len(tree) if modules else 0,
    )


def _differs(guest: Guest, source: str, found: Found, modules: str, tree: list[Member]) -> str:
    """The first file of the guest's that is not as the source has it, "" where there is none."""
    doubt = {}
    for one in tree:
        path = modules + one.name[len(f"lib/modules/{found.version}") :]
        info = guest.lstat(path)
        if info is None or _kind(info) != one.kind:
            return path
        if one.kind == LINK and guest.readlink(path) != one.target:
            return path
        if one.kind == FILE and info.st_size != one.size:
            return path
        # A package manager, tar and cp -a keep the time; where it differs the content tells.
        if one.kind == FILE and info.st_mtime_ns // 10**9 != one.mtime // 10**9:
            doubt[one.name] = path
    wanted = dict(_digests(source, doubt))
    return next(
        (path for name, path in doubt.items() if _digest(guest, path) != wanted.get(name)), ""
    )


def _digests(source: str, names: Collection[str]) -> Iterator[tuple[str, str]]:
    if names:
        for member in members(source):
            if member.name in names:
                yield member.name, digest(member.content())


def _digest(guest: Guest, path: str) -> str:
    return digest(chunks(guest.host(path, follow=False)))


def _kind(info: os.stat_result) -> str:
    kinds = {stat.S_IFREG: FILE, stat.S_IFLNK: LINK, stat.S_IFDIR: DIR}
    return kinds.get(stat.S_IFMT(info.st_mode), "")


def _on_disk(size: int) -> int:
    return -(-size // BLOCK) * BLOCK + BLOCK // 8
