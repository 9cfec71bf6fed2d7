"""What is found in a directory or a package, and what is refused."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.outside import sources
from tests.unit.outside.sources import MODULES, V, files, info
from tests.unit.survey.synthetic import cpio, member

from pvprep import outside
from pvprep.errors import Exit, PvprepError
from pvprep.outside import package, shelf
from pvprep.outside.member import stays_inside


def both_packages(place: Path) -> Path:
    """An image and its modules in packages of their own, beside what is none."""
    place.mkdir()
    content = files()
    boot = {name: content[name] for name in content if name.startswith("boot/")}
    modules = {name: content[name] for name in content if name not in boot}
    sources.deb(place / "linux-image.deb", boot)
    sources.deb(place / "linux-modules.deb", modules)
    (place / "notes.txt").write_text("")
    return place


SOURCES: dict[str, Callable[[Path], Path]] = {
    "root": lambda place: sources.root(place / "r", files()),
    "root of EL": lambda place: sources.root(place / "r", sources.in_modules()),
    "deb": lambda place: sources.deb(place / "k.deb", files()),
    "rpm": lambda place: sources.rpm(place / "k.rpm", sources.in_modules()),
    "rpm with /boot": lambda place: sources.rpm(place / "k.rpm", files()),
    "two packages": lambda place: both_packages(place / "d"),
}


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_a_kernel_is_found_and_proven(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    source = make(tmp_path)
    ((found, kernel),) = outside.read(str(source)).kernels
    assert (kernel.version, kernel.image) == (V, f"/boot/vmlinuz-{V}")
    assert kernel.proof.pv and kernel.proof.pvh and not kernel.proof.problem
    assert kernel.config["XEN_PV"] == "y"
    assert kernel.builtin == {"ext4"}
    assert kernel.modules == {"xen_blkfront", "xen_netfront"}
    assert set(found.boot) == {"vmlinuz", "config", "System.map"}
    assert not list(tmp_path.glob("*.p*"))  # what the packages' scripts would have made


def test_of_several_kernels_the_newest_is_last(tmp_path: Path) -> None:
    for version in ("6.1.0-100-amd64", V, "5.10.0-1"):
        sources.root(tmp_path / version, files(version))
    content = {k: v for version in ("6.1.0-100-amd64", V) for k, v in files(version).items()}
    sources.root(tmp_path / "all", content)
    kernels = [kernel.version for _, kernel in outside.read(str(tmp_path / "all")).kernels]
    assert kernels == [V, "6.1.0-100-amd64"]


def test_links_of_a_foreign_root_do_not_lead_to_this_one(tmp_path: Path) -> None:
    sources.root(tmp_path / "else", files())
    (tmp_path / "r").mkdir()
    os.symlink(tmp_path / "else/boot", tmp_path / "r/boot")
    os.symlink(tmp_path / "else/lib", tmp_path / "r/lib")
    with pytest.raises(PvprepError, match="neither a kernel nor a module"):
        outside.read(str(tmp_path / "r"))


def test_a_merged_usr_is_looked_through_once(tmp_path: Path) -> None:
    sources.root(tmp_path / "r", sources.in_modules())
    os.symlink("usr/lib", tmp_path / "r/lib")
    assert len(outside.read(str(tmp_path / "r")).kernels) == 1


@pytest.mark.parametrize(
    ("without", "says"),
    [("boot/", f"{V} has no image"), ("lib/", f"{V} has no modules"), ("", "neither a kernel")],
)
def test_half_a_kernel_is_none(tmp_path: Path, without: str, says: str) -> None:
    content = {name: data for name, data in files().items() if not name.startswith(without)}
    (tmp_path / "r").mkdir()
    with pytest.raises(PvprepError, match=says) as caught:
        outside.read(str(sources.root(tmp_path / "r", content)))
    assert caught.value.status is Exit.NOT_READY
    assert "boot/vmlinuz-VERSION" in caught.value.hint


@pytest.mark.parametrize("name", ["absent", "file", "absent.deb"])
def test_what_is_neither_directory_nor_package(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PvprepError, match=r"neither a directory nor a \.deb or \.rpm"):
        outside.read(str(tmp_path / name))


@pytest.mark.parametrize("name", ["k.deb", "k.rpm"])
def test_a_damaged_package_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no package" * 99)
    with pytest.raises(PvprepError, match=f"{name} cannot be read") as caught:
        outside.read(str(tmp_path / name))
    assert caught.value.status is Exit.NOT_READY


def test_a_package_that_is_cut_off(tmp_path: Path) -> None:
    whole = sources.deb(tmp_path / "k.deb", {**files(), f"{MODULES}/big.ko": os.urandom(99999)})
    whole.write_bytes(whole.read_bytes()[:-50000])
    with pytest.raises(PvprepError, match="cannot be read"):
        outside.read(str(whole))


def test_the_program_that_opens_packages_may_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "ENVIRONMENT", {"PATH": str(tmp_path)})
    (tmp_path / "k.rpm").write_bytes(b"")
    with pytest.raises(PvprepError, match="rpm2cpio is not installed") as caught:
        outside.read(str(tmp_path / "k.rpm"))
    assert "name the directory" in caught.value.hint


HOSTILE = {
    "absolute": ([info("/etc/passwd")], "named '/etc/passwd'"),
    "above": ([info(f"./{MODULES}/../../../etc/passwd")], "etc/passwd"),
    "above, elsewhere": ([info("usr/share/../../x")], "usr/share/../../x"),
    "device": ([info(f"./{MODULES}/sda", tarfile.BLKTYPE)], "neither a file"),
    "fifo": ([info(f"./{MODULES}/f", tarfile.FIFOTYPE)], "neither a file"),
    "hard link": ([info(f"./{MODULES}/l", tarfile.LNKTYPE, "/etc/shadow")], "neither a file"),
    "newline": ([info(f"./{MODULES}/a\nb.ko")], "a.nb.ko"),
    "twice": ([info(f"./boot/vmlinuz-{V}")], "two files named"),
    "a file below a link": (
        [info(f"{MODULES}/x", tarfile.SYMTYPE, "/etc"), info(f"{MODULES}/x", tarfile.REGTYPE)],
        "two files named",
    ),
}


@pytest.mark.parametrize(("members", "says"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_package_is_refused(
    tmp_path: Path, members: list[tarfile.TarInfo], says: str
) -> None:
    place = sources.hostile_deb(tmp_path / "k.deb", members)
    with pytest.raises(PvprepError, match=says) as caught:
        outside.read(str(place))
    assert caught.value.status is Exit.NOT_READY


def test_what_lies_elsewhere_in_a_package_is_not_looked_at(tmp_path: Path) -> None:
    members = [info("./etc/cron.d/x"), info("./dev/sda", tarfile.BLKTYPE), info("./boot/xen.gz"),
               info("./boot/grub/grub.cfg"), info("./lib/modules"), info("./usr/a\nb"),
               info(f"./{MODULES}/source", tarfile.SYMTYPE, "/")]  # fmt: skip
    ((found, _),) = outside.read(str(sources.hostile_deb(tmp_path / "k.deb", members))).kernels
    assert set(found.members) == set(files())


@pytest.mark.parametrize(
    ("odd", "says"),
    [
        (member("/etc/passwd", b"x"), "named '/etc/passwd'"),
        (member(f"./{MODULES}/../../x", b"x"), "has a file named"),
        (member(f"./{MODULES}/sda", b"", stat.S_IFBLK), "neither a file"),
        (member(f"./{MODULES}/l", b"x", links=2), "neither a file of its own"),
        (member(f"./{MODULES}/l", b"x" * 9999, stat.S_IFLNK | 0o777), "symlink of 9999 bytes"),
    ],
)
def test_a_hostile_archive_in_an_rpm_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: bytes, says: str
) -> None:
    fake_rpm2cpio = tmp_path / "rpm2cpio"
    fake_rpm2cpio.write_text('#!/bin/sh\nexec /bin/cat "$1"\n')
    fake_rpm2cpio.chmod(0o755)
    monkeypatch.setattr(package, "ENVIRONMENT", {"PATH": str(tmp_path)})
    good = cpio([(f"./{name}", content) for name, content in files().items()], trailer=False)
    (tmp_path / "good.rpm").write_bytes(good + cpio())
    assert len(outside.read(str(tmp_path / "good.rpm")).kernels) == 1
    (tmp_path / "k.rpm").write_bytes(good + odd + cpio())
    with pytest.raises(PvprepError, match=says):
        outside.read(str(tmp_path / "k.rpm"))


@pytest.mark.parametrize("limit", ["MAX_FILES", "MAX_SIZE", "MAX_IMAGE", "MAX_TEXT"])
def test_there_is_an_end_to_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(shelf, limit, 5)
    with pytest.raises(PvprepError, match=r"more than|has \d+ bytes"):
        outside.read(str(sources.root(tmp_path / "r", files())))


@pytest.mark.parametrize(
    ("name", "target", "inside"),
    [
        ("a.ko", "b.ko", True),
        ("kernel/a.ko", "../b.ko", True),
        ("a.ko", "../b.ko", False),
        ("kernel/a.ko", "../../b.ko", False),
        ("a.ko", "/lib/modules/x", False),
        ("a.ko", "kernel/x/../../../..", False),  # x may be a link
        ("a/b/l", "../../c", True),
    ],
)
def test_which_links_stay_inside(name: str, target: str, inside: bool) -> None:
    assert stays_inside(f"{MODULES}/{name}", target) is inside
