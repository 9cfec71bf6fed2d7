"""Domains that have a disk, as the real xenstored tells dom0."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.unit.xenstored import Xenstored
from tests.unit.xenstored.domains import disk, hvm

from pvprep.images import inuse
from pvprep.xenbus import connect

DOMAIN, READER = 7001, 7002  # the second stands for dom0, which may read all


def test_a_domain_is_named_with_what_it_has(
    xenstored: Xenstored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [tmp_path / name for name in ("a.img", "b.qcow2", "closed.img", "other.img")]
    for image in images:
        image.write_bytes(b"")
    (tmp_path / "link").symlink_to(images[0])
    null = os.stat("/dev/null").st_rdev  # a device with a number; what is behind does not matter
    drbd = {"physical_device": f"{os.major(null):x}:{os.minor(null):x}"}
    hvm(
        xenstored, DOMAIN,
        {
            768: disk("phy", str(tmp_path / "link"), "hda"),
            832: disk("qdisk", f"qcow2:{images[1]}", "hdb"),
            5632: disk("phy", str(images[2]), "hdc", state="6"),
            5696: disk("phy", "drbd-resource", "hdd", **drbd),
        },
        {},
    )  # fmt: skip
    hvm(xenstored, READER, {}, {})
    for path in ("/local/domain/0/backend", f"/local/domain/{DOMAIN}"):
        xenstored.dom0("chmod", "-r", path, "n0", f"r{READER}")

    def who(path: Path) -> list[str]:
        with xenstored.guest(READER, tmp_path) as dom0:
            monkeypatch.setattr(inuse, "connect", lambda _guest: connect(dom0))
            return list(inuse._xen(str(path), os.stat(path)))

    told = [f"it is a disk of domain {DOMAIN} (bifit)"]
    assert [who(image) for image in images] == [told, told, [], []]
    assert who(Path("/dev/null")) == told
