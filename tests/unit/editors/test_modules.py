from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pvprep.editors import modules
from pvprep.editors.edited import Edit, Edited, lines
from pvprep.editors.linewise import cut

from .laws import decode, holds, line_texts, texts

ETC_MODULES = """\
# /etc/modules: kernel modules to load at boot time.
#
# This file contains the names of kernel modules that should be loaded
# at boot time, one per line. Lines beginning with "#" are ignored.

loop
e1000 InterruptThrottleRate=3000
i2c-piix4
;floppy
alias eth0 e1000
"""
INITRAMFS = """\
# List of modules that you want to include in your initramfs.
# They will be loaded at boot time in the order below.
#
# Examples:
#
# raid1
# sd_mod
"""
GONE = ("e1000", "i2c_piix4", "floppy")
FIRST = ("xen-blkfront", "xen-netfront")


def off(text: str) -> Edited:
    return modules.comment_out(text, GONE, "hardware that a PV guest has not")


def first(text: str) -> Edited:
    return modules.put_first(text, FIRST)


def test_etc_modules() -> None:
    edited = holds(off, ETC_MODULES)
    why = "# pvprep: hardware that a PV guest has not"
    assert edited.text == ETC_MODULES.replace(
        "\ne1000 InterruptThrottleRate=3000\n", f"\n# e1000 InterruptThrottleRate=3000  {why}\n"
    ).replace("i2c-piix4", f"# i2c-piix4  {why}")
    assert modules.names(ETC_MODULES) == ("loop", "e1000", "i2c_piix4", "alias")
    assert modules.names(edited.text) == ("loop", "alias")


def test_first_in_debians_file() -> None:
    edited = first(INITRAMFS)
    assert edited.text == INITRAMFS + "xen-blkfront\nxen-netfront\n"
    assert edited.edits == (Edit(8, "", "xen-blkfront"), Edit(9, "", "xen-netfront"))
    assert first("") == Edited(
        "xen-blkfront\nxen-netfront\n", (Edit(1, "", "xen-blkfront"), Edit(2, "", "xen-netfront"))
    )


def test_first_before_others() -> None:
    assert first("# a\r\ndm-mod\r\n").text == "# a\r\nxen-blkfront\r\nxen-netfront\r\ndm-mod\r\n"
    assert first("# a").text == "# a\nxen-blkfront\nxen-netfront"


def test_what_is_there_later_moves_with_its_options() -> None:
    text = "a\nxen_netfront max_queues=1\n# c\nxen_blkfront"
    assert first(text).text == "xen_blkfront\nxen_netfront max_queues=1\na\n# c\n"


def test_what_is_first_already_stays() -> None:
    for text in ("xen_blkfront\nxen_netfront\na\n", "# c\nxen-netfront\n\nxen-blkfront"):
        assert first(text) == Edited(text)


PIECES = ("e1000", "i2c-piix4", "xen-blkfront", "xen_netfront", "loop", "# e1000", ";", "a=1", "\n")
ANY = st.one_of(
    texts(*PIECES), line_texts(*ETC_MODULES.splitlines(), *INITRAMFS.splitlines(), *FIRST)
)


@given(ANY)
def test_any_list_with_modules_off(text: str) -> None:
    edited = holds(off, text)
    kept = [name for name in modules.names(text) if name not in GONE]
    assert list(modules.names(edited.text)) == kept


@given(ANY)
def test_any_list_with_modules_first(text: str) -> None:
    edited = first(text)
    assert first(edited.text) == Edited(edited.text)
    assert set(modules.names(edited.text)[:2]) == {"xen_blkfront", "xen_netfront"}
    gone = {edit.line for edit in edited.edits if edit.old}
    added = {edit.line for edit in edited.edits if edit.new}
    kept = [cut(line)[0] for n, line in enumerate(lines(text), 1) if n not in gone]
    assert len(lines(edited.text)) == len(kept) + len(added)
    rest = iter(cut(line)[0] for line in lines(edited.text))
    assert all(any(body == other for other in rest) for body in kept)


@given(st.binary(max_size=100).map(decode))
def test_any_bytes(text: str) -> None:
    off(text)
    first(text)
