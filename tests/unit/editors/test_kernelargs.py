from __future__ import annotations

import pytest
from hypothesis import given

from pvprep.editors.kernelargs import edit, tokens, value

from .laws import texts, translate, translate_uuid, words

LAST = ("console=tty0", "console=hvc0")


def gone(token: str) -> bool:
    return token in ("console=ttyS0", "crashkernel=auto", "xen_emul_unplug=never")


def run(cmdline: str) -> str:
    new, pairs = edit(cmdline, translate=translate, remove=gone, last=LAST)
    assert bool(pairs) == (new != cmdline)
    assert edit(new, translate=translate, remove=gone, last=LAST) == (new, [])
    return new


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", "console=tty0 console=hvc0"),
        ("  ", "console=tty0 console=hvc0  "),
        ("root=/dev/sda1 ro quiet", "root=/dev/xvda1 ro quiet console=tty0 console=hvc0"),
        (" ro  root=/dev/sda1\tquiet ", " ro  root=/dev/xvda1\tquiet console=tty0 console=hvc0 "),
        ("quiet console=hvc0", "quiet console=tty0 console=hvc0"),
        ("console=hvc0 quiet", "console=tty0 console=hvc0 quiet"),
        ("console=hvc0 console=ttyS1", "console=ttyS1 console=hvc0"),
        ("console=hvc0,9600 console=tty0 ro", "console=tty0 ro console=hvc0,9600"),
        ("console=tty0 console=hvc0,9600", "console=tty0 console=hvc0,9600"),
        ("console=tty1 ro", "console=tty1 ro console=hvc0"),
        ("console=ttyS0 ro", "ro console=tty0 console=hvc0"),
        ("a console=ttyS0", "a console=tty0 console=hvc0"),
        ("a  crashkernel=auto b", "a b console=tty0 console=hvc0"),
        ("crashkernel=auto xen_emul_unplug=never", "console=tty0 console=hvc0"),
        ("crashkernel=auto -- 3", "console=tty0 console=hvc0 -- 3"),
        ("ro -- single root=/dev/sda1", "ro console=tty0 console=hvc0 -- single root=/dev/sda1"),
        ("crashkernel=auto2", "crashkernel=auto2 console=tty0 console=hvc0"),
    ],
)
def test_consoles_and_removals(old: str, new: str) -> None:
    assert run(old) == new


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("root=/dev/sda1", "root=/dev/xvda1"),
        ('root="/dev/sda1"', 'root="/dev/xvda1"'),
        ('"root=/dev/sda1"', '"root=/dev/xvda1"'),
        ("resume=/dev/sda2", "resume=/dev/xvda2"),
        ("real_root=/dev/nvme0n1p1", "real_root=/dev/xvdb1"),
        ("root=/dev/cciss/c0d0p1", "root=/dev/xvdc1"),
        ("resume=swap:/dev/sda2", "resume=swap:/dev/xvda2"),
        ("cryptdevice=/dev/sda2:root:allow-discards", "cryptdevice=/dev/xvda2:root:allow-discards"),
        ("cryptopts=target=r,source=/dev/sda2,lvm=x", "cryptopts=target=r,source=/dev/xvda2,lvm=x"),
        ("md=0,/dev/sda1,/dev/sda2", "md=0,/dev/xvda1,/dev/xvda2"),
        ("root=/dev/disk/by-path/pci-0000:00:01.1-part2", "root=/dev/xvda2"),
        ("rootflags=journal_path=/dev/sda3,noatime", "rootflags=journal_path=/dev/xvda3,noatime"),
    ],
)
def test_devices(old: str, new: str) -> None:
    assert edit(old, translate=translate) == (new, [(old, new)])


@pytest.mark.parametrize(
    "same",
    [
        "root=UUID=0a1b", "root=LABEL=/dev/sda1", "root=/dev/mapper/vg-root", "root=/dev/sda11",
        "root=/dev/sdb1", "rd.luks.name=/dev/sda1=x", "rd.lvm.lv=vg/root", "noresume", "/dev/sda1",
        "init=/usr/dev/sda1", 'dyndbg="file /dev/sda1 +p"', "BOOT_IMAGE=/vmlinuz",
    ],
)
def test_what_is_not_a_known_device_stays(same: str) -> None:
    assert edit(same, translate=translate) == (same, [])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("root=/dev/sda1 ro root=/dev/sda2", "root=/dev/sda1 ro root=/dev/xvda2"),
        ("resume=/dev/sda1 resume=/dev/sda2", "resume=/dev/sda1 resume=/dev/xvda2"),
        ('"root=/dev/sda1" root="/dev/sda2"', '"root=/dev/sda1" root="/dev/xvda2"'),
        ("root=/dev/sda1 resume=/dev/sda2", "root=/dev/xvda1 resume=/dev/xvda2"),
        ("md=0,/dev/sda1 md=1,/dev/sda2", "md=0,/dev/xvda1 md=1,/dev/xvda2"),
        ("root=/dev/sda1 -- root=/dev/sda2", "root=/dev/xvda1 -- root=/dev/sda2"),
    ],
)
def test_only_the_last_root_and_resume_count(old: str, new: str) -> None:
    assert edit(old, translate=translate)[0] == new


@pytest.mark.parametrize(
    "same", ["root=/dev/sda1 ro root=/dev/xvda1", "resume=/dev/sda2 root=LABEL=a resume=UUID=12"]
)
def test_what_a_later_argument_overrides_stays(same: str) -> None:
    assert edit(same, translate=translate) == (same, [])


def test_tags_only_where_they_are_understood() -> None:
    assert edit("root=/dev/sda1 rootflags=journal_path=/dev/sda2", translate=translate_uuid)[0] == (
        "root=UUID=0a1b-2c3d rootflags=journal_path=/dev/disk/by-uuid/ffff-2c3d"
    )


def test_what_is_wanted_is_never_removed() -> None:
    line = "console=tty0 console=hvc0"
    same = edit(line, translate=translate, remove=lambda token: "console=" in token, last=LAST)
    assert same == (line, [])


def test_quotes_hold_spaces() -> None:
    assert tokens('a="b c" d "e f"') == ['a="b c"', "d", '"e f"']
    assert tokens('a="b c') == ['a="b c']


def test_plain_arguments_are_appended_once() -> None:
    last = ("xen_blkfront.sda_is_xvda=1",)
    assert edit("ro", translate=translate, last=last)[0] == "ro xen_blkfront.sda_is_xvda=1"
    assert edit("xen_blkfront.sda_is_xvda=1 ro", translate=translate, last=last)[1] == []


ARGS = ("root=/dev/sda1", "resume=/dev/sda2", "console=hvc0", "console=tty0", "console=ttyS0",
        "console=hvc0,1", "console=", "crashkernel=auto", '"', "=", "--", "quiet", 'a="b c"',
        "/dev/sda1", ":", ",")


@given(texts(*ARGS))
def test_any_command_line(cmdline: str) -> None:
    new = run(cmdline)
    kept = [t for t in tokens(cmdline) if "/dev/" not in t and "=" not in t]
    assert [t for t in tokens(new) if "/dev/" not in t and "=" not in t] == kept


@given(words(*ARGS))
def test_without_work_nothing_changes(cmdline: str) -> None:
    assert edit(cmdline, translate=lambda path: None) == (cmdline, [])


@pytest.mark.parametrize(
    ("cmdline", "found"),
    [
        ("root=/dev/a ro root=/dev/b", "/dev/b"), ('root="UUID=1"', "UUID=1"), ("ro", ""),
        ('"root=/dev/a"', "/dev/a"), ("xroot=a root", ""), ("root=", ""),
    ],
)  # fmt: skip
def test_the_value_that_counts(cmdline: str, found: str) -> None:
    assert value(cmdline, "root") == found
