"""What cannot be built is refused when the model is made."""

from __future__ import annotations

import dataclasses
from typing import Any, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.domu.strategies import words

from pvprep.domu.model import Boot, DomU, Vbd, Vif, safe_name
from pvprep.errors import PvprepError, UsageError

MAC = "00:16:3e:01:12:c1"
CD = Vbd("hdc", "", access="r", cdrom=True)
UUID = "dac2f702-0ded-4c78-beb8-ae4b78370bf5"


def domu(**changes: Any) -> DomU:
    return dataclasses.replace(DomU("bifit", disks=(Vbd("xvda"),)), **changes)


@given(st.one_of(words, st.text("0123456789.-", max_size=80)))
def test_any_host_name_makes_a_name(hostname: str) -> None:
    assert domu(name=safe_name(hostname)).name


@pytest.mark.parametrize(
    ("hostname", "name"),
    [
        ("bifit", "bifit"),
        ("bifit.example.org", "bifit.example.org"),
        ("Web_01+a", "Web_01+a"),
        ("-x y/../z\n", "x-y-..-z"),
        ("4711", "guest-4711"),
        ("١٢٣", "guest"),
        ("", "guest"),
        ("...", "guest"),
        ("a" * 99, "a" * 63),
        ("1" * 99, "guest-" + "1" * 57),
    ],
)
def test_safe_name(hostname: str, name: str) -> None:
    assert safe_name(hostname) == name


@pytest.mark.parametrize(
    ("make", "words_of_it"),
    [
        (lambda: domu(name=""), "not a name for a domain"),
        (lambda: domu(name="12"), "not a name for a domain"),
        (lambda: domu(name="a\n"), "not a name for a domain"),
        (lambda: domu(name="../x"), "not a name for a domain"),
        (lambda: domu(name="a" * 64), "not a name for a domain"),
        (lambda: domu(type="qemu"), "pv, pvh, hvm"),
        (lambda: domu(type="hvm"), "hvm does not boot by pygrub"),
        (lambda: domu(boot=Boot("firmware")), "pv does not boot by firmware"),
        (lambda: domu(disks=(Vbd("sda"),)), "not a virtual disk that a PV guest"),
        (lambda: domu(disks=(CD,)), "not a virtual disk that a PV guest"),
        (lambda: Vbd("hdc", cdrom=True), "can be read only"),
        (lambda: Vif(MAC, rate="10MB/s"), "rate of an interface"),
        (lambda: Vif(MAC, model="ne2k"), "model of a network card"),
        (lambda: domu(memory_mib=0), "memory in MiB is 0"),
        (lambda: domu(memory_mib=10**30), "memory in MiB"),
        (lambda: domu(memory_mib=512, maxmem_mib=511), "maxmem, 511 MiB, is less"),
        (lambda: domu(vcpus=0), "number of vcpus is 0"),
        (lambda: domu(vcpus=-1), "number of vcpus is -1"),
        (lambda: domu(on_crash="reboot"), "rename-restart"),
        (lambda: domu(on_poweroff=""), "rename-restart"),
        (lambda: domu(on_reboot="destroy\n"), "rename-restart"),
        (lambda: domu(pvshim=True), "pvshim is for the type pvh"),
        (lambda: domu(boot=Boot("grub")), "pygrub, pvgrub, direct"),
        (lambda: domu(boot=Boot("pygrub", args=("--output=/etc/passwd",))), "--output"),
        (lambda: domu(boot=Boot("pygrub", args=("--args=a\nb",))), "U+000A"),
        (lambda: domu(boot=Boot("pvgrub", image="grub.bin")), "image of pvgrub"),
        (lambda: domu(boot=Boot("direct", kernel="vmlinuz")), "kernel is 'vmlinuz'"),
        (lambda: domu(boot=Boot("direct", ramdisk="/a\0")), "U+0000"),
        (lambda: domu(boot=Boot("direct", cmdline='ro\nkernel="/x"')), "U+000A"),
        (lambda: domu(boot=Boot("direct", guest_kernel="/boot/a\nb")), "U+000A"),
        (lambda: domu(boot=Boot("direct", guest_ramdisk="/boot/a\nb")), "U+000A"),
        (lambda: Vif(MAC, bridge="xenbr0,script=/x"), "name of a bridge"),
        (lambda: Vif(MAC, bridge="a b"), "name of a bridge"),
        (lambda: Vbd("xvda", target="phy:/dev/vg/x"), "without `phy:`"),
        (lambda: Vbd("xvda", target="vg/x"), "absolute path"),
        (lambda: Vbd("xvda", target=""), "absolute path"),
        (lambda: Vbd("xvda", target="/"), "absolute path"),
        (lambda: Vbd("xvda", target="/dev/x,"), "absolute path"),
        (lambda: Vbd("xvda", format="vmdk"), "format of xvda"),
        (lambda: Vbd("xvda", access="w"), "access to xvda"),
    ],
)
def test_what_an_operator_may_get_wrong(make: Callable[[], object], words_of_it: str) -> None:
    with pytest.raises(PvprepError) as refused:
        make()
    assert words_of_it in f"{refused.value.message}: {refused.value.hint}"
    assert refused.value.hint


@pytest.mark.parametrize(
    "mac",
    [
        "",
        "00:16:3e:01:12",
        "00:16:3e:01:12:c1:00",
        "0:16:3e:01:12:c1",
        "00-16-3e-01-12-c1",
        "00:16:3e:01:12:g1",
        "01:16:3e:01:12:c1",
        "ff:ff:ff:ff:ff:ff",
        "00:00:00:00:00:00",
        "00:16:3e:01:12:c1,script=/bin/sh",
        "00:16:3e:01:12:c1\n",
        "٠٠:16:3e:01:12:c1",
    ],
)
def test_only_the_address_of_one_interface_is_a_mac(mac: str) -> None:
    with pytest.raises(PvprepError, match="MAC"):
        Vif(mac)


@pytest.mark.parametrize(
    "vdev", ["", "sdq", "xvd", "xvdA", "xvda1", "xvdaaa", "hde", "hda1", "xvda\n"]
)
def test_only_virtual_disks_are_vdevs(vdev: str) -> None:
    with pytest.raises(PvprepError, match="virtual disk"):
        Vbd(vdev)


@pytest.mark.parametrize("name", ["../sda", "a/../b", "/sda", "cciss/", "a b", "a\n", "a/b/c"])
def test_a_placeholder_stays_in_its_directory(name: str) -> None:
    with pytest.raises(PvprepError, match="name of a disk"):
        Vbd("xvda", guest_name=name)


@pytest.mark.parametrize(
    "uuid", ["x", "dac2f702-0ded-4c78-beb8-ae4b78370bf", "dac2f702" * 4, UUID + "\n"]
)
def test_a_uuid_is_a_uuid(uuid: str) -> None:
    with pytest.raises(PvprepError, match="UUID"):
        domu(uuid=uuid)


def test_disks_have_letters_of_their_own() -> None:
    with pytest.raises(PvprepError, match="both be xvda in the guest"):
        domu(disks=(Vbd("xvda"), Vbd("hda")))


@pytest.mark.parametrize("method", ["pygrub", "pvgrub"])
def test_a_boot_loader_needs_a_disk(method: str) -> None:
    with pytest.raises(PvprepError, match="there is none"):
        DomU("bifit", boot=Boot(method))
    assert DomU("bifit", boot=Boot("direct")).disks == ()


def test_hvm_has_other_disks() -> None:
    disks = (Vbd("hda"), Vbd("sda"), Vbd("xvda"), CD)
    assert domu(type="hvm", boot=Boot("firmware"), disks=disks).disks == disks
    with pytest.raises(PvprepError, match="both be hda"):
        domu(type="hvm", boot=Boot("firmware"), disks=(Vbd("hda"), Vbd("hda")))


def test_options_are_wrong_usage_and_facts_are_not() -> None:
    with pytest.raises(UsageError):
        domu(memory_mib=0)
    with pytest.raises(PvprepError) as refused:
        Vif("x")
    assert not isinstance(refused.value, UsageError)
