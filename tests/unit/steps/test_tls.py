"""/lib/tls of 32-bit systems."""

from __future__ import annotations

import pytest
from tests.unit import building
from tests.unit.building import Content, directory, file, guest, ids, link, run, said, settle

from pvprep.changes import MakeDir, Move
from pvprep.findings import Level

LIBC = "/lib/libc.so.6"
TLS: dict[str, Content] = {
    "/lib/tls": directory("/lib/tls"),
    "/lib/tls/i686": directory("/lib/tls/i686"),
    "/lib/tls/libc.so.6": "",
}
HWCAP = "/etc/ld.so.conf.d/libc6-xen.conf"


def i386(files: dict[str, Content]) -> building.Facts:
    return guest(files, machine={"userland": "i386"})


def test_libraries_in_use_are_moved_aside_and_an_empty_directory_stays() -> None:
    draft = run("tls", i386({**TLS, LIBC: ""}))
    move, made = draft.changes()
    assert isinstance(move, Move)
    assert (move.path, move.to) == ("/lib/tls", "/lib/tls.disabled")
    assert isinstance(made, MakeDir)
    assert made.path == "/lib/tls"


def test_a_second_run_does_nothing() -> None:
    facts, first = settle(i386({**TLS, LIBC: ""}))
    assert building.kinds(first, Move)
    draft = run("tls", facts)
    assert draft.changes() == ()
    assert ids(draft) == ["tls.not-needed"]


@pytest.mark.parametrize(
    ("userland", "message"),
    [("amd64", "a 64-bit system"), ("arm64", "not 32-bit x86"), ("", "not 32-bit x86")],
)
def test_other_systems_need_nothing(userland: str, message: str) -> None:
    draft = run("tls", guest({**TLS, LIBC: ""}, machine={"userland": userland}))
    assert draft.changes() == ()
    assert message in said(draft, "tls.not-needed").message


@pytest.mark.parametrize("files", [{}, {"/lib/tls": directory("/lib/tls")}])
def test_without_libraries_there_is_nothing_to_move(files: dict[str, Content]) -> None:
    draft = run("tls", i386({**files, LIBC: ""}))
    assert draft.changes() == ()
    assert ids(draft) == ["tls.not-needed"]


@pytest.mark.parametrize(
    "libc",
    [
        {},
        {LIBC: link(LIBC, "tls/libc.so.6", real="/lib/tls/libc.so.6")},
        {LIBC: link(LIBC, "gone")},
    ],
)
def test_the_only_libc_is_never_moved(libc: dict[str, Content]) -> None:
    draft = run("tls", i386({**TLS, **libc}))
    assert draft.changes() == ()
    assert said(draft, "tls.only-libc").level is Level.ERROR


@pytest.mark.parametrize(
    "libc",
    [
        {LIBC: link(LIBC, "libc-2.3.6.so", real="/lib/libc-2.3.6.so")},
        {"/lib/i386-linux-gnu/libc.so.6": ""},
        {"/lib/i386-linux-gnu/libc.so.6": file("/usr/lib/i386-linux-gnu/libc.so.6", "")},
        {"/usr/lib/i386-linux-gnu/libc.so.6": ""},
    ],
)
def test_another_libc_is_enough(libc: dict[str, Content]) -> None:
    assert len(run("tls", i386({**TLS, **libc})).changes()) == 2


def test_what_was_moved_before_is_not_written_over() -> None:
    draft = run("tls", i386({**TLS, LIBC: "", "/lib/tls.disabled": directory("/lib/tls.disabled")}))
    assert draft.changes() == ()
    assert said(draft, "tls.aside-exists").level is Level.ERROR


def test_the_libc_made_for_xen_is_used() -> None:
    files = {**TLS, LIBC: "", "/lib/i686/nosegneg/libc.so.6": "", HWCAP: "hwcap 0 nosegneg\n"}
    draft = run("tls", i386(files))
    assert draft.changes() == ()
    assert ids(draft) == ["tls.nosegneg"]


@pytest.mark.parametrize("missing", ["/lib/i686/nosegneg/libc.so.6", HWCAP])
def test_nosegneg_takes_both_the_library_and_the_hwcap(missing: str) -> None:
    files = {**TLS, LIBC: "", "/lib/i686/nosegneg/libc.so.6": "", HWCAP: "hwcap 0 nosegneg\n"}
    del files[missing]
    assert len(run("tls", i386(files)).changes()) == 2
