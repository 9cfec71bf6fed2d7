"""`python -m tests.scale`: measure how cost grows, and write the curves into the README."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

from tests import readme
from tests.scale.guests import CASES
from tests.scale.point import Point, measured

KEPT = Path(__file__).with_name("results.json")


def main() -> None:
    """Measure every case; print, keep, write."""
    curves = {}
    for name, (words, _, _) in CASES.items():
        curves[words] = measured(name)
        print(words, *curves[words], sep="\n  ")
    date = datetime.date.today().isoformat()
    kept = {words: [vars(point) for point in points] for words, points in curves.items()}
    KEPT.write_text(json.dumps({"date": date, "curves": kept}, indent=1) + "\n")
    head = ("what grows", "an eighth", "a quarter", "half", "whole", "memory, MiB")
    rows = [(words, *map(_cell, points), _memory(points)) for words, points in curves.items()]
    readme.put("scale", f"Measured {date}:\n\n{readme.table(head, rows)}")


def _cell(point: Point) -> str:
    return f"{point.size:,}: {point.seconds:.2f} s"


def _memory(points: list[Point]) -> str:
    return f"{points[0].mib:.0f} to {points[-1].mib:.0f}"


if __name__ == "__main__":
    main()
