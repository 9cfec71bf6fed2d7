"""A corpus of attacks: each file in attacks/ has a trick, and the findings that it has to meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return xen_tools.build_stand_in(tmp_path_factory.mktemp("stand-in"))


@pytest.mark.parametrize(
    ("name", "reads"),
    [
        ("bootloader-path", lambda made: made["b_info"]["bootloader"] == "/tmp/evil"),
        ("append-string", lambda made: made["b_info"]["bootloader"] == "/tmp/evil"),
        ("semicolon", lambda made: made["b_info"]["bootloader"] == "/tmp/evil"),
        ("twice-bootloader", lambda made: made["b_info"]["bootloader"] == "/tmp/evil"),
        ("args-split", lambda made: made["b_info"]["bootloader_args"][0] == "--output"),
        ("type-prefix", lambda made: made["c_info"]["type"] == "hvm"),
        ("type-empty", lambda made: made["c_info"]["type"] == "hvm"),
        ("memory-octal", lambda made: made["b_info"]["target_memkb"] == 256 * 1024),
        ("memory-overflow", lambda made: made["b_info"]["target_memkb"] == 1024),
        ("disk-iscsi", lambda made: made["disks"][0]["script"] == "block-iscsi"),
        ("disk-prefix-inside", lambda made: made["disks"][0]["script"] == "block-enbd"),
        ("disk-swallowed", lambda made: made["disks"][0]["pdev_path"].endswith(",access=r")),
        ("append-disk", lambda made: made["disks"][1]["pdev_path"] == "/dev/mem"),
        ("vif-script-blank", lambda made: made["nics"][0]["script"] == "/tmp/evil"),
        ("vif-bridge-twice", lambda made: made["nics"][0]["bridge"] == "mgmt"),
        ("vif-mac-strtoul", lambda made: made["nics"][0]["mac"] == "00:16:3e:01:12:c1"),
        ("vfb-listen-twice", lambda made: made["vfbs"][0]["vnc"]["listen"] == "::"),
    ],
)
def test_xl_would_have_done_it(
    name: str, reads: Callable[[Any], bool], tmp_path: Path, stand_in: Path
) -> None:
    """The tricks that xl's own C code is needed for."""
    config = tmp_path / "evil.cfg"
    config.write_bytes(next(attack.data for attack in ATTACKS if attack.name == name))
    assert reads(xen_tools.dry_run(config, stand_in))


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
