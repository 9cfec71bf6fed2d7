from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvprep.editors import units

from .laws import decode, translate, translate_uuid


@pytest.mark.parametrize(
    ("path", "name"),
    [
        # As systemd-escape --path prints them.
        ("/", "-"),
        ("/dev/sda2", "dev-sda2"),
        ("/dev/cciss/c0d0p1", "dev-cciss-c0d0p1"),
        ("/dev/disk/by-uuid/0a1b-2c", "dev-disk-by\\x2duuid-0a1b\\x2d2c"),
        ("/.hidden/.x", "\\x2ehidden-.x"),
        ("/a b/ä:_", "a\\x20b-\\xc3\\xa4:_"),
        ("/back\\slash", "back\\x5cslash"),
    ],
)
def test_escape(path: str, name: str) -> None:
    assert units.escape(path) == name
    assert units.unescape(name) == path


def test_slashes_are_collapsed() -> None:
    assert units.escape("//dev///sda2/") == "dev-sda2"


@pytest.mark.parametrize(
    ("unit", "new"),
    [
        ("dev-sda2.swap", "dev-xvda2.swap"),
        ("dev-cciss-c0d0p1.swap", "dev-xvdc1.swap"),
        ("dev-disk-by\\x2did-ata\\x2dQEMU\\x2dpart1.swap", "dev-xvda1.swap"),
        ("dev-sdb2.swap", None),
        ("dev-sda2.service", None),
        ("dev-sda2", None),
        ("home.mount", None),
        ("", None),
    ],
)
def test_rename(unit: str, new: str | None) -> None:
    assert units.rename(unit, translate) == new


def test_a_tag_becomes_a_path() -> None:
    assert units.rename("dev-sda2.swap", translate_uuid) == (
        "dev-disk-by\\x2duuid-ffff\\x2d2c3d.swap"
    )


@given(st.lists(st.binary(min_size=1, max_size=5).map(lambda b: decode(b.replace(b"/", b"-")))))
def test_unescape_undoes_escape(parts: list[str]) -> None:
    path = "/" + "/".join(parts)
    assert units.unescape(units.escape(path)) == path


@given(st.binary(max_size=20).map(decode))
def test_any_name(name: str) -> None:
    units.unescape(name)
    units.rename(name + ".swap", translate)
