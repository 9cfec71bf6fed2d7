"""Forced loads of drivers for emulated hardware."""

from __future__ import annotations

import pytest
from tests.unit.building import (
    XENLINUX,
    directory,
    guest,
    kernel,
    kinds,
    link,
    removed,
    run,
    settle,
    written,
)

from pvprep.changes import Move
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


ALIASES = "alias eth0 e1000\nalias scsi_hostadapter ata_piix\nalias usb-controller uhci-hcd\n"


@pytest.mark.parametrize(
    "path",
    ["/etc/modprobe.conf", "/etc/modprobe.conf.local", "/etc/modprobe.d/mine", "/etc/modules.conf",
     "/etc/conf.modules"],
)  # fmt: skip
def test_aliases_of_a_xenlinux_system_name_the_frontends(path: str) -> None:
    facts = guest({path: ALIASES}, kernels=[XENLINUX])
    assert written(run("hardware", facts)) == {
        path: "alias eth0 xennet\nalias scsi_hostadapter xenblk\nalias usb-controller uhci-hcd\n"
    }
    assert run("hardware", settle(facts)[0]).changes() == ()


@pytest.mark.parametrize("kernels", [[kernel()], []])
def test_aliases_stay_for_kernels_that_need_none(kernels: list[object]) -> None:
    facts = guest({"/etc/modprobe.conf": ALIASES}, kernels=kernels)  # type: ignore[arg-type]
    assert run("hardware", facts).changes() == ()


def test_a_directory_among_the_aliases_is_left() -> None:
    path = "/etc/modprobe.d/old"
    assert run("hardware", guest({path: directory(path)}, kernels=[XENLINUX])).changes() == ()


def test_kudzu_is_switched_off() -> None:
    links = [f"/etc/rc.d/rc{level}.d/S05kudzu" for level in (3, 4, 5)]
    others = ["/etc/rc.d/rc3.d/S10network", "/etc/rc.d/rc2.d/K95kudzu"]
    real = "/etc/rc.d/init.d/kudzu"
    facts = guest({path: link(path, "../init.d/kudzu", "#", real) for path in (*links, *others)})
    moves = [(move.path, move.to) for move in kinds(run("hardware", facts), Move)]
    assert moves == [(path, path.replace("S05", "K95")) for path in links]
    assert run("hardware", settle(facts)[0]).changes() == ()


def test_kudzu_that_is_off_in_part() -> None:
    on, off = (f"/etc/rc.d/rc3.d/{name}kudzu" for name in ("S05", "K95"))
    real = "/etc/rc.d/init.d/kudzu"
    facts = guest({path: link(path, "../init.d/kudzu", "#", real) for path in (on, off)})
    assert removed(run("hardware", facts)) == [on]
