"""The modules of an initrd with some more, and their index, made by this machine's depmod(8).

depmod gets exactly the modules that the initrd will hold: an index with others in it would have
modprobe fail on a file that is not there, instead of finding that there is none. What comes is
unpacked: nobody knows which compression of modules the modprobe in the initrd can read.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Collection, Sequence

from ..errors import PvprepError
from ..guest import ENVIRONMENT, Guest
from ..synced import private
from .base import unpack_files, unpack_modules
from .newc import Item

MODULE_MAX = 64 << 20  # bytes
INDEX_MAX = 64 << 20
SUFFIXES = (".ko", ".ko.gz", ".ko.xz", ".ko.zst")
# What depmod takes from the kernel's package: which modules are built in, and in which order the
# others are preferred.
_AGAIN = "install the package of that kernel again"
GIVEN = ("modules.builtin", "modules.builtin.modinfo", "modules.order")


def needed(guest: Guest, version: str, names: Sequence[str]) -> dict[str, str]:
    """The files of these modules and of all that they depend on or ask for, as depmod wrote it.

    Path below /lib/modules/VERSION -> module; what has to be loaded first comes first.
    """
    directory = f"/lib/modules/{version}"
    table: dict[str, list[str]] = {}
    for line in _lines(guest, f"{directory}/modules.dep"):
        path, colon, rest = line.partition(":")
        if colon:
            # module-init-tools before 3.5 wrote whole paths.
            table[_below(path, directory)] = [_below(one, directory) for one in rest.split()]
    by_name = {_name(path): path for path in table}
    asked = _asked(guest, directory, by_name)
    found: dict[str, str] = {}
    todo = [name.replace("-", "_") for name in names]
    for name in todo:  # which grows
        file = by_name.get(name)
        if file is None:
            raise PvprepError(
                f"{directory}/modules.dep does not know {name.replace('_', '-')}", _AGAIN
            )
        for one in (*reversed(table[file]), file):
            if one.startswith("/") or ".." in one.split("/") or not one.endswith(SUFFIXES):
                raise PvprepError(f"{directory}/modules.dep names {one!r}, which is no module")
            if one not in found:
                found[one] = _name(one)
                todo += asked.get(_name(one), ())
    return found


def _asked(guest: Guest, directory: str, known: Collection[str]) -> dict[str, list[str]]:
    """What modules use without depending on it, as ext4 does crc32c: modules.softdep.

    It may be named by an alias; then any module of that name will be there.
    """
    rows = [line.split() for line in _lines(guest, f"{directory}/modules.softdep")]
    rows = [row[1:] for row in rows if row[:1] == ["softdep"]]
    words = {word.replace("-", "_") for row in rows for word in row[1:]}
    named: dict[str, list[str]] = {word: [word] for word in words if word in known}
    for line in _lines(guest, f"{directory}/modules.alias"):
        _, alias, module, *_ = (*line.replace("-", "_").split(), "", "", "")
        if alias in words and module in known:
            named.setdefault(alias, []).append(module)
    found: dict[str, list[str]] = {}
    for name, *uses in rows:
        modules = [one for word in uses for one in named.get(word.replace("-", "_"), ())]
        found.setdefault(name.replace("-", "_"), []).extend(modules)
    return found


def _lines(guest: Guest, path: str) -> list[str]:
    return (guest.read(path, INDEX_MAX) or b"").decode("utf-8", "replace").split("\n")


def module(guest: Guest, version: str, path: str) -> Item:
    """A module of the guest."""
    whole = f"/lib/modules/{version}/{path}"
    content, info = guest.read(whole, MODULE_MAX), guest.stat(whole)
    if content is None or info is None:
        raise PvprepError(f"{whole} is missing", _AGAIN)
    return Item(content, 0o644, int(info.st_mtime))


def indexed(guest: Guest, place: str, version: str, names: Sequence[str]) -> dict[str, Item]:
    """The modules, and the new index of them with all that the initrd (at place) has for that
    version, by path."""
    top = f"/lib/modules/{version}"
    paths = needed(guest, version, names)
    with tempfile.TemporaryDirectory(prefix="pvprep-") as scratch:
        # kmod looks below /lib or /usr/lib, as it was built.
        directory = os.path.join(scratch, "usr/lib/modules", version)
        os.makedirs(directory)
        os.symlink("usr/lib", os.path.join(scratch, "lib"))
        problem = unpack_modules(place, version, directory)
        if problem:
            raise PvprepError(f"the modules in the initrd cannot be unpacked: {problem}")
        before = _index(directory)
        times = {}
        for path in paths:
            if not os.path.lexists(os.path.join(directory, path)):
                times[path] = _time(guest, f"{top}/{path}")
        plain = {path: f"{path[: path.rindex('.ko')]}.ko" for path in times}
        problem = unpack_files(
            directory, {name: guest.host(f"{top}/{path}") for path, name in plain.items()}
        )
        if problem:
            raise PvprepError(f"the modules of {version} cannot be unpacked: {problem}", _AGAIN)
        for name in GIVEN:
            content = guest.read(f"{top}/{name}", INDEX_MAX)
            if content is not None and name not in before:
                _write(directory, name, content)
        _depmod(scratch, version)
        after = _index(directory)
        found = {
            f"{top[1:]}/{name}": Item(_read(directory, name), 0o644, times[path])
            for path, name in plain.items()
        }
    # As the modprobe in the initrd wants it; where that had another kernel's, as the guest's does.
    spelled = before.get("modules.dep") or guest.read(f"{top}/modules.dep", INDEX_MAX) or b""
    if any(line.startswith(b"/") for line in spelled.split(b"\n")):
        after = _whole_paths(after, f"{top}/".encode())
    stamp = max(times.values(), default=0)
    for name, content in after.items():
        if before.get(name) != content:
            found[f"{top[1:]}/{name}"] = Item(content, 0o644, stamp)
    return found


def _time(guest: Guest, path: str) -> int:
    info = guest.stat(path)
    if info is None:
        raise PvprepError(f"{path} is missing", _AGAIN)
    return int(info.st_mtime)


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
            found[name] = _read(directory, name)
    return found


def _read(directory: str, path: str) -> bytes:
    with open(os.path.join(directory, path), "rb") as file:
        return file.read()


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
