"""Manifests that are torn, damaged or hostile."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.unit.journal.world import FSTAB, World

from pvprep.errors import PvprepError


@pytest.mark.usefixtures("quick")
def test_a_torn_last_line_does_not_count(world: World) -> None:
    world.commit(FSTAB)
    (store,) = [Path(one.store) for one in world.journal.transactions()]
    whole = (store / "manifest").read_bytes()
    fstab = world.file("/etc/fstab").read_bytes()
    for size in [*range(0, len(whole), 7), len(whole) - 1]:
        (store / "manifest").write_bytes(whole[:size])
        world.recover()
        lines = (store / "manifest").read_bytes().splitlines()
        assert all(json.loads(line) for line in lines)
        assert world.journal.pending() == []
        world.file("/etc/fstab").write_bytes(fstab)


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"1",
        b"{}",
        b"\xff",
        b'{"mark": "done", "number": 7, "done": {}}',
        b'{"mark": "undo", "number": 1, "undo": {"times": {"/etc": 1}, "notes": []}}',
        b'{"mark": "change", "entry": {"number": 2}}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_manifest_is_refused(world: World, line: bytes) -> None:
    world.commit(FSTAB)
    (store,) = [Path(one.store) for one in world.journal.transactions()]
    with open(store / "manifest", "ab") as file:
        file.write(line + b"\n")
    for verb in (world.journal.transactions, world.rollback, world.recover, world.journal.verify):
        with pytest.raises(PvprepError, match=r"manifest:\d+ is damaged"):
            verb()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"backup": "1"', '"backup": "../../../../../../secret"'),
        ('"path": "/etc/fstab"', '"path": "/etc/../../secret"'),
        ('"path": "/etc/fstab"', '"path": "/out/secret"'),
        ('"temp": ".pvprep-', '"temp": "../../.pvprep-'),
        ('"temp": ".pvprep-', '"temp": "fstab'),
        ('"mode": ', '"mode": 99999999999999999999'),
        ('"mtime": ', '"mtime": 99999999999999999999'),
        ('"xattrs": {}', '"xattrs": {"user.x": "A"}'),
        ('"kind": "file"', '"kind": "spoon"'),
    ],
)
def test_a_hostile_manifest_harms_nobody(world: World, tmp_path: Path, old: str, new: str) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"outside")
    os.symlink(tmp_path, world.file("/out"))
    world.commit(FSTAB)
    manifest = Path(world.journal.transactions()[0].store, "manifest")
    text = manifest.read_text()
    assert old in text
    lines = text.replace(old, new).splitlines()[:2]  # as if killed: recover does not look for edits
    manifest.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(PvprepError):
        world.recover()
    assert secret.read_bytes() == b"outside"
    assert sorted(os.listdir(tmp_path)) == ["packages", "root", "secret"]


def test_odd_things_in_the_journals_directory(world: World) -> None:
    world.commit(FSTAB)
    home = Path(world.journal.home).resolve()
    (home / "000002-20200101T000000Z").write_bytes(b"a file")
    os.symlink("/etc", home / "000003-20200101T000000Z")
    (home / "9lives").mkdir()
    assert len(world.journal.transactions()) == 1
    store = home / "000004-20200101T000000Z"
    store.mkdir()
    os.mkfifo(store / "manifest")
    with pytest.raises(PvprepError, match="is not a manifest"):
        world.journal.transactions()


def test_the_journal_is_private(world: World) -> None:
    os.rmdir(os.path.realpath(world.journal.home))
    world.commit(FSTAB)
    for where, _, names in os.walk(world.journal.home):
        assert os.stat(where).st_mode & 0o7777 == 0o700
        for name in names:
            assert os.stat(f"{where}/{name}").st_mode & 0o7777 == 0o600
