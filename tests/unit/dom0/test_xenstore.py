"""What a guest left in xenstore is read whole, or refused."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.xenstored import Xenstored

from pvprep_dom0 import xenstore
from pvprep_dom0.errors import Dom0Error
from pvprep_dom0.run import Dom0, Done

CONFIG = b'name = "bifit"\n' * 200


class PretendXenstore:
    """Stands for xenstore-read: nodes below domain 7's data/pvprep, and `xl domid`."""

    def __init__(self, data: bytes = CONFIG, **told: Any) -> None:
        text = base64.b64encode(data).decode()
        pieces = [text[at : at + 1024] for at in range(0, len(text), 1024)]
        self.nodes = {f"config/{number}": piece for number, piece in enumerate(pieces)}
        digest = hashlib.sha256(data).hexdigest()
        ready = {
            "version": 1, "format": "xl", "bytes": len(data), "sha256": digest,
            "pieces": len(pieces),
        }  # fmt: skip
        self.nodes["config/ready"] = json.dumps({**ready, **told})
        self.waited = 0

    def run(self, argv: Sequence[str], timeout: float = 60) -> Done:
        if argv[0] == "xl":
            return Done(0, "7\n") if argv[2] == "bifit" else Done(1)
        names = [path.removeprefix("/local/domain/7/data/pvprep/") for path in argv[1:]]
        if not all(name in self.nodes for name in names):
            return Done(1)
        return Done(0, "".join(f"{self.nodes[name]}\n" for name in names))

    def now(self) -> float:
        return 0

    def wait(self, seconds: float) -> None:
        self.waited += 1


def refusal(store: PretendXenstore) -> str:
    with pytest.raises(Dom0Error) as refused:
        xenstore.fetch(store, 7)
    return refused.value.message


@given(st.binary(min_size=1, max_size=5000))
def test_what_was_left_is_read(data: bytes) -> None:
    assert xenstore.fetch(PretendXenstore(data), 7) == xenstore.Handed("xl", data)


def test_the_largest() -> None:
    assert xenstore.fetch(PretendXenstore(b"x" * 65536), 7).data == b"x" * 65536


def test_nothing_was_left() -> None:
    store = PretendXenstore()
    del store.nodes["config/ready"]
    assert "has left no config" in refusal(store)
    assert store.waited == 0


@pytest.mark.parametrize(
    "told",
    [
        {"bytes": 65537}, {"bytes": 0}, {"bytes": -1}, {"bytes": True}, {"bytes": "3000"},
        {"bytes": 10**30}, {"pieces": 86}, {"pieces": 0}, {"pieces": "4"}, {"sha256": "0" * 64},
        {"sha256": None}, {"version": 2}, {"version": None}, {"format": "sh"}, {"format": []},
        {"bytes": 2999}, {"x": "x" * 1024},
    ],
)  # fmt: skip
def test_a_description_that_does_not_fit_is_refused(told: dict[str, Any]) -> None:
    store = PretendXenstore(**told)
    assert "is no config" in refusal(store)
    assert store.waited == 2  # it might have been written anew


@pytest.mark.parametrize("ready", ["", "[]", "1", "{", "[" * 1000, "x" * 5000, "null"])
def test_a_description_that_is_none_is_refused(ready: str) -> None:
    store = PretendXenstore()
    store.nodes["config/ready"] = ready
    assert "is not described" in refusal(store)


@pytest.mark.parametrize(
    "piece", ["", "x", "A" * 1023, "A" * 1025, "A" * 1023 + "\n", "A" * 511 + "\n" + "A" * 512,
              "é" * 1024, "=" * 1024, "A" * 1020 + " \t\r "]
)  # fmt: skip
def test_a_piece_that_does_not_fit_is_refused(piece: str) -> None:
    store = PretendXenstore()
    store.nodes["config/1"] = piece
    assert "is no config" in refusal(store)


def test_what_is_being_rewritten_is_read_in_the_end() -> None:
    store = PretendXenstore()
    piece = store.nodes.pop("config/2")

    def wait(seconds: float) -> None:
        store.nodes["config/2"] = piece

    store.wait = wait  # type: ignore[method-assign]
    assert xenstore.fetch(store, 7).data == CONFIG


@pytest.mark.parametrize(("which", "domid"), [("7", 7), ("0042", 42), ("bifit", 7)])
def test_domains_by_number_and_name(which: str, domid: int) -> None:
    assert xenstore.domid(PretendXenstore(), which) == domid


def test_no_such_domain() -> None:
    with pytest.raises(Dom0Error, match="no domain 'x' runs"):
        xenstore.domid(PretendXenstore(), "x")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "[" * 1000, json.dumps({"version": 1, "up": True}), "x" * 2000,
     json.dumps({"version": 1, "root": 1, "console": "", "kernel": "", "network": []}),
     json.dumps({"version": 1, "root": "", "console": "", "kernel": "", "network": [1]}),
     json.dumps({"version": 2, "root": "", "console": "", "kernel": "", "network": []})],
)  # fmt: skip
def test_a_report_that_cannot_be_understood_is_none(text: str) -> None:
    store = PretendXenstore()
    store.nodes["boot"] = text
    assert xenstore.boot_report(store, 7) is None


def test_devices_are_read_as_the_real_xenstore_has_them(
    xenstored: Xenstored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XENSTORED_RUNDIR", str(xenstored.directory))
    base = "/local/domain/6/device"
    states = {"vbd/51712": "4", "vbd/51728": "4", "vif/0": "2"}
    xenstored.tree({f"{base}/{name}/state": state for name, state in states.items()}, "n6 r0")
    found = {"vbd 51712": True, "vbd 51728": True, "vif 0": False}
    assert xenstore.frontends(Dom0(), 6) == found
    xenstored.dom0("rm", f"{base}/vif")
    assert xenstore.frontends(Dom0(), 6) == {"vbd 51712": True, "vbd 51728": True}
    xenstored.dom0("rm", f"{base}/vbd/51728/state")  # as when it goes away in between
    assert xenstore.frontends(Dom0(), 6) == {"vbd 51712": False, "vbd 51728": False}
    assert xenstore.frontends(Dom0(), 7) == {}
