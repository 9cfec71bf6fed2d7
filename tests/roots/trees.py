"""Trees to try packages and initrds on, and a way to work on one in a process of its own."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from tests.guests import hostapt, roots

from pvprep.guest import Guest
from pvprep.namespace import enter

T = TypeVar("T")

KERNEL = "linux-image-cloud-amd64"  # the smallest one

# What the script of a builder or a package must not find, as all of it is this machine's.
LOOKING = r"""
ls -A /sys/firmware
ls -A /run | grep -v ^pvprep
find /dev -type b
ls -d /dev/disk /dev/mapper /dev/loop-control /dev/kmsg 2>/dev/null
ls /sys/class/net | grep -vx lo
sed 1,2d /proc/net/dev | grep -v ' lo:'
sed 1d /proc/net/route
grep @ /proc/net/unix
echo end
"""


def in_tree(root: Path, work: Callable[[Guest], T]) -> T:
    """Do work on the tree in a child, inside its mount namespace; gives what it gave or raised.

    apt's configuration and the namespace belong to a process; this one stays as it is.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            guest = Guest(str(root))
            enter(guest)
            answer = (True, work(guest))
        except BaseException as error:
            answer = (False, error)
        with open(writer, "wb") as pipe:
            pickle.dump(answer, pipe)
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        data = pipe.read()
    os.waitpid(pid, 0)
    good, value = pickle.loads(data)
    if not good:
        raise value
    return value


def copy(tree: Path, to: Path) -> Path:
    """A copy of a tree to work on."""
    subprocess.run(["cp", "-a", "--reflink=auto", tree, to], check=True)
    return to


@contextlib.contextmanager
def layer(tree: Path, directory: Path) -> Iterator[Path]:
    """A tree to work on, whose changes lie in memory above a tree that stays as it is: at once."""
    with roots.in_memory(directory) as memory:
        upper, work, merged = (memory / name for name in ("upper", "work", "tree"))
        for path in (upper, work, merged):
            path.mkdir()
        options = f"lowerdir={tree},upperdir={upper},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", merged], check=True)
        try:
            yield merged
        finally:
            subprocess.run(["umount", "--lazy", merged], check=True)


def let_fetch(root: Path) -> None:
    """Let apt reach the archive for this tree as it does for this machine."""
    settings = "".join(f"{line}\n" for line in hostapt.options())
    (root / "etc/apt/apt.conf.d/99build-host").write_text(settings)


def package(
    directory: Path,
    name: str,
    version: str = "1",
    postinst: str = "",
    preinst: str = "",
    **fields: str,
) -> Path:
    """A package file without content, built by dpkg-deb; fields: of the control file."""
    tree = directory / f"{name}_{version}"
    (tree / "DEBIAN").mkdir(parents=True)
    control = {
        "Package": name,
        "Version": version,
        "Architecture": "all",
        "Maintainer": "Nobody <nobody@example.org>",
        "Description": "a package of the tests",
        **fields,
    }
    text = "".join(f"{key}: {value}\n" for key, value in control.items())
    (tree / "DEBIAN/control").write_text(text)
    for script, text in (("postinst", postinst), ("preinst", preinst)):
        if text:
            (tree / "DEBIAN" / script).write_text(f"#!/bin/sh\n{text}\n")
            (tree / "DEBIAN" / script).chmod(0o755)
    file = directory / f"{name}_{version}.deb"
    command = ["dpkg-deb", "--root-owner-group", "-b", tree, file]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return file
