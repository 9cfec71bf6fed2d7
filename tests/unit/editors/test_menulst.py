from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pvprep.editors import menulst
from pvprep.editors.edited import Edit, Edited

from .laws import decode, holds, holds_by_line, line_texts, texts, translate

LAST = ("console=tty0", "console=hvc0")
LENNY = """\
# menu.lst - See: grub(8), info grub, update-grub(8)
default\t\t0
timeout\t\t5
# kopt=root=/dev/sda1 outside

## ## Start Default Options ##
### BEGIN AUTOMAGIC KERNELS LIST
## lines between the AUTOMAGIC KERNELS LIST markers will be modified
## by the debian update-grub script except for the default options below

## default kernel options
## e.g. kopt=root=/dev/sda1 ro
##      kopt_2_6_8=root=/dev/sdc1 ro
# kopt=root=/dev/sda1 ro
# kopt_2_6=root=/dev/sda1 ro vga=791

# groot=(hd0,0)
# alternative=true
# defoptions=quiet
# xenhopt=
# xenkopt=console=tty0
# altoptions=(single-user mode) single

title\t\tDebian GNU/Linux, kernel 2.6.26-2-686
root\t\t(hd0,0)
kernel\t\t/boot/vmlinuz-2.6.26-2-686 root=/dev/sda1 ro quiet
initrd\t\t/boot/initrd.img-2.6.26-2-686

title\t\tXen 3.2-1-i386 / Debian GNU/Linux, kernel 2.6.26-2-xen-686
root\t\t(hd0,0)
kernel\t\t/boot/xen-3.2-1-i386.gz root=/dev/sda1
module\t\t/boot/vmlinuz-2.6.26-2-xen-686 root=/dev/sda1 ro console=tty0
module\t\t/boot/initrd.img-2.6.26-2-xen-686

### END DEBIAN AUTOMAGIC KERNELS LIST
# kopt=root=/dev/sda1 ro
"""
CENTOS5 = """\
# boot=/dev/sda
default=1
timeout=5
splashimage=(hd0,0)/grub/splash.xpm.gz
hiddenmenu
title CentOS (2.6.18-398.el5)
\troot (hd0,0)
\tkernel --no-mem-option /vmlinuz-2.6.18-398.el5 ro root=/dev/VolGroup00/LogVol00 rhgb quiet
\tinitrd /initrd-2.6.18-398.el5.img
title=Other
\tkernel /vmlinuz
"""


def args(text: str) -> Edited:
    return menulst.edit(text, translate=translate, last=LAST)


def rename(text: str) -> Edited:
    return menulst.edit(text, translate=translate)


def default(text: str) -> Edited:
    return menulst.set_default(text, 3)


def test_debian_5() -> None:
    consoles = " console=tty0 console=hvc0"
    assert args(LENNY).text == LENNY.replace(
        "# kopt=root=/dev/sda1 ro\n# kopt_2_6=root=/dev/sda1 ro vga=791\n",
        f"# kopt=root=/dev/xvda1 ro{consoles}\n# kopt_2_6=root=/dev/xvda1 ro vga=791{consoles}\n",
    ).replace("root=/dev/sda1 ro quiet", "root=/dev/xvda1 ro quiet" + consoles)
    assert args(args(LENNY).text).edits == ()


def test_defoptions_come_behind_kopt_and_must_not_take_the_console() -> None:
    text = LENNY.replace("defoptions=quiet", "defoptions=console=ttyS0 quiet")
    assert "# defoptions=console=ttyS0 quiet console=hvc0\n" in args(text).text


def test_centos_5() -> None:
    new = args(CENTOS5).text
    assert "rhgb quiet console=tty0 console=hvc0\n" in new
    assert new.endswith("\tkernel /vmlinuz console=tty0 console=hvc0\n")
    assert rename(CENTOS5) == Edited(CENTOS5)


def test_stanzas() -> None:
    plain, xen = menulst.stanzas(LENNY)
    assert (plain.title, plain.multiboot) == ("Debian GNU/Linux, kernel 2.6.26-2-686", False)
    assert plain.commands[1] == (
        26, "kernel", "/boot/vmlinuz-2.6.26-2-686 root=/dev/sda1 ro quiet"
    )
    assert (xen.line, xen.multiboot) == (29, True)
    assert [stanza.title for stanza in menulst.stanzas(CENTOS5)][1] == "Other"


def test_default() -> None:
    assert default(LENNY).edits == (Edit(2, "0", "3"),)
    assert default(CENTOS5).text == CENTOS5.replace("default=1", "default=3")
    assert default("default saved\ntitle a\ndefault 1\n").text == "default 3\ntitle a\ndefault 1\n"
    assert default("title a\n").text == "default 3\ntitle a\n"
    assert menulst.set_default("title a\n", 0) == Edited("title a\n")


REAL = (*LENNY.splitlines(), *CENTOS5.splitlines())
PIECES = ("title ", "kernel ", "kernel=", "/vmlinuz", "root=/dev/sda1", "module ", "default ", "3",
          "### BEGIN AUTOMAGIC KERNELS LIST\n", "# kopt=", "# defoptions=", "console=hvc0", "--x ",
          "### END DEBIAN AUTOMAGIC KERNELS LIST\n")
ANY = st.one_of(line_texts(*REAL), texts(*PIECES))


@given(ANY)
def test_any_text_renamed(text: str) -> None:
    holds(rename, text)


@given(ANY)
def test_any_text_with_arguments(text: str) -> None:
    holds_by_line(args, text)


@given(ANY)
def test_any_text_with_a_default(text: str) -> None:
    edited = default(text)
    if edited.edits and edited.edits[0].old:
        holds_by_line(default, text)
    assert default(edited.text).edits == ()


@given(ANY)
def test_stanzas_stand_in_order(text: str) -> None:
    found = [stanza.line for stanza in menulst.stanzas(text)]
    assert found == sorted(found)


@given(st.binary(max_size=200).map(decode))
def test_any_bytes(text: str) -> None:
    menulst.stanzas(text)
    args(text)
    default(text)


def test_a_kernel_line_without_a_kernel_stays() -> None:
    assert args("title a\nkernel --no-mem-option \n").edits == ()


def test_the_kernels_of_a_menu_with_their_stanzas() -> None:
    text = (
        "kernel /0\ntitle a\nkernel /a root=b c\ntitle xen\nkernel /xen.gz\nmodule /b\n"
        "title c\nkernel --no-mem-option (hd0,0)/c  d\ntitle e\ntitle f\nkernel\n"
    )
    assert menulst.kernels(text) == ((0, "/a", "root=b c"), (2, "(hd0,0)/c", "d"))


DOM0 = """\
default=0
title Other
\tkernel /vmlinuz-other ro
title CentOS (2.6.18-419.el5xen)
\troot (hd0,0)
\tkernel /xen.gz-2.6.18-419.el5 \r
\tmodule /vmlinuz-2.6.18-419.el5xen ro root=/dev/hda1
  modulenounzip  /initrd-2.6.18-419.el5xen.img
"""


def alone(text: str) -> Edited:
    return menulst.without_hypervisor(text, lambda kernel: kernel.endswith("xen"))


def test_a_kernel_without_its_hypervisor() -> None:
    edited = alone(DOM0)
    assert edited.text == DOM0.replace("\tkernel /xen.gz-2.6.18-419.el5 \r\n", "").replace(
        "\tmodule ", "\tkernel "
    ).replace("modulenounzip", "initrd")
    assert edited.edits == (
        Edit(6, "kernel /xen.gz-2.6.18-419.el5", ""),
        Edit(7, "module", "kernel"),
        Edit(8, "modulenounzip", "initrd"),
    )
    assert alone(edited.text) == Edited(edited.text)


def test_hypervisors_of_other_kernels_stay() -> None:
    assert menulst.without_hypervisor(DOM0, lambda _kernel: False) == Edited(DOM0)
    more = DOM0 + "\tmodule /third\n"
    assert alone(more) == Edited(more)


def test_a_stanza_before_all_others() -> None:
    edited = menulst.insert_stanza(DOM0, "title New\n\tkernel /new\n")
    assert edited.text == DOM0.replace("title Other", "title New\n\tkernel /new\ntitle Other")
    assert menulst.insert_stanza("", "title New\n").text == "title New\n"


def test_the_device_of_a_menu() -> None:
    assert menulst.device(DOM0) == "(hd0,0)"
    assert menulst.device("root (hd0,1)\n") == ""


@given(st.one_of(line_texts(*DOM0.splitlines()), ANY))
def test_any_text_without_its_hypervisor(text: str) -> None:
    edited = alone(text)
    assert alone(edited.text) == Edited(edited.text)


MADE_BY_HAND = """\
default=0
title RHEL (2.6.18-8.el5xen)
\troot (hd0,0)
\tkernel --no-mem-option (hd0,0)/boot/vmlinuz-2.6.18-8.el5xen ro root=/dev/hda1
\tinitrd /boot/initrd-2.6.18-8.el5xenU.img
title other
\tkernel /boot/vmlinuz ro
"""


def test_a_stanza_names_the_initrd_that_was_built() -> None:
    edited = menulst.name_initrd(MADE_BY_HAND, 0, "initrd-2.6.18-8.el5xen.img")
    assert edited.text == MADE_BY_HAND.replace("el5xenU", "el5xen")
    assert menulst.name_initrd(edited.text, 0, "initrd-2.6.18-8.el5xen.img").edits == ()


def test_a_stanza_without_an_initrd_gets_one() -> None:
    line = "\tinitrd /boot/initrd-2.6.18-8.el5xenU.img\n"
    edited = menulst.name_initrd(MADE_BY_HAND.replace(line, ""), 0, "i.img")
    assert edited.text == MADE_BY_HAND.replace(line, "\tinitrd (hd0,0)/boot/i.img\n")
    text = menulst.name_initrd(MADE_BY_HAND, 1, "i.img").text
    assert text == MADE_BY_HAND + "\tinitrd /boot/i.img\n"
