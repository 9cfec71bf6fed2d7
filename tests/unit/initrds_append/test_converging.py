"""A whole conversion with an appended initrd: no program of the guest runs, and all goes back."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest
from tests.unit import trees
from tests.unit.building import VERSION
from tests.unit.journal_tools import changed, snapshot
from tests.unit.modules import module
from tests.unit.survey.synthetic import compress

from pvprep import converge
from pvprep.changes import BuildInitrd
from pvprep.errors import Exit, PvprepError
from pvprep.guest import Guest
from pvprep.journal import Journal
from pvprep.options import Options
from pvprep.plan import Plan
from pvprep.report import Screen
from pvprep.survey.initrd_image import prove_initrd
from pvprep.workers import GuestWorkers

INITRD = f"boot/initrd.img-{VERSION}"
HOOK = "etc/initramfs/post-update.d/lilo"


class Still(Guest):
    """A guest none of whose programs may run."""

    def run(self, argv: Sequence[str], **_more: object) -> NoReturn:  # type: ignore[override]
        raise AssertionError(f"{argv} was run")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree with modules that depmod can read, a compressed initrd and a hook for new ones."""

    def enter(_guest: Guest) -> NoReturn:
        raise AssertionError("nothing runs inside: there is nothing to mount for")

    monkeypatch.setattr(converge.namespace, "enter", enter)
    root = trees.make(tmp_path / "tree", {HOOK: "#!/bin/sh\n"})
    for path in trees.FRONTENDS:
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(module("license=GPL"))
    index = "".join(f"{path.split('/', 3)[3]}:\n" for path in trees.FRONTENDS)
    (root / f"lib/modules/{VERSION}/modules.dep").write_text(index)
    resume = ("conf/conf.d/resume", b"RESUME=/dev/sda2\n")
    (root / INITRD).write_bytes(compress(trees.initrd(files=[resume], frontends=False), "gzip"))
    (root / "var/lib/pvprep").mkdir()
    return root


def prepare(root: Path, out: io.StringIO) -> Plan:
    return converge.prepare(Still(str(root)), Options(initrd="append"), Screen(out))


def test_it_is_ready_without_running_anything(root: Path) -> None:
    out = io.StringIO()
    old = (root / INITRD).read_bytes()
    assert prepare(root, out).ready
    proof = prove_initrd(str(root / INITRD))
    assert proof.preload == ("xen_blkfront", "xen_netfront")
    assert proof.modules == {"xen_blkfront", "xen_netfront"}
    assert proof.resume == "/dev/xvda2"
    assert trees.RULES in proof.files
    assert (root / INITRD).read_bytes().startswith(old)
    assert "append xen-blkfront, xen-netfront, conf/conf.d/resume, conf/modules, " in out.getvalue()
    # Its own builder goes on with them.
    assert "xen-blkfront\nxen-netfront\n" in (root / "etc/initramfs-tools/modules").read_text()


def test_a_second_run_writes_nothing_and_a_rollback_brings_all_back(root: Path) -> None:
    before = snapshot(root)
    prepare(root, io.StringIO())
    after = snapshot(root)
    assert prepare(root, io.StringIO()).ready
    assert changed(after, snapshot(root)) == {}
    guest = Still(str(root))
    workers = GuestWorkers(guest, print, lambda _part, _text: None, lambda _change, _path: None)
    Journal(guest).rollback(workers)
    assert changed(before, snapshot(root)) == {}


def test_the_plan_says_what_is_appended(root: Path) -> None:
    plan = converge.look(Still(str(root)), Options(initrd="append"))
    (change,) = [change for change in plan.changes if isinstance(change, BuildInitrd)]
    assert change.adds
    assert change.adds.modules == ("xen-blkfront", "xen-netfront")
    assert dict(change.adds.files)["conf/modules"] == b"xen-blkfront\nxen-netfront\n"


def test_one_that_is_not_proven_does_not_replace_the_old_one(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(root)
    monkeypatch.setattr("pvprep.initrds.append.indexed", lambda *_arguments: {})
    with pytest.raises(PvprepError, match="would not boot PV: lacks xen_blkfront") as caught:
        prepare(root, io.StringIO())
    assert caught.value.status is Exit.PUT_BACK
    assert changed(before, snapshot(root)) == {}
