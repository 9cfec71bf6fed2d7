"""A few of the menus and disks that `make fuzz` compares by the thousand."""

from __future__ import annotations

from tests.fuzz.differential import SEED, of_disks, of_menus
from tests.unit.pygrub_cases import generated


def test_menus() -> None:
    tally = of_menus(generated.menus(SEED, 200))
    assert tally.mismatches == 0
    assert 60 < tally.chosen < 190


def test_disks() -> None:
    tally = of_disks(generated.disks(SEED, 6))
    assert (tally.compared, tally.mismatches) == (6, 0)
