"""Every kernel that a source holds, as far as a plan needs to know it: read once, kept in memory.

What a person names is a package, a directory of packages (a kernel and its modules may come in
several), a directory laid out like a root, or `host`: the kernel that runs here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Optional

from ..errors import Exit, PvprepError
from ..facts import Kernel, KernelProof
from ..survey.isolate import prove_all
from ..survey.kernel_image import prove_kernel
from ..survey.kernels import NOT_GUESTS, config_values, module_names, version_key
from ..synced import digest
from . import package, tree
from .member import DIR, FILE, Member, refused, version_of

HOST = "host"
# Far above any kernel; what is more would only eat memory or the guest's disk.
MAX_FILES = 100_000
MAX_SIZE = 4 << 30
MAX_IMAGE = 256 << 20
MAX_TEXT = 8 << 20
# Where the files for /boot lie: there, or with the modules (kernel-install(8) copies them).
FOR_BOOT = ("vmlinuz", "config", "System.map")


@dataclass
class Found:
    """One version. members: by name, files with their content left out.

    boot: what shall lie in /boot under NAME-VERSION: the member and its SHA-256.
    """

    version: str
    members: dict[str, Member] = field(default_factory=dict)
    boot: dict[str, tuple[str, str]] = field(default_factory=dict)
    image: Optional[int] = None  # a file descriptor of the image's copy in memory
    config: str = ""
    builtin: str = ""

    @property
    def modules(self) -> list[Member]:
        """What is beneath lib/modules/VERSION, and that directory."""
        return [one for name, one in self.members.items() if name.startswith("lib/")]

    @property
    def whole(self) -> bool:
        """Whether it has an image and modules."""
        return self.image is not None and any(one.kind == FILE for one in self.modules)


@dataclass(frozen=True)
class Shelf:
    """A source and its kernels, oldest first, each with what it says of itself."""

    source: str
    kernels: Sequence[tuple[Found, Kernel]]


def read(source: str) -> Shelf:
    """Look through a source. PvprepError with status NOT_READY where it has no kernel to take."""
    found = _inventory(source)
    whole = [one for one in found.values() if one.whole and not NOT_GUESTS.search(one.version)]
    if not whole:
        raise PvprepError(
            f"no kernel can be taken from {source}: {_lacks(found)}",
            "name a kernel package, a directory of them (image and modules may be apart), or a "
            "directory with boot/vmlinuz-VERSION and lib/modules/VERSION",
            Exit.NOT_READY,
        )
    whole.sort(key=lambda one: version_key(one.version))
    proofs = prove_all(prove_kernel, [f"/proc/self/fd/{one.image}" for one in whole])
    for one in found.values():
        if one.image is not None:
            os.close(one.image)
    return Shelf(source, [(one, _kernel(one, proofs)) for one in whole])


def members(source: str) -> Iterator[Member]:
    """All members of a source that a kernel may need, in its own order."""
    if source == HOST:
        yield from tree.members("/", os.uname().release)
    elif os.path.isdir(source):
        names = sorted(name for name in os.listdir(source) if name.endswith(package.SUFFIXES))
        if not names:
            yield from tree.members(source)
        for name in names:
            yield from package.members(os.path.join(source, name))
    elif source.endswith(package.SUFFIXES) and os.path.isfile(source):
        yield from package.members(source)
    else:
        raise PvprepError(
            f"--kernel-from {source}: neither a directory nor a .deb or .rpm file",
            f"name one of these, or {HOST} for the kernel that runs here",
            Exit.NOT_READY,
        )


def _inventory(source: str) -> dict[str, Found]:
    found: dict[str, Found] = {}
    count = size = 0
    for member in members(source):
        count, size = count + 1, size + member.size
        if count > MAX_FILES or size > MAX_SIZE:
            raise refused(source, f"it has more than {MAX_FILES} files or {MAX_SIZE} bytes")
        one = found.setdefault(version_of(member.name), Found(version_of(member.name)))
        if member.name in one.members and member.kind != DIR:
            raise refused(source, f"it has two files named {member.name}")
        one.members[member.name] = member
        if member.kind == FILE:
            _take(one, member, source)
    return found


def _take(one: Found, member: Member, source: str) -> None:
    """Keep what tells of the kernel."""
    modules = f"lib/modules/{one.version}/"
    for what in FOR_BOOT:
        own = member.name == f"boot/{what}-{one.version}"
        if own or (member.name == modules + what and what not in one.boot):
            one.boot[what] = (member.name, _read(one, what, member, source))
    if member.name == f"{modules}modules.builtin":
        one.builtin = _text(member, source)


def _read(one: Found, what: str, member: Member, source: str) -> str:
    """The SHA-256 of a file for /boot; an image is kept as a file, a configuration as text."""
    if what == "config":
        one.config = _text(member, source)
        return digest([one.config.encode("utf-8", "surrogateescape")])
    if what != "vmlinuz":
        return digest(member.content())
    if member.size > MAX_IMAGE:
        raise refused(source, f"{member.name} has {member.size} bytes")
    if one.image is not None:
        os.close(one.image)
    one.image = os.memfd_create("pvprep-kernel")
    with open(os.dup(one.image), "wb") as copy:
        copy.writelines(member.content())
    return digest(_pieces(one.image))


def _pieces(fd: int) -> Iterator[bytes]:
    at = 0
    while piece := os.pread(fd, 1 << 20, at):
        at += len(piece)
        yield piece


def _text(member: Member, source: str) -> str:
    if member.size > MAX_TEXT:
        raise refused(source, f"{member.name} has {member.size} bytes")
    return b"".join(member.content()).decode("utf-8", "surrogateescape")


def _kernel(one: Found, proofs: dict[str, KernelProof]) -> Kernel:
    """The kernel as it will be in a guest; without an initrd, which has to be made there."""
    values, lines = config_values(one.config)
    names = "\n".join(member.name for member in one.modules if member.kind == FILE)
    return Kernel(
        version=one.version,
        image=f"/boot/vmlinuz-{one.version}",
        proof=proofs[f"/proc/self/fd/{one.image}"],
        config=values,
        config_path=f"/boot/config-{one.version}" if one.config else "",
        config_lines=lines,
        builtin=frozenset(module_names(one.builtin)),
        modules=frozenset(module_names(names)),
    )


def _lacks(found: dict[str, Found]) -> str:
    """Why none of these is a kernel with modules."""
    if not found:
        return "there is neither a kernel nor a module in it"
    parts = [
        f"{one.version} has no {'modules' if one.image is not None else 'image (vmlinuz)'}"
        for one in found.values()
        if not one.whole
    ]
    return "; ".join(parts[:4]) or "what it has is not for booting a guest"
