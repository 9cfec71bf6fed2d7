"""Distribution, virtualisation, init, size: from trees that look like /, /proc and /sys."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.unit.trees import Running

from pvprep.errors import PvprepError
from pvprep.facts import Virt
from pvprep.guest import Guest
from pvprep.survey import system

UUID = "9f2b1c3a-7a51-4b8e-9a3c-1b0f6d1e7c55"
XEN = {
    "sys/hypervisor/type": "xen\n",
    "sys/hypervisor/version/major": "4\n",
    "sys/hypervisor/version/minor": "17\n",
}
DMI = {"sys/class/dmi/id/sys_vendor": "Xen\n", "sys/class/dmi/id/product_name": "HVM domU\n"}
KIND = "sys/hypervisor/guest_type"


def tree(root: Path, files: dict[str, str]) -> Guest:
    for path, text in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            place.symlink_to(text[3:])
        elif text == "/":
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.write_text(text, encoding="utf-8", errors="surrogateescape")
    return Guest(str(root))


@pytest.mark.parametrize(
    ("files", "virt", "hypervisor"),
    [
        ({**XEN, KIND: "PV\n"}, Virt.XEN_PV, "Xen 4.17"),
        ({**XEN, KIND: "PVH\n"}, Virt.XEN_PVH, "Xen 4.17"),
        ({**XEN, **DMI, KIND: "HVM\n"}, Virt.XEN_HVM, "Xen 4.17"),
        ({**XEN, **DMI, KIND: "HVM\n", "sys/bus/xen/devices/vbd-768/x": ""}, Virt.XEN_PVHVM,
         "Xen 4.17"),
        ({**XEN, KIND: "PV\n", "proc/xen/capabilities": "control_d\n"}, Virt.XEN_DOM0, "Xen 4.17"),
        ({**XEN, KIND: "PV\n", "proc/xen/capabilities": "\n"}, Virt.XEN_PV, "Xen 4.17"),
        (XEN, Virt.XEN_PV, "Xen 4.17"),
        ({**XEN, **DMI}, Virt.XEN_HVM, "Xen 4.17"),
        ({"sys/hypervisor/type": "xen"}, Virt.XEN_PV, "Xen"),
        ({**DMI, "sys/class/dmi/id/bios_version": "4.11.amazon\n"}, Virt.XEN_HVM,
         "Xen 4.11.amazon"),
        (DMI, Virt.XEN_HVM, "Xen"),
        ({"proc/cpuinfo": "flags\t\t: fpu hypervisor\n", "sys/class/dmi/id/sys_vendor": "QEMU\n",
          "sys/class/dmi/id/product_name": "Standard PC\n"}, Virt.OTHER, "QEMU Standard PC"),
        ({"proc/cpuinfo": "flags : fpu hypervisor lm\n"}, Virt.OTHER, ""),
        ({"proc/cpuinfo": "flags : fpu hypervisors\nmodel : hypervisor\n"}, Virt.NONE, ""),
        ({"sys/class/dmi/id/sys_vendor": "Dell\n"}, Virt.NONE, ""),
        ({}, Virt.NONE, ""),
    ],
)  # fmt: skip
def test_how_it_runs(
    tmp_path: Path, files: dict[str, str], virt: Virt, hypervisor: str
) -> None:
    assert system.virtualisation(tree(tmp_path, files)) == (virt, hypervisor)


OS_RELEASE = 'ID=ubuntu\nID_LIKE="debian x"\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04"\n'


@pytest.mark.parametrize("path", ["etc/os-release", "usr/lib/os-release"])
def test_the_distribution(tmp_path: Path, path: str) -> None:
    found = system.distro(tree(tmp_path, {path: OS_RELEASE}))
    assert (found.id, found.version, found.name) == ("ubuntu", "24.04", "Ubuntu 24.04")
    assert found.like == ("debian", "x")
    assert found.family == "debian"


@pytest.mark.parametrize(
    ("path", "text", "version", "family"),
    [
        ("etc/redhat-release", "CentOS release 5.11 (Final)\n", "5.11", "redhat"),
        ("etc/redhat-release", "Red Hat Enterprise Linux AS release 4 (Nahant Update 9)\n", "4",
         "redhat"),
        ("etc/SuSE-release", "SUSE Linux Enterprise Server 11 (x86_64)\nVERSION = 11\n", "11",
         "suse"),
    ],
)  # fmt: skip
def test_a_distribution_before_os_release(
    tmp_path: Path, path: str, text: str, version: str, family: str
) -> None:
    found = system.distro(tree(tmp_path, {path: text}))
    assert (found.version, found.family) == (version, family)


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"etc/redhat-release": "Red Hat Enterprise Linux Server release 5 (Tikanga)\n"},
         ("rhel", "5", "Tikanga", "redhat")),
        ({"etc/SuSE-release": "SUSE Linux Enterprise Server 10 (i586)\nVERSION = 10\n"
          "PATCHLEVEL = 2\n"}, ("suse", "10.2", "i586", "suse")),
        ({"etc/debian_version": "4.0\n"}, ("debian", "4.0", "etch", "debian")),
        ({"etc/debian_version": "5.0.10\n"}, ("debian", "5.0.10", "lenny", "debian")),
        ({"etc/debian_version": "6.0.10\n", "etc/lsb-release": "LSB_VERSION=3.2\n"},
         ("debian", "6.0.10", "squeeze", "debian")),
        ({"etc/debian_version": "lenny/sid\n", "etc/lsb-release": "DISTRIB_ID=Ubuntu\n"
          "DISTRIB_RELEASE=8.04\nDISTRIB_CODENAME=hardy\n"
          'DISTRIB_DESCRIPTION="Ubuntu 8.04.4 LTS"\n'}, ("ubuntu", "8.04", "hardy", "debian")),
        ({"etc/debian_version": "squeeze/sid\n", "etc/lsb-release": "DISTRIB_ID=LinuxMint\n"
          "DISTRIB_RELEASE=9\n"}, ("linuxmint", "9", "", "debian")),
        ({"etc/os-release": "ID=debian\nPRETTY_NAME=sid\n", "etc/debian_version": "trixie/sid\n"},
         ("debian", "", "", "debian")),
    ],
)  # fmt: skip
def test_what_a_tree_says_and_nothing_of_the_host(
    tmp_path: Path, files: dict[str, str], found: tuple[str, str, str, str]
) -> None:
    """Without a version, the library would look into the /etc of the host."""
    distro = system.distro(tree(tmp_path, files))
    assert (distro.id, distro.version, distro.codename, distro.family) == found


def test_a_name_for_people(tmp_path: Path) -> None:
    assert system.distro(tree(tmp_path, {"etc/debian_version": "4.0\n"})).name == (
        "Debian GNU/Linux 4.0 (etch)"
    )


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"etc/sysconfig/network": "NETWORKING=yes\nHOSTNAME=bifit.example.org\n"},
         "bifit.example.org"),
        ({"etc/sysconfig/network": "HOSTNAME=localhost.localdomain\n"}, ""),
        ({"etc/HOSTNAME": "linux-c0v3.site\n"}, "linux-c0v3.site"),
        ({"etc/hostname": "a\n", "etc/HOSTNAME": "b\n"}, "a"),
        ({}, ""),
    ],
)  # fmt: skip
def test_where_old_systems_have_their_name(
    tmp_path: Path, files: dict[str, str], name: str
) -> None:
    assert system.machine(tree(tmp_path, files)).hostname == name


def test_centos_6_has_a_link(tmp_path: Path) -> None:
    files = {"etc/redhat-release": "-> centos-release",
             "etc/centos-release": "CentOS release 6.10 (Final)\n"}  # fmt: skip
    found = system.distro(tree(tmp_path, files))
    assert (found.id, found.version, found.family) == ("centos", "6.10", "redhat")


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ('ID="almalinux"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\n', "redhat"),
        ('ID="ol"\nID_LIKE="fedora"\nVERSION_ID="9.4"\n', "redhat"),
        ("ID=fedora\nVERSION_ID=41\n", "redhat"),
        ('ID="opensuse-leap"\nID_LIKE="suse opensuse"\nVERSION_ID="15.6"\n', "suse"),
        ('ID="sles"\nID_LIKE="suse"\nVERSION_ID="12.5"\n', "suse"),
        ("ID=arch\n", ""),
    ],
)
def test_the_family(tmp_path: Path, text: str, family: str) -> None:
    assert system.distro(tree(tmp_path, {"etc/os-release": text})).family == family


def test_it_is_the_guests_not_the_hosts(tmp_path: Path) -> None:
    files = {"etc/os-release": "-> /usr/lib/os-release", "usr/lib/os-release": OS_RELEASE}
    assert system.distro(tree(tmp_path, files)).id == "ubuntu"


def test_a_tree_without_os_release_is_of_no_distribution(tmp_path: Path) -> None:
    assert system.distro(Guest(str(tmp_path))).id == ""
    os.mkfifo(tmp_path / "os-release")
    (tmp_path / "etc").symlink_to(".")
    assert system.distro(Guest(str(tmp_path))).id == "", "and it does not hang"


@pytest.mark.parametrize("text", ['ID="debian\n', "ID=\udcff\udcfe\n"])
def test_an_os_release_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    guest = tree(tmp_path, {"etc/os-release": text})
    try:
        assert system.distro(guest).family == ""
    except PvprepError as error:
        assert "/etc/os-release" in error.message


def test_an_os_release_without_end(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    with open(tmp_path / "etc/os-release", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(PvprepError, match="/etc/os-release has"):
        system.distro(Guest(str(tmp_path)))


@pytest.mark.parametrize(
    ("files", "init"),
    [
        ({"sbin/init": "-> /lib/systemd/systemd"}, "systemd"),
        ({"sbin": "-> usr/sbin", "usr/sbin/init": "-> ../lib/systemd/systemd"}, "systemd"),
        ({"sbin/init": "", "sbin/initctl": "", "etc/init": "/"}, "upstart"),
        ({"sbin/init": "", "sbin/initctl": "", "etc/event.d": "/"}, "upstart"),
        ({"sbin/init": "", "etc/inittab": "", "etc/init": "/"}, "sysvinit"),
        ({"sbin/init": "", "etc/inittab": "/"}, ""),
        ({"sbin/init": "-> /bin/busybox"}, ""),
        ({"run/systemd/system": "/", "etc/inittab": ""}, "sysvinit"),
    ],
)
def test_init(tmp_path: Path, files: dict[str, str], init: str) -> None:
    """/run says something of a running system only: in a tree it may be left over."""
    assert system.machine(tree(tmp_path, files)).init == init


@pytest.mark.parametrize(
    ("files", "userland"),
    [
        ({"var/lib/dpkg/status": "Package: a\nArchitecture: all\n\nPackage: dpkg\nStatus: x\n"
          "Architecture: i386\n"}, "i386"),
        ({"var/lib/dpkg/status": "", "lib64/ld-linux-x86-64.so.2": ""}, "amd64"),
        ({"lib/ld-linux.so.2": ""}, "i386"),
        ({}, ""),
    ],
)  # fmt: skip
def test_the_architecture_of_the_user_space(
    tmp_path: Path, files: dict[str, str], userland: str
) -> None:
    assert system.machine(tree(tmp_path, files)).userland == userland


def test_a_tree_tells_nothing_of_a_machine(tmp_path: Path) -> None:
    files = {**XEN, "sys/class/dmi/id/product_uuid": UUID, "proc/meminfo": "MemTotal: 99999 kB\n",
             "etc/hostname": "web1\nweb2\n"}  # fmt: skip
    machine = system.machine(tree(tmp_path, files))
    assert machine.virt is Virt.UNKNOWN
    assert (machine.uuid, machine.memory_mib, machine.vcpus, machine.firmware) == ("", None, None,
                                                                                   "")  # fmt: skip
    assert machine.hostname == "web1"


def test_the_machine_under_a_running_system(tmp_path: Path) -> None:
    tree(tmp_path, {
        **XEN, KIND: "HVM\n", "sys/class/dmi/id/product_uuid": UUID.upper() + "\n",
        "proc/meminfo": "MemTotal:        1000000 kB\n", "sys/firmware/efi": "/",
        "run/systemd/system": "/", "etc/hostname": "",
    })  # fmt: skip
    machine = system.machine(Running(str(tmp_path)))
    assert (machine.virt, machine.hypervisor) == (Virt.XEN_HVM, "Xen 4.17")
    assert machine.uuid == UUID
    assert machine.memory_mib == 992
    assert machine.vcpus == os.cpu_count()
    assert machine.firmware == "uefi"
    assert machine.hostname == os.uname().nodename
    assert machine.init == "systemd"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("xen-3.0-x86_64 xen-3.0-x86_32p hvm-3.0-x86_32 hvm-3.0-x86_64 \n",
         ("xen-3.0-x86_64", "xen-3.0-x86_32p", "hvm-3.0-x86_32", "hvm-3.0-x86_64")),
        ("<denied>\n", ()),
        ("\n", ()),
    ],
)  # fmt: skip
def test_what_the_host_can_run(tmp_path: Path, text: str, found: tuple[str, ...]) -> None:
    tree(tmp_path, {**XEN, "sys/hypervisor/properties/capabilities": text})
    assert system.machine(Running(str(tmp_path))).capabilities == found
    assert system.machine(Guest(str(tmp_path))).capabilities == ()


def test_memory_is_what_the_firmwares_map_says(tmp_path: Path) -> None:
    memmap = {
        0: ("System RAM", 0, 0x9FBFF), 1: ("Reserved", 0x9FC00, 0x9FFFF),
        2: ("System RAM", 0x100000, 0x3FFDFFFF),
    }  # fmt: skip
    files = {"proc/meminfo": "MemTotal: 1 kB\n"}
    for number, (kind, start, end) in memmap.items():
        base = f"sys/firmware/memmap/{number}"
        files.update({f"{base}/type": kind, f"{base}/start": hex(start), f"{base}/end": hex(end)})
    tree(tmp_path, files)
    assert system.machine(Running(str(tmp_path))).memory_mib == 1024


def test_nothing_is_known_of_no_memory(tmp_path: Path) -> None:
    assert system.machine(Running(str(tmp_path))).memory_mib is None


@pytest.mark.parametrize(
    ("text", "uuid"),
    [(UUID, UUID), ("00000000-0000-0000-0000-000000000000", ""), ("Not Settable", ""), ("", "")],
)
def test_the_uuid(tmp_path: Path, text: str, uuid: str) -> None:
    tree(tmp_path, {"sys/hypervisor/uuid": text})
    assert system.machine(Running(str(tmp_path))).uuid == uuid


def test_the_uuid_of_the_hypervisor_goes_first(tmp_path: Path) -> None:
    other = UUID.replace("9", "8")
    tree(tmp_path, {"sys/hypervisor/uuid": UUID, "sys/class/dmi/id/product_uuid": other})
    assert system.machine(Running(str(tmp_path))).uuid == UUID


def test_this_process() -> None:
    assert system.kernel_name() == "Linux"
    assert isinstance(system.in_chroot(), bool)
