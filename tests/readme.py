"""Tables of the README that a run has written, between two marks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(
        f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in line)} |\n"
        for line in lines
    )


def put(name: str, content: str) -> None:
    """Replace what stands between `<!-- NAME: ... -->` and `<!-- NAME end -->`."""
    text = README.read_text()
    before, begin, rest = text.partition(f"<!-- {name}: ")
    mark, closing, inside = rest.partition(" -->\n")
    _, end, after = inside.partition(f"<!-- {name} end -->")
    if not after:
        raise SystemExit(f"{README.name} has no place for {name}")
    README.write_text(f"{before}{begin}{mark}{closing}{content}{end}{after}")
