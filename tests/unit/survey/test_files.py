"""Configuration files as facts, odd ones too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pvprep.errors import PvprepError
from pvprep.facts import File
from pvprep.guest import Guest
from pvprep.survey.files import boot_files, files


def survey(root: Path, *patterns: str) -> dict[str, File]:
    return files(Guest(str(root)), patterns)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/fstab").write_bytes(b"\xff\r\n")
    (tmp_path / "etc/fstab").chmod(0o640)
    return tmp_path


def test_a_file_with_its_bytes_and_mode(root: Path) -> None:
    assert survey(root, "/etc/fstab", "/etc/none", "/none/*") == {
        "/etc/fstab": File("/etc/fstab", b"\xff\r\n", 0o640)
    }


def test_a_link_is_known_by_its_name_and_by_where_it_leads(root: Path) -> None:
    (root / "etc/link").symlink_to("../../../etc/fstab")
    (root / "here").symlink_to("etc")
    found = survey(root, "/etc/link", "/here/fstab")
    assert found["/etc/link"] == File("/etc/fstab", b"\xff\r\n", 0o640, "../../../etc/fstab")
    assert found["/here/fstab"] == File("/etc/fstab", b"\xff\r\n", 0o640)


@pytest.mark.parametrize("target", ["/dev/null", "/none", "loop", "fifo"])
def test_a_link_to_no_file_is_a_fact_without_content(root: Path, target: str) -> None:
    (root / "etc/loop").symlink_to("loop")
    os.mkfifo(root / "etc/fifo")
    (root / "etc/masked").symlink_to(target)
    assert survey(root, "/etc/masked") == {"/etc/masked": File("/etc/masked", target=target)}


def test_directories_and_what_is_neither(root: Path) -> None:
    (root / "etc/a.d").mkdir(mode=0o700)
    os.mkfifo(root / "etc/fifo")
    found = survey(root, "/etc/*")
    assert found["/etc/a.d"] == File("/etc/a.d", mode=0o700, is_dir=True)
    assert "/etc/fifo" not in found


def test_a_loop_on_the_way_stops_nothing(root: Path) -> None:
    (root / "etc/loop").symlink_to("loop")
    assert list(survey(root, "/etc/*")) == ["/etc/fstab", "/etc/loop"]


def test_a_huge_file_is_refused_with_its_name(root: Path) -> None:
    with open(root / "etc/huge", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(PvprepError, match="/etc/huge"):
        survey(root, "/etc/*")


@pytest.mark.parametrize("directory", ["lib/tls", "usr/lib/x", "boot/efi/EFI/Linux", "efi/a/b"])
def test_programs_and_images_are_only_seen(root: Path, directory: str) -> None:
    (root / directory).mkdir(parents=True)
    with open(root / directory / "large", "wb") as file:
        file.truncate(1 << 40)
    (found,) = survey(root, f"/{directory}/*").values()
    assert (found.path, found.content) == (f"/{directory}/large", b"")


def test_what_a_boot_loader_can_load(root: Path) -> None:
    (root / "boot").mkdir()
    (root / "boot/vmlinuz-1").write_bytes(b"12345")
    (root / "vmlinuz").symlink_to("boot/vmlinuz-1")
    (root / "boot/gone").symlink_to("vmlinuz-2")
    (root / "boot/loop").symlink_to("loop")
    (root / "boot/grub").mkdir()
    assert boot_files(Guest(str(root))) == {"/boot/vmlinuz-1": 5, "/vmlinuz": 5}


def test_without_boot_there_is_nothing_to_load(tmp_path: Path) -> None:
    assert boot_files(Guest(str(tmp_path))) == {}
