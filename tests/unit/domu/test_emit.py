"""Xen's own parsers read back what was put in, and nothing else."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.domu import xen_tools
from tests.unit.domu.strategies import INJECTIONS, domus
from tests.unit.domu.xen_tools import Value, XlError

from pvprep.domu import placeholders
from pvprep.domu.emit import emit
from pvprep.domu.model import Boot, DomU, Vbd, Vif
from pvprep.domu.releases import Release
from pvprep.errors import UsageError

UUID = "dac2f702-0ded-4c78-beb8-ae4b78370bf5"
# The example of the how-to that this tool replaces: a guest on DRBD, one interface.
BIFIT = DomU(
    name="bifit",
    uuid=UUID,
    memory_mib=512,
    vcpus=1,
    vifs=(Vif("00:16:3e:01:12:c1", "xenbr4", "eth0"),),
    disks=(Vbd("xvda", "/dev/drbd/bifit", size=8 * 2**30, guest_name="sda"),),
    source="the running guest: Red Hat Enterprise Linux Server 5, HVM guest of Xen 3.2",
)
GOLDEN = Path(__file__).with_name("bifit.cfg")


def changed(**changes: Any) -> DomU:
    return dataclasses.replace(BIFIT, **changes)


def with_memory(config: str) -> str:
    """As an operator fills it in."""
    return config.replace("\nmemory = REPLACE-ME\n", "\nmemory = 1024\n")


def expected(domu: DomU, xen: Optional[Release]) -> dict[str, Value]:
    """The settings that say what the model says."""
    boot, found = domu.boot, {"name": domu.name}
    settings: dict[str, Value] = {**found, "memory": str(domu.memory_mib or 1024)}
    if xen is None or xen >= (4, 10):
        settings["type"] = domu.type
    elif domu.type == "hvm":
        settings["builder"] = "hvm"
    if domu.type == "hvm":
        settings.update(boot="c", serial="pty")
    if domu.uefi:
        settings["bios"] = "ovmf"
    if domu.pvshim:
        settings["pvshim"] = "1"
    if boot.method == "pygrub":
        settings["bootloader"] = "pygrub"
        if boot.args:
            settings["bootloader_args"] = list(boot.args)
    elif boot.method == "pvgrub":
        settings["kernel"] = placeholders.pvgrub_image(domu)
    elif boot.method == "direct":
        settings["kernel"] = boot.kernel or (
            "/REPLACE-ME/" + (boot.guest_kernel.split("/")[-1] or "vmlinuz")
        )
        if boot.ramdisk or boot.guest_ramdisk:
            settings["ramdisk"] = boot.ramdisk or (
                "/REPLACE-ME/" + (boot.guest_ramdisk.split("/")[-1] or "initrd")
            )
        if boot.cmdline:
            settings["cmdline" if xen is None or xen >= (4, 5) else "extra"] = boot.cmdline
    for key, number in (("maxmem", domu.maxmem_mib), ("vcpus", domu.vcpus)):
        if number is not None:
            settings[key] = str(number)
    if domu.uuid:
        settings["uuid"] = domu.uuid
    if domu.vifs:
        settings["vif"] = [vif_words(vif) for vif in domu.vifs]
    if domu.vfb:
        settings["vfb"] = ["vnc=1,vnclisten=127.0.0.1"]
    for when in ("on_poweroff", "on_reboot", "on_crash"):
        settings[when] = getattr(domu, when)
    return settings


def target_of(disk: Vbd) -> str:
    if disk.target is None:
        return f"/dev/REPLACE-ME/{disk.guest_name or disk.vdev}"
    return disk.target


def read_back(disk: Vbd) -> dict[str, Any]:
    found = {"vdev": disk.vdev, "readwrite": int(disk.access == "rw")}
    if disk.cdrom:
        found["cdrom"] = 1
    if not target_of(disk):
        return {**found, "format": "empty"}  # so xl calls a drive without a medium
    return {**found, "target": target_of(disk), "format": disk.format}


def vif_words(vif: Vif) -> str:
    more = {"bridge": vif.bridge, "rate": vif.rate, "model": vif.model}
    return f"mac={vif.mac}" + "".join(f",{key}={value}" for key, value in more.items() if value)


RELEASES = (None, (4, 2), (4, 4), (4, 9), (4, 10), (4, 17), (4, 18))


@given(domus(), st.sampled_from(RELEASES))
def test_libxlutil_reads_back_the_model_and_no_other_key(
    domu: DomU, xen: Optional[Release]
) -> None:
    try:
        config = emit(domu, xen=xen)
    except UsageError as refused:
        actions = {domu.on_poweroff, domu.on_reboot, domu.on_crash}
        assert xen and (domu.type == "pvh" or "soft-reset" in actions), refused
        return
    if domu.memory_mib is None:
        with pytest.raises(XlError, match="REPLACE-ME': lexical error"):
            xen_tools.parse(config)
        config = with_memory(config)
    settings = xen_tools.parse(config)
    keys = [key for key, _ in settings]
    assert len(keys) == len(set(keys))
    found = dict(settings)
    disks = found.pop("disk", [])
    assert found == expected(domu, xen)
    assert [xen_tools.disk(spec) for spec in disks] == [read_back(disk) for disk in domu.disks]


@settings(max_examples=40)
@given(domus())
def test_the_file_is_whole_lines_of_visible_text(domu: DomU) -> None:
    config = emit(domu)
    assert config.endswith("\n") and not config.endswith("\n\n")
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]", config)
    config.encode("utf-8", "surrogateescape")


@settings(max_examples=40)
@given(domus())
def test_every_placeholder_has_its_warning_on_the_line_before(domu: DomU) -> None:
    lines = emit(domu).split("\n")
    boot = domu.boot
    wanted = (
        (domu.memory_mib is None)
        + sum(disk.target is None for disk in domu.disks)
        + (boot.method == "direct" and not boot.kernel)
        + (boot.method == "direct" and not boot.ramdisk and bool(boot.guest_ramdisk))
    )
    warned = [n for n, line in enumerate(lines) if line.strip().startswith("# >>> REPLACE: ")]
    assert len(warned) == wanted
    assert all("REPLACE-ME" in lines[n + 1] and lines[n + 1].strip()[0] != "#" for n in warned)


@pytest.mark.parametrize("words", INJECTIONS)
def test_words_cannot_become_keys(words: str) -> None:
    vif, disk = BIFIT.vifs[0], BIFIT.disks[0]
    config = emit(
        changed(
            source=words,
            notes=(words, words),
            vifs=(dataclasses.replace(vif, comment=words),),
            disks=(dataclasses.replace(disk, comment=words),),
        )
    )
    assert xen_tools.parse(config) == xen_tools.parse(emit(BIFIT))


def test_a_long_path_does_not_swamp_its_comment() -> None:
    config = emit(changed(boot=Boot("direct", guest_kernel="/boot/" + "x" * 5000)))
    comments = [line for line in config.split("\n") if line.startswith("#")]
    assert max(map(len, comments)) < 250


def test_the_example_of_the_how_to() -> None:
    """Compared with the values of the document, and with the file as it was last looked at."""
    config = emit(BIFIT)
    found = dict(xen_tools.parse(config))
    assert (found["name"], found["bootloader"]) == ("bifit", "pygrub")
    assert xen_tools.number("memory", config) == 512
    assert xen_tools.number("vcpus", config) == 1
    assert found["vif"] == ["mac=00:16:3e:01:12:c1,bridge=xenbr4"]
    (disk,) = found["disk"]
    assert xen_tools.disk(disk)["target"] == "/dev/drbd/bifit"
    actions = [found[key] for key in ("on_poweroff", "on_reboot", "on_crash")]
    assert actions == ["destroy", "restart", "restart"]
    assert config == GOLDEN.read_text("utf-8")


@pytest.mark.parametrize(
    ("changes", "image"),
    [
        ({"type": "pv"}, "grub-x86_64-xen.bin"),
        ({"type": "pvh"}, "grub-i386-xen_pvh.bin"),
        ({"type": "pvh", "pvshim": True}, "grub-i386-xen.bin"),
    ],
)
def test_pvgrub_is_the_one_of_grub_xen_host(changes: dict[str, Any], image: str) -> None:
    found = dict(xen_tools.parse(emit(changed(boot=Boot("pvgrub"), **changes))))
    assert found["kernel"] == f"/usr/lib/grub-xen/{image}"
    assert Path(str(found["kernel"])).is_file()  # Debian's package grub-xen-host is installed
    assert "bootloader" not in found


def test_a_bridge_that_is_not_given_is_left_to_dom0() -> None:
    config = emit(changed(vifs=(Vif("00:16:3e:01:12:c1"),)))
    assert "bridge=" not in str(dict(xen_tools.parse(config))["vif"])
    assert "vif.default.bridge" in config
    assert "vif.default.bridge" not in emit(BIFIT)


def test_a_word_for_memory_would_pass_with_a_warning() -> None:
    """Why the placeholder is not a string: xl only warns, and starts with libxl's 32 MiB."""
    config = emit(changed(memory_mib=None)).replace("REPLACE-ME\n", '"REPLACE-ME"\n')
    assert dict(xen_tools.parse(config))["memory"] == "REPLACE-ME"
    with pytest.raises(XlError, match="is not a valid number"):
        xen_tools.number("memory", config)


def test_utf8_and_raw_bytes_pass_unchanged() -> None:
    config = emit(changed(disks=(Vbd("xvda", "/srv/größe/\udcff.img"),)))
    (spec,) = dict(xen_tools.parse(config))["disk"]
    assert xen_tools.disk(spec)["target"] == "/srv/größe/\udcff.img"
    assert "/srv/größe/".encode() + b"\xff.img" in config.encode("utf-8", "surrogateescape")
