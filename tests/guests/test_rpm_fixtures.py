"""The guests that rpm manages are what they claim to be, and one of them boots."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.guests import chroot, images, job, profiles, roots, rpminstalled, rpmprofiles, rpmroots
from tests.guests.chroot import ChrootError
from tests.guests.qemu import Machine
from tests.guests.rpmprofiles import Kernel, RpmProfile

pytestmark = pytest.mark.roots

_ENTRIES = "boot/loader/entries"
_FACTS = """\
#!/bin/sh
# Part of the tests of pvprep; no guest in earnest has it.
state=$(systemctl is-system-running --wait)
{
    echo "kernel=$(uname -r)"
    echo "root=$(findmnt -no SOURCE /)"
    echo "swap=$(swapon --noheadings --show=NAME)"
    echo "address=$(ip -4 -o address show dev ens3 scope global | wc -l)"
    echo "cmdline=$(cat /proc/cmdline)"
    echo "rpm=$(rpm -q --qf '%{NAME} ' kernel-core)"
    echo "state=$state"
    systemctl --failed --no-legend
} >/dev/ttyS0
systemctl poweroff
"""
_UNIT = """\
[Unit]
Description=Tell the tests of pvprep what this boot came to

[Service]
Type=exec
ExecStart=/bin/sh /usr/local/sbin/facts
"""


def _unpacked(profile: RpmProfile, space: Path) -> Path:
    roots.unpack(rpmroots.build(profile), space / "root")
    return space / "root"


def _kernels(root: Path) -> list[str]:
    """The releases of the installed kernels."""
    command = ["rpm", "-q", "--provides", "--whatprovides", "kernel-uname-r"]
    return re.findall(r"(?m)^kernel-uname-r = (\S+)", chroot.run(root, command))


def _entry(root: Path, kernel: Kernel) -> str:
    return (root / _ENTRIES / f"{profiles.MACHINE_ID}-{kernel.release}.conf").read_text()


def test_rpm_owns_the_system_and_nothing_but_settings_differs_from_the_packages(
    space: Path,
) -> None:
    root = _unpacked(rpmprofiles.EL9, space)
    owners = chroot.run(
        root, ["rpm", "-qf", "/bin/sh", "/etc/os-release", "/usr/sbin/grub2-mkconfig"]
    )
    assert [line.rsplit("-", 2)[0] for line in owners.splitlines()] == [
        "dash",
        "almalinux-release",
        "grub2-tools-minimal",
    ]
    with pytest.raises(ChrootError) as found:  # rpm -V says by its status that there is something
        chroot.run(root, ["rpm", "-Va"])
    lines = str(found.value).splitlines()[1:]
    assert [line for line in lines if line[11:12] != "c"] == []
    assert {"/etc/fstab", "/etc/shadow"} <= {line[13:] for line in lines}
    for name in ("usr/bin/dpkg", "var/lib/dpkg", "usr/sbin/update-grub", "usr/sbin/grub-mkconfig"):
        assert not (root / name).exists()
    said = chroot.run(root, ["/usr/bin/python3", "-c", "import distro; print(distro.id())"])
    assert said == "almalinux\n"


def test_a_stock_guest_has_no_kernel_for_pv_and_can_have_none(space: Path) -> None:
    root = _unpacked(rpmprofiles.EL9, space)
    assert _kernels(root) == [rpmprofiles.STOCK.release]
    command = ["dnf", "-q", "repoquery", "--whatprovides", "kernel-uname-r", "--qf", "%{release}"]
    assert chroot.run(root, command).split() == ["550.el9", "551.el9"]
    config = (root / f"boot/config-{rpmprofiles.STOCK.release}").read_text()
    assert "# CONFIG_XEN_PV is not set" in config and "CONFIG_XEN=y" in config


def test_a_kernel_is_installed_beside_the_old_one_with_initrd_and_entry(space: Path) -> None:
    root = _unpacked(rpmprofiles.EL9_PV_TO_BE_HAD, space)
    chroot.run(root, ["dnf", "-y", "install", "kernel"])
    new = rpmprofiles.PV_UPDATE
    assert _kernels(root) == [rpmprofiles.STOCK.release, new.release]
    for name in (f"vmlinuz-{new.release}", f"initramfs-{new.release}.img", f"config-{new.release}"):
        assert chroot.run(root, ["rpm", "-qf", f"/boot/{name}"]).startswith("kernel-core-6.1.0-561")
    assert f"initrd /boot/initramfs-{new.release}.img\n" in _entry(root, new)
    assert "options root=/dev/sda1 ro " in _entry(root, new)
    environment = (root / "boot/grub2/grubenv").read_text()
    assert f"\nsaved_entry={profiles.MACHINE_ID}-{new.release}\n" in environment
    chroot.run(root, ["dnf", "-y", "remove", f"kernel-core-{new.release}"])
    assert not list((root / "boot").rglob(f"*{new.release}*"))


def test_initrd_knows_only_emulated_hardware(space: Path) -> None:
    root = _unpacked(rpmprofiles.EL9_PV, space)
    content = chroot.run(root, ["lsinitrd", f"/boot/initramfs-{rpmprofiles.PV.release}.img"])
    assert "/ata_piix.ko" in content and "/sd_mod.ko" in content and "/fsck.ext4" in content
    assert "xen-" not in content and "virtio" not in content


@pytest.mark.parametrize(
    ("profile", "says"),
    [
        (rpmprofiles.EL9_UNSIGNED, "is not signed"),
        (rpmprofiles.EL9_OTHER_KEY, "GPG"),
        (rpmprofiles.EL9_BROKEN_PRE, "scriptlet failed, exit status 1"),
    ],
    ids=["unsigned", "other key", "broken pre"],
)
def test_a_kernel_that_dnf_refuses(profile: RpmProfile, says: str, space: Path) -> None:
    root = _unpacked(profile, space)
    with pytest.raises(ChrootError, match=says):
        chroot.run(root, ["dnf", "-y", "install", "kernel-core"])
    assert _kernels(root) == [rpmprofiles.STOCK.release]


def test_a_kernel_whose_posttrans_fails_is_installed_without_initrd(space: Path) -> None:
    root = _unpacked(rpmprofiles.EL9_BROKEN_POSTTRANS, space)
    said = chroot.run(root, ["dnf", "-y", "install", "kernel"])
    assert "scriptlet failed, exit status 1" in said
    broken = rpmprofiles.BROKEN_POSTTRANS.release
    assert broken in _kernels(root)
    assert not (root / f"boot/initramfs-{broken}.img").exists()


def test_menus(space: Path) -> None:
    menu = _unpacked(rpmprofiles.EL9_PV_MENU, space / "menu")
    release = rpmprofiles.PV.release
    config = (menu / "boot/grub2/grub.cfg").read_text()
    assert f"linux\t/boot/vmlinuz-{release} root=/dev/sda1 ro" in config
    assert f"initrd\t/boot/initramfs-{release}.img" in config and "blscfg" not in config
    el8 = _unpacked(rpmprofiles.EL8_PV, space / "el8")
    assert "options $kernelopts $tuned_params\n" in _entry(el8, rpmprofiles.PV)
    assert "\nkernelopts=root=/dev/sda1 ro " in (el8 / "boot/grub2/grubenv").read_text()
    assert "\nblscfg\n" in (el8 / "boot/grub2/grub.cfg").read_text()
    rpminstalled.grub2_mkconfig(el8)


@pytest.mark.guest
@pytest.mark.long
def test_it_boots_fully_virtualised_from_its_boot_loader_entry(space: Path, tmp_path: Path) -> None:
    root, disk = _unpacked(rpmprofiles.EL9_PV, space), space / "disk.img"
    job.mask_timers(root)
    script, unit = root / "usr/local/sbin/facts", root / "etc/systemd/system/facts.service"
    script.write_text(_FACTS)
    unit.write_text(_UNIT)
    job.link(unit.parent / "multi-user.target.wants/facts.service", str(unit)[len(str(root)) :])
    images.mbr(root, disk)
    with Machine(disk, tmp_path, nic="virtio-net-pci") as machine:
        machine.wait_off(600)
    said = dict(line.split("=", 1) for line in machine.text().splitlines() if "=" in line)
    assert said.pop("cmdline").endswith(
        f"vmlinuz-{rpmprofiles.PV.release} root=/dev/sda1 {rpminstalled.CMDLINE}"
    )
    assert said == {
        "kernel": rpmprofiles.PV.release,
        "root": "/dev/sda1",
        "swap": "/dev/sda2",
        "address": "1",
        "rpm": "kernel-core ",
        "state": "running",
    }
