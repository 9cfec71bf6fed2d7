"""A small Debian tree on disk, as far as a survey looks; its images are real in form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.unit.building import DEFAULTS_TEXT, VERSION, entry, grub_cfg
from tests.unit.survey.synthetic import LINUX_PV, LINUX_PVH, bzimage, cpio, elf, notes

from pvprep import outside
from pvprep.changes import BuildInitrd, InstallPackages, PlaceKernel
from pvprep.editors import modules as module_lists
from pvprep.guest import Guest

OS_RELEASE = """\
PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
ID=debian
VERSION_ID="12"
VERSION_CODENAME=bookworm
"""
STATUS = """\
Package: dpkg
Status: install ok installed
Architecture: amd64
Version: 1.21.22

Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9
"""
MODULES = f"lib/modules/{VERSION}/kernel/drivers"
FRONTENDS = (f"{MODULES}/block/xen-blkfront.ko", f"{MODULES}/net/xen-netfront.ko")
RULES = "etc/udev/rules.d/59-pvprep-names.rules"

FILES: Mapping[str, str] = {
    "etc/os-release": OS_RELEASE,
    "etc/hostname": "guest\n",
    "etc/fstab": "/dev/sda1 / ext4 defaults 0 1\n/dev/sda2 none swap sw 0 0\n",
    "etc/inittab": "1:2345:respawn:/sbin/getty 38400 tty1\n",
    "etc/default/grub": DEFAULTS_TEXT,
    "etc/initramfs-tools/modules": "# none\n",
    "etc/apt/sources.list": "deb http://archive.invalid/debian bookworm main\n",
    "etc/kernel/postinst.d/initramfs-tools": "#!/bin/sh\n",
    "usr/sbin/mkinitramfs": "#!/bin/sh\n",
    "var/lib/dpkg/status": STATUS,
    "boot/grub/grub.cfg": grub_cfg(),
    f"boot/config-{VERSION}": "CONFIG_XEN=y\nCONFIG_XEN_PV=y\n# CONFIG_XEN_PVH is not set\n",
    f"lib/modules/{VERSION}/modules.builtin": "kernel/fs/ext4/ext4.ko\n",
    f"lib/modules/{VERSION}/modules.dep": "".join(
        f"{path.split('/', 3)[3]}: kernel/x.ko\n" for path in FRONTENDS
    ),
}


def image(pv: bool = True) -> bytes:
    """A kernel that has Xen's notes, or none."""
    return bzimage(elf(notes({**LINUX_PV, **LINUX_PVH}) if pv else b""), version=f"{VERSION} x")


def initrd(
    preload: Sequence[str] = (),
    files: Sequence[tuple[str, bytes]] = (),
    frontends: bool = True,
    version: str = VERSION,
) -> bytes:
    """An initrd as initramfs-tools makes it."""
    listed = "".join(f"{name}\n" for name in preload).encode()
    drivers = [(path.replace(VERSION, version), b"ELF") for path in FRONTENDS] if frontends else []
    return cpio([("scripts/functions", b"#"), ("conf/modules", listed), *drivers, *files])


def make(root: Path, files: Mapping[str, str] = {}, pv: bool = True) -> Path:
    """The tree; files are written over what it has."""
    for path, text in {**FILES, **files}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    (root / f"boot/vmlinuz-{VERSION}").write_bytes(image(pv))
    (root / f"boot/initrd.img-{VERSION}").write_bytes(initrd(frontends=False))
    return root


class Running(Guest):
    """A tree that passes for a running system."""

    running = True  # type: ignore[assignment]

    def host(self, path: str, follow: bool = True) -> str:
        return self.root + self.resolve(path, follow)

    def resolve(self, path: str, follow: bool = True) -> str:
        return Guest(self.root).resolve(path, follow)


class Builder:
    """Workers that build as mkinitramfs does, and find every package installed already."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.built: list[str] = []
        self.installs: list[InstallPackages] = []
        self.after = lambda: None

    def wait(self) -> None:
        """Nobody else has a lock."""
        assert not self.installs, "too late: a kernel is installed already"

    def build(self, change: BuildInitrd, output: str) -> None:
        """From the configuration as it is now."""
        listed = (self.root / "etc/initramfs-tools/modules").read_text()
        rules = self.root / RULES
        files = [(RULES, rules.read_bytes())] if rules.exists() else []
        content = initrd(module_lists.names(listed), files, version=change.version)
        (self.root / output[1:]).write_bytes(content)
        self.built.append(change.path)
        self.after()

    def install(self, change: InstallPackages) -> None:
        """A kernel that can boot PV."""
        self.installs.append(change)
        (self.root / f"boot/vmlinuz-{VERSION}").write_bytes(image())

    def purge(self, names: Sequence[str]) -> None:
        """Nothing was installed by name."""
        raise AssertionError(names)

    def installed(self) -> Mapping[str, str]:
        """The same before and after."""
        return {"dpkg:amd64": "1.21.22"}

    def mend(self) -> None:
        """Nothing is broken."""

    def put_back(self, version: str, path: str) -> None:
        """No hook has to know."""

    def gather(self, change: PlaceKernel, directory: str) -> None:
        """As it is done everywhere."""
        outside.gather(Guest(str(self.root)), change, directory, lambda _line: None)


def menu(*versions: str) -> str:
    """A grub.cfg for these kernels."""
    return grub_cfg(*(entry(version) for version in versions))
