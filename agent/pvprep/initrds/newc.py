"""An archive in the form that the kernel unpacks ("newc"), and where its files go in a tree.

Source: Linux Documentation/driver-api/early-userspace/buffer-format.rst, init/initramfs.c.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import PvprepError

BLOCK = 512  # as cpio(1) pads
_MAX_LINKS = 40


@dataclass(frozen=True)
class Item:
    """A regular file to be written. mtime: seconds."""

    content: bytes
    mode: int = 0o644
    mtime: int = 0


@dataclass
class Tree:
    """What an initrd unpacks to, as far as it matters to what follows.

    directories by name; files: name -> mode; links: name -> target. shared: files that have several
    names.
    """

    directories: set[str] = field(default_factory=set)
    files: dict[str, int] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)

    def note(self, name: str, mode: int, links: int, target: str) -> None:
        """Another member is unpacked: it replaces what has its name."""
        self.directories.discard(name)
        self.shared.discard(name)
        self.files.pop(name, None)
        self.links.pop(name, None)
        if stat.S_ISDIR(mode):
            self.directories.add(name)
        elif stat.S_ISLNK(mode):
            self.links[name] = target
        else:
            self.files[name] = stat.S_IMODE(mode)
            if links > 1:
                self.shared.add(name)

    def place(self, path: str) -> str:
        """The path with every link in its directories followed: a member's name is taken as it is.

        A member that names a directory where a link is would replace the link, and hide all that is
        behind it. PvprepError where a file is in the way or links go round in circles.
        """
        todo = [part for part in path.split("/") if part not in ("", ".")][::-1]
        done: list[str] = []
        links = 0
        while todo:
            part = todo.pop()
            if part == "..":
                del done[-1:]
                continue
            here = "/".join([*done, part])
            target = self.links.get(here) if todo else None
            if target is None:
                done.append(part)
                if todo and here in self.files:
                    raise PvprepError(f"{here} is no directory in the initrd")
                continue
            links += 1
            if links > _MAX_LINKS:
                raise PvprepError(f"{path}: too many symlinks in the initrd")
            done = [] if target.startswith("/") else done
            todo += [part for part in target.split("/") if part not in ("", ".")][::-1]
        return "/".join(done)


def archive(tree: Tree, items: Mapping[str, Item], first: Sequence[str] = ()) -> bytes:
    """One archive of these files, and of the directories that the tree lacks for them.

    The same input gives the same bytes: sorted (but for the names in first), owned by root. It ends
    with zeros, for the sake of Xen's domain builder: where an initrd begins as gzip does, that
    takes the last four bytes for the unpacked size, unpacks the first archive alone and drops the
    rest. A size of 0 makes it hand over the whole as it is (tools/libs/guest/xg_dom_core.c).
    """
    whole = b"".join(members(tree, items, first))
    return whole + bytes(-len(whole) % BLOCK)


def members(tree: Tree, items: Mapping[str, Item], first: Sequence[str] = ()) -> Iterator[bytes]:
    """The same in pieces, without the zeros."""
    placed = {tree.place(path): item for path, item in items.items()}
    order = [path for path in first if path in placed]
    order += sorted(set(placed).difference(order))
    there, made = tree.directories, set[str]()
    number = 0
    for path in order:
        above = path.split("/")[:-1]
        for depth in range(1, len(above) + 1):
            directory = "/".join(above[:depth])
            if directory not in there and directory not in made:
                made.add(directory)
                number += 1
                yield _member(directory, stat.S_IFDIR | 0o755, b"", number, 2)
        if path in tree.shared:
            # The kernel writes into a file that is there, so all its other names would change. A
            # link takes its name away first (clean_path() in init/initramfs.c).
            number += 1
            yield _member(path, stat.S_IFLNK | 0o777, b".", number)
        item = placed[path]
        number += 1
        mode = stat.S_IFREG | item.mode
        yield _member(path, mode, item.content, number, mtime=item.mtime)
    yield _member("TRAILER!!!", 0, b"", 0)


def _member(
    name: str, mode: int, content: bytes, inode: int, links: int = 1, mtime: int = 0
) -> bytes:
    raw = name.encode("utf-8", "surrogateescape") + b"\0"
    numbers = (inode, mode, 0, 0, links, mtime, len(content), 0, 0, 0, 0, len(raw), 0)
    header = b"070701" + b"".join(b"%08X" % number for number in numbers) + raw
    return header + bytes(-len(header) % 4) + content + bytes(-len(content) % 4)
