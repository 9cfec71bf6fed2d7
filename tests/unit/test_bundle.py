"""The bundle for a bug report, and that no secret of a guest gets out: there or anywhere else."""

from __future__ import annotations

import io
import json
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest
from tests.unit import canaries, trees
from tests.unit.building import UUID

from pvprep import bundle, cli, converge, delivery
from pvprep.changes import WriteFile
from pvprep.errors import Exit
from pvprep.guest import Guest
from pvprep.journal import Journal
from pvprep.options import Options
from pvprep.report import Screen


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("pvprep.report.LOGS", str(tmp_path / "log"))
    monkeypatch.setattr(converge.namespace, "enter", lambda _guest: None)
    monkeypatch.setattr(
        converge, "GuestWorkers", lambda *_: trees.Builder(tmp_path / "tree")
    )
    return canaries.tree(tmp_path / "tree")


def members(archive: bytes) -> dict[str, bytes]:
    """What the archive holds, by name; all of it is its owner's alone, and has no date."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        for info in opened:
            assert (info.mode, info.mtime, info.uid) == (0o600, 0, 0)
            file = opened.extractfile(info)
            assert file is not None
            found[info.name] = file.read()
    return found


def clean(name: str, content: bytes) -> None:
    leaked = canaries.CANARY.findall(content) or canaries.CANARY.findall(name.encode())
    assert not leaked, f"{name}: {content.decode(errors='replace')}"


def test_no_secret_gets_into_the_bundle(tree: Path, tmp_path: Path) -> None:
    place = tmp_path / "report.tar.gz"
    assert cli.main(["report", "--root", str(tree), "--output", str(place)]) == Exit.DONE
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    found = members(place.read_bytes())
    for name, content in found.items():
        clean(name, content)
    names = {name.split("/", 1)[1] for name in found}
    assert {"versions.json", "facts.json", "plan.json", "plan.txt", "files/etc/fstab"} <= names
    assert "files/etc/rc.local.kept-back" in names
    facts = json.loads(found[f"{bundle.TOP}/facts.json"])
    assert facts["distro"]["codename"] == "bookworm"
    assert b"/dev/sda1 / ext4" in found[f"{bundle.TOP}/files/etc/fstab"]
    assert UUID.encode() in found[f"{bundle.TOP}/files/etc/crypttab"]


def test_no_secret_gets_on_the_screen_or_into_json(
    tree: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cli.main(["--dry-run", "--root", str(tree)])
    out, err = capfd.readouterr()
    clean("screen", (out + err).encode())
    # A line with a secret is among those that differ, and around them.
    assert "+GRUB_CMDLINE_LINUX=" in err
    assert "rd.luks.key=(redacted)" in err
    cli.main(["check", "--json", "--root", str(tree)])
    out, err = capfd.readouterr()
    clean("json", (out + err).encode())
    assert json.loads(out)["version"] == 1


def test_no_secret_gets_into_the_log_and_the_journal_keeps_its_own(
    tree: Path, tmp_path: Path
) -> None:
    screen = Screen(io.StringIO())
    screen.start_log("prepare")
    screen.line("curl: (7) http://me:CANARY999@proxy/ failed")
    converge.prepare(Guest(str(tree)), Options(macs=("00:16:3e:12:34:56",)), screen)
    (log,) = (tmp_path / "log").iterdir()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert "journal: " in log.read_text()
    clean("log", log.read_bytes())
    found = bundle.report_members(Guest(str(tree)), Options())
    for name, content in found.items():
        clean(name, content)
    assert any(name.startswith("log/") for name in found)
    manifest = next(name for name in found if name.startswith("journal/"))
    marks = [json.loads(line)["mark"] for line in found[manifest].splitlines()]
    assert marks[0] == "begin"
    assert marks[-1] == "committed"


def test_the_log_of_another_guest_is_not_for_a_report_on_this_one(
    tree: Path, tmp_path: Path
) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log/1.log").write_text("12:00:00 journal: 000001-20200101T000000Z\n")
    assert not any(name.startswith("log/") for name in bundle.report_members(
        Guest(str(tree)), Options()
    ))  # fmt: skip


def test_the_same_guest_gives_the_same_bytes(tmp_path: Path) -> None:
    found = {"b": b"x", "a/b": b"y" * 100_000}
    first = bundle.pack(found)
    assert first == bundle.pack(dict(reversed(found.items())))
    assert [name.split("/", 1)[1] for name in members(first)] == ["a/b", "b"]


def test_a_guest_that_cannot_be_surveyed_has_a_report(tree: Path) -> None:
    (tree / "etc/fstab").write_bytes(b"#" * (9 * 1024 * 1024))
    found = bundle.report_members(Guest(str(tree)), Options())
    assert "no configuration file is that large" in found["error.json"].decode()
    assert "facts.json" not in found


def test_a_journal_that_is_half_done_is_in_the_report(tree: Path) -> None:
    guest = Guest(str(tree))
    transaction = Journal(guest).begin({"verb": "prepare"})
    (tree / "etc/x").write_text("token=CANARY7\n")
    (tree / "etc/x").chmod(0o600)
    change = WriteFile("x", "/etc/x", b"y", b"token=CANARY7\n", why=("psk=CANARY8",))
    transaction.apply(change, trees.Builder(tree))
    transaction._lock.release()
    found = bundle.report_members(guest, Options())
    (manifest,) = (found[name] for name in found if name.startswith("journal/"))
    assert b"/etc/x" in manifest
    clean("manifest", manifest)


@pytest.mark.parametrize("name", ["../x", "a\nb", "\udcff", "a/../../b"])
def test_no_name_leads_out_of_the_archive(name: str) -> None:
    made, _ = bundle._member("files", f"/etc/{name}", b"x")
    assert made.startswith("files/etc/")
    assert ".." not in made.split("/")
    made.encode()


def test_a_link_is_no_way_around_a_rule() -> None:
    name, content = bundle._member("files", "/etc/modprobe.d/x", b"s3cr3t", "/etc/shadow")
    assert name.endswith(".kept-back")
    assert b"s3cr3t" not in content


@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize("before", [None, 0o600, 0o644])
def test_what_is_delivered_is_never_open_to_more_than_before(
    tmp_path: Path, before: int | None, private: bool
) -> None:
    place = tmp_path / "x"
    if before is not None:
        place.write_text("old")
        place.chmod(before)
    umask = subprocess.run(["sh", "-c", "umask"], capture_output=True, text=True).stdout
    delivery.deliver(b"new", str(place), private=private)
    fresh = 0o666 & ~int(umask, 8)
    wanted = 0o600 if private else fresh if before is None else before
    assert stat.S_IMODE(place.stat().st_mode) == wanted
    assert place.read_bytes() == b"new"
