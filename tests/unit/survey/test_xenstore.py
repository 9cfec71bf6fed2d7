"""What a guest learns of itself from the real xenstored, written as toolstacks write it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.unit.trees import Running
from tests.unit.xenstored import Xenstored
from tests.unit.xenstored.domains import UUID, disk, hvm, nic

from pvprep import xenbus
from pvprep.facts import BlockBackend, NetBackend, Xenstore
from pvprep.guest import Guest
from pvprep.survey.xenstore import xenstore

MAC = "00:16:3e:01:12:c1"
DOMIDS = itertools.count(100)


def asked(xenstored: Xenstored, root: Path, *devices: Mapping[int, Any], **more: Any) -> Xenstore:
    domid = next(DOMIDS)
    disks, nics = devices if devices else ({}, {})
    hvm(xenstored, domid, disks, nics, **more)
    with xenstored.guest(domid, root) as guest:
        found = xenstore(guest)
    assert found is not None and found.domid == domid
    return found


def test_a_domain_of_xl(xenstored: Xenstored, tmp_path: Path) -> None:
    found = asked(
        xenstored, tmp_path,
        {
            768: disk("phy", "/dev/drbd/bifit", "hda", sectors="41943040", sector_size="512"),
            832: disk("qdisk", "qcow2:/srv/a b.qcow2", "hdb", mode="r"),
            5632: disk("qdisk", "aio:", "hdc", cdrom=True),
        },
        {0: nic(MAC.upper(), "xenbr4", rate="62500,50000")},
    )  # fmt: skip
    domid = found.domid
    assert (found.name, found.uuid, found.vcpus) == ("bifit", UUID, 2)
    assert (found.memory_mib, found.maxmem_mib) == (1024, None)
    assert found.problem == ""
    back = f"/local/domain/0/backend/{{}}/{domid}/{{}}".format
    block = "/etc/xen/scripts/block"
    assert found.disks == (
        BlockBackend(
            768, back("vbd", 768), "phy", "/dev/drbd/bifit", "w", "disk", block, 20 * 1024**3
        ),
        BlockBackend(832, back("qdisk", 832), "qdisk", "qcow2:/srv/a b.qcow2", "r", "disk"),
        BlockBackend(5632, back("qdisk", 5632), "qdisk", "aio:", "r", "cdrom"),
    )
    assert found.nics == (
        NetBackend(MAC, back("vif", 0), "xenbr4", "/etc/xen/scripts/vif-bridge", "62500,50000"),
    )


def test_what_the_guest_may_not_read_is_unknown(xenstored: Xenstored, tmp_path: Path) -> None:
    devices = {768: disk("phy", "/dev/vg/x", "hda")}, {0: nic(MAC, "xenbr0")}
    found = asked(xenstored, tmp_path, *devices, hidden=True)
    assert [(one.params, one.type, one.device_type) for one in found.disks] == [("", "", "disk")]
    assert [(one.mac, one.bridge) for one in found.nics] == [(MAC, "")]


@pytest.mark.parametrize(
    ("memory", "known"),
    [
        ({"static-max": "524288", "target": "520192", "videoram": "4096"}, (512, None)),
        # libxl takes a MiB more off where maxmem is more (LIBXL_MAXMEM_CONSTANT).
        ({"static-max": "1048576", "target": "519168", "videoram": "4096"}, (512, 1024)),
        ({"static-max": "524288", "target": "524288", "videoram": "-1"}, (512, None)),
        ({"static-max": "1048576", "target": "524288"}, (512, 1024)),
        ({"target": "524288"}, (512, None)),
        ({"target": "500000"}, (489, None)),
        ({"target": "lots", "static-max": "524288"}, (None, None)),
        ({"static-max": "524288"}, (None, None)),
    ],
)
def test_memory_is_what_the_configuration_had(
    xenstored: Xenstored, tmp_path: Path, memory: dict[str, str], known: Any
) -> None:
    found = asked(xenstored, tmp_path, memory=memory)
    assert (found.memory_mib, found.maxmem_mib) == known


def test_a_domain_with_nothing(xenstored: Xenstored, tmp_path: Path) -> None:
    domid = next(DOMIDS)
    xenstored.tree({f"/local/domain/{domid}": ""}, f"n0 r{domid}")
    xenstored.introduce(domid)
    with xenstored.guest(domid, tmp_path) as guest:
        assert xenstore(guest) == Xenstore()


@pytest.mark.parametrize(
    ("vm", "uuid"),
    [(f"/vm/{UUID.upper()}", UUID), (f"/vm/{UUID}-1", UUID), ("/vm/x", ""), (f"/vm/{UUID}x", "")],
)
def test_the_uuid(xenstored: Xenstored, tmp_path: Path, vm: str, uuid: str) -> None:
    domid = next(DOMIDS)
    home = f"/local/domain/{domid}"
    xenstored.tree({home: "", f"{home}/vm": vm, f"{home}/device/vbd/x": ""}, f"n0 r{domid}")
    xenstored.introduce(domid)
    with xenstored.guest(domid, tmp_path) as guest:
        found = xenstore(guest)
    assert found == Xenstore(uuid=uuid)


def test_one_that_does_not_answer(
    xenstored: Xenstored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xenbus, "WAIT", 0.2)
    domid = next(DOMIDS)
    (xenstored.directory / f"ring.{domid}").write_bytes(bytes(4096))  # nobody reads it
    with xenstored.guest(domid, tmp_path) as guest:
        assert xenstore(guest) == Xenstore(problem="xenstore's answer is nothing for 0 s")


def test_a_tree_and_a_guest_of_others_have_none(tmp_path: Path) -> None:
    assert xenstore(Guest(str(tmp_path))) is None
    assert xenstore(Running(str(tmp_path))) is None
