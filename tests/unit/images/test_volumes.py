"""Ranges of disks: what is cut out of them, and the tables of device-mapper."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvprep.errors import PvprepError
from pvprep.images.volumes import Range, Segment, Volume, joined, table

A, B = Range("a", 100, 1000), Range("b", 0, 500)


def test_a_part_of_a_range_is_a_range() -> None:
    assert Volume.of(A).cut(10, 20).plain == Range("a", 110, 20)


def test_a_part_over_two_pieces() -> None:
    whole = joined([Segment((A,)), Segment((B,))])
    assert whole.size == 1500
    part = whole.cut(990, 20)
    assert [segment.ranges for segment in part.segments] == [
        (Range("a", 1090, 10),), (Range("b", 0, 10),),
    ]  # fmt: skip
    assert part.plain is None
    assert whole.cut(1000, 500).plain == B


def test_what_lies_side_by_side_is_one() -> None:
    parts = [Segment((Range("a", 0, 10),)), Segment((Range("a", 10, 10),)),
             Segment((Range("a", 30, 10),))]  # fmt: skip
    assert [one.ranges[0].size for one in joined(parts).segments] == [20, 10]


def test_both_copies_of_a_mirror_are_cut() -> None:
    mirror = Volume((Segment((Range("a", 10, 100), Range("b", 20, 100))),))
    assert mirror.size == 100
    assert mirror.cut(5, 10).segments[0].ranges == (Range("a", 15, 10), Range("b", 25, 10))


def test_stripes_are_cut_in_whole_rows() -> None:
    striped = Volume((Segment((Range("a", 0, 400), Range("b", 0, 400)), 100),))
    assert striped.size == 800
    assert striped.cut(200, 400).segments[0].ranges == (Range("a", 100, 200), Range("b", 100, 200))
    with pytest.raises(PvprepError, match="whole rows of stripes"):
        striped.cut(100, 200)


@pytest.mark.parametrize(("start", "size"), [(-1, 5), (0, 0), (0, 1001), (1000, 1), (5, -1)])
def test_nothing_is_cut_beyond_the_ends(start: int, size: int) -> None:
    with pytest.raises(PvprepError, match="lie beyond"):
        Volume.of(A).cut(start, size)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.data())
def test_what_is_read_of_a_part_is_that_part(sizes: list[int], data: st.DataObject) -> None:
    # Positions stand for bytes: piece n has those from 100 n.
    parts = [Segment((Range("x", 100 * at, size),)) for at, size in enumerate(sizes)]
    whole = [one.start + at for part in parts for one in part.ranges for at in range(one.size)]
    start = data.draw(st.integers(0, len(whole) - 1))
    size = data.draw(st.integers(1, len(whole) - start))
    cut = joined(parts).cut(start, size)
    assert whole[start : start + size] == [
        segment.ranges[0].start + at for segment in cut.segments for at in range(segment.size)
    ]


def test_reading_ends_where_the_volume_ends(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(b"0123456789")
    volume = Volume.of(Range(str(tmp_path / "disk"), 2, 5))
    assert volume.read(0, 3) == b"234"
    assert volume.read(3, 100) == b"56"
    assert volume.read(5, 1) == b""


def test_tables_of_device_mapper() -> None:
    one, two = Range("a", 0, 4096), Range("b", 0, 4096)
    paths = {one: "/dev/loop0", two: "/dev/loop1"}
    linear = Volume((Segment((one,)), Segment((two,))))
    assert table(linear, paths) == "0 8 linear /dev/loop0 0\n8 8 linear /dev/loop1 0"
    striped = Volume((Segment((one, two), 1024),))
    assert table(striped, paths) == "0 16 striped 2 2 /dev/loop0 0 /dev/loop1 0"
    mirror = Volume((Segment((one, two)),))
    assert table(mirror, paths) == "0 8 mirror core 2 1024 nosync 2 /dev/loop0 0 /dev/loop1 0"
