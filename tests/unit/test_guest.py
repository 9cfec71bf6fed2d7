"""Guest: paths that stay inside, odd files that neither hang nor surprise, programs that run."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvprep.errors import PvprepError
from pvprep.guest import PIECE, Guest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree, and something beside it that must not be reached."""
    (tmp_path / "outside").write_text("outside")
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/hostname").write_text("guest\n")
    return tree


def test_a_root_has_to_be_a_directory(root: Path) -> None:
    for bad in (root / "none", root / "etc/hostname"):
        with pytest.raises(PvprepError, match="is not a directory"):
            Guest(str(bad))


def test_running_is_the_root_alone(root: Path) -> None:
    assert Guest("/").running
    assert Guest("//").running
    assert not Guest(str(root)).running


@pytest.mark.parametrize(
    ("links", "path", "resolved"),
    [
        ({}, "/etc/hostname", "/etc/hostname"),
        ({}, "//etc/./hostname/", "/etc/hostname"),
        ({}, "/etc/../etc/hostname", "/etc/hostname"),
        ({}, "/../../outside", "/outside"),
        ({}, "/none/../etc", "/etc"),
        ({}, "/", "/"),
        ({"a": "/etc/hostname"}, "/a", "/etc/hostname"),
        ({"etc/a": "/etc/hostname"}, "/etc/a", "/etc/hostname"),
        ({"a": "../../../outside"}, "/a", "/outside"),
        ({"a": "/outside"}, "/a", "/outside"),
        ({"a": "etc", "b": "a"}, "/b/hostname", "/etc/hostname"),
        ({"a": "etc"}, "/a/../x", "/x"),
        ({"etc/up": ".."}, "/etc/up/etc/hostname", "/etc/hostname"),
        ({"a": "/none/deep"}, "/a/x", "/none/deep/x"),
        ({"a": "/"}, "/a/a/a/etc", "/etc"),
    ],
)
def test_links_are_resolved_inside(
    root: Path, links: dict[str, str], path: str, resolved: str
) -> None:
    for name, target in links.items():
        (root / name).symlink_to(target)
    guest = Guest(str(root))
    assert guest.resolve(path) == resolved
    assert guest.named(path) == str(root) + resolved


def test_the_last_link_may_be_meant_itself(root: Path) -> None:
    (root / "a").symlink_to("etc")
    (root / "etc/b").symlink_to("hostname")
    guest = Guest(str(root))
    assert guest.resolve("/a/b", follow=False) == "/etc/b"
    assert guest.readlink("/a/b") == "hostname"
    assert guest.readlink("/etc/hostname") is None
    assert guest.readlink("/none") is None


@pytest.mark.parametrize("links", [{"a": "a"}, {"a": "b", "b": "/a"}, {"a": "a/x"}])
def test_a_loop_is_an_error_with_words(root: Path, links: dict[str, str]) -> None:
    for name, target in links.items():
        (root / name).symlink_to(target)
    guest = Guest(str(root))
    for action in (guest.resolve, guest.read, guest.exists, guest.names, guest.text):
        with pytest.raises(PvprepError, match="too many symlinks"):
            action("/a")
    assert guest.readlink("/a") == links["a"]


def test_forty_links_are_allowed(root: Path) -> None:
    (root / "l0").symlink_to("etc/hostname")
    for number in range(1, 41):
        (root / f"l{number}").symlink_to(f"l{number - 1}")
    guest = Guest(str(root))
    assert guest.read("/l39") == b"guest\n"
    with pytest.raises(PvprepError):
        guest.read("/l40")


NAMES = st.sampled_from(["a", "b", "c", "..", ".", "", "etc"])
PATHS = st.lists(NAMES, min_size=1, max_size=6).map("/".join)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.sampled_from(["a", "b", "etc/c"]), PATHS.map(lambda p: p or "/")), PATHS)
def test_no_path_leads_out(links: dict[str, str], path: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        tree = Path(place, "tree")
        (tree / "etc").mkdir(parents=True)
        Path(place, "a").write_text("outside")
        for name, target in links.items():
            (tree / name).symlink_to(target)
        guest = Guest(str(tree))
        try:
            outside = guest.named("/" + path).rstrip("/")
            held = guest.host("/" + path)
            assert guest.read("/" + path) is None
        except PvprepError:
            return
        assert os.path.realpath(outside) == outside
        assert (outside + "/").startswith(os.path.realpath(tree) + "/")
        if os.path.lexists(outside):
            assert os.path.samestat(os.lstat(held), os.lstat(outside))
        else:
            assert not os.path.lexists(held)


def odd_files(root: Path) -> list[str]:
    """A FIFO, a socket, a directory, a link to nowhere and links to the first three."""
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        before = os.getcwd()
        os.chdir(root)
        try:
            listening.bind("socket")
        finally:
            os.chdir(before)
    names = ["fifo", "socket", "etc", "none", "etc/hostname/x"]
    for name in names[:4]:
        (root / f"to-{name}").symlink_to(f"/{name}")
    return [*names, *(f"to-{name}" for name in names[:4])]


def test_what_is_no_regular_file_has_no_content(root: Path) -> None:
    guest = Guest(str(root))
    for name in odd_files(root):
        assert guest.read(f"/{name}") is None, name
        assert guest.text(f"/{name}") == ""
        assert not guest.is_file(f"/{name}")


def test_a_device_is_not_even_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    really = os.open

    def only_found(path: str, flags: int, **more: Any) -> int:
        assert flags & os.O_PATH, path  # which opens the name, not the device
        return really(path, flags, **more)

    monkeypatch.setattr(os, "open", only_found)
    assert Guest("/").read("/dev/null") is None
    assert Guest("/").read("/dev/zero") is None


def test_what_is_no_directory_has_no_names(root: Path) -> None:
    guest = Guest(str(root))
    (root / "etc/b").write_text("")
    assert guest.names("/etc") == ["b", "hostname"]
    for name in odd_files(root):
        if "etc" not in name:
            assert guest.names(f"/{name}") == [], name


def test_what_there_is(root: Path) -> None:
    guest = Guest(str(root))
    (root / "nowhere").symlink_to("/none")
    assert guest.is_file("/etc/hostname")
    assert guest.is_dir("/etc")
    assert not guest.is_file("/etc")
    assert not guest.is_dir("/etc/hostname")
    assert guest.exists("/etc")
    assert not guest.exists("/nowhere")
    assert guest.lstat("/nowhere") is not None
    assert guest.stat("/nowhere") is None
    assert guest.lstat("/etc/hostname/x") is None


def test_every_byte_survives(root: Path) -> None:
    content = bytes(range(256)) + b"\r\n\0"
    (root / "etc/odd").write_bytes(content)
    text = Guest(str(root)).text("/etc/odd")
    assert text.encode("utf-8", "surrogateescape") == content


def test_what_the_kernel_lets_be_read_only_a_little_at_once() -> None:
    assert len(Guest("/").text("/proc/sys/kernel/random/boot_id").strip()) == 36


def test_more_than_a_piece_is_read_whole(root: Path) -> None:
    content = bytes(range(256)) * (PIECE // 256) + b"more"
    (root / "f").write_bytes(content)
    assert Guest(str(root)).read("/f") == content
    assert Guest(str(root)).read("/f", len(content)) == content


def test_a_huge_file_is_refused_unread(root: Path) -> None:
    with open(root / "etc/huge", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(PvprepError, match=f"/etc/huge has {1 << 40} bytes") as caught:
        Guest(str(root)).read("/etc/huge")
    assert caught.value.hint


def test_the_limit_is_the_last_size_allowed(root: Path) -> None:
    (root / "etc/ten").write_bytes(b"x" * 10)
    guest = Guest(str(root))
    assert guest.read("/etc/ten", 10) == b"x" * 10
    with pytest.raises(PvprepError):
        guest.read("/etc/ten", 9)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("/etc/hostname", ["/etc/hostname"]),
        ("/etc/none", []),
        ("/none/*", []),
        ("/etc/*name", ["/etc/hostname"]),
        ("/etc/*", ["/etc/a.d", "/etc/b.d", "/etc/hostname", "/etc/link"]),
        ("/etc/*.d/*", ["/etc/a.d/1", "/etc/b.d/2"]),
        ("/etc/*.d/1", ["/etc/a.d/1"]),
        ("/*/*.d/[12]", ["/etc/a.d/1", "/etc/b.d/2"]),
        ("/etc/lin?", ["/etc/link"]),
        ("/e*/hostname/x", []),
    ],
)
def test_glob(root: Path, pattern: str, found: list[str]) -> None:
    for name in ("a.d/1", "b.d/2", "b.d/.hidden"):
        (root / "etc" / name).parent.mkdir(exist_ok=True)
        (root / "etc" / name).write_text("")
    (root / "etc/link").symlink_to("/none")
    assert list(Guest(str(root)).glob(pattern)) == found


def test_unreadable_is_an_error_with_words(root: Path) -> None:
    """Root may read all, so what cannot be read is a name that is too long."""
    (root / "etc/long").symlink_to("x" * 300)
    guest = Guest(str(root))
    with pytest.raises(PvprepError, match="File name too long"):
        guest.read("/etc/long")
    with pytest.raises(PvprepError, match="File name too long"):
        guest.names("/etc/long")


def test_a_program_runs_with_a_clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("SECRET", "x")
    seen: list[str] = []
    done = Guest("/").run(
        ["sh", "-c", 'echo "$LC_ALL$SECRET$MINE"; pwd; cat; echo bad >&2; printf "\\377"; exit 3'],
        env={"MINE": "!"},
        line=seen.append,
    )
    assert done.status == 3
    assert done.output == "C.UTF-8!\n/\nbad\n\udcff"
    assert seen == ["C.UTF-8!", "/", "bad", "\udcff"]
    assert done.argv[0] == "sh"


def test_a_program_that_is_not_there_says_so() -> None:
    done = Guest("/").run(["/none/such"])
    assert (done.status, done.output) == (127, "/none/such: No such file or directory")


def test_in_a_tree_programs_run_by_chroot(root: Path) -> None:
    assert Guest(str(root)).argv(["a", "b"]) == ["chroot", str(root), "a", "b"]
    assert Guest("/").argv(["a", "b"]) == ["a", "b"]
