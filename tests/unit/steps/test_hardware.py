"""Forced loads of drivers for emulated hardware."""

from __future__ import annotations

import pytest
from tests.unit.building import directory, guest, link, run, settle, written

from pvprep.steps import hardware

LIST = "/etc/modules-load.d/hw.conf"


def test_emulated_hardware_is_switched_off_and_the_rest_stays() -> None:
    facts = guest({"/etc/modules": "# mine\nloop\ne1000 debug=1\n"})
    assert written(run("hardware", facts)) == {
        "/etc/modules": "# mine\nloop\n# e1000 debug=1  # pvprep: udev loads it where the hardware "
        "is\n"
    }
    assert run("hardware", settle(facts)[0]).changes() == ()


def test_names_are_the_same_with_either_dash() -> None:
    assert "# ata-piix" in written(run("hardware", guest({LIST: "ata-piix\n"})))[LIST]


@pytest.mark.parametrize("name", ["xen-blkfront", "loop", "bonding", "8021q", "dm_mod", "kvm"])
def test_what_a_pv_guest_can_use_stays(name: str) -> None:
    assert run("hardware", guest({"/etc/modules": f"{name}\n"})).changes() == ()


def test_a_link_to_a_list_is_the_same_list() -> None:
    """/etc/modules-load.d/modules.conf on Debian."""
    path = "/etc/modules-load.d/modules.conf"
    files = {"/etc/modules": "e1000\n", path: link(path, "../modules", "e1000\n", "/etc/modules")}
    texts = written(run("hardware", guest(files)))
    assert list(texts) == ["/etc/modules"]
    assert texts["/etc/modules"].count("pvprep") == 1


def test_a_directory_and_other_lists_are_left() -> None:
    files = {
        LIST: directory(LIST),
        "/etc/initramfs-tools/modules": "e1000\n",
        "/etc/modules.old": "e1000\n",
    }
    assert run("hardware", guest(files)).changes() == ()


def test_the_table_has_no_frontend() -> None:
    assert not [name for name in hardware.EMULATED if name.startswith("xen")]
