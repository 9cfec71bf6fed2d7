"""Kernel modules small enough for tests, in a form that depmod(8) reads."""

from __future__ import annotations

import struct


def module(*info: str, needs: str = "", exports: str = "") -> bytes:
    """A relocatable ELF file whose .modinfo says this (`alias=xen:vbd`).

    needs: a symbol of another module, by which depmod finds what it depends on. exports: its own.
    """
    said = b"".join(one.encode() + b"\0" for one in info) or b"license=GPL\0"
    names = b"\0.modinfo\0.symtab\0.strtab\0.shstrtab\0__ksymtab_strings\0"
    strings = b"\0" + needs.encode() + b"\0"
    symbols = bytes(24) + (struct.pack("<IBBHQQ", 1, 0x10, 0, 0, 0, 0) if needs else b"")
    bodies = [(1, 1, said), (10, 2, symbols), (18, 3, strings), (26, 3, names)]
    bodies += [(36, 1, exports.encode() + b"\0")] if exports else []
    at, places = 64, []
    for _, _, body in bodies:
        places.append(at)
        at += len(body) + -len(body) % 8
    header = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, at, 0, 64, 0, 0, 64, len(bodies) + 1, 4)
    table = bytes(64)
    for (name, kind, body), place in zip(bodies, places):
        link, entry = (3, 24) if kind == 2 else (0, 0)
        table += struct.pack(
            "<IIQQQQIIQQ", name, kind, 0, 0, place, len(body), link, 1 if link else 0, 8, entry
        )
    return header + b"".join(body + bytes(-len(body) % 8) for _, _, body in bodies) + table
