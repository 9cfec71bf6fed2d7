"""The modules of an initrd with some more, and their index, made by this machine's depmod(8).

depmod gets exactly the modules that the initrd will hold: an index with others in it would have
modprobe fail on a file that is not there, instead of finding that there is none.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence

from ..errors import PvprepError
from ..guest import ENVIRONMENT, Guest
from ..synced import private
from .base import Base, unpack_modules
from .newc import Item

MODULE_MAX = 64 << 20  # bytes
INDEX_MAX = 64 << 20
SUFFIXES = (".ko", ".ko.gz", ".ko.xz", ".ko.zst")
# What depmod takes from the kernel's package: which modules are built in, and in which order the
# others are preferred.
GIVEN = ("modules.builtin", "modules.builtin.modinfo", "modules.order")


def needed(guest: Guest, version: str, names: Sequence[str]) -> dict[str, str]:
    """The files of these modules and of all that they depend on, as modules.dep says.

    Path below /lib/modules/VERSION -> module; what has to be loaded first comes first.
    """
    directory = f"/lib/modules/{version}"
    table: dict[str, list[str]] = {}
    text = (guest.read(f"{directory}/modules.dep", INDEX_MAX) or b"").decode("utf-8", "replace")
    for line in text.split("\n"):
        path, colon, rest = line.partition(":")
        if colon:
            # module-init-tools before 3.5 wrote whole paths.
            table[_below(path, directory)] = [_below(one, directory) for one in rest.split()]
    by_name = {_name(path): path for path in table}
    found: dict[str, str] = {}
    for name in names:
        file = by_name.get(name.replace("-", "_"))
        if file is None:
            raise PvprepError(
                f"{directory}/modules.dep does not know {name}",
                "install the package of that kernel again",
            )
        for one in (*reversed(table[file]), file):
            if ".." in one.split("/") or not one.endswith(SUFFIXES):
                raise PvprepError(f"{directory}/modules.dep names {one!r}, which is no module")
            found[one] = _name(one)
    return found


def module(guest: Guest, version: str, path: str) -> Item:
    """A module of the guest."""
    whole = f"/lib/modules/{version}/{path}"
    content, info = guest.read(whole, MODULE_MAX), guest.stat(whole)
    if content is None or info is None:
        raise PvprepError(f"{whole} is missing", "install the package of that kernel again")
    return Item(content, 0o644, int(info.st_mtime))


def indexed(
    guest: Guest, place: str, base: Base, version: str, names: Sequence[str]
) -> dict[str, Item]:
    """The modules, and the new index of them with all that the initrd (at place) has, by path."""
    paths = needed(guest, version, names)
    found = {f"lib/modules/{version}/{path}": module(guest, version, path) for path in paths}
    with tempfile.TemporaryDirectory(prefix="pvprep-") as scratch:
        # kmod looks below /lib or /usr/lib, as it was built.
        directory = os.path.join(scratch, "usr/lib/modules", version)
        os.makedirs(directory)
        os.symlink("usr/lib", os.path.join(scratch, "lib"))
        problem = unpack_modules(place, version, directory)
        if problem:
            raise PvprepError(f"the modules in the initrd cannot be unpacked: {problem}")
        before = _index(directory)
        for path in paths:
            _write(directory, path, found[f"lib/modules/{version}/{path}"].content)
        for name in GIVEN:
            content = guest.read(f"/lib/modules/{version}/{name}", INDEX_MAX)
            if content is not None and name not in before:
                _write(directory, name, content)
        _depmod(scratch, version)
        after = _index(directory)
    if any(line.startswith(b"/") for line in before.get("modules.dep", b"").split(b"\n")):
        after = _whole_paths(after, f"/lib/modules/{version}/".encode())
    stamp = max(item.mtime for item in found.values())
    for name, content in after.items():
        if before.get(name) != content:
            found[f"lib/modules/{version}/{name}"] = Item(content, 0o644, stamp)
    return found


def _depmod(scratch: str, version: str) -> None:
    # This machine's depmod.d is for its own modules.
    empty = os.path.join(scratch, "depmod.d")
    os.mkdir(empty)
    argv = ["depmod", "-b", scratch, "-C", empty, version]
    try:
        done = subprocess.run(
            argv, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise PvprepError(
            "the program depmod is missing on this machine", "install its package, kmod"
        ) from None
    # It ends well, too, where it could not read a module, and only says so.
    if done.returncode or "ERROR" in done.stderr:
        said = (done.stderr.strip() or f"status {done.returncode}").replace(scratch, "")
        raise PvprepError(f"depmod failed for {version}: {said}", "use --initrd rebuild")


def _whole_paths(index: dict[str, bytes], directory: bytes) -> dict[str, bytes]:
    """As module-init-tools before 3.5 wants it: it knows no relative paths, nor a binary index."""
    lines = []
    for line in index["modules.dep"].split(b"\n"):
        path, colon, rest = line.partition(b":")
        words = [directory + word for word in rest.split()]
        lines.append(b" ".join([directory + path + colon, *words]) if colon else line)
    plain = {name: text for name, text in index.items() if not name.endswith(".bin")}
    return {**plain, "modules.dep": b"\n".join(lines)}


def _index(directory: str) -> dict[str, bytes]:
    found = {}
    for name in sorted(os.listdir(directory)):
        place = os.path.join(directory, name)
        if name.startswith("modules.") and os.path.isfile(place):
            with open(place, "rb") as file:
                found[name] = file.read()
    return found


def _write(directory: str, path: str, content: bytes) -> None:
    place = os.path.join(directory, path)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    with open(place, "wb", opener=private) as out:
        out.write(content)


def _below(path: str, directory: str) -> str:
    prefix = f"{directory}/"
    return path[len(prefix) :] if path.startswith(prefix) else path


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1].split(".ko")[0].replace("-", "_")
