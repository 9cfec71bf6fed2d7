"""Time grows as the guest does, not with its square, and memory hardly."""

from __future__ import annotations

import pytest
from tests.scale.guests import CASES
from tests.scale.point import Point, measured

ALLOWANCE = 0.2  # seconds: a busy machine's processors are slower by turns
MEMORY = 96.0  # MiB; a bare python takes 10 of them


ROUNDS = 4  # a processor that is shared is slower by turns: the best of each size counts


@pytest.mark.parametrize("case", CASES)
def test_linear(case: str) -> None:
    """From half to whole it is 4/3 of what it is from an eighth to half; a square makes it 3.2."""
    points = measured(case)
    for _ in range(ROUNDS - 1):
        if _linear(points):
            break
        pairs = zip(points, measured(case))
        points = [min(pair, key=lambda point: point.seconds) for pair in pairs]
    assert _linear(points), points
    assert points[-1].mib < MEMORY, points


def _linear(points: list[Point]) -> bool:
    eighth, half, whole = (point.seconds for point in (points[0], points[-2], points[-1]))
    return whole - half <= 2.2 * (half - eighth) + ALLOWANCE
