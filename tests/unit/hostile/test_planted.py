"""Every verb on every tree of the corpus: nothing outside is touched, and words are said."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests import figures
from tests.unit import trees
from tests.unit.hostile.inside import InsideBuilder
from tests.unit.hostile.planted import CASES, Case
from tests.unit.hostile.victims import Victims

from pvprep import cli, converge, history, namespace, report

VERBS: Sequence[Sequence[str]] = (
    ("status",), ("check", "--json"), ("prepare", "--dry-run"), ("rollback", "--dry-run"),
    ("prepare",), ("recover",), ("status",), ("rollback", "--verify"), ("status", "--json"),
)  # fmt: skip
SECONDS = 60  # for one verb


@pytest.fixture(autouse=True)
def workers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No program is run, and no namespace made."""
    for module in (converge, history):
        monkeypatch.setattr(module, "GuestWorkers", lambda guest, *_: InsideBuilder(guest))
    monkeypatch.setattr(namespace, "enter", lambda _guest: None)
    monkeypatch.setattr(report, "LOGS", str(tmp_path / "log"))


def run(capfd: Any, root: Path, words: Sequence[str]) -> str:
    start = time.monotonic()
    status = cli.main([*words, "--root", str(root)])
    said = "".join(capfd.readouterr())
    assert time.monotonic() - start < SECONDS
    assert status in range(5)
    return f"{' '.join(words)}: {status}\n{said}"


@pytest.mark.tried
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_nothing_outside_is_touched(
    case: Case, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root, out = trees.make(tmp_path / "tree"), tmp_path / "outside"
    victims = Victims(out)
    figures.leave("hostile", case.name, tried=1, lost=1)
    case.plant(root, out)
    victims.look_again()
    said = ""
    for words in VERBS:
        said += run(capfd, root, words)
        assert victims.touched(only_content=case.shared) == {}, words
    assert case.said in said
    assert "Traceback" not in said
    assert not re.search(r"[^\n\t\x20-\x7e\x80-\U0010ffff]|[\x80-\x9f\u202e]", said)
    assert not re.search(r"^ *ok +kernel +forged", said, re.M)
    log = b"".join(file.read_bytes() for file in (tmp_path / "log").iterdir())
    assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", log)
    figures.leave("hostile", case.name, tried=1, lost=0)


def test_a_corpus_worth_its_name() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 90


@pytest.mark.parametrize(
    "touch",
    [
        lambda out: (out / "shadow").read_bytes(),
        lambda out: (out / "shadow").chmod(0o644),
        lambda out: (out / "lib/dpkg/lock").write_bytes(b""),
        lambda out: (out / "boot/x").touch(),
        lambda out: list((out / "etc").iterdir()),
        lambda out: (out / "link").readlink(),
        lambda out: (out / "etc/fstab").rename(out / "etc/old"),
    ],
)
def test_whatever_is_touched_is_noticed(touch: Any, tmp_path: Path) -> None:
    victims = Victims(tmp_path / "outside")
    assert victims.touched() == {}
    touch(tmp_path / "outside")
    assert victims.touched()
