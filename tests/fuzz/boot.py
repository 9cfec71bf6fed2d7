"""Boot menus: rewritten as little as possible, and read as dom0's real pygrub reads them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from types import ModuleType

from tests.fuzz.editors import LAST
from tests.fuzz.target import Target, files, text
from tests.unit.editors.laws import holds, holds_around, holds_by_line, stays, translate
from tests.unit.pygrub_cases import compare, real

from pvprep.editors import grubcfg, menulst
from pvprep.editors.edited import Edited

MARK = "/etc/grub.d/09_pvprep"
BLOCK = "menuentry 'Xen' {\n\tlinux /boot/vmlinuz root=/dev/xvda1\n\tinitrd /boot/initrd.img\n}\n"
STANZA = "title Xen\n\troot (hd0,0)\n\tkernel /vmlinuz ro\n\tinitrd /initrd\n"


def _grub2(whole: str) -> None:
    holds(grubcfg.drop_set, whole)
    holds(lambda one: grubcfg.edit(one, translate=translate), whole)
    holds_by_line(lambda one: grubcfg.edit(one, translate=translate, last=LAST), whole)
    for index in (0, 3):
        holds_around(
            partial(grubcfg.set_default, index=index), whole, lambda line: "default" in line
        )
    holds_around(lambda one: grubcfg.insert_section(one, MARK, BLOCK), whole, _in_section())
    grubcfg.kernels(whole)
    grubcfg.has_bls(whole)
    grubcfg.variable(whole, "kernelopts")


def _in_section() -> Callable[[str], bool]:
    """Whether a line is of the section that is replaced; to be asked of each line in order."""
    within = done = False

    def target(line: str) -> bool:
        nonlocal within, done
        bare = line.strip()
        begins = bare == f"### BEGIN {MARK} ###" and not done
        within = within or begins
        was = within
        if within and bare == f"### END {MARK} ###":
            within, done = False, True
        return was

    return target


def _legacy(whole: str) -> None:
    holds(lambda one: menulst.edit(one, translate=translate), whole)
    holds_by_line(lambda one: menulst.edit(one, translate=translate, last=LAST), whole)
    for index in (0, 3):
        holds_around(
            partial(menulst.set_default, index=index), whole, lambda line: "default" in line
        )
    alone = menulst.without_hypervisor(whole, lambda kernel: "xen" in kernel)
    told = {edit.line for edit in alone.edits}
    assert all(whole.split("\n")[number - 1].strip() for number in told)
    assert menulst.without_hypervisor(alone.text, lambda kernel: "xen" in kernel).edits == ()
    stays(whole, menulst.insert_stanza(whole, STANZA).text)
    for number, _, _ in menulst.kernels(whole):
        once = menulst.name_initrd(whole, number, "initrd-made.img")
        again = menulst.name_initrd(once.text, number, "initrd-made.img")
        assert again == Edited(once.text)
    menulst.device(whole)


@lru_cache
def _pygrub() -> ModuleType:
    return real.load()


def _as_the_real_one(path: str) -> Callable[[bytes], object]:
    return lambda data: compare.same(_pygrub(), {path: data})


CASES = compare.CASES
TARGETS = (
    Target("boot/grub.cfg", text(_grub2), files("*.grub.cfg", base=CASES)),
    Target("boot/menu.lst", text(_legacy), files("*.menu.lst", "*.grub.conf", base=CASES)),
    Target("pygrub/grub.cfg", _as_the_real_one(compare.GRUB2), files("*.grub.cfg", base=CASES)),
    Target("pygrub/menu.lst", _as_the_real_one(compare.LEGACY),
           files("*.menu.lst", "*.grub.conf", base=CASES)),
    Target("pygrub/extlinux.conf", _as_the_real_one(compare.EXTLINUX),
           files("*.extlinux.conf", "*.isolinux.cfg", base=CASES)),
)  # fmt: skip
