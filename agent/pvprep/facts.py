"""Facts about a guest: frozen, in the field's terms, free of decisions.

Only `survey` makes them; steps, plan, pygrub and domu read them. Sizes are bytes unless a name says
otherwise; paths are absolute inside the guest.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional

from .findings import Finding

# IDs in os-release(5), a system's own or what it says that it is like, by package manager.
_FAMILIES = {
    "debian": ("debian", "ubuntu"),
    "redhat": ("fedora", "rhel", "centos", "almalinux", "rocky", "ol", "amzn", "scientific"),
    "suse": ("suse", "opensuse", "opensuse-leap", "opensuse-tumbleweed", "sles", "sled"),
}


@dataclass(frozen=True)
class Distro:
    """What os-release(5) says, or an older system's release file, by way of the distro library."""

    id: str
    version: str = ""
    codename: str = ""
    name: str = ""
    like: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        """`debian`, `redhat`, `suse`, or "" where pvprep knows no package manager of it."""
        names = {self.id, *self.like}
        return next((family for family, ids in _FAMILIES.items() if not names.isdisjoint(ids)), "")


class Virt(enum.Enum):
    """How the system runs now."""

    NONE = "none"
    XEN_HVM = "xen-hvm"
    XEN_PVHVM = "xen-pvhvm"
    XEN_PV = "xen-pv"
    XEN_PVH = "xen-pvh"
    XEN_DOM0 = "xen-dom0"
    OTHER = "other"
    UNKNOWN = "unknown"  # a tree that does not run


@dataclass(frozen=True)
class Machine:
    """The (virtual) machine under the guest; None and "" where a tree does not tell.

    userland: the architecture of the guest's user space under Debian's name, `amd64` or `i386`.
    capabilities: what the host's Xen can run, as it says itself: `xen-3.0-x86_64` is PV.
    """

    virt: Virt
    userland: str = ""
    hypervisor: str = ""
    hostname: str = ""
    uuid: str = ""
    memory_mib: Optional[int] = None
    vcpus: Optional[int] = None
    firmware: str = ""  # "bios", "uefi" or ""
    init: str = ""  # "systemd", "sysvinit", "upstart" or ""
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True)
class Partition:
    """A partition, or a whole disk that holds a file system (number 0)."""

    name: str
    number: int
    start: int = 0
    size: int = 0
    fstype: str = ""
    uuid: str = ""
    label: str = ""
    partuuid: str = ""
    type: str = ""
    quirk: str = ""  # what keeps pygrub from reading the file system: "XFS v5", "bigalloc"


@dataclass(frozen=True)
class Disk:
    """A whole disk under its kernel name (`sda`, `nvme0n1`, `cciss/c0d0`), in guest order.

    image: the file or device that holds it on this machine, for a guest that is off; format: how.
    """

    name: str
    size: int = 0
    table: str = ""  # "dos", "gpt" or ""
    partitions: tuple[Partition, ...] = ()
    model: str = ""
    image: str = ""
    format: str = "raw"


@dataclass(frozen=True)
class Mount:
    """One line of mountinfo, or of fstab for a tree that does not run.

    device: `/dev/sda1`, `/dev/mapper/vg-root` ...; disks: kernel names of the partitions under it.
    subdir: the directory of the file system that is mounted (`/` but for bind mounts, subvolumes).
    """

    target: str
    device: str
    fstype: str
    options: tuple[str, ...] = ()
    kind: str = "part"  # "part", "lvm", "crypt", "raid1", ... as lsblk says
    parts: tuple[str, ...] = ()
    subdir: str = "/"


@dataclass(frozen=True)
class Layout:
    """The disks of a guest that does not run, as images/ has attached them, in guest order.

    Its disks are called disk0, disk1 ..., their partitions disk0p1: what the guest calls them is in
    its own configuration. mounts: what lies below the root, root first; devices are spelled as in
    the guest's fstab. stale: boot loader configuration that a mounted /boot hides (see Facts).
    """

    disks: tuple[Disk, ...]
    mounts: tuple[Mount, ...]
    stale: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Space:
    """Free room on the file system that holds a directory; files -1: no fixed number of inodes."""

    path: str
    free: int
    files: int
    read_only: bool = False


@dataclass(frozen=True)
class Nic:
    """A network interface with hardware behind it."""

    name: str
    mac: str
    driver: str = ""
    path: str = ""  # udev's ID_PATH, e.g. pci-0000:00:03.0


@dataclass(frozen=True)
class BlockBackend:
    """What serves a virtual disk or drive, as xenstore has it; "" for what the guest may not read.

    number: which one, as xen-vbd-interface(7) encodes it. backend: its directory in xenstore.
    type: phy, qdisk, tap, file ...; params: what it serves, in that type's own form. mode: `w` or
    `r`. device_type: `disk` or `cdrom`. script: of dom0, attaches it. size: bytes or 0.
    """

    number: int
    backend: str = ""
    type: str = ""
    params: str = ""
    mode: str = ""
    device_type: str = ""
    script: str = ""
    size: int = 0


@dataclass(frozen=True)
class NetBackend:
    """What serves a virtual interface, as xenstore has it; "" for what the guest may not read.

    rate: bytes in each interval, and that in microseconds (`62500,50000`).
    """

    mac: str
    backend: str = ""
    bridge: str = ""
    script: str = ""
    rate: str = ""


@dataclass(frozen=True)
class Xenstore:
    """What dom0 wrote of this domain. problem: why xenstore could not be asked (then all is empty).

    maxmem_mib: only where it is more than memory_mib.
    """

    domid: Optional[int] = None
    name: str = ""
    uuid: str = ""
    memory_mib: Optional[int] = None
    maxmem_mib: Optional[int] = None
    vcpus: Optional[int] = None
    disks: tuple[BlockBackend, ...] = ()
    nics: tuple[NetBackend, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class KernelProof:
    """What a kernel image itself says. Source: Linux Documentation/arch/x86/boot.rst, elfnote.h.

    pv, pvh: it has the notes that the domain builder asks for. bits: 32 or 64, the ELF inside.
    no_pae: a 32-bit kernel for PV without PAE, which no 64-bit Xen runs.
    compression: of the payload: gzip bzip2 lzma xz lzo lz4 zstd or none.
    problem: why nothing could be proven (then pv and pvh say nothing).
    """

    pv: bool = False
    pvh: bool = False
    bits: int = 0
    compression: str = ""
    version: str = ""  # the version string in the bzImage header
    guest_os: str = ""
    xen_version: str = ""
    no_pae: bool = False
    problem: str = ""


@dataclass(frozen=True)
class InitrdProof:
    """What an initrd really holds, read by unpacking every archive in it (later files win).

    modules: names of kernel modules, with `_` for `-`, without suffix, for whatever kernel;
    by_version: those in the directory of one. preload: modules named for loading before anything
    else, in order, `_` for `-`.
    resume: the RESUME= or resume= it carries. links: names of .link files. problem: why it could
    not be read.
    """

    kind: str = ""  # "initramfs-tools", "dracut", "mkinitrd" (RHEL's or SUSE's) or ""
    compression: tuple[str, ...] = ()
    modules: frozenset[str] = frozenset()
    versions: tuple[str, ...] = ()
    by_version: Mapping[str, frozenset[str]] = field(default_factory=dict)
    preload: tuple[str, ...] = ()
    resume: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)  # small configuration files, by path
    problem: str = ""

    def loadable(self, version: str) -> frozenset[str]:
        """The modules that a kernel finds: all but those that lie with other kernels' alone."""
        own = self.by_version.get(version, frozenset())
        others = [names for one, names in self.by_version.items() if one != version]
        return self.modules - (frozenset().union(*others) - own)


@dataclass(frozen=True)
class Kernel:
    """An installed kernel: image, configuration, modules.

    builtin: kernels before 2.6.33 have no modules.builtin; of those, the frontends that the
    configuration says y to. Names with `_` for `-`.
    """

    version: str
    image: str
    proof: KernelProof
    initrd: str = ""  # "" where there is none
    config: Mapping[str, str] = field(default_factory=dict)  # CONFIG_XEN* and friends: y, m or n
    config_path: str = ""
    config_lines: Mapping[str, int] = field(default_factory=dict)  # where each stands in it
    builtin: frozenset[str] = frozenset()
    modules: frozenset[str] = frozenset()  # what lies under /lib/modules
    package: str = ""

    @property
    def xenlinux(self) -> bool:
        """A kernel of the XenLinux line (2.6.18 ...): other device names, other drivers."""
        if not self.config:  # the drivers have these names in no other kernel
            return "xenblk" in self.modules and "xen_blkfront" not in self.modules
        return any(self.config.get(key) == "y" for key in ("X86_XEN", "X86_64_XEN"))

    @property
    def frontends(self) -> tuple[str, str]:
        """Its block and its network frontend, by the names that these modules have, with `_`.

        A XenLinux kernel that was built with the names of today has those.
        """
        today = ("xen_blkfront", "xen_netfront")
        if self.xenlinux and self.modules.isdisjoint(today):
            return "xenblk", "xennet"
        return today


@dataclass(frozen=True)
class Offer:
    """A kernel that lies outside and can be put into the guest (--kernel-from).

    kernel: as it will be inside, without an initrd. source: what was named. modules: its directory
    in the guest; boot: each of its files in /boot by its path in the guest, with its SHA-256. Both
    with all links resolved, and only what is not there yet; both are empty where all of it is.
    clash: what in the guest is of the same name and differs. The sizes are what it takes up on a
    disk; files counts names below modules.
    """

    kernel: Kernel
    source: str
    modules: str = ""
    boot: Mapping[str, str] = field(default_factory=dict)
    clash: str = ""
    modules_size: int = 0
    boot_size: int = 0
    files: int = 0

    @property
    def there(self) -> bool:
        """Whether the guest has it already."""
        return not (self.modules or self.boot or self.clash)


@dataclass(frozen=True)
class File:
    """A file, link or directory of the guest's configuration, as it stood at the survey."""

    path: str
    content: bytes = b""
    mode: int = 0o644
    target: Optional[str] = None  # a symlink's text
    is_dir: bool = False

    @property
    def text(self) -> str:
        """The content as text; any byte survives the way back by `encode`."""
        return self.content.decode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class Facts:
    """All that is known of a guest.

    files: configuration by the path it was looked for under (File.path is the resolved one).
    boot_files: sizes of what lies in /boot and of the links in /, by path as written.
    aliases: names below /dev/disk/by-id and by-path -> kernel name. stale: boot loader
    configuration that a mounted /boot hides from the system but not from pygrub.
    findings: what a survey itself has to say (package manager in trouble ...). offers: kernels from
    outside, newest last.
    """

    distro: Distro
    machine: Machine
    disks: tuple[Disk, ...]
    mounts: tuple[Mount, ...]
    nics: tuple[Nic, ...]
    kernels: tuple[Kernel, ...]
    initrds: Mapping[str, InitrdProof]
    files: Mapping[str, File]
    boot_files: Mapping[str, int]
    spaces: Mapping[str, Space]
    aliases: Mapping[str, str] = field(default_factory=dict)
    stale: Mapping[str, bytes] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    initrd_tool: str = ""
    initrd_options: frozenset[str] = frozenset()  # what this version of the tool knows
    is_tree: bool = False  # a mounted tree, not the system that pvprep runs on
    in_chroot: bool = False
    as_root: bool = True
    system: str = "Linux"
    has_proc: bool = True
    has_sys: bool = True
    xenstore: Optional[Xenstore] = None  # None where there is none to be asked
    offers: tuple[Offer, ...] = ()
    grub_blind: str = ""  # why grub-mkconfig would fail to find the disk of /; asked for if it runs

    def file(self, path: str) -> Optional[File]:
        """The file found under a path, None where there is none."""
        return self.files.get(path)

    def text(self, path: str) -> str:
        """The text of a file, "" where there is none."""
        found = self.files.get(path)
        return found.text if found else ""

    def under(self, prefix: str) -> list[str]:
        """Paths of the files found that start so, sorted."""
        return sorted(path for path in self.files if path.startswith(prefix))

    def mount(self, target: str) -> Optional[Mount]:
        """What is mounted there, the last one where several are."""
        found = [mount for mount in self.mounts if mount.target == target]
        return found[-1] if found else None
