"""What a killed transaction left; what rpm says, by a stand-in that prints it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pvprep.errors import PvprepError
from pvprep.guest import Completed, Guest
from pvprep.packages import rpmdb
from pvprep.packages.rpmdb import Package


class SayingGuest(Guest):
    """Its rpm says this."""

    def __init__(self, root: Path, output: str, status: int = 0) -> None:
        super().__init__(str(root))
        self.output = output
        self.status = status

    def run(self, argv, **_options):  # type: ignore[no-untyped-def]
        return Completed(tuple(argv), self.status, self.output)


def test_keys_tell_versions_apart_and_stay(tmp_path: Path) -> None:
    rows = (
        "warning: a word of rpm's own\n"
        "pvprep|7|kernel|(none)|2-1|x86_64\n"
        "pvprep|3|kernel|(none)|3-1|x86_64\n"
        "pvprep|4|bash|1|5-1|x86_64\n"
        "pvprep|5|gpg-pubkey|(none)|ab-cd|(none)\n"
    )
    found = rpmdb.packages(SayingGuest(tmp_path, rows))
    assert {key: one.version for key, one in found.items()} == {
        "kernel.x86_64": "3-1",  # the first that came, whatever its version
        "kernel-2-1.x86_64": "2-1",
        "bash.x86_64": "1:5-1",
        "gpg-pubkey": "ab-cd",
    }
    assert found["bash.x86_64"].full == "bash-5-1.x86_64"
    assert found["gpg-pubkey"].full == "gpg-pubkey-ab-cd"


def test_rpm_fails_in_its_own_words(tmp_path: Path) -> None:
    guest = SayingGuest(tmp_path, "error: rpmdb: damaged header\npvprep|1|a|b|c|d\n", 1)
    with pytest.raises(PvprepError, match="cannot read its database: error: rpmdb: damaged"):
        rpmdb.packages(guest)
    with pytest.raises(PvprepError, match="cannot read the package file"):
        rpmdb.in_files(guest, ["/a.rpm"])


def _coming(root: Path, **packages: list[str]) -> Path:
    note = root / rpmdb.INCOMING.lstrip("/")
    note.parent.mkdir(parents=True)
    note.write_text(json.dumps(packages))
    return note


def _put(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("x")


def test_what_nobody_owns_is_removed(tmp_path: Path) -> None:
    _put(tmp_path, "lib/m/1/a.ko", "lib/m/1/b.ko;5f00aa11", "lib/m/2/a.ko", "lib/m/1/mine",
         "boot/vmlinuz-1", "boot/vmlinuz-10")  # fmt: skip
    (tmp_path / "lib/m/1/sub").mkdir()
    note = _coming(
        tmp_path,
        one=["/lib/m/1", "/lib/m/1/sub", "/lib/m/1/a.ko", "/lib/m/1/b.ko", "/lib/m/1/never",
             "/boot/vmlinuz-1"],
        **{"two-1-1.noarch": ["/lib/m/2", "/lib/m/2/a.ko"]},
    )  # fmt: skip
    rpmdb.sweep(Guest(str(tmp_path)), {"two.noarch": Package(1, "two", "", "1-1", "noarch")})
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert left == ["boot/vmlinuz-10", "lib/m/1/mine", "lib/m/2/a.ko"]
    assert not (tmp_path / "lib/m/1/sub").exists()
    assert not note.exists()


@pytest.mark.parametrize("text", ["", "{", '{"a": ["/b'])
def test_a_note_that_was_not_written_to_its_end_is_none(tmp_path: Path, text: str) -> None:
    note = _coming(tmp_path)
    note.write_text(text)
    _put(tmp_path, "b")
    rpmdb.sweep(Guest(str(tmp_path)), {})
    assert (tmp_path / "b").exists()
    assert not note.exists()


def test_without_a_note_nothing_is_done(tmp_path: Path) -> None:
    rpmdb.sweep(Guest(str(tmp_path)), {})
    assert list(tmp_path.iterdir()) == []
