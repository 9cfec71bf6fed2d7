"""Which of dom0's devices is which in the guest, and what the domain becomes of it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.building import ENS3, MAC, SDA, XENLINUX, context, disk, guest, kernel
from tests.unit.domu import xen_tools

from pvprep.domu import backends
from pvprep.domu.build import from_context
from pvprep.domu.emit import emit
from pvprep.domu.model import DomU, Vbd, Vif
from pvprep.facts import BlockBackend, Disk, NetBackend, Nic, Xenstore

UUID = "dac2f702-0ded-4c78-beb8-ae4b78370bf5"
HDA, HDB, HDC, SDA_, XVDA, XVDE = 768, 832, 5632, 2048, 51712, 51776


def vbd(number: int, params: str = "", type: str = "phy", **more: Any) -> BlockBackend:
    more = {"mode": "w", "device_type": "disk", "script": "/etc/xen/scripts/block", **more}
    back = f"/local/domain/0/backend/vbd/7/{number}"
    return BlockBackend(number, back, type, params or f"/dev/vg/{number}", **more)


def cd(number: int = HDC, params: str = "aio:") -> BlockBackend:
    return vbd(number, params, "qdisk", mode="r", device_type="cdrom", script="")


def vif(mac: str = MAC, bridge: str = "xenbr4", **more: Any) -> NetBackend:
    more = {"script": "/etc/xen/scripts/vif-bridge", **more}
    return NetBackend(mac, "/local/domain/0/backend/vif/7/0", bridge, **more)


def store(*disks: BlockBackend, **more: Any) -> Xenstore:
    return Xenstore(disks=disks, **more)


def made(facts: Any = None, store: Any = None, **options: Any) -> DomU:
    return from_context(context(facts or guest(xenstore=store), **options), None)


def test_nothing_is_left_for_the_operator() -> None:
    known = store(
        vbd(HDA, "/dev/drbd/bifit"), domid=7, name="bifit", uuid=UUID, memory_mib=768,
        maxmem_mib=1536, vcpus=3, nics=(vif(rate="62500,50000"),),
    )  # fmt: skip
    domu = made(store=known)
    assert (domu.name, domu.uuid, domu.vcpus) == ("bifit", UUID, 3)
    assert (domu.memory_mib, domu.maxmem_mib) == (768, 1536)
    assert domu.vifs == (Vif(MAC, "xenbr4", "ens3 in the guest", rate="1250000B/s@50000us"),)
    assert domu.disks == (
        Vbd("xvda", "/dev/drbd/bifit", size=SDA.size, guest_name="sda"),
    )
    config = emit(domu)
    assert "REPLACE" not in config
    xen_tools.parse(config)


def test_what_is_asked_for_goes_first() -> None:
    known = store(
        vbd(HDA, "qcow2:/srv/x", "qdisk", mode="r"), name="bifit", memory_mib=768,
        maxmem_mib=1536, vcpus=3, nics=(vif(),),
    )  # fmt: skip
    domu = made(
        store=known, name="other", memory_mib=512, vcpus=1, bridge="br0",
        disk_backends={"sda": "/dev/vg/mine"},
    )  # fmt: skip
    assert (domu.name, domu.memory_mib, domu.maxmem_mib, domu.vcpus) == ("other", 512, None, 1)
    assert domu.vifs[0].bridge == "br0"
    assert domu.disks[0].target == "/dev/vg/mine"
    assert (domu.disks[0].format, domu.disks[0].access) == ("raw", "r")


def test_a_name_that_no_domain_can_have_is_made_one() -> None:
    assert made(store=store(name="../4711")).name == "guest-4711"


def test_without_xenstore_it_is_as_before() -> None:
    domu = made(store=store(problem="it is asleep"))
    assert domu.disks == (Vbd("xvda", size=SDA.size, guest_name="sda"),)
    assert domu.vifs == (Vif(MAC, "", "ens3 in the guest"),)
    assert "xenstore could not be asked: it is asleep" in domu.notes
    assert "xenstore" not in domu.source
    assert "what dom0 wrote into xenstore" in made(store=store()).source


# Which is which


@pytest.mark.parametrize(
    ("names", "numbers", "joined"),
    [
        (["sda"], [HDA], {"sda": HDA}),
        (["hda"], [HDA], {"hda": HDA}),
        (["xvda"], [HDA], {"xvda": HDA}),
        (["xvda"], [XVDA], {"xvda": XVDA}),
        (["xvda"], [SDA_], {"xvda": SDA_}),
        (["xvda", "xvdb"], [HDB, HDA], {"xvda": HDA, "xvdb": HDB}),
        (["sda", "sdb"], [HDA, HDC], {"sda": HDA, "sdb": HDC}),
        (["sda", "sdb"], [HDB, HDA], {"sda": HDA, "sdb": HDB}),
        (["nvme0n1"], [XVDA], {"nvme0n1": XVDA}),
        # sda of Red Hat 6, which its frontend calls xvde.
        (["xvde"], [SDA_], {"xvde": SDA_}),
        (["sda", "xvde"], [HDA, XVDE], {"sda": HDA, "xvde": XVDE}),
        # Two controllers: nobody can say which Linux found first.
        (["sda", "sdb"], [HDA, SDA_], {}),
        (["sda"], [HDA, HDB], {}),
        # The guest sees no emulated disk of the second one.
        (["sda"], [HDA, XVDE], {"sda": HDA}),
        (["sda", "xvde"], [XVDE], {"xvde": XVDE}),
        (["sda", "sdb"], [HDA], {}),
        (["hda"], [HDB], {"hda": HDB}),
        (["sda"], [], {}),
        ([], [HDA], {}),
    ],
)
def test_each_disk_has_its_own_backend(
    names: list[str], numbers: list[int], joined: dict[str, int]
) -> None:
    found = backends.join([Disk(name) for name in names], [*map(vbd, numbers), cd()])
    assert {name: one.number for name, one in found.items()} == joined


def test_another_size_is_another_disk() -> None:
    for size, joined in ((0, 1), (10, 1), (11, 0)):
        assert len(backends.join([Disk("sda", 10)], [vbd(HDA, size=size)])) == joined


def test_partitions_and_reserved_numbers_are_none() -> None:
    for number in (HDA + 1, 2 << 28, 12345):
        assert backends.join([Disk("sda")], [vbd(number)]) == {}


@pytest.mark.parametrize(
    ("backend", "target", "format"),
    [
        (vbd(HDA, "/dev/vg/a,b c"), "/dev/vg/a,b c", "raw"),
        (vbd(HDA, "vg/lv"), "/dev/vg/lv", "raw"),
        (vbd(HDA, "aio:/srv/a:b.img", "qdisk"), "/srv/a:b.img", "raw"),
        (vbd(HDA, "raw:/srv/a", "qdisk"), "/srv/a", "raw"),
        (vbd(HDA, "qcow2:/srv/a", "qdisk"), "/srv/a", "qcow2"),
        (vbd(HDA, "tapdisk:vhd:/srv/a", "tap"), "/srv/a", "vhd"),
        (vbd(HDA, "vhd:/srv/a", "phy", script="block-tap"), "/srv/a", "vhd"),
        (vbd(HDA, "aio:/srv/a", "tap"), "/srv/a", "raw"),
        (vbd(HDA, "/srv/a.img", "file"), "/srv/a.img", "raw"),
        (vbd(HDA, "tap:/srv/a", "tap"), "/srv/a", "raw"),
    ],
)
def test_what_a_disk_is_in_dom0(backend: BlockBackend, target: str, format: str) -> None:
    assert backends.served(backend) == backends.Served(target, format)


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        (BlockBackend(HDA), "does not tell"),
        (vbd(HDA, "aio:", "qdisk"), "does not tell"),
        (vbd(HDA, "bifit", "drbd"), "in xenstore it is drbd bifit"),
        (vbd(HDA, "nbd:localhost", "qdisk"), "in xenstore it is qdisk nbd:localhost"),
        (vbd(HDA, "/srv/x,", "file"), "in xenstore it is file /srv/x,"),
        (vbd(HDA, "iqn=x", script="/etc/xen/scripts/block-iscsi"), "by the script block-iscsi"),
        (vbd(HDA, "/dev/x", script="/tmp/evil"), "by the script evil"),
    ],
)
def test_what_cannot_be_told_is_a_placeholder_with_words(
    backend: BlockBackend, words: str
) -> None:
    (found,) = made(store=store(backend)).disks
    assert found.target is None
    assert words in found.comment
    config = emit(made(store=store(backend)))
    assert "# >>> REPLACE: /dev/REPLACE-ME/sda by the device" in config
    xen_tools.parse(config)


@pytest.mark.parametrize("params", ["/dev/x\nbootloader=", "/dev/x\0", "/dev/\u202e", "/dev/x\\"])
def test_a_path_with_a_trick_is_no_other_key(params: str) -> None:
    known = store(vbd(HDA, params), name="a\nb", nics=(vif(bridge="br0,script=/x\n"),))
    domu = made(store=known)
    assert (domu.disks[0].target is None) == (params != "/dev/x\\")
    assert domu.vifs[0].bridge == "" and "its bridge is br0,script=" in domu.vifs[0].comment
    assert domu.name == "a-b" and any("called a\nb" in note for note in domu.notes)
    keys = [key for key, _ in xen_tools.parse(emit(domu))]
    assert len(keys) == len(set(keys)) and "kernel" not in keys


def test_a_backend_of_a_driver_domain_is_said() -> None:
    far = BlockBackend(HDA, "/local/domain/3/backend/vbd/7/768", "phy", "/dev/x", "w")
    near = NetBackend(MAC, "/local/domain/4/backend/vif/7/0", "br0", "/x/vif-openvswitch")
    domu = made(store=store(far, nics=(near,)))
    assert domu.disks[0].comment == "served by the domain 3, not by dom0: add backend="
    assert domu.vifs[0].comment == (
        "ens3 in the guest, dom0 sets it up by the script vif-openvswitch, "
        "served by the domain 4, not by dom0: add backend="
    )


# More than the guest has seen


def test_a_drive_without_a_medium_is_left_out() -> None:
    domu = made(store=store(vbd(HDA), cd()))
    assert [disk.vdev for disk in domu.disks] == ["xvda"]
    assert "hdc, a CD-ROM drive without a medium, is left out" in domu.notes


def test_a_cd_is_a_disk_that_can_be_read() -> None:
    domu = made(store=store(vbd(HDA), cd(params="aio:/srv/inst.iso")))
    assert domu.disks[1] == Vbd(
        "xvdc", "/srv/inst.iso", access="r", comment="a CD, hdc of the HVM domain"
    )
    assert not any("left out" in note for note in domu.notes)


def test_its_letter_may_be_another_ones() -> None:
    facts = guest(
        disks=(disk("sda"), disk("sdb"), disk("sdc")),
        xenstore=store(vbd(HDA), vbd(HDB), cd(params="aio:/x.iso"), vbd(5696)),
    )
    domu = made(facts)
    assert [(one.vdev, one.target) for one in domu.disks] == [
        ("xvda", "/dev/vg/768"), ("xvdb", "/dev/vg/832"), ("xvdc", "/dev/vg/5696"),
        ("xvdd", "/x.iso"),
    ]  # fmt: skip


def test_disks_that_an_hvm_guest_does_not_see_come_too() -> None:
    domu = made(store=store(vbd(HDA), vbd(XVDE)))
    assert domu.disks[1] == Vbd(
        "xvde", "/dev/vg/51776", comment="a disk that the guest did not see, xvde of the HVM domain"
    )


def test_a_guest_that_names_no_disk() -> None:
    assert made(guest(disks=(), xenstore=store(vbd(HDA)))).disks[0].target == "/dev/vg/768"
    (only,) = made(guest(disks=(), xenstore=store(cd()))).disks
    assert (only.vdev, only.target) == ("xvda", None)


def test_where_one_is_uncertain_none_is_added() -> None:
    domu = made(guest(disks=(disk("sda"),), xenstore=store(vbd(HDA), vbd(HDB))))
    assert [one.target for one in domu.disks] == [None]


def test_interfaces_that_the_guest_did_not_bring_up_come_too() -> None:
    other = "00:16:3e:00:00:02"
    known = store(nics=(vif(other, "br1"), vif(), vif("")))
    assert [(one.mac, one.bridge) for one in made(store=known).vifs] == [
        (MAC, "xenbr4"), (other, "br1"),
    ]  # fmt: skip
    asked = made(store=known, macs=(other,))
    assert [(one.mac, one.bridge) for one in asked.vifs] == [(other, "br1")]


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        ("62500,50000", "1250000B/s@50000us"),
        ("1,3", "333334B/s@3us"),
        ("4294967295,0", ""),
        ("4294967295,1", ""),
        ("0,50000", ""),
        ("x", ""),
        ("", ""),
    ],
)
def test_a_rate_is_what_xl_reads(rate: str, words: str) -> None:
    assert backends.rate(vif(rate=rate)) == words
    if words:
        size, interval = rate.split(",")
        assert xen_tools.rate(words) == (int(size), int(interval))


# Other types, other releases


def test_the_way_back() -> None:
    known = store(vbd(HDA, "/dev/drbd/bifit"), cd(), nics=(vif(),), memory_mib=512)
    domu = made(store=known, type="hvm")
    assert domu.type == "hvm"
    assert domu.disks == (
        Vbd("hda", "/dev/drbd/bifit", size=SDA.size, guest_name="sda"),
        Vbd("hdc", "", access="r", cdrom=True, comment="a CD-ROM drive"),
    )
    assert domu.vifs == (Vif(MAC, "xenbr4", "ens3 in the guest", model="e1000"),)
    assert domu.notes == ()
    domu = made(store=store(vbd(HDA), vbd(XVDE), cd(params="aio:/x.iso")), type="hvm")
    assert [(one.vdev, one.target) for one in domu.disks] == [
        ("hda", "/dev/vg/768"), ("xvde", "/dev/vg/51776"), ("hdc", "/x.iso"),
    ]  # fmt: skip


def test_the_way_back_without_xenstore() -> None:
    names = ("sda", "sdb", "sdc", "sdd", "sde")
    domu = made(guest(disks=[disk(name) for name in names]), type="hvm")
    assert [one.vdev for one in domu.disks] == ["hda", "hdb", "hdc", "hdd", "xvde"]
    assert all(one.target is None for one in domu.disks)
    facts = guest(machine={"firmware": "uefi"}, nics=(Nic("eth0", MAC, "virtio"),))
    assert made(facts, type="hvm").uefi
    assert made(facts, type="hvm").vifs[0].model == ""
    assert not made(facts).uefi


@pytest.mark.parametrize(
    ("bits", "options", "type", "shim"),
    [
        (64, {}, "pv", False),
        (64, {"type": "pvshim"}, "pvh", True),
        (64, {"type": "pvh"}, "pvh", False),
        (32, {}, "pvh", True),
        (32, {"xen": (4, 16)}, "pvh", True),
        (32, {"xen": (4, 15)}, "pv", False),
        (32, {"form": "xm"}, "pv", False),
        (32, {"type": "hvm"}, "hvm", False),
    ],
)
def test_the_shim(bits: int, options: dict[str, Any], type: str, shim: bool) -> None:
    domu = made(guest(kernels=[kernel(proof={"bits": bits})]), **options)
    assert (domu.type, domu.pvshim) == (type, shim)


def test_pvh_is_offered_first() -> None:
    assert made().notes[0].startswith("the kernel boots PVH too")
    assert not any("PVH" in note for note in made(type="pvh").notes)
    assert not any("PVH" in note for note in made(xen=(4, 9)).notes)


def test_xenlinux_keeps_the_old_names() -> None:
    facts = guest(kernels=[XENLINUX], nics=(ENS3,))
    domu = made(facts, xen=(3, 2), form="xm")
    assert [one.vdev for one in domu.disks] == ["hda"]
