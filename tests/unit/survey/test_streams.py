"""Bytes read forward: the same as slices of the whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvprep.survey.streams import (
    Part,
    PayloadError,
    Piece,
    Pieces,
    PlainStream,
    Stream,
    open_file,
)

STEPS = st.lists(st.tuples(st.sampled_from(["take", "skip", "zeros"]), st.integers(0, 9000)))


def pieces(content: bytes, size: int) -> Pieces:
    """The content in pieces that all use one buffer, as those of a program's output do."""
    buffer = bytearray(size)
    for at in range(0, len(content), size):
        piece = content[at : at + size]
        buffer[: len(piece)] = piece
        shared: Piece = memoryview(buffer)[: len(piece)]
        yield shared


def walk(stream: Stream, content: bytes, steps: list[tuple[str, int]]) -> None:
    at = 0
    for step, count in steps:
        if step == "take":
            assert stream.take(count) == content[at : at + count]
            at = min(at + count, len(content))
        elif step == "skip":
            assert stream.skip(count) == (at + count <= len(content))
            at = min(at + count, len(content))
        else:
            assert stream.skip_zeros() == any(content[at:])
            at = len(content) - len(content[at:].lstrip(b"\0"))
        assert stream.position == at


CONTENT = st.lists(st.sampled_from([b"\0" * 100, b"a", b"bcd" * 50, b"\0", b"e" * 3000])).map(
    b"".join
)


@given(content=CONTENT, size=st.integers(1, 700), steps=STEPS)
def test_pieces(content: bytes, size: int, steps: list[tuple[str, int]]) -> None:
    walk(Stream(pieces(content, size)), content, steps)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    fd = os.open(tmp_path_factory.mktemp("streams") / "scratch", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


@given(content=CONTENT, start=st.integers(0, 50), steps=STEPS)
def test_plain(scratch: int, content: bytes, start: int, steps: list[tuple[str, int]]) -> None:
    os.ftruncate(scratch, 0)
    os.pwrite(scratch, b"x" * start + content + b"behind", 0)
    walk(PlainStream(Part(scratch, start, start + len(content))), content, steps)


def test_take_at_goes_forward_only() -> None:
    stream = Stream(pieces(b"0123456789", 3))
    assert stream.take_at(2, 4) == b"2345"
    with pytest.raises(PayloadError, match="lies back at byte 5"):
        stream.take_at(5, 1)
    with pytest.raises(PayloadError, match="ends at byte 10, before 14"):
        stream.take_at(8, 6)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "empty").touch()
    for name, words in (
        ("fifo", "a FIFO"),
        (".", "a directory"),
        ("missing", "No such file"),
        ("empty", "the file is empty"),
        ("nul\0", "null byte"),
    ):
        with pytest.raises(PayloadError, match=words):
            open_file(f"{tmp_path}/{name}")
    with pytest.raises(PayloadError, match="a device"):
        open_file("/dev/zero")
