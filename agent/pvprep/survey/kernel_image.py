"""What a kernel image proves about itself: can Xen start it as PV, as PVH?

Sources: Linux Documentation/arch/x86/boot.rst for the bzImage; Xen
tools/libs/guest/xg_dom_bzimageloader.c, xg_dom_elfloader.c and xen/common/libelf/libelf-dominfo.c
for what the domain builder takes: a bzImage of protocol 2.08 or later, an ELF image, or one
compressed by gzip.
"""

from __future__ import annotations

import os
import struct
from dataclasses import replace

from ..facts import KernelProof
from .isolate import Prover
from .streams import Part, PayloadError, open_file

_HEAD = 0x250  # bytes: the setup header up to and with payload_length
_VERSION_MAX = 512


def _read(path: str) -> KernelProof:
    try:
        whole = open_file(path)
    except PayloadError as error:
        return KernelProof(problem=str(error))
    try:
        return _prove(whole)
    finally:
        os.close(whole.fd)


def _prove(whole: Part) -> KernelProof:
    proof = KernelProof()
    try:
        head = os.pread(whole.fd, _HEAD, 0)
        if head[0x202:0x206] == b"HdrS":
            part = _payload(whole, head)
            proof = replace(proof, version=_version(whole, head))
        else:
            part = whole
            _refuse_strangers(head)
        proof = replace(proof, compression=_compression(part, bzimage=part is not whole))
        return _with_notes(proof, part)
    except (PayloadError, OSError) as error:
        return replace(proof, problem=str(error))


# To be called with the path of an image; the work is done in a child process.
prove_kernel: Prover[KernelProof] = Prover(_read, lambda words: KernelProof(problem=words))


def _setup_size(head: bytes) -> int:
    # boot.rst: "if the setup_sects field contains 0, the real value is 4"
    return ((head[0x1F1] or 4) + 1) * 512


def _version(whole: Part, head: bytes) -> str:
    """The version string; it lies in the setup part, where a 16-bit field points."""
    pointer = struct.unpack_from("<H", head, 0x20E)[0]
    if not pointer or pointer + 0x200 >= _setup_size(head):
        return ""
    raw = os.pread(whole.fd, _VERSION_MAX, pointer + 0x200).split(b"\0", 1)[0]
    return raw.decode("ascii", "replace").strip()


def _payload(whole: Part, head: bytes) -> Part:
    """Where the compressed ELF image lies in a bzImage."""
    if len(head) < _HEAD:
        raise PayloadError(f"the bzImage is cut off after {whole.end} bytes, within its header")
    protocol = struct.unpack_from("<H", head, 0x206)[0]
    if protocol < 0x208:
        raise PayloadError(
            f"a bzImage of boot protocol {protocol >> 8}.{protocol & 0xFF:02}: "
            "before 2.08 it does not tell where its kernel lies, and Xen does not load it"
        )
    offset, length = struct.unpack_from("<II", head, 0x248)
    start = _setup_size(head) + offset
    if start + length > whole.end:
        raise PayloadError(
            f"the bzImage is cut off: its payload ends at byte {start + length}, "
            f"the file at {whole.end}"
        )
    if length == 0:
        raise PayloadError("the bzImage has no payload")
    return Part(whole.fd, start, start + length)


def _refuse_strangers(head: bytes) -> None:
    """Say what it is, where that is known and Xen cannot start it."""
    if head[:2] == b"MZ" and head[4:8] == b"zimg":
        raise PayloadError("an EFI zboot image (begins with 'MZ', 'zimg' at byte 4), no bzImage")
    if head[0x38:0x3C] == b"ARM\x64":
        raise PayloadError("a kernel image for arm64 ('ARM\\x64' at byte 56), not for a PC")
    if head[:2] == b"MZ":
        raise PayloadError(
            "an EFI program (begins with 'MZ') without a Linux setup header ('HdrS' at byte 514), "
            "such as a unified kernel image"
        )


def _compression(part: Part, bzimage: bool) -> str:
    """How the kernel in `part` is compressed, of which the part then holds nothing else."""
    from .payload import sniff

    head = os.pread(part.fd, min(8, part.end - part.start), part.start)
    if head[:4] == b"\x7fELF":
        return "none"
    found = sniff(head)
    if bzimage and found:
        if found != "gzip":
            part.end -= 4  # the unpacked size, which Linux scripts/Makefile.lib puts behind
        return found
    if bzimage:
        raise PayloadError(
            f"the bzImage's payload is of no known compression: it begins {head.hex(' ')}"
        )
    if found == "gzip":
        return found
    if found:
        raise PayloadError(f"compressed as a whole by {found}, where Xen unpacks nothing but gzip")
    raise PayloadError(f"neither a bzImage nor an ELF image; it begins with {head!r}")


def _with_notes(proof: KernelProof, part: Part) -> KernelProof:
    from . import elfnotes
    from .payload import open_stream

    # A copy for each pass: a stream moves the end of its part.
    found = elfnotes.read_notes(lambda: open_stream(replace(part), proof.compression))
    guest = found.guest
    xen_version = guest.get("XEN_VER", "") or found.text(elfnotes.XEN_VERSION)
    guest_os = guest.get("GUEST_OS", "") or found.text(elfnotes.GUEST_OS)
    loader = guest.get("LOADER", "") or found.text(elfnotes.LOADER)
    # The old section may leave out the entry: the ELF header has it.
    pae = guest.get("PAE", "") or found.text(elfnotes.PAE_MODE)  # yes, yes[extended-cr3], bimodal
    has_entry = bool(guest) or elfnotes.ENTRY in found.notes
    for_xen = xen_version.startswith("xen-3.0")
    known_guest = loader.startswith("generic") or guest_os.startswith("linux")
    return replace(
        proof,
        pv=has_entry and for_xen and known_guest,
        pvh=elfnotes.PHYS32_ENTRY in found.notes,
        bits=found.bits,
        guest_os=guest_os,
        xen_version=xen_version,
        no_pae=has_entry and found.bits == 32 and not pae.startswith(("yes", "bimodal")),
    )
