"""One more archive behind an initrd, so that none of the guest's programs has to run.

The kernel unpacks one archive after the other; a later file replaces an earlier one of its name:
clean_path() in init/initramfs.c unlinks what is of another kind, and do_name() opens with O_TRUNC
what is a file already (before Linux 2.6.19 it did neither: a file kept its length). Between
archives it skips zeros; one that is not compressed has to begin at a multiple of four bytes,
counted from the start of the whole, whatever was before it (unpack_to_rootfs()). After lz4, whose
old format has no end, four zeros stand for it (lib/decompress_unlz4.c).

So the old bytes stay as they are. Where they are another kernel's initrd, all modules of the new
one come behind them, as gzip, and then the rest in an archive of its own, so that a later run finds
that as it finds any. lsinitramfs(8) and lsinitrd(8) know no archive behind a
compressed one; the kernel, and pvprep's own reading, do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping

from ..beneath import chmod
from ..changes import Additions, BuildInitrd
from ..errors import PvprepError
from ..guest import Guest
from ..synced import chunks, create
from .base import MARKER, Base, read
from .moduletree import indexed, module, needed
from .newc import Item, Tree, archive, members

_TEXT = b"What follows was appended by pvprep.\n"
_REBUILD = "have the guest's own builder make the initrd: --initrd rebuild"


def build(guest: Guest, change: BuildInitrd, adds: Additions, output: str) -> None:
    """Write the old initrd with one more archive to output, a path inside the guest.

    Raises PvprepError where it cannot be done. What was appended before is taken over into the new
    archive. The same additions give the same bytes.
    """
    source = adds.base or change.path
    place = guest.host(source)
    base = read(place)
    if base.problem:
        raise PvprepError(f"{source} cannot be read: {base.problem}", _REBUILD)
    others = re.compile(rf"(?:usr/)?lib/modules/(?!{re.escape(change.version)}/)")
    items = {path: item for path, item in base.own.items() if not others.match(path)}
    modules: dict[str, Item] = {}
    if adds.modules and adds.flat:
        items.update(_flat(guest, change.version, adds))
    elif adds.modules:
        found = indexed(guest, place, change.version, adds.modules)
        modules = {base.tree.place(path): item for path, item in found.items()}
    if not adds.base:
        items.update(modules)
    for path, content in adds.files:
        path = base.tree.place(path)
        items[path] = Item(content, base.tree.files.get(path, 0o644))
    items[MARKER] = Item(_TEXT)
    more = archive(base.tree, items, first=(MARKER,))
    packed = _packed(base.tree, modules) if adds.base else ()
    made = guest.host(output)
    create(made, _whole(place, base, packed, more))
    chmod(made, os.stat(place).st_mode & 0o777)  # the old one may hide a key


def _flat(guest: Guest, version: str, adds: Additions) -> Iterator[tuple[str, Item]]:
    """The modules in lib/, for nash, whose insmod takes them as they are."""
    names = {name.replace("-", "_"): name for name in adds.modules}
    for path, name in needed(guest, version, adds.modules).items():
        if name not in names:
            raise PvprepError(f"{path} would have to be loaded before the frontends", _REBUILD)
        if not path.endswith(".ko"):
            raise PvprepError(f"{path} is compressed, which insmod of nash does not read", _REBUILD)
        yield f"lib/{names[name]}.ko", module(guest, version, path)


def _packed(tree: Tree, items: Mapping[str, Item]) -> Iterator[bytes]:
    """An archive of many modules, as every kernel unpacks it."""
    import zlib

    packer = zlib.compressobj(wbits=31)
    for piece in members(tree, items):
        yield packer.compress(piece)
    yield packer.flush()


def _whole(place: str, base: Base, packed: Iterable[bytes], more: bytes) -> Iterator[bytes]:
    left = base.end
    for chunk in chunks(place):
        yield chunk[:left]
        left -= len(chunk[:left])
        if not left:
            break
    if not base.own:
        yield bytes(-base.end % 4 + (4 if base.compression == "lz4" else 0))
    size = 0
    for piece in packed:
        yield piece
        size += len(piece)
    yield bytes(-size % 4)
    yield more
