"""What is proven of initrds: every archive in them, and what is said of damaged ones."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvprep.facts import InitrdProof
from pvprep.guest import ENVIRONMENT
from pvprep.survey import initrd_image
from pvprep.survey.initrd_image import prove_initrd

from .synthetic import COMPRESSIONS, SYMLINK, compress, cpio, member

MODULES = "usr/lib/modules/6.1.0-9-amd64/kernel/drivers"
EARLY = cpio([("kernel/x86/microcode/GenuineIntel.bin", b"\x01" * 5000)])
MAIN = cpio(
    [
        ("scripts/functions", b"# shell"),
        ("conf/initramfs.conf", b"MODULES=most\nRESUME=/dev/sda9\n"),
        ("conf/modules", b"# first\nxen-blkfront\n\n  xen_netfront debug=1\n"),
        ("conf/conf.d/zz-resume-auto", b"export RESUME='/dev/sda5' # swap\n"),
        ("conf/conf.d/resume", b"RESUME=UUID=1234\n"),
        (f"{MODULES}/", b""),
        (f"{MODULES}/block/xen-blkfront.ko", b"\x7fELF" + b"x" * 9000),
        (f"{MODULES}/net/xen-netfront.ko.xz", b"\xfd7zXZ"),
        (f"{MODULES}/net/empty.ko", b""),
        ("usr/bin/busybox", b"\x7fELF" * 30000),
        ("./etc/modprobe.d/one.conf", b"blacklist floppy\n"),
    ]
)
DRACUT = cpio(
    [
        ("usr/lib/dracut-lib.sh", b"#"),
        ("usr/lib/dracut/build-parameter.txt", b""),
        ("usr/lib/modules/6.12.1/kernel/xen-blkfront.ko.zst", b"\x28\xb5"),
        ("etc/cmdline.d/20-force_drivers.conf", b"rd.driver.pre=xen-netfront\n"),
        ("etc/cmdline.d/01-default.conf", b" root=/dev/sda1 rd.driver.pre=xen-blkfront,a-b\n"),
        ("etc/cmdline.d/95resume.conf", b"resume=/dev/sda2\nresume=UUID=77\n"),
        ("etc/cmdline.d/not-read", b"rd.driver.pre=other"),
    ]
)


NASH = cpio(
    [
        ("bin/nash", b"\x7fELF"),
        ("lib/xenblk.ko", b"\x7fELF"),
        ("lib/xennet.ko", b"\x7fELF"),
        ("lib/ext3.ko", b"\x7fELF"),
        (
            "init",
            b"#!/bin/nash\n\nmount -t proc /proc /proc\nsetquiet\necho Mounting sysfs filesystem\n"
            b'echo "Loading xenblk.ko module"\ninsmod /lib/xenblk.ko \n'
            b'echo "Loading xennet.ko module"\ninsmod /lib/xennet.ko \n'
            b"insmod /lib/ext3.ko \nmkblkdevs\nresume /dev/hda2\n"
            b"mkrootdev -t ext3 -o defaults,ro hda1\nmount /sysroot\nswitchroot\n",
        ),
    ]
)
SUSES = cpio(
    [
        ("lib/modules/2.6.32-5-xen/updates/xenblk.ko", b"\x7fELF"),
        ("lib/modules/2.6.32-5-xen/updates/xennet.ko", b"\x7fELF"),
        (
            "config/start.sh",
            b"[ \"$root\" ] || root='/dev/hda1'\n"
            b"[ \"$RESOLVED_INITRD_MODULES\" ] || RESOLVED_INITRD_MODULES='ext3 xennet xenblk'\n",
        ),
        ("config/resume.kernel.sh", b"[ \"$resumedev\" ] || resumedev='/dev/hda2'\n"),
        ("init", b"#!/bin/bash\n. /run_all.sh\n"),
        ("run_all.sh", b"modprobe $module\n"),
    ]
)


def prove(tmp_path: Path, image: bytes) -> InitrdProof:
    path = tmp_path / "initrd"
    path.write_bytes(image)
    return prove_initrd(str(path))


@pytest.mark.parametrize("compression", [*COMPRESSIONS, "none"])
@pytest.mark.parametrize("early", [True, False])
def test_initramfs_tools(tmp_path: Path, compression: str, early: bool) -> None:
    image = (EARLY + bytes(444) if early else b"") + compress(MAIN, compression)
    proof = prove(tmp_path, image)
    assert proof == InitrdProof(
        kind="initramfs-tools",
        compression=(("none",) if early else ()) + (compression,),
        modules=frozenset({"xen_blkfront", "xen_netfront"}),
        versions=("6.1.0-9-amd64",),
        by_version={"6.1.0-9-amd64": frozenset({"xen_blkfront", "xen_netfront"})},
        preload=("xen_blkfront", "xen_netfront"),
        resume="/dev/sda5",
        files={
            "conf/initramfs.conf": b"MODULES=most\nRESUME=/dev/sda9\n",
            "conf/modules": b"# first\nxen-blkfront\n\n  xen_netfront debug=1\n",
            "conf/conf.d/resume": b"RESUME=UUID=1234\n",
            "conf/conf.d/zz-resume-auto": b"export RESUME='/dev/sda5' # swap\n",
            "etc/modprobe.d/one.conf": b"blacklist floppy\n",
        },
    )


def test_dracut(tmp_path: Path) -> None:
    proof = prove(tmp_path, EARLY + compress(DRACUT, "zstd"))
    assert (proof.kind, proof.problem) == ("dracut", "")
    assert proof.preload == ("xen_blkfront", "a_b", "xen_netfront")
    assert proof.resume == "UUID=77"
    assert proof.versions == ("6.12.1",)
    assert proof.modules == {"xen_blkfront"}


def test_red_hats_mkinitrd(tmp_path: Path) -> None:
    proof = prove(tmp_path, compress(NASH, "gzip"))
    assert (proof.kind, proof.problem) == ("mkinitrd", "")
    assert proof.preload == ("xenblk", "xennet", "ext3")
    assert proof.modules >= {"xenblk", "xennet"}
    assert proof.versions == ()
    assert proof.resume == "/dev/hda2"


def test_suses_mkinitrd(tmp_path: Path) -> None:
    proof = prove(tmp_path, compress(SUSES, "gzip"))
    assert (proof.kind, proof.problem) == ("mkinitrd", "")
    assert proof.preload == ("ext3", "xennet", "xenblk")
    assert proof.versions == ("2.6.32-5-xen",)
    assert proof.resume == "/dev/hda2"


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("insmod /lib/xen-blkfront.ko option=1", ("xen_blkfront",)),
        ("  modprobe -q xenblk", ("xenblk",)),
        ("modprobe $module", ()),
        ("# insmod /lib/x.ko", ()),
        ("echo insmod x", ()),
    ],
)
def test_what_an_init_script_loads(tmp_path: Path, line: str, names: tuple[str, ...]) -> None:
    image = cpio([("init", f"#!/bin/nash\n{line}\n".encode())])
    assert prove(tmp_path, image).preload == names


@pytest.mark.parametrize("first", COMPRESSIONS)
@pytest.mark.parametrize("second", ["none", "gzip", "zstd", "xz"])
def test_more_behind(tmp_path: Path, first: str, second: str) -> None:
    """An archive behind a compressed one is read, too; its files win."""
    later = cpio([("conf/modules", b"later\n"), ("lib/modules/5.4/x-y.ko.gz", b"z")], b"070702")
    proof = prove(tmp_path, compress(MAIN, first) + bytes(8) + compress(later, second) + bytes(512))
    assert proof.problem == ""
    assert proof.compression == (first, second)
    assert proof.preload == ("later",)
    assert proof.versions == ("6.1.0-9-amd64", "5.4")
    assert "x_y" in proof.modules


def test_archives_in_one_stream(tmp_path: Path) -> None:
    proof = prove(tmp_path, compress(EARLY + bytes(200) + MAIN + bytes(100), "gzip"))
    assert (proof.kind, proof.problem) == ("initramfs-tools", "")


def test_later_things_of_that_name(tmp_path: Path) -> None:
    """A link in place of a file takes it away."""
    link = member("conf/modules", b"../elsewhere", SYMLINK) + cpio()
    proof = prove(tmp_path, MAIN + link)
    assert (proof.preload, proof.problem) == ((), "")


def test_hard_links(tmp_path: Path) -> None:
    """The content comes with the last name, whatever that is."""
    archive = (
        member("conf/modules", b"", inode=7, links=3)
        + member("lib/modules/1/linked.ko", b"", inode=7, links=3)
        + member("usr/share/modules", b"xen-blkfront\n", inode=7, links=3)
        + cpio()
    )
    proof = prove(tmp_path, archive)
    assert proof.preload == ("xen_blkfront",)
    assert list(proof.files) == ["conf/modules"]
    assert proof.modules == {"linked"}


def test_large_files_are_left_out(tmp_path: Path) -> None:
    many = [(f"etc/conf.d/{number}", b"y" * 60000) for number in range(30)]
    proof = prove(tmp_path, cpio([("init", b"x" * 65537), *many]))
    assert proof.problem == ""
    assert "init" not in proof.files
    assert len(proof.files) == (1 << 20) // 60000


def test_odd_names(tmp_path: Path) -> None:
    odd = b"etc/conf.d/\xff\xfe".decode("utf-8", "surrogateescape")
    proof = prove(
        tmp_path, cpio([(odd, b"1"), (".init", b"2"), ("/init", b"3"), ("../init", b"4")])
    )
    assert proof.files == {odd: b"1", "init": b"3"}


def test_resume_in_the_main_file(tmp_path: Path) -> None:
    files = [("conf/initramfs.conf", b"RESUME=none\n#RESUME=/dev/sda1\nNORESUME=1")]
    assert prove(tmp_path, cpio(files)).resume == "none"


def negative_size() -> bytes:
    header = bytearray(member("init", b"1234") + cpio())
    header[54:62] = b"-0000004"
    return bytes(header)


DAMAGED = {
    "begins b'root:x:0': neither": b"root:x:0:0:",
    f"at byte {len(MAIN)} begins b'trailing'": MAIN + b"trailing garbage",
    "nothing but zeros": bytes(5000),
    "the file is empty": b"",
    "cut off at byte": compress(MAIN, "gzip")[:-20],
    "is cut off in 'usr/bin/busybox'": MAIN[:40000],
    "cpio archive is cut off": compress(cpio([("init", b"1")], trailer=False), "gzip"),
    "should begin a cpio member, but there is b'not a cp'": compress(b"not a cpio", "xz"),
    "neither a cpio archive that the kernel unpacks": b"070707" + bytes(70),
    "has a name of 5000 bytes": cpio([("x" * 4999, b"")]),
    "is cut off in 'huge'": member("huge", b"").replace(b"%08x" % 0, b"%08x" % 0xFFFFFF00) + cpio(),
    "cpio header at byte 0 is damaged": negative_size(),
    "more than 64 archives": cpio() * 65,
}


@pytest.mark.parametrize("words", DAMAGED)
def test_damaged(tmp_path: Path, words: str) -> None:
    assert words in prove(tmp_path, DAMAGED[words]).problem


def test_what_was_found_before_the_damage(tmp_path: Path) -> None:
    proof = prove(tmp_path, MAIN + compress(EARLY, "gzip")[:-30])
    assert proof.problem.startswith(f"in the gzip part at byte {len(MAIN)}: ")
    assert proof.kind == "initramfs-tools"


def test_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initrd_image, "_MODULES", 10)
    image = cpio([(f"lib/modules/1/m{number}.ko", b"x") for number in range(20)])
    assert "more than 10 modules" in prove(tmp_path, image).problem


def test_missing_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = compress(MAIN, "zstd")
    monkeypatch.setitem(ENVIRONMENT, "PATH", str(tmp_path))
    assert "needs the program zstd (package zstd)" in prove(tmp_path, image).problem


def test_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert "a FIFO" in prove_initrd(str(tmp_path / "fifo")).problem
    assert "a directory" in prove_initrd(str(tmp_path)).problem


def test_archive_made_by_cpio(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name in ("conf/modules", "scripts/functions", "lib/modules/6.1/kernel/a-b.ko"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("xen-blkfront\n")
    os.link(tree / "conf/modules", tree / "conf/arch.conf")
    names = subprocess.run(["find", "."], cwd=tree, stdout=-1, check=True).stdout
    program = shutil.which("cpio")
    assert program, "cpio is not installed"
    for form in ("newc", "crc"):
        archive = subprocess.run(
            [program, "-o", "-H", form], cwd=tree, input=names, stdout=-1, stderr=-3, check=True
        ).stdout
        proof = prove(tmp_path, archive)
        assert (proof.kind, proof.problem) == ("initramfs-tools", "")
        assert proof.preload == ("xen_blkfront",)
        assert proof.files["conf/arch.conf"] == b"xen-blkfront\n"
        assert proof.modules == {"a_b"}
        assert proof.versions == ("6.1",)


WHOLE = {
    kind: cpio([("kernel/x", b"1")]) + bytes(20) + compress(MAIN, kind)
    for kind in (*COMPRESSIONS, "none")
}


@pytest.mark.parametrize("compression", WHOLE)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_damage_ends_in_words(
    tmp_path_factory: pytest.TempPathFactory, compression: str, data: st.DataObject
) -> None:
    """Read in this process, where an exception would show."""
    image = bytearray(WHOLE[compression])
    for _ in range(data.draw(st.integers(0, 4))):
        image[data.draw(st.integers(0, len(image) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del image[data.draw(st.integers(0, len(image))) :]
    path = tmp_path_factory.getbasetemp() / f"initrd-{compression}"
    path.write_bytes(image)
    proof = prove_initrd.read(str(path))
    assert proof.problem or proof.compression
