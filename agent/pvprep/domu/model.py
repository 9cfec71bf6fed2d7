"""The domU as data, checked when it is made: what cannot be built is refused here, with words.

None, or an empty string where a field says so, is what only dom0 knows.
Sources: xl.cfg(5), xl-disk-configuration(5), xl-network-configuration(5), xen-vbd-interface(7).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

from pvprep.domu import quote
from pvprep.errors import Exit, PvprepError, UsageError

TYPES = ("pv", "pvh", "hvm")
METHODS = ("pygrub", "pvgrub", "direct", "firmware")
FORMATS = ("raw", "qcow", "qcow2", "vhd", "qed")
ACTIONS = (
    "destroy",
    "restart",
    "rename-restart",
    "preserve",
    "coredump-destroy",
    "coredump-restart",
    "soft-reset",
)
MODELS = ("", "e1000", "rtl8139")
MAX_MEMORY_MIB = 16 * 1024 * 1024  # 16 TiB, the most that Xen supports on x86
MAX_VCPUS = 8192  # MAX_VIRT_CPUS of xen/public/xen.h's PV interface

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,62}")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")
_BRIDGE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:+-]{0,62}")  # with Open vSwitch's .VLAN and :TRUNK
_VDEV = re.compile(r"xvd[a-z]{1,2}|hd[a-d]")
_HVM_VDEV = re.compile(r"xvd[a-z]{1,2}|hd[a-d]|sd[a-p]")
# What xl reads as a rate: bytes a second, and the microseconds in which they are given out.
_RATE = re.compile(r"[1-9][0-9]{0,9}B/s@[1-9][0-9]{0,9}us")
_GUEST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.!-]*(/[A-Za-z0-9][A-Za-z0-9_.!-]*)?")
# The others of pygrub's options write files in dom0 (--output) or keep it from booting (--help).
_PYGRUB_ARG = re.compile(r"--(kernel|ramdisk|args|offset|entry)=.+", re.DOTALL)


def safe_name(hostname: str) -> str:
    """A domain name made from any host name; `guest` where nothing of it can be used.

    xl reads a name of digits alone as a domain's number, so such a one gets a prefix.
    """
    name = re.sub(r"[^A-Za-z0-9._+-]+", "-", hostname).strip("._+-")
    if re.fullmatch(r"[0-9]+", name):
        name = f"guest-{name}"
    return name[:63] or "guest"


def _one_of(value: str, known: tuple[str, ...], what: str) -> None:
    if value not in known:
        raise UsageError(f"{what} is {value!a}", f"It can be: {', '.join(known)}.")


def _in_range(value: Optional[int], most: int, what: str) -> None:
    if value is not None and not 0 < value <= most:
        raise UsageError(f"{what} is {value}", f"It has to be from 1 to {most}.")


def is_plain_path(path: str) -> bool:
    """Absolute, more than `/`, and nothing that xl would cut (one comma at the end)."""
    return path.startswith("/") and path != "/" and not path.endswith(",")


def is_bridge(name: str) -> bool:
    """Whether it can be the name of a bridge in dom0."""
    return _BRIDGE.fullmatch(name) is not None


def _dom0_path(path: str, what: str) -> None:
    if not is_plain_path(path):
        raise UsageError(
            f"{what} is {path!a}, which is not an absolute path that xl can read",
            "Give a path in dom0 that begins with `/`, without `phy:` or `file:` before it.",
        )
    quote.check(path, what)


@dataclass(frozen=True)
class Vif:
    """A network interface. bridge "": xl's default bridge. comment: words for the operator.

    rate: the most that the guest may send, `1250000B/s@50000us`, "" for no limit. model: of the
    card that is emulated for HVM, "" for xl's default.
    """

    mac: str
    bridge: str = ""
    comment: str = ""
    rate: str = ""
    model: str = ""

    def __post_init__(self) -> None:
        if not _MAC.fullmatch(self.mac) or int(self.mac[:2], 16) & 1:
            raise PvprepError(
                f"{self.mac!a} is not the MAC address of one interface",
                "It is six pairs of hex digits with colons, the first pair an even number.",
                Exit.NOT_READY,
            )
        if not self.mac.strip("0:"):
            raise PvprepError(
                f"the MAC address {self.mac} means a random one to xl",
                "Give the interface an address of its own.",
                Exit.NOT_READY,
            )
        if self.bridge and not is_bridge(self.bridge):
            raise UsageError(
                f"{self.bridge!a} is not the name of a bridge",
                "See `ip link show type bridge` in dom0.",
            )
        if self.rate and not _RATE.fullmatch(self.rate):
            raise PvprepError(
                f"{self.rate!a} is not a rate of an interface",
                "See rate in xl-network-configuration(5).",
            )
        _one_of(self.model, MODELS, "the model of a network card")


@dataclass(frozen=True)
class Vbd:
    """A disk. target: its path in dom0, None if only dom0 knows. size: bytes, 0 if not known.

    vdev: what the PV guest sees it as. guest_name: its kernel name in the guest as it is now.
    cdrom: a CD-ROM drive, for HVM; its target may be "", for no medium.
    """

    vdev: str
    target: Optional[str] = None
    format: str = "raw"
    access: str = "rw"
    size: int = 0
    guest_name: str = ""
    comment: str = ""
    cdrom: bool = False

    def __post_init__(self) -> None:
        if not _HVM_VDEV.fullmatch(self.vdev):
            raise PvprepError(
                f"{self.vdev!a} is not a virtual disk",
                "xvda to xvdzz, hda to hdd and, for HVM, sda to sdp: see xen-vbd-interface(7).",
            )
        if self.cdrom and self.access != "r":
            raise PvprepError(
                f"the CD-ROM drive {self.vdev} can be read only", "Give it the access `r`."
            )
        if self.target is not None and not (self.cdrom and not self.target):
            _dom0_path(self.target, f"the target of {self.vdev}")
        _one_of(self.format, FORMATS, f"the format of {self.vdev}")
        _one_of(self.access, ("rw", "r"), f"the access to {self.vdev}")
        if self.guest_name and not _GUEST_NAME.fullmatch(self.guest_name):
            raise PvprepError(
                f"{self.guest_name!a} is not a kernel's name of a disk",
                "Names are like sda, nvme0n1 or cciss/c0d0.",
            )

    @property
    def letters(self) -> str:
        """What follows xvd or hd. pv_ops kernels call both hda and xvda xvda."""
        return self.vdev[3:] if self.vdev.startswith("xvd") else self.vdev[2:]


@dataclass(frozen=True)
class Boot:
    """How the kernel is found.

    firmware: for HVM, by the boot loader on the disk; the other ways are for PV and PVH.
    pygrub: reads the guest's boot loader configuration; args override what it finds.
    pvgrub: runs GRUB inside the domain; image: its path in dom0, "" for Debian's grub-xen-host.
    direct: kernel and ramdisk are files in dom0; guest_kernel and guest_ramdisk are where the guest
    keeps them. An empty kernel has yet to be copied; a guest without initrd leaves both empty.
    """

    method: str = "pygrub"
    args: tuple[str, ...] = ()
    image: str = ""
    kernel: str = ""
    ramdisk: str = ""
    cmdline: str = ""
    guest_kernel: str = ""
    guest_ramdisk: str = ""

    def __post_init__(self) -> None:
        _one_of(self.method, METHODS, "the boot method")
        for path, what in (
            (self.image, "the image of pvgrub"),
            (self.kernel, "the kernel"),
            (self.ramdisk, "the initrd"),
        ):
            if path:
                _dom0_path(path, what)
        quote.check(self.guest_kernel, "the path of the guest's kernel")
        quote.check(self.guest_ramdisk, "the path of the guest's initrd")
        quote.check(self.cmdline, "the kernel's command line")
        for arg in self.args:
            if not _PYGRUB_ARG.fullmatch(arg):
                raise UsageError(
                    f"{arg!a} is not an argument that pygrub may get",
                    "It can be --kernel=, --ramdisk=, --args=, --offset= or --entry=.",
                )
            quote.check(arg, "an argument of pygrub")


@dataclass(frozen=True)
class DomU:
    """A domain. uuid "": not known. pvshim: a PV kernel, in PVH by way of a shim. uefi: for HVM.

    source: words on where the facts came from. notes: more to tell the operator, a line each.
    """

    name: str
    uuid: str = ""
    type: str = "pv"
    memory_mib: Optional[int] = None
    maxmem_mib: Optional[int] = None
    vcpus: Optional[int] = None
    vifs: tuple[Vif, ...] = ()
    disks: tuple[Vbd, ...] = ()
    boot: Boot = Boot()
    pvshim: bool = False
    vfb: bool = False
    uefi: bool = False
    on_poweroff: str = "destroy"
    on_reboot: str = "restart"
    on_crash: str = "restart"
    source: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or re.fullmatch(r"[0-9]+", self.name):
            raise UsageError(
                f"{self.name!a} is not a name for a domain",
                "Use letters, digits and . _ + - (63 at most; digits alone would be a number).",
            )
        if self.uuid and not _UUID.fullmatch(self.uuid):
            raise PvprepError(f"{self.uuid!a} is not a UUID", "See uuid in xl.cfg(5).")
        _one_of(self.type, TYPES, "the type of the domain")
        for action in (self.on_poweroff, self.on_reboot, self.on_crash):
            _one_of(action, ACTIONS, "an on_* action")
        self._check_sizes()
        self._check_type()
        self._check_boot()

    def _check_sizes(self) -> None:
        _in_range(self.memory_mib, MAX_MEMORY_MIB, "memory in MiB")
        _in_range(self.maxmem_mib, MAX_MEMORY_MIB, "maxmem in MiB")
        _in_range(self.vcpus, MAX_VCPUS, "the number of vcpus")
        if self.memory_mib and self.maxmem_mib and self.maxmem_mib < self.memory_mib:
            raise UsageError(
                f"maxmem, {self.maxmem_mib} MiB, is less than memory, {self.memory_mib} MiB",
                "Give maxmem at least the memory that the domain starts with.",
            )

    def _check_type(self) -> None:
        hvm = self.type == "hvm"
        if hvm != (self.boot.method == "firmware"):
            raise UsageError(
                f"the type {self.type} does not boot by {self.boot.method}",
                "HVM boots by firmware, PV and PVH in the other ways.",
            )
        if self.pvshim and self.type != "pvh":
            raise UsageError("pvshim is for the type pvh", "Use `--type pvshim`.")
        for disk in self.disks:
            if not hvm and (disk.cdrom or not _VDEV.fullmatch(disk.vdev)):
                raise PvprepError(
                    f"{disk.vdev!a} is not a virtual disk that a PV guest can have",
                    "xvda to xvdzz and hda to hdd can be used: see xen-vbd-interface(7).",
                )

    def _check_boot(self) -> None:
        hvm = self.type == "hvm"
        names = [disk.vdev if hvm else f"xvd{disk.letters}" for disk in self.disks]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise PvprepError(
                f"two disks would both be {twice} in the guest",
                "Give each disk a letter of its own.",
            )
        if self.boot.method != "direct" and not self.disks:
            raise PvprepError(
                f"{self.boot.method} has to read the first disk, and there is none",
                "Use `--bootloader direct` for a guest without disks.",
                Exit.NOT_READY,
            )
