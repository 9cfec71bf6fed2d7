"""The init script of nash: what is loaded first, and which disk is root."""

from __future__ import annotations

from typing import Optional

import pytest

from pvprep.editors import nash

# RHEL 5's mkinitrd 5.1, shortened.
EL5 = """\
#!/bin/nash

mount -t proc /proc /proc
setquiet
echo Mounting sysfs filesystem
mount -t sysfs /sys /sys
mkblkdevs
echo "Loading uhci-hcd.ko module"
insmod /lib/uhci-hcd.ko
echo "Loading ext3.ko module"
insmod /lib/ext3.ko
mkblkdevs
resume /dev/sda2
echo Creating root device.
mkrootdev -t ext3 -o defaults,ro /dev/sda1
mount /sysroot
switchroot
"""
LOADS = """\
echo "Loading xenblk.ko module"
insmod /lib/xenblk.ko
echo "Loading xennet.ko module"
insmod /lib/xennet.ko
"""
# RHEL 4's mkinitrd 4.2 of a kernel that has its file system built in.
EL4 = "#!/bin/nash\nmount -t proc /proc /proc\n/sbin/udevstart\nmkrootdev /dev/root\n"


def names(path: str) -> Optional[str]:
    return path.replace("/dev/sda", "/dev/hda") if path.startswith("/dev/sda") else None


def test_they_come_before_the_first_other_module() -> None:
    at = EL5.index('echo "Loading uhci')
    assert nash.load_first(EL5, ("xenblk", "xennet")) == EL5[:at] + LOADS + EL5[at:]


def test_without_any_module_they_come_before_what_needs_the_disk() -> None:
    at = EL4.index("mkrootdev")
    assert nash.load_first(EL4, ("xenblk", "xennet")) == EL4[:at] + LOADS + EL4[at:]


def test_twice_is_once() -> None:
    once = nash.load_first(EL5, ("xenblk", "xennet"))
    assert once and nash.load_first(once, ("xenblk", "xennet")) == once


def test_those_that_are_loaded_late_are_moved() -> None:
    late = EL5.replace("mkblkdevs\nresume", LOADS + "mkblkdevs\nresume")
    assert nash.load_first(late, ("xenblk", "xennet")) == nash.load_first(
        EL5, ("xenblk", "xennet")
    )


def test_another_script_has_no_place_for_them() -> None:
    assert nash.load_first("#!/bin/sh\nexec /sbin/init\n", ("xenblk",)) is None


@pytest.mark.parametrize(
    ("line", "new"),
    [
        ("resume /dev/sda2\n", "resume /dev/hda2\n"),
        ("mkrootdev -t ext3 -o ro /dev/sda1\n", "mkrootdev -t ext3 -o ro /dev/hda1\n"),
        ("mkrootdev -t ext3 -o defaults,ro sda1\n", "mkrootdev -t ext3 -o defaults,ro hda1\n"),
        ("mkrootdev /dev/root\n", "mkrootdev /dev/root\n"),
        ("mkrootdev -t ext3 LABEL=/\n", "mkrootdev -t ext3 LABEL=/\n"),
        ("echo Loading /dev/sda1\n", "echo Loading /dev/sda1\n"),
    ],
)
def test_root_and_swap_get_their_new_names(line: str, new: str) -> None:
    assert nash.rename_devices(line, names) == new
