"""The real xl makes the domain that was meant, or stops with words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.domu import xen_tools
from tests.unit.domu.test_emit import BIFIT, UUID, changed

from pvprep.domu.emit import emit
from pvprep.domu.model import Boot, DomU, Vbd, Vif


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return xen_tools.build_stand_in(tmp_path_factory.mktemp("stand-in"))


@pytest.fixture
def create(tmp_path: Path, stand_in: Path) -> Any:
    def run(domu: DomU, xen: Any = None) -> Any:
        config = tmp_path / "test.cfg"
        config.write_bytes(emit(domu, xen=xen).encode("utf-8", "surrogateescape"))
        return xen_tools.dry_run(config, stand_in)

    return run


def test_the_example(create: Any) -> None:
    made = create(BIFIT)
    assert made["c_info"]["type"] == "pv"
    assert made["c_info"]["name"] == "bifit"
    assert made["c_info"]["uuid"] == UUID
    assert made["b_info"]["target_memkb"] == 512 * 1024
    assert made["b_info"]["max_vcpus"] == 1
    assert made["b_info"]["bootloader"] == "pygrub"
    (disk,) = made["disks"]
    assert disk == {
        "pdev_path": "/dev/drbd/bifit",
        "vdev": "xvda",
        "format": "raw",
        "readwrite": 1,
    }
    (nic,) = made["nics"]
    assert (nic["mac"], nic["bridge"]) == ("00:16:3e:01:12:c1", "xenbr4")
    assert made.get("on_poweroff", "destroy") == "destroy"  # xl leaves defaults out
    assert (made["on_reboot"], made["on_crash"]) == ("restart", "restart")


def test_everything_at_once(create: Any) -> None:
    made = create(
        changed(
            type="pvh",
            pvshim=True,
            maxmem_mib=1024,
            vfb=True,
            vifs=(Vif("00:16:3e:01:12:c1", "xenbr4"), Vif("52:54:00:12:34:56")),
            disks=(
                Vbd("xvda", '/srv/a b, "c"\\d#.img', access="r"),
                Vbd("xvdb", "/srv/x,vdev=xvdc,script=e.img", format="qcow2"),
            ),
            boot=Boot("direct", kernel="/srv/vmlinuz", ramdisk="/srv/initrd", cmdline='a="b c" ro'),
            on_poweroff="preserve",
            on_crash="coredump-destroy",
        )
    )
    build = made["b_info"]
    assert build["type.pvh"]["pvshim"] == "True"
    assert (build["target_memkb"], build["max_memkb"]) == (512 * 1024, 1024 * 1024)
    assert (build["kernel"], build["ramdisk"]) == ("/srv/vmlinuz", "/srv/initrd")
    assert build["cmdline"] == 'a="b c" ro'
    assert [disk["pdev_path"] for disk in made["disks"]] == [
        '/srv/a b, "c"\\d#.img',
        "/srv/x,vdev=xvdc,script=e.img",
    ]
    assert [disk.get("readwrite", 0) for disk in made["disks"]] == [0, 1]
    assert [nic.get("bridge") for nic in made["nics"]] == ["xenbr4", None]
    assert made["nics"][1]["mac"] == "52:54:00:12:34:56"
    assert made["vfbs"][0]["vnc"] == {"enable": "True", "listen": "127.0.0.1"}
    assert (made["on_poweroff"], made["on_crash"]) == ("preserve", "coredump_destroy")


def test_the_way_back(create: Any) -> None:
    made = create(
        changed(
            type="hvm",
            boot=Boot("firmware"),
            uefi=True,
            vifs=(
                Vif("00:16:3e:01:12:c1", "xenbr4", rate="1250000B/s@50000us", model="e1000"),
            ),
            disks=(
                Vbd("hda", "/dev/drbd/bifit"),
                Vbd("hdc", "", access="r", cdrom=True),
                Vbd("hdd", "/srv/inst.iso", access="r", cdrom=True),
            ),
        )
    )
    assert made["c_info"]["type"] == "hvm"
    hvm = made["b_info"]["type.hvm"]
    assert (hvm["boot"], hvm["serial"], hvm["bios"]) == ("c", "pty", "ovmf")
    hda, hdc, hdd = made["disks"]
    assert (hda["vdev"], hda["pdev_path"], hda["readwrite"]) == ("hda", "/dev/drbd/bifit", 1)
    assert (hdc["format"], hdc["is_cdrom"], hdd["pdev_path"]) == ("empty", 1, "/srv/inst.iso")
    (nic,) = made["nics"]
    assert (nic["model"], nic["rate_bytes_per_interval"], nic["rate_interval_usecs"]) == (
        "e1000", 62500, 50000,
    )  # fmt: skip


@pytest.mark.parametrize("xen", [None, (4, 4), (4, 17), (4, 18)])
def test_what_is_for_other_releases_is_understood_as_well(create: Any, xen: Any) -> None:
    """The keys of old releases are still read; PV is still what no type means."""
    boot = Boot("direct", kernel="/srv/vmlinuz", cmdline="root=/dev/xvda1 ro")
    made = create(changed(boot=boot), xen)
    assert made["c_info"]["type"] == "pv"
    assert made["b_info"]["cmdline"] == "root=/dev/xvda1 ro"


def test_arguments_reach_pygrub(create: Any) -> None:
    args = ("--kernel=/boot/vmlinuz", '--args=root=/dev/xvda1 x="y"')
    assert create(changed(boot=Boot("pygrub", args)))["b_info"]["bootloader_args"] == list(args)


def test_without_memory_xl_stops_at_that_line(create: Any, tmp_path: Path) -> None:
    with pytest.raises(xen_tools.XlError, match="Failed to parse config") as stopped:
        create(changed(memory_mib=None))
    lines = emit(changed(memory_mib=None)).split("\n")
    number = lines.index("memory = REPLACE-ME") + 1
    assert f"test.cfg:{number}: config parsing error near `REPLACE-ME'" in str(stopped.value)
