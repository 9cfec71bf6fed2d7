"""The simulation beside the real pygrub, on the files of one volume."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from tests.unit.pygrub_cases import real

from pvprep.pygrub import Refusal, Volume, choose

CASES = Path(__file__).parent
GRUB2, LEGACY, EXTLINUX = "/boot/grub/grub.cfg", "/boot/grub/menu.lst", "/extlinux.conf"


def path_of(name: str) -> str:
    """Where pygrub looks for a file like one of the cases."""
    if name.endswith(".grub.cfg"):
        return GRUB2
    return LEGACY if name.endswith((".menu.lst", ".grub.conf")) else EXTLINUX


def volume(files: Mapping[str, bytes], name: str = "/dev/sda1", fstype: str = "xfs") -> Volume:
    """A volume with these files, on which every kernel and initrd exists."""
    return Volume(name, fstype, files.get, lambda path: 1)


def simulated(files: Mapping[str, bytes]) -> real.Choice:
    """What the simulation says, in the terms of the real one."""
    answer = choose([volume(files)])
    if isinstance(answer, Refusal):
        assert answer.message and answer.reason
        return real.Choice()
    entries = tuple((e.title, e.kernel, e.initrd, e.args) for e in answer.entries)
    assert answer.title == answer.entries[answer.index].title
    return real.Choice(answer.kernel, answer.initrd, answer.args, answer.index, entries)


def same(pygrub: ModuleType, files: Mapping[str, bytes]) -> real.Choice:
    """Hold the one against the other; what both say."""
    expected = real.choose(pygrub, files)
    if "\0" in expected.kernel + expected.initrd + expected.args:
        expected = real.Choice()  # it takes the entry, and fails later
    said = simulated(files)
    assert said == expected, f"pygrub: {expected}, simulated: {said}"
    return said
