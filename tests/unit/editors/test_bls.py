"""Entries of the Boot Loader Specification."""

from __future__ import annotations

from hypothesis import given

from pvprep.editors import bls
from pvprep.editors.edited import Edit, Edited

from .laws import holds_by_line, line_texts, translate

LAST = ("console=tty0", "console=hvc0")
ENTRY = """\
# made by kernel-install
title Fedora Linux (6.8.5-301.fc40.x86_64) 40
version 6.8.5-301.fc40.x86_64
linux /vmlinuz-6.8.5-301.fc40.x86_64
initrd /initramfs-6.8.5-301.fc40.x86_64.img $tuned_initrd
options root=/dev/sda1 ro rhgb quiet
grub_users $grub_users
"""


def edit(text: str) -> Edited:
    return bls.edit(text, translate=translate, last=LAST)


def test_values() -> None:
    assert bls.values(ENTRY, "linux") == ["/vmlinuz-6.8.5-301.fc40.x86_64"]
    assert bls.values(ENTRY, "initrd") == ["/initramfs-6.8.5-301.fc40.x86_64.img $tuned_initrd"]
    assert bls.values("options\ta \noptions b\r\n#options c\n", "options") == ["a", "b"]
    assert bls.values(ENTRY, "made") == []


def test_the_arguments_alone_are_edited() -> None:
    edited = edit(ENTRY)
    old, new = "root=/dev/sda1 ro rhgb quiet", "root=/dev/xvda1 ro rhgb quiet"
    assert edited.text == ENTRY.replace(old, f"{new} console=tty0 console=hvc0")
    assert edited.edits[0] == Edit(6, "root=/dev/sda1", "root=/dev/xvda1")


def test_what_lacks_goes_into_the_last_line() -> None:
    edited = edit("options root=/dev/sda1\noptions quiet\n")
    assert edited.text == "options root=/dev/xvda1\noptions quiet console=tty0 console=hvc0\n"


@given(line_texts("options root=/dev/sda1 ro", "options  quiet", "linux /dev/sda1", "# options x"))
def test_the_laws(text: str) -> None:
    holds_by_line(edit, text)
