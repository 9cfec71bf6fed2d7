"""A whole tree at one moment, to be compared with another: everything that can be put back.

Content, type, owner, mode, modification time in nanoseconds, extended attributes, link targets,
device numbers, and which names are one file. Not ctime and atime: nothing can set the one, and
reading changes the other.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

# Nobody can change a file without a new ctime, so a file is read once for all snapshots.
_Version = tuple[int, int, int, int]
_known: dict[_Version, bytes] = {}


@dataclass(frozen=True)
class Entry:
    """One name. twins: the other names of the same file."""

    kind: int
    mode: int
    owner: tuple[int, int]
    mtime: int
    content: bytes
    device: int
    xattrs: Mapping[str, bytes]
    twins: tuple[str, ...]

    @property
    def is_directory(self) -> bool:
        return self.kind == stat.S_IFDIR


Snapshot = Mapping[str, Entry]


def take(root: Path) -> Snapshot:
    """Every name in the tree, `/` for the tree itself; about 1 s, less the second time."""
    infos = dict(_walk(root))
    names: dict[tuple[int, int], list[str]] = {}
    for path, info in infos.items():
        names.setdefault((info.st_dev, info.st_ino), []).append(path)
    return {
        path: _entry(f"{root}{path}", info, names[info.st_dev, info.st_ino], path)
        for path, info in infos.items()
    }


def entry(root: Path, path: str) -> Entry:
    """One name in the tree; its twins are not looked for."""
    return _entry(f"{root}{path}", os.lstat(f"{root}{path}"), [], path)


def differences(before: Snapshot, after: Snapshot, but: Collection[str] = ()) -> list[str]:
    """Every name that differs and in what. but: names left out with all that is below them."""
    found = []
    for path in sorted(before.keys() | after.keys()):
        if any(path == out or path.startswith(f"{out}/") for out in but):
            continue
        old, new = before.get(path), after.get(path)
        if old is None or new is None:
            found.append(f"{path}: {'new' if old is None else 'gone'}")
        elif old != new:
            what = [f.name for f in fields(Entry) if getattr(old, f.name) != getattr(new, f.name)]
            found.append(f"{path}: {', '.join(what)}")
    return found


def _walk(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    yield "/", os.lstat(root)
    todo = [""]
    while todo:
        above = todo.pop()
        for item in os.scandir(f"{root}{above}/"):
            path = f"{above}/{item.name}"
            yield path, item.stat(follow_symlinks=False)
            if item.is_dir(follow_symlinks=False):
                todo.append(path)


def _entry(place: str, info: os.stat_result, names: list[str], path: str) -> Entry:
    kind = stat.S_IFMT(info.st_mode)
    content = b""
    if kind == stat.S_IFREG:
        content = _digest(place, info)
    elif kind == stat.S_IFLNK:
        content = os.fsencode(os.readlink(place))
    return Entry(
        kind,
        stat.S_IMODE(info.st_mode),
        (info.st_uid, info.st_gid),
        info.st_mtime_ns,
        content,
        info.st_rdev,
        {
            name: os.getxattr(place, name, follow_symlinks=False)
            for name in os.listxattr(place, follow_symlinks=False)
        },
        tuple(sorted(name for name in names if name != path)),
    )


def _digest(place: str, info: os.stat_result) -> bytes:
    version = (info.st_dev, info.st_ino, info.st_size, info.st_ctime_ns)
    if version not in _known:
        with open(place, "rb") as file:
            _known[version] = hashlib.blake2b(file.read(), digest_size=16).digest()
    return _known[version]
