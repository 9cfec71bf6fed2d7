"""What dom0 finds in the real xenstore, and what it never does: half a config."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.trees import Running
from tests.unit.xenstored import Xenstored

from pvprep import handover
from pvprep.errors import PvprepError
from pvprep.guest import Guest
from pvprep.xenbus import Xenbus

DOMID = 4
DATA = f"/local/domain/{DOMID}/data"
ENTRY: dict[str, Any] = {
    "boot": "b5f1", "time": "2025-01-01T00:00:00Z", "kernel": "6.1", "as": "pv",
    "hypervisor": "Xen 4", "root": "/dev/xvda1", "swap": [], "network": {"ens3": ["10.0.0.2"]},
    "console": "hvc0", "login": True, "up": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def guest(xenstored: Xenstored, tmp_path_factory: pytest.TempPathFactory) -> Any:
    xenstored.tree({f"/local/domain/{DOMID}": ""}, f"n0 r{DOMID}")
    xenstored.tree({DATA: ""}, f"n{DOMID}")
    xenstored.introduce(DOMID)
    with xenstored.guest(DOMID, tmp_path_factory.mktemp("root")) as running:
        yield running


def fetched(xenstored: Xenstored) -> tuple[str, bytes]:
    """The format and the config, read as the description has it."""
    ready = json.loads(xenstored.dom0("read", f"{DATA}/pvprep/config/ready"))
    assert ready["version"] == 1
    pieces = [
        xenstored.dom0("read", f"{DATA}/pvprep/config/{n}").rstrip("\n")
        for n in range(ready["pieces"])
    ]
    config = base64.b64decode("".join(pieces), validate=True)
    assert (len(config), hashlib.sha256(config).hexdigest()) == (ready["bytes"], ready["sha256"])
    return ready["format"], config


@pytest.mark.parametrize("config", [b'name = "x"\n', b"", bytes(range(256)) * 256, b"x" * 768])
def test_dom0_finds_the_config(guest: Running, xenstored: Xenstored, config: bytes) -> None:
    handover.check(guest)
    handover.leave_config(guest, b"an older one" * 999, "xm")
    handover.leave_config(guest, config, "xl")
    assert fetched(xenstored) == ("xl", config)


def test_a_kill_at_any_write_leaves_none_or_all_of_it(
    guest: Running, xenstored: Xenstored, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Xenbus.write
    for at in range(4):
        handover.leave_config(guest, b"the old one", "xl")
        left = at

        def killed(line: Xenbus, path: str, value: str) -> None:
            nonlocal left
            if not left:
                raise KeyboardInterrupt
            left -= 1
            real(line, path, value)

        monkeypatch.setattr(Xenbus, "write", killed)
        if at < 3:  # two pieces and what says that they are all
            with pytest.raises(KeyboardInterrupt):
                handover.leave_config(guest, b"x" * 1200, "xl")
            assert "ready" not in xenstored.dom0("ls", f"{DATA}/pvprep")
        else:
            handover.leave_config(guest, b"x" * 1200, "xl")
            assert fetched(xenstored) == ("xl", b"x" * 1200)
        monkeypatch.undo()


def test_it_has_to_fit(guest: Running) -> None:
    with pytest.raises(PvprepError, match="65536 at most"):
        handover.leave_config(guest, b"x" * 65537, "xl")


def test_a_boot_is_reported(guest: Running, xenstored: Xenstored) -> None:
    handover.report_boot(guest, ENTRY)
    assert json.loads(xenstored.dom0("read", f"{DATA}/pvprep/boot")) == {
        "version": 1, "boot": "b5f1", "as": "pv", "kernel": "6.1", "root": "/dev/xvda1",
        "network": ["ens3"], "console": "hvc0", "login": True, "up": True,
    }  # fmt: skip


def test_without_xenstore(tmp_path: Path) -> None:
    handover.report_boot(Running(str(tmp_path)), ENTRY)
    for guest in (Running(str(tmp_path)), Guest(str(tmp_path))):
        with pytest.raises(PvprepError, match="cannot be reached"):
            handover.check(guest)
