"""What the lab makes of the consoles of Xen, dom0 and the guests (tests/xen/lab.py)."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.xen import lab

KERNEL, RAMDISK = "a" * 64, "b" * 64
DOM0 = f"""\
(XEN) Xen version 4.17.5
LAB domain 1
LAB pygrub kernel {KERNEL}
LAB pygrub ramdisk {RAMDISK}
LAB created
LAB up
Domain 1 has shut down, reason code 0
LAB off
LAB domain 2
"""


def test_each_domain_has_its_own_part_of_a_console() -> None:
    parts = lab._split(DOM0)
    assert list(parts) == [1, 2]
    assert "LAB up" in parts[1] and "LAB up" not in parts[2]


def test_a_domain_that_came_up_and_went_off() -> None:
    console = "LAB domain 1\nDebian GNU/Linux 12 bifit hvc0\n\nbifit login: "
    result = lab._result(lab._split(DOM0)[1], console, True, 12.5)
    assert (result.up, result.off, result.login, result.error) == (True, True, True, "")
    assert result.pygrub == {"kernel": KERNEL, "ramdisk": RAMDISK}
    assert result.facts is None


@pytest.mark.parametrize(
    ("said", "console", "error"),
    [
        ("", "x\nALERT!  /dev/sda1 does not exist.  Dropping to a shell!\n",
         "ALERT!  /dev/sda1 does not exist.  Dropping to a shell!"),
        ("", "[ 1.0] Kernel panic - not syncing: VFS\n",
         "[ 1.0] Kernel panic - not syncing: VFS"),
        ("LAB bootloader \x1b[0m RuntimeError: Unable to find partition containing kernel\n", "",
         "RuntimeError: Unable to find partition containing kernel"),
        ("LAB problem xl: error: bridge is missing\n", "", "xl: error: bridge is missing"),
        ("Domain 1 has shut down, reason code 3\n", "", "Domain 1 has shut down, reason code 3"),
        ("", "", "not up after 9 s"),
    ],
)  # fmt: skip
def test_why_one_is_not_up(said: str, console: str, error: str) -> None:
    assert lab._first_error(said, console, 9.2) == error


def test_one_image_is_for_one_disk(tmp_path: Path) -> None:
    config = tmp_path / "bifit.cfg"
    config.write_text('memory = 384\ndisk = ["vdev=xvda,target=/a", "vdev=xvdb,target=/b"]\n')
    with pytest.raises(lab.LabError, match="the config has 2 disks"):
        lab.boot(tmp_path / "image", config, tmp_path)
