"""Strings and comments cannot leave their line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.domu import xen_tools
from tests.unit.domu.strategies import values, words

from pvprep.domu.quote import COMMENT_LENGTH, comment, quote
from pvprep.errors import PvprepError


@given(values)
def test_xl_reads_back_what_was_quoted(text: str) -> None:
    assert xen_tools.parse(f"key = {quote(text)}\n") == [("key", text)]


@given(st.lists(values, max_size=4))
def test_in_a_list_too(texts: list[str]) -> None:
    listed = "".join(f"{quote(text)},\n" for text in texts)
    assert xen_tools.parse(f"key = [\n{listed}]\n") == [("key", texts)]


@pytest.mark.parametrize(
    "char", ["\0", "\n", "\r", "\x07", "\x1b", "\x7f", "\x85", "\u2028", "\u202e", "\ud800"]
)
def test_what_nobody_sees_is_refused(char: str) -> None:
    with pytest.raises(PvprepError, match=f"U\\+{ord(char):04X}"):
        quote(f"a{char}b")


@given(words)
def test_a_comment_is_one_line_that_xl_skips(text: str) -> None:
    made = comment(text)
    assert len(made) <= COMMENT_LENGTH
    assert len(f"# {made}".splitlines()) == 1
    assert xen_tools.parse(f"# {made}\nkey = 1\n") == [("key", "1")]


def test_a_comment_keeps_what_can_be_read() -> None:
    assert comment("sda, die Platte für /srv: 'x' \"y\" \\") == (
        "sda, die Platte für /srv: 'x' \"y\" \\"
    )
    assert comment("a\nb\udcffc") == "a?b?c"
