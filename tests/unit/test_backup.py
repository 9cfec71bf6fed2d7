"""Saving and restoring one path, on a real ext4 with everything it can attach to a file."""

from __future__ import annotations

import os
import socket
import struct
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.unit.journal_tools import mounted, snapshot

from pvprep.backup import (
    ABSENT,
    DIR,
    FILE,
    LINK,
    OTHER,
    difference,
    look,
    parse,
    restore,
    save,
    write,
)
from pvprep.errors import Exit, PvprepError
from pvprep.facts import Layout
from pvprep.guest import Guest

KINDS = ("absent", "file", "link", "dir")
# user:rw-, user 1000:r--, group:r--, mask:r--, other:---; as xattr(7), acl(5) lay it out
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry)
    for entry in (
        (1, 6, 2**32 - 1),
        (2, 4, 1000),
        (4, 4, 2**32 - 1),
        (16, 4, 2**32 - 1),
        (32, 0, 0),
    )
)
# cap_net_raw+ep, version 2, as capability(7) and linux/capability.h lay it out
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)


class Place:
    """A guest on ext4 and a store for backups beside it."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.root = base / "root"
        self.store = str(base / "store")
        (self.root / "etc").mkdir(parents=True)
        os.mkdir(self.store)
        self.guest = Guest(str(self.root))
        self.path = self.root / "etc/x"

    def make(self, kind: str, tag: str = "a") -> None:
        """Put one of each kind at /etc/x, with all that the kind can carry."""
        if kind == "file":
            self.path.write_bytes(b"\0\xff\r\n" + tag.encode())
            os.chown(self.path, 3, 4)
            self.path.chmod(0o4750)
            os.setxattr(self.path, "user.note", tag.encode())
            os.setxattr(self.path, "trusted.note", b"")
            os.setxattr(self.path, "security.selinux", b"system_u:object_r:etc_t:s0\0")
            os.setxattr(self.path, "security.capability", CAPABILITY)
            os.setxattr(self.path, "system.posix_acl_access", ACL)
        elif kind == "link":
            os.symlink(f"../\udcff{tag}", self.path)
            os.chown(self.path, 5, 6, follow_symlinks=False)
            os.setxattr(self.path, "trusted.note", b"link", follow_symlinks=False)
        elif kind == "dir":
            self.path.mkdir()
            self.path.chmod(0o1771)
            os.setxattr(self.path, "system.posix_acl_default", ACL)
        if kind != "absent":
            os.utime(self.path, ns=(11, 1_234_567_890_123_456_789), follow_symlinks=False)

    def close(self) -> None:
        """So that it can be unmounted."""
        self.guest.close()

    def clear(self) -> None:
        if self.path.is_dir() and not self.path.is_symlink():
            self.path.rmdir()
        elif os.path.lexists(self.path):
            self.path.unlink()

    def seen(self) -> dict[str, Any]:
        found = snapshot(self.root)
        found["/etc"][-1] = 0  # its time is the transaction's business
        return found

    def restore(self, record: Any) -> None:
        restore(self.guest, record, self.store, ".pvprep-t")


@pytest.fixture
def place(tmp_path: Path) -> Any:
    with mounted(tmp_path, 8) as base, closing(Place(base)) as place:
        yield place


@pytest.mark.parametrize("after", KINDS)
@pytest.mark.parametrize("before", KINDS)
def test_whatever_comes_it_is_put_back(place: Place, before: str, after: str) -> None:
    place.make(before)
    was = place.seen()
    record = save(place.guest, "/etc/x", place.store, "1")
    assert not difference(record, look(place.guest, "/etc/x"))
    place.clear()
    place.make(after, "other")
    (place.root / "etc/.pvprep-t").write_bytes(b"left by a kill")
    for _ in range(2):  # twice: it may be repeated
        place.restore(record)
        assert place.seen() == was
    assert parse(vars(record)) == record


def test_metadata_alone_is_put_back(place: Place) -> None:
    place.make("file")
    was = place.seen()
    record = save(place.guest, "/etc/x", place.store, "1")
    spoil = [
        lambda: place.path.chmod(0o600),
        lambda: os.chown(place.path, 0, 0),
        lambda: os.removexattr(place.path, "user.note"),
        lambda: os.setxattr(place.path, "user.more", b""),
        lambda: os.setxattr(place.path, "security.selinux", b"other"),
        lambda: os.utime(place.path),
    ]
    for change in spoil:
        change()
        assert difference(record, look(place.guest, "/etc/x"))
        place.restore(record)
        assert place.seen() == was


def test_writing_keeps_all_but_the_content(place: Place) -> None:
    place.make("file")
    os.setxattr(place.root / "etc", "system.posix_acl_default", ACL)  # new files inherit one
    before = save(place.guest, "/etc/x", place.store, "1")
    write(place.guest, before, b"new", 0o644, ".pvprep-t")
    after = look(place.guest, "/etc/x")
    assert place.path.read_bytes() == b"new"
    for name in ("kind", "mode", "uid", "gid", "xattrs"):
        assert getattr(after, name) == getattr(before, name), name
    assert os.listdir(place.root / "etc") == ["x"]


def test_hard_links_stay_links(place: Place) -> None:
    place.guest = Guest(str(place.root), Layout((), ()))
    place.make("file")
    os.link(place.path, place.root / "other")
    was = place.seen()
    record = save(place.guest, "/etc/x", place.store, "1")
    write(place.guest, record, b"longer than it was before", 0o644, ".pvprep-t")
    assert (place.root / "other").read_bytes() == b"longer than it was before"
    place.restore(record)
    assert place.seen() == was
    place.path.unlink()  # and where the name was gone, or another file has it
    place.restore(record)
    assert place.seen() == was
    place.path.unlink()
    place.path.write_bytes(b"another")
    (place.root / "other").write_bytes(b"rewritten")
    place.restore(record)
    assert place.seen() == was


def test_a_link_to_a_file_outside_a_mere_tree_leaves_that_alone(place: Place) -> None:
    place.path.write_bytes(b"was")
    outside = place.base / "outside"
    os.link(place.path, outside)
    was = place.seen()
    record = save(place.guest, "/etc/x", place.store, "1")
    content = outside.read_bytes()
    write(place.guest, record, b"edited", 0o644, ".pvprep-t")
    assert (place.path.read_bytes(), outside.read_bytes()) == (b"edited", content)
    outside.write_bytes(b"gone on")
    place.restore(record)
    assert (place.path.read_bytes(), outside.read_bytes()) == (content, b"gone on")
    outside.write_bytes(content)
    os.utime(outside, ns=(record.atime, record.mtime))
    place.path.unlink()
    place.restore(record)
    assert os.path.samefile(outside, place.path)
    assert place.seen() == was


def test_links_across_file_systems_are_lost_but_not_unnoticed(tmp_path: Path) -> None:
    with mounted(tmp_path, 8) as base, closing(Place(base)) as here:
        here.store = str(tmp_path / "store")
        os.mkdir(here.store)
        here.make("file")
        os.link(here.path, here.root / "other")
        record = save(here.guest, "/etc/x", here.store, "1")
        here.path.unlink()
        here.restore(record)
        now = look(here.guest, "/etc/x")
        assert difference(record, now) == "its set of hard links differs"
        assert not difference(record, now, edits=True)


def test_a_damaged_backup_is_not_put_back(place: Place) -> None:
    place.make("file")
    record = save(place.guest, "/etc/x", place.store, "1")
    Path(place.store, "1").write_bytes(b"damaged")
    place.path.write_bytes(b"edited")
    with pytest.raises(PvprepError, match="is damaged") as caught:
        place.restore(record)
    assert caught.value.status is Exit.HALF_WAY
    assert place.path.read_bytes() == b"edited"


def test_a_backup_is_never_overwritten(place: Place) -> None:
    place.make("file")
    save(place.guest, "/etc/x", place.store, "1")
    with pytest.raises(FileExistsError):
        save(place.guest, "/etc/x", place.store, "1")


def test_backups_are_private(place: Place) -> None:
    place.make("file")
    save(place.guest, "/etc/x", place.store, "1")
    assert os.stat(f"{place.store}/1").st_mode & 0o7777 == 0o600


def test_what_is_in_a_directory_is_not_ours(place: Place) -> None:
    record = save(place.guest, "/etc/x", place.store, "1")
    place.path.mkdir()
    (place.path / "theirs").write_bytes(b"")
    with pytest.raises(OSError, match="not empty"):
        place.restore(record)
    assert (place.path / "theirs").exists()


def test_special_files_are_seen_and_left(place: Place) -> None:
    os.mkfifo(place.path)
    record = save(place.guest, "/etc/x", place.store, "1")
    assert record.kind == OTHER
    place.restore(record)
    place.path.unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place.path))
    assert look(place.guest, "/etc/x").kind == OTHER
    place.path.unlink()
    with pytest.raises(PvprepError, match="was a special file and is absent"):
        place.restore(record)


def test_a_path_through_a_symlink_is_refused(place: Place) -> None:
    os.symlink("etc", place.root / "conf")
    for path in ("/conf/x", "/etc/../etc/x", "etc/x", "", "/etc/x/"):
        with pytest.raises(PvprepError, match="symlink"):
            look(place.guest, path)


def test_no_room_beside_it(tmp_path: Path) -> None:
    """A file as large as what is left is put back in place."""
    with mounted(tmp_path, 4) as base, closing(Place(base)) as here:
        here.store = str(tmp_path / "store")
        os.mkdir(here.store)
        here.path.write_bytes(os.urandom(1_500_000))
        was = here.seen()
        record = save(here.guest, "/etc/x", here.store, "1")
        here.path.write_bytes(b"n" * 1_500_001)
        fill(base / "filler")
        here.restore(record)
        assert here.seen() == was


def fill(place: Path) -> None:
    """Take all room that is left."""
    with pytest.raises(OSError, match="No space"), open(place, "ab", buffering=0) as file:
        while True:
            file.write(bytes(1024))


@pytest.mark.parametrize(
    ("kind", "expected"), [("file", FILE), ("link", LINK), ("dir", DIR), ("absent", ABSENT)]
)
def test_kinds(place: Place, kind: str, expected: str) -> None:
    place.make(kind)
    assert look(place.guest, "/etc/x").kind == expected


@pytest.mark.parametrize("name", ["../1", "1.link", "-1", "²", "/etc/shadow"])
def test_a_backup_has_a_number(place: Place, name: str) -> None:
    value = {**vars(look(place.guest, "/etc/x")), "backup": name}
    with pytest.raises(ValueError, match="number"):
        parse(value)
