"""The line to xenstore: against the real xenstored, and against one that answers nonsense."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.trees import Running
from tests.unit.xenstored import Xenstored

from pvprep import xenbus
from pvprep.errors import Exit, PvprepError
from pvprep.xenbus import Refused, Xenbus, connect

DOMID = 3
HOME = f"/local/domain/{DOMID}"


@pytest.fixture(scope="module")
def line(xenstored: Xenstored, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Xenbus]:
    xenstored.tree({HOME: "", f"{HOME}/name": "bifit", f"{HOME}/odd": "ü"}, f"n0 r{DOMID}")
    xenstored.tree({f"{HOME}/secret": "x", f"{HOME}/secret/below": "y"}, "n0")
    xenstored.tree({f"{HOME}/data": ""}, f"n{DOMID}")
    xenstored.introduce(DOMID)
    with xenstored.guest(DOMID, tmp_path_factory.mktemp("root")) as guest:
        found = connect(guest)
        assert found is not None
        with found:
            yield found


def test_what_the_guest_may_read(line: Xenbus) -> None:
    assert line.read("name") == line.read(f"{HOME}/name") == "bifit"
    assert line.read("odd") == "ü"
    assert sorted(line.names(HOME)) == ["data", "name", "odd", "secret"]
    assert line.names("name") == []


def test_what_it_may_not_is_as_if_it_were_not_there(line: Xenbus) -> None:
    assert line.read("secret") is line.read("secret/below") is line.read("none") is None
    assert line.names("secret") == line.names("none") == []


def test_it_writes_where_it_may(line: Xenbus, xenstored: Xenstored) -> None:
    line.write("data/a/b", "x \udcff")
    assert line.read("data/a/b") == "x \udcff"
    assert xenstored.dom0("read", "-R", f"{HOME}/data/a/b") == "x \udcff"
    line.remove("data/a")
    line.remove("data/a")
    assert line.names("data") == []
    with pytest.raises(Refused, match="name: EACCES"):
        line.write("name", "other")
    assert line.read("name") == "bifit"


def test_more_than_fits_into_the_ring_comes_in_pieces(
    line: Xenbus, xenstored: Xenstored
) -> None:
    line.write("data/long", "x" * 1900)
    assert line.read("data/long") == "x" * 1900
    xenstored.tree({f"{HOME}/longer": "y" * 4000}, f"n0 r{DOMID}")
    assert line.read("longer") == "y" * 4000


@pytest.mark.parametrize(("size", "why"), [(2048, "ENOSPC"), (5000, "E2BIG")])
def test_xenstore_has_limits(line: Xenbus, size: int, why: str) -> None:
    with pytest.raises(Refused, match=why) as refused:
        line.write("data/large", "x" * size)
    assert (refused.value.name, refused.value.status) == (why, Exit.NOT_READY)


@pytest.mark.parametrize("path", ["", "data//x", "a b", "\n"])
def test_a_path_that_is_none(line: Xenbus, path: str) -> None:
    with pytest.raises(Refused, match="EINVAL"):
        line.read(path)


def test_where_there_is_no_xenstore(tmp_path: Path) -> None:
    assert connect(Running(str(tmp_path))) is None


# One that is not what it should be


@contextlib.contextmanager
def fake_xenstored(*answers: bytes) -> Iterator[Xenbus]:
    """Answers every request with these bytes, one piece after the other, then hangs up or waits."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    def serve() -> None:
        theirs.recv(8192)
        for answer in answers:
            theirs.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with Xenbus(ours.detach()) as line:
            yield line
    finally:
        thread.join()
        theirs.close()


def message(kind: int, number: int, body: bytes) -> bytes:
    return struct.pack("=IIII", kind, number, 0, len(body)) + body


def test_events_and_late_answers_are_passed_over() -> None:
    event, late = message(15, 0, b"data\0x\0"), message(2, 0, b"old")
    whole = event + late + message(2, 1, b"new")
    with fake_xenstored(*(whole[n : n + 1] for n in range(len(whole)))) as line:
        assert line.read("x") == "new"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (struct.pack("=IIII", 2, 1, 0, 4097), "too long"),
        (message(16, 1, b"EIO\0"), "x: EIO"),
        (message(16, 1, b"\xff"), "refuses x"),
        (b"", "nothing for"),
        (struct.pack("=IIII", 2, 1, 0, 9) + b"half", "nothing for"),
    ],
)
def test_an_answer_that_is_none(monkeypatch: pytest.MonkeyPatch, answer: bytes, why: str) -> None:
    monkeypatch.setattr(xenbus, "WAIT", 0.2)
    with fake_xenstored(answer) as line, pytest.raises(PvprepError, match=why):
        line.read("x")


def test_one_that_is_gone() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with Xenbus(ours.detach()) as line, pytest.raises(PvprepError, match="Broken pipe"):
        line.read("x")
