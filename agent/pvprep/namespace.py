"""What a program in a mounted tree needs around it, in a mount namespace of this process alone.

Nothing is written to the tree and nothing has to be taken away afterwards: the mounts end with the
last process of the namespace, also where that process is killed. Sources: mount_namespaces(7),
mount(2), unshare(2).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

from . import forked
from .beneath import shown
from .errors import Exit, PvprepError
from .guest import Guest

_CLONE_NEWNS = 0x00020000
MS_RDONLY, MS_NOSUID, MS_NODEV = 0x1, 0x2, 0x4
_MS_NOEXEC, _MS_BIND, MS_REC, _MS_PRIVATE, MS_SLAVE = 0x8, 0x1000, 0x4000, 0x40000, 0x80000

# A directory of a tree that is in memory meanwhile, for files of ours: old guests have no /run.
MEMORY = "/dev"

# By these do maintainer scripts start services. invoke-rc.d covers deb-systemd-invoke's half too:
# without /run/systemd/system nobody calls systemctl. initctl must not reach an Upstart outside: it
# talks over an abstract socket, which a chroot does not hide.
_STARTERS = ("/usr/sbin/invoke-rc.d", "/sbin/start-stop-daemon", "/sbin/initctl")
# grub-mkconfig would ask for the disk under the tree and write the host's into the guest's menu;
# what a new kernel needs there is a step's work (steps/bootloader.py).
_GRUB_MKCONFIG, _UPDATE_GRUB = "/usr/sbin/grub-mkconfig", "/usr/sbin/update-grub"
_GRUB2_MKCONFIG = "/usr/sbin/grub2-mkconfig"  # of the RPM family
_NOTHING = "#!/bin/sh\n# pvprep: this is left undone in a tree that does not run.\nexit 0\n"

# What is in every /dev (systemd's docs/CONTAINER_INTERFACE.md), but for a console.
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}

_RESOLVER = "/etc/resolv.conf"
# A source's Signed-By names a key by its path; apt runs outside and shall see the guest's keys.
_KEYRINGS = ("/usr/share/keyrings", "/etc/apt/keyrings")


def enter(guest: Guest) -> None:
    """Give this process a mount namespace with /proc, /sys, /dev and /run (where there is one)
    inside the tree.

    Of this machine they show what every program needs, and little more: no disk in /dev, nothing in
    /run; /sys is read-only, without firmware and network cards. What boot loaders' and builders'
    scripts would find there is not the guest's. Programs that start services or look for the
    guest's disk do nothing. A guest that is our own root is left as it is.
    Raises PvprepError where it is not allowed or the tree lacks a directory to mount on.
    """
    if guest.running:
        return
    directories = ["/proc", "/sys", "/dev", *(["/run"] if guest.lstat("/run") else [])]
    for name in directories:
        _place(guest, name)
    new_namespace()
    guest.close()  # what is held is of the namespace before
    mount("none", "/", "", MS_REC | _MS_PRIVATE)
    places = {name: _place(guest, name) for name in directories}
    safe = MS_NOSUID | MS_NODEV
    mount("proc", places["/proc"], "proc", safe)
    with _offline():  # it shows the cards of whoever mounts it (sysfs(5))
        mount("sysfs", places["/sys"], "sysfs", safe | MS_RDONLY)
    if guest.is_dir("/sys/firmware"):
        firmware = guest.within("/sys/firmware")
        mount("tmpfs", firmware, "tmpfs", safe | MS_RDONLY, "mode=555")
    mount("tmpfs", places["/dev"], "tmpfs", MS_NOSUID, "mode=755")
    _devices(guest)
    if "/run" in places:
        mount("tmpfs", places["/run"], "tmpfs", safe, "mode=755")
    _stand_in(guest)
    for directory in _KEYRINGS:
        if guest.is_dir(directory) and os.path.isdir(directory):
            mount(guest.within(directory), os.path.realpath(directory), "", _MS_BIND)


def for_packages(guest: Guest, fetches: bool) -> None:
    """What a package manager that works inside needs besides, for this process and its children.

    To be called after enter(), and raises as it does. The root is a mount: rpm 6 makes `/` private
    for each script, which has to be one (source: rpm's plugins/unshare.c). fetches: names are
    resolved as on this machine, as the tree's own resolv.conf is of another network, or a link into
    /run.
    """
    if guest.running:
        return
    new_namespace()
    guest.close()
    mount(guest.root, guest.root, "", _MS_BIND | MS_REC)
    resolver = guest.resolve(_RESOLVER)
    if not fetches or not os.path.isfile(_RESOLVER):
        return
    if guest.is_file(resolver):
        mount(os.path.realpath(_RESOLVER), guest.host(resolver), "", _MS_BIND)
    elif resolver.startswith("/run/"):
        import shutil

        guest.make_directory(os.path.dirname(resolver))
        shutil.copyfile(_RESOLVER, guest.host(resolver))


def new_namespace() -> None:
    """Give this process a mount namespace; what is mounted is shared with its parent's as before.

    Raises PvprepError where it is not allowed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS):
        raise _not_allowed(f"no mount namespace of our own: {os.strerror(ctypes.get_errno())}")


def _place(guest: Guest, path: str) -> str:
    """Where to mount: a real directory, so that a link in the tree leads nowhere else."""
    if guest.is_dir(path) and guest.resolve(path) == path:
        return guest.within(path)
    raise PvprepError(
        f"{guest.root} has no directory {path} to mount on",
        f"mkdir {guest.root}{path}, if this is the root of a guest",
        Exit.NOT_READY,
    )


@contextmanager
def _offline() -> Iterator[None]:
    """This process has no network in the meantime."""
    before = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            forked.offline()()
        except OSError as error:
            raise _not_allowed(str(error.strerror)) from None
        try:
            yield
        finally:
            if ctypes.CDLL(None, use_errno=True).setns(before, forked.CLONE_NEWNET):
                raise PvprepError(f"no way back to the network: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(before)


def _devices(guest: Guest) -> None:
    """Fill an empty /dev. No node is made, which a container may not: each is the host's own."""
    place = guest.within("/dev")
    for name in filter(lambda name: os.path.exists(f"/dev/{name}"), _DEVICES):
        with open(f"{place}/{name}", "xb"):
            pass
        mount(f"/dev/{name}", guest.host(f"/dev/{name}"), "", _MS_BIND)
    for name, target in _LINKS.items():
        os.symlink(target, f"{place}/{name}")
    for name, kind, options in (
        ("pts", "devpts", "newinstance,ptmxmode=0666,mode=620,gid=5"),
        ("shm", "tmpfs", "mode=1777"),
    ):
        os.mkdir(f"{place}/{name}")
        mount(kind, guest.within(f"/dev/{name}"), kind, MS_NOSUID | _MS_NOEXEC, options)


def _stand_in(guest: Guest) -> None:
    """Cover programs that make no sense in a tree; an absent one needs no cover."""
    nothing = _script(guest.host(f"{MEMORY}/pvprep-nothing"), _NOTHING)
    for path in _STARTERS:
        _cover(guest, path, nothing)
    if guest.is_file(_GRUB_MKCONFIG):  # GRUB legacy's update-grub looks for no disk
        _cover(guest, _UPDATE_GRUB, nothing)
    _cover(guest, _GRUB2_MKCONFIG, nothing)


def _script(place: str, text: str) -> str:
    with open(place, "w", encoding="ascii") as file:
        file.write(text)
        os.fchmod(file.fileno(), 0o755)
    return place


def _cover(guest: Guest, path: str, script: str) -> None:
    if guest.is_file(path):
        mount(script, guest.host(path), "", _MS_BIND)


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """mount(2). Raises PvprepError where it fails."""
    libc = ctypes.CDLL(None, use_errno=True)
    words = [os.fsencode(word) for word in (source, target, kind)]
    if libc.mount(*words, ctypes.c_ulong(flags), data.encode() or None):
        why = os.strerror(ctypes.get_errno())
        raise _not_allowed(f"cannot mount {shown(source)} on {shown(target)}: {why}")


def _not_allowed(message: str) -> PvprepError:
    hint = "run pvprep as root; in a container it needs CAP_SYS_ADMIN"
    return PvprepError(message, hint, Exit.NOT_READY)
