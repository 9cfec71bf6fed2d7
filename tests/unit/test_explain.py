"""Every id that pvprep can say is explained, and every explanation belongs to an id in use."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import pvprep
from pvprep.errors import Exit, UsageError
from pvprep.explain import explain, topics
from pvprep.steps import STEPS

SOURCES = Path(pvprep.__file__).parent
SAYERS = [
    *(SOURCES / "steps").glob("*.py"),
    *(SOURCES / "packages" / name for name in ("dpkg.py", "rpmcheck.py")),
    SOURCES / "survey" / "kernels.py",
]
# An id as a literal, `topic.what`; file names such as "x.conf" have other endings.
ID = re.compile(r"\"([a-z]+\.[a-z0-9]+(?:-[a-z0-9]+)*)\"(?!:)")
NAMES = ("fedora.serial-console-available", "grub.cfg", "grub.conf", "menu.lst", "rpmdb.sqlite")


def said() -> dict[str, str]:
    """Ids in the code that plans, with the file that has them; keys of a dict do not count."""
    found = {}
    for path in SAYERS:
        for id in ID.findall(path.read_text()):
            if id not in NAMES:
                found[id] = path.name
    return found


def test_every_id_that_is_said_has_a_topic() -> None:
    assert len(said()) > 35
    assert {id: where for id, where in said().items() if id not in topics()} == {}


def test_every_topic_is_said_somewhere() -> None:
    names = {step.name for step in STEPS}
    assert [id for id in topics() if id not in names and id not in said()] == []


def test_no_two_steps_explain_the_same_id() -> None:
    ids = [id for step in STEPS for id in step.topics]
    assert len(ids) == len(set(ids))


def test_texts_are_sentences() -> None:
    for id, text in topics().items():
        assert text.strip().endswith("."), id
        assert "`" not in text or text.count("`") % 2 == 0, id


@pytest.mark.parametrize("id", sorted(topics()))
def test_each_can_be_asked_for(id: str) -> None:
    text = explain(id)
    assert text.startswith(f"{id}\n\n")
    assert all(len(line) <= 78 for line in text.split("\n"))


def test_the_list_has_them_all_a_line_each() -> None:
    rows = explain("").split("\n")
    assert [row.split(" ")[0] for row in rows] == list(topics())
    assert all(len(row) <= 120 for row in rows)


def test_what_is_near_is_named() -> None:
    with pytest.raises(UsageError, match=r"no finding or step 'kernel\.nonee'") as caught:
        explain("kernel.nonee")
    assert "did you mean kernel.none" in caught.value.hint
    assert caught.value.status is Exit.USAGE
    with pytest.raises(UsageError) as caught:
        explain("\udcff")
    assert "lists them all" in caught.value.hint
