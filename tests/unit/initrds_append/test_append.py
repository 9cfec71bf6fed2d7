"""Small initrds of every kind, extended, and read back as the kernel would."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import pytest
from tests.unit.modules import module
from tests.unit.survey.synthetic import COMPRESSIONS, SYMLINK, compress, cpio, member

from pvprep.changes import Additions, BuildInitrd
from pvprep.errors import PvprepError
from pvprep.facts import InitrdProof
from pvprep.guest import Guest
from pvprep.initrds.append import build
from pvprep.initrds.base import MARKER
from pvprep.survey.initrd_image import prove_initrd

VERSION = "6.1.0-9-amd64"
DIRECTORY = f"lib/modules/{VERSION}"
BLOCK, NET = "kernel/drivers/block/xen-blkfront.ko", "kernel/drivers/net/xen-netfront.ko"
EXT4, HELP = "kernel/fs/ext4/ext4.ko", "kernel/lib/help.ko"
EARLY = cpio([("kernel/x86/microcode/GenuineIntel.bin", b"\x01" * 5001)])
FRONTENDS = ("xen-blkfront", "xen-netfront")
IMAGE, OUTPUT = "/boot/initrd", "/boot/.new"


class Still(Guest):
    """A guest none of whose programs may run."""

    def run(self, argv: Sequence[str], **_more: object) -> NoReturn:  # type: ignore[override]
        raise AssertionError(f"{argv} was run")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A guest with three modules; the network frontend needs another one."""
    root = tmp_path / "guest"
    files = {
        BLOCK: module("alias=xen:vbd"),
        NET: module("alias=xen:vif", needs="help_me"),
        HELP: module(exports="help_me"),
        EXT4: module("alias=fs-ext4"),
        "modules.dep": f"{BLOCK}:\n{NET}: {HELP}\n{HELP}:\n{EXT4}:\n".encode(),
        "modules.builtin": b"kernel/fs/built.ko\n",
    }
    return planted(root, VERSION, files)


def planted(root: Path, version: str, files: Mapping[str, bytes]) -> Path:
    """The guest with these files in a kernel's directory of modules."""
    for path, content in files.items():
        place = root / "lib/modules" / version / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        os.utime(place, (1_600_000_000, 1_600_000_000))
    (root / "boot").mkdir()
    return root


def merged(extra: Sequence[tuple[str, bytes]] = (), version: str = VERSION) -> bytes:
    """An initrd of initramfs-tools with one module, where lib is a link."""
    return member("lib", b"usr/lib", SYMLINK) + cpio(
        [
            ("usr/", b""),
            ("usr/lib/", b""),
            ("scripts/functions", b"#"),
            ("conf/", b""),
            ("conf/modules", b"ext4\n"),
            (f"usr/lib/modules/{version}/{EXT4}", module("alias=fs-ext4")),
            (f"usr/lib/modules/{version}/modules.dep", f"{EXT4}:\n".encode()),
            *extra,
        ]
    )


def append(
    root: Path, image: bytes, modules: Sequence[str] = FRONTENDS, flat: bool = False,
    **files: bytes,
) -> bytes:  # fmt: skip
    """What comes of an image; files: names with __ for /."""
    (root / IMAGE[1:]).write_bytes(image)
    (root / OUTPUT[1:]).unlink(missing_ok=True)
    pairs = tuple((name.replace("__", "/"), text) for name, text in files.items())
    change = BuildInitrd("initrd", VERSION, IMAGE, "initramfs-tools")
    build(Still(str(root)), change, Additions(tuple(modules), pairs, flat), OUTPUT)
    return (root / OUTPUT[1:]).read_bytes()


def prove(root: Path) -> InitrdProof:
    return prove_initrd(str(root / OUTPUT[1:]))


def unpack(archive: bytes, directory: Path) -> Path:
    """By cpio(1)."""
    directory.mkdir(exist_ok=True)
    argv = ["cpio", "-idmu", "--quiet", "--no-absolute-filenames"]
    subprocess.run(argv, input=archive.lstrip(b"\0"), cwd=directory, check=True)
    return directory


@pytest.mark.parametrize("early", [b"", EARLY, EARLY + bytes(443)])
@pytest.mark.parametrize("compression", [*COMPRESSIONS, "none"])
def test_every_compression_goes_on_behind(root: Path, compression: str, early: bytes) -> None:
    old = early + compress(merged(), compression)
    new = append(root, old, conf__modules=b"xen-blkfront\nxen-netfront\next4\n")
    proof = prove(root)
    assert (proof.kind, proof.problem) == ("initramfs-tools", "")
    assert proof.modules == {"xen_blkfront", "xen_netfront", "help", "ext4"}
    assert proof.preload == ("xen_blkfront", "xen_netfront", "ext4")
    assert new.startswith(old)
    gap = len(new) - len(old) - len(new[len(old) :].lstrip(b"\0"))
    assert (len(old) + gap) % 4 == 0, "the kernel takes it at a multiple of four only"
    assert gap >= (4 if compression == "lz4" else 0)
    assert new.endswith(bytes(4)), "Xen would take it for the size of a gzip file"


def test_the_index_is_of_all_that_is_there_and_no_more(root: Path, tmp_path: Path) -> None:
    old = merged()
    new = append(root, old)
    both = unpack(new[len(old) :], unpack(old, tmp_path / "both"))
    assert (both / "lib").is_symlink()
    dep = (both / DIRECTORY / "modules.dep").read_text()
    assert sorted(dep.splitlines()) == sorted(
        [f"{BLOCK}:", f"{NET}: {HELP}", f"{HELP}:", f"{EXT4}:"]
    )
    argv = ["modprobe", "-d", str(both), "-S", VERSION, "--show-depends", "xen:vif"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert [line.rsplit("/", 1)[1].strip() for line in done.stdout.splitlines()] == [
        "help.ko", "xen-netfront.ko",
    ]  # fmt: skip
    assert (both / DIRECTORY / "modules.builtin.bin").exists()
    assert int((both / DIRECTORY / BLOCK).stat().st_mtime) == 1_600_000_000


def test_the_same_again_gives_the_same_bytes(root: Path) -> None:
    once = append(root, compress(merged(), "gzip"), conf__modules=b"x\n")
    assert append(root, once, conf__modules=b"x\n") == once


def test_what_was_appended_before_is_taken_over(root: Path) -> None:
    once = append(root, merged(), ["xen-blkfront"], conf__modules=b"x\n", conf__y=b"y")
    append(root, once, ["xen-netfront"], conf__modules=b"z\n")
    proof = prove(root)
    assert proof.compression == ("none", "none")
    assert proof.modules >= {"xen_blkfront", "xen_netfront"}
    assert proof.files["conf/modules"] == b"z\n"


def test_something_else_behind_it_is_not_thrown_away(root: Path) -> None:
    once = append(root, merged(), conf__modules=b"x\n")
    with pytest.raises(PvprepError, match="behind what pvprep appended") as caught:
        append(root, once + cpio([("other", b"")]), conf__modules=b"x\n")
    assert "--initrd rebuild" in caught.value.hint


def test_without_modules_depmod_is_not_asked(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    append(root, merged(), [], conf__modules=b"x\n")
    assert prove(root).files["conf/modules"] == b"x\n"


def test_nash_gets_modules_by_file(root: Path) -> None:
    old = compress(cpio([("init", b"#!/bin/nash\n"), ("lib/", b"")]), "gzip")
    new = append(root, old, ["xen-blkfront"], flat=True, init=b"#!/bin/nash\ninsmod /lib/x.ko\n")
    assert prove(root).modules == {"xen_blkfront"}
    assert b"lib/xen-blkfront.ko\0" in new and b"modules.dep" not in new


def test_nash_cannot_load_what_needs_more(root: Path) -> None:
    with pytest.raises(PvprepError, match="before the frontends"):
        append(root, cpio([("lib/", b"")]), ["xen-netfront"], flat=True)


def test_a_script_stays_executable_and_a_new_directory_is_made(root: Path, tmp_path: Path) -> None:
    script = member("init", b"#!/bin/sh\n", stat.S_IFREG | 0o755, inode=7)
    old = script + merged()
    new = append(root, old, [], init=b"#!/bin/sh\n:\n", etc__a__b=b"1")
    added = unpack(new[len(old) :], tmp_path / "added")
    assert (added / "init").stat().st_mode & 0o777 == 0o755
    assert (added / "etc/a/b").read_bytes() == b"1"
    assert (added / MARKER).is_file()
    assert not (added / "conf").exists()


def test_a_hard_link_does_not_take_its_other_names_along(root: Path, tmp_path: Path) -> None:
    """The kernel writes into the file that is there; so its name is made a link first."""
    one = member("a", b"", inode=9, links=2) + member("b", b"old", inode=9, links=2)
    old = one + merged()
    new = append(root, old, [], a=b"new")
    both = unpack(new[len(old) :], unpack(old, tmp_path / "both"))
    assert ((both / "a").read_bytes(), (both / "b").read_bytes()) == (b"new", b"old")
    assert b"%08X" % SYMLINK in new[len(old) :]


def test_absolute_paths_of_an_old_index_stay_absolute(root: Path, tmp_path: Path) -> None:
    old = cpio(
        [
            (f"{DIRECTORY}/{EXT4}", module()),
            (f"{DIRECTORY}/modules.dep", f"/{DIRECTORY}/{EXT4}:\n".encode()),
        ]
    )
    new = append(root, old)
    both = unpack(new[len(old) :], unpack(old, tmp_path / "both"))
    lines = (both / DIRECTORY / "modules.dep").read_text().splitlines()
    assert f"/{DIRECTORY}/{NET}: /{DIRECTORY}/{HELP}" in lines
    assert not list((both / DIRECTORY).glob("*.bin"))


@pytest.mark.parametrize(
    ("dep", "message"),
    [
        ("", "does not know xen-blkfront"),
        ("../../../../etc/xen-blkfront.ko:\n", "is no module"),
        ("/etc/xen-blkfront.ko:\n", "is no module"),
        ("x/xen-blkfront.ko:\nx/xen-netfront.ko:\n", "is missing"),
    ],
)
def test_an_index_of_the_guest_is_not_trusted(root: Path, dep: str, message: str) -> None:
    (root / DIRECTORY / "modules.dep").write_text(dep)
    with pytest.raises(PvprepError, match=message):
        append(root, merged())


def test_a_module_that_depmod_cannot_read_is_told(root: Path) -> None:
    (root / DIRECTORY / BLOCK).write_bytes(b"not an object file")
    with pytest.raises(PvprepError, match="depmod failed") as caught:
        append(root, merged())
    assert "--initrd rebuild" in caught.value.hint


@pytest.mark.parametrize(
    ("image", "message"),
    [(b"GIF89a", "neither a cpio archive"), (compress(merged(), "gzip")[:-20], "cut off")],
)
def test_a_damaged_one_is_told(root: Path, image: bytes, message: str) -> None:
    with pytest.raises(PvprepError, match=message):
        append(root, image)


def test_links_that_go_round_in_circles(root: Path) -> None:
    image = member("conf", b"conf", SYMLINK) + cpio([("x", b"")])
    with pytest.raises(PvprepError, match="too many symlinks"):
        append(root, image, [], conf__modules=b"x")


@pytest.mark.parametrize("way", ["../../../../../../", "", "./", "kernel/../../../../../.."])
def test_hostile_names_stay_in_the_scratch_directory(
    root: Path, tmp_path: Path, way: str
) -> None:
    hostile = [(f"usr/{DIRECTORY}/{way}{tmp_path}/evil.ko", module())]
    if ".." in way:
        with pytest.raises(PvprepError, match="a file in it is named"):
            append(root, merged(hostile))
    else:
        append(root, merged(hostile))
    assert not (tmp_path / "evil.ko").exists()
