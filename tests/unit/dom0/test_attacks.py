"""A corpus of attacks: each file in attacks/ has a trick, and the findings that it has to meet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.unit.dom0 import world
from tests.unit.dom0.test_xlcfg import as_xl
from tests.unit.domu import xen_tools

from pvprep_dom0 import xlcfg
from pvprep_dom0.check import Report, check
from pvprep_dom0.errors import Dom0Error
from pvprep_dom0.findings import TOPICS, Level
from pvprep_dom0.fix import fix

# What xl reads and pvprep-dom0 does not: an escape that xl loses, lists deeper than any use, and
# what makes xl abort, which would take the tests with it.
OURS_ALONE = ("octal-escape", "nested")
ABORTS_XL = ("disk-nul",)


@dataclass(frozen=True)
class Attack:
    name: str
    key: str
    trick: str
    finds: frozenset[str]
    data: bytes


def read(path: Path) -> Attack:
    head, _, data = path.read_bytes().partition(b"---\n")
    told = dict(line.split(": ", 1) for line in head.decode().splitlines())
    return Attack(path.stem, told["key"], told["trick"], frozenset(told["finds"].split()), data)


ATTACKS = [read(path) for path in sorted(Path(__file__).with_name("attacks").glob("*.cfg"))]
each = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)


def judge(data: bytes) -> Report:
    return check(
        data, world.POLICY, world.BIFIT, world.DOMAINS, world.pretend_look, world.pretend_user
    )




@each
def test_it_is_found(attack: Attack) -> None:
    assert {finding.id for finding in judge(attack.data).errors} == attack.finds


@each
def test_findings_tell_where_and_what(attack: Attack) -> None:
    for finding in judge(attack.data).findings:
        assert finding.id in TOPICS
        assert finding.what
        assert finding.line <= attack.data.count(b"\n") + 1
        whole = finding.id in ("config.size", "name.missing", "boot.missing")
        assert finding.line or whole or finding.level is Level.WARNING


@each
def test_xl_sees_the_same(attack: Attack) -> None:
    """What was judged is what xl would have started."""
    if attack.name in ABORTS_XL or "file without measure" in attack.trick:
        return
    text = attack.data.decode("utf-8", "surrogateescape")
    try:
        seen = xen_tools.parse(text)
    except xen_tools.XlError:
        seen = None
    try:
        ours = xlcfg.effective(xlcfg.parse(text))
    except xlcfg.ConfigError:
        assert seen is None or attack.name in OURS_ALONE
        return
    assert seen is not None
    assert {key: as_xl(setting.value) for key, setting in ours.items()} == dict(seen)
    assert judge(attack.data).safe.keys() <= dict(seen).keys()


@each
def test_a_fixed_config_is_safe(attack: Attack) -> None:
    try:
        fixed = fix(judge(attack.data), judge)
    except Dom0Error as error:
        assert error.hint or error.message
        return
    again = judge(fixed.encode())
    assert not again.errors
    assert again.safe == {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in xen_tools.parse(fixed)
    }
    assert "evil" not in "".join(line for line in fixed.splitlines() if not line.startswith("#"))


def test_without_an_attack_it_is_safe() -> None:
    name = Path(__file__).with_name("attacks") / "comment-carriage.cfg"
    data = read(name).data.partition(b"#")[0]
    assert judge(data).findings == ()


def test_every_finding_is_provoked() -> None:
    """But for those that other tests provoke (test_check.py)."""
    elsewhere = {
        "host.unknown", "memory.missing", "name.running", "name.clash", "name.policy", "uuid.clash",
        "key.not-needed",
    }  # fmt: skip
    assert {id for attack in ATTACKS for id in attack.finds} == TOPICS.keys() - elsewhere
