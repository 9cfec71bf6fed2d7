"""GRUB's environment block keeps its size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvprep.editors import grubenv
from pvprep.editors.edited import Edit, Edited

from .laws import decode, line_texts

HEAD = "# GRUB Environment Block\n"


def block(*lines: str) -> str:
    return (HEAD + "".join(f"{line}\n" for line in lines)).ljust(1024, "#")


def test_values() -> None:
    text = block("saved_entry=abc-5.14", "kernelopts=root=UUID=1 ro", r"odd=a\\b")
    assert grubenv.get(text, "saved_entry") == "abc-5.14"
    assert grubenv.get(text, "kernelopts") == "root=UUID=1 ro"
    assert grubenv.get(text, "odd") == r"a\b"
    assert grubenv.get(text, "entry") is None
    assert grubenv.get("", "entry") is None


@pytest.mark.parametrize(("old", "new"), [("x", "longer"), ("longer", "x"), ("x", "ü"), ("a", "")])
def test_the_size_stays(old: str, new: str) -> None:
    text = block("one=1", f"key={old}", "two=2")
    edited = grubenv.edit(text, "key", lambda _old: new)
    assert edited.edits == (Edit(3, old, new),)
    assert edited.text.startswith(f"{HEAD}one=1\nkey={new}\ntwo=2\n#")
    assert len(edited.text.encode()) == 1024


def test_without_room_nothing_is_done() -> None:
    text = block("key=" + "x" * 980)
    assert grubenv.edit(text, "key", lambda old: old + "y" * 100) == Edited(text)
    assert grubenv.edit(text, "key", lambda old: old + "y").text.count("#") < text.count("#")


def test_a_value_that_may_run_on_is_left() -> None:
    text = block("key=a\\", "b")
    assert grubenv.edit(text, "key", lambda _old: "c") == Edited(text)


def test_what_is_not_there_is_not_added() -> None:
    assert grubenv.edit(block("a=b"), "key", lambda _old: "c") == Edited(block("a=b"))


@given(line_texts("# GRUB Environment Block", "key=a b", "key=", "other=1", "####"), st.binary())
def test_anything_keeps_its_size(text: str, new: bytes) -> None:
    value = decode(new).replace("\n", "").replace("\\", "")
    edited = grubenv.edit(text, "key", lambda _old: value)
    assert len(edited.text.encode("utf-8", "surrogateescape")) == len(
        text.encode("utf-8", "surrogateescape")
    )
    assert grubenv.edit(edited.text, "key", lambda _old: value).edits == ()
