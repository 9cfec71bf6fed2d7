"""What is proven of kernel images, and what is said of files that are none."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvprep.facts import KernelProof
from pvprep.guest import ENVIRONMENT
from pvprep.survey.kernel_image import prove_kernel

from .synthetic import COMPRESSIONS, LINUX_PV, LINUX_PVH, bzimage, compress, elf, notes

BOTH = notes({**LINUX_PV, **LINUX_PVH})
GUEST = (
    b"GUEST_OS=linux,GUEST_VER=2.6,XEN_VER=xen-3.0,VIRT_BASE=0xC0000000,PAE=yes,LOADER=generic\0"
)


def prove(tmp_path: Path, image: bytes) -> KernelProof:
    path = tmp_path / "vmlinuz"
    path.write_bytes(image)
    return prove_kernel(str(path))


@pytest.mark.parametrize(
    ("said", "no_pae"),
    [(b"PAE=yes", False), (b"PAE=yes[extended-cr3]", False), (b"PAE=no", True), (b"", True)],
)
def test_whether_a_32_bit_kernel_is_one_for_pae(
    tmp_path: Path, said: bytes, no_pae: bool
) -> None:
    content = GUEST.replace(b"PAE=yes", said)
    assert prove(tmp_path, compress(elf(content, 32, "guest"), "gzip")).no_pae == no_pae
    assert not prove(tmp_path, elf(content, 64, "guest")).no_pae
    noted = {**LINUX_PV, 9: said.partition(b"=")[2]}
    assert prove(tmp_path, bzimage(elf(notes(noted), 32))).no_pae == no_pae
    assert not prove(tmp_path, bzimage(elf(b"", 32))).no_pae, "it is none for PV at all"


@pytest.mark.parametrize("compression", [*COMPRESSIONS, "none"])
@pytest.mark.parametrize("bits", [32, 64])
def test_bzimage(tmp_path: Path, compression: str, bits: int) -> None:
    image = elf(BOTH, bits)
    assert prove(tmp_path, bzimage(image, compression)) == KernelProof(
        pv=True,
        pvh=True,
        bits=bits,
        compression=compression,
        version="6.1.0-test (someone@example.org) #1 SMP",
        guest_os="linux",
        xen_version="xen-3.0",
    )


@pytest.mark.parametrize(
    ("wanted", "pv", "pvh"),
    [
        (LINUX_PV, True, False),
        (LINUX_PVH, False, True),
        ({k: v for k, v in LINUX_PV.items() if k != 1}, False, False),  # CONFIG_XEN_PV is not set
        ({**LINUX_PV, 5: b"xen-2.0\0"}, False, False),
        ({**LINUX_PV, 6: b"FreeBSD\0", 8: b"special\0"}, False, False),
        ({**LINUX_PV, 6: b"FreeBSD\0"}, True, False),  # for the generic loader
        ({}, False, False),
    ],
)
@pytest.mark.parametrize("where", ["segment", "section"])
@pytest.mark.parametrize("bits", [32, 64])
def test_notes(
    tmp_path: Path, wanted: dict[int, bytes], pv: bool, pvh: bool, where: str, bits: int
) -> None:
    proof = prove(tmp_path, bzimage(elf(notes(wanted), bits, where)))
    assert (proof.pv, proof.pvh, proof.bits, proof.problem) == (pv, pvh, bits, "")


def test_note_segment_at_offset_0(tmp_path: Path) -> None:
    """Some binutils leave one there; Xen passes over it and looks into the sections."""
    image = bytearray(elf(notes(LINUX_PV), where="section"))
    offset_of_second_segment = 64 + 56 + 8
    struct.pack_into("<Q", image, offset_of_second_segment, 0)
    assert prove(tmp_path, bytes(image)).pv


def test_setup_of_no_sectors_means_four(tmp_path: Path) -> None:
    image = bytearray(bzimage(elf(BOTH)))
    image[0x1F1] = 0
    image[2048:2048] = bytes(512)
    assert prove(tmp_path, bytes(image)).pv


def test_notes_of_others_do_not_count(tmp_path: Path) -> None:
    proof = prove(tmp_path, bzimage(elf(notes(LINUX_PV, b"Xenix\0"))))
    assert (proof.pv, proof.problem) == (False, "")


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("bits", [32, 64])
def test_xenlinux(tmp_path: Path, compression: str, bits: int) -> None:
    """The kernels of etch, lenny or RHEL 5: no bzImage, and an old section instead of notes."""
    image = elf(GUEST, bits, "guest")
    proof = prove(tmp_path, compress(image, compression))
    assert proof == KernelProof(
        pv=True, bits=bits, compression=compression, guest_os="linux", xen_version="xen-3.0"
    )


def test_guest_section_for_another_xen(tmp_path: Path) -> None:
    proof = prove(tmp_path, elf(GUEST.replace(b"xen-3.0", b"xen-2.0"), 32, "guest"))
    assert (proof.pv, proof.xen_version) == (False, "xen-2.0")


def efi_program() -> bytes:
    return b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0d\x86" + bytes(2000)


NO_KERNELS = {
    "an EFI program": efi_program(),
    "arm64": b"MZ" + bytes(54) + b"ARM\x64" + bytes(2000),
    "zboot": b"MZ\0\0zimg" + bytes(2000),
    "begins with b'garbage ": b"garbage " * 100,
    "its payload ends at byte": bzimage(elf(BOTH))[:2100],
    "within its header": bzimage(elf(BOTH))[:0x230],
    "boot protocol 2.07": bzimage(elf(BOTH), protocol=0x207),
    "for machine 183": bzimage(elf(BOTH, machine=183)),
    "begins with b'no elf a": bzimage(b"no elf at all"),
    "by xz, where Xen unpacks nothing but gzip": compress(elf(BOTH), "xz"),
    "the file is empty": b"",
    "cut off": compress(elf(BOTH), "gzip")[:80],
    "ends at byte": elf(BOTH)[:5100],
}


@pytest.mark.parametrize("words", NO_KERNELS)
def test_no_kernel(tmp_path: Path, words: str) -> None:
    proof = prove(tmp_path, NO_KERNELS[words])
    assert words in proof.problem
    assert not (proof.pv or proof.pvh)


def test_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert "a FIFO" in prove_kernel(str(tmp_path / "fifo")).problem
    assert "a directory" in prove_kernel(str(tmp_path)).problem
    assert "No such file" in prove_kernel(str(tmp_path / "none")).problem


def test_payload_of_unknown_compression(tmp_path: Path) -> None:
    image = bytearray(bzimage(elf(BOTH)))
    image[2048 + 0x40 : 2048 + 0x44] = b"what"
    assert "no known compression: it begins 77 68 61 74 " in prove(tmp_path, bytes(image)).problem


def test_missing_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = bzimage(elf(BOTH), "lz4")
    monkeypatch.setitem(ENVIRONMENT, "PATH", str(tmp_path))
    proof = prove(tmp_path, image)
    assert proof.problem == "needs the program lz4 (package lz4)"
    assert (proof.compression, proof.version[:5]) == ("lz4", "6.1.0")


def test_reads_no_further_than_the_notes(tmp_path: Path) -> None:
    """What lies behind them may be damaged: to read it would take time for nothing."""
    whole = bzimage(elf(BOTH) + os.urandom(3 << 20), "gzip")
    damaged = whole[: 1 << 20] + bytes(len(whole) - (1 << 20))
    assert prove(tmp_path, damaged).pv


@pytest.mark.parametrize("bits", [32, 64])
def test_agrees_with_binutils(tmp_path: Path, bits: int) -> None:
    """The images these tests are made of are what readelf takes for the same."""
    image = tmp_path / "image"
    for where in ("segment", "section"):
        image.write_bytes(elf(BOTH, bits, where))
        said = subprocess.run(
            ["readelf", "--notes", "--wide", image], stdout=-1, stderr=-2, check=True
        ).stdout.decode()
        assert said.count("Xen ") == len({**LINUX_PV, **LINUX_PVH})
        assert "Warning" not in said


WHOLE = {kind: bzimage(elf(BOTH, where="section"), kind) for kind in (*COMPRESSIONS, "none")}


@pytest.mark.parametrize("compression", WHOLE)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_damage_ends_in_words(
    tmp_path_factory: pytest.TempPathFactory, compression: str, data: st.DataObject
) -> None:
    """Read in this process, where an exception would show."""
    image = bytearray(WHOLE[compression])
    interesting = st.one_of(
        st.integers(0x1F1, 0x250),  # the setup header
        st.integers(2112, 2300),  # the head of the payload
        st.integers(len(image) - 400, len(image) - 1),  # ELF section headers, if uncompressed
        st.integers(0, len(image) - 1),
    )
    for _ in range(data.draw(st.integers(0, 4))):
        at = min(data.draw(interesting), len(image) - 1)
        image[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del image[data.draw(st.integers(0, len(image))) :]
    path = tmp_path_factory.getbasetemp() / f"kernel-{compression}"
    path.write_bytes(image)
    proof = prove_kernel.read(str(path))
    assert proof.problem or proof.bits in (32, 64)
    assert not (proof.problem and (proof.pv or proof.pvh))
