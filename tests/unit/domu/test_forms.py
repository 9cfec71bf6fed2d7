"""The other forms, read back by what will read them: Python, libvirt, a shell, JSON."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import re
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, Optional

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from tests.unit.domu import xen_tools
from tests.unit.domu.strategies import domus
from tests.unit.domu.test_emit import BIFIT, UUID, changed, target_of, vif_words, with_memory

from pvprep.domu import placeholders
from pvprep.domu.emit import emit
from pvprep.domu.model import Boot, DomU, Vbd, Vif
from pvprep.domu.releases import FORMS, release
from pvprep.errors import PvprepError, UsageError

HVM = changed(
    type="hvm",
    boot=Boot("firmware"),
    disks=(
        Vbd("hda", "/srv/a.img", guest_name="sda"),
        Vbd("sda", "/dev/vg/b", format="qcow2"),
        Vbd("hdc", "", access="r", cdrom=True),
    ),
    vifs=(Vif("00:16:3e:01:12:c1", "xenbr4", model="e1000"),),
)


def made(domu: DomU, form: str, xen: Any = None) -> Optional[str]:
    """The config; None where it is refused, with words and for a reason that there is."""
    try:
        return emit(domu, form, xen)
    except PvprepError as refused:
        event("refused")
        assert refused.hint and "\n" not in refused.message
        return None


def plainer(domu: DomU) -> DomU:
    """The same with what every form has words for, so that most are not refused."""
    return dataclasses.replace(
        domu,
        type="pv" if domu.type == "pvh" else domu.type,
        pvshim=False,
        boot=dataclasses.replace(domu.boot, args=()),
        on_poweroff="destroy",
        on_reboot="restart",
        on_crash="preserve",
    )


# xm


def assigned(config: str) -> dict[str, Any]:
    """What Python makes of it; nothing but constants and lists of them may be in it."""
    found = {}
    for statement in ast.parse(config.encode("utf-8")).body:
        assert isinstance(statement, ast.Assign), ast.dump(statement)
        (target,) = statement.targets
        assert isinstance(target, ast.Name)
        assert target.id not in found
        found[target.id] = ast.literal_eval(statement.value)
    return found


def test_xm_reads_the_example_of_the_how_to() -> None:
    found = assigned(emit(changed(disks=(Vbd("hda", "/dev/drbd/bifit"),)), "xm", (3, 2)))
    assert found == {
        "bootloader": "/usr/lib/xen-3.2-1/bin/pygrub", "memory": 512, "name": "bifit", "vcpus": 1,
        "uuid": UUID, "vif": ["mac=00:16:3e:01:12:c1,bridge=xenbr4"],
        "disk": ["phy:/dev/drbd/bifit,hda,w"],
        "on_poweroff": "destroy", "on_reboot": "restart", "on_crash": "restart",
    }  # fmt: skip


def test_xm_has_the_way_back() -> None:
    found = assigned(emit(HVM, "xm"))
    assert (found["builder"], found["boot"], found["monitor"]) == ("hvm", "c", 1)
    assert found["serial"] == "pty"
    assert found["kernel"] == "/usr/lib/xen/boot/hvmloader"
    assert found["disk"] == [
        "file:/srv/a.img,hda,w", "tap:qcow2:/dev/vg/b,sda,w", ",hdc:cdrom,r",
    ]  # fmt: skip
    assert found["vif"] == ["type=ioemu,mac=00:16:3e:01:12:c1,bridge=xenbr4,model=e1000"]
    assert assigned(emit(HVM, "xm", (3, 2)))["kernel"] == "/usr/lib/xen-3.2-1/boot/hvmloader"


@settings(max_examples=100)
@given(st.one_of(domus(), domus().map(plainer)), st.sampled_from([None, (3, 2), (4, 4)]))
def test_xm_and_xl_read_the_same(domu: DomU, xen: Any) -> None:
    config = made(domu, "xm", xen)
    if config is None:
        return
    if domu.memory_mib is None:
        with pytest.raises(ValueError):  # xm: the name REPLACE is not defined
            assigned(config)
        config = with_memory(config)
    found = assigned(config)
    parsed = dict(xen_tools.parse(config))
    assert parsed == {
        key: value if isinstance(value, (list, str)) else str(value)
        for key, value in found.items()
    }
    assert found["name"] == domu.name and found.get("uuid", "") == domu.uuid
    disks = [spec.split(",") for spec in found["disk"]]
    assert [(dev, mode) for _, dev, mode in disks] == [
        (disk.vdev + ":cdrom" * disk.cdrom, "w" if disk.access == "rw" else "r")
        for disk in domu.disks
    ]
    for (uname, _, _), disk in zip(disks, domu.disks):
        assert uname.endswith(target_of(disk))
        assert re.match(r"(phy|file|tap:(qcow2?|vhd)):/|$", uname)
    assert [spec.replace("type=ioemu,", "") for spec in found.get("vif", [])] == [
        vif_words(vif) for vif in domu.vifs
    ]
    if domu.boot.cmdline and domu.boot.method == "direct":
        assert found["extra"] == domu.boot.cmdline
    assert not {"type", "cmdline", "pvshim"} & set(found)


# libvirt


def defined(config: str, tmp: Path) -> ET.Element:
    """Checked by libvirt's schema, and as its parser understands it."""
    file = tmp / "domain.xml"
    file.write_text(config, "utf-8")
    for argv in (
        ["virt-xml-validate", str(file), "domain"],
        ["virsh", "-c", "test:///default", f"define {file}; dumpxml --inactive {_name(config)}"],
    ):
        done = subprocess.run(argv, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return ET.fromstring(done.stdout[done.stdout.index("<domain") :])


def attributes(element: ET.Element, name: str) -> tuple[str, ...]:
    """The values of a child's attributes, none where there is no such child."""
    child = element.find(name)
    return () if child is None else tuple(child.attrib.values())


def _name(config: str) -> str:
    return str(ET.fromstring(config.encode("utf-8")).findtext("name"))


def test_libvirt_reads_the_example(tmp_path: Path) -> None:
    found = defined(emit(BIFIT, "libvirt"), tmp_path)
    assert found.findtext("bootloader") == "pygrub"
    assert found.findtext("currentMemory") == str(512 * 1024)
    assert found.findtext("os/type") == "linux"
    assert "xenpv" in attributes(found, "os/type")
    assert attributes(found, "devices/disk/source") == ("/dev/drbd/bifit",)
    assert attributes(found, "devices/interface/source") == ("xenbr4",)


def test_libvirt_has_the_way_back(tmp_path: Path) -> None:
    found = defined(emit(dataclasses.replace(HVM, uefi=True), "libvirt"), tmp_path)
    assert found.findtext("os/type") == "hvm"
    assert found.findtext("os/loader", "").endswith("/ovmf.bin")
    assert {(disk.get("device"), *attributes(disk, "target")) for disk in found.iter("disk")} == {
        ("disk", "hda", "ide"), ("disk", "sda", "scsi"), ("cdrom", "hdc", "ide"),
    }  # fmt: skip
    assert found.find("devices/serial") is not None


@settings(max_examples=40)
@given(domu=st.one_of(domus(), domus().map(plainer)))
def test_libvirt_reads_back_the_model(
    domu: DomU, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = made(domu, "libvirt")
    if config is None:
        return
    tmp = tmp_path_factory.getbasetemp()
    if domu.memory_mib is None:
        with pytest.raises(AssertionError, match="memory"):
            defined(config, tmp)
        config = config.replace(">REPLACE-ME</memory>", ">1024</memory>")
    found = defined(config, tmp)
    mib = domu.memory_mib or 1024
    assert found.findtext("name") == domu.name
    assert found.findtext("currentMemory") == str(mib * 1024)
    assert found.findtext("memory") == str((domu.maxmem_mib or mib) * 1024) or not domu.memory_mib
    assert found.findtext("vcpu") == str(domu.vcpus or 1)
    for when in ("on_poweroff", "on_reboot", "on_crash"):
        assert found.findtext(when) == getattr(domu, when)
    boot = domu.boot
    assert found.findtext("os/cmdline", "") == boot.cmdline * (boot.method == "direct")
    kernel = found.findtext("os/kernel", "")
    assert kernel == {
        "pvgrub": placeholders.pvgrub_image(domu),
        "direct": placeholders.copied_out(boot.kernel, boot.guest_kernel, "vmlinuz"),
    }.get(boot.method, "")
    # It has an order of its own: by bus and letter.
    assert {
        (attributes(disk, "target")[0], *attributes(disk, "source"), disk.find("readonly") is None)
        for disk in found.iter("disk")
    } == {
        (disk.vdev, *filter(None, [target_of(disk)]), disk.access == "rw") for disk in domu.disks
    }
    assert [
        (*attributes(nic, "mac"), *attributes(nic, "source")) for nic in found.iter("interface")
    ] == [(vif.mac.lower(), vif.bridge or "REPLACE-ME") for vif in domu.vifs]


# xe

XE = """\
#!/bin/sh
# Stands in for XenServer's xe: it records what it is asked for, and knows one VM that is halted.
printf '%s\\n' "$#" "$@" >>"$XE_CALLS"
case $1 in
vm-list) echo "$XE_VMS" ;;
vm-param-get) echo "${XE_STATE-halted}" ;;
vbd-list) case $* in *userdevice=*) echo boot-vbd ;; *) echo boot-vbd,other-vbd ;; esac ;;
esac
"""


class FakeXe:
    """Runs a script with the stand-in for xe."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "xe").write_text(XE)
        (directory / "xe").chmod(0o755)

    def run(self, script: str, **environment: str) -> tuple[list[list[str]], int, str]:
        """The calls of xe, the status, and what it said."""
        file, calls = self.directory / "domu.sh", self.directory / "calls"
        file.write_bytes(script.encode("utf-8", "surrogateescape"))
        calls.write_bytes(b"")
        known = {**os.environ, "PATH": f"{self.directory}:/usr/bin:/bin", "XE_CALLS": str(calls)}
        argv = ["/bin/sh", str(file)]
        subprocess.run(["/bin/sh", "-n", str(file)], check=True)
        done = subprocess.run(
            argv, env={**known, **environment}, cwd=self.directory, stderr=subprocess.PIPE
        )
        lines = calls.read_bytes().decode("utf-8", "surrogateescape").split("\n")[:-1]
        found = []
        while lines:
            count = int(lines.pop(0))
            found.append(lines[:count])
            del lines[:count]
        return found, done.returncode, done.stderr.decode()


@pytest.fixture(scope="module")
def xe(tmp_path_factory: pytest.TempPathFactory) -> FakeXe:
    return FakeXe(tmp_path_factory.mktemp("xe"))


def test_xe_changes_how_the_vm_boots(xe: FakeXe) -> None:
    calls, status, _ = xe.run(emit(changed(pvshim=True, type="pvh"), "xe"))
    assert status == 0
    assert calls == [
        ["vm-param-get", f"uuid={UUID}", "param-name=power-state"],
        ["vbd-list", f"vm-uuid={UUID}", "type=Disk", "--minimal"],
        ["vbd-param-set", "uuid=boot-vbd", "bootable=false"],
        ["vbd-param-set", "uuid=other-vbd", "bootable=false"],
        ["vbd-list", f"vm-uuid={UUID}", "userdevice=0", "--minimal"],
        ["vbd-param-set", "uuid=boot-vbd", "bootable=true"],
        *(
            ["vm-param-set", f"uuid={UUID}", word]
            for word in (
                "HVM-boot-policy=", "PV-bootloader=pygrub", "PV-bootloader-args=", "PV-kernel=",
                "PV-ramdisk=", "PV-args=", "domain-type=pv_in_pvh",
            )
        ),
    ]  # fmt: skip


def test_xe_changes_nothing_of_a_vm_that_runs_or_is_not_certain(xe: FakeXe) -> None:
    calls, status, said = xe.run(emit(BIFIT, "xe"), XE_STATE="running")
    assert (status, said) == (1, "the VM is running: shut it down first\n")
    assert not any(call[0].endswith("-set") for call in calls)
    for found in ("", "one,two"):
        calls, status, said = xe.run(emit(changed(uuid=""), "xe"), XE_VMS=found)
        assert status == 1 and "there is not one VM of the name bifit" in said
        assert [call[0] for call in calls] == ["vm-list"]


@settings(max_examples=40)
@given(domu=domus())
def test_a_shell_reads_back_the_model(domu: DomU, xe: FakeXe) -> None:
    config = made(domu, "xe")
    if config is None:
        return
    calls, status, said = xe.run(config, XE_VMS="found-by-name")
    assert (status, said) == (0, "")
    vm = domu.uuid or "found-by-name"
    if not domu.uuid:
        assert calls[0] == [
            "vm-list", "is-control-domain=false", f"name-label={domu.name}", "--minimal"
        ]  # fmt: skip
    words = [call for call in calls if call[0] == "vm-param-set"]
    assert all(call[1] == f"uuid={vm}" and len(call) == 3 for call in words)
    found = dict(call[2].split("=", 1) for call in words)
    boot = domu.boot
    direct = boot.method == "direct"
    assert found["PV-args"] == boot.cmdline * direct
    assert found["PV-bootloader"] == "pygrub" * (boot.method == "pygrub")
    assert found["PV-bootloader-args"] == " ".join(boot.args)
    assert found["PV-kernel"] == {
        "pvgrub": placeholders.pvgrub_image(domu),
        "direct": placeholders.copied_out(boot.kernel, boot.guest_kernel, "vmlinuz"),
    }.get(boot.method, "")
    assert not set(os.listdir(xe.directory)) - {"xe", "domu.sh", "calls"}, "no other program ran"


# JSON


@settings(max_examples=40)
@given(domus())
def test_json_is_the_model(domu: DomU) -> None:
    found = json.loads(emit(domu, "json"))
    assert found == {"version": 1, "domain": json.loads(json.dumps(dataclasses.asdict(domu)))}


# What cannot be said


@pytest.mark.parametrize(
    ("changes", "form", "said"),
    [
        ({"disks": (Vbd("xvda", "/srv/a,b"),)}, "xm", "comma in the path"),
        ({"disks": (Vbd("xvda", "/srv/a", format="qed"),)}, "xm", "format qed"),
        ({"disks": (Vbd("xvda", "/srv/\udcff"),)}, "xm", "not UTF-8"),
        ({"disks": (Vbd("xvda", "/srv/\udcff"),)}, "libvirt", "not UTF-8"),
        ({"disks": (Vbd("xvda", "/srv/\uffff"),)}, "libvirt", "libvirt does not keep"),
        ({"disks": (Vbd("xvda", "/srv/\t"),)}, "libvirt", "libvirt does not keep"),
        ({"vifs": (Vif("00:16:3e:01:12:c1", "br+0"),)}, "libvirt", "no bridge of the name"),
        ({"boot": Boot("pygrub", ("--args=a b",))}, "libvirt", "hold spaces"),
        ({"boot": Boot("pygrub", ("--args=a b",))}, "xe", "hold spaces"),
        ({"on_reboot": "coredump-restart"}, "libvirt", "on_reboot cannot be coredump-restart"),
        ({"on_crash": "soft-reset"}, "xm", "on_crash cannot be soft-reset"),
        ({"type": "hvm", "boot": Boot("firmware"), "uefi": True}, "xm", "has no UEFI"),
        ({}, "lxd", "is no form of a config"),
    ],
)
def test_what_a_form_has_no_words_for(changes: dict[str, Any], form: str, said: str) -> None:
    with pytest.raises(PvprepError, match=said):
        emit(changed(**changes), form)


def test_raw_bytes_of_a_path_reach_a_shell(xe: FakeXe) -> None:
    boot = Boot("direct", kernel="/srv/\udcff ' $(touch x)")
    calls, _, _ = xe.run(emit(changed(boot=boot), "xe"))
    assert any(call[2:] == ["PV-kernel=/srv/\udcff ' $(touch x)"] for call in calls)


@pytest.mark.parametrize("text", ["4.17", "4.17.3", "3.2", "4.4.4.4"])
def test_a_release(text: str) -> None:
    assert release(text) == tuple(map(int, text.split(".")[:2]))


@pytest.mark.parametrize("text", ["", "4", "2.0", "5.0", "4.x", "4.17-rc1", "4.17\n", "٤.1"])
def test_what_is_no_release(text: str) -> None:
    with pytest.raises(UsageError, match="not a release"):
        release(text)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_ends_its_last_line(form: str) -> None:
    text = emit(BIFIT, form)
    assert text.endswith("\n") and not text.endswith("\n\n")
