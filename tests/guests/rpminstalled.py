"""What anaconda leaves of an installation on emulated hardware: the kernel, its files, GRUB.

The disk is /dev/sda (IDE) with root on the first and swap on the second partition, as the guests of
Debian have it (installed.py); so are the card and its name.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.guests import chroot
from tests.guests.installed import GRUB_PROBE, HOSTS, NETWORKD, write
from tests.guests.profiles import HOSTNAME, MAC, MACHINE_ID, ROOT_PASSWORD
from tests.guests.rpmprofiles import Repo, RpmProfile

NIC = "ens3"
# mitigations=off: twice as fast in emulation.
CMDLINE = "ro crashkernel=1G-4G:192M,4G-64G:256M,64G-:512M resume=/dev/sda2 mitigations=off"
KEY = "etc/pki/rpm-gpg/RPM-GPG-KEY-stand-in"

FSTAB = """\

#
# /etc/fstab
# Created by anaconda on Tue Nov 26 09:00:00 2024
#
# Accessible filesystems, by reference, are maintained under '/dev/disk/'.
# See man pages fstab(5), findfs(8), mount(8) and/or blkid(8) for more info.
#
# After editing this file, run 'systemctl daemon-reload' to update systemd
# units generated from this file.
#
/dev/sda1               /                       ext4    defaults        1 1
/dev/sda2               none                    swap    defaults        0 0
"""

DEFAULT_GRUB = """\
GRUB_TIMEOUT=5
GRUB_DISTRIBUTOR="$(sed 's, release .*$,,g' /etc/system-release)"
GRUB_DEFAULT=saved
GRUB_DISABLE_SUBMENU=true
GRUB_TERMINAL_OUTPUT="console"
GRUB_CMDLINE_LINUX="{cmdline}"
GRUB_DISABLE_RECOVERY="true"
GRUB_ENABLE_BLSCFG={bls}
"""

KEYFILE = f"""\
[connection]
id={NIC}
uuid=9f9f6d5e-6f0e-3c2a-9d1c-16b0d24b1a01
type=ethernet
autoconnect-priority=-999
interface-name={NIC}

[ethernet]

[ipv4]
method=auto

[ipv6]
addr-gen-mode=eui64
method=auto
"""

IFCFG = f"""\
TYPE=Ethernet
PROXY_METHOD=none
BROWSER_ONLY=no
BOOTPROTO=dhcp
DEFROUTE=yes
IPV4_FAILURE_FATAL=no
IPV6INIT=yes
NAME={NIC}
UUID=9f9f6d5e-6f0e-3c2a-9d1c-16b0d24b1a01
DEVICE={NIC}
HWADDR={MAC.upper()}
ONBOOT=yes
"""

REPO = """\
[{id}]
name=Stand-in for Enterprise Linux 9 - {id} (pvprep tests)
baseurl=file:///srv/repos/{id}
enabled={enabled}
gpgcheck=1
gpgkey=file:///{key}
"""

SYSCONFIG_KERNEL = """\
# UPDATEDEFAULT specifies if kernel-install should make
# new kernels the default
UPDATEDEFAULT=yes

# DEFAULTKERNEL specifies the default kernel package type
DEFAULTKERNEL={default}-core
"""

SELINUX = "SELINUX=enforcing\nSELINUXTYPE=targeted\n"

# The drivers that a hostonly initrd takes in on such a machine, and no others.
_HOSTONLY = """\
hostonly="no"
drivers=" ata_piix ata_generic sd_mod cdrom sr_mod serio_raw "
omit_dracutmodules=" qemu virtiofs "
early_microcode="no"
"""
# GRUB of Enterprise Linux knows blscfg; this one is told what it does. Entries are shown by the
# names of their files, the last one first; what they say is read when one is chosen. Their own
# commands, without arguments, must not load anything: GRUB does not survive a kernel loaded twice.
_BLSCFG = """\
function version { set bls_version="$1"; }
function options { set bls_options="$*"; }
function title { true; }
function grub_users { true; }
function grub_arg { true; }
function grub_class { true; }
function blscfg {
  insmod regexp
  for entry in $prefix/../loader/entries/*.conf; do
    regexp --set 1:id '([^/]*)\\.conf$' "$entry"
    menuentry "$id" --id "$id" "$entry" {
      set kept=$root
      set root=nowhere
      source "$2"
      set root=$kept
      linux /boot/vmlinuz-$bls_version $bls_options
      initrd /boot/initramfs-$bls_version.img
    }
  done
}
source $prefix/grub.cfg
"""
_CORE_CONFIG = "set root=hd0,msdos1\nset prefix=($root)/boot/grub2\nnormal $prefix/stand-in.cfg\n"
_CORE_MODULES = ("biosdisk", "part_msdos", "ext2", "normal")


def finish(root: Path, packages: Path, profile: RpmProfile) -> None:
    """Turn a userland into the profile's guest; takes some 10 s for each kernel.

    packages: those of each kernel, in a directory by its release.
    """
    _write_system_files(root, profile)
    _write_network_files(root, profile)
    _make_repos(root, packages, profile)
    _prepare_grub(root, profile)
    with _emulated_hardware(root):
        for kernel in profile.installed:
            _install(root, packages / kernel.release)
    grub2_mkconfig(root)


def grub2_mkconfig(root: Path) -> str:
    """Run grub2-mkconfig in a tree as on the machine that it was installed on; what it said."""
    with tempfile.TemporaryDirectory() as work:
        probe = Path(work) / "grub-probe"
        probe.write_text(GRUB_PROBE)
        probe.chmod(0o755)
        stand_in = (str(probe), "/usr/sbin/grub2-probe")
        command = ["grub2-mkconfig", "-o", "/boot/grub2/grub.cfg"]
        return chroot.run(root, command, stand_in=stand_in)


def _write_system_files(root: Path, profile: RpmProfile) -> None:
    write(root, "etc/fstab", FSTAB)
    write(root, "etc/hostname", f"{HOSTNAME}\n")
    write(root, "etc/hosts", HOSTS)
    write(root, "etc/machine-id", f"{MACHINE_ID}\n")
    write(root, "etc/resolv.conf", "")
    write(root, "etc/selinux/config", SELINUX)
    write(root, "etc/kernel/cmdline", f"root=/dev/sda1 {CMDLINE}\n")
    default = profile.installed[0].name if profile.installed else "kernel"
    write(root, "etc/sysconfig/kernel", SYSCONFIG_KERNEL.format(default=default))
    chroot.run(root, ["chpasswd"], stdin=f"root:{ROOT_PASSWORD}\n")


def _write_network_files(root: Path, profile: RpmProfile) -> None:
    if profile.network == "keyfile":
        name = f"etc/NetworkManager/system-connections/{NIC}.nmconnection"
        write(root, name, KEYFILE)
        (root / name).chmod(0o600)
    else:
        write(root, f"etc/sysconfig/network-scripts/ifcfg-{NIC}", IFCFG)
    # NetworkManager is not in the guest: this is what brings the card up.
    write(root, "etc/systemd/network/10-lan.network", NETWORKD.format(nic=NIC))
    chroot.run(root, ["systemctl", "enable", "systemd-networkd.service"])


def _make_repos(root: Path, packages: Path, profile: RpmProfile) -> None:
    """The repositories, with their packages signed; the keys' private halves are gone then."""
    for repo in profile.repos:
        directory = root / "srv/repos" / repo.id
        directory.mkdir(parents=True)
        for kernel in repo.kernels:
            for rpm in (packages / kernel.release).iterdir():
                shutil.copy(rpm, directory)
        entry = REPO.format(id=repo.id, enabled=int(repo.enabled), key=KEY)
        write(root, f"etc/yum.repos.d/almalinux-{repo.id}.repo", entry)
    _sign(root, profile.repos)
    for repo in profile.repos:
        chroot.run(root, ["createrepo_c", "-q", f"/srv/repos/{repo.id}"])


def _sign(root: Path, repos: tuple[Repo, ...]) -> None:
    key = "--batch --passphrase '' --quick-gen-key"
    script = f"mkdir -p -m 700 ~/.gnupg {(root / KEY).parent.relative_to(root)}\n"
    script += f"gpg {key} good rsa2048 sign never\ngpg {key} other rsa2048 sign never\n"
    script += f"gpg --armor --export good >/{KEY}\nrpm --import /{KEY}\n"
    for repo in repos:
        if repo.signature != "none":
            sign = f"rpmsign --define '_gpg_name {repo.signature}' --addsign"
            script += f"{sign} /srv/repos/{repo.id}/*.rpm\n"
    chroot.run(root, ["sh", "-ec", f"cd /; {script}"])
    shutil.rmtree(root / "root/.gnupg")


def _prepare_grub(root: Path, profile: RpmProfile) -> None:
    """All that GRUB has but its menu."""
    bls = "false" if profile.boot == "menu" else "true"
    write(root, "etc/default/grub", DEFAULT_GRUB.format(cmdline=CMDLINE[3:], bls=bls))
    (root / "etc/grub2.cfg").symlink_to("../boot/grub2/grub.cfg")
    target = root / "boot/grub2"
    modules = shutil.copytree(root / "usr/lib/grub/i386-pc", target / "i386-pc")
    # The menu says `insmod blscfg`: any module of that name will do.
    minix2 = (modules / "minix2.mod").read_bytes()
    (modules / "blscfg.mod").write_bytes(minix2.replace(b"minix2", b"blscfg"))
    write(root, "boot/grub2/device.map", "(hd0)\t/dev/sda\n")
    write(root, "boot/grub2/stand-in.cfg", _BLSCFG)
    write(root, "root/core.cfg", _CORE_CONFIG)
    core = ["-o", "/boot/grub2/i386-pc/core.img", "-c", "/root/core.cfg", *_CORE_MODULES]
    prefix = ["-O", "i386-pc", "-p", "(,msdos1)/boot/grub2"]
    chroot.run(root, ["grub2-mkimage", *prefix, *core])
    (root / "root/core.cfg").unlink()
    chroot.run(root, ["grub2-editenv", "-", "create"])
    if profile.boot == "kernelopts":
        options = f"kernelopts=root=/dev/sda1 {CMDLINE}"
        chroot.run(root, ["grub2-editenv", "-", "set", options])


@contextlib.contextmanager
def _emulated_hardware(root: Path) -> Iterator[None]:
    """dracut looks for its disk in /sys; meanwhile it is told what that would come to."""
    conf = root / "etc/dracut.conf.d/stand-in.conf"
    write(root, "etc/dracut.conf.d/stand-in.conf", _HOSTONLY)
    try:
        yield
    finally:
        conf.unlink()


def _install(root: Path, packages: Path) -> None:
    """As the installer does it, without any repository."""
    place = root / "root/packages"
    shutil.copytree(packages, place)
    chroot.run(root, ["sh", "-ec", "rpm --install /root/packages/*.rpm"])
    shutil.rmtree(place)
