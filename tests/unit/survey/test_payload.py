"""Each compression: unpacked whole, its end found, damage told in words."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvprep.guest import ENVIRONMENT
from pvprep.survey import payload
from pvprep.survey.payload import open_stream, sniff
from pvprep.survey.streams import Part, PayloadError, open_file

from .synthetic import COMPRESSIONS, compress

# More than one block of each format; parts that compress well and parts that do not.
LARGE = random.Random(1).randbytes(300_000) + bytes(9_000_000) + random.Random(2).randbytes(70_000)


def part_of(path: Path, content: bytes, start: int = 0) -> Part:
    path.write_bytes(content)
    part = open_file(str(path))
    part.start = start
    return part


def unpack(part: Part, compression: str) -> bytes:
    stream = open_stream(part, compression)
    unpacked = stream.take(1 << 30)
    assert stream.take(1) == b""
    return unpacked


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("content", [b"", b"little", LARGE], ids=["nothing", "little", "large"])
def test_whole_with_its_end(tmp_path: Path, compression: str, content: bytes) -> None:
    packed = compress(content, compression)
    assert sniff(packed) == compression
    part = part_of(tmp_path / "image", b"before" + packed + b"07070 behind", 6)
    assert unpack(part, compression) == content
    assert part.end == 6 + len(packed)


@pytest.mark.parametrize("checks", [["-F"], ["-CC"], ["-CC", "--crc32"], ["-9"]])
def test_lzop_with_its_checksums(tmp_path: Path, checks: list[str]) -> None:
    """Those of a packed block are there only where the block did shrink."""
    packed = subprocess.run(
        ["lzop", "-q", "-c", *checks], input=LARGE, stdout=subprocess.PIPE, check=True
    ).stdout
    part = part_of(tmp_path / "image", packed + b"behind")
    assert unpack(part, "lzo") == LARGE
    assert part.end == len(packed)


def test_what_the_program_says(tmp_path: Path) -> None:
    """A frame that is whole, with a wrong checksum of its content at the end."""
    packed = compress(b"content " * 1000, "zstd")
    part = part_of(tmp_path / "image", packed[:-4] + b"wrong"[:4])
    with pytest.raises(PayloadError, match=r"zstd says: .*checksum"):
        unpack(part, "zstd")


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_cut_off(tmp_path: Path, compression: str) -> None:
    packed = compress(LARGE, compression)
    part = part_of(tmp_path / "image", packed[: len(packed) // 2])
    with pytest.raises(PayloadError, match=f"the {compression} stream at byte 0 is damaged.*cut"):
        unpack(part, compression)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_stopped_early(tmp_path: Path, compression: str) -> None:
    """What reads no further leaves no process behind."""
    stream = open_stream(part_of(tmp_path / "image", compress(LARGE, compression)), compression)
    assert stream.take(1000) == LARGE[:1000]
    stream.close()
    assert stream.take(1) == b""
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.parametrize("compression", ["zstd", "lz4", "lzo"])
def test_missing_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: str) -> None:
    part = part_of(tmp_path / "image", compress(b"content", compression))
    monkeypatch.setitem(ENVIRONMENT, "PATH", str(tmp_path))
    with pytest.raises(PayloadError, match=r"needs the program (\w+) \(package \1\)"):
        unpack(part, compression)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: str) -> None:
    monkeypatch.setattr(payload, "LIMIT", 5_000_000)
    with pytest.raises(PayloadError, match="more than 5000000 bytes"):
        unpack(part_of(tmp_path / "image", compress(LARGE, compression)), compression)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_damage_is_told_in_words(
    tmp_path_factory: pytest.TempPathFactory, compression: str, data: st.DataObject
) -> None:
    packed = bytearray(compress(b"some content " * 40, compression))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / f"damaged-{compression}"
    part = part_of(path, bytes(packed))
    try:
        unpack(part, compression)
    except PayloadError as error:
        assert str(error)
    finally:
        os.close(part.fd)
