"""The guests of these tests, as an HVM installation leaves them: their disks, names, boot loaders.

Each is made as a tree first; pvprep works on the tree (or not, for a control), and a disk image is
made of it. An image has the tests' unit that tells what a boot came to.
"""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, Optional, Union

from tests.guests import hostapt, images, profiles, roots, rpmprofiles, rpmroots
from tests.guests.profiles import ROOT_UUID, Profile
from tests.guests.rpmprofiles import RpmProfile
from tests.xen import convert, facts, layouts
from tests.xen.convert import Promise
from tests.xen.layouts import Names

from pvprep.pygrub import Refusal


@dataclass(frozen=True)
class Case:
    """A guest. name: for people. names: where /boot lies apart, and how root and swap are called.

    root, swap: what a PV boot of the prepared guest must have. lost: why the unprepared one does
    not come up as PV. online: a kernel has to be installed, which takes an archive.
    """

    name: str
    profile: Union[Profile, RpmProfile]
    root: str
    swap: str
    lost: str
    disk: Callable[[Path, Path, Path], None]
    names: Optional[Names] = None
    menu_lst: bool = False
    online: bool = False

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Built:
    """A guest made of a case.

    root: its tree, whose /boot is in boot; that has no other name where it is no file system of its
    own. disk: the image. config: what pvprep emitted. promise: what pvprep says that pygrub takes.
    """

    root: Path
    boot: Path
    disk: Path
    config: Path
    promise: Union[Promise, Refusal]

    def taken(self, path: str) -> Path:
        """The file that pygrub takes under this path: on the file system that it reads."""
        return self.boot / path.lstrip("/")


def _mbr(root: Path, _boot: Path, image: Path) -> None:
    images.mbr(root, image)


def _gpt(root: Path, boot: Path, image: Path) -> None:
    images.boot_apart(root, boot, image)


def _xfs(root: Path, boot: Path, image: Path) -> None:
    images.boot_apart(root, boot, image, xfs=True)


# Dropping to a shell, which may come too late for the console's last line.
_NO_SDA = "ALERT!  /dev/sda1 does not exist."
_NO_UUID = f"ALERT!  UUID={ROOT_UUID} does not exist."

MBR = Case(
    "MBR, sda names", profiles.BOOKWORM, "/dev/xvda1 ext4", "/dev/xvda2", _NO_SDA, _mbr
)
GPT = Case(
    "GPT by UUID, /boot apart", profiles.BOOKWORM, "/dev/xvda3 ext4", "/dev/xvda4", _NO_UUID,
    _gpt, layouts.BY_UUID,
)  # fmt: skip
XFS = Case(
    "GPT, XFS root", replace(profiles.BOOKWORM, extra=("xfsprogs",)),
    "/dev/xvda3 xfs", "/dev/xvda4", _NO_UUID, _xfs, layouts.XFS,
)  # fmt: skip
LVM = Case(
    "GPT, LVM root", replace(profiles.BOOKWORM, extra=("lvm2",)),
    "/dev/mapper/vg-root ext4", "/dev/dm-1",
    "ALERT!  /dev/mapper/vg-root does not exist.",
    images.lvm, layouts.LVM,
)  # fmt: skip
LEGACY = Case(
    "MBR, GRUB legacy", profiles.BOOKWORM, "/dev/xvda1 ext4", "/dev/xvda2", _NO_SDA, _mbr,
    menu_lst=True,
)  # fmt: skip
I386 = Case(
    "MBR, 32-bit user space", profiles.BOOKWORM_I386, "/dev/xvda1 ext4", "/dev/xvda2",
    "xc_dom_find_loader: no loader found: Invalid kernel", _mbr, online=True,
)  # fmt: skip

# What no partition has in a form that pygrub reads is BLS.
_NO_MENU = "RuntimeError: Unable to find partition containing kernel"
EL9 = Case(
    "EL 9 stand-in: rpm, dnf, dracut, BLS; kernel-uek to be had",
    rpmprofiles.EL9_UEK, "/dev/xvda1 ext4", "/dev/xvda2", _NO_MENU, _mbr,
)  # fmt: skip
EL8 = Case(
    "EL 8 stand-in: arguments in grubenv's kernelopts",
    rpmprofiles.EL8_PV, "/dev/xvda1 ext4", "/dev/xvda2", _NO_MENU, _mbr,
)  # fmt: skip

ALL = (MBR, GPT, XFS, LVM, LEGACY, I386, EL9, EL8)


def build(case: Case, space: Path, *, prepared: bool = True) -> Built:
    """Make the guest; unprepared, it gets the config that it would be ready for if it were."""
    root, boot, config = tree(case, space), space / "boot", space / "bifit.cfg"
    archive: AbstractContextManager[None] = nullcontext()
    if case.online:
        archive = hostapt.online(root)
    with archive:
        convert.emit(root, config, *([] if prepared else ["--dry-run"]))
    promise = convert.promised(root)
    if case.names:
        layouts.take_boot(root, boot)
    case.disk(root, boot, space / "disk.img")
    return Built(root, boot if case.names else root, space / "disk.img", config, promise)


def tree(case: Case, space: Path) -> Path:
    """The guest as a tree: /boot is in it, wherever it will be on the disk."""
    root = space / "root"
    roots.unpack(archive(case.profile), root)
    facts.install(root)
    if case.names:
        layouts.boot_apart(root, case.names)
    if case.menu_lst:
        # The boot sector, which pygrub does not read, is the other GRUB's.
        shutil.copytree(root / "boot/grub/i386-pc", space / "i386-pc")
        layouts.grub_legacy(root)
        shutil.copytree(space / "i386-pc", root / "boot/grub/i386-pc")
    return root


def archive(profile: Union[Profile, RpmProfile]) -> Path:
    """A tar of the guest, made if it is not there."""
    if isinstance(profile, RpmProfile):
        return rpmroots.build(profile)
    return roots.build_profile(profile)
