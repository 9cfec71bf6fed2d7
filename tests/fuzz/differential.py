"""`python -m tests.fuzz.differential`: thousands of menus and disks, simulated and by pygrub.

pygrub is that of Debian's xen-utils-4.17: its functions for menus, the program for whole disks.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fuzz import results
from tests.unit.pygrub_cases import compare, disks, generated, real

SEED = 20261125
MENUS, DISKS = 20_000, 300


@dataclass
class Tally:
    """How many were compared, of how many both chose something, and what differs."""

    compared: int = 0
    chosen: int = 0
    mismatches: int = 0

    def add(self, chosen: bool, difference: str) -> None:
        self.compared += 1
        self.chosen += chosen
        if difference:
            self.mismatches += 1
            print(difference, file=sys.stderr)


def of_menus(menus: Iterable[tuple[str, bytes]]) -> Tally:
    """Every menu, alone on a volume on which whatever it names exists."""
    pygrub, tally = real.load(), Tally()
    for path, content in menus:
        try:
            said, difference = compare.same(pygrub, {path: content}), ""
        except AssertionError as error:
            said, difference = real.Choice("?"), f"{path}:\n{content!r}\n{error}\n"
        tally.add(bool(said.kernel), difference)
    return tally


def of_disks(made: Iterable[tuple[str, list[disks.Part]]]) -> Tally:
    """Every disk, made for real."""
    tally = Tally()
    for table, parts in made:
        with TemporaryDirectory() as directory:
            image = Path(directory) / "image"
            disk = disks.make(image, Path(directory), table, parts)
            expected = disks.asked(image, Path(directory))
            said = disks.simulated(disk, Path(directory))
        difference = f"{table} {parts}:\npygrub: {expected!r}\nsimulated: {said!r}\n"
        tally.add(not isinstance(said, str), "" if said == expected else difference)
    return tally


def _version() -> str:
    asked = ["dpkg-query", "-W", "-f", "${Version}", "xen-utils-4.17"]
    return subprocess.run(asked, capture_output=True, text=True).stdout


def main() -> int:
    """Compare, print, keep the figures; the status says whether nothing differed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.differential", description=__doc__)
    parser.add_argument("--menus", type=int, default=MENUS)
    parser.add_argument("--disks", type=int, default=DISKS)
    asked = parser.parse_args()
    tallies = {
        "menus": of_menus(generated.menus(SEED, asked.menus)),
        "disks": of_disks(generated.disks(SEED, asked.disks)),
    }
    for name, tally in tallies.items():
        print(f"{name}: {tally.compared} compared, {tally.mismatches} mismatches")
        results.keep_compared(name, vars(tally), _version())
    return 1 if any(tally.mismatches for tally in tallies.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
