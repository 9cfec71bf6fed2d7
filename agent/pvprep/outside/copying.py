"""A kernel's files, gathered in an empty directory of the guest for the journal to put in place.

The directory is laid out like a root, so that the host's depmod(8) can index the modules in it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import partial
from typing import Optional

from ..beneath import descriptors
from ..changes import PlaceKernel
from ..errors import Exit, PvprepError
from ..guest import ENVIRONMENT, Guest, Line
from ..moduletree import GENERATED
from ..survey.kernels import listed_modules
from ..synced import CREATE, chunks, digest, private, write_all
from .member import DIR, FILE, LINK, Member, refused, stays_inside, version_of
from .shelf import MAX_FILES, MAX_SIZE, members


def check() -> None:
    """Refuse, before anything changes, where the host has no depmod."""
    if _depmod() is None:
        raise PvprepError(
            "depmod is not installed here: nobody could tell the guest what modules there are",
            "install kmod",
            Exit.NOT_READY,
        )


def gather(guest: Guest, change: PlaceKernel, directory: str, line: Line) -> None:
    """Write boot/NAME and lib/modules/VERSION into the directory; see changes.Workers.

    line: gets what depmod says. PvprepError where the source is not what it was when the plan was
    made, or a frontend is not among its modules.
    """
    top = guest.host(directory, follow=False)
    modules = f"{top}/lib/modules/{change.version}"
    _directory(f"{top}/boot")
    if change.modules:
        _directory(modules)
    count = size = 0
    links: list[Member] = []
    for member in members(change.source):
        if version_of(member.name) != change.version:
            continue
        count, size = count + 1, size + member.size
        if count > MAX_FILES or size > MAX_SIZE:
            raise refused(change.source, "it has grown since it was looked at")
        if member.kind == FILE:
            _file(member, list(_targets(change, member, top)))
        elif member.kind == DIR and change.modules:
            _directory(f"{top}/{member.name}")
        elif member.kind == LINK and change.modules:
            links.append(member)
    for member in links:  # last: nothing is written by way of one
        if member.name.startswith("lib/") and stays_inside(member.name, member.target):
            os.symlink(member.target, f"{top}/{member.name}")
    _check_boot(change, top)
    if change.modules:
        _index(change, top, line)
        _spell(guest, change, f"{modules}/modules.dep")


def _targets(change: PlaceKernel, member: Member, top: str) -> Iterator[str]:
    """Where a file goes: with the modules, to boot, both (kernel-install(8)), or nowhere."""
    modules = f"lib/modules/{change.version}/"
    inside = member.name[len(modules) :] if member.name.startswith(modules) else ""
    if change.modules and inside and not GENERATED.fullmatch(inside):
        yield f"{top}/{member.name}"
    for name in map(os.path.basename, change.boot):
        place = f"{top}/boot/{name}"
        if member.name == f"boot/{name}":
            if os.path.lexists(place):  # that of the modules' directory, which comes second
                os.unlink(place)
            yield place
        elif f"{inside}-{change.version}" == name and not os.path.lexists(place):
            yield place


def _file(member: Member, places: list[str]) -> None:
    """Write a file, with its time, root's, and without what only root's own files should have."""
    content = member.content
    for place in places:
        _directory(os.path.dirname(place))
        fd = os.open(place, CREATE, 0o600)
        try:
            for chunk in content():
                write_all(fd, chunk)
            os.fchown(fd, 0, 0)
            os.fchmod(fd, member.mode & 0o755 | 0o400)
        finally:
            os.close(fd)
        os.utime(place, ns=(member.mtime, member.mtime))
        content = partial(chunks, place)  # it can be asked for once only


def _directory(place: str) -> None:
    if not os.path.isdir(place):
        _directory(os.path.dirname(place))
        os.mkdir(place, 0o700)
        os.chown(place, 0, 0)
        os.chmod(place, 0o755)  # whatever the umask


def _check_boot(change: PlaceKernel, top: str) -> None:
    """What was proven is what is put there."""
    for path, sha256 in change.boot.items():
        place = f"{top}/boot/{os.path.basename(path)}"
        if not os.path.lexists(place) or digest(chunks(place)) != sha256:
            raise PvprepError(
                f"{change.source} has changed since pvprep read it: {os.path.basename(path)}",
                "let whatever writes it finish, then try again",
            )


def _depmod() -> Optional[str]:
    return shutil.which("depmod", path=ENVIRONMENT["PATH"])


def _index(change: PlaceKernel, top: str, line: Line) -> None:
    """Run the host's depmod. Its configuration is not the guest's: none is looked at."""
    import subprocess

    os.symlink(".", f"{top}/usr")  # some depmods look in usr/lib/modules
    done = subprocess.run(
        [_depmod() or "depmod", "-C", os.devnull, "-b", top, change.version],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=ENVIRONMENT,
        text=True,
        errors="replace",
        pass_fds=descriptors(top),
    )
    for text in done.stdout.splitlines():
        line(text)
    if done.returncode:
        said = done.stdout.strip().splitlines()[-4:]
        raise PvprepError(
            f"depmod failed for {change.version} (status {done.returncode}): {'; '.join(said)}",
            "a depmod that knows how the modules are compressed is needed: a newer kmod",
        )
    with open(f"{top}/lib/modules/{change.version}/modules.dep", errors="replace") as file:
        known = listed_modules(file.read())
    missing = [name for name in change.frontends if name.replace("-", "_") not in known]
    if missing:
        raise PvprepError(
            f"depmod has found no {' and no '.join(missing)} among the modules of {change.version}",
            "the modules may be compressed in a way that the host's depmod cannot read",
        )


def _spell(guest: Guest, change: PlaceKernel, place: str) -> None:
    """Old modprobes want whole paths in modules.dep, and new ones take them: as its neighbours'.

    Source: module-init-tools before 3.5 (modprobe.c), kmod's libkmod-module.c.
    """
    directory = os.path.dirname(change.modules)
    texts = (guest.text(f"{directory}/{name}/modules.dep") for name in guest.names(directory))
    if not any(text.startswith("/lib/modules/") for text in texts):
        return
    with open(place, errors="surrogateescape") as file:
        rows = [row.split() for row in file.read().splitlines()]
    home = f"/lib/modules/{change.version}"
    text = "".join(" ".join(f"{home}/{word}" for word in row) + "\n" for row in rows)
    with open(place, "w", errors="surrogateescape", opener=private) as file:
        file.write(text)
