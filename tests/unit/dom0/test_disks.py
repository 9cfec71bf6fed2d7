"""Our reader of disks takes what xlu_disk_parse takes, and reads the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from tests.unit.domu import xen_tools

from pvprep_dom0 import disks
from pvprep_dom0.disks import DiskError

_WORDS = st.sampled_from(
    ["/dev/vg/a", "/srv/a b", "raw", "qcow2", "vhd", "empty", "", "xvda", "hdc:cdrom", "xvda:disk",
     "xvdb:", ":", "x:y", "r", "w", "rw", "ro", "format=raw", "format=", "format=vhd", "format=x",
     "vdev=xvda", "vdev=", "access=r", "access=rw", "access=x", "backendtype=phy",
     "backendtype=qdisk", "backend=other", "script=block-x", "cdrom", "devtype=cdrom",
     "devtype=disk", "devtype=x", "cdromx", "target=/a,b=c,", "target=", "target", "foo=bar", "=",
     "phy:/dev/x", "file:/x", "tap:aio:/x", "tap2:tapdisk:/x", "raw:/x", "qcow:/x", "iscsi:iqn",
     "drbd:r", "nbd:h", "enbd:h", "ioemu:/x", "vbd:/x", "phy:", "FORMAT=raw", "phy:phy:/x",
     "xvda:,", "file:raw:/x", "é", "\udcff"]
)  # fmt: skip
# No newline, at which libxlutil may end the process; no config with one passes (config.control).
_BLANKS = st.sampled_from(["", "", " ", "  ", "\t"])
specs = st.lists(st.tuples(_BLANKS, _WORDS, _BLANKS).map("".join), max_size=6).map(",".join)


def theirs(spec: str) -> Any:
    try:
        return xen_tools.disk(spec)
    except xen_tools.XlError:
        return None


@settings(max_examples=300)
@given(specs)
@example("phy:/dev/vg/a,xvda,w")
@example(",hdc:cdrom,r")
@example(",,hdc:cdrom,r")
@example("/dev/cdrom,,hdc,r,cdrom")
@example("/srv/a,enbd:xvda,w")
@example("vdev=xvda,target=/a,,")
@example("vdev=xvda,vdev=xvda,target=/a")
def test_as_libxlutil(spec: str) -> None:
    found = theirs(spec)
    try:
        ours = disks.parse(spec)
    except DiskError:
        assert found is None
        return
    assume(not ours.options)  # releases of Xen differ, so that none of them passes
    assert found is not None
    assert found.get("target", "") == (ours.target or "")
    assert found.get("vdev", "") == ours.vdev
    assert found["format"] == ours.format
    assert bool(found["readwrite"]) == ours.writable
    assert found.get("script", "") == ours.script
    assert found.get("backend_domname", "") == ours.backend
    assert bool(found.get("cdrom")) == ours.cdrom


@pytest.mark.parametrize(
    ("spec", "options"),
    [
        ("vdev=xvda,direct-io-safe,target=/a", ("direct-io-safe",)),
        ("vdev=xvda,discard,no-discard,target=/a", ("discard", "no-discard")),
        ("vdev=xvda,colo-host=x,colo,target=/a", ("colo-host", "colo")),
        ("vdev=xvda,untrusted,grant_usage=1,target=/a", ("untrusted", "grant_usage")),
        ("vdev=xvda,specification=virtio,target=/a,discard", ("specification",)),
    ],
)
def test_options_are_told(spec: str, options: tuple[str, ...]) -> None:
    assert disks.parse(spec).options == options
