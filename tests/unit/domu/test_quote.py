"""Strings and comments cannot leave their line."""

from __future__ import annotations

import ast
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.domu import xen_tools
from tests.unit.domu.strategies import values, words

from pvprep.domu.quote import COMMENT_LENGTH, comment, python, quote, xml, xml_comment
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


@given(values)
def test_python_and_xl_read_back_the_same(text: str) -> None:
    if any("\udc80" <= char <= "\udcff" for char in text):
        with pytest.raises(PvprepError, match="not UTF-8"):
            python(text)
        return
    made = python(text)
    assert ast.literal_eval(made) == text
    assert xen_tools.parse(f"key = {made}\n") == [("key", text)]


@given(values)
def test_xml_reads_back_what_was_quoted(text: str) -> None:
    try:
        made = xml(text)
    except PvprepError:
        assert any(char in "\ufffe\uffff\t" or "\udc80" <= char <= "\udcff" for char in text)
        return
    found = ET.fromstring(f"<a b='{made}' c=\"{made}\">{made}</a>")
    assert (found.text or "", found.get("b"), found.get("c")) == (text, text, text)


@given(words)
def test_a_comment_of_xml_ends_where_it_should(text: str) -> None:
    for end in ("", "-"):
        assert ET.fromstring(f"<a><!-- {xml_comment(text + end)}-->x</a>").tag == "a"


def test_two_hyphens_are_kept_apart() -> None:
    assert xml_comment("a --> b--") == "a - -> b- - "
