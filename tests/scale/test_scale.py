"""Time grows as the guest does, not with its square, and memory hardly."""

from __future__ import annotations

import pytest
from tests.scale.guests import CASES
from tests.scale.point import measured

ALLOWANCE = 0.2  # seconds: a busy machine's processors are slower by turns
MEMORY = 96.0  # MiB; a bare python takes 10 of them


@pytest.mark.parametrize("case", CASES)
def test_linear(case: str) -> None:
    """From half to whole it is 4/3 of what it is from an eighth to half; a square makes it 3.2."""
    points = measured(case)
    eighth, half, whole = points[0], points[-2], points[-1]
    first, second = half.seconds - eighth.seconds, whole.seconds - half.seconds
    assert second <= 2.2 * first + ALLOWANCE, points
    assert whole.mib < MEMORY, points
