"""Unified diffs in linear time, for files that were edited in place.

difflib compares every changed line with every other one: a large fstab would take minutes. What was
edited still has most of its lines, in order; between lines that either text has once, difflib is
fast enough.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Sequence

# What difflib is given at once: lines of the one times lines of the other.
_PIECE = 250_000
_CONTEXT = 3

# As difflib has them: what happens, from and to a line of the old, from and to one of the new text.
_Operation = tuple[str, int, int, int, int]


def diff(old: Sequence[str], new: Sequence[str], before: str, after: str) -> Iterator[str]:
    """As difflib.unified_diff with lineterm="": before and after are what the texts are called."""
    matcher = _Matcher(old, new)
    for number, group in enumerate(matcher.get_grouped_opcodes(_CONTEXT)):
        if not number:
            yield f"--- {before}"
            yield f"+++ {after}"
        first, last = group[0], group[-1]
        yield f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@"
        for what, old_from, old_to, new_from, new_to in group:
            if what == "equal":
                yield from (f" {line}" for line in old[old_from:old_to])
            else:
                yield from (f"-{line}" for line in old[old_from:old_to])
                yield from (f"+{line}" for line in new[new_from:new_to])


class _Matcher(difflib.SequenceMatcher[str]):
    """Compares piece by piece."""

    def __init__(self, old: Sequence[str], new: Sequence[str]) -> None:
        super().__init__(None, "", "")
        self.old, self.new = old, new

    def get_opcodes(self) -> list[_Operation]:  # type: ignore[override]
        """Pieces between anchors, what is equal joined."""
        done: list[_Operation] = []
        for operation in self._pieces():
            if done and done[-1][0] == operation[0] == "equal":
                done[-1] = ("equal", done[-1][1], operation[2], done[-1][3], operation[4])
            else:
                done.append(operation)
        return done

    def _pieces(self) -> Iterator[_Operation]:
        at_old = at_new = 0
        for to_old, to_new in (*_anchors(self.old, self.new), (len(self.old), len(self.new))):
            yield from _between(self.old, self.new, (at_old, to_old, at_new, to_new))
            if to_old < len(self.old):
                yield "equal", to_old, to_old + 1, to_new, to_new + 1
            at_old, at_new = to_old + 1, to_new + 1


def _anchors(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Lines that each text has once, by where they are, as far as they are in the same order."""
    olds, news = Counter(old), Counter(new)
    places = {line: at for at, line in enumerate(new) if news[line] == 1}
    last = -1
    for at, line in enumerate(old):
        if olds[line] == 1 and places.get(line, -1) > last:
            last = places[line]
            yield at, last


def _between(
    old: Sequence[str], new: Sequence[str], piece: tuple[int, int, int, int]
) -> Iterator[_Operation]:
    old_from, old_to, new_from, new_to = piece
    if old_from == old_to and new_from == new_to:
        return
    if (old_to - old_from) * (new_to - new_from) > _PIECE:
        yield "replace", *piece
        return
    matcher = difflib.SequenceMatcher(None, old[old_from:old_to], new[new_from:new_to], False)
    for what, a, b, c, d in matcher.get_opcodes():
        yield what, old_from + a, old_from + b, new_from + c, new_from + d


def _range(first: int, after: int) -> str:
    """A range of lines as unified diffs count them: from 1, an empty one from the line before."""
    count = after - first
    if count == 1:
        return str(first + 1)
    return f"{first + 1 if count else first},{count}"
