"""The simulation of pygrub against the real program, on whole disks."""

from __future__ import annotations

import os
import pty
import re
import select
from collections.abc import Mapping
from pathlib import Path
from typing import Union

import pytest
from tests.unit.pygrub_cases import real
from tests.unit.pygrub_cases.disks import KERNELS, MIB, Part, asked, make, simulated, volume

from pvprep.pygrub import Pick, Refusal, choose, order


def _grub(kernel: str = "/vmlinuz", initrd: str = "/initrd", more: str = "") -> bytes:
    return (
        f"menuentry 'Linux' --class os {{\n{more}\n linux {kernel} root=/dev/xvda1 ro\n"
        f" initrd {initrd}\n}}\n"
    ).encode()


_BOOT = {"boot/grub/grub.cfg": _grub(), **KERNELS}
_BOOT_PARTITION = {"grub/grub.cfg": _grub(), **KERNELS}
_ROOT = {"boot/README": b"mounted over", "etc/fstab": b""}
_STALE = {"boot/grub/grub.cfg": _grub("/boot/vmlinuz-old", "/boot/initrd-old")}
_LEGACY = {"boot/grub/menu.lst": b"title a\nroot (hd0,1)\nkernel /vmlinuz ro\n", **KERNELS}

_CONF = {"boot/grub/grub.conf": b"title a\nkernel /vmlinuz ro\n", **KERNELS}


def _broken(config: bytes) -> Mapping[str, Union[bytes, str]]:
    return {"boot/grub/grub.cfg": config, **KERNELS}


DISKS: dict[str, tuple[str, list[Part]]] = {
    "whole-disk": ("", [Part(_BOOT, 0)]),
    "whole-disk-without-config": ("", [Part(_ROOT, 0)]),
    "nothing": ("", [Part(None, 0)]),
    "mbr": ("dos", [Part(_BOOT, 1)]),
    "mbr-boot-partition": ("dos", [Part(_BOOT_PARTITION, 1), Part(_ROOT, 2)]),
    "mbr-boot-is-second": ("dos", [Part(_ROOT, 1), Part(_BOOT_PARTITION, 2)]),
    "mbr-both": ("dos", [Part(_BOOT, 1), Part(_LEGACY, 2)]),
    "mbr-second-is-active": ("dos", [Part(_BOOT, 1), Part(_LEGACY, 2, active=True)]),
    "mbr-out-of-order": ("dos", [Part(_LEGACY, 3), Part(_BOOT, 2)]),
    "mbr-fourth": ("dos", [Part(None, 2), Part(_BOOT, 4)]),
    "mbr-stale-first": ("dos", [Part(_STALE, 1), Part(_BOOT_PARTITION, 2)]),
    "mbr-broken-first": ("dos", [Part(_broken(b"set a=b=c\n"), 1), Part(_LEGACY, 2)]),
    "mbr-empty-config-first": ("dos", [Part(_broken(b""), 1), Part(_LEGACY, 2)]),
    "mbr-no-kernel-first": ("dos", [Part(_broken(b"menuentry 'a' {\n}\n"), 1), Part(_LEGACY, 2)]),
    "mbr-bare-linux-first": (
        "dos",
        [Part(_broken(b"menuentry 'a' {\nlinux\n}\n"), 1), Part(_LEGACY, 2)],
    ),
    "mbr-all-broken": ("dos", [Part(_broken(b"set\n"), 1), Part(_broken(b"\xff"), 2)]),
    "mbr-swap-type-with-ext4": ("dos", [Part(_BOOT, 1, "82"), Part(_LEGACY, 2)]),
    "mbr-only-swap-type": ("dos", [Part(_BOOT, 1, "82")]),
    "mbr-odd-type": ("dos", [Part(_BOOT, 1, "da")]),
    "mbr-logical": ("dos", [Part(None, 1, "5"), Part(_BOOT, 5)]),
    "mbr-kernel-elsewhere": (
        "dos",
        [Part({"grub/grub.cfg": _grub(more="set root='hd0,msdos2'")}, 1), Part(KERNELS, 2)],
    ),
    "gpt": ("gpt", [Part(None, 1), Part(_BOOT, 2)]),
    "gpt-table-order": ("gpt", [Part(_LEGACY, 7), Part(_BOOT, 3)]),
    "gpt-nothing": ("gpt", [Part(_ROOT, 1)]),
    "config-is-a-link": ("", [Part({**_CONF, "boot/grub/menu.lst": "./grub.conf"}, 0)]),
    "kernel-is-a-link": ("", [Part({**_BOOT, "vmlinuz": "k/real", "k/real": b"linked"}, 0)]),
    "dangling-link": ("", [Part({**_BOOT, "vmlinuz": "k/gone"}, 0)]),
    "grub-cfg-beats-menu-lst": ("", [Part({**_LEGACY, **_STALE}, 0)]),
    "no-initrd": ("", [Part({"boot/grub/grub.cfg": _grub(), "vmlinuz": b"kernel"}, 0)]),
    "no-kernel-and-no-initrd": ("", [Part({"boot/grub/grub.cfg": _grub()}, 0)]),
    "two-initrds": ("", [Part(_broken(_grub(initrd="/vmlinuz /initrd")), 0)]),
    "initrd-without-name": ("", [Part(_broken(_grub(initrd="")), 0)]),
    "quoted-kernel": ("", [Part(_broken(_grub('"/vmlinuz"')), 0)]),
    "relative-kernel": ("", [Part(_broken(_grub("vmlinuz")), 0)]),
    "two-slashes": ("", [Part(_broken(_grub("//vmlinuz")), 0)]),
    "dot-dot": ("", [Part(_broken(_grub("/boot/../vmlinuz")), 0)]),
    "device-before-kernel": ("", [Part(_broken(_grub("(hd0,0)/vmlinuz", "(hd5)/initrd")), 0)]),
    "tabs": ("", [Part(_broken(_grub("/vmlinuz\tquiet")), 0)]),
    "no-arguments": ("", [Part(_broken(b"menuentry 'a' {\nlinux /vmlinuz\n}\n"), 0)]),
    "nul-in-kernel": ("", [Part(_broken(_grub("/vml\0inuz")), 0)]),
    "nul-in-arguments": ("", [Part(_broken(_grub("/vmlinuz a\0b")), 0)]),
    "unicode": (
        "",
        [Part({"boot/grub/grub.cfg": _grub("/kérnel ñ"), **KERNELS, "kérnel": b"k"}, 0)],
    ),
    "entry-behind-1-mib": ("", [Part(_broken(b"#" * MIB + b"\n" + _grub()), 0)]),
    "bad-bytes-just-before-1-mib": (
        "",
        [Part(_broken(_grub() + b"#" * (MIB - 200) + b"\xff" * 300), 0)],
    ),
    "limit-cuts-the-bad-bytes-off": ("", [Part(_broken(_grub() + b"#" * MIB + b"\xff"), 0)]),
}


@pytest.mark.parametrize("case", DISKS)
def test_as_the_real_one(case: str, tmp_path: Path) -> None:
    image = tmp_path / "image"
    disk = make(image, tmp_path, *DISKS[case])
    assert simulated(disk, tmp_path) == asked(image, tmp_path)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    disk = make(tmp_path / "image", tmp_path, *DISKS["mbr-stale-first"])
    answer = choose([volume(tmp_path, part) for part in order(disk)])
    assert isinstance(answer, Refusal)
    assert answer.message == "Error opening /boot/vmlinuz-old in guest"
    assert answer.reason.startswith("/dev/sda1 has no kernel `/boot/vmlinuz-old`")
    assert answer.where == "/boot/grub/grub.cfg:1"


def test_the_reason_knows_two_initrds_and_quotes(tmp_path: Path) -> None:
    for case, words in (("two-initrds", "name of one file"), ("quoted-kernel", "takes the quotes")):
        directory = tmp_path / case
        directory.mkdir()
        disk = make(directory / "image", directory, *DISKS[case])
        answer = choose([volume(directory, part) for part in order(disk)])
        assert isinstance(answer, Refusal)
        assert words in answer.reason


def _with_menu(image: Path, directory: Path) -> str:
    """Run it on a terminal, as xl does, until it ends; what it wrote."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ["TERM"] = "vt100"
        program = str(real.PROGRAM)
        os.execv(program, [program, f"--output-directory={directory}", str(image)])
    text = b""
    try:
        while select.select([terminal], [], [], 20)[0]:
            text += os.read(terminal, 4096)
    except OSError:  # how Linux says that the other side is closed
        pass
    os.close(terminal)
    os.waitpid(child, 0)
    return text.decode()


@pytest.mark.parametrize("timeout", ["0", '"${menu_show_once_timeout}"'])
def test_its_menu_wants_a_timeout_that_is_a_number(timeout: str, tmp_path: Path) -> None:
    real.require()
    config = f"set timeout={timeout}\n".encode() + _grub()
    disk = make(tmp_path / "image", tmp_path, "", [Part(_broken(config), 0)])
    answer = choose([volume(tmp_path, part) for part in order(disk)])
    assert isinstance(answer, Pick)
    taken = re.search(r"linux \(kernel ", _with_menu(tmp_path / "image", tmp_path))
    assert bool(taken) == (answer.needs_quiet == "")
