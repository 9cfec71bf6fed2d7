"""The table of what booted, written by the tests that booted it.

Each test leaves rows in build/xen-results. `python -m tests.xen.proof` takes them into results.json
beside this module, and from there into the README; a row stands until the same guest has booted the
same way again. `make test-xen` begins with none and ends with `whole`: its rows alone stand, so
that what fails there is not in the table.
"""

from __future__ import annotations

import datetime
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests import readme
from tests.xen.lab import Result

from pvprep import __version__

TOP = Path(__file__).resolve().parents[2]
LEFT = TOP / "build/xen-results"
KEPT = Path(__file__).with_name("results.json")
UP, ENDED = "up", "went as it should, to its end"


@dataclass(frozen=True)
class Row:
    """A boot. guest, way: for people; order: where it stands in the table.

    outcome: UP; ENDED where that was not asked for; or why not, where that had to be. seconds: to
    up (with the lab's own start), or to the end. date: ISO 8601.
    """

    order: int
    guest: str
    way: str
    outcome: str
    seconds: int
    root: str
    kernel: str
    date: str
    versions: Mapping[str, str]


def leave(order: int, guest: str, way: str, result: Result) -> None:
    """Leave a row for a boot that did what the test wanted of it."""
    said = result.facts
    row = Row(
        order,
        guest,
        way,
        UP if result.up else result.error or ENDED,
        round(result.seconds),
        said.root if said else "",
        said.kernel if said else "",
        datetime.date.today().isoformat(),
        _versions(result),
    )
    LEFT.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9]+", "-", f"{guest} {way}")
    (LEFT / f"{name}.json").write_text(json.dumps(asdict(row)))


def _versions(result: Result) -> dict[str, str]:
    qemu = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True)
    emulator = "".join(re.findall(r"version (\S+)", qemu.stdout)[:1])
    git = ["git", "-C", str(TOP), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip()
    return {"pvprep": __version__, "commit": commit, "xen": result.xen, "qemu": emulator}


def take(whole: bool) -> int:
    """Bring rows, results.json and the README together; gives the number of new rows."""
    new = [json.loads(path.read_text()) for path in sorted(LEFT.glob("*.json"))]
    kept = [] if whole or not KEPT.exists() else json.loads(KEPT.read_text())
    rows = {(row["guest"], row["way"]): row for row in [*kept, *new]}
    ordered = sorted(rows.values(), key=lambda row: (row["order"], row["guest"], row["way"]))
    KEPT.write_text(json.dumps(ordered, indent=1) + "\n")
    head = ("guest", "way", "came of it", "s", "date")
    readme.put("boots", readme.table(head, map(_cells, ordered)))
    return len(new)


def _cells(row: Mapping[str, Any]) -> tuple[object, ...]:
    outcome = row["outcome"]
    if outcome == UP:
        outcome = f"up, root {row['root']}"
    elif outcome != ENDED:
        outcome = f"not up: {outcome}"
    return row["guest"], row["way"], outcome, row["seconds"], row["date"]


if __name__ == "__main__":
    print(f"{take(sys.argv[1:] == ['whole'])} new rows", file=sys.stderr)
