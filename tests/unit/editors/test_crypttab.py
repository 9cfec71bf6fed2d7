from __future__ import annotations

from hypothesis import given

from pvprep.editors import crypttab
from pvprep.editors.edited import Edited

from .laws import DEVICES, holds, line_texts, texts, translate, translate_uuid

TEXT = """\
# <target name> <source device>         <key file>      <options>
sda5_crypt UUID=0a1b none luks,discard
swap\t/dev/sda2   /dev/urandom swap,cipher=aes-xts-plain64
data /dev/sda3 /dev/sda4:/keys/data:10 luks,header=/dev/sda6\r
more /dev/sda7 /keys/more:/dev/sda8
keyed /dev/nvme0n1p1 /dev/disk/by-path/pci-0000:00:01.1-part2
/dev/sda1 /dev/sdb1 /root/dev/sda1
"""


def rename(text: str) -> Edited:
    return crypttab.rename_devices(text, translate)


def test_devices_keys_and_headers() -> None:
    assert holds(rename, TEXT).text == """\
# <target name> <source device>         <key file>      <options>
sda5_crypt UUID=0a1b none luks,discard
swap\t/dev/xvda2   /dev/urandom swap,cipher=aes-xts-plain64
data /dev/xvda3 /dev/xvda4:/keys/data:10 luks,header=/dev/xvda6\r
more /dev/xvda7 /keys/more:/dev/xvda8
keyed /dev/xvdb1 /dev/xvda2
/dev/sda1 /dev/sdb1 /root/dev/sda1
"""


def test_a_key_is_a_path() -> None:
    assert crypttab.rename_devices("a /dev/sda1 /dev/sda2\n", translate_uuid).text == (
        "a UUID=0a1b-2c3d /dev/disk/by-uuid/ffff-2c3d\n"
    )


def test_entries() -> None:
    assert crypttab.entries(TEXT)[1] == (
        3, ("swap", "/dev/sda2", "/dev/urandom", "swap,cipher=aes-xts-plain64"),
    )


@given(texts("root", "none", "luks", "header=/dev/sda1", ":", *DEVICES))
def test_any_text(text: str) -> None:
    holds(rename, text)


@given(line_texts(*TEXT.splitlines()))
def test_any_order_of_real_lines(text: str) -> None:
    holds(rename, text)
