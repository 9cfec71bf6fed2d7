"""What a guest's fstab names, found among what lies on its disks."""

from __future__ import annotations

import pytest

from pvprep.errors import PvprepError
from pvprep.facts import Disk, Layout, Partition
from pvprep.images import roots
from pvprep.images.stack import Node
from pvprep.images.tables import Content
from pvprep.images.volumes import Range, Volume

VOLUME = Volume.of(Range("disk", 0, 1 << 20))


def node(kind: str, part: str, fstype: str = "ext4", uuid: str = "", **more: object) -> Node:
    content = Content(fstype, uuid, str(more.pop("label", "")))
    return Node(VOLUME, kind, (part,), content, **more)  # type: ignore[arg-type]


NODES = (
    node("part", "disk0p1", uuid="AA-1", label="boot", partuuid="5b1f17c1-01"),
    node("part", "disk0p2", uuid="aa-2", label="my root", partlabel="root"),
    node("part", "disk0p5", "swap", uuid="aa-5"),
    node("part", "disk1p1", "xfs", uuid="aa-6"),
    node("lvm", "disk1p2", uuid="aa-7", paths=("/dev/mapper/vg-a--b", "/dev/vg/a-b")),
    node("raid1", "disk1p3", uuid="aa-8", paths=("/dev/md/0", "/dev/md0"), containers=("1:2:3:4",)),
    node("crypt", "disk1p4", uuid="aa-9", containers=("luks-1", "disk1p4")),
)
LAYOUT = Layout(
    tuple(
        Disk(f"disk{at}", partitions=tuple(Partition(f"disk{at}p{number}", number) for number in
                                           numbers))
        for at, numbers in enumerate([(1, 2, 5), (1, 2, 3, 4)])
    ),
    (),
)  # fmt: skip
SAID: list[str] = []


def found(line: str, root: str = "UUID=aa-2", **files: str) -> list[roots.Wanted]:
    texts = {"/etc/fstab": f"{root} / ext4 x 0 1\n{line}\n", **files}
    SAID.clear()
    return roots.wanted(roots.Root(NODES[1], texts), LAYOUT, NODES, SAID.append)


@pytest.mark.parametrize(
    ("device", "part"),
    [
        ("UUID=aa-1", "disk0p1"),
        ('UUID="AA-1"', "disk0p1"),
        ("LABEL=boot", "disk0p1"),
        ("PARTUUID=5B1F17C1-01", "disk0p1"),
        ("/dev/disk/by-uuid/AA-1", "disk0p1"),
        ("/dev/disk/by-partuuid/5b1f17c1-01", "disk0p1"),
        ("/dev/sda1", "disk0p1"),
        ("/dev/sdb1", "disk1p1"),
        ("/dev/vg/a-b", "disk1p2"),
        ("/dev/mapper/vg-a--b", "disk1p2"),
        ("/dev/md0", "disk1p3"),
        ("/dev/md/0", "disk1p3"),
        ("/dev/md127", "disk1p3"),
        ("/dev/mapper/secret", "disk1p4"),
    ],
)
def test_every_way_to_name_a_file_system(device: str, part: str) -> None:
    files = {
        "/etc/mdadm.conf": "ARRAY /dev/md127 metadata=1.2 UUID=1:2:3:4\n",
        "/etc/crypttab": "secret UUID=luks-1 none luks\n",
    }
    (_, row) = found(f"{device} /boot auto defaults", **files)
    assert (row.target, row.device, row.node.parts) == ("/boot", device, (part,))


@pytest.mark.parametrize("source", ["UUID=luks-1", "/dev/sdb4", "/dev/disk/by-uuid/luks-1"])
def test_a_container_by_what_crypttab_names(source: str) -> None:
    files = {"/etc/crypttab": f"secret {source} none luks\n"}
    (_, row) = found("/dev/mapper/secret /var ext4 x", **files)
    assert row.node.kind == "crypt"


@pytest.mark.parametrize(
    ("root", "device"),
    [
        ("/dev/hda2", "/dev/hdb1"), ("/dev/vda2", "/dev/vdb1"), ("/dev/xvda2", "/dev/xvdb1"),
        ("/dev/hda2", "/dev/hdc1"),
    ],
)  # fmt: skip
def test_disks_by_the_names_of_every_driver(root: str, device: str) -> None:
    (_, row) = found(f"{device} /usr xfs x", root)
    assert row.node.parts == ("disk1p1",)


@pytest.mark.parametrize(
    "line",
    [
        "/dev/sda5 none swap sw", "UUID=aa-5 swap swap sw", "srv:/usr /usr nfs x",
        "//srv/x /usr cifs x", "tmpfs /var tmpfs x", "proc /proc proc x", "/usr /var none bind",
        "UUID=aa-6 /var xfs noauto", "UUID=aa-6 /home xfs x", "UUID=aa-6 /srv/data xfs x",
        "# UUID=aa-6 /usr xfs x", "UUID=aa-6 /boot2 xfs x", "short", "",
    ],
)  # fmt: skip
def test_what_is_not_mounted(line: str) -> None:
    assert [row.target for row in found(line)] == ["/"]
    assert SAID == []


def test_mounts_are_in_the_order_in_which_they_nest() -> None:
    rows = found("UUID=aa-6 /var/lib xfs x\nLABEL=boot /boot/ ext4 x\nUUID=aa-7 /var ext4 x")
    assert [row.target for row in rows] == ["/", "/boot", "/var", "/var/lib"]


@pytest.mark.parametrize("target", ["/boot", "/usr", "/var", "/var/lib", "/etc"])
def test_what_a_guest_cannot_do_without_is_an_error(target: str) -> None:
    with pytest.raises(PvprepError, match=rf"UUID=zz \({target}\) is not on these disks"):
        found(f"UUID=zz {target} ext4 x")


def test_others_are_said() -> None:
    found("UUID=zz /var/log ext4 x")
    assert SAID == ["/etc/fstab: UUID=zz (/var/log) is not on these disks; it is left out"]


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("UUID=zz", r"UUID=zz \(/\) is not on these disks"),
        ("UUID=aa-6", "has UUID=aa-6 as root, which is disk1p1"),
    ],
)
def test_a_root_that_is_another_is_an_error(root: str, message: str) -> None:
    with pytest.raises(PvprepError, match=message):
        found("", root)


def test_a_root_by_its_hardware_is_taken_for_what_it_is() -> None:
    assert found("", "/dev/disk/by-id/ata-QEMU-part2")[0].node == NODES[1]


def test_a_name_that_two_have_is_an_error() -> None:
    twice = (*NODES, node("part", "disk1p9", uuid="aa-1"))
    root = roots.Root(NODES[1], {"/etc/fstab": "UUID=aa-1 /boot ext4 x\n"})
    with pytest.raises(PvprepError, match="UUID=aa-1 is the name of disk0p1 and disk1p9"):
        roots.wanted(root, LAYOUT, twice, SAID.append)
