"""Small initrds made of another kernel's, and read back as the kernel would."""

from __future__ import annotations

import gzip
import lzma
import subprocess
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.unit.initrds_append.test_append import (
    BLOCK,
    EARLY,
    EXT4,
    FRONTENDS,
    HELP,
    NET,
    Still,
    merged,
    planted,
    unpack,
)
from tests.unit.modules import module
from tests.unit.survey.synthetic import COMPRESSIONS, compress

from pvprep.changes import Additions, BuildInitrd
from pvprep.errors import PvprepError
from pvprep.initrds import base as bases
from pvprep.initrds.append import build
from pvprep.survey.initrd_image import prove_initrd

OLD, NEW = "4.19.0-1-686", "6.12.0-1-amd64"
DIRECTORY = f"lib/modules/{NEW}"
CRC, SPARE = "kernel/crypto/crc32c_generic.ko", "kernel/lib/spare.ko"
BASE, MADE, OUTPUT = f"/boot/initrd.img-{OLD}", f"/boot/initrd.img-{NEW}", "/boot/.new"
INDEX = "".join(f"{line}\n" for line in (
    f"{BLOCK}.xz:", f"{NET}: {HELP}.gz", f"{HELP}.gz:", f"{EXT4}:", f"{CRC}:", f"{SPARE}:",
))  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A guest with a new kernel's modules, compressed in all ways; ext4 asks for a checksum."""
    root = tmp_path / "guest"
    files = {
        f"{BLOCK}.xz": lzma.compress(module("alias=xen:vbd"), check=lzma.CHECK_CRC32),
        NET: module("alias=xen:vif", needs="help_me"),
        f"{HELP}.gz": gzip.compress(module(exports="help_me")),
        EXT4: module("alias=fs-ext4", "softdep=pre: crc32c"),
        CRC: module("alias=crypto-crc32c", "alias=crc32c"),
        SPARE: module(),
        "modules.dep": INDEX.encode(),
        "modules.softdep": b"# by depmod\nsoftdep ext4 pre: crc32c post: nothing\n",
        "modules.alias": b"alias fs-ext4 ext4\nalias crc32c crc32c_generic\nalias crc32c gone\n",
    }
    return planted(root, NEW, files)


def other(extra: Sequence[tuple[str, bytes]] = ()) -> bytes:
    """The initrd of the old kernel, where lib is a link."""
    return merged(extra, OLD)


def make(
    root: Path, image: bytes, modules: Sequence[str] = (*FRONTENDS, "ext4"), base: str = BASE
) -> bytes:
    """What comes of the old kernel's image, put where the new one belongs."""
    (root / BASE[1:]).write_bytes(image)
    (root / OUTPUT[1:]).unlink(missing_ok=True)
    files = (("conf/modules", b"xen-blkfront\nxen-netfront\next4\n"),)
    change = BuildInitrd("initrd", NEW, MADE, "initramfs-tools")
    build(Still(str(root)), change, Additions(tuple(modules), files, base=base), OUTPUT)
    (root / OUTPUT[1:]).rename(root / MADE[1:])
    return (root / MADE[1:]).read_bytes()


@pytest.mark.parametrize("early", [b"", EARLY])
@pytest.mark.parametrize("compression", [*COMPRESSIONS, "none"])
def test_behind_every_compression(root: Path, compression: str, early: bytes) -> None:
    old = early + compress(other(), compression)
    new = make(root, old)
    proof = prove_initrd(str(root / MADE[1:]))
    assert (proof.kind, proof.problem) == ("initramfs-tools", "")
    assert proof.by_version == {
        OLD: {"ext4"},
        NEW: {"xen_blkfront", "xen_netfront", "help", "ext4", "crc32c_generic"},
    }
    assert proof.compression[-2:] == ("gzip", "none")
    assert proof.preload == ("xen_blkfront", "xen_netfront", "ext4")
    assert new.startswith(old)
    assert new.endswith(bytes(4)), "Xen would take it for the size of a gzip file"
    gap = len(new) - len(old) - len(new[len(old) :].lstrip(b"\0"))
    assert gap >= (4 if compression == "lz4" else 0)


def test_modprobe_finds_each_module_unpacked(root: Path, tmp_path: Path) -> None:
    old = other()
    new = make(root, old)
    unpacker = zlib.decompressobj(wbits=31)
    modules = unpacker.decompress(new[len(old) :].lstrip(b"\0"))
    rest = unpacker.unused_data
    assert (len(new) - len(rest.lstrip(b"\0"))) % 4 == 0, "where the kernel takes it"
    both = unpack(rest, unpack(modules, unpack(old, tmp_path / "both")))
    assert (both / "lib").is_symlink()
    for name, files in (
        ("xen:vif", ["help.ko", "xen-netfront.ko"]),
        ("xen:vbd", ["xen-blkfront.ko"]),
        ("ext4", ["crc32c_generic.ko", "ext4.ko"]),
    ):
        argv = ["modprobe", "-d", str(both), "-S", NEW, "--show-depends", name]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        assert [Path(line.split()[1]).name for line in done.stdout.splitlines()] == files
    assert (both / DIRECTORY / BLOCK).read_bytes() == module("alias=xen:vbd")
    assert int((both / DIRECTORY / BLOCK).stat().st_mtime) == 1_600_000_000
    assert not (both / DIRECTORY / SPARE).exists()


def test_the_same_again_gives_the_same_bytes_and_the_mode_of_the_other(root: Path) -> None:
    once = make(root, compress(other(), "gzip"))
    (root / BASE[1:]).chmod(0o640)
    assert make(root, compress(other(), "gzip")) == once
    assert (root / MADE[1:]).stat().st_mode & 0o777 == 0o640


def test_it_can_be_extended_like_any_other(root: Path) -> None:
    """A later run replaces what was said, and keeps the modules."""
    once = make(root, compress(other(), "xz"))
    change = BuildInitrd("initrd", NEW, MADE, "initramfs-tools")
    adds = Additions(("spare",), (("conf/modules", b"xen-netfront\n"),))
    build(Still(str(root)), change, adds, OUTPUT)
    proof = prove_initrd(str(root / OUTPUT[1:]))
    assert proof.preload == ("xen_netfront",)
    assert proof.by_version[NEW] == {
        "xen_blkfront", "xen_netfront", "help", "ext4", "crc32c_generic", "spare",
    }  # fmt: skip
    assert proof.compression == ("xz", "gzip", "none")
    assert (root / OUTPUT[1:]).read_bytes()[: len(once) // 2] == once[: len(once) // 2]


def test_what_was_appended_for_the_other_kernel_stays_with_it(root: Path) -> None:
    place = root / f"lib/modules/{OLD}"
    place.mkdir(parents=True)
    (place / "xen-blkfront.ko").write_bytes(module())
    (place / "modules.dep").write_text("xen-blkfront.ko:\n")
    (root / BASE[1:]).write_bytes(other())
    change = BuildInitrd("initrd", OLD, BASE, "initramfs-tools")
    adds = Additions(("xen-blkfront",), (("conf/x", b"1"),))
    build(Still(str(root)), change, adds, OUTPUT)
    new = make(root, (root / OUTPUT[1:]).read_bytes())
    proof = prove_initrd(str(root / MADE[1:]))
    assert proof.by_version[OLD] == {"ext4"}
    assert b"conf/x\0" in new


def test_paths_are_spelled_as_the_guest_s_modprobe_wants_them(root: Path, tmp_path: Path) -> None:
    lines = (line.split() for line in INDEX.splitlines())
    whole = "".join(" ".join(f"/{DIRECTORY}/{word}" for word in line) + "\n" for line in lines)
    (root / DIRECTORY / "modules.dep").write_text(whole)
    old = other()
    new = make(root, old)
    added = unpack(zlib.decompress(new[len(old) :].lstrip(b"\0"), 31), tmp_path / "added")
    text = (added / f"usr/{DIRECTORY}/modules.dep").read_text()
    assert f"/{DIRECTORY}/{NET}: /{DIRECTORY}/{HELP}" in text.splitlines()


@pytest.mark.parametrize(
    ("path", "content", "why"),
    [
        (f"{BLOCK}.xz", lzma.compress(module())[:-30], "cut off|damaged"),
        (NET, b"", "the file is empty"),
        (EXT4, b"no module", "depmod failed"),
    ],
)
def test_damaged_modules_are_told(root: Path, path: str, content: bytes, why: str) -> None:
    (root / DIRECTORY / path).write_bytes(content)
    with pytest.raises(PvprepError, match=why):
        make(root, other())


def test_modules_without_end_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = lzma.compress(bytes(1 << 20), check=lzma.CHECK_CRC32)
    (root / DIRECTORY / f"{BLOCK}.xz").write_bytes(bomb)
    monkeypatch.setattr(bases, "_ADDED_MAX", 100_000)
    with pytest.raises(PvprepError, match="more than 100000 bytes"):
        make(root, other())


def test_links_out_of_the_guest_are_not_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(module("secret=1"))
    (root / DIRECTORY / NET).unlink()
    (root / DIRECTORY / NET).symlink_to(tmp_path / "secret")
    with pytest.raises(PvprepError, match="is missing"):
        make(root, other())
