"""Diffs: what they say is what was done, and they say it in little time."""

from __future__ import annotations

import difflib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvprep import unified

OLD = ["a", "b", "", "c", "d", "", "e", "f", "g", "h", "i", "j"]
LINE = st.sampled_from(["a", "b", "c", "}", ""]) | st.text("xyz", max_size=3)
LINES = st.lists(LINE, max_size=30)


@pytest.mark.parametrize(
    "new",
    [OLD, ["A", *OLD[1:]], OLD[1:], [*OLD, "k"], [], [*OLD[:5], "x", "y", *OLD[5:]],
     [*OLD[:2], "C", *OLD[4:9], "h1", "h2", *OLD[10:]]],
)  # fmt: skip
def test_as_difflib_has_it(new: list[str]) -> None:
    expected = list(difflib.unified_diff(OLD, new, "a/x", "b/x", lineterm=""))
    assert list(unified.diff(OLD, new, "a/x", "b/x")) == expected


def applied(old: list[str], diff: list[str]) -> list[str]:
    """The new text: the old one with what the hunks say."""
    new: list[str] = []
    at = 0
    for line in diff[2:]:
        if line.startswith("@@"):
            start, _, count = line.split(" ")[1][1:].partition(",")
            to = int(start) - (count != "0")
            new += old[at:to]
            at = to
        elif line[0] in " -":
            assert old[at] == line[1:]
            at += 1
            new += [line[1:]] if line[0] == " " else []
        else:
            new.append(line[1:])
    return new + old[at:]


@given(LINES, LINES)
def test_any_texts(old: list[str], new: list[str]) -> None:
    diff = list(unified.diff(old, new, "a", "b"))
    assert applied(old, diff) == new
    assert bool(diff) == (old != new)


def test_many_changes_take_little_time() -> None:
    old = [f"{'/dev/sda1' if number % 2 else 'UUID=1'} /srv/{number}" for number in range(20_000)]
    new = [line.replace("sda", "xvda") for line in old]
    same = ["}", "{"] * 10_000
    start = time.process_time()
    assert applied(old, list(unified.diff(old, new, "a", "b"))) == new
    assert applied(same, list(unified.diff(same, ["", *same[1:]], "a", "b")))[0] == ""
    assert time.process_time() - start < 5
