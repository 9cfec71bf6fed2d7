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


def accounts_for(edits: Sequence[Edit], old: str, new: str) -> bool:
    """Does each line become its new self by replacing, in order, just the tokens of its edits?

    A token may stand in more than one place: it is enough that one of them will do.
    """

    def becomes(before: str, after: str, pairs: Sequence[Edit]) -> bool:
        if not pairs:
            return before == after
        at = before.find(pairs[0].old)
        while at >= 0:
            end = at + len(pairs[0].new)
            if after[:end] == before[:at] + pairs[0].new:
                rest = before[at + len(pairs[0].old) :]
                if becomes(rest, after[end:], pairs[1:]):
                    return True
            at = before.find(pairs[0].old, at + 1)
        return False

    befores, afters = lines(old), lines(new)
    return len(befores) == len(afters) and all(
        becomes(before, after, [edit for edit in edits if edit.line == number])
        for number, (before, after) in enumerate(zip(befores, afters), 1)
    )


def holds(edit: Callable[[str], Edited], text: str) -> Edited:
    """Replaced tokens account for every difference, and a second run finds nothing to do."""
    once = edit(text)
    assert accounts_for(once.edits, text, once.text)
    twice = edit(once.text)
    assert twice.edits == ()
    assert twice.text == once.text
    return once


def holds_by_line(edit: Callable[[str], Edited], text: str) -> Edited:
    """Exactly the lines that the edits name differ, and a second run finds nothing to do."""
    once = edit(text)
    assert edit(once.text) == Edited(once.text)
    before, after = lines(text), lines(once.text)
    assert len(before) == len(after)
    changed = {n for n, (old, new) in enumerate(zip(before, after), 1) if old != new}
    assert changed == {e.line for e in once.edits}
    return once


def holds_around(
    edit: Callable[[str], Edited], text: str, is_target: Callable[[str], bool] = lambda _line: False
) -> Edited:
    """Every line but the targets stays, byte for byte and in its order; twice is once.

    For editors that insert or remove lines.
    """
    once = edit(text)
    assert edit(once.text).text == once.text
    stays(text, once.text, is_target)
    return once


def stays(
    before: str, after: str, is_target: Callable[[str], bool] = lambda _line: False
) -> None:
    """Every line but the targets is there afterwards, in order. A last one may have got an end."""
    found = iter(lines(after))
    for line in lines(before):
        if not is_target(line):
            ends = (line,) if line.endswith("\n") else (line, f"{line}\n", f"{line}\r\n")
            assert any(one in ends for one in found), line
