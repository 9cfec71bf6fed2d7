"""What every editor promises, as checks, and the texts that hypothesis tries them on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Optional

from hypothesis import strategies as st

from pvprep.editors.edited import Edit, Edited, lines

DEVICES = {
    "/dev/sda": "/dev/xvda",
    **{f"/dev/sda{n}": f"/dev/xvda{n}" for n in range(1, 10)},
    "/dev/nvme0n1": "/dev/xvdb",
    "/dev/nvme0n1p1": "/dev/xvdb1",
    "/dev/cciss/c0d0p1": "/dev/xvdc1",
    "/dev/disk/by-id/ata-QEMU-part1": "/dev/xvda1",
    "/dev/disk/by-path/pci-0000:00:01.1-part2": "/dev/xvda2",
}
UUIDS = {**DEVICES, "/dev/sda1": "UUID=0a1b-2c3d", "/dev/sda2": "UUID=ffff-2c3d"}


def translate(path: str) -> Optional[str]:
    return DEVICES.get(path)


def translate_uuid(path: str) -> Optional[str]:
    return UUIDS.get(path)


def decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def words(*known: str) -> st.SearchStrategy[str]:
    """One of the known words, or anything."""
    return st.one_of(st.sampled_from(known), st.binary(max_size=8).map(decode))


def texts(*known: str) -> st.SearchStrategy[str]:
    """Texts of known pieces, white space and line ends of all kinds, and arbitrary bytes."""
    space = st.sampled_from([" ", "\t", "  ", "\n", "\n", "\r\n", "\n\n", "# ", "", "\\\n"])
    return st.lists(st.one_of(st.sampled_from(known), space, words(*known)), max_size=30).map(
        "".join
    )


def line_texts(*known: str) -> st.SearchStrategy[str]:
    """Texts of whole known lines in any order and number, with arbitrary ones between."""
    end = st.sampled_from(["\n", "\n", "\r\n"])
    line = st.tuples(words(*known), end).map("".join)
    return st.tuples(st.lists(line, max_size=12).map("".join), words("", *known)).map("".join)


def replay(text: str, edits: Sequence[Edit]) -> str:
    """Do only what the edits say: old tokens to new ones, in the lines that they name."""
    done = []
    for number, line in enumerate(lines(text), 1):
        at = 0
        for edit in (e for e in edits if e.line == number):
            at = line.index(edit.old, at)
            line = line[:at] + edit.new + line[at + len(edit.old) :]
            at += len(edit.new)
        done.append(line)
    return "".join(done)


def holds(edit: Callable[[str], Edited], text: str) -> Edited:
    """Replaced tokens account for every difference, and a second run finds nothing to do."""
    once = edit(text)
    assert replay(text, once.edits) == once.text
    twice = edit(once.text)
    assert twice.edits == ()
    assert twice.text == once.text
    return once
