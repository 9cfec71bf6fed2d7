"""The guests are what they claim to be: as installed on emulated hardware, and they boot there."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pytest
from tests.guests import chroot, hostapt, images, job, profiles, roots
from tests.guests.profiles import Profile
from tests.guests.qemu import Machine, MachineError

# 16-bit code for a boot sector: these are its parts.
_TO_SERIAL = b"\xba\xf8\x03"  # mov dx, 0x3f8
_POWER_OFF = b"\xba\x04\x06\xb8\x00\x20\xef"  # mov dx, 0x604; mov ax, 0x2000; out dx, ax
_HALT = b"\xf4\xeb\xfd"  # hlt; jmp back to it

_FACTS = """
echo root=$(findmnt -no SOURCE /)
echo swap=$(swapon --noheadings --show=NAME)
echo driver=$(basename $(readlink /sys/class/net/ens3/device/driver))
echo mac=$(cat /sys/class/net/ens3/address)
echo address=$(ip -4 -o address show dev ens3 | wc -l)
echo failed=$(systemctl --failed --no-legend | wc -l)
cat /job/handed-in
echo brought out >/job/out
echo to stderr >&2
exit 7
"""


def _boot_sector(code: bytes, path: Path) -> Path:
    path.write_bytes(code.ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 20))
    return path


def _says(text: bytes) -> bytes:
    return _TO_SERIAL + b"".join(b"\xb0" + bytes([char]) + b"\xee" for char in text)


@pytest.mark.guest
def test_machine_is_waited_for_by_its_console_and_by_its_end(tmp_path: Path) -> None:
    disk = _boot_sector(_says(b"up 42\n") + _POWER_OFF + _HALT, tmp_path / "disk")
    with Machine(disk, tmp_path) as machine:
        assert machine.wait_for(r"up (\d+)", 60)[1] == "42"
        machine.wait_off(60)


@pytest.mark.guest
def test_machine_that_hangs_is_reported_with_console_and_screen(tmp_path: Path) -> None:
    disk = _boot_sector(_says(b"last words") + _HALT, tmp_path / "disk")
    with Machine(disk, tmp_path) as machine:
        machine.wait_for("last words", 60)
        with pytest.raises(MachineError, match=r"(?s)never.*within 1 s.*screen\.png.*last words"):
            machine.wait_for("never", 1)
        with pytest.raises(MachineError, match="still running"):
            machine.wait_off(1)
    assert (tmp_path / "screen.png").read_bytes().startswith(b"\x89PNG")


def _marked(profile: Profile) -> Any:
    """What no other test of every run builds takes a minute for itself."""
    marks = [pytest.mark.long] if profile in profiles.SELDOM else []
    return pytest.param(profile, marks=marks, id=repr(profile))


@pytest.mark.roots
@pytest.mark.long  # what converts them would see it as well
@pytest.mark.parametrize("profile", [_marked(profile) for profile in profiles.ALL])
def test_profile_has_what_it_names(profile: Profile) -> None:
    with tarfile.open(roots.build_profile(profile)) as tar:
        names = {name[2:] for name in tar.getnames()}
    kernels = [name for name in names if name.startswith("boot/vmlinuz-")]
    initrds = [name for name in names if name.startswith("boot/initrd.img-")]
    assert len(kernels) == len(initrds) == (1 if profile.kernel else 0)
    assert {"boot/grub/grub.cfg", "boot/grub/i386-pc/core.img", "etc/fstab"} <= names
    assert ("usr/bin/python3" in names) == profile.python
    assert ("etc/network/interfaces" in names) == (profile.network == "ifupdown")
    assert ("etc/inittab" in names) == (profile.init == "sysvinit")
    assert ("usr/bin/dracut" in names) == (profile.initrd == "dracut")
    assert not [name for name in names if "stand-in" in name]


@pytest.mark.roots
def test_bookworm_knows_only_emulated_hardware(space: Path) -> None:
    root = space / "root"
    roots.unpack(roots.build_profile(profiles.BOOKWORM), root)
    (initrd,) = (root / "boot").glob("initrd.img-*")
    content = chroot.run(root, ["lsinitramfs", f"/boot/{initrd.name}"])
    assert "/ata_piix.ko" in content and "/ext4.ko" in content and "/fsck.ext4" in content
    assert "xen-blkfront" not in content and "xen-netfront" not in content
    menu = (root / "boot/grub/grub.cfg").read_text()
    assert " root=/dev/sda1 ro resume=/dev/sda2 quiet" in menu
    assert "search --no-floppy --fs-uuid --set=root --hint-bios=hd0,msdos1" in menu
    # Its own grub-probe is back in its place.
    assert chroot.run(root, ["dpkg", "--verify", "grub-common"]).count("grub-probe") == 0
    roots.remove(root)


@pytest.mark.roots
def test_apt_works_in_a_tree_and_leaves_no_trace_of_this_machine(space: Path) -> None:
    root = space / "root"
    roots.unpack(roots.build_profile(profiles.BOOKWORM_WITHOUT_KERNEL), root)
    before = sorted(path.name for path in (root / "etc/apt/apt.conf.d").iterdir())
    with hostapt.online(root):
        chroot.run(root, ["apt-get", "update"])
        policy = chroot.run(root, ["apt-cache", "policy", "linux-image-amd64"])
    assert "Candidate: 6.1" in policy
    assert sorted(path.name for path in (root / "etc/apt/apt.conf.d").iterdir()) == before
    assert (root / "etc/resolv.conf").read_text() == ""


@pytest.mark.guest
@pytest.mark.long
def test_bookworm_boots_fully_virtualised_and_runs_a_job(space: Path, tmp_path: Path) -> None:
    root, disk = space / "root", space / "disk.img"
    roots.unpack(roots.build_profile(profiles.BOOKWORM), root)
    job.install(root)
    images.mbr(root, disk)
    (tmp_path / "share").mkdir()
    (tmp_path / "share/handed-in").write_text("handed in\n")
    result = job.run(disk, tmp_path, _FACTS)
    assert result.stdout.splitlines() == [
        "root=/dev/sda1",
        "swap=/dev/sda2",
        "driver=e1000",
        f"mac={profiles.MAC}",
        "address=1",
        "failed=0",
        "handed in",
    ]
    assert (result.status, result.stderr, result.state) == (7, "to stderr\n", "running")
    assert (tmp_path / "share/out").read_text() == "brought out\n"
