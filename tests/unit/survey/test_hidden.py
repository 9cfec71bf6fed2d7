"""What a mounted /boot hides."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tests.unit.building import mount

from pvprep.errors import PvprepError
from pvprep.guest import Completed, Guest
from pvprep.pygrub import READ_MAX
from pvprep.survey.hidden import CANDIDATES, SCRIPT, configurations

CFG = "/boot/grub/grub.cfg"
BOOT = [mount("/", "sda1"), mount("/boot", "sda2")]


class Says(Guest):
    """A running system on which the script says this."""

    running = True  # type: ignore[assignment]
    said, status, asked = "", 0, 0

    def run(self, argv: Any, **_more: Any) -> Completed:
        self.asked += 1
        assert list(argv)[:2] == ["unshare", "--mount"]
        return Completed(tuple(argv), self.status, self.said)


def says(text: str, status: int = 0) -> Says:
    guest = Says("/")
    guest.said, guest.status = text, status
    return guest


def test_content_comes_as_hex() -> None:
    found = configurations(says(f"{CFG}\n00ff0a\n/boot/grub/menu.lst\n\n"), BOOT)
    assert found == {CFG: b"\0\xff\n", "/boot/grub/menu.lst": b""}


def test_nobody_is_asked_where_nothing_is_hidden(tmp_path: Path) -> None:
    guest = says("")
    assert configurations(guest, BOOT[:1]) == {}
    assert guest.asked == 0
    assert configurations(Guest(str(tmp_path)), BOOT) == {}, "a tree that does not run"


def test_without_the_right_nothing_is_known() -> None:
    assert configurations(says("unshare: Operation not permitted", 1), BOOT) == {}


def test_what_else_is_said_is_no_file() -> None:
    assert configurations(says("/bin/sh: odd\nhead: warning\n"), BOOT) == {}


def test_complaints_in_between_have_words() -> None:
    with pytest.raises(PvprepError, match="cannot be read"):
        configurations(says(f"{CFG}\n00head: error reading\n"), BOOT)


def test_the_script_prints_what_is_read_here(tmp_path: Path) -> None:
    """All of it but the mounts, in a directory."""
    (tmp_path / "boot/grub").mkdir(parents=True)
    content = bytes(range(256)) * 5000
    (tmp_path / CFG[1:]).write_bytes(content)
    (tmp_path / "boot/grub/menu.lst").write_bytes(b"")
    loop = SCRIPT.format(files=" ".join(CANDIDATES), limit=READ_MAX).split("exit 1\n", 1)[1]
    done = Guest("/").run(["sh", "-c", f"cd {tmp_path}\n{loop}"])
    assert done.status == 0
    assert configurations(says(done.output), BOOT) == {
        CFG: content[:READ_MAX], "/boot/grub/menu.lst": b"",
    }  # fmt: skip


def test_names_need_no_quotes() -> None:
    assert all(os.path.normpath(path) == path and path.isprintable() for path in CANDIDATES)
    assert not set("".join(CANDIDATES)) & set(" *?'\"$`\\;&|")
