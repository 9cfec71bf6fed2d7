"""The draft: what steps write one after the other, and the changes that come of it."""

from __future__ import annotations

import pytest
from tests.unit.building import file, guest, link, written

from pvprep.changes import BuildInitrd, InstallPackages, MakeDir, MakeLink, Move, Remove, WriteFile
from pvprep.draft import Draft
from pvprep.editors.edited import Edit, Edited
from pvprep.findings import Level

FSTAB = "/etc/fstab"


def draft(**files: object) -> Draft:
    """A draft of a guest with these files; `_` is a slash."""
    named = {name.replace("_", "/"): content for name, content in files.items()}
    return Draft(guest(named, grub=False))  # type: ignore[arg-type]


def edited(text: str, *edits: Edit) -> Edited:
    return Edited(text, edits or (Edit(1, "old", "new"),))


def test_what_is_written_is_read() -> None:
    one = draft(_etc_fstab="old\n")
    assert one.text(FSTAB) == "old\n"
    assert one.edit("devices", FSTAB, edited("new\n"))
    assert one.text(FSTAB) == "new\n"
    assert one.facts.text(FSTAB) == "old\n"
    (change,) = one.changes()
    assert change == WriteFile(
        "devices", FSTAB, b"new\n", b"old\n", 0o644, ("/etc/fstab:1 old -> new",)
    )


def test_what_is_not_there_is_empty() -> None:
    assert draft().file("/none") is None
    assert draft().text("/none") == ""


def test_without_edits_nothing_is_written() -> None:
    one = draft(_etc_fstab="old\n")
    assert not one.edit("devices", FSTAB, Edited("old\n"))
    assert one.changes() == ()


def test_two_steps_may_change_one_file() -> None:
    one = draft(_etc_fstab="a\n")
    one.edit("devices", FSTAB, edited("b\n", Edit(1, "a", "b")))
    one.edit("network", FSTAB, edited("b\nc\n", Edit(2, "", "c")))
    (change,) = one.changes()
    assert isinstance(change, WriteFile)
    assert (change.step, change.content, change.expect) == ("devices", b"b\nc\n", b"a\n")
    assert change.why == ("/etc/fstab:1 a -> b", "/etc/fstab:2 c added")


def test_back_to_what_was_is_no_change() -> None:
    one = draft(_etc_fstab="a\n")
    one.edit("x", FSTAB, edited("b\n"))
    one.edit("x", FSTAB, edited("a\n"))
    assert one.changes() == ()
    assert one.text(FSTAB) == "a\n"


def test_the_same_edit_in_many_lines_is_told_once() -> None:
    one = draft(_etc_fstab="")
    one.edit("x", FSTAB, edited("t", Edit(1, "a", "b"), Edit(4, "a", "b"), Edit(5, "c", "")))
    assert one.changes()[0].why == ("/etc/fstab:1,4 a -> b", "/etc/fstab:5 c removed")


def test_a_file_of_our_own_is_made_or_brought_up_to_date() -> None:
    one = draft(_etc_there="same", _etc_old="old")
    assert not one.create("x", "/etc/there", "same", "is ours")
    assert one.create("x", "/etc/old", "new", "is ours")
    assert one.create("x", "/etc/new", "new", "is ours", mode=0o755)
    assert not one.create("x", "/etc/new", "new", "is ours", mode=0o755)
    old, new = one.changes()
    assert isinstance(old, WriteFile)
    assert isinstance(new, WriteFile)
    assert (old.expect, new.expect) == (b"old", None)
    assert new.mode == 0o755
    assert new.why == ("/etc/new is ours",)
    assert one.file("/etc/new") == file("/etc/new", "new").__class__("/etc/new", b"new", 0o755)


def test_writing_goes_to_where_links_lead() -> None:
    one = draft(_a=link("/a", "real", "old", "/real"), _real="old")
    one.edit("x", "/a", edited("new"))
    assert written(one) == {"/real": "new"}
    assert one.text("/real") == one.text("/a") == "new"


def test_removing() -> None:
    one = draft(_a="old", _b=link("/b", "/a", "old", "/a"))
    one.edit("x", "/a", edited("new"))
    one.remove("x", "/a", "gone")
    assert one.changes() == (Remove("x", "/a", ("/a gone",)),)
    assert one.file("/a") is None
    two = draft(_b=link("/b", "/a", "old", "/a"))
    two.remove("x", "/b", "gone")
    assert two.changes() == (Remove("x", "/b", ("/b gone",)),), "the link itself"


def test_every_byte_survives() -> None:
    one = draft(_etc_fstab=b"\xff\r\n")
    assert one.text(FSTAB) == "\udcff\r\n"
    one.edit("x", FSTAB, edited(one.text(FSTAB) + "x"))
    assert one.changes()[0].content == b"\xff\r\nx"  # type: ignore[union-attr]


def test_the_order_is_safe() -> None:
    one = draft(_menu="old", _a="", _etc_x="old")
    build = BuildInitrd("initrd", "1", "/boot/i", "dracut")
    install = InstallPackages("kernel", ("k",))
    one.build(build)
    one.install(install)
    one.edit("x", "/menu", edited("new"))
    one.write_late("/menu")
    one.move("x", "/b", "/c", "because")
    one.directory("x", "/d", "because")
    one.link("x", "/e", "../e", "because")
    one.remove("x", "/a", "because")
    one.edit("x", "/etc/x", edited("new"))
    kinds = [type(change) for change in one.changes()]
    assert kinds == [WriteFile, Move, MakeDir, MakeLink, Remove, InstallPackages, BuildInitrd,
                     WriteFile]  # fmt: skip
    assert one.changes()[-1].path == "/menu"  # type: ignore[union-attr]
    assert one.builds == [build]
    assert all(change.why for change in one.changes() if change not in (build, install))


@pytest.mark.parametrize(
    ("prefixes", "found"),
    [(["/etc/"], ["/etc/x", "/etc/old"]), (["/etc/o"], ["/etc/old"]), (["/mv"], ["/mv"]), ([], [])],
)
def test_what_will_be_rewritten(prefixes: list[str], found: list[str]) -> None:
    one = draft(_etc_x="", _etc_old="")
    one.edit("x", "/etc/x", edited("new"))
    one.remove("x", "/etc/old", "")
    one.move("x", "/mv", "/etc/to", "")
    assert one.rewritten(prefixes) == found


def test_findings() -> None:
    one = draft()
    one.say("a.b", Level.INFO, "told")
    one.say("c.d", Level.ERROR, "bad", evidence="e", where="w", remedy="r")
    assert [finding.id for finding in one.findings] == ["a.b", "c.d"]
    (error,) = one.errors
    assert (error.message, error.evidence, error.where, error.remedy) == ("bad", "e", "w", "r")
