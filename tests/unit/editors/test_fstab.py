from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvprep.editors import fstab
from pvprep.editors.edited import Edit, Edited

from .laws import DEVICES, decode, holds, line_texts, texts, translate, translate_uuid

BOOKWORM = """\
# /etc/fstab: static file system information.
#
# <file system> <mount point>   <type>  <options>       <dump>  <pass>
# / was on /dev/sda1 during installation
UUID=6b9c6b2e-0000-4d0b-8b3c-0123456789ab /               ext4    errors=remount-ro 0       1
/dev/sda5       none            swap    sw              0       0
/dev/sr0        /media/cdrom0   udf,iso9660 user,noauto     0       0
"""

ETCH = """\
# /etc/fstab: static file system information.
#
proc            /proc           proc    defaults        0       0
/dev/sda1       /               ext3    defaults,errors=remount-ro 0       1
/dev/sda2\tnone\tswap\tsw\t0\t0
/dev/hdc        /media/cdrom0   udf,iso9660 user,noauto     0       0
/dev/fd0        /media/floppy0  auto    rw,user,noauto  0       0"""

CENTOS5 = """\
/dev/VolGroup00/LogVol00 /                       ext3    defaults        1 1
LABEL=/boot             /boot                   ext3    defaults        1 2
tmpfs                   /dev/shm                tmpfs   defaults        0 0
/dev/VolGroup00/LogVol01 swap                    swap    defaults        0 0
"""


def rename(text: str) -> Edited:
    return fstab.rename_devices(text, translate)


def test_debian_12() -> None:
    edited = holds(rename, BOOKWORM)
    assert edited.edits == (Edit(6, "/dev/sda5", "/dev/xvda5"),)
    assert edited.text == BOOKWORM.replace("/dev/sda5 ", "/dev/xvda5 ")


def test_debian_4() -> None:
    edited = holds(rename, ETCH)
    assert [(e.line, e.new) for e in edited.edits] == [(4, "/dev/xvda1"), (5, "/dev/xvda2")]
    assert "/dev/hdc        /media/cdrom0" in edited.text
    assert "/dev/xvda2\tnone\tswap\tsw\t0\t0\n" in edited.text
    assert not edited.text.endswith("\n")


def test_lvm_and_labels_stay() -> None:
    assert holds(rename, CENTOS5).text == CENTOS5


def test_options_and_escapes() -> None:
    text = (
        "/dev/sda1 /a\\040b ext4 noatime,journal_path=/dev/sda3,x=/dev/sdb1 0 0\r\n"
        "  /dev/sda2 /dev/sda1 xfs logdev=/dev/nvme0n1p1,rtdev=/dev/sda11\n"
        "/dev\\057sda4 /m ext4 loop=/dev/loop0 0 0\n"
        "/dev/sda1\\040 /m ext4 defaults 0 0\n"
    )
    assert holds(rename, text).text == (
        "/dev/xvda1 /a\\040b ext4 noatime,journal_path=/dev/xvda3,x=/dev/sdb1 0 0\r\n"
        "  /dev/xvda2 /dev/sda1 xfs logdev=/dev/xvdb1,rtdev=/dev/sda11\n"
        "/dev/xvda4 /m ext4 loop=/dev/loop0 0 0\n"
        "/dev/sda1\\040 /m ext4 defaults 0 0\n"
    )


def test_comments_stay() -> None:
    text = "#/dev/sda1 / ext4 journal_path=/dev/sda3\n # was on x=/dev/sda1 x=/dev/sda2\n"
    assert rename(text) == Edited(text)


def test_a_tag_is_written_only_as_the_device() -> None:
    text = "/dev/sda1 / ext4 journal_path=/dev/sda2 0 1\n"
    assert fstab.rename_devices(text, translate_uuid).text == (
        "UUID=0a1b-2c3d / ext4 journal_path=/dev/disk/by-uuid/ffff-2c3d 0 1\n"
    )


def test_entries() -> None:
    text = "# /dev/sda9 /x\n\n/dev/sda1 /a\\040b\\303\\244 ext4 ro 0 1\r\n \t#x\nnone /b"
    assert fstab.entries(text) == [
        (3, ("/dev/sda1", "/a bä", "ext4", "ro", "0", "1")),
        (5, ("none", "/b")),
    ]


PIECES = ("/dev/sda1", "/dev/sda2", "/dev/sdb1", "UUID=0a1b", "/", "ext4", "defaults",
          "journal_path=/dev/sda3", "ro,journal_path=/dev/sda3", "\\040", "#", ",", "=", *DEVICES)


@given(texts(*PIECES))
def test_any_text(text: str) -> None:
    edited = holds(rename, text)
    assert [n for n, _ in fstab.entries(edited.text)] == [n for n, _ in fstab.entries(text)]


@given(line_texts(*BOOKWORM.splitlines(), *ETCH.splitlines(), *CENTOS5.splitlines()))
def test_any_order_of_real_lines(text: str) -> None:
    edited = holds(rename, text)
    first = [f[0] for _, f in fstab.entries(text)]
    assert [f[0] for _, f in fstab.entries(edited.text)] == [translate(f) or f for f in first]


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    text = decode(data)
    fstab.entries(text)
    assert rename(text).text.encode("utf-8", "surrogateescape") == data


@pytest.mark.parametrize(
    ("line", "cd"),
    [
        ("/dev/hdc /media/cdrom0 udf,iso9660 user,noauto 0 0", True),
        ("/dev/hdc /media/cdrecorder auto pamconsole,noauto,managed 0 0", True),
        ("/dev/hdc /mnt/dvd auto noauto 0 0", True),
        ("/dev/hdc1 /srv/cdn ext3 defaults 0 2", False),
        ("/dev/hdc1 /cdrom/x auto defaults 0 2", False),
        ("/dev/hdc /media/cdrom", False),
        ("/dev/hdc", False),
        ("", False),
    ],
)
def test_which_line_is_of_a_cd_drive(line: str, cd: bool) -> None:
    assert fstab.is_cd(line.split()) == cd
