"""Old releases: what a conversion changes in each, and nothing else; no program of theirs runs."""

from __future__ import annotations

import difflib
import io
from pathlib import Path
from types import ModuleType

import pytest
from tests.guests.old import made
from tests.guests.old.convert import no_program_runs
from tests.guests.old.releases import MAC, RELEASES, Release
from tests.unit.building import kinds
from tests.unit.pygrub_cases import real

from pvprep import converge
from pvprep.changes import BuildInitrd, Move, WriteFile
from pvprep.domu.build import from_context
from pvprep.guest import Guest
from pvprep.options import Options
from pvprep.plan import Plan
from pvprep.pygrub import Pick
from pvprep.report import Screen
from pvprep.survey.initrd_image import prove_initrd


@pytest.fixture(autouse=True)
def no_program_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    no_program_runs(monkeypatch)


@pytest.fixture(scope="module")
def pygrub() -> ModuleType:
    return real.load()


def volume(plan: Plan) -> dict[str, bytes]:
    """The boot loaders' files as pygrub finds them: a /boot of its own is a root to it."""
    facts = plan.context.facts
    skip = len("/boot") if facts.mount("/boot") else 0
    files = {path: facts.files[path] for path in facts.under("/boot/")}
    return {path[skip:]: found.content for path, found in files.items() if not found.is_dir}


def planned(root: Path, release: Release) -> Plan:
    guest = Guest(str(made.tree(root, release.files, release.links)))
    plan = converge.look(guest, Options(form="xm", xen=(4, 1)))
    assert plan.errors == ()
    return plan


def changed_lines(change: WriteFile) -> str:
    before = (change.expect or b"").decode().splitlines(keepends=True)
    found = difflib.ndiff(before, change.content.decode().splitlines(keepends=True))
    lines = [line[0] + line[2:] for line in found if line[0] in "+-"]
    return "".join(sorted(lines, key=lambda line: line[0], reverse=True))


@pytest.mark.parametrize("name", RELEASES)
def test_what_changes(tmp_path: Path, name: str) -> None:
    release = RELEASES[name]
    plan = planned(tmp_path, release)
    writes = {change.path[1:]: change for change in kinds(plan, WriteFile)}
    edits = {path: change for path, change in writes.items() if change.expect is not None}
    news = {path: change for path, change in writes.items() if change.expect is None}
    assert {path: changed_lines(change) for path, change in edits.items()} == release.changes
    assert {*news} == {*release.made}
    for path, line in release.made.items():
        assert line in news[path].content.decode()
    assert tuple((move.path, move.to) for move in kinds(plan, Move)) == release.moves
    assert [build.path for build in kinds(plan, BuildInitrd)] == [release.builds]


@pytest.mark.parametrize("name", RELEASES)
def test_what_its_domain_has(tmp_path: Path, name: str) -> None:
    release = RELEASES[name]
    plan = planned(tmp_path, release)
    assert isinstance(plan.pick, Pick)
    assert plan.context.target
    assert plan.pick.kernel.endswith(plan.context.target.image.rsplit("/", 1)[1])
    domu = from_context(plan.context, plan.pick)
    assert {disk.vdev: disk.guest_name for disk in domu.disks} == release.disks
    assert [vif.mac for vif in domu.vifs] == [MAC]


@pytest.mark.parametrize("name", [name for name in RELEASES if name != "sles 10"])
def test_it_is_converted_from_outside(tmp_path: Path, pygrub: ModuleType, name: str) -> None:
    """All but SLES 10, of whose initrds nobody here has seen one."""
    release = RELEASES[name]
    guest = Guest(str(made.tree(tmp_path, release.files, release.links)))
    options = Options(form="xm", xen=(4, 1), initrd="append")
    assert converge.prepare(guest, options, Screen(io.StringIO())).ready
    proof = prove_initrd(str(tmp_path) + release.builds)
    after = converge.look(guest, options)
    assert after.changes == ()
    target = after.context.target
    assert target
    assert {*target.frontends} <= proof.modules | target.builtin
    assert not (tmp_path / "was-run").exists()
    assert isinstance(after.pick, Pick)
    real_pick = real.choose(pygrub, volume(after))
    assert (real_pick.kernel, real_pick.initrd, real_pick.args) == (
        after.pick.kernel, after.pick.initrd, after.pick.args
    )  # fmt: skip
    for path, lines in release.changes.items():
        text = (tmp_path / path).read_text()
        assert all(line[1:] in text for line in lines.splitlines() if line.startswith("+"))
