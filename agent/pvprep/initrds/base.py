"""The initrd that something is appended to: what it unpacks to, and where our own archive begins.

It is read in a child process (survey/isolate.py), as it may be damaged, or made to do harm.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional

from ..survey.archives import Walk
from ..survey.isolate import Prover
from ..survey.payload import open_stream, sniff
from ..survey.streams import PayloadError, Stream, open_file
from ..synced import private
from .newc import Item, Tree

# The first member of an archive of ours. A second run replaces that archive: they never pile up.
MARKER = "pvprep-appended"
_OWN_MAX = 12 << 20  # bytes; see _ANSWER in survey/isolate.py
_MODULES_MAX = 1 << 30  # bytes that are written outside the guest
_ADDED_MAX = 512 << 20  # bytes of modules that come, which are held in memory
_PIECE = 1 << 20


@dataclass
class Base:
    """tree: what it unpacks to without our archive. end: bytes of the file that stay.

    own: the files in our archive, empty where there is none. compression: of what stays, the last
    one. problem: why it could not be read.
    """

    tree: Tree = field(default_factory=Tree)
    end: int = 0
    own: dict[str, Item] = field(default_factory=dict)
    compression: str = ""
    problem: str = ""


def read(place: str) -> Base:
    """Read an initrd (a path of this machine)."""
    return Prover(_read, lambda words: Base(problem=words))(place)


def unpack_modules(place: str, version: str, directory: str) -> str:
    """Write all that lies in its lib/modules/VERSION into a directory; "" or why not."""
    prover = Prover(lambda path: _modules(path, version, directory), lambda words: words)
    return prover(place)


def unpack_files(directory: str, files: Mapping[str, str]) -> str:
    """Write files of this machine (values), unpacked where they are compressed, into a directory,
    by these names (keys); "" or why not."""
    prover = Prover(lambda path: _unpack_files(path, files), lambda words: words)
    return prover(directory)


def _read(place: str) -> Base:
    base = Base()
    try:
        whole = open_file(place)
    except PayloadError as error:
        return Base(problem=str(error))
    walk = Walk(whole)
    own: Optional[int] = None  # the number of the stream that is ours
    old, kept = base.tree, 0
    try:
        for member, stream in walk:
            number = len(walk.starts)
            if own is not None and number != own:
                raise PayloadError("something else was appended behind what pvprep appended")
            if member.name == MARKER and walk.compression[-1] == "none":
                own = number
            elif own is None:
                target = ""
                if stat.S_ISLNK(member.mode):
                    target = stream.take(min(member.size, 4096)).decode("utf-8", "surrogateescape")
                old.note(member.name, member.mode, member.links, target)
            elif stat.S_ISREG(member.mode):
                kept += member.size
                if kept > _OWN_MAX:
                    raise PayloadError(f"what pvprep appended has more than {_OWN_MAX} bytes")
                mode = stat.S_IMODE(member.mode)
                base.own[member.name] = Item(stream.take(member.size), mode, member.mtime)
    except PayloadError as error:
        base.problem = str(error)
    base.end = whole.end if own is None else walk.starts[own - 1]
    last = len(walk.compression) if own is None else own - 1
    base.compression = walk.compression[last - 1] if last else ""
    os.close(whole.fd)
    return base


def _modules(place: str, version: str, directory: str) -> str:
    pattern = re.compile(rf"(?:usr/)?lib/modules/{re.escape(version)}/(.+)")
    waiting: dict[tuple[int, int, int], list[str]] = {}  # hard links; only the last has the content
    total = 0
    try:
        for member, stream in Walk(open_file(place)):
            match = pattern.fullmatch(member.name)
            if not match or not stat.S_ISREG(member.mode):
                continue
            total += member.size
            if total > _MODULES_MAX:
                return f"its modules have more than {_MODULES_MAX} bytes"
            to = _made(directory, match[1])
            if member.links > 1 and not member.size:
                waiting.setdefault(member.inode, []).append(to)
                continue
            _copy(stream, member.size, to)
            for name in waiting.pop(member.inode, ()):
                os.link(to, name)
    except (PayloadError, OSError) as error:
        return str(error)
    return ""


def _unpack_files(directory: str, files: Mapping[str, str]) -> str:
    left = _ADDED_MAX
    for name, place in files.items():
        try:
            whole = open_file(place)
            compression = sniff(os.pread(whole.fd, 8, 0)) or "none"
            left -= _copy(open_stream(whole, compression), left, _made(directory, name))
            os.close(whole.fd)
        except (PayloadError, OSError) as error:
            return f"{name}: {error}"
        if left <= 0:
            return f"they have more than {_ADDED_MAX} bytes"
    return ""


def _made(directory: str, name: str) -> str:
    """The path of a file there, whose directory is made; PayloadError where it would lie outside.

    A name may begin with `/`, as what follows lib/modules/VERSION/ in an image that means harm.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or not parts:
        raise PayloadError(f"a file in it is named {name!r}")
    place = os.path.join(directory, *parts)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    return place


def _copy(stream: Stream, most: int, to: str) -> int:
    """Write what comes next, up to so many bytes; how many there were."""
    left = most
    with open(to, "wb", opener=private) as out:
        while left and (piece := stream.take(min(left, _PIECE))):
            out.write(piece)
            left -= len(piece)
    return most - left
