"""What the system is: distribution, virtualisation, size, init."""

from __future__ import annotations

import os
import re
import sys
from typing import Optional

from ..editors import shellvars
from ..errors import PvprepError
from ..facts import Distro, Machine, Virt
from ..guest import Guest

MIB = 1024 * 1024
_OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")
# What came before it, the first that is there: RHEL 4 to 6, SLES 10 and 11, Ubuntu up to 11.04.
_OLD_RELEASE = ("/etc/redhat-release", "/etc/SuSE-release", "/etc/lsb-release")
_DEBIAN = "/etc/debian_version"  # Debian 4 to 6: a version and nothing else
_CODENAMES = {"3": "sarge", "4": "etch", "5": "lenny", "6": "squeeze"}


def distro(guest: Guest) -> Distro:
    """The distribution, from os-release(5) or what came before it, by the distro library."""
    paths = [path for path in (*_OS_RELEASE, *_OLD_RELEASE) if guest.is_file(path)]
    if not paths:
        return _debian(guest)
    guest.read(paths[0])  # refuses a file that is too large
    try:
        with guest.lent(paths[0]) as place:
            return _by_library(guest, paths[0], place)
    except ValueError as error:  # quotes that are not closed, or no UTF-8
        raise PvprepError(f"{paths[0]} cannot be read: {error}", "see os-release(5)") from None


def _by_library(guest: Guest, path: str, place: str) -> Distro:
    from distro import LinuxDistribution

    # Every other source (lsb_release, uname) could be the host's, not the guest's; so could
    # version(), which looks into /etc/debian_version by itself.
    assigns = path in _OS_RELEASE or path == "/etc/lsb-release"
    found = LinuxDistribution(
        include_lsb=False,
        include_uname=False,
        os_release_file=place if assigns else os.devnull,
        distro_release_file=os.devnull if assigns else place,
    )
    if path == "/etc/lsb-release":
        said = found.os_release_attr
        if not said("distrib_id"):  # elsewhere it may hold LSB_VERSION= alone
            return _debian(guest)
        return Distro(
            id=said("distrib_id").lower(),
            version=said("distrib_release"),
            codename=said("distrib_codename"),
            name=said("distrib_description"),
            like=("debian",) if guest.is_file(_DEBIAN) else (),
        )
    version = (found.os_release_attr if assigns else found.distro_release_attr)("version_id")
    patch = re.search(r"^PATCHLEVEL = ([1-9]\d*)", guest.text(path), re.M)
    if path == "/etc/SuSE-release" and patch:
        version = f"{version}.{patch[1]}"
    return Distro(
        id=found.id(),
        version=version,
        codename=found.codename(),
        name=found.os_release_attr("pretty_name") or found.name(pretty=not assigns),
        like=tuple(found.like().split()),
    )


def _debian(guest: Guest) -> Distro:
    version = _line(guest, _DEBIAN)
    if not version:
        return Distro("")
    codename = _CODENAMES.get(version.split(".")[0], "")
    name = f"Debian GNU/Linux {version}" + (f" ({codename})" if codename else "")
    return Distro("debian", version, codename, name)


def in_chroot() -> bool:
    """Whether / is not the root of process 1 (a kickstart %post, `in-target`)."""
    try:
        mine, first = os.stat("/"), os.stat("/proc/1/root")
    except OSError:
        return False
    return (mine.st_dev, mine.st_ino) != (first.st_dev, first.st_ino)


def machine(guest: Guest) -> Machine:
    """The machine under the guest; of a mounted tree only what the tree itself tells."""
    hostname = _hostname(guest)
    userland = _userland(guest)
    init = _init(guest)
    if not guest.running:
        return Machine(Virt.UNKNOWN, userland=userland, hostname=hostname, init=init)
    virt, hypervisor = virtualisation(guest)
    return Machine(
        virt=virt,
        userland=userland,
        hypervisor=hypervisor,
        hostname=hostname or os.uname().nodename,
        uuid=_uuid(guest),
        memory_mib=_memory(guest),
        vcpus=os.cpu_count(),
        firmware="uefi" if guest.is_dir("/sys/firmware/efi") else "bios",
        init=init,
        capabilities=_capabilities(guest),
    )


def virtualisation(guest: Guest) -> tuple[Virt, str]:
    """How this system runs, and on what.

    Source: Linux Documentation/ABI/stable/sysfs-hypervisor-xen.
    """
    if _line(guest, "/sys/hypervisor/type") == "xen":
        major = _line(guest, "/sys/hypervisor/version/major")
        minor = _line(guest, "/sys/hypervisor/version/minor")
        return _xen(guest), f"Xen {major}.{minor}".strip(" .")
    vendor = _line(guest, "/sys/class/dmi/id/sys_vendor")
    product = _line(guest, "/sys/class/dmi/id/product_name")
    if product == "HVM domU":  # Xen without its drivers in this kernel
        return Virt.XEN_HVM, f"Xen {_line(guest, '/sys/class/dmi/id/bios_version')}".strip()
    if re.search(r"^flags\s.*\bhypervisor\b", guest.text("/proc/cpuinfo"), re.M):
        return Virt.OTHER, " ".join(word for word in (vendor, product) if word)
    return Virt.NONE, ""


def _xen(guest: Guest) -> Virt:
    if "control_d" in guest.text("/proc/xen/capabilities"):
        return Virt.XEN_DOM0
    kind = _line(guest, "/sys/hypervisor/guest_type")
    if kind in ("PV", "PVH"):
        return Virt.XEN_PV if kind == "PV" else Virt.XEN_PVH
    if not kind and not guest.exists("/sys/class/dmi/id"):
        return Virt.XEN_PV  # kernels before 4.12 do not say; a PV guest has no DMI
    return Virt.XEN_PVHVM if guest.names("/sys/bus/xen/devices") else Virt.XEN_HVM


def _capabilities(guest: Guest) -> tuple[str, ...]:
    """What the Xen under this guest can run; it may also refuse to say (`<denied>`).

    Source: arch_get_xen_caps in Xen's xen/arch/x86/setup.c.
    """
    words = _line(guest, "/sys/hypervisor/properties/capabilities").split()
    return tuple(word for word in words if re.match(r"(xen|hvm)-\d", word))


def _hostname(guest: Guest) -> str:
    """The name that the system gives itself at boot: hostname(5), and where it stood before."""
    # SLES 10 and 11 have it in HOSTNAME, with its domain; EL 4 to 6 in sysconfig.
    text = _line(guest, "/etc/hostname") or _line(guest, "/etc/HOSTNAME")
    text = text or shellvars.get(guest.text("/etc/sysconfig/network"), "HOSTNAME") or ""
    return "" if text == "localhost.localdomain" else text  # anaconda's word for none


def _line(guest: Guest, path: str) -> str:
    return guest.text(path).split("\n")[0].strip()


def _userland(guest: Guest) -> str:
    """The architecture of the user space, from the dynamic loader that is installed."""
    status = guest.read("/var/lib/dpkg/status", 64 * MIB) or b""
    dpkg = status.find(b"Package: dpkg\n")
    if dpkg >= 0:
        arch = re.search(rb"^Architecture: (\S+)", status[dpkg : dpkg + 4096], re.M)
        if arch:
            return arch.group(1).decode()
    if guest.exists("/lib64/ld-linux-x86-64.so.2"):
        return "amd64"
    return "i386" if guest.exists("/lib/ld-linux.so.2") else ""


def _init(guest: Guest) -> str:
    """The init that /sbin/init is, by what it links to or which files it needs."""
    if guest.is_dir("/run/systemd/system") and guest.running:
        return "systemd"
    init = os.path.basename(guest.resolve("/sbin/init"))
    if init == "systemd":
        return "systemd"
    # event.d: upstart before 0.6, of Ubuntu 6.10 to 9.04.
    if guest.exists("/sbin/initctl") and any(map(guest.is_dir, ("/etc/init", "/etc/event.d"))):
        return "upstart"
    return "sysvinit" if guest.is_file("/etc/inittab") else ""


def _uuid(guest: Guest) -> str:
    for path in ("/sys/hypervisor/uuid", "/sys/class/dmi/id/product_uuid"):
        try:
            found = _line(guest, path).lower()
        except PvprepError:  # only root may read it
            continue
        if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", found) and found.strip("0-"):
            return found
    return ""


def _memory(guest: Guest) -> Optional[int]:
    """The memory that the machine was given, in MiB.

    The firmware's map of RAM (Documentation/ABI/testing/sysfs-firmware-memmap) leaves out only what
    firmware and video keep for themselves, so the next multiple of 16 MiB is what was asked for.
    """
    total = 0
    for entry in guest.names("/sys/firmware/memmap"):
        base = f"/sys/firmware/memmap/{entry}"
        if _line(guest, f"{base}/type") == "System RAM":
            total += int(_line(guest, f"{base}/end"), 16) + 1
            total -= int(_line(guest, f"{base}/start"), 16)
    if not total:
        found = re.search(r"^MemTotal:\s+(\d+) kB", guest.text("/proc/meminfo"), re.M)
        total = int(found.group(1)) * 1024 if found else 0
    return -(-total // (16 * MIB)) * 16 or None


def kernel_name() -> str:
    """The operating system's name, as uname(2) says."""
    return "Linux" if sys.platform.startswith("linux") else sys.platform
